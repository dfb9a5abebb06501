"""One batch, one POST, one reply: the only user of treq.

The gateway writes to its InfluxDB with this, the reporter to a gateway through Tor. What goes out is the same bytes
whoever runs it and wherever: a request line, `Content-Length` and `Host`. What comes back is bounded in size and time,
because the other side of the reporter may be hostile.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from http.client import responses
from typing import Any, cast

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.boundaries import Batch, Fate, Header, Reply, Upstream
from torfluxd.errors import UpstreamError
from torfluxd.influx.dialect import V1, Write, write_target
from torfluxd.influx.settle import settle
from torfluxd.influx.url import InfluxdbUrl

__all__ = ["HttpUpstream", "classify"]

ANSWER_SECONDS = 30.0
"""How long InfluxDB may take for a write, from the first attempt to connect to the last byte of the answer: three times
as long as influxd itself gives a write (`write-timeout` in `[coordinator]`, 10 s)."""

MAX_ANSWER_BYTES = 64 * 1024
"""How much of an answer is held. influxd names every bad line of a write in its answer: this is some 1000 of them."""

MAX_RETRY_AFTER_SECONDS = 3600
"""The longest wait that the other side can ask of us."""

_SHOWN = {b"content-type": b"Content-Type", b"x-influxdb-error": b"X-Influxdb-Error"}
"""The headers of an answer that a writer may see, as InfluxDB writes them."""

_WITHOUT_NUL = bytes.maketrans(b"\0", b" ")
"""Turns NUL into a space: influxd repeats bad lines in a header, and lets a NUL stand there (tried with 1.6.7), with
which no header can go on to anybody."""

_STAND_IN = b"http://influxdb.invalid"
"""What treq takes for scheme and authority; the top-level domain is nobody's (RFC 2606)."""

_ACTED_ON_BY_TREQ = (b"Content-Encoding", b"Set-Cookie", b"Set-Cookie2")


class HttpUpstream:
    """Sends batches to an InfluxDB, or to a gateway, over HTTP. It sends each once, and follows no redirect.

    :param agent: carries the requests; it decides how to connect, and for how long to keep connections.
    :param url: where to.
    :param clock: measures the deadline.
    :param timeout_seconds: from the call to the last byte of the answer.
    """

    def __init__(
        self, agent: IAgent, url: InfluxdbUrl, clock: IReactorTime, timeout_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._client = HTTPClient(_PlainAgent(agent, url.origin), data_to_body_producer=_BytesProducer)
        self._url = url
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
        exchange = Deferred.fromCoroutine(self._exchange(target, lines))
        return settle(exchange, self._clock, self._timeout_seconds).addErrback(_postpone)

    async def _exchange(self, target: bytes, lines: bytes) -> Reply:
        """Ask, read the whole answer, and say what it means."""
        # treq has no use for a reactor here, but would import the global one if it were given none.
        reactor = cast("Any", self._clock)
        uri = _STAND_IN + self._url.request_uri(target)
        response = await self._client.post(uri, data=lines, allow_redirects=False, unbuffered=True, reactor=reactor)
        body = _BoundedBody(MAX_ANSWER_BYTES)
        response.deliverBody(body)
        return classify(response.code, _flat(response.headers), await body.whole)


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


def _flat(headers: Headers) -> list[Header]:
    """The headers one by one, names in lower case."""
    return [(name.lower(), value) for name, values in headers.getAllRawHeaders() for value in values]


def _postpone(failure: Failure) -> Reply:
    """No answer says nothing against the lines."""
    failure.trap(UpstreamError)
    return Reply(Fate.POSTPONE, reason=failure.getErrorMessage())


@implementer(IAgent)
class _PlainAgent:
    """Stands between treq and the agent, and keeps from each what the other adds.

    treq asks for gzip and would inflate the answer without a bound; it keeps cookies, and fails where one is not
    ASCII. So no header of its making goes out, and none that it would act on comes in. And it fails on an IPv6
    address, and on a name with an underscore (hyperlink issue 68): it gets a name in its place.

    :param agent: carries the requests.
    :param origin: scheme and authority of where they go.
    """

    def __init__(self, agent: IAgent, origin: bytes) -> None:
        self._agent = agent
        self._origin = origin

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Ask with no header but those that the agent itself must send."""
        true_uri = self._origin + uri.removeprefix(_STAND_IN)
        return self._agent.request(method, true_uri, Headers(), bodyProducer).addCallback(_unremarkable)


def _unremarkable(response: IResponse) -> IResponse:
    """Take off an answer what treq would act on."""
    for name in _ACTED_ON_BY_TREQ:
        response.headers.removeHeader(name)
    return response


@implementer(IBodyProducer)
class _BytesProducer:
    """Produces a body that is there already, at once: treq's own one does so by the global reactor's leave."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it all; the transport holds what the socket does not take yet."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing is left to pause."""

    def resumeProducing(self) -> None:
        """Nothing is left to resume."""

    def stopProducing(self) -> None:
        """Nothing is left to stop."""


class _BoundedBody(Protocol):
    """Collects the body of an answer.

    :ivar whole: fires with the body; with nothing when there is more of it than the limit, because half a JSON text is
        no use to anybody, and the connection is closed then. Fails with what ended the connection before the body was
        complete. Cancelling it closes the connection.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._close())
        self._parts: list[bytes] = []
        self._room = limit_bytes

    def dataReceived(self, data: bytes) -> None:
        """Keep a part, unless that would be too much."""
        self._room -= len(data)
        if self._room >= 0:
            self._parts.append(data)
        elif not self.whole.called:
            self._close()
            self.whole.callback(b"")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is at its end. One that says neither its length nor where it ends is taken for complete."""
        if self.whole.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)

    def _close(self) -> None:
        """Hang up: what is still to come is of no use."""
        assert self.transport is not None
        self.transport.loseConnection()


_: type[Upstream] = HttpUpstream
