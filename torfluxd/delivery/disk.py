"""Keeps batches on disk until they are delivered: what was acknowledged survives `kill -9` and a power cut.

While the disk is at work, what is asked meanwhile gathers, and is done in one transaction when the disk is free: one
sync for all of it, without a timer. Nothing is acknowledged before that transaction is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Destination, Fate, Lease, Refusal, Spool, SpoolCounts
from torfluxd.delivery.executor import Executor
from torfluxd.delivery.ledger import Ledger
from torfluxd.delivery.lending import LAST_POSITION, BorrowedBatch, Kept
from torfluxd.delivery.schema import SCHEMA
from torfluxd.delivery.steps import Bounds, GiveBack, Lend, Prove, Put, Report, Step
from torfluxd.delivery.store import Sums
from torfluxd.errors import SpoolBrokenError

__all__ = ["DiskSpool"]

_log = Logger()


@frozen(eq=False)
class _Asked:
    """A step, and who waits for it."""

    step: Step
    waiter: Deferred[Kept | None] = field(factory=Deferred)


class DiskSpool:
    """A spool in a file, see :meth:`open`.

    The counts begin with what the file holds when it is opened. Which batches are lent is not written down: what was
    neither delivered nor rejected when the process ended is lent again by the next one.

    Each Deferred of the spool and of its leases fails with :class:`~torfluxd.errors.SpoolBrokenError` while there is
    trouble with the file: the disk is full, it fails, or the spool is closed. It is tried again by itself, at a pace.
    To cancel one changes nothing for a batch that is put or given back; one that is lent is put back.
    """

    def __init__(
        self, ledger: Ledger, clock: IReactorTime, executor: Executor, tell: Callable[[str], None], report: Report
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._executor = executor
        self._tell = tell
        self._report = Report()
        self._destinations: dict[Destination, Sums] = {}
        self._asked: list[_Asked] = []
        self._busy = False
        self._closing = False
        self._closed = False
        self._closers: list[Deferred[None]] = []
        self._note(report)

    @classmethod
    def open(
        cls,
        path: Path,
        clock: IReactorTime,
        executor: Executor,
        tell: Callable[[str], None],
        bounds: Bounds | None = None,
        schema: Sequence[str] = SCHEMA,
    ) -> Deferred[DiskSpool]:
        """Open a spool, and begin it where there is none.

        :param path: its file, in a directory that only this process uses.
            SQLite has others beside it, with the same name and an ending.
        :param clock: tells the time in seconds since 1970, as the reactor does.
        :param executor: where the blocking work is done; the spool's own, which it stops when it is closed.
        :param tell: told, in a sentence, what the operator must know: that trouble with the file began, or that it was
            damaged and set aside. Not called for each put that fails.
        :param bounds: how much it holds; by default :data:`~torfluxd.delivery.steps.LIMIT_BYTES`, and never dropping.
        :param schema: see :func:`~torfluxd.delivery.schema.open_file`.
        :returns: a Deferred that fires with the spool, even when there is trouble with the file, see :attr:`trouble`.
            It fails with :class:`~torfluxd.errors.SpoolVersionError` when the file is of a newer torfluxd.
        """
        ledger = Ledger(path, bounds or Bounds(), schema)
        opened: Deferred[DiskSpool] = Deferred()

        def done(outcome: Report | Failure) -> None:
            if isinstance(outcome, Failure):
                executor.stop()
                opened.errback(outcome)
            else:
                opened.callback(cls(ledger, clock, executor, tell, outcome))

        now = clock.seconds()
        executor.run(lambda: ledger.open(now), done)
        return opened

    @property
    def counts(self) -> SpoolCounts:
        """The counts after the last transaction."""
        return self._report.counts

    @property
    def destinations(self) -> Mapping[Destination, Sums]:
        """What is kept, the lent batches among it, for each destination for which anything is.

        As after the last transaction; it changes with the spool.
        """
        return self._destinations

    @property
    def oldest_age_seconds(self) -> float | None:
        """How long ago the oldest batch was put, or None when there is none."""
        put_at = self._report.oldest_put_at
        return None if put_at is None else max(0.0, self._clock.seconds() - put_at)

    @property
    def dead_letters(self) -> Sums:
        """What the dead letters in the file sum up to."""
        return self._report.dead_letters

    @property
    def forgotten_points(self) -> int:
        """Points whose dead letters were deleted for want of room, since the file was opened."""
        return self._report.forgotten_points

    @property
    def trouble(self) -> str:
        """Why puts fail now, in a sentence, or nothing when all is well."""
        return self._report.trouble

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch.

        :returns: a Deferred that fires when it is synced to the disk. It fails with
            :class:`~torfluxd.errors.SpoolFullError` when there is no room within the bounds, with
            :class:`~torfluxd.errors.SpoolBrokenError`, or with :class:`ValueError` when its destination is no Unicode.
        """
        return self._ask(Put(batch)).addCallback(_nothing)

    def lend(self, destination: Destination | None = None, up_to: int = LAST_POSITION) -> Deferred[Lease | None]:
        """Borrow the oldest batch that is not lent, or None when there is none.

        Batches of its destination and interval that follow it are joined to it, up to the bounds: one lease, given back
        as one.

        :param destination: of which destination; by default of any. That takes a look at each, so a spool with very
            many is better asked for one.
        :param up_to: lend nothing behind this position.
        """
        return self._ask(Lend(destination, up_to)).addCallback(self._lease)

    def only(self, destination: Destination) -> Spool:
        """A view of this spool that lends batches of one destination alone.

        Its counts are those of the whole spool, but `batches`, `points` and `size_bytes` are of that destination.
        """
        return _Only(self, destination)

    def take_back(self, kept: Kept, fate: Fate, reason: str, refused: Sequence[Refusal]) -> Deferred[None]:
        """End a lease; only the lease calls this."""
        return self._ask(GiveBack(kept, fate, reason, refused)).addCallback(_nothing)

    def prove(self) -> Deferred[None]:
        """Show that it works: change nothing, and have that synced to the disk, behind what was asked before.

        :returns: a Deferred that fires when it is; while the thread or the disk hangs it does not fire. It fails as
            that of :meth:`put` does.
        """
        return self._ask(Prove()).addCallback(_nothing)

    def close(self) -> Deferred[None]:
        """Do what was asked before, close the file and end the thread.

        :returns: a Deferred that fires when all of that is done; it never fails.
        """
        if self._closed:
            return succeed(None)
        self._closing = True
        closer: Deferred[None] = Deferred()
        self._closers.append(closer)
        self._go_on()
        return closer

    def _lease(self, kept: Kept | None) -> Lease | None:
        return None if kept is None else BorrowedBatch(self, kept)

    def _ask(self, step: Step) -> Deferred[Kept | None]:
        if self._closing:
            return fail(SpoolBrokenError("the spool is closed"))
        asked = _Asked(step)
        self._asked.append(asked)
        self._go_on()
        return asked.waiter

    def _go_on(self) -> None:
        """Give the next group to the disk, if it is free."""
        if self._busy:
            return
        if self._asked:
            self._busy = True
            group, self._asked = self._asked, []
            steps = [asked.step for asked in group]
            now = self._clock.seconds()
            self._executor.run(lambda: self._ledger.do(steps, now), lambda outcome: self._done(group, outcome))
        elif self._closing:
            self._busy = True
            self._executor.run(self._ledger.close, self._end)

    def _done(self, group: Sequence[_Asked], outcome: Report | Failure) -> None:
        self._busy = False
        if isinstance(outcome, Failure):
            self._go_on()
            for asked in group:
                asked.waiter.errback(outcome)
            return
        self._note(outcome)
        self._go_on()  # the disk works while those who waited are told
        for asked, result in zip(group, outcome.results, strict=True):
            if isinstance(result, Exception):
                asked.waiter.errback(result)
            else:
                self._hand_over(asked, result)

    def _hand_over(self, asked: _Asked, result: Kept | None) -> None:
        if result is not None and asked.waiter.called:  # cancelled: nobody would ever give it back
            self.take_back(result, Fate.POSTPONE, "", ()).addErrback(_is_back_anyway)
        asked.waiter.callback(result)

    def _note(self, report: Report) -> None:
        for sentence in report.news:
            self._tell(sentence)
        if self._report.trouble and not report.trouble:
            _log.info("The spool on disk works again.")
        self._report = report
        for destination, sums in report.destinations.items():
            if sums.batches:
                self._destinations[destination] = sums
            else:
                self._destinations.pop(destination, None)

    def _end(self, outcome: Failure | None) -> None:
        if outcome is not None:
            _log.failure("While the spool on disk was closed", outcome)
        self._executor.stop()
        self._closed = True
        for closer in self._closers:
            closer.callback(None)


@frozen(eq=False)
class _Only:
    """See :meth:`DiskSpool.only`."""

    _spool: DiskSpool
    _destination: Destination

    @property
    def counts(self) -> SpoolCounts:
        """The counts after the last transaction."""
        kept = self._spool.destinations.get(self._destination, Sums())
        return evolve(self._spool.counts, batches=kept.batches, points=kept.points, size_bytes=kept.size_bytes)

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch, whatever its destination."""
        return self._spool.put(batch)

    def lend(self) -> Deferred[Lease | None]:
        """Borrow the oldest batch of this destination that is not lent, or None when there is none."""
        return self._spool.lend(self._destination)


def _nothing(result: object) -> None:
    return None


def _is_back_anyway(failure: Failure) -> None:
    """A lease whose way back failed is as if it had been put back."""
    failure.trap(SpoolBrokenError)


_spool_types: tuple[type[Spool], ...] = (DiskSpool, _Only)
