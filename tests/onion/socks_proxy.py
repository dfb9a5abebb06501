"""A SOCKS port in memory, which says what a test tells it to say."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.socks import Isolation

# The onion services of the keys whose seeds are 32 times 0x01, and 32 times 0x02.
ONION = parse_onion_address("rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5optfad.onion")
OTHER_ONION = parse_onion_address("qe4xodvipulv6vvdkrtmgtd6ztfy3curwtxdpis56yhvxd6jwokbr4qd.onion")

ISOLATION = Isolation(b"user", b"password")

GREETING = b"\x05\x01\x02"
CREDENTIALS = b"\x01\x04user\x08password"
REQUEST = b"\x05\x01\x00\x03\x3e" + ONION.hostname.encode() + b"\x00\x50"

METHOD_CHOSEN = b"\x05\x02"
LET_IN = b"\x01\x00"
OPENED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
REFUSED = b"\x05\xf0\x00\x01\x00\x00\x00\x00\x00\x00"


class Connection:
    """One connection that the proxy has accepted."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)

    def sent(self) -> bytes:
        """What came from the client since this was last asked."""
        sent = self.transport.value()
        self.transport.clear()
        return sent

    def say(self, *messages: bytes) -> None:
        """Say something to the client; each message arrives alone."""
        for message in messages:
            self.protocol.dataReceived(message)

    def open(self) -> None:
        """Take whatever the client wants, and open the stream."""
        self.say(METHOD_CHOSEN, LET_IN, OPENED)

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is lost."""
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def aborted(self) -> bool:
        """Whether the client has cut the connection."""
        return self.transport.disconnected


class MemoryProxy:
    """The SOCKS port: `endpoint` leads to it."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 9050)

    @property
    def attempts(self) -> int:
        """How many connections were asked for."""
        return len(self.reactor.tcpClients)

    def accept(self, index: int = -1) -> Connection:
        """Accept one of the connections that were asked for, the latest for instance."""
        protocol = self.reactor.tcpClients[index][2].buildProtocol(IPv4Address("TCP", "127.0.0.1", 9050))
        return Connection(protocol)

    def refuse(self, reason: Exception) -> None:
        """Refuse the latest connection."""
        self.reactor.tcpClients[-1][2].clientConnectionFailed(self.reactor.connectors[-1], Failure(reason))

    @property
    def gave_up(self) -> bool:
        """Whether the client no longer wants the latest connection."""
        return bool(self.reactor.connectors[-1].stoppedConnecting)
