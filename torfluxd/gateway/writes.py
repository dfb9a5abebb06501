"""Strangers' writes on their way to InfluxDB, each told its own truth.

A writer hears InfluxDB's own answer about his lines. He never hears of a fault that is the vendor's: then he is told
to come back, in words that are the same whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from http import HTTPStatus
from typing import Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, succeed

from torfluxd.boundaries import Answer, Fate, Reply
from torfluxd.gateway.complaints import Complaints
from torfluxd.influx.dialect import Dialect, Write, write_target
from torfluxd.influx.inflate import GzipFault, inflate

__all__ = ["MAX_WRITE_BODY_BYTES", "WriteUpstream", "Writes", "too_large", "unavailable"]

MAX_WRITE_BODY_BYTES = 2 * 1024 * 1024
"""The most that one write may hold, as it arrives and inflated: twice what Telegraf's batches of 1000 points come to if
each has 1000 bytes. influxd takes 25 MB (`max-body-size`); but we hold the bodies of many strangers at once, and one
body is inflated at a stretch, in which nobody else is served."""

WRITES_AT_ONCE = 16
"""How many writes InfluxDB gets at a time; the others wait their turn, lest each opens a connection. On loopback, with
one point a write: 1000 writes/s with one at a time, 2000 with 4, 2200 with 16, 2300 with 64; then we are the limit."""

RETRY_AFTER_SECONDS = 30
"""When a writer may come back: about as long as a restart of InfluxDB takes."""

_WRITTEN = Answer(HTTPStatus.NO_CONTENT)

_T = TypeVar("_T")


class WriteUpstream(Protocol):
    """Where single writes go."""

    def post_write(self, target: bytes, lines: bytes) -> Deferred[Reply]:
        """Send lines to a request target, once; ends as :meth:`torfluxd.boundaries.Upstream.send` does."""


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
    """Brings each write to InfluxDB, and its answer back.

    :param upstream: where to.
    :param complaints: told why writes could not be stored.
    """

    def __init__(self, upstream: WriteUpstream, complaints: Complaints) -> None:
        self._upstream = upstream
        self._complaints = complaints
        self._turns = DeferredSemaphore(WRITES_AT_ONCE)

    def write(self, write: Write, body: bytes, content_encoding: bytes | None, writer: Hashable) -> Deferred[Answer]:
        """Write the lines of one body.

        :param write: where to, and how the timestamps are meant.
        :param body: as it came over the wire.
        :param content_encoding: how it was encoded, or None. Only gzip is known; for InfluxDB, whatever else it says,
            the body is lines.
        :param writer: whose lines these are.
        :returns: a Deferred that fires with the answer, and never fails. To cancel it is to say that the writer has
            gone: if the write has not begun, it never does; if it has, it ends as if he were there.
        """
        lines = inflate(body, MAX_WRITE_BODY_BYTES) if _is_gzip(content_encoding) else body
        if lines is GzipFault.TOO_LARGE:
            return succeed(too_large(write.dialect))
        if isinstance(lines, GzipFault):
            return succeed(write.dialect.refuse(HTTPStatus.BAD_REQUEST, lines.value))
        return Deferred.fromCoroutine(self._write_in_turn(write, lines))

    async def _write_in_turn(self, write: Write, lines: bytes) -> Answer:
        """Wait for a turn, write, and say what came of it."""
        try:
            await self._turns.acquire()
            reply = await _watch(self._post(write, lines))
        except CancelledError:
            return unavailable(write.dialect)  # to nobody: the writer has gone
        return _answer(write.dialect, reply)

    def _post(self, write: Write, lines: bytes) -> Deferred[Reply]:
        """Write, and let the next have his turn when that is over, whether or not anybody waits for the reply."""
        posted = self._upstream.post_write(write_target(write), lines)
        return posted.addCallback(self._note).addBoth(self._end_turn)

    def _note(self, reply: Reply) -> Reply:
        """Tell the operator when a write could not be stored."""
        if reply.fate is Fate.POSTPONE:
            self._complaints.note(reply.reason)
        return reply

    def _end_turn(self, outcome: _T) -> _T:
        """Let the next one have his."""
        self._turns.release()
        return outcome


def _is_gzip(content_encoding: bytes | None) -> bool:
    """Whether a body is gzip; `x-gzip` is its old name (RFC 9110 section 8.4.1.3)."""
    return content_encoding is not None and content_encoding.lower() in {b"gzip", b"x-gzip"}


def _watch(deferred: Deferred[_T]) -> Deferred[_T]:
    """Wait for a Deferred without the power to cancel it."""
    watcher: Deferred[_T] = Deferred()
    deferred.chainDeferred(watcher)
    return watcher


def _answer(dialect: Dialect, reply: Reply) -> Answer:
    """What a writer hears. A reply that was too long to be held has no body: then its error stands in its header."""
    if reply.fate is Fate.DELIVERED:
        return _WRITTEN
    if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return too_large(dialect)
    if reply.fate is Fate.POSTPONE or reply.status is None:
        return unavailable(dialect)
    if not reply.body:
        error = dict(reply.headers).get(b"X-Influxdb-Error", b"refused")
        return dialect.refuse(reply.status, error.decode("utf-8", "replace"))
    return Answer(reply.status, reply.headers, reply.body)
