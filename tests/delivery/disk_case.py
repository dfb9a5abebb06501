"""A spool on disk, with a clock and without a thread: what its tests have in common."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.delivery.spool_suite import SpoolCase
from torfluxd.boundaries import Spool
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce, Executor
from torfluxd.delivery.lending import DeadLetter
from torfluxd.delivery.letters import look
from torfluxd.delivery.steps import Bounds

T = TypeVar("T")

NOW = 1_800_000_000.0
DROPPING = Bounds(10_000, drop_oldest=True)


@define(eq=False)
class HeldWork:
    """An executor that begins each piece of work when the test says so."""

    held: list[Callable[[], None]] = field(factory=list)
    stopped: bool = False

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Hold it."""
        self.held.append(lambda: AtOnce().run(work, done))

    def stop(self) -> None:
        """Remember that it was stopped."""
        self.stopped = True

    def go(self) -> None:
        """Do the only piece of work that is held."""
        [work] = self.held
        self.held.clear()
        work()


_executor_type: type[Executor] = HeldWork


class DiskCase(SpoolCase):
    """Each spool is a `DiskSpool`, in a directory of its own."""

    def setUp(self) -> None:
        """Nothing is there yet."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.told: list[str] = []
        self.directory = self.new_directory()
        self.path = self.directory / "spool.db"

    def new_directory(self) -> Path:
        """A directory that is removed after the test."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return Path(directory.name)

    def open(self, bounds: Bounds = DROPPING, executor: Executor | None = None, path: Path | None = None) -> DiskSpool:
        """Open the spool. It is closed after the test."""
        opened = DiskSpool.open(path or self.path, self.clock, executor or AtOnce(), self.told.append, bounds)
        if isinstance(executor, HeldWork):
            executor.go()
        spool = self.successResultOf(opened)
        self.addCleanup(spool.close)
        return spool

    def lines(self, spool: Spool) -> list[bytes]:
        """What it lends, oldest first."""
        lines = []
        while (lease := self.successResultOf(spool.lend())) is not None:
            lines.append(lease.batch.lines)
        return lines

    def make_spool(self, limit_bytes: int, dead_letter_limit_bytes: int = 1_000_000) -> DiskSpool:
        """An empty spool in a directory of its own."""
        self.path = self.new_directory() / "spool.db"
        return self.open(Bounds(limit_bytes, drop_oldest=True, dead_letter_limit_bytes=dead_letter_limit_bytes))

    def dead_letters(self, spool: Spool) -> tuple[DeadLetter, ...]:
        """As the operator would see them if the process were killed now."""
        return tuple(buried.letter for buried in look(self.copy()).letters)

    def copy(self) -> Path:
        """What is in the files now: what a kill would leave behind."""
        directory = self.new_directory()
        for file in self.path.parent.iterdir():
            shutil.copy(file, directory)
        return directory / self.path.name

    def fails(self, deferred: Deferred[T], error: type[Exception]) -> str:
        """It must have failed with that error, whose text is returned."""
        return str(self.failureResultOf(deferred, error).value)
