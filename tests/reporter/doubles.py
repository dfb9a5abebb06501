"""A tor, an onion service and a gateway in memory: bytes flow through the real SOCKS client and real HTTP code."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

_SOCKS_PORT = IPv4Address("TCP", "127.0.0.1", 9050)

OPENED = 0x00
"""The SOCKS reply of a stream that is open."""


class FakeGateway(Resource):
    """Keeps what is written to it. It answers with the answers it was given, one each, and 204 when there are none.

    :ivar arrived: the lines of each write that was answered 204, decoded.
    :ivar requests: every request, whatever its answer: method, URI and headers.
    :ivar answers: what the next requests get: a status with headers and a body, or a function of the request.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[list[str]] = []
        self.requests: list[tuple[bytes, bytes, dict[bytes, list[bytes]]]] = []
        self.answers: list[tuple[int, dict[str, str], bytes] | Callable[[Request], None]] = []

    def render(self, request: Request) -> bytes | int:
        """Take a request as told."""
        self.requests.append((request.method, request.uri, dict(request.requestHeaders.getAllRawHeaders())))
        answer = self.answers.pop(0) if self.answers else (204, {}, b"")
        if callable(answer):
            answer(request)
            return NOT_DONE_YET
        status, headers, body = answer
        if status == 204:
            self.arrived.append(request.content.read().decode().split("\n"))
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        return body


def cut(request: Request) -> None:
    """An answer: the connection is cut."""
    request.transport.abortConnection()


def keep_waiting(request: Request) -> None:
    """An answer: none."""


class _Socks(Protocol):
    """Lets everybody in, notes who it was, and opens a stream to the gateway or says why not."""

    def __init__(self, tor: FakeTor) -> None:
        self._tor = tor
        self._received = b""
        self._steps = [self._greeting, self._credentials, self._request]
        self._stream: IProtocol | None = None

    def dataReceived(self, data: bytes) -> None:
        """Speak SOCKS5 until the stream is open, then pass everything on."""
        if self._stream is not None:
            self._stream.dataReceived(data)
            return
        self._received += data
        while self._steps and (length := self._steps[0]()):
            self._received = self._received[length:]
            self._steps.pop(0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the gateway."""
        if self._stream is not None:
            self._stream.connectionLost(reason)

    def _greeting(self) -> int:
        if len(self._received) < 3:
            return 0
        self.transport.write(b"\x05\x02")
        return 3

    def _credentials(self) -> int:
        if len(self._received) < 3:
            return 0
        user_length = self._received[1]
        length = 3 + user_length + self._received[2 + user_length]
        self._tor.circuits.append(self._received[2:length])
        self.transport.write(b"\x01\x00")
        return length

    def _request(self) -> int:
        if len(self._received) < 5:
            return 0
        length = 5 + self._received[4] + 2
        self._tor.hosts.append(self._received[5 : length - 2])
        code = self._tor.codes.pop(0) if self._tor.codes else OPENED
        if code != OPENED:
            self.transport.write(bytes([5, code]) + b"\x00\x01" + bytes(6))
            self.transport.loseConnection()
        else:
            self._stream = self._tor.site.buildProtocol(None)
            self._stream.makeConnection(self.transport)
            self.transport.write(b"\x05\x00\x00\x01" + bytes(6))
        return length


@implementer(IStreamClientEndpoint)
@define(eq=False)
class FakeTor:
    """The SOCKS port of a tor, as an endpoint; behind it is one onion service, the gateway's.

    :ivar circuits: the credentials of each stream: streams with different ones have different circuits.
    :ivar hosts: where each stream should lead.
    :ivar codes: the SOCKS replies to the next requests; when there are none, streams are opened.
    :ivar is_up: whether the port takes connections.
    """

    clock: Clock
    gateway: FakeGateway
    circuits: list[bytes] = field(factory=list)
    hosts: list[bytes] = field(factory=list)
    codes: list[int] = field(factory=list)
    is_up: bool = True
    site: Site = field(init=False)
    _pumps: list[iosim.IOPump] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.site = Site(self.gateway, reactor=self.clock, timeout=None)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the port."""
        if not self.is_up:
            return fail(error.ConnectionRefusedError())
        client, server = protocolFactory.buildProtocol(_SOCKS_PORT), _Socks(self)
        ends = server, iosim.makeFakeServer(server), client, iosim.makeFakeClient(client)
        self._pumps.append(iosim.connect(*ends, greet=False))  # no byte flows before `pump`
        return succeed(client)

    def pump(self) -> None:
        """Let all bytes flow that are under way, and those that they cause."""
        while sum(pump.pump() for pump in self._pumps):
            pass
