"""The way to InfluxDB: always the same place, no byte changed, few connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface.verify import verifyObject

from tests.influx.far_side import Connection, FarSide
from torfluxd.influx.agent import IDLE_CONNECTIONS, IDLE_SECONDS, influxdb_agent
from torfluxd.influx.url import parse_influxdb_url

targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)).map(lambda text: f"/{text}".encode())


class TargetTests(SynchronousTestCase):
    """A request asks for what its URI says, byte for byte."""

    def asked(self, uri: bytes) -> bytes:
        """The request line that a URI leads to."""
        far = FarSide()
        far.agent.request(b"GET", uri)
        return far.accept().received().split(b"\r\n")[0]

    @given(targets)
    def test_any_target(self, target: bytes) -> None:
        """Any target goes out unchanged; only those that begin like a URL with a broken address are refused."""
        if target.startswith(b"//") and (b"[" in target or b"]" in target):
            return
        self.assertEqual(self.asked(b"http://ignored.example:1" + target), b"GET " + target + b" HTTP/1.1")

    def test_awkward_targets(self) -> None:
        """What Twisted's ordinary agent would change stays as it is."""
        for target in (b"/?", b"//write", b"/a;b?c;d", b"/%7e%2F%zz", b"/x?y#z", b"/query?q=a%20b+c&q", b"/http://x/y"):
            self.assertEqual(self.asked(b"https://[::1]" + target), b"GET " + target + b" HTTP/1.1")

    def test_no_path(self) -> None:
        """A URI without a path asks for the root."""
        self.assertEqual(self.asked(b"http://x"), b"GET / HTTP/1.1")

    def test_host(self) -> None:
        """InfluxDB is told its own name, whatever the caller says."""
        far = FarSide("http://influx.example:9999")
        headers = Headers({b"Host": [b"elsewhere.example"], b"X-A": [b"1", b"2"]})
        far.agent.request(b"GET", b"http://elsewhere.example/", headers)
        self.assertEqual(
            far.accept().received(), b"GET / HTTP/1.1\r\nHost: influx.example:9999\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
        )
        self.assertEqual(headers.getRawHeaders(b"Host"), [b"elsewhere.example"])

    def test_nonsense(self) -> None:
        """A method or a target that HTTP cannot carry is refused before anything is sent."""
        far = FarSide()
        for method, target in ((b"G ET", b"/"), (b"", b"/"), (b"GET", b"/a b"), (b"GET", b"/\xff"), (b"GET", b"//[")):
            self.assertRaises(ValueError, far.agent.request, method, b"http://x" + target)
        self.assertEqual(far.waiting, 0)


class PlaceTests(SynchronousTestCase):
    """Connections go where the URL says."""

    def connecting(self, text: str) -> MemoryReactorClock:
        """The reactor of an agent for this URL that was asked for something."""
        reactor = MemoryReactorClock()
        agent = influxdb_agent(reactor, parse_influxdb_url(text), connect_seconds=7)
        verifyObject(IAgent, agent)
        agent.request(b"GET", b"http://elsewhere.example:1/")
        return reactor

    def test_tcp(self) -> None:
        """To an address and port, with a bound on the time it takes."""
        for text, host in (("127.0.0.1:99", "127.0.0.1"), ("[::1]:99", "::1"), ("[fe80::1%lo]:99", "fe80::1%lo")):
            [(to, port, _, seconds, _)] = self.connecting(text).tcpClients
            self.assertEqual((to, port, seconds), (host, 99, 7))

    def test_unix(self) -> None:
        """To a unix socket."""
        [(path, _, seconds, _)] = self.connecting("unix:/run/influx.sock").unixClients
        self.assertEqual((path, seconds), ("/run/influx.sock", 7))


class PoolTests(SynchronousTestCase):
    """Connections are used again, and not kept for ever."""

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide()

    def ask(self) -> Deferred[IResponse]:
        """Ask for something that may be asked twice."""
        return self.far.agent.request(b"GET", b"http://x/")

    def asked(self, count: int) -> list[Connection]:
        """Ask for so many things at once, and have them answered."""
        responses = [self.ask() for _ in range(count)]
        connections = [self.far.accept() for _ in range(count)]
        for response, connection in zip(responses, connections, strict=True):
            connection.respond(204)
            self.successResultOf(response)
        return connections

    def test_reuse(self) -> None:
        """The next request goes over the connection of the last one."""
        [connection] = self.asked(1)
        connection.received()
        self.ask()
        self.assertEqual(self.far.waiting, 0)
        self.assertTrue(connection.received().startswith(b"GET"))

    def test_idle(self) -> None:
        """A connection without work is closed before a proxy in front would close it."""
        [connection] = self.asked(1)
        self.far.reactor.advance(IDLE_SECONDS - 1)
        self.assertFalse(connection.is_closed)
        self.far.reactor.advance(1)
        self.assertTrue(connection.is_closed)

    def test_bound(self) -> None:
        """Of many connections only a few are kept."""
        connections = self.asked(IDLE_CONNECTIONS + 3)
        self.assertEqual(sum(connection.is_closed for connection in connections), 3)

    def test_no_second_attempt(self) -> None:
        """Even what could be asked twice is asked once: that is the caller's to decide."""
        [connection] = self.asked(1)
        response = self.ask()
        connection.hang_up()
        self.failureResultOf(response, ResponseNeverReceived)
        self.assertEqual(self.far.waiting, 0)

    def test_close(self) -> None:
        """At the end all idle connections close, and no timer is left."""
        connections = self.asked(2)
        closed = self.far.agent.close()
        self.assertNoResult(closed)
        for connection in connections:
            self.assertTrue(connection.is_closed)
            connection.hang_up()
        self.successResultOf(closed)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])
