"""One batch, one POST, one reply.

The gateway writes to its InfluxDB with this, the reporter to a gateway through Tor.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from http.client import responses

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Fate, Header, Reply, Upstream
from torfluxd.errors import UpstreamError
from torfluxd.influx.dialect import V1, Write, write_target
from torfluxd.influx.post import Posted, Poster
from torfluxd.influx.settle import settle

__all__ = ["HttpUpstream", "classify"]

ANSWER_SECONDS = 30.0
"""How long InfluxDB may take for a write, from the first attempt to connect to the last byte of the answer: three times
as long as influxd itself gives a write (`write-timeout` in `[coordinator]`, 10 s)."""

MAX_RETRY_AFTER_SECONDS = 3600
"""The longest wait that the other side can ask of us."""

_SHOWN = {b"content-type": b"Content-Type", b"x-influxdb-error": b"X-Influxdb-Error"}
"""The headers of an answer that a writer may see, as InfluxDB writes them."""

_WITHOUT_NUL = bytes.maketrans(b"\0", b" ")
"""Turns NUL into a space: influxd repeats bad lines in a header, and lets a NUL stand there (tried with 1.6.7), with
which no header can go on to anybody."""


class HttpUpstream:
    """Sends batches to an InfluxDB, or to a gateway, over HTTP. It sends each once, and follows no redirect.

    :param poster: carries the requests to where they go.
    :param clock: measures the deadline.
    :param timeout_seconds: from the call to the last byte of the answer.
    """

    def __init__(self, poster: Poster, clock: IReactorTime, timeout_seconds: float = ANSWER_SECONDS) -> None:
        self._poster = poster
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send one batch, once; see :meth:`torfluxd.boundaries.Upstream.send`."""
        return self.post_write(write_target(Write(V1, batch.destination)), batch.lines)

    def post_write(self, target: bytes, lines: bytes) -> Deferred[Reply]:
        """Send lines to a request target, once.

        :param target: path and query of the write below the prefix of the URL.
        :returns: a Deferred that ends as that of :meth:`send` does.
        """
        exchange = self._poster.post(target, (), lines)
        return settle(exchange, self._clock, self._timeout_seconds).addCallbacks(_classified, _postpone)


def _classified(posted: Posted) -> Reply:
    return classify(posted.status, posted.headers, posted.body)


def classify(status: int, headers: Sequence[Header], body: bytes) -> Reply:
    """What an answer to a write means for the lines that were written.

    Refused are lines only if InfluxDB itself says so. All else is a fault of whoever runs it: a credential that
    expired, a database that was dropped, a proxy in front that redirects, or answers 400 or 200 in its own words. It
    will be mended, and the lines are worth keeping until then. The one 5xx that no waiting mends is a retention
    policy that was asked for by name and is unknown.

    :param headers: of the answer, names in lower case.
    """
    fields = dict(headers)
    return Reply(
        fate=_fate(status, fields),
        reason="" if status == HTTPStatus.NO_CONTENT else f"it answered {status} {responses.get(status, '')}".rstrip(),
        status=status,
        headers=tuple((_SHOWN[name], value.translate(_WITHOUT_NUL)) for name, value in headers if name in _SHOWN),
        body=body,
        retry_after_seconds=_retry_after_seconds(fields.get(b"retry-after", b"")),
    )


def _fate(status: int, fields: dict[bytes, bytes]) -> Fate:
    """Stored, refused, or nobody knows. Every InfluxDB from 0.9 to 3 answers 204 to a write that it stored."""
    error = fields.get(b"x-influxdb-error", b"")
    if status == HTTPStatus.NO_CONTENT:
        return Fate.DELIVERED
    if status == HTTPStatus.BAD_REQUEST and (error or _is_json(fields.get(b"content-type", b""))):
        return Fate.REJECT
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and error.startswith(b"retention policy not found: "):
        return Fate.REJECT
    return Fate.POSTPONE


def _is_json(content_type: bytes) -> bool:
    """Whether a content type is JSON, parameters aside: the shape of InfluxDB's errors in every version."""
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


def _retry_after_seconds(value: bytes) -> float | None:
    """The seconds of a `Retry-After`, bounded. InfluxDB sends no dates, so nobody reads them here."""
    if not value.isdigit():
        return None
    return float(min(int(value[:10]), MAX_RETRY_AFTER_SECONDS))


def _postpone(failure: Failure) -> Reply:
    """No answer says nothing against the lines."""
    failure.trap(UpstreamError)
    return Reply(Fate.POSTPONE, reason=failure.getErrorMessage())


_: type[Upstream] = HttpUpstream
