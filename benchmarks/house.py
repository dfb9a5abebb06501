"""What all measurements share: child processes that end with us, a directory that goes with them, and progress."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet.task import deferLater

from torfluxd.children import Child, Keeper
from torfluxd.errors import TorfluxdError
from torfluxd.gateway.service import GatewayReactor

__all__ = ["BenchError", "House"]

UP_SECONDS = 180.0
"""How long anything may take to come up: a second for most, ten for a tor, on an idle machine."""

_POLL_SECONDS = 0.02
_CONNECT_SECONDS = 1.0
_LAST_WORDS_BYTES = 2000


class BenchError(TorfluxdError):
    """A measurement is worth nothing: something did not come up, refused a write, or lost a point."""


@define
class House:
    """Where measurements run.

    :ivar reactor: all waiting is done on it.
    :ivar keeper: owns the children and the directory.
    :ivar directory: temporary, for this user alone.
    """

    reactor: GatewayReactor
    keeper: Keeper
    directory: Path
    _begun: float = field(factory=time.monotonic)

    def say(self, line: str) -> None:
        """Tell a person how far we are; standard output is for the tables."""
        passed = int(time.monotonic() - self._begun)
        print(f"[{passed // 60:2}:{passed % 60:02}] {line}", file=sys.stderr, flush=True)

    async def pause(self, seconds: float = _POLL_SECONDS) -> None:
        """Let time pass."""
        await deferLater(self.reactor, seconds)

    async def start(self, name: str, argv: Sequence[str | Path], log: Path) -> Child:
        """Start a child, in an environment that does not configure torfluxd.

        :raises ChildError: it cannot be started.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TORFLUX")}
        return await self.keeper.spawn(name, argv, log, environment)

    async def finish(self, name: str, argv: Sequence[str | Path], log: Path) -> None:
        """Run a program to its end.

        :raises BenchError: its exit code is not 0.
        """
        child = await self.start(name, argv, log)
        code = await child.when_ended()
        if code:
            raise BenchError(f"{name} ended with code {code}: {_last_words(log)}")

    async def until(self, condition: Callable[[], bool], child: Child, log: Path) -> None:
        """Wait until something is as it should be.

        :param child: who brings it about.
        :param log: what he says.
        :raises BenchError: he ended, or it took longer than `UP_SECONDS`.
        """
        deadline = self.reactor.seconds() + UP_SECONDS
        while not condition():
            if child.exit_code is not None or self.reactor.seconds() > deadline:
                raise BenchError(f"{child.name} did not come up: {_last_words(log)}")
            await self.pause()

    async def until_listening(self, port: int, child: Child, log: Path) -> None:
        """Wait until somebody listens on a port of 127.0.0.1; raises as :meth:`until`."""
        await self.until(lambda: _listens(port), child, log)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_CONNECT_SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _last_words(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_LAST_WORDS_BYTES:].strip()
