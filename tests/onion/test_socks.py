"""The endpoint for streams through tor's SOCKS port: what it gives, how it fails, and that it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError, ConnectionDone, DNSLookupError, NoProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.onion.socks_proxy import (
    CREDENTIALS,
    GREETING,
    ISOLATION,
    LET_IN,
    METHOD_CHOSEN,
    ONION,
    OPENED,
    REFUSED,
    REQUEST,
    Connection,
    MemoryProxy,
)
from torfluxd.errors import (
    SocksAuthenticationError,
    SocksClosedError,
    SocksError,
    SocksOnionDescriptorNotFoundError,
    SocksProtocolError,
    SocksProxyUnreachableError,
    SocksTimeoutError,
)
from torfluxd.onion.socks import OPEN_TIMEOUT_SECONDS, SocksEndpoint

STEPS = ((), (METHOD_CHOSEN,), (METHOD_CHOSEN, LET_IN), (METHOD_CHOSEN, LET_IN, OPENED[:7]))
"""What the proxy has said, when the client waits for more."""


class _Application(Protocol):
    """Remembers what happens to it."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connectionMade(self) -> None:
        self.heard.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.heard.append(reason.value)


@implementer(IHalfCloseableProtocol)
class _HalfCloseable(_Application):
    """One that wants to hear of half-closed connections."""

    def readConnectionLost(self) -> None:
        self.heard.append("read lost")

    def writeConnectionLost(self) -> None:
        self.heard.append("write lost")


class SocksEndpointTestCase(SynchronousTestCase):
    """A SOCKS port in memory, and an endpoint through it."""

    def setUp(self) -> None:
        """A proxy that nobody has spoken to."""
        self.proxy = MemoryProxy()
        self.endpoint = self.through(self.proxy.endpoint)

    def through(self, proxy: IStreamClientEndpoint) -> SocksEndpoint:
        """An endpoint through a proxy that is reached in another way."""
        return SocksEndpoint(self.proxy.reactor, proxy, ONION, 80, ISOLATION)

    def connect(self, application: Protocol | None = None) -> Deferred[Any]:
        """Begin to connect a protocol."""
        return connectProtocol(self.endpoint, application or _Application())

    def assertNothingLeft(self, connection: Connection | None = None) -> None:
        """No connection, and no timer."""
        if connection is not None:
            self.assertTrue(connection.aborted)
            connection.lose()
        self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])


class OpenTests(SocksEndpointTestCase):
    """A stream that opens."""

    def test_interface(self) -> None:
        """It is one of Twisted's client endpoints."""
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_open(self) -> None:
        """The application's protocol is connected when the stream is open, not before, and no timer is left."""
        application = _Application()
        opened = self.connect(application)
        connection = self.proxy.accept()
        self.assertEqual(connection.sent(), GREETING)
        connection.say(METHOD_CHOSEN)
        self.assertEqual(connection.sent(), CREDENTIALS)
        connection.say(LET_IN)
        self.assertEqual(connection.sent(), REQUEST)
        self.assertNoResult(opened)
        self.assertEqual(application.heard, [])
        connection.say(OPENED)
        self.assertIs(self.successResultOf(opened), application)
        self.assertEqual(application.heard, ["made"])
        self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])

    def test_the_transport_itself(self) -> None:
        """The application writes, and produces, into the proxy's transport itself."""
        application = _Application()
        self.connect(application)
        connection = self.proxy.accept()
        connection.open()
        self.assertIs(application.transport, connection.transport)

    def test_after_it_is_open(self) -> None:
        """What comes afterwards is the application's: data, and the end with its reason."""
        application = _Application()
        self.connect(application)
        connection = self.proxy.accept()
        connection.open()
        reason = ConnectionDone()
        connection.say(b"one", b"two")
        connection.lose(reason)
        self.assertEqual(application.heard, ["made", b"one", b"two", reason])

    @given(st.binary(min_size=1, max_size=50), st.sets(st.integers(1, 60)))
    def test_early_data(self, early: bytes, where: set[int]) -> None:
        """What the onion service says at once reaches the application whole, after the Deferred has fired."""
        self.setUp()
        application = _Application()
        self.connect(application).addCallback(lambda _: application.heard.append("fired"))
        connection = self.proxy.accept()
        connection.say(METHOD_CHOSEN, LET_IN)
        reply = OPENED + early
        edges = [0, *sorted(edge for edge in where if edge < len(reply)), len(reply)]
        connection.say(*(reply[start:end] for start, end in pairwise(edges)))
        self.assertEqual(application.heard[:2], ["made", "fired"])
        self.assertEqual(b"".join(application.heard[2:]), early)

    def test_half_close(self) -> None:
        """An application that wants to hear of half-closed connections hears of them; another is not asked."""
        application = _HalfCloseable()
        self.connect(application)
        connection = self.proxy.accept()
        connection.open()
        self.assertTrue(IHalfCloseableProtocol.providedBy(connection.protocol))
        connection.protocol.readConnectionLost()
        connection.protocol.writeConnectionLost()
        self.assertEqual(application.heard, ["made", "read lost", "write lost"])

        self.connect(_Application())
        self.assertFalse(IHalfCloseableProtocol.providedBy(self.proxy.accept().protocol))

    def test_factory_is_told(self) -> None:
        """The application's factory is started and stopped with the connection, as by every endpoint."""

        class Told(Factory):
            noisy = False
            running = False

            def startFactory(self) -> None:
                self.running = True

            def stopFactory(self) -> None:
                self.running = False

        factory = Told.forProtocol(_Application)
        self.endpoint.connect(factory)
        outer = self.proxy.reactor.tcpClients[0][2]
        outer.doStart()
        self.assertTrue(factory.running)
        outer.doStop()
        self.assertFalse(factory.running)

    def test_port(self) -> None:
        """A port that does not exist is refused at once."""
        for port in (-1, 0, 65536):
            self.assertRaises(
                ValueError, SocksEndpoint, self.proxy.reactor, self.proxy.endpoint, ONION, port, ISOLATION
            )

    def test_repr(self) -> None:
        """Neither where somebody goes nor his credentials are in what Twisted logs of an endpoint."""
        for secret in (ONION.name, "user", "password"):
            self.assertNotIn(secret, repr(self.endpoint))


class FailureTests(SocksEndpointTestCase):
    """A stream that does not open: an error that says why, and nothing left behind."""

    def assertFails(self, kind: type[Exception], *says: bytes) -> None:
        """The Deferred fails when the proxy says this, and the connection is cut."""
        application = _Application()
        opened = self.connect(application)
        connection = self.proxy.accept()
        connection.say(*says)
        self.failureResultOf(opened, kind)
        connection.say(b"and more")
        self.assertNothingLeft(connection)
        self.assertEqual(application.heard, [])

    def test_refused(self) -> None:
        """Tor's refusal becomes the error of its name."""
        self.assertFails(SocksOnionDescriptorNotFoundError, METHOD_CHOSEN, LET_IN, REFUSED)

    def test_other_protocols(self) -> None:
        """Something else than a SOCKS5 proxy is recognised, at each step."""
        for step in STEPS[:3]:
            self.setUp()
            self.assertFails(SocksProtocolError, *step, b"HTTP/1.0 501 Tor is not an HTTP Proxy\r\n")

    def test_floods(self) -> None:
        """A proxy that answers with megabytes is cut off."""
        self.assertFails(SocksProtocolError, b"\x05\x02" + bytes(4_000_000))

    def test_no_isolation(self) -> None:
        """A proxy that takes no username and password is refused."""
        self.assertFails(SocksAuthenticationError, b"\x05\xff")

    def test_proxy_unreachable(self) -> None:
        """When there is no SOCKS port, that is what the error says, with the reason."""
        for reason, text in (
            (ConnectError(111, "refused"), "refused"),
            (DNSLookupError("no name"), "no name"),
        ):
            opened = self.connect()
            self.proxy.refuse(reason)
            failure = self.failureResultOf(opened, SocksProxyUnreachableError)
            self.assertIn(text, str(failure.value))
            self.assertNothingLeft()

    def test_closed(self) -> None:
        """When the proxy closes the connection too early, that is what the error says, at each step."""
        for step in STEPS:
            application = _Application()
            opened = self.connect(application)
            connection = self.proxy.accept()
            connection.say(*step)
            connection.lose()
            self.failureResultOf(opened, SocksClosedError)
            self.assertNothingLeft()
            self.assertEqual(application.heard, [])

    def test_half_closed(self) -> None:
        """A proxy that says nothing more is taken for closed, also by an application that likes half-closed streams."""
        for step in STEPS:
            application = _HalfCloseable()
            opened = self.connect(application)
            connection = self.proxy.accept()
            connection.say(*step)
            connection.protocol.readConnectionLost()
            self.failureResultOf(opened, SocksClosedError)
            self.assertNothingLeft(connection)
            self.assertEqual(application.heard, [])

    def test_timeout(self) -> None:
        """A proxy that falls silent is left at the deadline, at each step."""
        for step in STEPS:
            opened = self.connect()
            connection = self.proxy.accept()
            connection.say(*step)
            self.proxy.reactor.advance(OPEN_TIMEOUT_SECONDS - 1)
            self.assertNoResult(opened)
            self.proxy.reactor.advance(1)
            self.failureResultOf(opened, SocksTimeoutError)
            self.assertNothingLeft(connection)

    def test_timeout_before_the_proxy(self) -> None:
        """A proxy that takes no connection is left at the deadline."""
        opened = self.connect()
        self.proxy.reactor.advance(OPEN_TIMEOUT_SECONDS)
        self.failureResultOf(opened, SocksTimeoutError)
        self.assertTrue(self.proxy.gave_up)
        self.assertNothingLeft()

    def test_slow_proxy(self) -> None:
        """The deadline is for all steps together: a proxy that says a byte now and then does not move it."""
        opened = self.connect()
        connection = self.proxy.accept()
        words = METHOD_CHOSEN + LET_IN + b"\x05\x00\x00\x03\xff" + b"n" * 200
        pause = OPEN_TIMEOUT_SECONDS / len(words)
        for byte in words:
            self.assertNoResult(opened)
            connection.say(bytes((byte,)))
            self.proxy.reactor.advance(pause)
        self.proxy.reactor.advance(pause)
        self.failureResultOf(opened, SocksTimeoutError)
        self.assertNothingLeft(connection)

    def test_own_timeout(self) -> None:
        """The deadline can be chosen, and the error names it."""
        endpoint = SocksEndpoint(self.proxy.reactor, self.proxy.endpoint, ONION, 80, ISOLATION, timeout_seconds=2.5)
        opened = endpoint.connect(Factory.forProtocol(_Application))
        self.proxy.reactor.advance(2.5)
        self.assertIn("2.5 s", str(self.failureResultOf(opened, SocksTimeoutError).value))

    def test_no_deadline_once_open(self) -> None:
        """A stream that is open stays open, deadline or not."""
        opened = self.connect()
        connection = self.proxy.accept()
        connection.open()
        self.proxy.reactor.advance(OPEN_TIMEOUT_SECONDS * 2)
        self.successResultOf(opened)
        self.assertFalse(connection.aborted)


class CancelTests(SocksEndpointTestCase):
    """A stream that nobody wants any more."""

    def test_before_the_proxy(self) -> None:
        """Cancelled while the proxy is connected to: the attempt is given up."""
        opened = self.connect()
        opened.cancel()
        self.failureResultOf(opened, CancelledError)
        self.assertTrue(self.proxy.gave_up)
        self.assertNothingLeft()

    def test_at_each_step(self) -> None:
        """Cancelled while the proxy is spoken to, at each step: the connection is cut, whatever arrives later."""
        for step in STEPS:
            application = _Application()
            opened = self.connect(application)
            connection = self.proxy.accept()
            connection.say(*step)
            opened.cancel()
            self.failureResultOf(opened, CancelledError)
            connection.say(METHOD_CHOSEN, LET_IN, OPENED)
            self.assertNothingLeft(connection)
            self.assertEqual(application.heard, [])

    def test_when_open(self) -> None:
        """Cancelled after it has fired: nothing happens."""
        opened = self.connect()
        connection = self.proxy.accept()
        connection.open()
        opened.cancel()
        self.successResultOf(opened)
        self.assertFalse(connection.aborted)

    def test_proxy_endpoint_that_cannot_be_cancelled(self) -> None:
        """Should the proxy's endpoint connect although it was told not to, that connection gets no protocol."""

        @implementer(IStreamClientEndpoint)
        class Stubborn:
            factory: Any = None

            def connect(self, protocolFactory: object) -> Deferred[Any]:
                self.factory = protocolFactory
                return Deferred()

        proxy = Stubborn()
        built: list[_Application] = []
        factory = Factory.forProtocol(lambda: built.append(_Application()))
        opened = self.through(proxy).connect(factory)
        opened.cancel()
        self.failureResultOf(opened, CancelledError)
        self.assertIsNone(proxy.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9050)))
        self.assertEqual(built, [])
        self.assertNothingLeft()


class ApplicationFaultTests(SocksEndpointTestCase):
    """An application that does not take the stream."""

    def connect_to(self, build: Callable[[], Any]) -> Deferred[Any]:
        """Connect a factory that builds protocols in this way."""
        return self.endpoint.connect(Factory.forProtocol(build))

    def test_no_protocol(self) -> None:
        """A factory that builds none: NoProtocol, as from every endpoint, and tor is asked for nothing."""

        class Declining(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> None:
                return None

        opened = self.endpoint.connect(Declining())
        outer = self.proxy.reactor.tcpClients[0][2]
        self.assertIsNone(outer.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9050)))
        self.failureResultOf(opened, NoProtocol)
        self.assertNothingLeft()

    def test_factory_raises(self) -> None:
        """A factory that raises: its caller sees what."""
        opened = self.connect_to(lambda: 1 / 0)
        outer = self.proxy.reactor.tcpClients[0][2]
        self.assertIsNone(outer.buildProtocol(IPv4Address("TCP", "127.0.0.1", 9050)))
        self.failureResultOf(opened, ZeroDivisionError)
        self.assertNothingLeft()

    def test_protocol_raises(self) -> None:
        """A protocol that raises when it is connected: its caller sees what, and the connection is cut."""

        class Raising(_Application):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        application = Raising()
        opened = self.connect(application)
        connection = self.proxy.accept()
        connection.open()
        self.failureResultOf(opened, ZeroDivisionError)
        self.assertNothingLeft(connection)
        self.assertEqual([type(heard) for heard in application.heard], [ConnectionDone])


class _SocksPort(Factory):
    """A SOCKS port on a real socket. It gives one reply to each question, and then repeats what it hears."""

    noisy = False

    def __init__(self, *replies: bytes) -> None:
        self.replies = replies
        self.connections: list[Protocol] = []

    def buildProtocol(self, addr: object) -> Protocol:
        return _SocksPortConnection(self.replies, self.connections)


class _SocksPortConnection(Protocol):
    def __init__(self, replies: Iterable[bytes], connections: list[Protocol]) -> None:
        self.replies = list(replies)
        self.connections = connections

    def connectionMade(self) -> None:
        self.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.replies.pop(0) if self.replies else data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connections.remove(self)


def open_files() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


class RealSocketTests(TestCase):
    """With real sockets, over TCP and unix."""

    async def listen(self, server: IStreamServerEndpoint, socks_port: _SocksPort) -> Any:
        """Listen for as long as the test runs."""
        port = await server.listen(socks_port)
        self.addCleanup(port.stopListening)
        return port

    def socket_path(self) -> str:
        """A path for a unix socket, in a directory that is gone afterwards."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return os.path.join(directory, "socks")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor turn until something is so; for 5 s at most."""
        for _ in range(500):
            if condition():
                return
            await deferLater(reactor, 0.01)
        self.fail("it did not happen within 5 s")

    async def test_no_socket_leaks(self) -> None:
        """Fifty streams that are given up at fifty moments leave no socket, on either side."""
        socks_port = _SocksPort(METHOD_CHOSEN, LET_IN, b"")
        port = await self.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), socks_port)
        proxy = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await deferLater(reactor, 0)  # By now the reactor has opened what it needs for itself.
        before = open_files()
        attempts = [self.attempt(proxy, turns) for turns in range(1, 51)]
        self.assertEqual(open_files(), before + 50)
        for attempt in attempts:
            with self.assertRaises(CancelledError):
                await attempt
        await self.until(lambda: open_files() == before)
        self.assertEqual(socks_port.connections, [])

    def attempt(self, proxy: IStreamClientEndpoint, turns: int) -> Deferred[Any]:
        """Begin to open a stream, and cancel it after so many turns of the reactor."""
        opened = connectProtocol(SocksEndpoint(reactor, proxy, ONION, 80, ISOLATION), _Application())

        def turn(left: int) -> None:
            if left:
                reactor.callLater(0, turn, left - 1)
            else:
                opened.cancel()

        turn(turns)
        return opened

    async def test_unix_socket(self) -> None:
        """Through a SOCKS port on a unix socket a stream opens, carries bytes both ways, and ends for both sides."""
        path = self.socket_path()
        socks_port = _SocksPort(METHOD_CHOSEN, LET_IN, OPENED)
        await self.listen(UNIXServerEndpoint(reactor, path), socks_port)
        endpoint = SocksEndpoint(reactor, UNIXClientEndpoint(reactor, path), ONION, 80, ISOLATION)
        application = await connectProtocol(endpoint, _Application())
        application.transport.write(b"hello")
        await self.until(lambda: b"hello" in application.heard)
        application.transport.loseConnection()
        await self.until(lambda: not socks_port.connections and len(application.heard) == 3)
        self.assertEqual(application.heard[:2], ["made", b"hello"])
        self.assertIsInstance(application.heard[2], ConnectionDone)

    async def test_nothing_listens(self) -> None:
        """A socket that is not there is a SOCKS port that cannot be reached; the error says why."""
        proxy = UNIXClientEndpoint(reactor, self.socket_path())
        with self.assertRaises(SocksProxyUnreachableError) as raised:
            await connectProtocol(SocksEndpoint(reactor, proxy, ONION, 80, ISOLATION), _Application())
        self.assertIn("No such file", str(raised.exception))
        self.assertIsInstance(raised.exception, SocksError)
