"""What is asked of a spool on disk, how much it holds, and what it reports: values, without logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from torfluxd.boundaries import Batch, Destination, Fate, Refusal, SpoolCounts
from torfluxd.delivery.lending import LAST_POSITION, Kept
from torfluxd.delivery.store import Sums
from torfluxd.errors import SpoolError

__all__ = [
    "DEAD_LETTER_LIMIT_BYTES",
    "LIMIT_BYTES",
    "LIMIT_DESTINATIONS",
    "RESERVE_BYTES",
    "Bounds",
    "GiveBack",
    "Lend",
    "Prove",
    "Put",
    "Report",
    "Result",
    "Step",
]

LIMIT_BYTES = 1024**3
"""How much a spool holds unless told otherwise: at 100 bytes a point ten million points, three hours of 1000 points a
second, and still small beside the disk of any machine that runs InfluxDB."""

DEAD_LETTER_LIMIT_BYTES = 16 * 1024 * 1024
"""How much of what was refused is kept beside that: over 100 000 points, more than an operator looks through, and
few enough to be read into memory for her."""

LIMIT_DESTINATIONS = 1000
"""For how many destinations a spool keeps batches: strangers can make up as many as they like, each takes some memory,
a courier and its name on the disk; a vendor has a handful."""

RESERVE_BYTES = 8 * 1024 * 1024
"""How much room a spool needs at most to begin to be emptied: what SQLite has in its write-ahead log and not yet in the
file, 4 MiB (see :data:`~torfluxd.delivery.schema.JOURNAL_BYTES`), and the pages from which batches are deleted."""


@frozen
class Bounds:
    """How much a spool on disk holds, the lent batches among it.

    :ivar limit_bytes: in lines and :data:`~torfluxd.delivery.lending.BATCH_OVERHEAD_BYTES` for each batch.
    :ivar limit_points: in points, or None.
    :ivar limit_age_seconds: how old a batch becomes before it is dropped, or None. Only with `drop_oldest`.
    :ivar drop_oldest: whether a full spool drops its oldest batches that are not lent for a new one, or the new one
        if that is not enough. Else it refuses the new one, and never gives up what it has acknowledged.
    :ivar dead_letter_limit_bytes: how much of what was refused is kept beside that, counted alike.
    :ivar limit_destinations: for how many destinations something may be kept. A new one beyond that is refused.
    :ivar lend_points: up to how many points of batches in a row, of one destination and interval, are lent as one. A
        batch that exceeds this or the next bound is lent alone; when either is 0, each is.
    :ivar lend_bytes: up to how many bytes of lines, the newlines that join them among that.
    :ivar reserve_bytes: how much room on the disk is kept beside that, so that a spool on a full disk can be emptied;
        nothing is put while there is not so much. See :data:`RESERVE_BYTES`.
    """

    limit_bytes: int = LIMIT_BYTES
    limit_points: int | None = None
    limit_age_seconds: float | None = None
    drop_oldest: bool = False
    dead_letter_limit_bytes: int = DEAD_LETTER_LIMIT_BYTES
    limit_destinations: int = LIMIT_DESTINATIONS
    lend_points: int = 0
    lend_bytes: int = 0
    reserve_bytes: int = 0

    def __attrs_post_init__(self) -> None:
        if self.limit_age_seconds is not None and not self.drop_oldest:
            raise ValueError("a spool that never drops what it has acknowledged does not drop it for its age either")

    def exceeded(self, points: int, bytes_: int) -> bool:
        """Whether that much is too much."""
        return bytes_ > self.limit_bytes or (self.limit_points is not None and points > self.limit_points)


@frozen
class Put:
    """A step: keep a batch."""

    batch: Batch


@frozen
class Lend:
    """A step: lend the oldest batch that is not lent, or several in a row.

    :ivar destination: of that destination alone; None for the oldest of all.
    :ivar up_to: nothing behind this position.
    """

    destination: Destination | None = None
    up_to: int = LAST_POSITION


@frozen
class GiveBack:
    """A step: end a lease.

    :ivar refused: of a rejected one, the lines that were refused, when all others are stored.
    """

    kept: Kept
    fate: Fate
    reason: str = ""
    refused: Sequence[Refusal] = ()


@frozen
class Prove:
    """A step: change nothing, and sync that to the disk, as a put would be."""


Step = Put | Lend | GiveBack | Prove
Result = Kept | SpoolError | ValueError | None


@frozen
class Report:
    """How a group of steps ended, and how things stand after it.

    :ivar results: for each step what was lent, None, or the error it failed with.
    :ivar counts: the counts.
    :ivar destinations: what is kept now for each destination for which that may have changed.
    :ivar oldest_put_at: when the oldest batch was put, in seconds since 1970, or None.
    :ivar dead_letters: what the dead letters sum up to.
    :ivar forgotten_points: how many points were deleted with dead letters for want of room.
    :ivar trouble: why nothing can be put now, or nothing.
    :ivar news: what the operator must be told, in sentences.
    """

    results: Sequence[Result] = ()
    counts: SpoolCounts = field(factory=SpoolCounts)
    destinations: Mapping[Destination, Sums] = field(factory=dict)
    oldest_put_at: float | None = None
    dead_letters: Sums = field(factory=Sums)
    forgotten_points: int = 0
    trouble: str = ""
    news: Sequence[str] = ()
