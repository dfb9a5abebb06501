"""The other end of an agent's connections, in memory and byte by byte."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet import error
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from torfluxd.influx.agent import InfluxdbAgent, influxdb_agent
from torfluxd.influx.url import InfluxdbUrl, parse_influxdb_url

__all__ = ["Connection", "FarSide"]


@define(eq=False)
class Connection:
    """One connection, as the server that stands for InfluxDB has it."""

    protocol: IProtocol
    transport: StringTransport = field(factory=StringTransport)

    def received(self) -> bytes:
        """What came since the last call."""
        data = self.transport.value()
        self.transport.clear()
        return data

    def say(self, data: bytes) -> None:
        """Send bytes to the agent."""
        self.protocol.dataReceived(data)

    def respond(self, status: int, headers: Sequence[bytes] = (), body: bytes = b"") -> None:
        """Send a whole response."""
        lines = [b"HTTP/1.1 %d Whatever" % status, *headers]
        if status != 204:
            lines.append(b"Content-Length: %d" % len(body))
        self.say(b"\r\n".join([*lines, b"", body]))

    def hang_up(self) -> None:
        """Close the connection."""
        self.protocol.connectionLost(Failure(error.ConnectionDone()))

    @property
    def is_closed(self) -> bool:
        """Whether the agent has closed it, gently or not."""
        return self.transport.disconnecting or self.transport.producerState == "stopped"


@define(eq=False)
class FarSide:
    """A server at a URL, and an agent that connects to it when the test says so."""

    address: str = "127.0.0.1:8086"
    reactor: MemoryReactorClock = field(factory=MemoryReactorClock)
    url: InfluxdbUrl = field(init=False)
    agent: InfluxdbAgent = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.url = parse_influxdb_url(self.address)
        self.agent = influxdb_agent(self.reactor, self.url)

    @property
    def waiting(self) -> int:
        """How many connections the agent is opening."""
        return len(self.reactor.tcpClients)

    def accept(self) -> Connection:
        """Let the agent's oldest attempt to connect succeed."""
        connection = Connection(self._next_factory().buildProtocol(None))
        connection.protocol.makeConnection(connection.transport)
        return connection

    def refuse(self) -> None:
        """Let the agent's oldest attempt to connect fail."""
        self._next_factory().clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))

    def _next_factory(self) -> Factory:
        _host, _port, factory, _seconds, _address = self.reactor.tcpClients.pop(0)
        return factory
