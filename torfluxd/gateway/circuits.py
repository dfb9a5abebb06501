"""Which circuit a connection came through: the PROXY line that our own tor writes before a stranger's first byte.

With `HiddenServiceExportCircuitID haproxy`, tor sends `PROXY TCP6 fc00:dead:beef:4dad::AABB:CCDD ::1 65535 80` and
CRLF (tor(1); tor 0.4.9.11 really writes `PROXY TCP6 fc00:dead:beef:4dad::0:1c ::1 28 80`); the last 32 bits of the
first address are the circuit's id, which the control port knows as well. The id links what one stranger does: it stays
in memory, and is never written down.

A tor that is not ours does not tell us: `ADD_ONION` cannot ask for that line. Behind it each connection stands for
itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IProtocol, ITCPTransport, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["LONGEST_PROXY_LINE_BYTES", "CircuitFactory", "UnknownCircuitFactory", "read_circuit"]

LONGEST_PROXY_LINE_BYTES = 107
"""The longest line of version 1 of the PROXY protocol, its CRLF included (haproxy's proxy-protocol.txt, 2.1)."""

# Older tors wrote six groups without the "::"; the last two groups are the id either way.
_LINE = re.compile(rb"PROXY TCP6 fc00:dead:beef:4dad:(?::|0:0:)?([0-9a-f]{1,4}):([0-9a-f]{1,4}) ::1 \d{1,5} \d{1,5}")


def read_circuit(line: bytes) -> int | None:
    """Read a circuit's id out of a PROXY line without its CRLF, or None when it is not one that tor writes."""
    found = _LINE.fullmatch(line)
    return (int(found[1], 16) << 16) | int(found[2], 16) if found else None


class _ProxyLine(Protocol):
    """Reads the PROXY line, then leaves the connection to the protocol that is made for that circuit."""

    def __init__(self, build: Callable[[int], IProtocol]) -> None:
        self._build = build
        self._line = b""

    def dataReceived(self, data: bytes) -> None:
        """Gather the line; whatever does not begin with one is not from our tor, and is cut off without a word."""
        line, end, rest = (self._line + data).partition(b"\r\n")
        if not end:
            self._line = line
            if len(line) >= LONGEST_PROXY_LINE_BYTES:
                self._refuse()
            return
        circuit = read_circuit(line)
        if circuit is None:
            self._refuse()
            return
        self._hand_over(self._build(circuit), rest)

    def _refuse(self) -> None:
        self._line = b""
        transport: ITCPTransport = self.transport  # type: ignore[assignment]  # every stream transport can abort
        transport.abortConnection()

    def _hand_over(self, protocol: IProtocol, rest: bytes) -> None:
        """From here on the transport calls `protocol` itself: nothing stays between them."""
        transport: ITransport = self.transport  # type: ignore[assignment]  # connected, or there were no data
        transport.protocol = protocol  # type: ignore[attr-defined]  # Twisted's stream transports all have it
        protocol.makeConnection(transport)
        if rest:
            protocol.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Lost before it said which circuit it is: nothing was promised to it."""


class CircuitFactory(Factory):
    """Accepts connections from our own tor only, each with its circuit's PROXY line.

    :param build: makes the protocol for a connection of this circuit.
    """

    noisy = False

    def __init__(self, build: Callable[[int], IProtocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Begin with the PROXY line."""
        return _ProxyLine(self._build)


class UnknownCircuitFactory(Factory):
    """Accepts connections of which nothing is known, each as if it came through a circuit of its own.

    :param build: makes the protocol for a connection.
    """

    noisy = False

    def __init__(self, build: Callable[[], Protocol]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Begin at once."""
        return self._build()
