"""How bytes leave a connection, on Twisted's own transport of a real socket."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.outlet import Outlet


class OutletTests(SynchronousTestCase):
    """What is written arrives, in order, and as soon as it can."""

    def setUp(self) -> None:
        """Connect two sockets; one belongs to a transport whose reactor never turns by itself."""
        sockets = self.enterContext(ExitStack())
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.stranger = sockets.enter_context(socket.create_connection(listener.getsockname()))
        self.socket = sockets.enter_context(listener.accept()[0])
        self.socket.setblocking(False)
        self.stranger.setblocking(False)
        self.transport = Connection(self.socket, Protocol(), MemoryReactor())
        self.transport.connected = True
        self.outlet = Outlet(self.transport)

    def read(self) -> bytes:
        """What has reached the stranger."""
        received = []
        try:
            while piece := self.stranger.recv(65536):
                received.append(piece)
        except BlockingIOError:
            pass
        return b"".join(received)

    def test_at_once(self) -> None:
        """What is written reaches the stranger without a turn of the reactor."""
        self.outlet.write(b"answer")
        self.assertEqual(self.read(), b"answer")

    def test_in_order(self) -> None:
        """Nothing overtakes what the socket did not take at first, also when there is room again."""
        large = bytes(range(256)) * 65536
        self.outlet.write(large)
        received = self.read()
        self.assertLess(len(received), len(large))
        self.outlet.write(b"second")
        self.outlet.write(b"third")
        while self.transport.dataBuffer or len(received) < len(large):
            self.transport.doWrite()
            received += self.read()
        self.assertTrue(received == large + b"secondthird")

    def test_without_delay(self) -> None:
        """TCP does not wait for an acknowledgement between two pieces."""
        self.assertTrue(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_broken(self) -> None:
        """A broken socket is reported as Twisted does, not by an exception here."""
        self.stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.stranger.close()
        self.outlet.write(b"lost")
        self.assertIsInstance(self.transport.doWrite(), Exception)

    def test_end(self) -> None:
        """After the end of what is written, the stranger may still send."""
        self.outlet.write(b"answer")
        self.outlet.end()
        self.transport.doWrite()
        self.assertEqual(self.read(), b"answer")
        self.assertEqual(self.stranger.recv(1), b"")
        self.stranger.sendall(b"more")
        self.assertEqual(self.socket.recv(10), b"more")

    def test_other_transports(self) -> None:
        """A transport that is no plain socket, such as TLS, is written to and closed in its own way."""
        transport = StringTransport()
        outlet = Outlet(transport)
        outlet.write(b"answer")
        outlet.end()
        self.assertEqual(transport.value(), b"answer")
        self.assertTrue(transport.disconnecting)
