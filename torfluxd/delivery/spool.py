"""Keeps batches in memory until they are delivered: bounded, oldest dropped first, everything counted."""

from __future__ import annotations

from bisect import insort
from collections import deque

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed

from torfluxd.boundaries import Batch, Lease, Spool, SpoolCounts
from torfluxd.errors import LeaseError

__all__ = ["BATCH_OVERHEAD_BYTES", "DEAD_LETTER_LIMIT_BYTES", "DeadLetter", "MemorySpool"]

BATCH_OVERHEAD_BYTES = 256
"""What a batch counts for beside its lines, so that many small ones stay within the limit too: the objects around the
lines take 210 to 230 bytes on 64-bit CPython 3.11 (tracemalloc, 100 000 batches)."""

DEAD_LETTER_LIMIT_BYTES = 1024 * 1024
"""How much of what was refused is kept for a look at it. Enough for several whole reports; more of a mistake that is
made again and again teaches nothing."""


@frozen
class DeadLetter:
    """A batch that was refused for its content.

    :ivar batch: the batch.
    :ivar reason: why, in one sentence.
    """

    batch: Batch
    reason: str


@frozen(eq=False)
class _Kept:
    """A batch and its place in the order of puts."""

    position: int
    batch: Batch

    @property
    def size_bytes(self) -> int:
        return _size_bytes(self.batch)


def _size_bytes(batch: Batch) -> int:
    """What a batch counts for against a limit."""
    return len(batch.lines) + BATCH_OVERHEAD_BYTES


class MemorySpool:
    """A spool as durable as the process. Every Deferred has fired already when it is returned, and none fails.

    A put that exceeds the limit drops the oldest batches that are not lent, until it fits. A batch that can not fit
    beside what is lent is dropped itself, and nothing else for it.

    :param limit_bytes: how much it holds, in lines and :data:`BATCH_OVERHEAD_BYTES` for each batch, the lent ones
        among them.
    :param dead_letter_limit_bytes: how much of what was refused it keeps beside that, counted alike.
    """

    def __init__(self, limit_bytes: int, dead_letter_limit_bytes: int = DEAD_LETTER_LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._dead_letter_limit_bytes = dead_letter_limit_bytes
        self._waiting: deque[_Kept] = deque()
        self._waiting_bytes = 0
        self._lent_batches = 0
        self._lent_bytes = 0
        self._dead_letters: deque[DeadLetter] = deque()
        self._dead_letter_bytes = 0
        self._points = 0
        self._delivered_points = 0
        self._rejected_points = 0
        self._dropped_points = 0
        self._newest = 0

    @property
    def counts(self) -> SpoolCounts:
        """The counts at this moment."""
        return SpoolCounts(
            batches=len(self._waiting) + self._lent_batches,
            points=self._points,
            size_bytes=self._waiting_bytes + self._lent_bytes,
            delivered_points=self._delivered_points,
            rejected_points=self._rejected_points,
            dropped_points=self._dropped_points,
            newest=self._newest,
        )

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What was refused, oldest first, as far as it is still kept."""
        return tuple(self._dead_letters)

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch, or drop it or older ones as the limit demands.

        :returns: a Deferred that has fired.
        """
        self._newest += 1
        kept = _Kept(self._newest, batch)
        if self._lent_bytes + kept.size_bytes > self._limit_bytes:
            self._dropped_points += batch.points
            return succeed(None)
        while self._lent_bytes + self._waiting_bytes + kept.size_bytes > self._limit_bytes:
            self._drop_oldest()
        self._waiting.append(kept)
        self._waiting_bytes += kept.size_bytes
        self._points += batch.points
        return succeed(None)

    def lend(self) -> Deferred[Lease | None]:
        """Borrow the oldest batch that is not lent, or None when there is none.

        :returns: a Deferred that has fired.
        """
        if not self._waiting:
            return succeed(None)
        kept = self._waiting.popleft()
        self._waiting_bytes -= kept.size_bytes
        self._lent_batches += 1
        self._lent_bytes += kept.size_bytes
        return succeed(_MemoryLease(self, kept))

    def _drop_oldest(self) -> None:
        kept = self._waiting.popleft()
        self._waiting_bytes -= kept.size_bytes
        self._points -= kept.batch.points
        self._dropped_points += kept.batch.points

    def _take_back(self, kept: _Kept) -> None:
        """A lease ended. What becomes of its batch is the caller's."""
        self._lent_batches -= 1
        self._lent_bytes -= kept.size_bytes

    def _delivered(self, kept: _Kept) -> None:
        self._take_back(kept)
        self._points -= kept.batch.points
        self._delivered_points += kept.batch.points

    def _rejected(self, kept: _Kept, reason: str) -> None:
        self._take_back(kept)
        self._points -= kept.batch.points
        self._rejected_points += kept.batch.points
        self._dead_letters.append(DeadLetter(kept.batch, reason))
        self._dead_letter_bytes += kept.size_bytes
        while self._dead_letter_bytes > self._dead_letter_limit_bytes:
            self._dead_letter_bytes -= _size_bytes(self._dead_letters.popleft().batch)

    def _put_back(self, kept: _Kept) -> None:
        self._take_back(kept)
        insort(self._waiting, kept, key=lambda other: other.position)
        self._waiting_bytes += kept.size_bytes


@define(eq=False)
class _MemoryLease:
    """A batch lent by a :class:`MemorySpool`."""

    _spool: MemorySpool
    _kept: _Kept
    _given_back: bool = field(default=False, init=False)

    @property
    def batch(self) -> Batch:
        return self._kept.batch

    @property
    def position(self) -> int:
        return self._kept.position

    def delivered(self) -> Deferred[None]:
        self._give_back()
        self._spool._delivered(self._kept)
        return succeed(None)

    def rejected(self, reason: str) -> Deferred[None]:
        self._give_back()
        self._spool._rejected(self._kept, reason)
        return succeed(None)

    def put_back(self) -> Deferred[None]:
        self._give_back()
        self._spool._put_back(self._kept)
        return succeed(None)

    def _give_back(self) -> None:
        if self._given_back:
            raise LeaseError("this lease was given back before: a batch has one fate")
        self._given_back = True


_spool_type: type[Spool] = MemorySpool
_lease_type: type[Lease] = _MemoryLease
