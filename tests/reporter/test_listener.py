"""What an InfluxDB client finds on 127.0.0.1."""

from __future__ import annotations

import gzip
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import Received
from tests.reporter.keeping import RememberingKeep
from tests.visitor import Visitor
from torfluxd.boundaries import Answer, Batch, Destination, Fate, Reply
from torfluxd.gateway.rules import MAX_LINE_BYTES as GATEWAY_LINE_BYTES
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.writes import Writes
from torfluxd.influx.answers import RETRY_AFTER_SECONDS
from torfluxd.influx.api import Api
from torfluxd.influx.dialect import Dialect, Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.reporter.admission import Admission
from torfluxd.reporter.intake import KEEP_SECONDS, LONG_LINE, MAX_LINE_BYTES, Intake
from torfluxd.reporter.listener import (
    LINGER_BYTES,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    MAX_HELD_BYTES,
    REQUEST_SECONDS,
    Listener,
    listener_site,
)

ONION = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
WRITES = {
    V1: b"/write?db=telemetry",
    V2: b"/api/v2/write?org=any&bucket=telemetry",
    V3: b"/api/v3/write_lp?db=telemetry",
}
"""A write in each dialect."""

LINE = b"m v=1 1600000000000000000"
"""A line that means the same in each dialect."""

HOST = b"Host: 127.0.0.1:8086\r\n"


def post(target: bytes, body: bytes = b"m v=1 5", headers: bytes = HOST, version: bytes = b"1.1") -> bytes:
    """A POST, as it is sent."""
    head = b"POST %b HTTP/%b\r\n%bContent-Length: %d\r\n\r\n" % (target, version, headers, len(body))
    return head + body


def get(target: bytes, method: bytes = b"GET", headers: bytes = HOST) -> bytes:
    """A GET, or another request without a body, as it is sent."""
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, headers)


_SENT = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        (
            post(WRITES[V1]),
            post(WRITES[V2])[:-3],
            b"1 5",
            b"POST /write?db=a HTTP/1.1\r\n",
            HOST,
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Length: 7\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Expect: 100-continue\r\n",
            b"Connection: close\r\n",
            b"Cookie: a=b; c\r\n",
            b" folded\r\n",
            b"\r\n",
            b"7\r\nm v=1 5\r\n",
            b"0\r\n\r\n",
            b"fffffffff\r\n",
            get(b"http://[/write"),
            get(b"http://:::::/ping"),
            get(b"/query?q=%"),
        )
    ),
)
"""Pieces of requests, good ones and others."""


class ListenerCase(SynchronousTestCase):
    """An agent's door, and a keeper behind it."""

    pinned: Destination | None = None
    api = Api.V1

    def setUp(self) -> None:
        """Open it."""
        self.clock = Clock()
        self.keep = RememberingKeep()
        intake = Intake(self.keep, self.clock, MAX_BODY_BYTES, pinned=self.pinned, api=self.api)
        self.listener = Listener(intake, Admission([], ONION))
        self.site = listener_site(self.listener, self.clock)

    def ask(self, sent: bytes) -> Received:
        """The answer to a request."""
        visitor = Visitor(self.site)
        visitor.send(sent)
        (answer,) = visitor.answers(sent.partition(b" ")[0].decode())
        return answer

    def write(self, dialect: Dialect, body: bytes, headers: bytes = b"", more: bytes = b"") -> Received:
        """The answer to a write."""
        return self.ask(post(WRITES[dialect] + more, body, HOST + headers))


class WriteTests(ListenerCase):
    """Writes."""

    def test_kept_before_the_answer(self) -> None:
        """A client hears 204 when its points are kept, and not earlier."""
        self.keep.waits = True
        for dialect in WRITES:
            visitor = Visitor(self.site)
            visitor.send(post(WRITES[dialect], LINE))
            self.assertEqual((self.keep.lines, visitor.received()), ([LINE], b""))
            self.keep.go_on()
            (answer,) = visitor.answers()
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.keep.kept.clear()

    def test_destinations(self) -> None:
        """Points go where the client says, in each dialect."""
        for target, destination in (
            (b"/write?db=a&rp=b", Destination("a", "b")),
            (b"/api/v2/write?bucket=a/b&org=o", Destination("a", "b")),
            (b"/api/v3/write_lp?db=a", Destination("a")),
        ):
            self.assertEqual(self.ask(post(target)).status, 204)
            self.assertEqual(self.keep.kept.pop()[0], destination)

    def test_times(self) -> None:
        """A time in any unit becomes nanoseconds; a line without one is given its time where it is kept."""
        for target, lines, kept in (
            (b"/write?db=a&precision=s", b"m v=1 5\nn v=2 6", b"m v=1 5000000000\nn v=2 6000000000"),
            (b"/write?db=a&precision=h", b"m v=1 5", b"m v=1 18000000000000"),
            (b"/api/v2/write?bucket=a&precision=ms", b"m v=1 5", b"m v=1 5000000"),
            (b"/api/v3/write_lp?db=a", b"m v=1 1600000000", b"m v=1 1600000000000000000"),
            (b"/write?db=a", b"m v=1\n\n# comment\nn v=2 7", b"m v=1\nn v=2 7"),
            (b"/write?db=a&precision=s", b"m v=1", b"m v=1"),
            (b"/write?db=a&precision=s", b'm v=1\nn v=2 7\no s="a 5"\n', b'm v=1\nn v=2 7000000000\no s="a 5"'),
        ):
            self.assertEqual(self.ask(post(target, lines)).status, 204)
            self.assertEqual(self.keep.kept.pop()[1], kept)

    def test_gzip(self) -> None:
        """A body may come as gzip, by either of its names, and in chunks."""
        zipped = gzip.compress(b"m v=1 5")
        for encoding in (b"gzip", b"x-gzip", b"GZIP"):
            answer = self.write(V1, zipped, b"Content-Encoding: %b\r\n" % encoding)
            self.assertEqual((answer.status, self.keep.kept.pop()[1]), (204, b"m v=1 5"))
        head = b"POST %b HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (WRITES[V1], HOST)
        self.assertEqual(self.ask(head + b"4\r\nm v=\r\n3\r\n1 5\r\n0\r\n\r\n").status, 204)

    def test_bad_gzip(self) -> None:
        """What is no gzip, or too much of it, is refused in the client's dialect."""
        encoding = b"Content-Encoding: gzip\r\n"
        self.assertEqual(json.loads(self.write(V2, b"no", encoding).body)["message"], "gzip: invalid data")
        bomb = gzip.compress(b"#" * (MAX_BODY_BYTES + 1))
        self.assertEqual([self.write(dialect, bomb, encoding).status for dialect in WRITES], [413, 413, 413])

    def test_nothing(self) -> None:
        """A body of nothing, or of comments, is fine, and nothing is kept."""
        for body in (b"", b"\n\n", b"# a\n#b"):
            self.assertEqual(self.write(V1, body).status, 204)
        self.assertEqual(self.keep.kept, [])

    def test_bad_lines(self) -> None:
        """Of a body with bad lines 1.x and 3.x keep the good ones, and 2.x none, nor 3.x when it is told so."""
        for dialect, more, kept in (
            (V1, b"", [LINE]),
            (V2, b"", []),
            (V3, b"", [LINE]),
            (V3, b"&accept_partial=false", []),
        ):
            answer = self.write(dialect, b"garbage\n" + LINE, more=more)
            self.assertEqual((answer.status, self.keep.lines), (400, kept))
            self.keep.kept.clear()

    def test_as_the_gateway(self) -> None:
        """Whatever is wrong with lines, a client hears the very answer that the gateway would give it."""
        bodies = (
            b"garbage",
            b"garbage\nm v=1 5\nalso",
            b"m v=1u 5",
            b"m,a=1,a=2 v=1 5",
            b"m v= 5",
            b'm v="\xff" 5',
            b"m time=1 5",
            b"m v=1 99999999999999999999",
            b"m v=NaN",
            b"m v=1 5\r\nm v=2 6",
            b'ok v=1 5\nlong s="' + b"x" * GATEWAY_LINE_BYTES + b'" 6',
        )
        for dialect, target in WRITES.items():
            write = dialect.read_write(target.partition(b"?")[2])
            assert isinstance(write, Write)
            for body in bodies:
                expected = self.of_a_gateway(write, body)
                answer = self.write(dialect, body)
                self.assertEqual((answer.status, answer.body), (expected.status, expected.body), body[:40])

    def of_a_gateway(self, write: Write, body: bytes) -> Answer:
        """What a gateway says, in front of an InfluxDB that takes all it gets."""

        class Takes:
            def send(self, batch: Batch) -> Deferred[Reply]:
                return succeed(Reply(Fate.DELIVERED))

        return self.successResultOf(
            Writes(Takes(), self.clock, rules=LineRules(max_age_seconds=1e12)).write(write, body, None, "w")
        )

    def test_long_lines(self) -> None:
        """A line that no gateway takes is refused here, where somebody hears it; the others are kept."""
        answer = self.write(V1, b'm v=1 5\nm s="%b" 6\nm v=2 7' % (b"x" * MAX_LINE_BYTES))
        self.assertEqual((answer.status, self.keep.lines), (400, [b"m v=1 5", b"m v=2 7"]))
        self.assertIn(LONG_LINE, answer.body.decode())

    def test_refused_by_the_query(self) -> None:
        """A write that names no database, or an unknown precision, is refused in its dialect."""
        for target, status in (
            (b"/write", 400),
            (b"/write?db=a&precision=us", 400),
            (b"/api/v2/write?org=a", 404),
            (b"/api/v3/write_lp", 400),
        ):
            answer = self.ask(post(target))
            self.assertEqual(answer.status, status)
            self.assertIsInstance(json.loads(answer.body), dict)
        self.assertEqual(self.keep.kept, [])

    def test_nothing_left_by_the_rules(self) -> None:
        """What the rules of privacy leave nothing of is done with: the client need not send it again."""
        self.keep.taken = False
        self.assertEqual(self.write(V1, b"m v=1 5").status, 204)

    def test_not_kept(self) -> None:
        """When the disk fails, a client is told in its dialect to come back, and the log says so once."""
        self.keep.is_broken = True
        with capturedLogs() as events:
            answers = [self.write(dialect, b"m v=1 5") for dialect in WRITES]
        for answer in answers:
            self.assertEqual((answer.status, answer.header("Retry-After")), (503, str(RETRY_AFTER_SECONDS)))
        self.assertEqual([json.loads(answer.body).get("code") for answer in answers], [None, "unavailable", None])
        self.assertEqual([event["why"] for event in events], ["the disk is full"])
        self.keep.is_broken = False
        with capturedLogs() as events:
            self.assertEqual([self.write(V1, b"m v=1 5").status for _ in range(2)], [204, 204])
        self.assertEqual(len(events), 1)

    def test_slow_disk(self) -> None:
        """When the disk takes too long, a client is not kept waiting."""
        self.keep.waits = True
        visitor = Visitor(self.site)
        with capturedLogs():
            visitor.send(post(WRITES[V1]))
            self.clock.advance(KEEP_SECONDS)
        (answer,) = visitor.answers()
        self.assertEqual(answer.status, 503)

    def test_a_fault(self) -> None:
        """A fault of ours costs a client an answer that makes it come back, and is in the log."""
        self.keep.keep = lambda lines, destination: fail(ZeroDivisionError())  # type: ignore[method-assign]
        self.assertEqual(self.write(V1, b"m v=1 5").status, 503)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        def raises(lines: bytes, destination: Destination) -> Deferred[bool]:
            raise ZeroDivisionError

        self.keep.keep = raises  # type: ignore[method-assign]
        self.assertEqual(self.write(V1, b"m v=1 5").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_gone(self) -> None:
        """Points of a client that has gone are kept all the same."""
        self.keep.waits = True
        visitor = Visitor(self.site)
        visitor.send(post(WRITES[V1]))
        visitor.transport.loseConnection()
        self.keep.go_on()
        self.assertEqual((self.keep.lines, visitor.received()), ([b"m v=1 5"], b""))

    def test_drained(self) -> None:
        """The agent can wait at its end for what is under way."""
        self.assertIsNone(self.successResultOf(self.listener.drained()))
        self.keep.waits = True
        Visitor(self.site).send(post(WRITES[V1]))
        drained = self.listener.drained()
        self.assertNoResult(drained)
        self.keep.go_on()
        self.assertIsNone(self.successResultOf(drained))


class PinnedTests(ListenerCase):
    """An agent whose operator has said where everything goes."""

    pinned = Destination("theirs")
    api = Api.V2

    def test_pinned(self) -> None:
        """All points go to that database, whatever clients ask for."""
        for dialect in WRITES:
            self.assertEqual(self.write(dialect, b"m v=1 5").status, 204)
        self.assertEqual({destination for destination, _ in self.keep.kept}, {Destination("theirs")})

    def test_api(self) -> None:
        """Where the vendor's InfluxDB knows unsigned integers, they are good."""
        self.assertEqual(self.write(V2, b"m v=1u 5").status, 204)


class QuestionTests(ListenerCase):
    """What clients ask before they write."""

    def test_greetings(self) -> None:
        """`/ping`, `/health` and CREATE DATABASE are answered as an InfluxDB does."""
        statement = b"/query?q=CREATE%20DATABASE%20telemetry"
        form = b"Content-Type: application/x-www-form-urlencoded\r\n"
        for sent, status in (
            (get(b"/ping"), 204),
            (get(b"/ping", b"HEAD"), 204),
            (get(b"/ping?verbose=true"), 200),
            (get(b"/health"), 200),
            (get(statement), 200),
            (post(statement, b""), 200),
            (post(b"/query", b"q=CREATE+DATABASE+%22telemetry%22", HOST + form), 200),
        ):
            self.assertEqual(self.ask(sent).status, status, sent)
        self.assertEqual(self.ask(get(b"/ping")).header("X-Influxdb-Version"), "1.8.10")

    def test_nothing_else(self) -> None:
        """Nothing else exists: no query, no other method, no other spelling, no tunnel."""
        for sent in (
            get(b"/query?q=SHOW%20DATABASES"),
            post(
                b"/query",
                b"q=CREATE+DATABASE+" + b"x" * 5000,
                HOST + b"Content-Type: application/x-www-form-urlencoded\r\n",
            ),
            get(b"/write?db=a"),
            get(b"/write?db=a", b"OPTIONS"),
            get(b"*", b"OPTIONS"),
            get(b"/", b"DELETE"),
            get(b"127.0.0.1:8086", b"CONNECT"),
            post(b"//write?db=a"),
            post(b"/write/?db=a"),
            post(b"/api/v2/delete?bucket=a"),
            get(b"/metrics"),
        ):
            answer = self.ask(sent)
            self.assertEqual((answer.status, answer.body), (404, b""), sent)
        self.assertEqual(self.keep.kept, [])

    def test_headers(self) -> None:
        """No answer tells what answers, nor the time, nor lets a page read it."""
        for sent in (get(b"/ping"), get(b"/x"), post(WRITES[V1]), get(b"/ping", headers=b"Host: evil.example\r\n")):
            names = {name.lower() for name, _ in self.ask(sent).headers}
            self.assertEqual(names & {"server", "date", "access-control-allow-origin", "set-cookie"}, set())


class PageTests(ListenerCase):
    """Pages in a browser, and clients that take the agent for a proxy."""

    def test_a_page_cannot_write(self) -> None:
        """What a page can send without asking is refused, text/plain too; so is its question for leave."""
        plain = b"Content-Type: text/plain\r\n"
        for headers in (
            HOST + plain + b"Origin: http://evil.example\r\n",
            HOST + plain + b"Origin: null\r\n",
            HOST + plain + b"Sec-Fetch-Site: cross-site\r\n",
            HOST + plain + b"Referer: http://evil.example/\r\n",
            b"Host: evil.example:8086\r\n" + plain,
        ):
            for target in WRITES.values():
                self.assertEqual(self.ask(post(target, headers=headers)).status, 403)
        preflight = HOST + b"Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
        answer = self.ask(get(WRITES[V1], b"OPTIONS", preflight))
        self.assertEqual(answer.status, 403)
        self.assertEqual(self.keep.kept, [])

    def test_too_large_from_a_page(self) -> None:
        """A page does not learn by the size of what it sends that there is an agent."""
        body = b"#" * (MAX_BODY_BYTES + 1)
        answer = self.ask(post(WRITES[V1], body, HOST + b"Origin: http://evil.example\r\n"))
        self.assertEqual(answer.status, 403)

    def test_proxy(self) -> None:
        """A client with a proxy in its settings writes to the onion address, and the agent takes it."""
        onion = ONION.encode()
        for target in (b"http://%b/write?db=telemetry" % onion, b"http://127.0.0.1:8086/write?db=telemetry"):
            host = target[7:].partition(b"/")[0]
            self.assertEqual(self.ask(post(target, headers=b"Host: %b\r\n" % host)).status, 204)
        self.assertEqual(
            self.ask(post(b"http://evil.example/write?db=a", headers=b"Host: evil.example\r\n")).status, 403
        )
        self.assertEqual(len(self.keep.kept), 2)


class BoundTests(ListenerCase):
    """What the door holds."""

    def test_large_bodies(self) -> None:
        """A body above the bound is read to its end, and refused in the client's dialect; the connection lasts."""
        for dialect, target in WRITES.items():
            visitor = Visitor(self.site)
            visitor.send(post(target, b"#" * (MAX_BODY_BYTES + 1)))
            visitor.send(post(target))
            first, second = visitor.answers()
            self.assertEqual((first.status, second.status), (413, 204), dialect.path)
            self.assertIsInstance(json.loads(first.body), dict)

    def test_endless_bodies(self) -> None:
        """A body that is larger still is refused before it has come, or when it goes on for ever."""
        visitor = Visitor(self.site)
        visitor.send(b"POST /write?db=a HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (HOST, LINGER_BYTES + 1))
        self.assertEqual(([answer.status for answer in visitor.answers()], visitor.closed), ([413], True))
        visitor = Visitor(self.site)
        visitor.send(b"POST /write?db=a HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST)
        piece = b"100000\r\n" + b"#" * 2**20 + b"\r\n"
        for _ in range((MAX_BODY_BYTES + LINGER_BYTES) // 2**20 + 2):
            visitor.send(piece)
        self.assertEqual(([answer.status for answer in visitor.answers()], visitor.closed), ([413], True))
        self.assertEqual(self.site.held_bytes, 0)

    def test_held(self) -> None:
        """What is held for all together is bounded; whoever comes then is told to come back."""
        self.keep.waits = True
        body = b"m v=1 5\n" * (MAX_BODY_BYTES // 8)
        visitors = [Visitor(self.site) for _ in range(MAX_HELD_BYTES // len(body) + 1)]
        for visitor in visitors:
            visitor.send(post(WRITES[V2], body))
        (answer,) = visitors[-1].answers()
        self.assertEqual((answer.status, json.loads(answer.body)["code"]), (503, "unavailable"))
        self.keep.go_on()
        self.assertEqual([one.answers()[0].status for one in visitors[:-1]], [204] * (len(visitors) - 1))
        self.assertEqual(self.site.held_bytes, 0)

    def test_held_by_one_that_goes(self) -> None:
        """Whoever goes before his body has come holds nothing."""
        visitor = Visitor(self.site)
        visitor.send(post(WRITES[V1], b"m v=1 5")[:-3])
        self.assertGreater(self.site.held_bytes, 0)
        visitor.transport.loseConnection()
        self.assertEqual((self.site.held_bytes, self.site.connections), (0, 0))

    def test_connections(self) -> None:
        """There are so many connections, and no more, until one is closed."""
        visitors = [Visitor(self.site) for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.site.buildProtocol(None))
        visitors[0].transport.loseConnection()
        self.assertIsNotNone(self.site.buildProtocol(None))

    def test_slow_requests(self) -> None:
        """A request that drips is cut off, however steadily; one that is whole may take its time."""
        dripping, waiting = Visitor(self.site), Visitor(self.site)
        self.keep.waits = True
        waiting.send(post(WRITES[V1]))
        dripping.send(post(WRITES[V1])[:-5])
        for _ in range(4):
            self.assertFalse(dripping.closed)
            self.clock.advance(REQUEST_SECONDS / 4)
            if not dripping.closed:
                dripping.send(b"m")
        self.assertEqual((dripping.closed, waiting.closed), (True, False))

    def test_idle(self) -> None:
        """A connection without a request is closed in the end; each request has its time anew."""
        visitor = Visitor(self.site)
        for _ in range(5):
            self.clock.advance(REQUEST_SECONDS - 1)
            visitor.send(post(WRITES[V1]))
            self.assertEqual([answer.status for answer in visitor.answers()], [204])
        self.clock.advance(REQUEST_SECONDS)
        self.assertTrue(visitor.closed)

    def test_nonsense(self) -> None:
        """What is no HTTP is refused, a length of thousands of digits included, and never a traceback."""
        for sent in (
            b"nonsense\r\n\r\n",
            post(WRITES[V1], headers=HOST + b"Content-Length: %b\r\n" % (b"1" * 5000)),
            b"POST /write HTTP/1.1\r\n%bContent-Length: -1\r\n\r\n" % HOST,
            b"POST /write HTTP/1.1\r\n%bTransfer-Encoding: zip\r\n\r\n" % HOST,
        ):
            visitor = Visitor(self.site)
            visitor.send(sent)
            self.assertTrue(visitor.received().startswith(b"HTTP/1.1 400 "), sent[:60])
            self.assertTrue(visitor.closed)

    @given(st.lists(_SENT, min_size=1, max_size=4))
    def test_anything(self, sent: list[bytes]) -> None:
        """Whatever is sent, in whatever pieces, is answered in HTTP or not at all, and nothing is a fault of ours."""
        visitor = Visitor(self.site)
        for piece in sent:
            if not visitor.closed:
                visitor.send(piece)
        received = visitor.received()
        self.assertTrue(not received or received.startswith(b"HTTP/1.1 "), received)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_silence(self) -> None:
        """Nothing of what clients send is logged."""
        with capturedLogs() as events:
            self.site.doStart()
            for sent in (
                post(WRITES[V1]),
                get(b"/x"),
                b"nonsense\r\n",
                get(b"/ping", headers=b"Host: evil.example\r\n"),
            ):
                visitor = Visitor(self.site)
                visitor.send(sent)
                self.clock.advance(REQUEST_SECONDS * 2)
            self.site.doStop()
        self.assertEqual(events, [])
