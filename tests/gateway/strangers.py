"""What the tests of the door share: sites that remember, strangers without sockets, and a foreign parser of answers."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Hashable
from io import BytesIO
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.client import Agent, RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.gateway.connection import Connection
from torfluxd.gateway.exchange import Answer, Collect, Head, PassThrough, Plan
from torfluxd.gateway.front import Bounds, Front

STORED = Answer(204, ((b"Content-Type", b"application/json"),))
TOO_LARGE = Answer(413, ((b"Content-Type", b"application/json"),), b'{"error":"Request Entity Too Large"}\n')
PONG = Answer(200, ((b"Content-Type", b"text/plain"),), b"pong")
LIMIT_BYTES = 1000


@define
class Routes:
    """A site of three routes, which remembers what it saw.

    `/write` collects; `/later` collects and answers when the test says so; `/open` passes through to `upstream`;
    everything else gets an answer at once.
    """

    limit_bytes: int = LIMIT_BYTES
    heads: list[Head] = field(factory=list)
    bodies: list[bytes] = field(factory=list)
    writers: list[Hashable] = field(factory=list)
    pending: list[Deferred[Answer]] = field(factory=list)
    gone: int = 0
    upstream: Callable[[Any], Deferred[Any]] | None = None

    def plan(self, head: Head) -> Plan:
        """Decide by the path."""
        self.heads.append(head)
        path = head.target.partition(b"?")[0]
        if path == b"/write":
            return Collect(self.limit_bytes, TOO_LARGE, self._store)
        if path == b"/later":
            return Collect(self.limit_bytes, TOO_LARGE, self._store_later)
        if path == b"/open":
            assert self.upstream is not None
            return PassThrough(self.upstream)
        return PONG

    def _store(self, body: bytes, writer: Hashable) -> Deferred[Answer]:
        self.writers.append(writer)
        self.bodies.append(body)
        return succeed(STORED)

    def _store_later(self, body: bytes, writer: Hashable) -> Deferred[Answer]:
        self.bodies.append(body)
        answer = Deferred[Answer](self._count_gone)
        self.pending.append(answer)
        return answer

    def _count_gone(self, _: Deferred[Answer]) -> None:
        self.gone += 1

    def answer_next(self, answer: Answer = STORED) -> None:
        """Answer the request to `/later` that waits longest."""
        self.pending.pop(0).callback(answer)


class Always:
    """A site with one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def plan(self, head: Head) -> Plan:
        """Decide the same every time."""
        return self._plan


class Stranger:
    """One connection without a socket.

    Its transport only notes that it shall close, as a socket does whose peer has not closed yet.
    """

    def __init__(self, front: Front, connection: Connection | None = None) -> None:
        connection = connection or front.buildProtocol(None)
        assert connection is not None
        self.connection = connection
        self.transport = StringTransport(lenient=True)
        connection.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send, if the door still listens."""
        self.connection.dataReceived(data)

    def received(self) -> bytes:
        """What came back since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def answers(self) -> list[Received]:
        """The answers that came back since the last time."""
        return parse_answers(self.received())

    def statuses(self) -> list[int]:
        """Their statuses."""
        return [answer.status for answer in self.answers()]

    def leave(self) -> None:
        """Close, as a stranger does."""
        self.connection.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """The door has sent its last word."""
        return bool(self.transport.disconnecting)

    @property
    def aborted(self) -> bool:
        """The door has reset the connection."""
        return bool(self.transport.disconnected)

    @property
    def paused(self) -> bool:
        """The door does not read."""
        return bool(self.transport.producerState == "paused")


def door(site: Any = None, **bounds: Any) -> tuple[Front, Any, Clock]:
    """A door, its site and its clock."""
    site = Routes() if site is None else site
    clock = Clock()
    return Front(site, Bounds(**bounds), clock), site, clock


def request(
    body: bytes = b"",
    *,
    method: bytes = b"POST",
    target: bytes = b"/write",
    headers: bytes = b"",
    version: bytes = b"1.1",
) -> bytes:
    """A request as it goes over the wire; `headers` are whole lines."""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/%b\r\nHost: a.onion\r\n%b%b\r\n%b" % (method, target, version, headers, length, body)


PING = request(method=b"GET", target=b"/ping")


def chunked(*chunks: bytes, target: bytes = b"/write", headers: bytes = b"") -> bytes:
    """A request with a chunked body."""
    head = b"POST %b HTTP/1.1\r\nHost: a.onion\r\nTransfer-Encoding: chunked\r\n%b\r\n" % (target, headers)
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@frozen
class Received:
    """An answer as the standard library's client understands it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of this header, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class _Wire(BytesIO):
    """Bytes that `http.client` reads one answer after the other from."""

    def makefile(self, *_: object) -> _Wire:
        return self

    def close(self) -> None:
        """Stay open for the next answer."""


def parse_answers(data: bytes, method: str = "POST") -> list[Received]:
    """Split a byte stream into answers with the standard library's client; fail on anything that it cannot read."""
    wire = _Wire(data)
    answers = []
    while wire.tell() < len(data):
        response = http.client.HTTPResponse(wire, method=method)
        response.begin()
        answers.append(Received(response.status, response.getheaders(), response.read()))
    return answers


@implementer(IStreamClientEndpoint, IAgentEndpointFactory)
class Upstream:
    """The other side of a pass-through: Twisted's own HTTP client, on a connection in memory.

    :ivar transport: the client's; what it holds was sent upstream.
    :ivar results: of each `open`, as it ended.
    """

    def __init__(self) -> None:
        self.transport = StringTransportWithDisconnection(lenient=True)
        self.opened: list[IBodyProducer] = []
        self.failures: list[Failure] = []
        self.agent = Agent.usingEndpointFactory(Clock(), self)

    def endpointForURI(self, uri: object) -> Upstream:
        """Connect everywhere to the same connection."""
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect at once."""
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        return succeed(protocol)

    def open(self, body: IBodyProducer) -> Deferred[IResponse | Answer]:
        """Send a request with this body."""
        self.opened.append(body)
        response: Deferred[IResponse | Answer] = self.agent.request(b"POST", b"http://influxdb/open", None, body)
        return response.addErrback(self._fail)

    def _fail(self, failure: Failure) -> Answer:
        self.failures.append(failure)
        failure.trap(ResponseFailed, RequestGenerationFailed, RequestTransmissionFailed)
        return Answer(502)

    def respond(self, data: bytes) -> None:
        """Let these bytes come from upstream."""
        self.transport.protocol.dataReceived(data)

    def sent(self) -> bytes:
        """What was sent upstream behind the head, since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data.partition(b"\r\n\r\n")[2] if data.startswith(b"POST ") else data

    @property
    def paused(self) -> bool:
        """The response has to wait."""
        return bool(self.transport.producerState == "paused")

    @property
    def closed(self) -> bool:
        """The client has closed its connection."""
        return not self.transport.connected or self.transport.producerState == "stopped"
