"""The site as a twisted.web resource."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer, IResponse
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site as WebSite
from zope.interface.verify import verifyObject

from tests.gateway.strangers import (
    LIMIT_BYTES,
    PING,
    TOO_LARGE,
    Always,
    Routes,
    Upstream,
    chunked,
    request,
)
from tests.visitor import Visitor
from torfluxd.gateway.exchange import Answer, Collect, Head, Plan
from torfluxd.gateway.resource import BODY_BYTES, GatewayResource, gateway_site


class ResourceTestCase(SynchronousTestCase):
    """A whole server of the site."""

    def setUp(self) -> None:
        """Open the door."""
        self.upstream = Upstream()
        self.site = Routes(upstream=self.upstream.open)
        self.clock = Clock()
        self.visitor = Visitor(gateway_site(self.site, self.clock))


class AnswersTests(ResourceTestCase):
    """The same answers as at the door."""

    def test_written(self) -> None:
        """A write is answered with the site's own answer, without `Server` and `Date`."""
        self.visitor.send(request(b"cpu usage=1"))
        (answer,) = self.visitor.answers()
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers, [("Content-Type", "application/json")])
        self.assertEqual(self.site.bodies, [b"cpu usage=1"])

    def test_answered_with_a_body(self) -> None:
        """An answer with a body tells its length; `HEAD` tells it too."""
        self.visitor.send(PING)
        (answer,) = self.visitor.answers()
        self.assertEqual((answer.status, answer.body), (200, b"pong"))
        self.assertEqual(sorted(answer.headers), [("Content-Length", "4"), ("Content-Type", "text/plain")])
        self.visitor.send(request(method=b"HEAD", target=b"/ping"))
        (answer,) = self.visitor.answers("HEAD")
        self.assertEqual((answer.status, answer.header("Content-Length")), (200, "4"))

    def test_no_content_type_of_twisteds_own(self) -> None:
        """An answer without a content type has none."""
        visitor = Visitor(gateway_site(Always(Answer(404, (), b"?")), self.clock))
        visitor.send(PING)
        self.assertEqual(visitor.answers()[0].headers, [("Content-Length", "1")])

    def test_what_the_site_sees(self) -> None:
        """The site sees the method, every header, and the target below the place where the resource hangs."""
        root = Resource()
        root.putChild(b"metrics", GatewayResource(self.site))
        visitor = Visitor(WebSite(root, reactor=self.clock))
        visitor.send(b"PUT /metrics/a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-A: b\r\nX-A: c\r\n\r\n")
        [first] = self.site.heads
        self.assertEqual((first.method, first.target), (b"PUT", b"/a%20b?c=d"))
        self.assertEqual(sorted(first.headers), [(b"host", b"x"), (b"x-a", b"b"), (b"x-a", b"c")])
        self.assertEqual([answer.header("Server") for answer in visitor.answers()], [None])

    def test_writers(self) -> None:
        """Requests of one connection have one writer."""
        visitor = Visitor(gateway_site(self.site, self.clock))
        for _ in range(2):
            visitor.send(request(b"1"))
        first, second = self.site.writers
        self.assertIs(first, second)

    def test_resource(self) -> None:
        """It is a resource, and a leaf."""
        resource = GatewayResource(self.site)
        verifyObject(IResource, resource)
        self.assertTrue(resource.isLeaf)

    def test_too_large_for_the_plan(self) -> None:
        """A body above the plan's limit gets the plan's answer."""
        self.visitor.send(request(b"x" * LIMIT_BYTES) + chunked(b"x" * (LIMIT_BYTES + 1)))
        first, second = self.visitor.answers()
        self.assertEqual((first.status, second.status, second.body), (204, 413, TOO_LARGE.body))
        self.assertEqual(len(self.site.bodies), 1)

    def test_later(self) -> None:
        """An answer may come later; a stranger who leaves before it is noticed."""
        self.visitor.send(request(b"x", target=b"/later"))
        self.site.answer_next()
        self.assertEqual(self.visitor.answers()[0].status, 204)
        self.visitor.send(request(b"x", target=b"/later"))
        self.visitor.transport.loseConnection()
        self.assertEqual(self.site.gone, 1)


class BoundTests(ResourceTestCase):
    """What `gateway_site` holds of a body."""

    def test_declared(self) -> None:
        """A length above the bound is refused before a byte of the body has come."""
        self.visitor.send(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1))
        (answer,) = self.visitor.answers()
        self.assertEqual((answer.status, answer.header("Connection")), (413, "close"))
        self.assertTrue(self.visitor.closed)
        self.assertEqual(self.site.heads, [])

    def test_chunked(self) -> None:
        """A chunked body is refused as soon as it is above the bound, and what still arrives of it is dropped."""
        self.visitor.send(chunked()[:-5])
        piece = b"x" * 1_000_000
        for _ in range(BODY_BYTES // len(piece)):
            self.visitor.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.assertEqual(self.visitor.received(), b"")
        self.visitor.send(b"1\r\nx\r\n1\r\nx\r\n0\r\n\r\n")
        self.assertEqual([answer.status for answer in self.visitor.answers()], [413])
        self.assertEqual(self.site.heads, [])

    def test_forms(self) -> None:
        """A body that calls itself a form reaches the site as it is, also when it is none."""
        for kind in (b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"):
            self.visitor.send(request(b"q=a&q", headers=b"Content-Type: %b\r\n" % kind))
        self.assertEqual([answer.status for answer in self.visitor.answers()], [204, 204])
        self.assertEqual(self.site.bodies, [b"q=a&q"] * 2)


class QuietTests(ResourceTestCase):
    """What is written down about strangers, and what is not."""

    def test_no_log(self) -> None:
        """Neither listening, requests, refusals nor timeouts are logged."""
        with capturedLogs() as events:
            server = gateway_site(self.site, self.clock)
            server.doStart()
            for sent in (PING, request(b"x"), b"nonsense\r\n", b"GET / HT"):
                visitor = Visitor(server)
                visitor.send(sent)
                self.clock.pump([10] * 100)
                self.assertTrue(visitor.closed)
            server.doStop()
        self.assertEqual(events, [])

    def test_faults(self) -> None:
        """A site that fails is a constant 500 and a log entry without anything that a stranger said."""

        def complete(body: bytes, writer: object) -> Deferred[Answer]:
            try:
                raise ZeroDivisionError(body)
            except ZeroDivisionError:
                return fail()

        class Raises:
            def plan(self, head: Head) -> Plan:
                raise ZeroDivisionError(head.headers)

        for broken in (Raises(), Always(Collect(100, TOO_LARGE, complete))):
            visitor = Visitor(gateway_site(broken, self.clock))
            with capturedLogs() as events:
                visitor.send(request(b"secret", headers=b"X: secret\r\n"))
            (answer,) = visitor.answers()
            self.assertEqual((answer.status, answer.body), (500, b""))
            (event,) = events
            self.assertIn("ZeroDivisionError", event["log_format"].format(**event))
            self.assertNotIn("secret", repr(event))


class PassThroughTests(ResourceTestCase):
    """Requests that are passed through."""

    def test_both_ways(self) -> None:
        """The body goes upstream, and the response comes back with its length, piece by piece."""
        self.visitor.send(request(b"abc", target=b"/open"))
        self.assertEqual(self.upstream.opened[0].length, 3)
        self.assertEqual(self.upstream.sent(), b"abc")
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nDate: now\r\nX-A: b\r\nContent-Length: 4\r\n\r\nab")
        self.assertTrue(self.visitor.transport.value().endswith(b"ab"))
        self.upstream.respond(b"cd")
        (answer,) = self.visitor.answers()
        self.assertEqual((answer.body, sorted(answer.headers)), (b"abcd", [("Content-Length", "4"), ("X-A", "b")]))
        self.visitor.send(PING)
        self.assertEqual(self.visitor.answers()[0].body, b"pong")

    def test_unknown_length(self) -> None:
        """A response whose length is not known is chunked."""
        self.visitor.send(chunked(b"abc", target=b"/open"))
        self.assertEqual(self.upstream.sent(), b"abc")
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        (answer,) = self.visitor.answers()
        self.assertEqual((answer.body, answer.headers), (b"ab", [("Transfer-Encoding", "chunked")]))

    def test_head(self) -> None:
        """`HEAD` gets the length that the other side told."""
        self.site.upstream = lambda body: self.upstream.agent.request(b"HEAD", b"http://influxdb/open")
        self.visitor.send(request(method=b"HEAD", target=b"/open"))
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        (answer,) = self.visitor.answers("HEAD")
        self.assertEqual(answer.headers, [("Content-Length", "12345")])

    def test_no_other_side(self) -> None:
        """Where there is no other side, the site's own answer is sent."""
        self.visitor.send(request(target=b"/open"))
        self.upstream.transport.loseConnection()
        self.assertEqual(self.visitor.answers()[0].status, 502)

    def test_cut_off(self) -> None:
        """A response that breaks off resets the stranger's connection."""
        self.visitor.send(request(target=b"/open"))
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.upstream.transport.loseConnection()
        self.assertTrue(self.visitor.transport.disconnected)

    def test_slow_stranger(self) -> None:
        """While the stranger does not read, the other side has to wait."""
        self.visitor.send(request(target=b"/open"))
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.visitor.transport.producer.pauseProducing()
        self.assertTrue(self.upstream.paused)
        self.visitor.transport.producer.resumeProducing()
        self.assertFalse(self.upstream.paused)

    def test_stranger_leaves(self) -> None:
        """When the stranger leaves, the other side's connection is closed, before its response and within it."""
        for response in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"):
            upstream = Upstream()
            visitor = Visitor(gateway_site(Routes(upstream=upstream.open), self.clock))
            visitor.send(request(b"abc", target=b"/open"))
            upstream.respond(response)
            visitor.transport.loseConnection()
            self.assertTrue(upstream.closed)

    def test_body_that_waits(self) -> None:
        """A body that is paused and resumed is sent once."""
        bodies: list[IBodyProducer] = []
        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: bodies.append(body) or opened
        self.visitor.send(request(b"abc", target=b"/open"))
        consumer = StringTransport()
        sent = bodies[0].startProducing(consumer)
        bodies[0].pauseProducing()
        bodies[0].resumeProducing()
        self.successResultOf(sent)
        self.assertEqual(consumer.value(), b"abc")
