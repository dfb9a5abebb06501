"""A writer hears the truth about his lines, and nothing about the vendor's troubles."""

from __future__ import annotations

import gzip
import json

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.far_side import Connection, FarSide
from torfluxd.boundaries import Answer, Destination
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.rules import MAX_BODY_BYTES
from torfluxd.gateway.safekeeping import WRITES_AT_ONCE, Safekeeping
from torfluxd.gateway.writes import Writes
from torfluxd.influx.agent import IDLE_CONNECTIONS
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.stamp import Stamper
from torfluxd.influx.upstream import ANSWER_SECONDS, HttpUpstream

LINES = b"cpu load=0.5 1\n"
SENT = b"cpu load=0.5 1000000000"
STAMP = 1 << 60
WRITE = Write(V1, Destination("telemetry", "week"), "s")
JSON = b"Content-Type: application/json"
STORED = Answer(204)


class WritesCase(SynchronousTestCase):
    """Writes, and the server that stands for InfluxDB."""

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide()
        upstream = HttpUpstream(AgentPoster(self.far.agent, self.far.url, self.far.reactor))
        safekeeping = Safekeeping(upstream, Homes(), Complaints(self.far.reactor))
        self.writes = Writes(safekeeping, self.far.reactor, Stamper(0, lambda: STAMP))

    def write(self, body: bytes = LINES, encoding: bytes | None = None) -> Deferred[Answer]:
        """Write as a stranger does."""
        return self.writes.write(WRITE, body, encoding, "a writer")

    def written(self) -> tuple[Deferred[Answer], Connection]:
        """Write over a new connection."""
        answer = self.write()
        return answer, self.far.accept()

    def answer(self, status: int, *headers: bytes, body: bytes = b"") -> Answer:
        """What a writer hears when InfluxDB answers like this."""
        answer, connection = self.written()
        connection.respond(status, [*headers, b"Connection: close"], body)
        return self.successResultOf(answer)

    def assert_unavailable(self, answer: Answer) -> None:
        """The writer is told to come back, in the words that are always the same."""
        self.assertEqual(answer.status, 503)
        self.assertEqual(
            dict(answer.headers),
            {
                b"Content-Type": b"application/json",
                b"X-Influxdb-Error": b"the database takes no writes at the moment",
                b"Retry-After": b"30",
            },
        )
        self.assertEqual(answer.body, b'{"error":"the database takes no writes at the moment"}\n')


class TruthTests(WritesCase):
    """InfluxDB's answer about the lines is the writer's answer."""

    def test_request(self) -> None:
        """What was understood reaches InfluxDB, and nothing else that the writer sent."""
        _, connection = self.written()
        self.assertEqual(
            connection.received(),
            b"POST /write?db=telemetry&rp=week&precision=ns HTTP/1.1\r\nContent-Length: 23\r\n"
            b"Host: 127.0.0.1:8086\r\n\r\n" + SENT,
        )

    def test_stored(self) -> None:
        """What is stored is answered with 204, and nothing of InfluxDB's version or ids."""
        self.assertEqual(self.answer(204, b"X-Influxdb-Version: 1.6.7", b"Request-Id: 1", JSON), STORED)

    def test_refused(self) -> None:
        """A refusal keeps its status, its body and its error header."""
        body = b'{"error":"unable to parse \'x\': missing fields"}\n'
        error = b"unable to parse 'x': missing fields"
        answer = self.answer(400, JSON, b"X-Influxdb-Error: " + error, b"X-Influxdb-Version: 1.6.7", body=body)
        self.assertEqual((answer.status, answer.body), (400, body))
        self.assertEqual(dict(answer.headers), {b"Content-Type": b"application/json", b"X-Influxdb-Error": error})

    def test_unknown_retention_policy(self) -> None:
        """A retention policy that does not exist is the writer's affair."""
        body = b'{"error":"retention policy not found: week"}\n'
        answer = self.answer(500, JSON, b"X-Influxdb-Error: retention policy not found: week", body=body)
        self.assertEqual((answer.status, answer.body), (500, body))

    def test_made_up_database(self) -> None:
        """A database that was never written to was made up by whoever asks for it, and he hears that."""
        body = b'{"error":"database not found: \\"telemetry\\""}\n'
        error = b'X-Influxdb-Error: database not found: "telemetry"'
        answer = self.answer(404, JSON, error, body=body)
        self.assertEqual((answer.status, answer.body), (404, body))

    def test_endless_refusal(self) -> None:
        """Of a refusal too long to hold, the writer gets as much as stands in the header, as whole JSON."""
        error = b"unable to parse 'x\xff': " + b"y" * 900
        answer = self.answer(400, JSON, b"X-Influxdb-Error: " + error, body=b"{" * 100_000)
        self.assertEqual(answer.status, 400)
        self.assertEqual(json.loads(answer.body), {"error": error.decode("utf-8", "replace")})

    def test_too_large_for_influxdb(self) -> None:
        """A write that InfluxDB finds too large is too large, whoever in front of it says so."""
        for headers in ((JSON,), (b"Content-Type: text/html", b"Server: nginx")):
            answer = self.answer(413, *headers, body=b"<html>nginx</html>")
            self.assertEqual((answer.status, answer.body), (413, b'{"error":"Request Entity Too Large"}\n'))


class DiscretionTests(WritesCase):
    """The vendor's troubles are not the writer's."""

    def test_answers_that_are_no_answer(self) -> None:
        """Whatever is wrong with InfluxDB, its credentials, its databases, or a proxy before it, sounds the same."""
        for status in (200, 301, 400, 401, 403, 404, 429, 500, 502, 503):
            answer = self.answer(status, b"Server: nginx/1.2", b"Content-Type: text/html", body=b"10.0.0.7 is down")
            self.assert_unavailable(answer)

    def test_database_that_is_gone(self) -> None:
        """A database that was written to before was dropped, which is the vendor's trouble."""
        self.assertEqual(self.answer(204), STORED)
        error = b'X-Influxdb-Error: database not found: "telemetry"'
        self.assert_unavailable(self.answer(404, JSON, error, body=b'{"error":"database not found"}'))

    def test_no_connection(self) -> None:
        """InfluxDB is not there."""
        answer = self.write()
        self.far.refuse()
        self.assert_unavailable(self.successResultOf(answer))

    def test_no_answer(self) -> None:
        """InfluxDB is there, and silent."""
        answer, _ = self.written()
        self.far.reactor.advance(ANSWER_SECONDS)
        self.assert_unavailable(self.successResultOf(answer))

    def test_operator(self) -> None:
        """The operator learns the cause; what the writer sent stays out of the log."""
        with capturedLogs() as events:
            self.answer(401)
        [event] = events
        self.assertEqual(event["reason"], "it answered 401 Unauthorized")
        self.assertNotIn("telemetry", repr(event))

    def test_quiet_operation(self) -> None:
        """Writes that InfluxDB answers are not logged."""
        with capturedLogs() as events:
            self.answer(204)
            self.answer(400, JSON, body=b"{}")
        self.assertEqual(events, [])


class GzipTests(WritesCase):
    """Gzip is taken, and never handed on."""

    def test_inflated(self) -> None:
        """InfluxDB gets the lines as they are."""
        for encoding in (b"gzip", b"GZIP", b"x-gzip"):
            self.write(gzip.compress(LINES), encoding)
            connection = self.far.accept()
            head, _, body = connection.received().partition(b"\r\n\r\n")
            connection.respond(204, [b"Connection: close"])
            self.assertEqual(body, SENT)
            self.assertNotIn(b"encoding", head.lower())

    def test_other_encodings(self) -> None:
        """What is called anything else are lines as far as InfluxDB is concerned."""
        for encoding in (b"identity", b"deflate", b"br", b"gzip, gzip", b""):
            self.write(LINES, encoding)
            connection = self.far.accept()
            self.assertTrue(connection.received().endswith(SENT))
            connection.respond(204, [b"Connection: close"])

    def assert_refused(self, body: bytes, status: int, error: str) -> None:
        """The body is refused in InfluxDB's words, and InfluxDB never hears of it."""
        answer = self.successResultOf(self.write(body, b"gzip"))
        self.assertEqual((answer.status, json.loads(answer.body)), (status, {"error": error}))
        self.assertEqual(self.far.waiting, 0)

    def test_truncated(self) -> None:
        """A body that was cut."""
        self.assert_refused(gzip.compress(LINES)[:-1], 400, "unexpected EOF")

    def test_not_gzip(self) -> None:
        """A body that is no gzip."""
        self.assert_refused(LINES, 400, "gzip: invalid data")

    def test_bomb(self) -> None:
        """A body that becomes too large; the largest one that does not is written."""
        largest = LINES + b"#" * (MAX_BODY_BYTES - len(LINES))
        self.assert_refused(gzip.compress(largest + b"#"), 413, "Request Entity Too Large")
        self.write(gzip.compress(largest), b"gzip")
        self.assertTrue(self.far.accept().received().endswith(SENT))


class LinesTests(WritesCase):
    """Each line is checked, and has a timestamp of its own, before it travels."""

    def sent(self, body: bytes) -> bytes:
        """What reaches InfluxDB of a body."""
        self.write(body)
        return self.far.accept().received().partition(b"\r\n\r\n")[2]

    def test_stamped(self) -> None:
        """Lines without a time share one that is ours, so that to send them again changes nothing."""
        self.assertEqual(self.sent(b"a f=1\nb f=2 7\nc f=3"), b"a f=1 %d\nb f=2 7000000000\nc f=3 %d" % (STAMP, STAMP))

    def test_nothing_to_write(self) -> None:
        """A body without lines is stored, as InfluxDB says; nothing reaches it."""
        for body in (b"", b"\n", b"# a comment\n"):
            self.assertEqual(self.successResultOf(self.write(body)), STORED)
        self.assertEqual(self.far.waiting, 0)

    def test_all_bad(self) -> None:
        """A body of bad lines alone is refused in InfluxDB's words, and InfluxDB never hears of it."""
        answer = self.successResultOf(self.write(b"garbage\nm f="))
        self.assertEqual(answer.status, 400)
        self.assertEqual(
            json.loads(answer.body)["error"],
            "unable to parse 'garbage': missing fields\nunable to parse 'm f=': missing field value",
        )
        error = b"unable to parse 'garbage': missing fields unable to parse 'm f=': missing field value"
        self.assertEqual(dict(answer.headers)[b"X-Influxdb-Error"], error)
        self.assertEqual(self.far.waiting, 0)

    def test_some_bad(self) -> None:
        """The good lines of a body are stored, and its writer is told of the bad ones."""
        answer = self.write(b"garbage\n" + LINES)
        connection = self.far.accept()
        self.assertTrue(connection.received().endswith(b"\r\n\r\n" + SENT))
        connection.respond(204)
        told = self.successResultOf(answer)
        error = "partial write: unable to parse 'garbage': missing fields dropped=0"
        self.assertEqual((told.status, json.loads(told.body)), (400, {"error": error}))

    def test_control_characters(self) -> None:
        """What a stranger writes into a bad line does not reach a header."""
        answer = self.successResultOf(self.write(b"m \x00\r\x7f=1"))
        self.assertNotRegex(dict(answer.headers)[b"X-Influxdb-Error"], rb"[\x00-\x1f\x7f]")


class CompanyTests(WritesCase):
    """Writes for one destination travel together."""

    def test_joined(self) -> None:
        """Those who come while a write is in flight travel in the next one, and all are answered by it."""
        first, connection = self.written()
        others = [self.write(b"cpu load=%d" % number) for number in range(20)]
        connection.received()
        connection.respond(204)
        self.assertEqual(self.successResultOf(first), STORED)
        self.assertEqual(connection.received().count(b"cpu load="), 20)
        connection.respond(204)
        self.assertEqual([self.successResultOf(other) for other in others], [STORED] * 20)

    def test_every_turn_has_a_connection(self) -> None:
        """As many connections are kept as there are turns, so that under load none is opened and closed for a write."""
        self.assertEqual(WRITES_AT_ONCE, IDLE_CONNECTIONS)

    def test_many_destinations(self) -> None:
        """However many destinations there are, InfluxDB gets a few writes at a time, and every one gets its turn."""
        for number in range(WRITES_AT_ONCE + 3):
            self.writes.write(Write(V1, Destination(f"db{number}")), LINES, None, "a writer")
        self.assertEqual(self.far.waiting, WRITES_AT_ONCE)
        connections = [self.far.accept() for _ in range(WRITES_AT_ONCE)]
        connections[0].received()
        connections[0].respond(204)
        self.assertIn(b"POST", connections[0].received())
        connections[1].hang_up()
        self.assertEqual(self.far.waiting, 1)

    def test_writer_goes(self) -> None:
        """A write whose writer has gone is made all the same, and nobody is disturbed."""
        answer, connection = self.written()
        other = self.write()
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertFalse(connection.is_closed)
        connection.received()
        connection.respond(204)
        self.assertIn(b"POST", connection.received())
        connection.respond(204)
        self.assertEqual(self.successResultOf(other), STORED)
