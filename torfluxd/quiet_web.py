"""A twisted.web server that writes nothing down and holds no more than it was told to.

twisted.web by itself has no bound on a body, which it puts into a temporary file; it parses forms before anybody asked;
it logs each request with its User-Agent, and each timeout with its address; its idle timer begins anew with every byte;
and it adds `Server` and `Date` to each answer (all tried with 26.10). None of that happens here.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as WebRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from torfluxd.boundaries import Answer

__all__ = ["QuietRequest", "QuietSite", "WebBounds", "abort", "write_answer"]

IDLE_SECONDS = 60
"""Twisted's own default of :attr:`WebBounds.idle_seconds`."""

_CUT_SHORT = {
    413: b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
}
"""What is said, before a body has ended, to whoever sends one that cannot be taken."""


@frozen(kw_only=True)
class WebBounds:
    """What a server holds.

    :ivar body_bytes: of one request; all of it in memory.
    :ivar held_bytes: of all requests together that are not answered yet; None for any number.
    :ivar connections: at once, others are closed; None for any number.
    :ivar request_seconds: from the first byte of a request to the last of its body; None for any time.
    :ivar linger_bytes: of a body that cannot be taken so many are read and thrown away, so that whoever sends it first
        and reads later hears why; beyond that the connection is closed.
    :ivar idle_seconds: between requests of one connection, and without a byte of one that has begun.
    """

    body_bytes: int
    held_bytes: int | None = None
    connections: int | None = None
    request_seconds: float | None = None
    linger_bytes: int = 0
    idle_seconds: int = IDLE_SECONDS


class QuietRequest(Request):
    """A request whose body is held in memory, within bounds.

    :ivar refused: 0; or the status to refuse it with, because its body is too large (413), or because of what is held
        already (503). Then there is no body.
    """

    channel: Any  # a _QuietChannel; Twisted's own has no types
    content: BytesIO
    refused = 0
    _held_bytes = 0
    _discarded_bytes = 0

    def gotLength(self, length: int | None) -> None:  # noqa: N802  # Twisted's name
        """Refuse by the declared length."""
        self.content = BytesIO()
        if length is not None and length > self.channel.site.bounds.body_bytes:
            self._refuse(413, length)

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        """Hold a part, or refuse by what has come."""
        if self.channel is None:
            return  # it was cut short, and Twisted reads on in what it had
        site = self.channel.site
        if self.refused:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > site.bounds.linger_bytes:
                self._cut_short()
            return
        self.content.write(data)
        self._held_bytes += len(data)
        if not site.hold(len(data)):
            self._refuse(503)
        elif self._held_bytes > site.bounds.body_bytes:
            self._refuse(413)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802  # Twisted's name
        """Go on to the resource, without parsing a form out of the body as Twisted would."""
        if self.channel is None or self.channel.is_closing:
            return
        self.content.seek(0)
        self.args = {}
        self.method, self.uri, self.clientproto = command, path, version
        # Twisted answers `*` by itself.
        self.path = path.partition(b"?")[0] if path.startswith(b"/") else b"/"
        Request.process(self)

    def finish(self) -> None:
        """The answer is whole."""
        self._release()
        Request.finish(self)

    def connectionLost(self, reason: Failure) -> None:
        """Whoever asked has gone."""
        self._release()
        Request.connectionLost(self, reason)

    def _refuse(self, status: int, length: int = 1) -> None:
        """Take no more; and read on, or not, by the bytes that are known to follow."""
        self.refused = status
        self.content = BytesIO()
        self._release()
        if length > self.channel.site.bounds.linger_bytes:
            self._cut_short()

    def _cut_short(self) -> None:
        """Say no, and close."""
        if not self.channel.is_closing:
            self.channel.is_closing = True
            self.channel.write(_CUT_SHORT[self.refused])
            self.channel.loseConnection()

    def _release(self) -> None:
        if self._held_bytes:
            self.channel.site.held_bytes -= self._held_bytes
            self._held_bytes = 0


class _QuietChannel(HTTPChannel):
    """A connection that tells no log whom it has timed out.

    :ivar is_closing: whether the last answer has been given before the end of its request.
    """

    site: QuietSite
    is_closing = False
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Count."""
        self.site.connections += 1
        HTTPChannel.connectionMade(self)

    def dataReceived(self, data: bytes) -> None:
        """Have a deadline from the first byte of a request on."""
        seconds = self.site.bounds.request_seconds
        if seconds is not None and self._deadline is None and not self._handlingRequest:
            self._deadline = self.site.reactor.callLater(seconds, self.timeoutConnection)
        HTTPChannel.dataReceived(self, data)

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802  # Twisted's name
        """Read a header; a length with thousands of digits is no fault of ours (Python refuses to read it, tried)."""
        try:
            return bool(HTTPChannel.headerReceived(self, line))
        except ValueError:
            HTTPChannel._respondToBadRequestAndDisconnect(self)
            return False

    def allContentReceived(self) -> None:  # noqa: N802  # Twisted's name
        """The request is whole: what follows takes the time that it takes."""
        self._end_deadline()
        HTTPChannel.allContentReceived(self)

    def timeoutConnection(self) -> None:
        """Close."""
        self._deadline = None
        abort(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count."""
        self.site.connections -= 1
        self._end_deadline()
        HTTPChannel.connectionLost(self, reason)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class QuietSite(Site):
    """A server without an access log.

    :param resource: is asked about every request; what it gets is a :class:`QuietRequest`.
    :param bounds: what is held.
    :param reactor: measures time.
    :ivar connections: how many there are.
    :ivar held_bytes: how much is held of bodies whose requests are not answered yet.
    """

    noisy = False
    protocol = _QuietChannel  # type: ignore[assignment]  # HTTP/1.1 only: Twisted's default chooses HTTP/2 by ALPN

    def __init__(self, resource: IResource, bounds: WebBounds, reactor: IReactorTime) -> None:
        Site.__init__(self, resource, requestFactory=QuietRequest, timeout=bounds.idle_seconds, reactor=reactor)
        self.bounds = bounds
        self.connections = 0
        self.held_bytes = 0

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel for a connection, or None to close it, because there are too many."""
        limit = self.bounds.connections
        return None if limit is not None and self.connections >= limit else Site.buildProtocol(self, addr)

    def hold(self, size_bytes: int) -> bool:
        """Count what is held; whether that is within the bounds."""
        self.held_bytes += size_bytes
        limit = self.bounds.held_bytes
        return limit is None or self.held_bytes <= limit

    def log(self, request: WebRequest) -> None:
        """Write nothing."""


def write_answer(request: Request, answer: Answer, *, without: Sequence[bytes] = (b"Server", b"Date")) -> None:
    """Answer a request, with the headers of the answer and its length alone, and finish it.

    :param without: what twisted.web has added that is nobody's business.
    """
    request.defaultContentType = None
    for name in without:
        request.responseHeaders.removeHeader(name)
    request.setResponseCode(answer.status)
    for name, value in answer.headers:
        request.responseHeaders.addRawHeader(name, value)
    if answer.status != 204:
        request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
        request.write(answer.body)
    request.finish()


def abort(transport: ITransport | None) -> None:
    """Close a connection at once, whatever has not been sent yet."""
    connected: ITCPTransport = transport  # type: ignore[assignment]  # every stream transport can abort
    connected.abortConnection()
