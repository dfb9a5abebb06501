"""A batch is sent once, in the same bytes for everybody, and whatever comes back means something."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.far_side import Connection, FarSide
from torfluxd.boundaries import Batch, Destination, Fate, Reply
from torfluxd.influx.account import Account
from torfluxd.influx.api import Api
from torfluxd.influx.credential import Credential, CredentialOptions
from torfluxd.influx.post import MAX_ANSWER_BYTES, AgentPoster, Poster
from torfluxd.influx.upstream import ANSWER_SECONDS, HttpUpstream

LINES = b"cpu load=0.5 1\ncpu load=0.6 2\n"
BATCH = Batch(Destination("telemetry"), LINES, 2)
JSON = b"Content-Type: application/json"


class UpstreamCase(SynchronousTestCase):
    """An upstream, and the server that it sends to."""

    address = "127.0.0.1:8086"

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide(self.address)
        self.poster = self.make_poster()
        self.upstream = HttpUpstream(self.poster)

    def make_poster(self) -> Poster:
        """What carries the requests."""
        return AgentPoster(self.far.agent, self.far.url, self.far.reactor)

    def sent(self, batch: Batch = BATCH) -> tuple[Deferred[Reply], Connection]:
        """Send a batch over a new connection."""
        reply = self.upstream.send(batch)
        return reply, self.far.accept()

    def reply(self, status: int, *headers: bytes, body: bytes = b"") -> Reply:
        """The reply when the server answers like this."""
        reply, connection = self.sent()
        connection.respond(status, headers, body)
        return self.successResultOf(reply)

    def assert_postponed(self, reply: Deferred[Reply], reason: str) -> None:
        """There was no answer, for this reason."""
        self.assertEqual(self.successResultOf(reply), Reply(Fate.POSTPONE, reason))


class WireTests(UpstreamCase):
    """What goes out is the same bytes for everybody: nothing in it tells one host, user or release from another."""

    TEMPLATE = b"POST /write?db=telemetry&precision=ns HTTP/1.1\r\nContent-Length: 30\r\nHost: %b\r\n\r\n" + LINES

    def test_request(self) -> None:
        """A request has a length, a host, and no other header."""
        _, connection = self.sent()
        self.assertEqual(connection.received(), self.TEMPLATE % b"127.0.0.1:8086")

    def test_second_request(self) -> None:
        """The next request is the same, whatever the answer to the first one said."""
        first, connection = self.sent()
        connection.received()
        connection.respond(
            400, [JSON, b"Set-Cookie: id=1; Path=/", b"Set-Cookie2: x=1", b"Set-Cookie: \xff\xfe"], b"{}"
        )
        self.assertEqual(self.successResultOf(first).fate, Fate.REJECT)
        self.upstream.send(BATCH)
        self.assertEqual(connection.received(), self.TEMPLATE % b"127.0.0.1:8086")

    def test_escapes(self) -> None:
        """Database and retention policy arrive as what they are."""
        _, connection = self.sent(Batch(Destination("a b/ü&;=%", "r+"), b"m f=1 1", 1))
        target = connection.received().split()[1]
        self.assertEqual(target, b"/write?db=a%20b%2F%C3%BC%26%3B%3D%25&rp=r%2B&precision=ns")

    def test_raw_target(self) -> None:
        """A target is sent as it is."""
        for target in (b"/write?db=%2f%2F+a;b&&db", b"/a%7eb/%3B;c?d=e?f", b"//write"):
            self.poster.post(target, (), b"", 1)
            self.assertEqual(self.far.accept().received().split()[1], target)

    def test_no_lines(self) -> None:
        """A write without lines is a write."""
        _, connection = self.sent(Batch(Destination("d"), b"", 0))
        self.assertIn(b"\r\nContent-Length: 0\r\n", connection.received())

    def test_redirects_are_not_followed(self) -> None:
        """A redirect is an answer like another: nothing is sent anywhere else."""
        for status in (301, 302, 303, 307, 308):
            reply, connection = self.sent()
            connection.received()
            connection.respond(status, [b"Location: http://elsewhere.example/write"])
            self.assertEqual(self.successResultOf(reply).fate, Fate.POSTPONE)
            self.assertEqual((self.far.waiting, connection.received()), (0, b""))
            connection.hang_up()

    def test_nothing_is_sent_twice(self) -> None:
        """When a connection dies, the batch on it is not sent again behind the caller's back."""
        first, connection = self.sent()
        connection.respond(204)
        self.successResultOf(first)
        second = self.upstream.send(BATCH)
        connection.hang_up()
        self.assert_postponed(second, "there was no answer: Connection was closed cleanly.")
        self.assertEqual(self.far.waiting, 0)


class Ipv6WireTests(WireTests):
    """The same, to an IPv6 address."""

    address = "[::1]:8086"
    TEMPLATE = WireTests.TEMPLATE.replace(b"%b", b"[::1]:8086").replace(b"%", b"%%") + b"%.0b"


class PrefixWireTests(UpstreamCase):
    """With a prefix."""

    address = "http://influx.example/insert/0%2f"

    def test_prefix(self) -> None:
        """The prefix of the URL stands before the path, as it was written."""
        _, connection = self.sent()
        request = connection.received()
        self.assertEqual(request.split()[1], b"/insert/0%2f/write?db=telemetry&precision=ns")
        self.assertIn(b"\r\nHost: influx.example\r\n", request)


class AnswerTests(UpstreamCase):
    """Answers are read whole, within bounds."""

    def test_delivered(self) -> None:
        """204 means stored."""
        self.assertEqual(self.reply(204), Reply(Fate.DELIVERED, status=204))

    def test_refused(self) -> None:
        """A refusal comes with all that the writer may see."""
        body = b'{"error":"unable to parse"}\n'
        reply = self.reply(400, JSON, b"X-Influxdb-Error: unable to parse", b"X-Influxdb-Version: 1.6.7", body=body)
        shown = ((b"Content-Type", b"application/json"), (b"X-Influxdb-Error", b"unable to parse"))
        self.assertEqual(reply, Reply(Fate.REJECT, "it answered 400 Bad Request", 400, shown, body))

    def test_chunked(self) -> None:
        """An answer in chunks is one answer."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 400 Bad\r\n" + JSON + b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        self.assertNoResult(reply)
        connection.say(b"1\r\n}\r\n0\r\n\r\n")
        self.assertEqual(self.successResultOf(reply).body, b"{}")

    def test_until_close(self) -> None:
        """An answer that ends with its connection is one too."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.0 400 Bad\r\n" + JSON + b"\r\n\r\n{}")
        self.assertNoResult(reply)
        connection.hang_up()
        self.assertEqual(self.successResultOf(reply).body, b"{}")

    def test_longest_answer(self) -> None:
        """An answer of the greatest length is held."""
        reply = self.reply(400, JSON, body=b"x" * MAX_ANSWER_BYTES)
        self.assertEqual((reply.fate, len(reply.body)), (Fate.REJECT, MAX_ANSWER_BYTES))

    def test_too_long_answer(self) -> None:
        """Of a longer one the meaning counts, nothing of it is held, and nobody listens to the rest."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 400 Bad\r\n" + JSON + b"\r\nX-Influxdb-Error: why\r\n\r\n")
        connection.say(b"x" * MAX_ANSWER_BYTES)
        self.assertNoResult(reply)
        connection.say(b"x")
        result = self.successResultOf(reply)
        self.assertEqual((result.fate, result.body), (Fate.REJECT, b""))
        self.assertIn((b"X-Influxdb-Error", b"why"), result.headers)
        self.assertTrue(connection.is_closed)
        connection.say(b"x" * 100)
        connection.hang_up()

    def test_compressed_answer(self) -> None:
        """An answer that nobody asked to be compressed is not inflated: it may be a bomb."""
        bomb = gzip.compress(bytes(30_000_000))
        reply = self.reply(400, JSON, b"Content-Encoding: gzip", body=bomb)
        self.assertEqual(reply.body, bomb)

    def test_unprintable_error(self) -> None:
        """A NUL, which influxd repeats in a header, is not passed on: no header can hold it."""
        reply = self.reply(400, b"X-Influxdb-Error: unable to parse 'a\0b'")
        self.assertEqual(reply.headers, ((b"X-Influxdb-Error", b"unable to parse 'a b'"),))


class NoAnswerTests(UpstreamCase):
    """Without an answer, a batch is postponed, with a reason that a person can read."""

    def test_refused(self) -> None:
        """InfluxDB is not there."""
        reply = self.upstream.send(BATCH)
        self.far.refuse()
        self.assert_postponed(reply, "there was no answer: Connection was refused by other side.")

    def test_cut(self) -> None:
        """The connection is cut before the answer."""
        reply, connection = self.sent()
        connection.hang_up()
        self.assert_postponed(reply, "there was no answer: Connection was closed cleanly.")

    def test_cut_within_the_answer(self) -> None:
        """The connection is cut within the answer, in its head and in its body."""
        for start in (b"HTTP/1.1 204 No", b"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\n{}"):
            reply, connection = self.sent()
            connection.say(start)
            connection.hang_up()
            self.assert_postponed(reply, "there was no answer: Connection was closed cleanly.")

    def test_nonsense(self) -> None:
        """What answers is not HTTP; not even its words come into the log."""
        for nonsense in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc d\r\n\r\n", LINES):
            reply, connection = self.sent()
            connection.say(nonsense)
            result = self.successResultOf(reply)
            self.assertEqual(
                (result.fate, result.reason), (Fate.POSTPONE, "there was no answer that can be read: ParseError")
            )
            self.assertTrue(connection.is_closed)

    def test_deadline_to_connect(self) -> None:
        """Nobody takes the connection."""
        reply = self.upstream.send(BATCH)
        self.far.reactor.advance(ANSWER_SECONDS)
        self.assert_postponed(reply, "there was no answer within 30 seconds")

    def test_deadline_for_the_answer(self) -> None:
        """InfluxDB takes the batch, and says nothing."""
        reply, connection = self.sent()
        self.far.reactor.advance(ANSWER_SECONDS - 0.1)
        self.assertNoResult(reply)
        self.far.reactor.advance(0.1)
        self.assert_postponed(reply, "there was no answer within 30 seconds")
        self.assertTrue(connection.is_closed)

    def test_deadline_within_the_answer(self) -> None:
        """A server that sends a byte a second gains no time by it."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(29):
            self.far.reactor.advance(1)
            connection.say(b"x")
        self.assertNoResult(reply)
        self.far.reactor.advance(1)
        self.assert_postponed(reply, "there was no answer within 30 seconds")
        self.assertTrue(connection.is_closed)
        connection.say(b"x")
        connection.hang_up()

    def test_deadline_can_be_chosen(self) -> None:
        """Through Tor, an answer takes longer."""
        upstream = HttpUpstream(self.poster, timeout_seconds=90)
        reply = upstream.send(BATCH)
        self.far.accept()
        self.far.reactor.advance(89)
        self.assertNoResult(reply)
        self.far.reactor.advance(1)
        self.assert_postponed(reply, "there was no answer within 90 seconds")

    def test_no_timer_remains(self) -> None:
        """After an answer, no deadline is left to fire."""
        reply, connection = self.sent()
        connection.respond(400, [b"Connection: close"])
        self.successResultOf(reply)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])

    def test_nothing_of_the_batch_is_logged(self) -> None:
        """No ordinary failure logs anything, least of all the batch."""
        with capturedLogs() as events:
            self.test_nonsense()
            self.test_deadline_within_the_answer()
        self.assertEqual(events, [])


class CancelTests(UpstreamCase):
    """A send can be cancelled at any time, and leaves nothing open."""

    def assert_cancelled(self, reply: Deferred[Reply]) -> None:
        """Cancelling fails with CancelledError and nothing else, and leaves no timer."""
        reply.cancel()
        self.failureResultOf(reply, CancelledError)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])

    def test_while_connecting(self) -> None:
        """Before the connection is open."""
        self.assert_cancelled(self.upstream.send(BATCH))

    def test_while_waiting(self) -> None:
        """Before the answer."""
        reply, connection = self.sent()
        self.assert_cancelled(reply)
        self.assertTrue(connection.transport.disconnected)
        connection.hang_up()

    def test_within_the_answer(self) -> None:
        """Within the answer."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\nx")
        self.assert_cancelled(reply)
        self.assertTrue(connection.is_closed)
        connection.say(b"x")
        connection.hang_up()


class AccountCase(SynchronousTestCase):
    """An upstream that is the vendor's, in one API or another, with a token."""

    def setUp(self) -> None:
        """Write the token into a file."""
        self.token = Path(self.enterContext(TemporaryDirectory())) / "token"
        self.token.touch(0o600)
        self.token.write_text("s3cr3t")

    def begin(self, api: Api, options: CredentialOptions | None = None) -> None:
        """Make the upstream; by default with the token."""
        self.far = FarSide()
        self.credential = Credential(options or CredentialOptions(self.token), api, {}, self.far.reactor)
        self.credential.load()
        account = Account(self.credential, api, "vendor" if api is Api.V2 else "")
        poster = AgentPoster(self.far.agent, self.far.url, self.far.reactor)
        self.upstream = HttpUpstream(poster, account=account)

    def reply(self, status: int, *headers: bytes, body: bytes = b"") -> Reply:
        """The reply when the server answers like this."""
        reply = self.upstream.send(BATCH)
        connection = self.far.accept()
        self.asked = connection.received()
        connection.respond(status, [*headers, b"Connection: close"], body)
        return self.successResultOf(reply)


class AccountTests(AccountCase):
    """What goes out in the vendor's name."""

    def test_requests(self) -> None:
        """Each API is asked at its own path, and shown the token as it wants it."""
        for api, target, scheme in (
            (Api.V1, b"/write?db=telemetry&precision=ns", b"Token"),
            (Api.V2, b"/api/v2/write?org=vendor&bucket=telemetry&precision=ns", b"Token"),
            (Api.V3, b"/api/v3/write_lp?db=telemetry&precision=nanosecond&accept_partial=true", b"Bearer"),
        ):
            self.begin(api)
            self.assertEqual(self.reply(204), Reply(Fate.DELIVERED, status=204))
            self.assertEqual(
                self.asked,
                b"POST %b HTTP/1.1\r\nContent-Length: 30\r\nAuthorization: %b s3cr3t\r\n"
                b"Host: 127.0.0.1:8086\r\n\r\n" % (target, scheme) + LINES,
            )

    def test_without_credential(self) -> None:
        """A vendor who gave none shows none."""
        self.begin(Api.V1, CredentialOptions())
        self.reply(204)
        self.assertEqual(self.asked, WireTests.TEMPLATE % b"127.0.0.1:8086")

    def test_rotated(self) -> None:
        """A token that was rotated is used with the next attempt, without a restart."""
        for status in (401, 403):
            self.token.write_text("s3cr3t")
            self.begin(Api.V2)
            self.token.write_text("n3w")
            self.assertEqual(self.reply(status).fate, Fate.POSTPONE)
            self.assertIn(b"Token s3cr3t", self.asked)
            self.assertEqual(self.reply(204).fate, Fate.DELIVERED)
            self.assertIn(b"Token n3w", self.asked)

    def test_other_faults_leave_the_credential_alone(self) -> None:
        """A token is not read again for an outage."""
        self.begin(Api.V2)
        self.token.write_text("n3w")
        self.reply(503)
        self.reply(204)
        self.assertIn(b"Token s3cr3t", self.asked)

    def test_nothing_is_logged(self) -> None:
        """The token is in no log, no reply and no failure."""
        self.begin(Api.V1)
        with capturedLogs() as events:
            replies = [self.reply(status, body=b"s3cr3t") for status in (204, 401, 500)]
            lost = self.upstream.send(BATCH)
            self.far.refuse()
            replies.append(self.successResultOf(lost))
        self.assertEqual(events, [])
        self.assertNotIn("s3cr3t", repr(replies) + repr(self.upstream) + "".join(reply.reason for reply in replies))


class CureTests(AccountCase):
    """What the operator reads says what to do."""

    def reason(self, status: int, *headers: bytes, body: bytes = b"") -> str:
        """The reason of a reply that is postponed."""
        reply = self.reply(status, *headers, body=body)
        self.assertEqual(reply.fate, Fate.POSTPONE)
        return reply.reason

    def test_refused_credential(self) -> None:
        """A credential that is refused is named by its option and its file."""
        self.begin(Api.V1)
        self.assertEqual(
            self.reason(401, JSON, body=b'{"error":"authorization failed"}'),
            "it answered 401 Unauthorized: the credential was refused: write a valid one into --influxdb-token-file "
            f"{self.token}, which is then read again by itself",
        )

    def test_missing_credential(self) -> None:
        """Where none is given, the options that give one are named."""
        self.begin(Api.V1, CredentialOptions())
        self.assertIn("--influxdb-token-file", self.reason(401))

    def test_not_allowed(self) -> None:
        """A credential that may not write there is told apart from one that is no good."""
        self.begin(Api.V1)
        self.assertIn("may not write there", self.reason(403))

    def test_redirect(self) -> None:
        """A redirect is not followed, and the option that makes it needless is named."""
        self.begin(Api.V1)
        self.assertIn("give --influxdb the URL", self.reason(307, b"Location: https://s3cr3t.example/"))

    def test_path(self) -> None:
        """An InfluxDB of another generation does not know the path."""
        self.begin(Api.V2)
        self.assertIn("--influxdb-api v2", self.reason(404, body=b"404 page not found\n"))

    def test_organisation(self) -> None:
        """So is an organisation that does not exist."""
        self.begin(Api.V2)
        body = b'{"code":"not found","message":"organization name \\"vendor\\" not found"}'
        self.assertEqual(
            self.reason(404, JSON, body=body),
            "it answered 404 Not Found: the organisation does not exist: see --influxdb-org",
        )

    def test_nothing_to_say(self) -> None:
        """Where nobody knows a cure, none is made up."""
        self.begin(Api.V1)
        self.assertEqual(self.reason(503), "it answered 503 Service Unavailable")

    def test_strangers_gateway(self) -> None:
        """Who writes to somebody else's gateway is not told of options that he has not."""
        far = FarSide()
        reply = HttpUpstream(AgentPoster(far.agent, far.url, far.reactor)).send(BATCH)
        far.accept().respond(401)
        self.assertEqual(self.successResultOf(reply).reason, "it answered 401 Unauthorized")
