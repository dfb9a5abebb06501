"""What may stand between an onion service and its gateway: every kind of trouble, in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import cycle

from twisted.internet.interfaces import IAddress
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer

__all__ = ["TroubledWay"]

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Onward(ProxyClient):
    """The way back."""

    peer: _Connection

    def dataReceived(self, data: bytes) -> None:
        """An answer: the writer gets it, or never hears of it."""
        if self.peer.fate == "answer lost":
            self.peer.transport.abortConnection()
            self.transport.loseConnection()
        else:
            super().dataReceived(data)


class _OnwardFactory(ProxyClientFactory):
    protocol = _Onward
    noisy = False


class _Connection(ProxyServer):
    """A connection, and what shall become of it."""

    clientProtocolFactory = _OnwardFactory  # noqa: N815 - Twisted's name
    fate = ""

    def dataReceived(self, data: bytes) -> None:
        """A request, or a part of it."""
        if self.fate == "cut":
            self.transport.abortConnection()
        elif self.fate == "503":
            self.transport.write(UNAVAILABLE)
            self.transport.loseConnection()
        else:
            super().dataReceived(data)


class TroubledWay(ProxyFactory):
    """Forwards one connection in four as it should be; of the others, one is answered 503, one is cut, and the answer
    to one is lost.

    :ivar seen: how many connections had which fate.
    """

    protocol = _Connection
    noisy = False

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.seen: Counter[str] = Counter()
        self._fates: Iterator[str] = cycle(["503", "answer lost", "cut", "well"])

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        """Decide."""
        connection: _Connection = super().buildProtocol(addr)
        connection.fate = next(self._fates)
        self.seen[connection.fate] += 1
        return connection
