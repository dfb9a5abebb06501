"""What is held in memory for strangers has a cap, and those who get on keep their place."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import PING, Routes, Stranger, request
from torfluxd.boundaries import Answer, Batch, Destination, Fate, Reply
from torfluxd.gateway.bounds import UNCOUNTED_BYTES
from torfluxd.gateway.front import Bounds, Front
from torfluxd.gateway.held import Held
from torfluxd.gateway.writes import Writes
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1

WRITE = Write(V1, Destination("telemetry"))
HEAD = b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"


class ReadingTests(SynchronousTestCase):
    """Bodies that are not whole yet."""

    def setUp(self) -> None:
        """Open a door behind which little is held."""
        self.clock = Clock()
        self.held = Held(100_000)
        self.front = Front(Routes(limit_bytes=1_000_000), Bounds(), self.clock, self.held)

    def begin(self, size: int) -> Stranger:
        """A stranger who has sent so much of his body."""
        stranger = Stranger(self.front)
        stranger.send(HEAD)
        stranger.send(b"x" * size)
        return stranger

    def test_what_is_read_counts(self) -> None:
        """An unfinished body counts, until it is whole or its stranger has gone."""
        stranger, leaves = self.begin(40_000), self.begin(30_000)
        self.assertEqual(70_000, self.held.reading_bytes)
        leaves.leave()
        self.assertEqual(40_000, self.held.reading_bytes)
        stranger.send(b"x" * 60_000)
        self.assertEqual([204], stranger.statuses())
        self.assertEqual(0, self.held.reading_bytes)

    def test_heads_and_what_lies_behind_count(self) -> None:
        """What is sent behind a request that is under way counts as well."""
        stranger = Stranger(self.front)
        stranger.send(request(b"x", target=b"/later") + PING * 1000)
        self.assertEqual(len(PING) * 1000, self.held.reading_bytes)
        self.front.site.answer_next()  # type: ignore[attr-defined]  # the site is the test's
        self.clock.pump([0] * 100)
        self.assertEqual(0, self.held.reading_bytes)

    def test_the_least_progress_goes(self) -> None:
        """When it is full, the one that began longest ago goes, of those that hold something; idle ones stay."""
        idle = Stranger(self.front)
        idle.send(PING)
        first, second = self.begin(40_000), self.begin(40_000)
        third = self.begin(40_000)
        self.assertEqual([True, False, False, False], [each.aborted for each in (first, second, third, idle)])
        self.assertEqual((80_000, 1), (self.held.reading_bytes, self.front.evicted))

    def test_who_drips_makes_no_progress(self) -> None:
        """To send more of a body is no progress: who began first goes first, however much he drips."""
        first, second = self.begin(40_000), self.begin(40_000)
        first.send(b"x")
        self.begin(40_000)
        self.assertEqual([True, False], [each.aborted for each in (first, second)])

    def test_a_flood_of_them_is_held_below_the_cap(self) -> None:
        """However many begin large bodies, no more than the cap is ever held, and an honest one gets through."""
        for _ in range(200):
            self.begin(30_000)
            self.assertLessEqual(self.held.reading_bytes, self.held.limit_bytes)
        honest = Stranger(self.front)
        honest.send(request(b"x" * 50_000))
        self.assertEqual([204], honest.statuses())

    def test_small_ones_are_not_counted(self) -> None:
        """What is below the threshold costs no counting, and never evicts anybody."""
        for _ in range(100):
            self.begin(UNCOUNTED_BYTES)
        self.assertEqual((0, 0), (self.held.reading_bytes, self.front.evicted))


class WaitingTests(SynchronousTestCase):
    """Bodies that wait for InfluxDB."""

    def setUp(self) -> None:
        """Begin with an InfluxDB that does not answer yet."""
        self.held = Held(100_000)
        self.sent: list[Deferred[Reply]] = []
        self.writes = Writes(self, Clock(), held=self.held)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Take a batch; see :class:`torfluxd.boundaries.Upstream`."""
        self.sent.append(Deferred())
        return self.sent[-1]

    def write(self, size: int) -> Deferred[Answer]:
        """Write a line of so many bytes."""
        line = b"m s=" + b'"' + b"x" * (size - 6) + b'"'
        return self.writes.write(WRITE, line, None, "a writer")

    def test_they_count_until_they_are_answered(self) -> None:
        """A body counts from when it is whole until InfluxDB has answered, also when its writer has gone meanwhile."""
        self.write(40_000)
        gone = self.write(30_000)
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.assertEqual(70_000, self.held.waiting_bytes)
        while self.sent:
            self.sent.pop().callback(Reply(Fate.DELIVERED, status=204))
        self.assertEqual(0, self.held.waiting_bytes)

    def test_refused_bodies_are_no_longer_held(self) -> None:
        """A body that is refused, by us or by InfluxDB, no longer counts."""
        self.write(40_000)
        self.writes.write(WRITE, b"x" * 1000, None, "a writer")
        self.write(30_000)
        while self.sent:
            self.sent.pop().callback(Reply(Fate.REJECT, status=400, body=b'{"error":"no"}'))
        self.assertEqual(0, self.held.waiting_bytes)

    def test_when_full_they_are_told_to_come_back(self) -> None:
        """When no more may wait, a writer hears that he shall come back, and what waits is not touched."""
        self.write(60_000)
        answer = self.successResultOf(self.write(60_000))
        self.assertEqual(503, answer.status)
        self.assertEqual(60_000, self.held.waiting_bytes)

    def test_they_leave_less_to_connections(self) -> None:
        """What waits counts against what connections may hold: both together are below the cap."""
        front = Front(Routes(limit_bytes=1_000_000), Bounds(), Clock(), self.held)
        self.write(60_000)
        stranger = Stranger(front)
        stranger.send(HEAD)
        stranger.send(b"x" * 39_000)
        self.assertFalse(stranger.aborted)
        stranger.send(b"x" * 2000)
        self.assertTrue(stranger.aborted)
        self.assertEqual(0, self.held.reading_bytes)
