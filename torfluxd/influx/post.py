"""One POST, and its whole answer: what an upstream needs of HTTP, and treq's way to it. The only user of treq.

What goes out is the same bytes whoever runs it and wherever: a request line, `Content-Length` and `Host`, and the
headers that are asked for. What comes back is bounded in size and time, because the other side of the reporter may be
hostile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from attrs import field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.boundaries import Header
from torfluxd.influx.settle import settle
from torfluxd.influx.url import InfluxdbUrl

__all__ = ["MAX_ANSWER_BYTES", "AgentPoster", "Posted", "Poster"]

MAX_ANSWER_BYTES = 64 * 1024
"""How much of an answer is held. influxd names every bad line of a write in its answer: this is some 1000 of them."""

_STAND_IN = b"http://influxdb.invalid"
"""What treq takes for scheme and authority; the top-level domain is nobody's (RFC 2606)."""

_ACTED_ON_BY_TREQ = (b"Content-Encoding", b"Set-Cookie", b"Set-Cookie2")

_ADDED_BY_TREQ = (b"Accept-Encoding", b"Cookie", b"Cookie2")


@frozen
class Posted:
    """A whole answer.

    :ivar status: the HTTP status.
    :ivar headers: in the order they came, names in lower case.
    :ivar body: the body; empty when there was more of it than `MAX_ANSWER_BYTES`.
    """

    status: int
    headers: Sequence[Header]
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")


class Poster(Protocol):
    """Sends a POST to the place it was made for."""

    def post(self, target: bytes, headers: Sequence[Header], body: bytes, timeout_seconds: float) -> Deferred[Posted]:
        """Send one POST, once; no redirect is followed, no cookie kept.

        :param target: path and query, below the prefix of the place.
        :param headers: what goes out beside `Host` and `Content-Length`.
        :param timeout_seconds: from the call, or from the opening of a new connection, to the answer's last byte.
        :returns: a Deferred that fires with the answer when it is here whole. It fails with
            :class:`~torfluxd.errors.UpstreamError`, whose text says why and holds nothing of what was sent; and with
            :class:`~twisted.internet.defer.CancelledError` when it is cancelled, which closes the connection.
        """


class AgentPoster:
    """Sends through an agent, with treq.

    :param agent: carries the requests; it decides how to connect, and for how long to keep connections.
    :param url: where to.
    :param clock: the reactor, so that treq does not import the global one.
    """

    def __init__(self, agent: IAgent, url: InfluxdbUrl, clock: IReactorTime) -> None:
        self._client = HTTPClient(_PlainAgent(agent, url.origin), data_to_body_producer=_BytesProducer)
        self._url = url
        self._clock = clock
        # treq has no use for a reactor here, but would import the global one if it were given none.
        self._reactor = cast("Any", clock)

    def post(self, target: bytes, headers: Sequence[Header], body: bytes, timeout_seconds: float) -> Deferred[Posted]:
        """Send one POST; see :meth:`Poster.post`."""
        exchange = Deferred.fromCoroutine(self._post(target, headers, body))
        return settle(exchange, self._clock, timeout_seconds)

    async def _post(self, target: bytes, headers: Sequence[Header], body: bytes) -> Posted:
        response = await self._client.post(
            _STAND_IN + self._url.request_uri(target),
            headers=Headers({name: [value] for name, value in headers}),
            data=body,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._reactor,
        )
        bounded = _BoundedBody(MAX_ANSWER_BYTES)
        response.deliverBody(bounded)
        return Posted(response.code, _flat(response.headers), await bounded.whole)


def _flat(headers: Headers) -> list[Header]:
    """The headers one by one, names in lower case."""
    return [(name.lower(), value) for name, values in headers.getAllRawHeaders() for value in values]


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
        """Ask with no header but those that were given, and those that the agent itself must send."""
        true_uri = self._origin + uri.removeprefix(_STAND_IN)
        plain = Headers() if headers is None else headers.copy()
        for name in _ADDED_BY_TREQ:
            plain.removeHeader(name)
        return self._agent.request(method, true_uri, plain, bodyProducer).addCallback(_unremarkable)


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


class _BoundedBody(StreamProtocol):
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


_: type[Poster] = AgentPoster
