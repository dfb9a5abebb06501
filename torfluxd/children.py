"""Child processes and temporary directories that never outlive us: after Ctrl-C, an error, or a kill -9.

A :class:`Keeper` is a small process of our own (`keeper.py`) that starts the others. It sees the end of ours, because a
pipe between the two closes, and cleans up: the one way in which everything ends, also in good order.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from torfluxd.errors import ChildError

__all__ = ["Child", "Keeper"]

_PROGRAM = Path(__file__).with_name("keeper.py")

_GONE = "the keeper of processes has ended"


class Child:
    """One child.

    :ivar name: for people: what it is.
    :ivar pid: its process id.
    :ivar exit_code: None while it runs; negative for the signal that ended it.
    """

    def __init__(self, keeper: Keeper, ident: int, name: str) -> None:
        self._keeper = keeper
        self._ident = ident
        self.name = name
        self.pid = 0
        self.exit_code: int | None = None
        self._waiting: list[Deferred[int]] = []

    def when_ended(self) -> Deferred[int]:
        """Fire with the exit code when it has ended. Never fails."""
        if self.exit_code is not None:
            return succeed(self.exit_code)
        ended: Deferred[int] = Deferred()
        self._waiting.append(ended)
        return ended

    def signal(self, number: int) -> None:
        """Send it a signal. What it has started and leaves behind is killed once it has ended."""
        if self.exit_code is None:
            self._keeper.tell({"signal": self._ident, "number": int(number)})

    def ended(self, code: int) -> None:
        """It has ended; the keeper says so."""
        self.exit_code = code
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(code)


class Keeper(ProcessProtocol):
    """Starts children, and owns temporary directories; :meth:`stop` ends and removes them all."""

    def __init__(self) -> None:
        self._idents = itertools.count()
        self._rest = b""
        self._children: dict[int, Child] = {}
        self._starting: dict[int, Deferred[Child]] = {}
        self._listens = False
        self._ended = True
        self._waiting_for_end: list[Deferred[None]] = []

    def start(self, reactor: IReactorProcess) -> None:
        """Start the keeper itself."""
        # Told by its name before it is there: however soon we are killed, somebody knows what to remove.
        self._household = Path(tempfile.gettempdir(), f"torfluxd-{secrets.token_hex(4)}")
        argv = [sys.executable, "-I", str(_PROGRAM), str(self._household), str(os.getpid())]
        reactor.spawnProcess(self, sys.executable, argv, env=dict(os.environ), childFDs={0: "w", 1: "r", 2: 2})
        self._listens, self._ended = True, False
        self._household.mkdir(mode=0o700)

    def spawn(
        self, name: str, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> Deferred[Child]:
        """Start a child, in a session of its own, with nothing on its standard input.

        :param name: what it is, for people.
        :param log: the file that gets its standard output and error.
        :param env: its environment; ours by default.
        :returns: fires with the child when it runs; fails with :class:`~torfluxd.errors.ChildError` when it cannot be
            started, or the keeper has ended.
        """
        ident = next(self._idents)
        started: Deferred[Child] = Deferred()
        self._children[ident] = Child(self, ident, name)
        self._starting[ident] = started
        if self._listens:
            words = [str(word) for word in argv]
            self.tell({"start": ident, "argv": words, "log": str(log), "env": dict(env) if env else None})
        else:
            self._fail(ident, _GONE)
        return started

    def directory(self, prefix: str) -> Path:
        """Make a temporary directory, for this user alone, that is removed in the end."""
        return Path(tempfile.mkdtemp(prefix=prefix, dir=self._household))

    def stop(self) -> Deferred[None]:
        """End all children, remove all directories.

        :returns: fires when that is done: at once when all end as they are asked, after a few seconds when they must be
            killed. Never fails.
        """
        if self._ended:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._waiting_for_end.append(ended)
        assert self.transport is not None
        self._listens = False
        self.transport.closeStdin()
        return ended

    def tell(self, line: dict[str, Any]) -> None:
        """Tell the keeper something, as long as it listens."""
        if self._listens:
            assert self.transport is not None
            self.transport.writeToChild(0, json.dumps(line).encode() + b"\n")

    def inConnectionLost(self) -> None:
        """Nothing more can be told, because the keeper has ended, or because we have closed the pipe."""
        self._listens = False

    def outReceived(self, data: bytes) -> None:
        """Hear what the keeper tells."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        if "started" in told:
            child = self._children[told["started"]]
            child.pid = told["pid"]
            self._starting.pop(told["started"]).callback(child)
        elif "failed" in told:
            self._fail(told["failed"], told["why"])
        else:
            self._children.pop(told["ended"]).ended(told["code"])

    def _fail(self, ident: int, why: str) -> None:
        name = self._children.pop(ident).name
        self._starting.pop(ident).errback(ChildError(f"{name} cannot be started: {why}"))

    def processEnded(self, reason: Failure) -> None:
        """The keeper has ended, and so have all children."""
        self._listens, self._ended = False, True
        shutil.rmtree(self._household, ignore_errors=True)  # there only if the keeper was killed
        for ident in list(self._starting):
            self._fail(ident, _GONE)
        children, self._children = self._children, {}
        for child in children.values():
            child.ended(-signal.SIGKILL)  # the keeper was killed itself, and so the kernel kills its children
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for ended in waiting:
            ended.callback(None)
