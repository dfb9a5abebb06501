"""Sockets that several processes listen to."""

from __future__ import annotations

import errno
import socket
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from torfluxd.gateway.acceptor import PAUSE_SECONDS, SILENT_SECONDS, Acceptor

reactor: Any = global_reactor


class Greeter(Protocol):
    """Says hello, and closes."""

    def connectionMade(self) -> None:
        """Say it."""
        self.transport.write(b"hello")  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class AcceptorTests(TestCase):
    """A socket that is not ours alone."""

    timeout = 30

    def setUp(self) -> None:
        """Open two such sockets, of the kinds that there are."""
        directory = tempfile.TemporaryDirectory(prefix="acceptor-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "door"
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(self.path))
        self.path.chmod(0o600)
        unix.listen(5)
        self.sockets = [unix, socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=10)]
        factory = Factory.forProtocol(Greeter)
        factory.noisy = False
        self.acceptors = [Acceptor(reactor, each, factory) for each in self.sockets]
        for each, acceptor in zip(self.sockets, self.acceptors, strict=True):
            each.setblocking(False)
            self.addCleanup(each.close)
            self.addCleanup(acceptor.accept, False)

    async def heard(self, listening: socket.socket, seconds: float = 10.0) -> bytes:
        """What one hears who connects."""
        with socket.socket(listening.family) as stranger:
            stranger.setblocking(False)
            stranger.connect_ex(listening.getsockname())
            until = reactor.seconds() + seconds
            while reactor.seconds() < until:
                await deferLater(reactor, 0.01)
                try:
                    return stranger.recv(99)
                except BlockingIOError:
                    continue
        return b"nothing"

    async def test_serves(self) -> None:
        """Who connects is served, also when it is said twice; when nothing is accepted he waits."""
        for listening, acceptor in zip(self.sockets, self.acceptors, strict=True):
            acceptor.accept()
            acceptor.accept()
            self.assertEqual(await self.heard(listening), b"hello")
            acceptor.accept(False)
            acceptor.accept(False)
            self.assertEqual(await self.heard(listening, 0.1), b"nothing")
            acceptor.accept()
            self.assertEqual(await self.heard(listening), b"hello")

    async def test_leaves_it_as_it_is(self) -> None:
        """The file of a unix socket stays for its user alone, and stays for the others when we no longer listen."""
        self.acceptors[0].accept()
        self.assertEqual(await self.heard(self.sockets[0]), b"hello")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.acceptors[0].accept(False)
        self.assertTrue(self.path.is_socket())

    async def test_many(self) -> None:
        """A burst of connections is served, more than are accepted in one turn."""
        self.acceptors[1].accept()
        waiting = [Deferred.fromCoroutine(self.heard(self.sockets[1])) for _ in range(50)]
        self.assertEqual({await each for each in waiting}, {b"hello"})


class Full:
    """A socket at which somebody connects who cannot be accepted."""

    def accept(self) -> None:
        """Fail."""
        raise OSError(errno.EMFILE, "Too many open files")

    def fileno(self) -> int:
        """No descriptor."""
        return -1


class FullTests(SynchronousTestCase):
    """When the process has as many descriptors as it may."""

    def test_waits(self) -> None:
        """It accepts nothing for a while, says so once a minute, and does not spin."""
        memory = MemoryReactorClock()
        acceptor = Acceptor(cast(Any, memory), cast(Any, Full()), Factory())
        acceptor.accept()
        with capturedLogs() as events:
            for _ in range(3):
                self.assertEqual(len(memory.getReaders()), 1)
                acceptor.doRead()
                self.assertEqual(memory.getReaders(), [])
                memory.advance(PAUSE_SECONDS)
        self.assertEqual(len(events), 1)
        memory.advance(SILENT_SECONDS)
        with capturedLogs() as events:
            acceptor.doRead()
        self.assertEqual(len(events), 1)
        acceptor.accept(False)
        memory.advance(PAUSE_SECONDS)
        self.assertEqual((memory.getReaders(), memory.getDelayedCalls()), ([], []))
