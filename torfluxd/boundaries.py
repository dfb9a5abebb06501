"""The seams of the house: the words that its rooms share, and nothing else.

`influx`, `onion` and `delivery` never import one another. What they must agree on stands here: values without logic
and the small protocols behind which one room stands for another.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

__all__ = [
    "Answer",
    "Batch",
    "Destination",
    "Fate",
    "Header",
    "Lease",
    "Refusal",
    "Reply",
    "Spool",
    "SpoolCounts",
    "Upstream",
]


Header = tuple[bytes, bytes]
"""One header: name and value as bytes, without the colon and the white space around the value."""


@frozen
class Answer:
    """A whole answer to a stranger, or to a client on this machine.

    :ivar status: the HTTP status.
    :ivar headers: without `Content-Length`, `Connection`, `Date` and `Server`: framing is the door's, and the last
        two are nobody's.
    :ivar body: the body.
    """

    status: int
    headers: Sequence[Header] = ()
    body: bytes = b""


@frozen(cache_hash=True)
class Destination:
    """Where a batch goes.

    :ivar database: InfluxDB's database, 1.x's word; a bucket in 2.x, a database again in 3.x.
    :ivar retention_policy: 1.x's retention policy, or None for the database's default.
    """

    database: str
    retention_policy: str | None = None


@frozen
class Batch:
    """Lines that travel together.

    :ivar destination: where to.
    :ivar lines: line protocol in UTF-8, one point a line, separated by newlines, each with its own timestamp in
        nanoseconds, so that it may be sent twice.
    :ivar points: how many points `lines` holds.
    :ivar interval: the number of the time in which its points were recorded, where that may be seen: batches of
        different ones are never joined. 0 where nobody minds.
    """

    destination: Destination
    lines: bytes = field(repr=lambda lines: f"<{len(lines)} bytes>")
    points: int
    interval: int = 0


class Fate(enum.Enum):
    """What the answer to a batch means for that batch."""

    DELIVERED = "delivered"
    """It is stored."""

    POSTPONE = "postpone"
    """Nothing is known against it: try again later."""

    REJECT = "reject"
    """It was refused for its content or its size: trying again changes nothing."""

    NO_DESTINATION = "no destination"
    """There is no such database, bucket or retention policy. If a stranger made it up, that is a refusal; if it is the
    vendor's, it will be back: whoever knows whose it is decides. Everybody else tries again later."""


@frozen
class Refusal:
    """Lines of a batch that were refused, while its others are stored.

    :ivar lines: whole lines, separated by newlines.
    :ivar points: how many.
    :ivar reason: why, in one sentence for a log, without anything out of the lines.
    """

    lines: bytes = field(repr=lambda lines: f"<{len(lines)} bytes>")
    points: int
    reason: str


@frozen
class Reply:
    """What came back for one batch.

    :ivar fate: what it means.
    :ivar reason: one sentence for a log, without anything out of the batch; empty when delivered.
    :ivar status: the HTTP status, or None when there was no answer.
    :ivar headers: the headers of the answer that a writer may see (`Content-Type`, `X-Influxdb-Error`).
    :ivar body: the body of the answer, bounded; for the writer, never for a log.
    :ivar retry_after_seconds: how long the other side asks us to wait, or None.
    :ivar refused: of a rejected batch, exactly the lines that were refused, if whoever sent it has found that out: then
        all others are stored. Empty if he has not.
    """

    fate: Fate
    reason: str = ""
    status: int | None = None
    headers: Sequence[Header] = ()
    body: bytes = field(default=b"", repr=lambda body: f"<{len(body)} bytes>")
    retry_after_seconds: float | None = None
    refused: Sequence[Refusal] = ()


class Upstream(Protocol):
    """Where batches go."""

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send one batch, once.

        :returns: a Deferred that fires with the :class:`Reply`, whatever happens on the way: a refused connection,
            a timeout, a cut connection and an unreadable answer are all `Fate.POSTPONE`. It fails only with
            :class:`~twisted.internet.defer.CancelledError`, when it is cancelled.
        """


class Lease(Protocol):
    """One batch, borrowed from a spool. It is given back in exactly one of three ways.

    A second way back raises :class:`~torfluxd.errors.LeaseError` at once. A Deferred of these may fail with the
    spool's own error, and then the batch is as if it had been put back.
    """

    @property
    def batch(self) -> Batch:
        """The batch."""

    @property
    def position(self) -> int:
        """The place of its newest line in the order of puts: what was put later has a greater one."""

    def delivered(self) -> Deferred[None]:
        """It is stored upstream: forget it. Fires when that is as durable as the spool is."""

    def rejected(self, reason: str, refused: Sequence[Refusal] = ()) -> Deferred[None]:
        """It was refused for its content, with this reason: set it aside, and block nobody.

        :param refused: the lines to set aside, when all others of the batch are stored; by default the whole batch.
        """

    def put_back(self) -> Deferred[None]:
        """It could not be sent now: it is the first to be lent again."""


@frozen
class SpoolCounts:
    """What a spool holds, and what became of the rest.

    `points`, `delivered_points`, `rejected_points` and `dropped_points` add up to the points ever put.

    :ivar batches: how many batches it keeps now, the lent ones among them.
    :ivar points: how many points those hold.
    :ivar size_bytes: what those count for against its limit.
    :ivar delivered_points: points stored upstream.
    :ivar rejected_points: points set aside because of their content.
    :ivar dropped_points: points given up for want of room.
    :ivar newest: the position of the batch put last, 0 before the first.
    """

    batches: int = 0
    points: int = 0
    size_bytes: int = 0
    delivered_points: int = 0
    rejected_points: int = 0
    dropped_points: int = 0
    newest: int = 0


class Spool(Protocol):
    """Keeps batches until they are delivered. Bounded: what it cannot take it refuses or drops, and counts."""

    @property
    def counts(self) -> SpoolCounts:
        """The counts at this moment."""

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch. Fires when it is as durable as this spool makes it, and is counted in :attr:`counts`.

        Puts are done in the order of the calls.
        """

    def lend(self) -> Deferred[Lease | None]:
        """Borrow the oldest batch that is not lent, or None when there is none."""
