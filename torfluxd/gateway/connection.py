"""One stranger's connection, from his first byte to his last.

Requests are served strictly one after the other. As long as one is under way, what lies behind it stays raw bytes, and
no more of it is read: so little more than one read of the transport's, 64 KiB, is ever held for it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from torfluxd.gateway.bounds import UNCOUNTED_BYTES
from torfluxd.gateway.exchange import CANARY_PONG, Answer, Collect, PassThrough
from torfluxd.gateway.faults import log_fault
from torfluxd.gateway.heads import ReadHead, RefusedError
from torfluxd.gateway.limiter import Share
from torfluxd.gateway.reader import RequestReader
from torfluxd.gateway.streams import Stream
from torfluxd.gateway.wire import (
    BUSY,
    CONTINUE,
    INTERNAL_ERROR,
    REQUEST_TIMEOUT,
    encode_answer,
)
from torfluxd.outlet import Outlet, SocketTransport

if TYPE_CHECKING:
    from torfluxd.gateway.front import Front

__all__ = ["Connection"]


class _Phase(enum.Enum):
    """What the connection is about. The values are for the eyes."""

    HEAD = "between requests, or in the head of one"
    COLLECTING = "in a body that is collected"
    WAITING = "the site works on the answer"
    STREAMING = "a request is passed through"
    LINGERING = "the last answer is out, and the stranger has not closed yet"
    CLOSED = "it is gone, or will be in a moment"


# Named here because a global is found faster than an attribute of an enumeration, and this is asked for every request.
_HEAD, _COLLECTING, _WAITING, _STREAMING, _LINGERING, _CLOSED = _Phase


@implementer(IPushProducer)
class Connection(Protocol):
    """Serves one stranger. Whoever closes only his sending half has gone: through Tor there is no such half.

    :ivar deadline: when :meth:`expire` is due, in the clock's seconds.
    :ivar held_bytes: how much of what the stranger sent is held here, as far as it is counted.

    :param front: whose connection this is.
    :param writer: who asks, as :attr:`~torfluxd.gateway.exchange.Collect.complete` tells the site.
    :param share: what he may use, or None when that is not limited.
    """

    _log = Logger()
    transport: SocketTransport  # or another stream transport, which is used like one
    _outlet: Outlet

    def __init__(self, front: Front, writer: Hashable, share: Share | None = None) -> None:
        self._front = front
        self._writer = writer
        self._share = share
        self._planned = 0
        self._arrived = 0
        self._queued_at: float | None = None
        self._remaining = math.inf
        self._collecting_since = 0.0
        self.held_bytes = 0
        self._reader = RequestReader(front.read_head, front.bounds)
        self._phase = _HEAD
        self._held = b""
        self._in_head = True
        self._serving = False
        self._reading = True
        self._output_full = False
        self._closes = False
        self._allowance = 0
        self._collect: Collect | None = None
        self._stream: Stream | None = None
        self._waiting: Deferred[Answer] | Deferred[IResponse | Answer] | None = None
        self.deadline = math.inf

    # What the transport calls.

    def connectionMade(self) -> None:
        """Begin to wait for the first head."""
        self._outlet = Outlet(self.transport)
        self.transport.registerProducer(self, True)
        self._expire_after(self._front.bounds.head_seconds)
        self._front.joined(self)
        if self._share is not None:
            self._share.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Serve what this brings."""
        if self._share is not None:
            self._arrived = len(data)
        self._serve(self._held + data if self._held else data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let go of everything."""
        self._phase = _CLOSED
        self._held = b""
        self.deadline = math.inf
        self._front.left(self)
        if self._share is not None:
            self._share.left(self)
        self._reader.close()
        self._abandon()

    def pauseProducing(self) -> None:
        """The output is full: the stranger does not read as fast as we answer."""
        self._output_full = True
        if self._stream is not None:
            self._stream.pause()
        else:
            self._expire_after(self._front.bounds.write_seconds)

    def resumeProducing(self) -> None:
        """The output is empty again."""
        self._output_full = False
        if self._stream is not None:
            self._stream_progressed()
            self._stream.resume()
        elif self._phase is _HEAD:
            self._await_head()
        self._continue()

    def stopProducing(self) -> None:
        """The transport is about to report the connection lost; nothing is to be done before that."""

    # What the front calls.

    def expire(self) -> None:
        """The deadline has passed."""
        if self._phase is _COLLECTING or (self._phase is _HEAD and self._held and not self._output_full):
            self._refuse(REQUEST_TIMEOUT)
        elif self._phase is _HEAD and not self._output_full:
            self.close_if_idle()
        else:
            self.abort()

    def close_if_idle(self) -> None:
        """Close, unless a request is under way."""
        if self._phase is _HEAD:
            self._phase = _LINGERING
            self._expire_after(self._front.bounds.linger_seconds)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._phase = _CLOSED
        self.deadline = math.inf
        self._abandon()
        self.transport.abortConnection()

    # What the share calls.

    def take_turn(self) -> None:
        """Go on, after having waited for others. Nothing was read meanwhile, so no deadline came nearer."""
        assert self._queued_at is not None
        self._collecting_since += self._front.clock.seconds() - self._queued_at
        self._queued_at = None
        if self.deadline == math.inf:
            self._expire_after(self._remaining)
        self._continue()

    def _wait_for_turn(self, share: Share, data: bytes) -> None:
        """Hold `data`, and read no more, until the share gives us a turn."""
        self._held = data
        self._count_held()
        self._read_on(False)
        share.spend(0, self._arrived)
        self._arrived = 0
        if self._queued_at is None:
            self._queued_at = self._front.clock.seconds()
            self._remaining = self.deadline - self._queued_at
            self.deadline = math.inf
            share.wait(self)

    # Reading.

    def _serve(self, data: bytes) -> None:
        """Take of `data` what may be taken now, hold the rest, and read on unless something must be done first."""
        share = self._share
        if share is not None and share.waits and self._phase is not _LINGERING:
            if self._phase is not _CLOSED:
                self._wait_for_turn(share, data)
            return
        planned = self._planned
        self._serving = True
        at, blocked = 0, False
        try:
            at, blocked = self._take(data)
        except RefusedError as refused:
            self._refuse(refused.answer)
        except Exception:
            self._failed(Failure())
        finally:
            self._serving = False
        if self._phase is _LINGERING:
            self._throw_away(len(data) - at)
        elif self._phase is not _CLOSED:
            self._held = data[at:]
            self._read_on(not blocked)
            if self._held or self.held_bytes or self._collect is not None:
                self._count_held()
            if self._held and self._phase is _HEAD and not (blocked or self._in_head):
                self._in_head = True
                self._expire_after(self._front.bounds.head_seconds)
        if share is not None:
            share.spend(self._planned - planned, self._arrived)
            self._arrived = 0

    def _take(self, data: bytes) -> tuple[int, bool]:
        """Serve `data` until it ends, or its rest must wait.

        :returns: how much was taken, and whether the rest waits for something else than more data.
        """
        reader = self._reader
        turns = self._front.bounds.requests_in_one_turn
        at = 0
        while at < len(data):
            start = at
            if self._phase is _HEAD and turns and not self._output_full:
                at = reader.read_head(data, start)
                if at > start:
                    turns -= 1
                    self._plan()
            elif self._collect is not None:
                at = reader.read_body(data, start)
                self._collected(self._collect)
            elif self._stream is not None and self._stream.body.wanted:
                at = reader.read_body(data, start)
                self._streamed(self._stream)
            else:
                if self._share is not None:
                    self._share.press()
                if not turns:
                    self._front.clock.callLater(0, self._continue)
                return at, True
            if at == start:
                break
        return at, False

    def _continue(self) -> None:
        """Go on with what is held, after whatever blocked it."""
        if not self._serving and (self._held or not self._reading):
            self._serve(self._held)

    def _read_on(self, reading: bool) -> None:
        if reading is not self._reading:
            self._reading = reading
            if reading:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _count_held(self) -> None:
        """Tell the front how much is held here, when that is enough to matter."""
        size = len(self._held) + (self._reader.received if self._phase is _COLLECTING else 0)
        if size > UNCOUNTED_BYTES:
            self._front.holds(self, size)
        elif self.held_bytes:
            self._front.holds(self, 0)

    # From a head to an answer.

    @property
    def _current(self) -> ReadHead:
        """The head of the request under way."""
        current = self._reader.current
        assert current is not None
        return current

    def _plan(self) -> None:
        front = self._front
        self._in_head = False
        share = self._share
        if share is not None:
            self._planned += 1
            if share.refuses and share.refuse():
                raise RefusedError(BUSY)
        front.requests += 1
        front.progressed(self)
        plan = front.site.plan(self._current.head)
        if isinstance(plan, Collect):
            self._begin_to_collect(plan)
        elif isinstance(plan, PassThrough):
            self._begin_to_stream(plan)
        else:
            if plan is not CANARY_PONG:
                front.answered += 1
            self._answer(plan)

    def _begin_to_collect(self, plan: Collect) -> None:
        current = self._current
        if self._reader.complete:
            self._complete(plan)
        elif current.length is not None and current.length > plan.limit_bytes:
            self._refuse(plan.too_large)
        else:
            self._phase = _COLLECTING
            self._collect = plan
            self._collecting_since = self._front.clock.seconds()
            self._expire_collecting()
            if current.expects_continue:
                self._outlet.write(CONTINUE)

    def _collected(self, plan: Collect) -> None:
        if self._reader.received > plan.limit_bytes:
            self._refuse(plan.too_large)
        elif self._reader.complete:
            self._complete(plan)
        else:
            self._expire_collecting()

    def _expire_collecting(self) -> None:
        """A body has its total time, and before that the time that its bytes have earned."""
        bounds = self._front.bounds
        earned = bounds.body_grace_seconds + self._reader.received / bounds.body_bytes_per_second
        self.deadline = self._collecting_since + min(bounds.request_seconds, earned)

    def _complete(self, plan: Collect) -> None:
        self._phase = _WAITING
        self._collect = None
        self.deadline = math.inf
        self._wait_for(plan.complete(self._reader.take_body(), self._writer))

    def _wait_for(self, result: Deferred[Answer] | Deferred[IResponse | Answer]) -> None:
        if result.called and isinstance(result.result, Answer):  # A callback would cost more than to parse the head.
            self._answered(result.result)
        else:
            self._waiting = result
            result.addCallbacks(self._answered, self._failed)

    def _answered(self, result: Answer | IResponse) -> None:
        if self._is_over():
            return
        self._waiting = None
        try:
            if isinstance(result, Answer):
                if self._stream is not None:  # It was not passed on.
                    self._abandon()
                self._answer(result)
            else:
                self._respond(result)
        except Exception:
            self._failed(Failure())

    def _failed(self, failure: Failure) -> None:
        """Our own code failed."""
        if self._is_over():  # It was cancelled because of that.
            return
        log_fault(self._log, failure)
        self._refuse(INTERNAL_ERROR)

    def _answer(self, answer: Answer) -> None:
        """Send a whole answer, and go on; or end with it."""
        to_head = self._is_to_head()
        if not self._may_go_on():
            self._outlet.write(encode_answer(answer, to_head=to_head, closes=True))
            self._linger()
            return
        encoded = encode_answer(answer, to_head=True, closes=False) if to_head else self._front.encode(answer)
        self._await_head()
        self._outlet.write(encoded)
        self._continue()

    def _may_go_on(self) -> bool:
        """Whether another request may follow: the one under way is read to its end, and nobody wants to close."""
        reader = self._reader
        current = reader.current
        return current is not None and current.keeps_alive and reader.complete and not self._front.draining

    def _is_to_head(self) -> bool:
        """Whether the request under way, if there is one, is a `HEAD`, whose answer has no body."""
        current = self._reader.current
        return current is not None and current.head.method == b"HEAD"

    def _await_head(self) -> None:
        self._phase = _HEAD
        self._reader.current = None  # An idle connection holds nothing that a stranger sent.
        self._expire_after(self._front.bounds.idle_seconds)

    # Passing through.

    def _begin_to_stream(self, plan: PassThrough) -> None:
        self._phase = _STREAMING
        self._stream = stream = Stream(self, self._current.length)
        self._stream_progressed()
        self._wait_for(plan.open(stream.body))

    def _streamed(self, stream: Stream) -> None:
        data = self._reader.take_body()
        if data:
            self._stream_progressed()
            stream.body.take(data)
        if self._reader.complete:
            stream.body.end()

    def _respond(self, response: IResponse) -> None:
        assert self._stream is not None
        self._closes = not self._may_go_on()
        self._stream.respond(response, to_head=self._is_to_head(), http11=self._current.http11, closes=self._closes)

    def _stream_progressed(self) -> None:
        self._front.progressed(self)
        self._expire_after(self._front.bounds.stream_idle_seconds)

    # What the stream calls, see `streams.Requester`.

    def body_is_wanted(self, *, first: bool) -> None:
        """Go on reading the request's body."""
        if first and self._current.expects_continue:
            self._outlet.write(CONTINUE)
        self._continue()

    def write_response(self, data: bytes) -> None:
        """Send a piece of the response."""
        if self._phase is _STREAMING:
            self._stream_progressed()
            self._outlet.write(data)

    def response_ended(self) -> None:
        """Serve the next request, or close."""
        if self._phase is _STREAMING:
            self._stream = None
            if self._closes or self._front.draining:
                self._linger()
            else:
                self._await_head()
                self._continue()

    def response_was_cut(self) -> None:
        """Reset the connection, so that the stranger does not take what he has for the whole."""
        if self._phase is _STREAMING:
            self.abort()

    # The end.

    def _refuse(self, answer: Answer) -> None:
        """Answer what cannot be served, and close: nothing behind it can be trusted, or is wanted."""
        self._front.refused[answer.status] += 1
        if self._stream is not None and self._stream.answered:
            self.abort()
        else:
            self._outlet.write(encode_answer(answer, to_head=self._is_to_head(), closes=True))
            self._linger()

    def _linger(self) -> None:
        """The last answer is out: let the stranger read it, and close, before the connection is gone."""
        bounds = self._front.bounds
        self._phase = _LINGERING
        self._held = b""
        self._count_held()
        self._allowance = bounds.linger_bytes
        self._expire_after(bounds.linger_seconds)
        self._abandon()
        self.transport.unregisterProducer()
        self._read_on(True)
        self._outlet.end()

    def _throw_away(self, size: int) -> None:
        self._allowance -= size
        if self._allowance < 0:
            self.abort()

    def _abandon(self) -> None:
        """Tell whoever works for this stranger that he has gone, or does not want it any more."""
        self._collect = None
        stream, self._stream = self._stream, None
        waiting, self._waiting = self._waiting, None
        if stream is not None:
            stream.abandon()
        if waiting is not None:
            waiting.cancel()

    def _is_over(self) -> bool:
        return self._phase is _LINGERING or self._phase is _CLOSED

    def _expire_after(self, seconds: float) -> None:
        self.deadline = self._front.clock.seconds() + seconds
