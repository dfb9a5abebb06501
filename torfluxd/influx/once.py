"""One POST on a connection of its own, in bytes that do not vary: how a report travels.

What goes out is written here to the last byte, so that it is the same whatever the host, its user, its locale, and the
versions of Python and Twisted; `tests/compat/` holds what each release sent. What comes back is bounded in size and
time, because who answers may be hostile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure

from torfluxd.boundaries import Header
from torfluxd.errors import UpstreamError
from torfluxd.influx.post import Posted, Poster
from torfluxd.influx.settle import settle
from torfluxd.influx.short_answer import ShortAnswer
from torfluxd.influx.url import InfluxdbUrl

__all__ = ["ANSWER_SECONDS", "OncePoster", "request_bytes"]

ANSWER_SECONDS: Final = 30.0
"""From the first byte of an answer to its last. A gateway's answer has a few hundred bytes and comes in one piece; this
lets a packet be lost three times on a slow circuit, and lets nobody hold a connection with a byte a minute."""


def request_bytes(url: InfluxdbUrl, target: bytes, body: bytes) -> bytes:
    """The bytes of one report, all of them.

    :param url: where it goes.
    :param target: path and query, below the prefix of the URL.
    :param body: line protocol.
    """
    return b"POST %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        url.request_uri(target),
        url.authority,
        len(body),
        body,
    )


class OncePoster:
    """Sends each POST on a new connection, and hangs up when the answer is here.

    Nothing of an answer is remembered, and nothing in it is followed: no redirect, no cookie, no further connection.

    :param endpoint: where each connection leads; for a reporter, a stream of tor with a circuit of its own.
    :param url: what that place calls itself.
    :param clock: for deadlines.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, url: InfluxdbUrl, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._url = url
        self._clock = clock

    def post(self, target: bytes, headers: Sequence[Header], body: bytes, timeout_seconds: float) -> Deferred[Posted]:
        """Send one POST; see :meth:`torfluxd.influx.post.Poster.post`. The time allowed includes the connection's.

        :param headers: none: a header more would tell one sender from another.
        """
        assert not headers, "a report has the same headers whoever sends it"
        exchange = Deferred.fromCoroutine(self._exchange(request_bytes(self._url, target, body)))
        return settle(exchange, self._clock, timeout_seconds)

    async def _exchange(self, request: bytes) -> Posted:
        connection = cast(_Exchange, await self._endpoint.connect(_Once(request, self._clock)))
        return await connection.answered


class _Once(Factory):
    """Makes the protocol of one connection."""

    noisy = False

    def __init__(self, request: bytes, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> _Exchange:
        """Make it."""
        return _Exchange(self._request, self._clock)


class _Exchange(StreamProtocol):
    """Sends one request, reads the answer, and hangs up.

    :ivar answered: fires with the answer. It fails with :class:`UpstreamError`, whose text says what answers instead,
        and with what ended the connection before. Cancelling it hangs up.
    """

    transport: ITCPTransport  # or another that can be aborted

    def __init__(self, request: bytes, clock: IReactorTime) -> None:
        self._request = request
        self._clock = clock
        self._answer = ShortAnswer()
        self._deadline: IDelayedCall | None = None
        self.answered: Deferred[Posted] = Deferred(lambda _: self._end(Failure(CancelledError())))

    def connectionMade(self) -> None:
        """Send it."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read what came."""
        if self.answered.called:
            return
        if self._deadline is None:
            too_slow = UpstreamError(f"what answers was not done within {ANSWER_SECONDS:g} seconds")
            self._deadline = self._clock.callLater(ANSWER_SECONDS, self._end, Failure(too_slow))
        try:
            posted = self._answer.read(data)
        except UpstreamError:
            self._end(Failure())
        else:
            if posted is not None:
                self._end(posted)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; unless we closed it, before the answer was whole."""
        if not self.answered.called:
            self._end(reason)

    def _end(self, outcome: Posted | Failure) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        # Not closed but cut: what the other side did not read yet would be waited for, as long as it likes.
        self.transport.abortConnection()
        self.answered.callback(outcome)


_: type[Poster] = OncePoster
