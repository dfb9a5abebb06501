"""What a reporter keeps until it is delivered, on disk or in memory, and what of it may leave already."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import astuple, define, evolve, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Lease, Refusal, Spool, SpoolCounts
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.lending import LAST_POSITION
from torfluxd.delivery.spool import MemorySpool
from torfluxd.errors import SpoolBrokenError, SpoolError

__all__ = ["KEPT_EMPTY_REPORTS", "Stock"]

KEPT_EMPTY_REPORTS = 60
"""How many empty reports wait for the end of an outage, so that the reports after it do not tell for how many intervals
of it there was something to say. An outage of more intervals than that does tell: nobody wants a day's 1440 empty
reports of each of his users when his gateway is back."""


@define(eq=False)
class Stock:
    """A spool that lends nothing which is not sealed, and lends empty reports when there is nothing else.

    :param memory_limit_bytes: how much may be in memory, which is what cannot be on disk.
    :param lend_bytes: up to how many bytes of lines there are lent as one.
    :param empty: what an empty report holds, and where it goes.
    :ivar disk: where everything else is, or None while it is not open.
    :ivar is_shut: whether nothing is lent at all.
    """

    _memory_limit_bytes: int
    _lend_bytes: int
    _empty: Batch
    disk: DiskSpool | None = field(default=None, init=False)
    is_shut: bool = field(default=False, init=False)
    _memory: MemorySpool = field(init=False)
    _sealed_on_disk: int = field(default=0, init=False)
    _sealed_in_memory: int = field(default=0, init=False)
    _empties: int = field(default=0, init=False)
    _at_the_close: SpoolCounts = field(factory=SpoolCounts, init=False)
    _gone: SpoolCounts = field(factory=SpoolCounts, init=False)

    def __attrs_post_init__(self) -> None:
        self._memory = self._new_memory()

    @property
    def counts(self) -> SpoolCounts:
        """What is kept, and what became of the rest since this was made; of a disk that was closed, as it was then.

        Empty reports have no points, and are not among them.
        """
        disk = self._at_the_close if self.disk is None else self.disk.counts
        return _sum(_sum(self._memory.counts, disk), self._gone)

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch, on disk when that is open.

        :returns: a Deferred that fires when it is kept. It fails with :class:`~torfluxd.errors.SpoolError` when the
            disk did not take it: then it is kept in memory.
        """
        if self.disk is None:
            return self._memory.put(batch)

        def keep_in_memory(failure: Failure) -> Failure:
            failure.trap(SpoolError)
            self._memory.put(batch)
            return failure

        return self.disk.put(batch).addErrback(keep_in_memory)

    def lend(self) -> Deferred[Lease | None]:
        """Borrow what is the next report, or None when nothing is sealed.

        It fails with :class:`~torfluxd.errors.SpoolBrokenError` when the disk does, and there is nothing in memory.
        """
        return Deferred.fromCoroutine(self._lend_next())

    def peek(self) -> Deferred[Lease | None]:
        """Borrow what would be the next report if everything were sealed; None when there is nothing.

        It fails as :meth:`lend` does.
        """
        return Deferred.fromCoroutine(self._lend(LAST_POSITION, LAST_POSITION))

    def seal(self) -> None:
        """Everything that is kept now may leave."""
        self._sealed_in_memory = self._memory.counts.newest
        if self.disk is not None:
            self._sealed_on_disk = self.disk.counts.newest

    # Empty reports.

    def add_empty(self) -> None:
        """An interval was empty, and shall have its report, too."""
        if self.counts.batches + self._empties < KEPT_EMPTY_REPORTS:
            self._empties += 1

    def end_empty(self) -> None:
        """An empty report has arrived, or was refused; only its lease calls this."""
        self._empties = max(0, self._empties - 1)

    def forget_empties(self) -> None:
        """None is to be sent any more."""
        self._empties = 0

    # The disk.

    def disk_opened(self, disk: DiskSpool) -> None:
        """Keep everything there from now on. All that is in it may leave."""
        self._gone = _ended(_sum(self._gone, self._at_the_close))
        self._at_the_close = SpoolCounts()
        self.disk = disk
        self._sealed_on_disk = disk.counts.newest

    def disk_closed(self) -> None:
        """It was closed, with all that is in it."""
        if self.disk is not None:
            self._at_the_close, self.disk = self.disk.counts, None

    def wiped(self, points: int) -> int:
        """It was closed and deleted; nothing is kept any more, in memory neither.

        :param points: how many were on disk.
        :returns: how many were kept in all.
        """
        self.disk_closed()
        self.forget_empties()
        memory = self._memory.counts
        ended = _ended(_sum(_sum(self._gone, self._at_the_close), memory))
        points += memory.points
        self._gone = evolve(ended, dropped_points=ended.dropped_points + points)
        self._at_the_close = SpoolCounts()
        self._memory = self._new_memory()
        return points

    async def _lend_next(self) -> Lease | None:
        if self.is_shut:
            return None
        lease = await self._lend(self._sealed_on_disk, self._sealed_in_memory)
        if lease is None and self._empties:
            return _EmptyReport(self._empty, self)
        return lease

    async def _lend(self, up_to_on_disk: int, up_to_in_memory: int) -> Lease | None:
        lease, broken = None, None
        if self.disk is not None:
            try:
                lease = await self.disk.lend(up_to=up_to_on_disk)
            except SpoolBrokenError as error:
                broken = error
        if lease is None:
            lease = await self._memory.lend(up_to=up_to_in_memory)
        if lease is None and broken is not None:
            raise broken
        return None if lease is None else _Unplaced(lease)

    def _new_memory(self) -> MemorySpool:
        return MemorySpool(self._memory_limit_bytes, lend_bytes=self._lend_bytes)


@frozen(eq=False)
class _Unplaced:
    """A lease of one of two spools, whose positions have nothing to do with each other."""

    _lease: Lease
    position: int = 0

    @property
    def batch(self) -> Batch:
        """The batch."""
        return self._lease.batch

    def delivered(self) -> Deferred[None]:
        """It is stored."""
        return self._lease.delivered()

    def rejected(self, reason: str, refused: Sequence[Refusal] = ()) -> Deferred[None]:
        """It was refused."""
        return self._lease.rejected(reason, refused)

    def put_back(self) -> Deferred[None]:
        """It could not be sent now."""
        return self._lease.put_back()


@frozen(eq=False)
class _EmptyReport:
    """A report without points, borrowed."""

    batch: Batch
    _stock: Stock
    position: int = 0

    def delivered(self) -> Deferred[None]:
        """It has arrived."""
        self._stock.end_empty()
        return succeed(None)

    def rejected(self, reason: str, refused: Sequence[Refusal] = ()) -> Deferred[None]:
        """It was refused; there is nothing to set aside."""
        return self.delivered()

    def put_back(self) -> Deferred[None]:
        """It could not be sent now."""
        return succeed(None)


def _sum(one: SpoolCounts, other: SpoolCounts) -> SpoolCounts:
    return SpoolCounts(*(a + b for a, b in zip(astuple(one), astuple(other), strict=True)))


def _ended(counts: SpoolCounts) -> SpoolCounts:
    """What became of the points that are kept no longer, alone."""
    return evolve(counts, batches=0, points=0, size_bytes=0)


_spool_type: type[Spool] = Stock
_lease_types: tuple[type[Lease], ...] = (_Unplaced, _EmptyReport)
