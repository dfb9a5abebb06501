"""Which circuit a connection came through."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.circuits import LONGEST_PROXY_LINE_BYTES, CircuitFactory, UnknownCircuitFactory, read_circuit

REAL = b"PROXY TCP6 fc00:dead:beef:4dad::0:1c ::1 28 80"


class ReadCircuitTests(SynchronousTestCase):
    """The line that tor writes."""

    def test_the_line_of_a_real_tor_is_read(self) -> None:
        """The line as tor 0.4.9.11 writes it, and the forms of the manual and of older tors, give the circuit's id."""
        self.assertEqual(0x1C, read_circuit(REAL))
        self.assertEqual(0xAABBCCDD, read_circuit(b"PROXY TCP6 fc00:dead:beef:4dad::aabb:ccdd ::1 65535 42"))
        self.assertEqual(0x10002, read_circuit(b"PROXY TCP6 fc00:dead:beef:4dad:1:2 ::1 28 80"))

    def test_what_tor_does_not_write_is_no_circuit(self) -> None:
        """Another proxy's line, another network, or a line with more in it, names no circuit."""
        for line in (
            b"",
            b"PROXY UNKNOWN",
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2",
            b"PROXY TCP6 fc00:dead:beef:4dae::0:1c ::1 28 80",
            b"PROXY TCP6 fc00:dead:beef:4dad::0:11111 ::1 28 80",
            REAL + b" ",
            REAL + b"\n",
            b"POST /write HTTP/1.1",
        ):
            self.assertIsNone(read_circuit(line), line)

    @given(st.integers(0, 0xFFFFFFFF))
    def test_every_circuit_is_told_apart(self, circuit: int) -> None:
        """Every id is read back as it is."""
        line = f"PROXY TCP6 fc00:dead:beef:4dad::{circuit >> 16:x}:{circuit & 0xFFFF:x} ::1 1 80".encode()
        self.assertEqual(circuit, read_circuit(line))


class Recorder(Protocol):
    """What stands behind the PROXY line."""

    def __init__(self, circuit: Hashable) -> None:
        self.circuit = circuit
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data


class CircuitFactoryTests(SynchronousTestCase):
    """Connections from our own tor."""

    def setUp(self) -> None:
        """Begin with one connection."""
        self.built: list[Recorder] = []
        self.transport = StringTransport()
        self.protocol = self.connect()

    def connect(self) -> Protocol:
        """One more connection."""

        def build(circuit: Hashable) -> Recorder:
            self.built.append(Recorder(circuit))
            return self.built[-1]

        protocol = CircuitFactory(build).buildProtocol(None)
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        return protocol

    @given(st.integers(0, len(REAL) + 6))
    def test_the_line_is_taken_off_however_it_is_cut(self, cut: int) -> None:
        """Wherever the network cuts the first bytes, the circuit is known and nothing of the request is lost."""
        self.setUp()
        data = REAL + b"\r\nGET /"
        self.protocol.dataReceived(data[:cut])
        (self.built[0] if self.built else self.protocol).dataReceived(data[cut:])
        (behind,) = self.built
        self.assertEqual((0x1C, b"GET /"), (behind.circuit, behind.heard))
        self.assertIs(behind.transport, self.transport)

    def test_a_connection_without_the_line_is_cut_off(self) -> None:
        """Whoever finds the socket and speaks HTTP straight away is cut off without a word."""
        self.protocol.dataReceived(b"GET /ping HTTP/1.1\r\n\r\n")
        self.assertTrue(self.transport.disconnected or self.transport.disconnecting)
        self.assertEqual(([], b""), (self.built, self.transport.value()))

    def test_a_line_that_never_ends_is_cut_off(self) -> None:
        """A first line longer than any PROXY line is cut off."""
        self.protocol.dataReceived(b"P" * LONGEST_PROXY_LINE_BYTES)
        self.assertTrue(self.transport.disconnected or self.transport.disconnecting)


class UnknownCircuitFactoryTests(SynchronousTestCase):
    """Connections from a tor that does not say which circuit they come through."""

    def test_every_connection_is_served_from_its_first_byte(self) -> None:
        """Nothing is expected before the first request."""
        factory = UnknownCircuitFactory(lambda: Recorder(None))
        protocol = factory.buildProtocol(None)
        protocol.dataReceived(b"GET /")
        assert isinstance(protocol, Recorder)
        self.assertEqual(b"GET /", protocol.heard)
        self.assertFalse(factory.noisy)
