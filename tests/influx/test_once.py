"""A report is the same bytes for everybody, and an answer can do nothing but end it."""

from __future__ import annotations

from http.client import responses

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.far_side import Connection, FarSide
from torfluxd.boundaries import Batch, Destination, Fate, Reply
from torfluxd.errors import UpstreamError
from torfluxd.influx.once import ANSWER_SECONDS, OncePoster, request_bytes
from torfluxd.influx.post import Posted
from torfluxd.influx.short_answer import MAX_BODY_BYTES, MAX_HEAD_BYTES, ShortAnswer
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import parse_influxdb_url

LINES = b"cpu load=0.5 1\ncpu load=0.6 2\n"
BATCH = Batch(Destination("telemetry"), LINES, 2)
TIMEOUT_SECONDS = 190.0

REQUEST = (
    b"POST /write?db=telemetry&precision=ns HTTP/1.1\r\nHost: 127.0.0.1:8086\r\nConnection: close\r\n"
    b"Content-Length: 30\r\n\r\n" + LINES
)


class OnceCase(SynchronousTestCase):
    """An upstream for reports, and whoever answers them."""

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide()
        endpoint = TCP4ClientEndpoint(self.far.reactor, "127.0.0.1", 8086)
        self.upstream = HttpUpstream(OncePoster(endpoint, self.far.url, self.far.reactor), TIMEOUT_SECONDS)

    def sent(self) -> tuple[Deferred[Reply], Connection]:
        """Send a batch."""
        reply = self.upstream.send(BATCH)
        return reply, self.far.accept()

    def assert_ended(self, reply: Deferred[Reply], connection: Connection, fate: Fate, reason: str) -> None:
        """It ended so, the connection is cut, and nothing waits or connects any more."""
        ended = self.successResultOf(reply)
        self.assertEqual((ended.fate, ended.reason), (fate, reason))
        self.assertTrue(connection.is_closed)
        self.assertEqual((self.far.waiting, self.far.reactor.getDelayedCalls()), (0, []))


class RequestTests(OnceCase):
    """What goes out."""

    def test_template(self) -> None:
        """A report is these bytes, to the last one."""
        _, connection = self.sent()
        self.assertEqual(connection.received(), REQUEST)

    def test_same_again(self) -> None:
        """Each report has a connection of its own, and whatever an answer said, the next one is the same bytes."""
        for status, header in ((401, b"WWW-Authenticate: Basic"), (503, b"Retry-After: 1"), (204, b"Set-Cookie: id=1")):
            reply, connection = self.sent()
            self.assertEqual(connection.received(), REQUEST)
            connection.respond(status, [header, b"Connection: keep-alive"])
            self.successResultOf(reply)
            self.assertTrue(connection.is_closed)

    def test_prefix_and_port(self) -> None:
        """A path prefix and a port go where HTTP wants them."""
        url = parse_influxdb_url("http://gateway.example:8080/a/b")
        head = b"POST /a/b/write HTTP/1.1\r\nHost: gateway.example:8080\r\nConnection: close\r\n"
        self.assertEqual(request_bytes(url, b"/write", b""), head + b"Content-Length: 0\r\n\r\n")


class AnswerTests(OnceCase):
    """What comes back."""

    def test_fates(self) -> None:
        """An answer tells the fate of a report as it does elsewhere."""
        for answer, fate, reason in (
            (b"HTTP/1.1 204 No Content\r\n\r\n", Fate.DELIVERED, ""),
            (b"HTTP/1.0 204\r\n\r\n", Fate.DELIVERED, ""),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Fate.DELIVERED, ""),
            (b"HTTP/1.1 400 X\r\nx-influxdb-error: a\x00\r\nContent-Length: 0\r\n\r\n", Fate.REJECT, "400 Bad Request"),
            (b"HTTP/1.1 413 X\r\n\r\n", Fate.REJECT, f"413 {responses[413]}"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Fate.POSTPONE, "200 OK"),
            (b"HTTP/1.1 302 X\r\nLocation: http://x.example/\r\n\r\n", Fate.POSTPONE, "302 Found"),
            (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n", Fate.POSTPONE, "500 Internal Server Error"),
        ):
            reply, connection = self.sent()
            connection.say(answer)
            self.assert_ended(reply, connection, fate, reason and f"it answered {reason}")

    def test_missing_database(self) -> None:
        """What the vendor has to mend is said in words."""
        reply, connection = self.sent()
        said = b'{"error":"database not found: \\"telemetry\\""}'
        connection.respond(404, [b"Content-Type: application/json"], said)
        reason = "it answered 404 Not Found: the database does not exist"
        self.assert_ended(reply, connection, Fate.NO_DESTINATION, reason)

    def test_in_pieces(self) -> None:
        """An answer may come byte by byte."""
        reply, connection = self.sent()
        answer = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        for at in range(len(answer)):
            self.assertNoResult(reply)
            connection.say(answer[at : at + 1])
        self.assert_ended(reply, connection, Fate.REJECT, "it answered 400 Bad Request")

    def test_endless_head(self) -> None:
        """A head without end is given up after 4 KiB."""
        for piece in (b"X-A: " + b"a" * 1000 + b"\r\n", b"\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"):
            reply, connection = self.sent()
            connection.say(b"HTTP/1.1 103 Early Hints\r\n")
            for _ in range(MAX_HEAD_BYTES // len(piece) - 1):
                connection.say(piece)
            self.assertNoResult(reply)
            connection.say(piece * 2)
            reason = "there was no answer: what answers has no end of headers"
            self.assert_ended(reply, connection, Fate.POSTPONE, reason)

    def test_endless_body(self) -> None:
        """A body of 100 MB is not waited for: its head has said what there is to know."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 503 X\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 65536)
        self.assert_ended(reply, connection, Fate.POSTPONE, "it answered 503 Service Unavailable")

    def test_long_body(self) -> None:
        """No more of a body is held than the bound."""
        for length, held in ((MAX_BODY_BYTES, MAX_BODY_BYTES), (MAX_BODY_BYTES + 1, 0)):
            reply, connection = self.sent()
            connection.respond(503, [], b"x" * length)
            self.assertEqual(len(self.successResultOf(reply).body), held)

    def test_a_byte_a_minute(self) -> None:
        """An answer has 30 seconds from its first byte, however steadily it comes."""
        reply, connection = self.sent()
        self.far.reactor.advance(10)
        connection.say(b"H")
        self.far.reactor.advance(ANSWER_SECONDS - 1)
        connection.say(b"T")
        self.assertNoResult(reply)
        self.far.reactor.advance(1)
        self.assert_ended(
            reply, connection, Fate.POSTPONE, "there was no answer: what answers was not done within 30 seconds"
        )

    def test_no_answer(self) -> None:
        """Somebody who never says a word is given up, too; the connection's own time counts."""
        reply = self.upstream.send(BATCH)
        self.far.reactor.advance(100)
        connection = self.far.accept()
        self.far.reactor.advance(TIMEOUT_SECONDS - 100 - 1)
        self.assertNoResult(reply)
        self.far.reactor.advance(1)
        self.assert_ended(reply, connection, Fate.POSTPONE, "there was no answer within 190 seconds")

    def test_cut(self) -> None:
        """A connection that is cut, wherever in the answer, leaves the report to be sent again."""
        for said in (b"", b"HTTP/1.1 204", b"HTTP/1.1 400 X\r\nContent-Length: 3\r\n\r\n{}"):
            reply, connection = self.sent()
            connection.say(said)
            connection.hang_up()
            reason = "there was no answer: Connection was closed cleanly."
            self.assert_ended(reply, connection, Fate.POSTPONE, reason)

    def test_refused(self) -> None:
        """A connection that cannot be made is no answer."""
        reply = self.upstream.send(BATCH)
        self.far.refuse()
        reason = "there was no answer: Connection was refused by other side."
        self.assertEqual(self.successResultOf(reply), Reply(Fate.POSTPONE, reason))

    def test_nonsense(self) -> None:
        """What answers is no HTTP; not even its words come into the log."""
        for nonsense in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 abc d\r\n\r\n", b"HTTP/1.1 204 X\r\na b: c\r\n\r\n"):
            with capturedLogs() as events:
                reply, connection = self.sent()
                connection.say(nonsense)
            reason = "there was no answer: what answers does not speak HTTP"
            self.assert_ended(reply, connection, Fate.POSTPONE, reason)
            self.assertEqual(events, [])

    def test_cancel(self) -> None:
        """Cancelling cuts the connection."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 ")
        reply.cancel()
        self.failureResultOf(reply, CancelledError)
        self.assertTrue(connection.is_closed)
        connection.say(b"204 No Content\r\n\r\n")
        connection.protocol.connectionLost(error.ConnectionDone())
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])


class ReadingTests(SynchronousTestCase):
    """The reader of answers."""

    @given(st.lists(st.binary(max_size=6000), max_size=4), st.sampled_from([b"", b"HTTP/1.1 400 X\r\n"]))
    def test_any_bytes(self, pieces: list[bytes], first: bytes) -> None:
        """Whatever bytes come, it wants more, gives an answer within the bounds, or refuses in words of ours."""
        answer = ShortAnswer()
        for piece in [first, *pieces]:
            try:
                posted = answer.read(piece)
            except UpstreamError as error:
                self.assertIn("what answers", str(error))
                return
            if posted is not None:
                self.assertLessEqual(len(posted.body), MAX_BODY_BYTES)
                return

    def test_doubtful_lengths(self) -> None:
        """A body whose length is told twice, or not in digits, is not read."""
        for lengths in (b"Content-Length: 2\r\nContent-Length: 2", b"Content-Length: +2", b"Content-Length: 0x2"):
            posted = ShortAnswer().read(b"HTTP/1.1 400 X\r\n" + lengths + b"\r\n\r\n{}")
            assert isinstance(posted, Posted)
            self.assertEqual(posted.body, b"")
