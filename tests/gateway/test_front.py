"""The door, one exchange at a time: keep-alive, pipelines, `Expect`, refusals, and what answers look like."""

from __future__ import annotations

import gc
import types

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.gateway.strangers import (
    LIMIT_BYTES,
    PING,
    TOO_LARGE,
    Always,
    Stranger,
    chunked,
    door,
    parse_answers,
    request,
)
from torfluxd.gateway.exchange import CANARY_PONG, Answer, Collect, Head, Plan
from torfluxd.gateway.reader import RequestReader


class AnswersTests(SynchronousTestCase):
    """What a stranger gets, byte for byte."""

    def test_written(self) -> None:
        """A write is answered with the site's own answer, and nothing around it but what HTTP needs."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"cpu usage=1"))
        self.assertEqual(stranger.received(), b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n")
        self.assertEqual(site.bodies, [b"cpu usage=1"])

    def test_the_canary_is_no_stranger(self) -> None:
        """Our own canary is answered, and not counted among what strangers ask for."""
        for plan, counted in ((Answer(204), 1), (CANARY_PONG, 0)):
            front, _, _ = door(Always(plan))
            stranger = Stranger(front)
            stranger.send(request(method=b"GET", target=b"/ping?word"))
            self.assertEqual([204], stranger.statuses())
            self.assertEqual(counted, front.figures.requests["answered"])

    def test_answered_with_a_body(self) -> None:
        """An answer with a body tells its length, and neither `Date` nor `Server`."""
        stranger = Stranger(door()[0])
        stranger.send(PING)
        self.assertEqual(
            stranger.received(), b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\npong"
        )

    def test_empty_answer_has_a_length(self) -> None:
        """An answer without a body says so, where its status does not."""
        stranger = Stranger(door(Always(Answer(404)))[0])
        stranger.send(PING)
        self.assertEqual(stranger.received(), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def test_head(self) -> None:
        """`HEAD` gets the length of the body, and not the body; the next request is served."""
        stranger = Stranger(door()[0])
        stranger.send(request(method=b"HEAD", target=b"/ping") + PING)
        head, end, rest = stranger.received().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 4", head + end)
        self.assertEqual([answer.body for answer in parse_answers(rest)], [b"pong"])

    def test_head_that_closes(self) -> None:
        """`HEAD` gets no body on a connection that closes, either."""
        stranger = Stranger(door()[0])
        stranger.send(request(method=b"HEAD", target=b"/ping", headers=b"Connection: close\r\n"))
        self.assertTrue(stranger.received().endswith(b"Connection: close\r\nContent-Length: 4\r\n\r\n"))

    def test_what_the_site_sees(self) -> None:
        """The site sees the method, the target as sent, and the headers in order with lower-case names."""
        front, site, _ = door()
        Stranger(front).send(b"PUT /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-A:  b\tc \t\r\nx-a:\r\n\r\n")
        (head,) = site.heads
        self.assertEqual((head.method, head.target), (b"PUT", b"/a%20b?c=d"))
        self.assertEqual(list(head.headers), [(b"host", b"x"), (b"x-a", b"b\tc"), (b"x-a", b"")])

    def test_writers(self) -> None:
        """Requests of one connection have one writer, and another connection another one."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"1") + request(b"2"))
        Stranger(front).send(request(b"3"))
        first, second, third = site.writers
        self.assertEqual(first, second)
        self.assertNotEqual(first, third)

    def test_known_writer(self) -> None:
        """Whoever knows more of a connection, its circuit, can say who its writer is."""
        front, site, _ = door()
        Stranger(front, front.build(0x1C)).send(request(b"1"))
        self.assertEqual(site.writers, [0x1C])

    def test_changed_answers(self) -> None:
        """Every answer is the one that the site gave, however many different ones it gives."""
        answers = [Answer(200, (), b"%d" % number) for number in range(200)]
        stranger = Stranger(door(_Each(answers * 2))[0])
        for number in [*range(200), *range(200)]:
            stranger.send(PING)
            self.assertEqual(stranger.answers()[0].body, b"%d" % number)

    def test_factory(self) -> None:
        """The door can be listened with on any Twisted endpoint, and says nothing when it is."""
        front, _, _ = door()
        verifyObject(IProtocolFactory, front)
        self.assertFalse(front.noisy)


class KeepAliveTests(SynchronousTestCase):
    """Which connections serve another request."""

    def test_kept(self) -> None:
        """An HTTP/1.1 connection stays open for the next request."""
        stranger = Stranger(door()[0])
        for _ in range(3):
            stranger.send(PING)
            self.assertEqual(stranger.statuses(), [200])
        self.assertFalse(stranger.closed)

    def test_close_asked_for(self) -> None:
        """`Connection: close` is answered with the same, and the connection closes; what follows it is not served."""
        for headers in (
            b"Connection: close\r\n",
            b"Connection: TE, Close\r\n",
            b"Connection: close\r\nConnection: keep-alive\r\n",
        ):
            front, site, _ = door()
            stranger = Stranger(front)
            stranger.send(request(method=b"GET", target=b"/ping", headers=headers) + PING)
            (answer,) = stranger.answers()
            self.assertEqual(answer.header("Connection"), "close")
            self.assertTrue(stranger.closed)
            self.assertEqual(len(site.heads), 1)

    def test_close_asked_for_before_a_late_answer(self) -> None:
        """The same is true for an answer that comes late; the door reads on until the stranger closes."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later", headers=b"Connection: close\r\n") + PING)
        self.assertTrue(stranger.paused)
        site.answer_next()
        self.assertEqual(stranger.statuses(), [204])
        self.assertFalse(stranger.paused)

    def test_http10(self) -> None:
        """HTTP/1.0 is answered, with a `Host` or without, and the connection closes, whatever it asks for."""
        for headers in (b"", b"Host: a\r\n", b"Connection: keep-alive\r\n"):
            stranger = Stranger(door()[0])
            stranger.send(b"GET /ping HTTP/1.0\r\n%b\r\n" % headers)
            (answer,) = stranger.answers()
            self.assertEqual((answer.status, answer.body), (200, b"pong"))
            self.assertEqual(answer.header("Connection"), "close")
            self.assertTrue(stranger.closed)

    def test_http10_body(self) -> None:
        """HTTP/1.0 may declare a body."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"cpu usage=1", version=b"1.0"))
        self.assertEqual(stranger.statuses(), [204])
        self.assertEqual(site.bodies, [b"cpu usage=1"])

    def test_body_that_nobody_reads(self) -> None:
        """An answer that does not wait for the body is sent at once, and the connection closes after it."""
        stranger = Stranger(door()[0])
        stranger.send(b"POST /elsewhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
        (answer,) = stranger.answers()
        self.assertEqual((answer.status, answer.header("Connection")), (200, "close"))
        self.assertTrue(stranger.closed)

    def test_empty_lines_before_a_request(self) -> None:
        """Empty lines before a request are passed over, as old clients send them after a body."""
        stranger = Stranger(door()[0])
        stranger.send(b"\r\n" + request(b"cpu usage=1") + b"\r\n\r\n" + PING)
        self.assertEqual(stranger.statuses(), [204, 200])


class PipelineTests(SynchronousTestCase):
    """Requests sent without waiting for answers."""

    def test_answered_in_order(self) -> None:
        """Pipelined requests are answered in their order, though a later answer would be ready first."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"first", target=b"/later") + request(b"second") + PING)
        self.assertEqual(stranger.received(), b"")
        site.answer_next()
        self.assertEqual(stranger.statuses(), [204, 204, 200])
        self.assertEqual(site.bodies, [b"first", b"second"])

    def test_one_at_a_time(self) -> None:
        """The site is not asked about a request before the former one is answered, and the door stops reading."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later") * 2)
        self.assertEqual(len(site.heads), 1)
        self.assertTrue(stranger.paused)
        site.answer_next()
        self.assertEqual(len(site.heads), 2)
        self.assertFalse(stranger.paused)

    def test_waiting_notices_leaving(self) -> None:
        """While an answer is worked at and nothing is pipelined, the door reads on, so that it sees the stranger go."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later"))
        self.assertFalse(stranger.paused)
        stranger.leave()
        self.assertEqual(site.gone, 1)

    def test_thousands(self) -> None:
        """Thousands of requests in one read are answered in turns, between which others are served; none is lost."""
        front, _, clock = door(requests_in_one_turn=32)
        stranger, other = Stranger(front), Stranger(front)
        stranger.send(PING * 2000)
        self.assertEqual(len(stranger.statuses()), 32)
        self.assertTrue(stranger.paused)
        other.send(PING)
        self.assertEqual(other.statuses(), [200])
        clock.pump([0] * 62)
        self.assertEqual(len(stranger.statuses()), 2000 - 32)
        self.assertFalse(stranger.paused)
        self.assertEqual(front.requests, 2001)

    def test_left_between_turns(self) -> None:
        """A stranger who leaves between two turns is forgotten, with what he had pipelined."""
        front, site, clock = door(requests_in_one_turn=1)
        stranger = Stranger(front)
        stranger.send(PING * 3)
        stranger.leave()
        clock.advance(0)
        self.assertEqual(len(site.heads), 1)

    def test_nothing_is_read_ahead_of_a_full_output(self) -> None:
        """While a stranger does not read his answers, none of his further requests is looked at."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.transport.producer.pauseProducing()
        stranger.send(PING * 3)
        self.assertEqual(len(site.heads), 0)
        self.assertTrue(stranger.paused)
        stranger.transport.producer.resumeProducing()
        self.assertEqual(stranger.statuses(), [200] * 3)
        self.assertFalse(stranger.paused)

    def test_refused_behind_answers(self) -> None:
        """What is malformed is refused after the answers to what came before it, and nothing behind it is served."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later") + b"GET / HTTP/9.9\r\n\r\n" + PING)
        site.answer_next()
        self.assertEqual(stranger.statuses(), [204, 400])
        self.assertEqual(len(site.heads), 1)
        self.assertTrue(stranger.closed)

    @given(cuts=st.lists(st.integers(0, 400), max_size=30), late=st.booleans())
    def test_any_split(self, cuts: list[int], late: bool) -> None:
        """However the bytes of a pipeline arrive, the answers are the same."""
        target = b"/later" if late else b"/write"
        wire = request(b"one", target=target) + PING + chunked(b"a\r\n\r\n", b"b") + request(b"two") + PING
        front, site, clock = door()
        stranger = Stranger(front)
        start = 0
        for cut in [*sorted(cuts), len(wire)]:
            stranger.send(wire[start:cut])
            start = max(start, cut)
            clock.advance(0)
        if late:
            site.answer_next()
        self.assertEqual(stranger.statuses(), [204, 200, 204, 204, 200])
        self.assertEqual(site.bodies, [b"one", b"a\r\n\r\nb", b"two"])


class CollectTests(SynchronousTestCase):
    """Bodies that are read whole, within their limit."""

    def test_declared_at_the_limit(self) -> None:
        """A body of exactly the limit is taken."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x" * LIMIT_BYTES))
        self.assertEqual(stranger.statuses(), [204])
        self.assertEqual(site.bodies, [b"x" * LIMIT_BYTES])

    def test_declared_too_large(self) -> None:
        """A declared length above the limit is refused before a byte of the body has come."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (LIMIT_BYTES + 1))
        (answer,) = stranger.answers()
        self.assertEqual((answer.status, answer.body), (413, TOO_LARGE.body))
        self.assertEqual(answer.header("Connection"), "close")
        self.assertTrue(stranger.closed)
        self.assertEqual(site.bodies, [])
        self.assertEqual(front.refused, {413: 1})

    def test_chunked_at_the_limit(self) -> None:
        """A chunked body of exactly the limit is taken."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(chunked(b"x" * (LIMIT_BYTES - 1), b"y"))
        self.assertEqual(stranger.statuses(), [204])
        self.assertEqual(len(site.bodies[0]), LIMIT_BYTES)

    def test_chunked_too_large(self) -> None:
        """A chunked body is refused as soon as it is above the limit, though its end is not here yet."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(chunked(b"x" * LIMIT_BYTES)[:-5])
        self.assertEqual(stranger.received(), b"")
        stranger.send(b"1\r\ny")
        self.assertEqual(stranger.statuses(), [413])
        self.assertEqual(site.bodies, [])

    def test_site_gives_up(self) -> None:
        """When a stranger leaves before his answer, the site is told, and nothing is written."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later"))
        stranger.leave()
        self.assertEqual(site.gone, 1)
        self.assertEqual(stranger.received(), b"")
        self.assertEqual(front.connections, 0)

    def test_left_in_the_body(self) -> None:
        """A stranger who leaves in the middle of his body reaches no site."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"cpu usage=1")[:-1])
        stranger.leave()
        self.assertEqual(site.bodies, [])

    def test_empty_bodies(self) -> None:
        """A body of no bytes is a body."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request() + request(headers=b"Content-Length: 0\r\n") + chunked())
        self.assertEqual(stranger.statuses(), [204] * 3)
        self.assertEqual(site.bodies, [b""] * 3)


class ExpectTests(SynchronousTestCase):
    """`Expect: 100-continue`."""

    HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-Continue\r\n\r\n"

    def test_wanted(self) -> None:
        """Who asks whether his body is wanted is told so, and then answered."""
        stranger = Stranger(door()[0])
        stranger.send(self.HEAD % (b"/write", 3))
        self.assertEqual(stranger.received(), b"HTTP/1.1 100 Continue\r\n\r\n")
        stranger.send(b"abc")
        self.assertEqual(stranger.statuses(), [204])
        self.assertFalse(stranger.closed)

    def test_not_wanted(self) -> None:
        """Who asks, and would be refused for the body's length or answered without it, is not asked to send it."""
        for target, length, status in ((b"/write", LIMIT_BYTES + 1, 413), (b"/ping", 3, 200)):
            stranger = Stranger(door()[0])
            stranger.send(self.HEAD % (target, length))
            self.assertEqual(stranger.statuses(), [status])
            self.assertTrue(stranger.closed)

    def test_without_a_body(self) -> None:
        """Who asks but has no body gets his answer only."""
        stranger = Stranger(door()[0])
        stranger.send(self.HEAD % (b"/write", 0))
        self.assertEqual(stranger.statuses(), [204])

    def test_asked_once(self) -> None:
        """Who asked for one body is not told anything about the next one, for which he did not ask."""
        stranger = Stranger(door()[0])
        stranger.send(self.HEAD % (b"/write", 3) + b"abc")
        stranger.received()
        stranger.send(request(b"abc")[:-1])
        self.assertEqual(stranger.received(), b"")

    def test_http10(self) -> None:
        """HTTP/1.0 does not know the question, and gets no answer to it."""
        stranger = Stranger(door()[0])
        stranger.send(request(b"abc", version=b"1.0", headers=b"Expect: 100-continue\r\n"))
        self.assertTrue(stranger.received().startswith(b"HTTP/1.1 204 "))

    def test_other_expectations(self) -> None:
        """Whatever else is expected is refused."""
        front, _, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"abc", headers=b"Expect: 200-ok\r\n"))
        self.assertEqual(
            stranger.received(), b"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertTrue(stranger.closed)


class RefusalTests(SynchronousTestCase):
    """What cannot be served."""

    def test_malformed(self) -> None:
        """Everything malformed gets one constant answer, and the connection closes."""
        for malformed in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ):
            front, site, _ = door()
            stranger = Stranger(front)
            stranger.send(malformed)
            self.assertEqual(
                stranger.received(), b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.assertTrue(stranger.closed)
            self.assertEqual(site.heads, [])
            self.assertEqual(front.refused, {400: 1})

    def test_malformed_body(self) -> None:
        """A body that turns out to be malformed is refused, and never reaches the site."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(chunked(b"abc")[:-5] + b"zz\r\n")
        self.assertEqual(stranger.statuses(), [400])
        stranger.send(b"zz\r\n")
        self.assertEqual(stranger.received(), b"")
        self.assertEqual(site.bodies, [])

    def test_deaf_afterwards(self) -> None:
        """After its last answer the door listens to nothing, and does not answer twice."""
        stranger = Stranger(door()[0])
        stranger.send(b"nonsense\r\n\r\n")
        stranger.received()
        stranger.send(PING)
        stranger.send(b"nonsense\r\n\r\n")
        self.assertEqual(stranger.received(), b"")

    def test_drowned_afterwards(self) -> None:
        """Who goes on sending after his last answer is read for a while, so that he can read it, and then cut off."""
        stranger = Stranger(door(linger_bytes=1000)[0])
        stranger.send(b"nonsense\r\n\r\n" + b"x" * 500)
        stranger.send(b"x" * 488)
        self.assertFalse(stranger.aborted)
        stranger.send(b"x")
        self.assertTrue(stranger.aborted)

    def test_drowned_after_a_partial_head(self) -> None:
        """What a slow stranger had sent of his head counts only once."""
        front, _, clock = door(linger_bytes=1000)
        stranger = Stranger(front)
        stranger.send(b"GET /" + b"x" * 500)
        clock.pump([1] * 12)
        self.assertEqual(stranger.statuses(), [408])
        stranger.send(b"x" * 1000)
        self.assertFalse(stranger.aborted)
        stranger.send(b"x")
        self.assertTrue(stranger.aborted)


class FaultTests(SynchronousTestCase):
    """A site that breaks its promises."""

    def check_fault(self, site: object, sent: bytes = b"") -> None:
        """It is answered with a constant, closed, and logged without anything that a stranger said."""
        front, _, _ = door(site)
        stranger = Stranger(front)
        with capturedLogs() as events:
            stranger.send(sent or request(b"secret", headers=b"X: secret\r\n"))
        self.assertEqual(
            stranger.received(), b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertTrue(stranger.closed)
        (event,) = events
        logged = event["log_format"].format(**event)
        self.assertIn("ZeroDivisionError", logged)
        self.assertIn("test_front.py", logged)
        self.assertNotIn("secret", repr(event))
        self.assertEqual(front.refused, {500: 1})

    def test_plan_raises(self) -> None:
        """An exception out of the site's plan is one stranger's 500."""

        class Raises:
            def plan(self, head: Head) -> Plan:
                raise ZeroDivisionError(head.headers)

        self.check_fault(Raises())

    def test_complete_raises(self) -> None:
        """An exception out of `complete` is one stranger's 500."""

        def complete(body: bytes, writer: object) -> Deferred[Answer]:
            raise ZeroDivisionError(body)

        self.check_fault(Always(Collect(10, TOO_LARGE, complete)))

    def test_complete_fails(self) -> None:
        """A failed Deferred from `complete` is one stranger's 500."""

        def complete(body: bytes, writer: object) -> Deferred[Answer]:
            try:
                raise ZeroDivisionError(body)
            except ZeroDivisionError:
                return fail()

        self.check_fault(Always(Collect(10, TOO_LARGE, complete)))

    def test_split_answer(self) -> None:
        """An answer whose headers would begin another answer is never sent."""
        for split in ((b"X", b"a\r\nY: b"), (b"X\n", b""), (b"X", b"\x00")):
            front, _, _ = door(Always(Collect(10, TOO_LARGE, lambda *_, split=split: succeed(Answer(200, (split,))))))
            stranger = Stranger(front)
            with capturedLogs() as events:
                stranger.send(request(b"x"))
            self.assertEqual(stranger.statuses(), [500])
            self.assertEqual(len(events), 1)

    def test_fault_of_a_late_answer(self) -> None:
        """An answer that cannot be sent is a 500, also when it comes late."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later"))
        with capturedLogs() as events:
            site.answer_next(Answer(200, ((b"X", b"\n"),)))
        self.assertEqual(stranger.statuses(), [500])
        self.assertEqual(len(events), 1)


class QuietTests(SynchronousTestCase):
    """What is written down about strangers."""

    def test_no_log(self) -> None:
        """Neither connections, requests, refusals nor leaving strangers are logged."""
        with capturedLogs() as events:
            front, _, clock = door()
            for sent in (PING, request(b"x"), b"nonsense\r\n\r\n", b"GET / HT"):
                stranger = Stranger(front)
                stranger.send(sent)
                clock.advance(1000)
                stranger.leave()
        self.assertEqual(events, [])

    def test_forgotten(self) -> None:
        """An idle connection holds nothing of what was said on it."""
        stranger = Stranger(door(Always(Collect(100, TOO_LARGE, lambda *_: succeed(Answer(204)))))[0])
        secret = b"secret" * 3
        stranger.send(request(secret, target=b"/" + secret, headers=b"X: %b\r\n" % secret))
        self.assertEqual(stranger.statuses(), [204])
        self.assertFalse(_holds(stranger.connection, secret))
        stranger.send(request(secret)[:-1])
        self.assertTrue(_holds(stranger.connection, secret[:-1]))

    def test_freed(self) -> None:
        """What a connection needed is freed when it is gone, without waiting for the garbage collector."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = _count(RequestReader)
        stranger = Stranger(door()[0])
        stranger.send(PING)
        self.assertEqual(_count(RequestReader), before + 1)
        stranger.leave()
        stranger.transport.producer = None  # As a socket's transport lets go of it.
        del stranger
        self.assertEqual(_count(RequestReader), before)

    def test_repr(self) -> None:
        """What a stranger said is in no `repr`."""
        front, site, _ = door()
        stranger = Stranger(front)
        stranger.send(request(b"secret", target=b"/later?secret", headers=b"X: secret\r\n"))
        for thing in (front, stranger.connection, site.heads[0]):
            self.assertNotIn("secret", repr(thing))


class CapTests(SynchronousTestCase):
    """The cap on connections."""

    def test_below_the_cap(self) -> None:
        """As many connections as allowed are served together."""
        front, _, _ = door(connections=3)
        strangers = [Stranger(front) for _ in range(3)]
        for stranger in strangers:
            stranger.send(PING)
            self.assertEqual(stranger.statuses(), [200])
        self.assertEqual((front.connections, front.evicted), (3, 0))

    def test_least_progress_goes(self) -> None:
        """When there is one too many, whoever got on longest ago is cut off: not who came first, but who did least."""
        front, _, _ = door(connections=3)
        first, second, third = (Stranger(front) for _ in range(3))
        first.send(PING)
        second.send(b"GET /pi")
        fourth = Stranger(front)
        self.assertEqual([stranger.aborted for stranger in (first, second, third, fourth)], [False, True, False, False])
        self.assertEqual((front.connections, front.evicted), (3, 1))
        third.send(PING)
        Stranger(front)
        self.assertTrue(first.aborted)

    def test_flood(self) -> None:
        """A flood of silent connections evicts itself: a stranger who gets on is not among the victims."""
        front, _, _ = door(connections=100)
        honest = Stranger(front)
        for _ in range(20):
            for _ in range(90):
                Stranger(front)
            honest.send(PING)
        self.assertEqual(honest.statuses(), [200] * 20)
        self.assertEqual(front.connections, 100)

    def test_evicted_site_gives_up(self) -> None:
        """Work for a stranger who is cut off is given up, and what his transport still delivers is not served."""
        front, site, _ = door(connections=1)
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later"))
        Stranger(front)
        self.assertEqual(site.gone, 1)
        stranger.send(PING)
        self.assertEqual(len(site.heads), 1)
        stranger.leave()
        self.assertEqual(front.connections, 1)


class DrainTests(SynchronousTestCase):
    """The end of a gateway."""

    def test_nobody_there(self) -> None:
        """Without connections, draining is done at once."""
        front, _, clock = door()
        self.assertIsNone(self.successResultOf(front.drain(10)))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_idle_ones_close(self) -> None:
        """Connections without a request under way close at once; new ones are not accepted."""
        front, _, clock = door()
        fresh, idle, partial = (Stranger(front) for _ in range(3))
        idle.send(PING)
        partial.send(b"GET /pi")
        done = front.drain(10)
        for stranger in (fresh, idle, partial):
            self.assertTrue(stranger.closed)
            self.assertNoResult(done)
            stranger.leave()
        self.successResultOf(done)
        self.assertIsNone(front.buildProtocol(None))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_requests_finish(self) -> None:
        """A request under way gets its answer, which says that the connection closes."""
        front, site, _ = door()
        waiting, collecting = Stranger(front), Stranger(front)
        waiting.send(request(b"x", target=b"/later") + PING)
        collecting.send(request(b"abc")[:-1])
        done = front.drain(10)
        self.assertFalse(waiting.closed or collecting.closed)
        site.answer_next()
        collecting.send(b"c")
        for stranger in (waiting, collecting):
            (answer,) = stranger.answers()
            self.assertEqual((answer.status, answer.header("Connection")), (204, "close"))
            self.assertTrue(stranger.closed)
            stranger.leave()
        self.successResultOf(done)

    def test_deadline(self) -> None:
        """Whatever is not finished at the deadline is cut off, and the site is told."""
        front, site, clock = door()
        stranger = Stranger(front)
        stranger.send(request(b"x", target=b"/later"))
        done = front.drain(10)
        clock.advance(9.9)
        self.assertFalse(stranger.aborted)
        clock.advance(0.1)
        self.assertTrue(stranger.aborted)
        self.assertEqual(site.gone, 1)
        stranger.leave()
        self.successResultOf(done)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_late_connection(self) -> None:
        """A connection that was on its way when draining began is closed as soon as it is made."""
        front, _, _ = door()
        connection = front.build(object())
        front.drain(10)
        self.assertTrue(Stranger(front, connection).closed)


def _holds(thing: object, needle: bytes) -> bool:
    """Whether `needle` is in any bytes that can be reached from `thing`, over attributes and containers."""
    seen: set[int] = set()
    reached = [thing]
    while reached:
        one = reached.pop()
        if isinstance(one, bytes | bytearray) and needle in one:
            return True
        if id(one) not in seen and not isinstance(one, type | types.ModuleType | types.FunctionType):
            seen.add(id(one))
            reached += gc.get_referents(one)
    return False


def _count(kind: type) -> int:
    """How many objects of this kind there are."""
    return sum(isinstance(one, kind) for one in gc.get_objects())


class _Each:
    """A site with one plan after the other."""

    def __init__(self, plans: list[Answer]) -> None:
        self._plans = iter(plans)

    def plan(self, head: Head) -> Plan:
        return next(self._plans)
