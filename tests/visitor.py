"""One connection to a twisted.web server, without a socket."""

from __future__ import annotations

from twisted.internet.testing import StringTransportWithDisconnection
from twisted.web.server import Site

from tests.gateway.strangers import Received, parse_answers

__all__ = ["Visitor"]


class _Transport(StringTransportWithDisconnection):
    """A transport that says that it closes, as a socket does."""

    def loseConnection(self) -> None:
        """Close."""
        self.disconnecting = True
        super().loseConnection()


class Visitor:
    """A connection to a twisted.web server, without a socket."""

    def __init__(self, site: Site) -> None:
        self.channel = site.buildProtocol(None)
        self.transport = _Transport(lenient=True)
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send."""
        self.channel.dataReceived(data)

    def received(self) -> bytes:
        """What came back since the last time."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def answers(self, method: str = "POST") -> list[Received]:
        """The answers that came back since the last time."""
        return parse_answers(self.received(), method)

    @property
    def closed(self) -> bool:
        """The server has closed."""
        return not self.transport.connected
