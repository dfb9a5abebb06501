"""The short way of a POST to InfluxDB: connections that are kept, and llhttp to read the answers.

Twisted's HTTP client under treq takes several times the CPU for a small POST, and while it works nobody is served. This
does one thing only, to one place; what else HTTP can do is for `agent.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.python.failure import Failure

from torfluxd.boundaries import Header
from torfluxd.errors import UpstreamError
from torfluxd.influx.agent import IDLE_CONNECTIONS, IDLE_SECONDS
from torfluxd.influx.post import MAX_ANSWER_BYTES, Posted, Poster
from torfluxd.influx.settle import no_answer, overdue, settle
from torfluxd.influx.url import InfluxdbUrl
from torfluxd.outlet import Outlet, SocketTransport

__all__ = ["DirectPoster"]

MAX_ANSWER_HEAD_BYTES: Final = 64 * 1024
"""How much of an answer may come before its body, informational responses included. influxd's heads have 300 bytes, and
1024 more with an error in them; Go's own client takes a megabyte, Twisted's sets no bound."""

LOOK_SECONDS: Final = 1.0
"""How often connections are looked at for passed deadlines, so no deadline may be shorter."""

_STORED: Final = Posted(204, (), b"")

_WITHOUT_CONTROLS: Final = bytes.maketrans(bytes((*range(0x20), 0x7F)), b" " * 33)
"""Turns into a space what no header can carry on to anybody."""

_NOT_HTTP: Final = "there was no answer: what answers does not speak HTTP"
_HEAD_TOO_LONG: Final = "there was no answer: its answer has no end of headers"


class _Answer:
    """The answer to one POST, as far as it has come.

    :ivar too_long: there is more of its body than is held.
    :ivar in_body: its head is here.
    :ivar ends_with_connection: nothing else says where its body ends.
    :ivar whole: it is here to its last byte.
    """

    __slots__ = (
        "_body", "_headers", "_keep_alive", "_parser", "_room", "ends_with_connection", "in_body", "too_long", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._room = MAX_ANSWER_BYTES
        self.too_long = False
        self.in_body = False
        self.ends_with_connection = False
        self.whole = False
        self._keep_alive = False
        self._parser = HttpResponseParser(self)
        # influxd repeats bad lines in a header, and lets control characters stand there (tried with 1.6.7).
        self._parser.set_dangerous_leniencies(lenient_headers=True)

    # What llhttp calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer counts as one."""
        self._headers.append((name.lower(), value.strip(b" \t").translate(_WITHOUT_CONTROLS)))

    def on_headers_complete(self) -> None:
        """Take the end of a head; that of an informational response is not the one we wait for."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()
            return
        self.in_body = True
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self._headers)
        self.ends_with_connection = not (framed or status in (204, 304))

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body, unless that would be too much."""
        self._room -= len(data)
        if self._room >= 0:
            self._body.append(data)
        else:
            self.too_long = True

    def on_message_complete(self) -> None:
        """Take the end. Only now does llhttp know whether the connection can be kept."""
        self.whole = self.in_body
        self._keep_alive = bool(self._parser.should_keep_alive())

    # What the connection calls.

    def read(self, data: bytes) -> None:
        """Read what came.

        :raises HttpParserError: it is no HTTP, or something follows the answer.
        :raises HttpParserUpgrade: it wants to speak something else.
        """
        self._parser.feed_data(data)

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection may carry another POST after it."""
        return self.whole and self._keep_alive and not self.too_long

    def posted(self) -> Posted:
        """Give it; half a JSON text is no use to anybody, so of a body that is too long nothing is given."""
        body = b"" if self.too_long else b"".join(self._body)
        return Posted(self._parser.get_status_code(), tuple(self._headers), body)

    def close(self) -> None:
        """Let go of the parser, which holds this object: together they would wait for the garbage collector."""
        del self._parser


class _Connection(StreamProtocol):
    """One connection to InfluxDB, with one POST at a time.

    :ivar deadline: until when its answer must be here whole, in the clock's seconds.
    :ivar idle_since: when its last answer was, in the clock's seconds.

    :param owner: hears of its ends.
    """

    transport: SocketTransport  # or another stream transport, which is used like one
    _outlet: Outlet

    def __init__(self, owner: _Connections) -> None:
        self._owner = owner
        self._answer: _Answer | None = None
        self._waiting: Deferred[Posted] | None = None
        self._timeout_seconds = 0.0
        self._head_room = 0
        self.deadline = 0.0
        self.idle_since = 0.0

    def connectionMade(self) -> None:
        """The connection is open."""
        self._outlet = Outlet(self.transport)

    def post(self, request: bytes, timeout_seconds: float) -> Deferred[Posted]:
        """Send a request, and wait for its answer; see :meth:`torfluxd.influx.post.Poster.post`."""
        self._head_room = MAX_ANSWER_HEAD_BYTES
        self._timeout_seconds = timeout_seconds
        self._owner.is_busy(self, timeout_seconds)
        waiting: Deferred[Posted] = Deferred(self._cancel)
        self._waiting = waiting
        self._outlet.write(request)
        return waiting

    def dataReceived(self, data: bytes) -> None:
        """Read what came."""
        answer = self._answer
        if self._waiting is None:  # nobody asked anything
            self.transport.abortConnection()
        elif answer is None and _is_stored(data):
            self._end(_STORED, keep=True)
        else:
            if answer is None:
                answer = self._answer = _Answer()
            self._read(answer, data)

    def _read(self, answer: _Answer, data: bytes) -> None:
        try:
            answer.read(data)
        except (HttpParserError, HttpParserUpgrade):
            if not answer.whole:
                self._fail(UpstreamError(_NOT_HTTP))
                return
            self._end(answer.posted(), keep=False)
            return
        if answer.whole or answer.too_long:
            self._end(answer.posted(), keep=answer.keeps_connection)
        elif not answer.in_body:
            self._head_room -= len(data)
            if self._head_room < 0:
                self._fail(UpstreamError(_HEAD_TOO_LONG))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone: the end of an answer that has no other, or of one that never came."""
        self._owner.is_gone(self)
        answer = self._answer
        if answer is not None and answer.ends_with_connection and reason.check(ConnectionDone):
            self._end(answer.posted(), keep=False)
        elif self._waiting is not None:
            self._fail(no_answer(reason))

    def overdue(self) -> None:
        """The deadline has passed."""
        self._fail(overdue(self._timeout_seconds))

    def _end(self, posted: Posted, *, keep: bool) -> None:
        waiting = self._take_waiting()
        if keep:
            self._owner.is_idle(self)
        else:
            self._hang_up()
        if waiting is not None:
            waiting.callback(posted)

    def _fail(self, error: UpstreamError) -> None:
        waiting = self._take_waiting()
        self._hang_up()
        if waiting is not None:
            waiting.errback(error)

    def _cancel(self, waiting: Deferred[Posted]) -> None:
        self._take_waiting()
        self._hang_up()
        waiting.errback(CancelledError())

    def _hang_up(self) -> None:
        self._owner.is_gone(self)
        self.transport.abortConnection()

    def _take_waiting(self) -> Deferred[Posted] | None:
        waiting, self._waiting = self._waiting, None
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()
        return waiting


class _Connections(Factory):
    """Makes connections, knows which are idle, and ends those that are so for too long, or wait for too long.

    One timer serves all of them: one for each POST would cost as much as to read its answer.
    """

    noisy = False

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._busy: dict[_Connection, None] = {}
        self._idle: list[_Connection] = []
        self._next_look: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        """Make the protocol of one."""
        connection = _Connection(self)
        connection.factory = self
        return connection

    def take(self) -> _Connection | None:
        """The idle connection that was used last, or None."""
        return self._idle.pop() if self._idle else None

    def close(self) -> None:
        """Close those that are idle."""
        while (connection := self.take()) is not None:
            connection.transport.loseConnection()
        self._rest()

    # What connections call.

    def is_busy(self, connection: _Connection, timeout_seconds: float) -> None:
        """Mind its deadline."""
        connection.deadline = self._clock.seconds() + timeout_seconds
        self._busy[connection] = None
        if self._next_look is None:
            self._look_in(LOOK_SECONDS)

    def is_idle(self, connection: _Connection) -> None:
        """Keep it for the next POST."""
        self._busy.pop(connection, None)
        if len(self._idle) < IDLE_CONNECTIONS:
            connection.idle_since = self._clock.seconds()
            self._idle.append(connection)
        else:
            connection.transport.loseConnection()

    def is_gone(self, connection: _Connection) -> None:
        """Forget it."""
        self._busy.pop(connection, None)
        if connection in self._idle:
            self._idle.remove(connection)
        self._rest()

    # The timer.

    def _look(self) -> None:
        self._next_look = None
        now = self._clock.seconds()
        for connection in [each for each in self._busy if each.deadline <= now]:
            connection.overdue()
        for connection in [each for each in self._idle if each.idle_since + IDLE_SECONDS <= now]:
            self._idle.remove(connection)
            connection.transport.loseConnection()
        due = [each.deadline for each in self._busy] + [each.idle_since + IDLE_SECONDS for each in self._idle]
        if due and self._next_look is None:
            self._look_in(min(LOOK_SECONDS, min(due) - now))

    def _look_in(self, seconds: float) -> None:
        self._next_look = self._clock.callLater(seconds, self._look)

    def _rest(self) -> None:
        """Stop the timer when there is nothing to mind."""
        if self._next_look is not None and not self._busy and not self._idle:
            self._next_look.cancel()
            self._next_look = None


class DirectPoster:
    """Sends POSTs to one InfluxDB.

    :param endpoint: where it listens.
    :param url: its name for the `Host` header, and the prefix of every target.
    :param clock: measures deadlines, and for how long idle connections are kept.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, url: InfluxdbUrl, clock: IReactorTime) -> None:
        self._endpoint = endpoint
        self._url = url
        self._clock = clock
        self._authority = url.authority
        self._connections = _Connections(clock)

    def post(self, target: bytes, headers: Sequence[Header], body: bytes, timeout_seconds: float) -> Deferred[Posted]:
        """Send one POST; see :meth:`torfluxd.influx.post.Poster.post`.

        Headers and target are the caller's own: they hold nothing that a stranger could have put a line break into.
        """
        request = self._request(target, headers, body)
        connection = self._connections.take()
        if connection is not None:
            return connection.post(request, timeout_seconds)
        connecting: Deferred[_Connection] = self._endpoint.connect(self._connections)  # type: ignore[assignment]  # ours
        return settle(connecting, self._clock, timeout_seconds).addCallback(_Connection.post, request, timeout_seconds)

    def close(self) -> None:
        """Close the connections that have no work. To be called when nothing is sent any more."""
        self._connections.close()

    def _request(self, target: bytes, headers: Sequence[Header], body: bytes) -> bytes:
        fields = b"".join([b"%b: %b\r\n" % header for header in headers])
        return b"POST %b HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            self._url.request_uri(target),
            self._authority,
            fields,
            len(body),
            body,
        )


def _is_stored(data: bytes) -> bool:
    """Whether this is the answer to a write that is stored, all of it and nothing else, on a connection that stays.

    It is what nearly always comes, and needs no parser: a 204 has no body, and nobody reads its headers.
    """
    return (
        data.startswith(b"HTTP/1.1 204 ")
        and data.find(b"\r\n\r\n") == len(data) - 4
        and b"\r\nconnection:" not in data.lower()
    )


_: type[Poster] = DirectPoster
