"""Child processes and temporary directories that never outlive us: after Ctrl-C, an error, or a kill -9.

A :class:`Keeper` is a small process of our own (`keeper.py`) that starts the others. It sees the end of ours, because a
pipe between the two closes, and cleans up: the one way in which everything ends, also in good order.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from torfluxd.errors import ChildError

__all__ = ["Child", "Keeper"]


class Child:
    """One child.

    :ivar name: as it was given.
    :ivar pid: its process id.
    :ivar exit_code: None while it runs; negative for the signal that ended it.
    """

    def __init__(self, keeper: Keeper, name: str) -> None:
        self._keeper = keeper
        self.name = name
        self.pid = 0
        self.exit_code: int | None = None
        self._waiting: list[Deferred[int]] = []

    def when_ended(self) -> Deferred[int]:
        """Fire with the exit code when it has ended. Never fails."""
        ended: Deferred[int] = Deferred()
        if self.exit_code is not None:
            ended.callback(self.exit_code)
        else:
            self._waiting.append(ended)
        return ended

    def signal(self, number: int) -> None:
        """Send it, and all that it started, a signal."""
        if self.exit_code is None:
            self._keeper.tell({"signal": self.name, "number": int(number)})

    def ended(self, code: int) -> None:
        """It has ended; the keeper says so."""
        self.exit_code = code
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(code)


class Keeper(ProcessProtocol):
    """Starts children, and owns temporary directories; :meth:`stop` ends and removes them all."""

    def __init__(self) -> None:
        self._rest = b""
        self._errors = b""
        self._children: dict[str, Child] = {}
        self._starting: dict[str, Deferred[Child]] = {}
        self._has_ended = False
        self._ended: Deferred[None] = Deferred()

    def start(self, reactor: IReactorProcess) -> None:
        """Start the keeper itself."""
        argv = [sys.executable, "-m", "torfluxd.keeper"]
        reactor.spawnProcess(self, sys.executable, argv, env=dict(os.environ))

    def spawn(
        self, name: str, argv: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> Deferred[Child]:
        """Start a child, with nothing on its standard input.

        :param name: names it; each name is used once.
        :param log: the file that gets its standard output and error.
        :param env: its environment; ours by default.
        :returns: fires with the child when it runs; fails with :class:`~torfluxd.errors.ChildError` when it cannot be
            started, or the keeper has ended.
        """
        started: Deferred[Child] = Deferred()
        if self._has_ended:
            return fail(ChildError(f"{name} cannot be started: {self._how_it_ended()}"))
        self._children[name] = Child(self, name)
        self._starting[name] = started
        self.tell(
            {"start": name, "argv": [str(word) for word in argv], "log": str(log), "env": dict(env) if env else None}
        )
        return started

    def directory(self, prefix: str) -> Path:
        """Make a temporary directory, for this user alone, that is removed in the end."""
        path = Path(tempfile.mkdtemp(prefix=prefix))
        self.own(path)
        return path

    def own(self, path: Path) -> None:
        """Have a directory removed in the end."""
        self.tell({"own": str(path)})

    def stop(self) -> Deferred[None]:
        """End all children, remove all directories. Fires when that is done; never fails."""
        if self.transport is not None and not self._has_ended:
            self.transport.closeStdin()
        done: Deferred[None] = Deferred()
        self._ended.addCallback(lambda _: done.callback(None))
        return done

    def tell(self, line: dict[str, Any]) -> None:
        """Tell the keeper something."""
        assert self.transport is not None, "the keeper is started first"
        if not self._has_ended:
            self.transport.writeToChild(0, json.dumps(line).encode() + b"\n")

    def outReceived(self, data: bytes) -> None:
        """Hear what the keeper tells."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def errReceived(self, data: bytes) -> None:
        """Keep what went wrong in the keeper itself, for the error."""
        self._errors += data

    def _hear(self, told: dict[str, Any]) -> None:
        if "started" in told:
            child = self._children[told["started"]]
            child.pid = told["pid"]
            self._starting.pop(child.name).callback(child)
        elif "failed" in told:
            name = told["failed"]
            self._starting.pop(name).errback(ChildError(f"{name} cannot be started: {told['why']}"))
        else:
            self._children[told["ended"]].ended(told["code"])

    def processEnded(self, reason: Failure) -> None:
        """The keeper has ended, and so have all children."""
        self._has_ended = True
        starting, self._starting = self._starting, {}
        for name, started in starting.items():
            started.errback(ChildError(f"{name} cannot be started: {self._how_it_ended()}"))
        for child in list(self._children.values()):
            if child.pid and child.exit_code is None:
                child.ended(-9)
        self._ended.callback(None)

    def _how_it_ended(self) -> str:
        last = self._errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return f"the keeper of processes has ended {last}".rstrip()
