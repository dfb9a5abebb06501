"""The short way to InfluxDB keeps every promise of the long one, and those about its connections."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.influx import test_upstream as long_way
from tests.influx.far_side import Connection
from torfluxd.boundaries import Reply
from torfluxd.influx.agent import IDLE_CONNECTIONS, IDLE_SECONDS, influxdb_endpoint
from torfluxd.influx.direct import MAX_ANSWER_HEAD_BYTES, DirectPoster
from torfluxd.influx.upstream import ANSWER_SECONDS

BATCH = long_way.BATCH


class DirectCase(long_way.UpstreamCase):
    """The same upstream, by the short way."""

    poster: DirectPoster

    def make_poster(self) -> DirectPoster:
        """What carries the requests."""
        return DirectPoster(influxdb_endpoint(self.far.reactor, self.far.url), self.far.url, self.far.reactor)


class DirectWireTests(DirectCase, long_way.WireTests):
    """What goes out."""

    TEMPLATE = (
        b"POST /write?db=telemetry&precision=ns HTTP/1.1\r\nHost: %b\r\nContent-Length: 30\r\n\r\n" + long_way.LINES
    )


class DirectIpv6WireTests(DirectCase, long_way.Ipv6WireTests):
    """To an IPv6 address."""

    TEMPLATE = DirectWireTests.TEMPLATE.replace(b"%b", b"[::1]:8086").replace(b"%", b"%%") + b"%.0b"


class DirectPrefixTests(DirectCase, long_way.PrefixWireTests):
    """With a prefix."""


class DirectAnswerTests(DirectCase, long_way.AnswerTests):
    """What comes back."""


class DirectCancelTests(DirectCase, long_way.CancelTests):
    """Cancelling."""


class DirectNoAnswerTests(DirectCase, long_way.NoAnswerTests):
    """Without an answer."""

    def test_nonsense(self) -> None:
        """What answers is not HTTP; not even its words come into the log."""
        for nonsense in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc d\r\n\r\n", long_way.LINES):
            reply, connection = self.sent()
            connection.say(nonsense)
            self.assert_postponed(reply, "there was no answer: what answers does not speak HTTP")
            self.assertTrue(connection.is_closed)

    def test_no_timer_remains(self) -> None:
        """After an answer, no deadline is left to fire."""
        for header in (b"Connection: close", b"Connection: keep-alive"):
            reply, connection = self.sent()
            connection.respond(400, [header])
            self.successResultOf(reply)
            self.poster.close()
            self.assertEqual(self.far.reactor.getDelayedCalls(), [])

    def test_endless_head(self) -> None:
        """Headers, or informational responses, without end are given up."""
        for piece in (b"X-A: " + b"a" * 1000 + b"\r\n", b"\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n"):
            reply, connection = self.sent()
            connection.say(b"HTTP/1.1 103 Early Hints\r\n")
            for _ in range(MAX_ANSWER_HEAD_BYTES // len(piece) - 1):
                connection.say(piece)
            self.assertNoResult(reply)
            connection.say(piece * 2)
            self.assert_postponed(reply, "there was no answer: its answer has no end of headers")
            self.assertTrue(connection.is_closed)


class KeptConnectionTests(DirectCase):
    """Connections are kept for the next write, a few of them and for a while."""

    def answered(self) -> tuple[Deferred[Reply], Connection]:
        """A send over a new connection that was answered."""
        reply, connection = self.sent()
        connection.received()
        connection.respond(204)
        return reply, connection

    def sends_over(self, connection: Connection) -> bool:
        """Whether the next batch goes over this connection, and not over a new one; it is answered."""
        reply = self.upstream.send(BATCH)
        if self.far.waiting:
            self.far.accept().respond(204)
        else:
            connection.respond(204)
        self.successResultOf(reply)
        return bool(connection.received())

    def test_is_used_again(self) -> None:
        """The next write goes over the same connection."""
        _, connection = self.answered()
        self.assertTrue(self.sends_over(connection))
        self.assertTrue(self.sends_over(connection))

    def test_nothing_waits_on_it(self) -> None:
        """An idle connection has no deadline but its own."""
        _, connection = self.answered()
        self.far.reactor.pump([ANSWER_SECONDS / 10] * 11)
        self.assertFalse(connection.is_closed)

    def test_an_interim_response(self) -> None:
        """A `100 Continue` before the answer is no answer, and changes nothing."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertNoResult(reply)
        connection.respond(204)
        self.successResultOf(reply)
        self.assertTrue(self.sends_over(connection))

    def test_expires(self) -> None:
        """One that nobody used for a minute is closed, before a proxy in front of InfluxDB would."""
        _, connection = self.answered()
        self.far.reactor.advance(IDLE_SECONDS - 1)
        self.assertTrue(self.sends_over(connection))
        self.far.reactor.advance(IDLE_SECONDS - 1)
        self.assertFalse(connection.is_closed)
        self.far.reactor.advance(1)
        self.assertTrue(connection.is_closed)
        self.assertFalse(self.sends_over(connection))

    def test_is_lost(self) -> None:
        """One that InfluxDB closes while it is idle is forgotten."""
        _, connection = self.answered()
        connection.hang_up()
        self.assertFalse(self.sends_over(connection))

    def test_says_something_by_itself(self) -> None:
        """One that speaks unasked is closed: what it said could be taken for the next answer."""
        _, connection = self.answered()
        connection.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertTrue(connection.is_closed)
        connection.hang_up()
        self.assertFalse(self.sends_over(connection))

    def test_two_answers(self) -> None:
        """An answer with something behind it is believed, and its connection is not."""
        reply, connection = self.sent()
        connection.say(b"HTTP/1.1 204 No Content\r\n\r\nmore")
        self.successResultOf(reply)
        self.assertTrue(connection.is_closed)

    def test_asks_to_close(self) -> None:
        """One whose server says that it closes is not used again."""
        for head in (b"HTTP/1.1 204 No\r\ncONNECTION: close\r\n\r\n", b"HTTP/1.0 204 No\r\n\r\n"):
            reply, connection = self.sent()
            connection.say(head)
            self.successResultOf(reply)
            self.assertTrue(connection.is_closed)

    def test_are_few(self) -> None:
        """No more are kept than are ever needed at once."""
        replies = [self.sent() for _ in range(IDLE_CONNECTIONS + 1)]
        for _, connection in replies:
            connection.respond(204)
        closed = [connection for _, connection in replies if connection.is_closed]
        self.assertEqual(len(closed), 1)

    def test_close(self) -> None:
        """At the end those that are idle are closed."""
        _, connection = self.answered()
        self.poster.close()
        self.assertTrue(connection.is_closed)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])
