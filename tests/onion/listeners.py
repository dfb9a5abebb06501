"""A machine in memory, on whose ports somebody may listen: a tor, a proxy that is none, or somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

Listener = Callable[[bytes], bytes | None]
"""From what it hears to what it says; nothing to say: b"", and None to hang up."""


def tor(heard: bytes) -> bytes:
    """A tor."""
    return _socks(heard, lambda request: b"\x05\x00\x00\x01" + request[4:8] + b"\x00\x00")


def onion_traffic_only(heard: bytes) -> bytes:
    """A tor whose port lets nothing through but what goes to onion services."""
    return _socks(heard, lambda _: b"\x05\x04\x00\x00\x00\x00\x00\x00\x00\x00")


def ordinary_proxy(heard: bytes) -> bytes:
    """A SOCKS5 proxy that keeps to RFC 1928."""
    return _socks(heard, lambda _: b"\x05\x07\x00\x01" + bytes(6))


def obliging_proxy(heard: bytes) -> bytes:
    """A proxy that does whatever it is asked, or says so."""
    return _socks(heard, lambda _: b"\x05\x00\x00\x01" + bytes(6))


def proxy_without_passwords(heard: bytes) -> bytes:
    """A SOCKS5 proxy that takes no user names."""
    return b"\x05\xff"


def web_server(heard: bytes) -> bytes:
    """No proxy at all."""
    return b"HTTP/1.1 400 Bad Request\r\n\r\n"


def silent(heard: bytes) -> bytes:
    """Somebody who takes connections and never speaks."""
    return b""


def abrupt(heard: bytes) -> None:
    """Somebody who hangs up."""


def _socks(heard: bytes, reply: Callable[[bytes], bytes]) -> bytes:
    if heard == b"\x05\x01\x02":
        return b"\x05\x02"
    return b"\x01\x00" if heard[0] == 1 else reply(heard)


class _Wire(StringTransport):
    """A connection: what is written to it is heard at once, and answered."""

    def __init__(self, protocol: IProtocol, listener: Listener, heard: list[bytes]) -> None:
        super().__init__()
        self._protocol = protocol
        self._listener = listener
        self._heard = heard

    def write(self, data: bytes) -> None:
        """Let it be heard, and answered."""
        if not data:
            return
        self._heard.append(data)
        answer = self._listener(data)
        if answer is None:
            self._protocol.connectionLost(Failure(ConnectionDone()))
        elif answer:
            self._protocol.dataReceived(answer)


@define(eq=False)
class Machine(MemoryReactorClock):  # type: ignore[misc]  # Twisted's own double has no types
    """A machine.

    :ivar listeners: who listens where: at `unix:/path`, or `tcp:9050`.
    :ivar asked: where connections were asked for.
    :ivar heard: everything that any listener ever heard.
    """

    listeners: dict[str, Listener] = field(factory=dict)
    asked: list[str] = field(factory=list)
    heard: list[bytes] = field(factory=list)
    wires: list[_Wire] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def connectTCP(self, host: str, port: int, factory: IProtocolFactory, *args: Any, **more: Any) -> None:
        """Connect to a port of this machine."""
        assert host == "127.0.0.1", host
        self._connect(f"tcp:{port}", IPv4Address("TCP", host, port), factory)

    def connectUNIX(self, address: str, factory: IProtocolFactory, *args: Any, **more: Any) -> None:
        """Connect to a unix socket."""
        self._connect(f"unix:{address}", UNIXAddress(address), factory)

    def _connect(self, where: str, address: IAddress, factory: Any) -> None:
        self.asked.append(where)
        if where not in self.listeners:
            factory.clientConnectionFailed(None, Failure(ConnectError()))
            return
        protocol = factory.buildProtocol(address)
        wire = _Wire(protocol, self.listeners[where], self.heard)
        self.wires.append(wire)
        protocol.makeConnection(wire)

    @property
    def open_connections(self) -> int:
        """How many connections were not cut."""
        return sum(not wire.disconnected for wire in self.wires)
