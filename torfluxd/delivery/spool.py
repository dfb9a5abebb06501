"""Keeps batches in memory until they are delivered: bounded, oldest dropped first, everything counted."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed

from torfluxd.boundaries import Batch, Fate, Lease, Refusal, Spool, SpoolCounts
from torfluxd.delivery.lending import (
    BATCH_OVERHEAD_BYTES,
    LAST_POSITION,
    BorrowedBatch,
    DeadLetter,
    Kept,
    Tally,
    joined,
    letters_for,
    size_bytes,
)

__all__ = ["BATCH_OVERHEAD_BYTES", "DEAD_LETTER_LIMIT_BYTES", "DeadLetter", "MemorySpool"]

DEAD_LETTER_LIMIT_BYTES = 1024 * 1024
"""How much of what was refused is kept for a look at it. Enough for several whole reports; more of a mistake that is
made again and again teaches nothing."""


class MemorySpool:
    """A spool as durable as the process. Every Deferred has fired already when it is returned, and none fails.

    A put that exceeds the limit drops the oldest batches that are not lent, until it fits. A batch that can not fit
    beside what is lent is dropped itself, and nothing else for it.

    :param limit_bytes: how much it holds, in lines and :data:`BATCH_OVERHEAD_BYTES` for each batch, the lent ones
        among them.
    :param dead_letter_limit_bytes: how much of what was refused it keeps beside that, counted alike.
    :param lend_bytes: up to how many bytes of lines in a row, of one destination and interval, are lent as one; a batch
        that exceeds this is lent alone, and so is each when it is 0.
    """

    def __init__(
        self, limit_bytes: int, dead_letter_limit_bytes: int = DEAD_LETTER_LIMIT_BYTES, lend_bytes: int = 0
    ) -> None:
        self._limit_bytes = limit_bytes
        self._dead_letter_limit_bytes = dead_letter_limit_bytes
        self._lend_bytes = lend_bytes
        self._waiting: deque[Kept] = deque()
        self._lent_bytes = 0
        self._dead_letters: deque[DeadLetter] = deque()
        self._dead_letter_bytes = 0
        self._tally = Tally()

    @property
    def counts(self) -> SpoolCounts:
        """The counts at this moment."""
        return self._tally.counts()

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What was refused, oldest first, as far as it is still kept."""
        return tuple(self._dead_letters)

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch, or drop it or older ones as the limit demands.

        :returns: a Deferred that has fired.
        """
        self._tally.add(batch)
        kept = Kept(self._tally.newest, batch)
        if self._lent_bytes + kept.size_bytes > self._limit_bytes:
            self._tally.dropped(kept)
            return succeed(None)
        while self._tally.size_bytes > self._limit_bytes:
            self._tally.dropped(self._waiting.popleft())
        self._waiting.append(kept)
        return succeed(None)

    def lend(self, up_to: int = LAST_POSITION) -> Deferred[Lease | None]:
        """Borrow the oldest batch that is not lent, or several in a row, or None when there is none.

        :param up_to: lend nothing behind this position.
        :returns: a Deferred that has fired.
        """
        run: list[Kept] = []
        room = self._lend_bytes + 1
        while self._waiting and self._waiting[0].position <= up_to and (not run or _fits(run, self._waiting[0], room)):
            run.append(self._waiting.popleft())
            room -= len(run[-1].batch.lines) + 1
        if not run:
            return succeed(None)
        kept = joined(run)
        self._lent_bytes += kept.size_bytes
        return succeed(BorrowedBatch(self, kept))

    def take_back(self, kept: Kept, fate: Fate, reason: str, refused: Sequence[Refusal]) -> Deferred[None]:
        """End a lease; only the lease calls this.

        :returns: a Deferred that has fired.
        """
        self._lent_bytes -= kept.size_bytes
        if fate is Fate.DELIVERED:
            self._tally.delivered(kept)
        elif fate is Fate.REJECT:
            letters = letters_for(kept, reason, refused)
            self._tally.rejected(kept, sum(letter.batch.points for letter in letters))
            for letter in letters:
                self._bury(letter)
        else:
            insort(self._waiting, kept, key=lambda other: other.position)
        return succeed(None)

    def _bury(self, letter: DeadLetter) -> None:
        self._dead_letters.append(letter)
        self._dead_letter_bytes += size_bytes(letter.batch)
        while self._dead_letter_bytes > self._dead_letter_limit_bytes:
            self._dead_letter_bytes -= size_bytes(self._dead_letters.popleft().batch)


def _fits(run: Sequence[Kept], following: Kept, room_bytes: int) -> bool:
    """Whether a batch may be lent with those before it."""
    first, one = run[0].batch, following.batch
    return len(one.lines) < room_bytes and one.interval == first.interval and one.destination == first.destination


_spool_type: type[Spool] = MemorySpool
