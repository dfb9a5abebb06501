"""Requests that are passed through, with Twisted's own HTTP client as the other side, and no sockets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestGenerationFailed, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface.verify import verifyObject

from tests.gateway.strangers import PING, Routes, Stranger, Upstream, chunked, door, parse_answers, request
from torfluxd.gateway.bounds import STREAM_IDLE_SECONDS, WRITE_SECONDS
from torfluxd.gateway.exchange import Answer
from torfluxd.gateway.front import SWEEP_SECONDS

RESPONSE = b"HTTP/1.1 200 OK\r\nX-Influxdb-Version: 1.6.7\r\nContent-Length: 5\r\n\r\n"
CHUNKED_RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
QUERY = request(target=b"/open?q=x")


class StreamTestCase(SynchronousTestCase):
    """A door before an upstream, and a stranger before the door."""

    def setUp(self) -> None:
        """Open the door."""
        self.upstream = Upstream()
        self.front, self.site, self.clock = door(Routes(upstream=self.upstream.open))
        self.stranger = Stranger(self.front)


class ResponseTests(StreamTestCase):
    """From the other side to the stranger."""

    def test_known_length(self) -> None:
        """A response whose length is known comes with it, piece by piece, and the connection stays open."""
        self.stranger.send(QUERY)
        self.upstream.respond(RESPONSE + b"ab")
        self.assertEqual(self.stranger.received(), RESPONSE + b"ab")
        self.upstream.respond(b"cde")
        self.assertEqual(self.stranger.received(), b"cde")
        self.stranger.send(PING)
        self.assertEqual(self.stranger.statuses(), [200])

    def test_unknown_length(self) -> None:
        """A response whose length is not known is chunked, and the connection stays open."""
        self.stranger.send(QUERY)
        self.upstream.respond(CHUNKED_RESPONSE + b"2\r\nab\r\n1\r\nc\r\n")
        self.upstream.respond(b"0\r\n\r\n")
        self.stranger.send(PING)
        first, second = self.stranger.answers()
        self.assertEqual((first.body, first.header("Transfer-Encoding")), (b"abc", "chunked"))
        self.assertEqual(second.body, b"pong")

    def test_unknown_length_to_http10(self) -> None:
        """HTTP/1.0 knows no chunks: it gets the body until the connection closes."""
        self.stranger.send(request(target=b"/open", version=b"1.0"))
        self.upstream.respond(CHUNKED_RESPONSE + b"2\r\nab\r\n")
        self.assertEqual(self.stranger.received(), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab")
        self.assertFalse(self.stranger.closed)
        self.upstream.respond(b"0\r\n\r\n")
        self.assertEqual(self.stranger.received(), b"")
        self.assertTrue(self.stranger.closed)

    def test_empty(self) -> None:
        """A response without a body is one, whatever its status."""
        for response in (
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            CHUNKED_RESPONSE + b"0\r\n\r\n",
        ):
            self.stranger.send(QUERY)
            self.upstream.respond(response)
            self.stranger.send(PING)
            first, second = self.stranger.answers()
            self.assertEqual((first.body, second.body), (b"", b"pong"))

    def test_head(self) -> None:
        """`HEAD` gets the length that the other side told, and no body."""
        self.site.upstream = lambda body: self.upstream.agent.request(b"HEAD", b"http://influxdb/open")
        self.stranger.send(request(method=b"HEAD", target=b"/open"))
        self.upstream.respond(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        self.assertEqual(self.stranger.received(), b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
        self.stranger.send(PING)
        self.assertEqual(self.stranger.statuses(), [200])

    def test_headers(self) -> None:
        """The other side's headers are passed on, but for its clock, its name and its framing; repeated ones too."""
        self.stranger.send(QUERY)
        self.upstream.respond(
            b"HTTP/1.1 200 OK\r\nDate: now\r\nServer: it\r\nConnection: close\r\n"
            b"X-A: b\r\nX-A: c\r\nContent-Length: 0\r\n\r\n"
        )
        (answer,) = self.stranger.answers()
        self.assertEqual(answer.headers, [("X-A", "b"), ("X-A", "c"), ("Content-Length", "0")])

    def test_cut_off(self) -> None:
        """A response that breaks off breaks off for the stranger, too: he never takes a part for the whole."""
        for response in (RESPONSE + b"ab", CHUNKED_RESPONSE + b"2\r\nab\r\n", b"HTTP/1.1 200 OK\r\n\r\nab"):
            upstream = Upstream()
            stranger = Stranger(door(Routes(upstream=upstream.open))[0])
            stranger.send(QUERY)
            upstream.respond(response)
            self.assertFalse(stranger.aborted)
            upstream.transport.loseConnection()
            self.assertTrue(stranger.aborted)
            self.assertFalse(stranger.received().endswith(b"0\r\n\r\n"))

    def test_no_other_side(self) -> None:
        """Where there is no other side, the site's own answer is sent, and the connection stays open."""
        self.stranger.send(QUERY)
        self.upstream.transport.loseConnection()
        self.stranger.send(PING)
        self.assertEqual(self.stranger.statuses(), [502, 200])

    def test_slow_stranger(self) -> None:
        """While the stranger does not read, the other side has to wait."""
        self.stranger.send(QUERY)
        self.upstream.respond(CHUNKED_RESPONSE)
        self.assertFalse(self.upstream.paused)
        self.stranger.transport.producer.pauseProducing()
        self.assertTrue(self.upstream.paused)
        self.stranger.transport.producer.resumeProducing()
        self.assertFalse(self.upstream.paused)

    def test_slow_from_the_start(self) -> None:
        """The same is true when he has not read his former answer yet as the response begins."""
        self.stranger.send(QUERY)
        self.stranger.transport.producer.pauseProducing()
        self.upstream.respond(CHUNKED_RESPONSE)
        self.assertTrue(self.upstream.paused)

    def test_stranger_leaves(self) -> None:
        """When the stranger leaves, the other side's connection is closed, before its response and within it."""
        for response in (b"", RESPONSE, CHUNKED_RESPONSE + b"2\r\nab\r\n"):
            upstream = Upstream()
            stranger = Stranger(door(Routes(upstream=upstream.open))[0])
            stranger.send(QUERY)
            upstream.respond(response)
            stranger.leave()
            self.assertTrue(upstream.closed)

    def test_response_that_nobody_waits_for(self) -> None:
        """What still comes from the other side after the stranger has left is dropped, and so is its end."""
        self.stranger.send(QUERY)
        self.upstream.respond(RESPONSE)
        self.stranger.leave()
        self.stranger.received()
        self.upstream.respond(b"ab")
        self.upstream.transport.loseConnection()
        self.assertEqual(self.stranger.received(), b"")
        self.assertFalse(self.stranger.aborted)

    def test_close_asked_for(self) -> None:
        """A stranger who wants to close is told so in the head of the response, and closed after its end."""
        self.stranger.send(request(target=b"/open", headers=b"Connection: close\r\n"))
        self.upstream.respond(RESPONSE + b"abcde")
        (answer,) = self.stranger.answers()
        self.assertEqual((answer.header("Connection"), answer.body), ("close", b"abcde"))
        self.assertTrue(self.stranger.closed)

    def test_pipelined_behind(self) -> None:
        """A request behind one that is passed through waits for the end of its response."""
        self.stranger.send(QUERY + PING)
        self.assertTrue(self.stranger.paused)
        self.upstream.respond(RESPONSE + b"abcd")
        self.assertEqual(len(self.site.heads), 1)
        self.upstream.respond(b"e")
        self.assertEqual([answer.body for answer in self.stranger.answers()], [b"abcde", b"pong"])
        self.assertFalse(self.stranger.paused)

    def test_split_headers(self) -> None:
        """A response whose headers cannot be sent is a 500."""

        class Broken:
            code, length = 200, 0

            class headers:  # noqa: N801  # stands for an attribute
                @staticmethod
                def getAllRawHeaders() -> list[tuple[bytes, list[bytes]]]:
                    return [(b"X", [b"a\nb"])]

        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: opened
        self.stranger.send(QUERY)
        with capturedLogs() as events:
            opened.callback(Broken())
        self.assertEqual(self.stranger.statuses(), [500])
        self.assertEqual(len(events), 1)

    def test_less_than_promised(self) -> None:
        """A response that claims to be whole, and is shorter than its length, is one that was cut off."""

        class Short:
            code, length, headers = 200, 5, Headers()

            @staticmethod
            def deliverBody(protocol: Protocol) -> None:
                protocol.makeConnection(StringTransport())
                protocol.dataReceived(b"abcd")
                protocol.connectionLost(Failure(ResponseDone()))

        self.site.upstream = lambda body: succeed(Short())
        self.stranger.send(QUERY)
        self.assertTrue(self.stranger.aborted)


class BodyTests(StreamTestCase):
    """From the stranger to the other side."""

    def test_declared(self) -> None:
        """A body of a declared length goes upstream with that length, as it comes."""
        wire = request(b"abcdef", target=b"/open")
        self.stranger.send(wire[:-4])
        self.assertEqual(self.upstream.opened[0].length, 6)
        self.assertEqual(self.upstream.sent(), b"ab")
        self.stranger.send(wire[-4:])
        self.assertEqual(self.upstream.sent(), b"cdef")
        self.upstream.respond(RESPONSE + b"abcde")
        self.assertEqual(self.stranger.statuses(), [200])

    def test_chunked(self) -> None:
        """A chunked body goes upstream chunked, as it comes."""
        wire = chunked(b"abc", b"def", target=b"/open")
        self.stranger.send(wire[:-8])
        self.assertEqual(self.upstream.opened[0].length, UNKNOWN_LENGTH)
        self.assertEqual(self.upstream.sent(), b"5\r\nabcde\r\n")
        self.stranger.send(wire[-8:])
        self.assertEqual(self.upstream.sent(), b"1\r\nf\r\n0\r\n\r\n")

    def test_none(self) -> None:
        """A request without a body has one of length 0, which is sent at once."""
        self.stranger.send(QUERY)
        (body,) = self.upstream.opened
        verifyObject(IBodyProducer, body)
        self.assertEqual(body.length, 0)
        self.upstream.respond(RESPONSE + b"abcde")
        self.assertEqual(self.stranger.statuses(), [200])

    def test_expected(self) -> None:
        """A stranger who asks whether his body is wanted is told so when the other side begins to take it."""
        bodies: list[IBodyProducer] = []
        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: bodies.append(body) or opened
        self.stranger.send(request(b"", target=b"/open", headers=b"Content-Length: 2\r\nExpect: 100-continue\r\n"))
        self.assertEqual(self.stranger.received(), b"")
        self.assertNoResult(bodies[0].startProducing(self.upstream.transport))
        self.assertEqual(self.stranger.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies[0].pauseProducing()
        bodies[0].resumeProducing()
        self.assertEqual(self.stranger.received(), b"")

    def test_not_wanted(self) -> None:
        """A body that nobody takes is not read; the answer says that the connection closes."""
        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: opened
        self.stranger.send(request(b"abc" * 1000, target=b"/open"))
        self.assertTrue(self.stranger.paused)
        opened.callback(Answer(503))
        (answer,) = self.stranger.answers()
        self.assertEqual((answer.status, answer.header("Connection")), (503, "close"))
        self.assertTrue(self.stranger.closed)

    def test_slow_upstream(self) -> None:
        """While the other side does not take it, the stranger's body is not read, and what was read is kept for it."""
        wire = request(b"abcdef", target=b"/open")
        self.stranger.send(wire[:-4])
        self.upstream.transport.producer.pauseProducing()
        self.stranger.send(wire[-4:-2])
        self.assertTrue(self.stranger.paused)
        self.assertEqual(self.upstream.sent(), b"ab")
        self.upstream.transport.producer.resumeProducing()
        self.assertFalse(self.stranger.paused)
        self.assertEqual(self.upstream.sent(), b"cd")

    def test_stranger_leaves(self) -> None:
        """When the stranger leaves in his body, the request upstream is given up: no part is taken for the whole."""
        for wire in (request(b"abcdef", target=b"/open")[:-1], chunked(b"abc", target=b"/open")[:-1]):
            upstream = Upstream()
            stranger = Stranger(door(Routes(upstream=upstream.open))[0])
            stranger.send(wire)
            stranger.leave()
            self.assertTrue(upstream.closed)
            self.assertFalse(upstream.sent().endswith(b"0\r\n\r\n"))
            (failure,) = upstream.failures
            failure.trap(RequestGenerationFailed)
            self.assertEqual([reason.type for reason in failure.value.reasons], [ConnectionLost])

    def test_malformed(self) -> None:
        """A body that turns out to be malformed is refused, and the request upstream is given up."""
        self.stranger.send(chunked(b"abc", target=b"/open")[:-5] + b"zz\r\n")
        self.assertEqual(self.stranger.statuses(), [400])
        self.assertTrue(self.stranger.closed)
        self.assertTrue(self.upstream.closed)

    def test_malformed_within_the_response(self) -> None:
        """The same within the response resets the stranger's connection: there is no place for an answer any more."""
        bodies: list[IBodyProducer] = []
        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: bodies.append(body) or opened
        self.stranger.send(chunked(b"abc", target=b"/open")[:-5])
        sent = bodies[0].startProducing(self.upstream.transport)
        self._respond_through(opened)
        self.assertIn(b"200 OK", self.stranger.received())
        self.stranger.send(b"zz\r\n")
        self.assertEqual(self.stranger.received(), b"")
        self.assertTrue(self.stranger.aborted)
        self.failureResultOf(sent, ConnectionLost)
        self.assertTrue(self.upstream.closed)

    def _respond_through(self, opened: Deferred[IResponse | Answer]) -> None:
        """Fire `opened` with a response that has begun."""
        self.upstream.agent.request(b"GET", b"http://influxdb/").chainDeferred(opened)
        self.upstream.respond(RESPONSE)

    def test_answered_within_the_body(self) -> None:
        """A response that ends before the body does is passed on; then the connection closes, the rest is dropped."""
        self.stranger.send(request(b"abcdef", target=b"/open")[:-2])
        self.upstream.respond(RESPONSE + b"abcde")
        (answer,) = self.stranger.answers()
        self.assertEqual((answer.body, answer.header("Connection")), (b"abcde", "close"))
        self.assertTrue(self.stranger.closed)
        self.stranger.send(b"ef")
        self.assertNotIn(b"ef", self.upstream.sent())

    def test_site_gives_up(self) -> None:
        """When the site answers though its other side still takes the body, that body fails."""
        bodies: list[IBodyProducer] = []
        opened = Deferred[IResponse | Answer]()
        self.site.upstream = lambda body: bodies.append(body) or opened
        self.stranger.send(request(b"abc", target=b"/open")[:-1])
        sent = bodies[0].startProducing(self.upstream.transport)
        opened.callback(Answer(503))
        self.assertEqual(self.stranger.statuses(), [503])
        self.failureResultOf(sent, ConnectionLost)

    def test_stopped(self) -> None:
        """A body that was stopped sends nothing more, and its Deferred never fires."""
        bodies: list[IBodyProducer] = []
        self.site.upstream = lambda body: bodies.append(body) or Deferred()
        self.stranger.send(request(b"abc", target=b"/open")[:-2])
        sent = bodies[0].startProducing(self.upstream.transport)
        self.upstream.sent()
        bodies[0].stopProducing()
        bodies[0].resumeProducing()
        self.stranger.send(b"bc")
        self.stranger.leave()
        self.assertEqual(self.upstream.sent(), b"")
        self.assertNoResult(sent)

    @given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 400), max_size=20), as_chunks=st.booleans())
    def test_any_split(self, body: bytes, cuts: list[int], as_chunks: bool) -> None:
        """However a body arrives, the same bytes go upstream, and the request behind it is served."""
        upstream = Upstream()
        stranger = Stranger(door(Routes(upstream=upstream.open))[0])
        sent = b""
        wire = (chunked(body, target=b"/open") if as_chunks and body else request(body, target=b"/open")) + PING
        edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
        for start, end in pairwise(edges):
            stranger.send(wire[start:end])
        sent = upstream.transport.value()
        if as_chunks and body:
            (request_seen,) = parse_answers(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent.partition(b"\r\n\r\n")[2]
            )
            self.assertEqual(request_seen.body, body)
        else:
            self.assertEqual(sent.partition(b"\r\n\r\n")[2], body)
        upstream.respond(RESPONSE + b"abcde")
        self.assertEqual(stranger.statuses(), [200, 200])


class DeadlineTests(StreamTestCase):
    """The deadline of a pass-through: no total, but none without progress."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps, as it does."""
        self.clock.pump([0.5] * int(seconds * 2))

    def test_no_progress(self) -> None:
        """A pass-through without a byte either way is cut off, on both sides."""
        self.stranger.send(QUERY)
        self.pass_time(STREAM_IDLE_SECONDS - 0.5)
        self.assertFalse(self.stranger.aborted)
        self.pass_time(0.5 + SWEEP_SECONDS)
        self.assertTrue(self.stranger.aborted)
        self.assertTrue(self.upstream.closed)

    def test_progress(self) -> None:
        """Every piece either way, and every reading, gives it its whole time again."""
        wire = request(b"abc", target=b"/open")
        self.stranger.send(wire[:-1])
        for step in (
            lambda: self.stranger.send(wire[-1:]),
            lambda: self.upstream.respond(RESPONSE),
            lambda: self.upstream.respond(b"abcd"),
            lambda: self.stranger.transport.producer.pauseProducing(),
            lambda: self.stranger.transport.producer.resumeProducing(),
        ):
            self.pass_time(STREAM_IDLE_SECONDS / 2 - 1)
            step()
        self.pass_time(STREAM_IDLE_SECONDS / 2)
        self.upstream.respond(b"e")
        self.assertEqual(self.stranger.statuses(), [200])
        self.assertFalse(self.stranger.closed)

    def test_deaf_to_an_answer(self) -> None:
        """Who leaves unread that there is no other side is cut off like everybody who leaves an answer unread."""
        self.stranger.send(QUERY)
        self.upstream.transport.loseConnection()
        self.stranger.transport.producer.pauseProducing()
        self.pass_time(WRITE_SECONDS + SWEEP_SECONDS)
        self.assertTrue(self.stranger.aborted)

    def test_draining(self) -> None:
        """A response under way is sent to its end when the gateway drains; then the connection closes."""
        self.stranger.send(QUERY)
        self.upstream.respond(RESPONSE)
        done = self.front.drain(100)
        self.upstream.respond(b"abcde")
        self.assertEqual([answer.body for answer in self.stranger.answers()], [b"abcde"])
        self.assertTrue(self.stranger.closed)
        self.stranger.leave()
        self.successResultOf(done)

    def test_progress_keeps_from_eviction(self) -> None:
        """A pass-through that gets on is not the one that is evicted."""
        upstream = Upstream()
        front, _, _ = door(Routes(upstream=upstream.open), connections=2)
        streaming, idle = Stranger(front), Stranger(front)
        streaming.send(QUERY)
        idle.send(PING)
        upstream.respond(RESPONSE)
        Stranger(front)
        self.assertEqual((streaming.aborted, idle.aborted), (False, True))
