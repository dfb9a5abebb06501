"""A request that is passed through: its body to the other side, the response back, each at the slower one's pace.

The connection tells a :class:`Stream` what arrives from the stranger and when his output is full; the stream tells the
connection, which it knows as a :class:`Requester`, when it wants more and what to write.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.gateway.wire import Framing, encode_response_head, frame_response

__all__ = ["RequestBody", "Requester", "ResponseBody", "Stream"]


class Requester(Protocol):
    """What a stream needs of the stranger's connection."""

    def body_is_wanted(self, *, first: bool) -> None:
        """The other side takes the request's body now, for the first time or again."""

    def write_response(self, data: bytes) -> None:
        """Send this piece of the response, its head or a framed piece of its body."""

    def response_ended(self) -> None:
        """The response is whole."""

    def response_was_cut(self) -> None:
        """The response will never be whole."""


@implementer(IBodyProducer)
class RequestBody:
    """The stranger's body, for :attr:`~torfluxd.gateway.exchange.PassThrough.open`.

    :ivar length: declared bytes, 0 without a body, `UNKNOWN_LENGTH` when it is chunked.
    :ivar wanted: the other side takes bytes now.
    """

    def __init__(self, requester: Requester, length: int | None) -> None:
        # IBodyProducer declares an int and documents this string.
        self.length: int = UNKNOWN_LENGTH if length is None else length  # type: ignore[assignment]
        self.wanted = False
        self._requester = requester
        self._consumer: IConsumer | None = None
        self._sent: Deferred[None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Send the body to `consumer`.

        :returns: a Deferred that fires with None after the last byte, or fails with
            :class:`~twisted.internet.error.ConnectionLost` when the stranger has gone, or sent what is no body. After
            :meth:`stopProducing` it never fires.
        """
        self._consumer = consumer
        self._sent = sent = Deferred[None]()
        if self.length == 0:
            self.end()
        else:
            self.wanted = True
            self._requester.body_is_wanted(first=True)
        return sent

    def pauseProducing(self) -> None:
        """Wait: the other side has enough for now."""
        self.wanted = False

    def resumeProducing(self) -> None:
        """Go on."""
        if self._sent is not None:
            self.wanted = True
            self._requester.body_is_wanted(first=False)

    def stopProducing(self) -> None:
        """Never send the rest."""
        self.wanted = False
        self._sent = None

    def take(self, data: bytes) -> None:
        """Send a piece on."""
        if self._consumer is not None:
            self._consumer.write(data)

    def end(self) -> None:
        """That was all of it."""
        sent = self._settle()
        if sent is not None:
            sent.callback(None)

    def fail(self) -> None:
        """The rest will never come."""
        sent = self._settle()
        if sent is not None:
            sent.errback(ConnectionLost("the request's body was cut off"))

    def _settle(self) -> Deferred[None] | None:
        self.wanted = False
        sent, self._sent = self._sent, None
        return sent


class ResponseBody(BaseProtocol):
    """Takes the response's body, frames it and hands it to the stranger's connection."""

    transport: IPushProducer | None = None  # type: ignore[assignment]  # what `deliverBody` gives is no more than that

    def __init__(self, requester: Requester, framing: Framing, length: int | None) -> None:
        self._requester = requester
        self._framing = framing
        self._missing = length
        self._over = False

    def dataReceived(self, data: bytes) -> None:
        """Pass a piece on."""
        if self._missing is not None:
            self._missing -= len(data)
        if data:
            self._write(self._framing.frame(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End as the response ended; only `ResponseDone`, with every byte that was promised, means that it is whole."""
        self._over = True
        if reason.check(ResponseDone) and not self._missing:
            self._write(self._framing.end())
            self._requester.response_ended()
        else:
            self._requester.response_was_cut()

    def _write(self, framed: bytes) -> None:
        if framed:
            self._requester.write_response(framed)

    def pause(self) -> None:
        """Let the other side wait."""
        if self.transport is not None and not self._over:
            self.transport.pauseProducing()

    def resume(self) -> None:
        """Let the other side go on."""
        if self.transport is not None and not self._over:
            self.transport.resumeProducing()

    def abandon(self) -> None:
        """Close the other side's connection: nobody wants the rest."""
        if self.transport is not None and not self._over:
            self.transport.stopProducing()


class Stream:
    """Both bodies of one request that is passed through.

    :ivar body: the request's.
    """

    def __init__(self, requester: Requester, length: int | None) -> None:
        self.body = RequestBody(requester, length)
        self._requester = requester
        self._response: ResponseBody | None = None
        self._full = False

    @property
    def answered(self) -> bool:
        """The head of the response has gone out."""
        return self._response is not None

    def respond(self, response: IResponse, *, to_head: bool, http11: bool, closes: bool) -> None:
        """Send a response.

        :param to_head: it answers `HEAD`.
        :param http11: the stranger speaks HTTP/1.1, so he knows chunks.
        :param closes: it is the last of its connection.
        """
        framing = frame_response(response, to_head=to_head, http11=http11)
        self._requester.write_response(encode_response_head(response, framing, closes=closes))
        self.deliver(response, framing)

    def deliver(self, response: IResponse, framing: Framing) -> None:
        """Send the body of a response whose head is out already, framed like this."""
        length = response.length if framing is Framing.LENGTH else None
        self._response = taker = ResponseBody(self._requester, framing, length)
        response.deliverBody(taker)
        if self._full:  # `deliverBody` ends by resuming the other side, whatever happened before.
            taker.pause()

    def pause(self) -> None:
        """The stranger's output is full."""
        self._full = True
        if self._response is not None:
            self._response.pause()

    def resume(self) -> None:
        """The stranger's output is empty."""
        self._full = False
        if self._response is not None:
            self._response.resume()

    def abandon(self) -> None:
        """The stranger has gone: fail his body, and drop the response."""
        self.body.fail()
        if self._response is not None:
            self._response.abandon()
