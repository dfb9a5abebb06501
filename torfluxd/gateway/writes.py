"""Strangers' writes on their way to InfluxDB, each told its own truth.

Bad lines never leave here; the good ones each have a timestamp, and travel with others' (see `lanes`). A writer hears
InfluxDB's own answer about his lines. He never hears of a fault that is the vendor's: then he is told to come back, in
words that are the same whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from http import HTTPStatus

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from torfluxd.boundaries import Answer, Batch, Fate, Reply, Upstream
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.lanes import Lanes
from torfluxd.influx.check import Checked, check
from torfluxd.influx.dialect import Dialect, Write
from torfluxd.influx.inflate import GzipFault, inflate
from torfluxd.influx.stamp import Stamper, stamp_lines

__all__ = ["MAX_WRITE_BODY_BYTES", "Writes", "too_large", "unavailable"]

MAX_WRITE_BODY_BYTES = 2 * 1024 * 1024
"""The most that one write may hold, as it arrives and inflated: twice what Telegraf's batches of 1000 points come to if
each has 1000 bytes. influxd takes 25 MB (`max-body-size`); but we hold the bodies of many strangers at once, and one
body is inflated at a stretch, in which nobody else is served."""

WRITES_AT_ONCE = 16
"""How many writes InfluxDB gets at a time, one for each destination; the others wait their turn, lest a stranger who
thinks of many destinations opens as many connections."""

RETRY_AFTER_SECONDS = 30
"""When a writer may come back: about as long as a restart of InfluxDB takes."""

_WRITTEN = Answer(HTTPStatus.NO_CONTENT)


@cache
def unavailable(dialect: Dialect) -> Answer:
    """What a writer hears while InfluxDB takes no writes, whatever the cause."""
    return dialect.refuse(
        HTTPStatus.SERVICE_UNAVAILABLE, "the database takes no writes at the moment", RETRY_AFTER_SECONDS
    )


@cache
def too_large(dialect: Dialect) -> Answer:
    """What a writer hears whose body is over a limit."""
    return dialect.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, GzipFault.TOO_LARGE.value)


class Writes:
    """Checks the lines of each write, stamps them, brings them to InfluxDB, and the answer back.

    :param upstream: where to.
    :param clock: measures for how long writers who were refused travel alone.
    :param complaints: tells the operator what is wrong with InfluxDB.
    :param stamper: gives lines without a timestamp theirs.
    """

    def __init__(
        self, upstream: Upstream, clock: IReactorTime, complaints: Complaints, stamper: Stamper | None = None
    ) -> None:
        self._lanes = Lanes(_InTurns(upstream, complaints), clock)
        self._stamper = stamper or Stamper()

    def write(self, write: Write, body: bytes, content_encoding: bytes | None, writer: Hashable) -> Deferred[Answer]:
        """Write the lines of one body.

        :param write: where to, and how the timestamps are meant.
        :param body: as it came over the wire.
        :param content_encoding: how it was encoded, or None. Only gzip is known; for InfluxDB, whatever else it says,
            the body is lines.
        :param writer: whose lines these are.
        :returns: a Deferred that fires with the answer, and never fails. To cancel it is to say that the writer has
            gone; his lines are written as if he were there.
        """
        lines = inflate(body, MAX_WRITE_BODY_BYTES) if _is_gzip(content_encoding) else body
        if lines is GzipFault.TOO_LARGE:
            return succeed(too_large(write.dialect))
        if isinstance(lines, GzipFault):
            return succeed(write.dialect.refuse(HTTPStatus.BAD_REQUEST, lines.value))
        checked = check(lines, write.precision)
        told = _told_of_bad_lines(write, checked) if checked.bad else _WRITTEN
        if not checked.points or (checked.bad and write.is_whole):
            return succeed(told)
        stamped = stamp_lines(checked.lines, self._stamper.stamp(), write.precision, checked.timestamps)
        written = self._lanes.write(write.destination, stamped, checked.points, writer)
        return written.addCallbacks(_answer, _gone, callbackArgs=(write.dialect, told), errbackArgs=(write.dialect,))


class _InTurns:
    """An upstream that gets a few writes at a time, however many destinations strangers think of."""

    def __init__(self, upstream: Upstream, complaints: Complaints) -> None:
        self._upstream = upstream
        self._complaints = complaints
        self._turns = DeferredSemaphore(WRITES_AT_ONCE)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a batch when its turn comes; see :meth:`torfluxd.boundaries.Upstream.send`."""
        sent: Deferred[Reply] = self._turns.run(self._upstream.send, batch)
        return sent.addCallback(self._note)

    def _note(self, reply: Reply) -> Reply:
        """Tell the operator what keeps writes from being stored."""
        if reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION):
            self._complaints.note(reply.reason)
        return reply


_: type[Upstream] = _InTurns


def _told_of_bad_lines(write: Write, checked: Checked) -> Answer:
    """What a writer hears of bad lines; the good ones are stored, unless he wants all or nothing."""
    kept = bool(checked.points) and not write.is_whole
    return write.dialect.refuse_lines(checked.bad, is_whole=write.is_whole, kept=kept)


def _gone(failure: Failure, dialect: Dialect) -> Answer:
    """What nobody hears: the writer has gone."""
    failure.trap(CancelledError)
    return unavailable(dialect)


def _is_gzip(content_encoding: bytes | None) -> bool:
    """Whether a body is gzip; `x-gzip` is its old name (RFC 9110 section 8.4.1.3)."""
    return content_encoding is not None and content_encoding.lower() in {b"gzip", b"x-gzip"}


def _answer(reply: Reply, dialect: Dialect, told: Answer) -> Answer:
    """What a writer hears; `told` when his good lines are stored.

    A retention policy that does not exist was asked for by him, by name, and 1.x says so with 500; a database or a
    bucket that does not exist may be there tomorrow.
    """
    if reply.fate is Fate.DELIVERED:
        return told
    if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return too_large(dialect)
    if reply.fate is Fate.POSTPONE or reply.status is None:
        return unavailable(dialect)
    if reply.fate is Fate.NO_DESTINATION and reply.status == HTTPStatus.NOT_FOUND:
        return unavailable(dialect)
    return dialect.retell(reply)
