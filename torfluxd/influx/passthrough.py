"""Passing a request on to InfluxDB as it is, and its answer back: streamed, not held.

This does not go through treq, which spells methods in upper case, takes URLs apart, asks for gzip and inflates it.
Twisted's own agent streams both ways, and pauses either side when the other is slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse

from torfluxd.boundaries import Header
from torfluxd.influx.settle import settle
from torfluxd.influx.url import InfluxdbUrl

__all__ = ["HttpPassThrough", "end_to_end"]

FIRST_BYTE_SECONDS = 600.0
"""How long InfluxDB may take to begin its answer, the upload of the request in it: 25 MB, the most that influxd takes,
last 500 s over a circuit of 50 kB/s. A query may think as long as that too. Nothing bounds the answer itself."""

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""What is meant for one connection and not for the one behind it (RFC 9110 sections 7.6.1 and 11.7)."""

_SET_HERE = frozenset({b"content-length", b"expect", b"host"})
"""What is said anew: the length by the body's producer, the host by the agent. `Expect: 100-continue` was answered by
the door when it began to read the body."""


class HttpPassThrough:
    """Asks InfluxDB whatever a stranger asks.

    :param agent: carries the requests.
    :param url: where InfluxDB is.
    :param clock: measures the deadline.
    :param first_byte_seconds: from the call to the headers of the answer.
    """

    def __init__(
        self, agent: IAgent, url: InfluxdbUrl, clock: IReactorTime, first_byte_seconds: float = FIRST_BYTE_SECONDS
    ) -> None:
        self._agent = agent
        self._url = url
        self._clock = clock
        self._first_byte_seconds = first_byte_seconds

    def open(self, method: bytes, target: bytes, headers: Sequence[Header], body: IBodyProducer) -> Deferred[IResponse]:
        """Pass a request on: its method, its target byte for byte behind the prefix, its end-to-end headers.

        :param target: path and query, beginning with a slash.
        :param headers: names in lower case.
        :param body: a `length` of 0 means that there is none.
        :returns: a Deferred that fires with the answer when its headers are here, without the hop-by-hop ones. (What
            `Connection` named among them cannot be known: twisted.web keeps that to itself. The answer to a HEAD has
            its `Content-Length` among its headers.) It fails with :class:`~torfluxd.errors.UpstreamError` when there is
            no answer, or not in time; with :class:`ValueError` when the method, the target or the name of a header is
            nothing that HTTP can carry; with :class:`~twisted.internet.defer.CancelledError` when it is cancelled,
            which aborts the connection.
        """
        try:
            exchange = self._agent.request(
                method,
                self._url.origin + self._url.request_uri(target),
                _collect(header for header in end_to_end(headers) if header[0] not in _SET_HERE),
                body if body.length else None,
            )
        except ValueError as error:
            return fail(error)
        return settle(exchange.addCallback(_without_hops), self._clock, self._first_byte_seconds)


def end_to_end(headers: Sequence[Header]) -> list[Header]:
    """The headers that are meant for the other end, in their order.

    :param headers: names in lower case.
    """
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return [header for header in headers if header[0] not in _HOP_BY_HOP and header[0] not in named]


def _collect(headers: Iterable[Header]) -> Headers:
    """The headers as Twisted holds them: each name once, with all its values."""
    collected = Headers()
    for name, value in headers:
        collected.addRawHeader(name, value)
    return collected


def _without_hops(response: IResponse) -> IResponse:
    """Take the hop-by-hop headers off an answer."""
    for name in _HOP_BY_HOP:
        response.headers.removeHeader(name)
    return response
