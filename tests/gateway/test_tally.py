"""What became of strangers' writes is counted, and the counts of two strangers cannot be told apart."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzzing.arena import Arena, Door, Said
from tests.gateway.strangers import request
from torfluxd.boundaries import Batch, Destination, Fate, Reply
from torfluxd.gateway.tally import TalliedUpstream, Tally
from torfluxd.ops.exposition import exposition
from torfluxd.ops.figures import Figures


def write(lines: bytes, circuit: int = 1, agent: bytes = b"curl", database: bytes = b"telemetry") -> bytes:
    """A write of somebody's."""
    proxy = b"PROXY TCP6 fc00:dead:beef:4dad::%x:%x ::1 28 80\r\n" % (circuit >> 16, circuit & 0xFFFF)
    return proxy + request(lines, target=b"/write?db=" + database, headers=b"User-Agent: %b\r\n" % agent)


class TallyTests(SynchronousTestCase):
    """A whole gateway in memory."""

    def setUp(self) -> None:
        """Begin one."""
        self.arena = Arena()
        self.addCleanup(self.arena.close)

    @property
    def figures(self) -> Figures:
        """What it has counted."""
        return self.arena.figures

    def test_what_is_stored(self) -> None:
        """A write that InfluxDB takes counts as one that is written, and its lines as stored."""
        self.arena.send(write(b"m v=1 1\nm v=2 2"), Door.CIRCUIT, Said.STORED)
        self.assertEqual((1, 2), (self.figures.requests["written"], self.figures.lines["stored"]))
        self.assertEqual(1, self.figures.influxdb_writes["delivered"])
        self.assertEqual((1, 2.0), (sum(self.figures.influxdb_write_points.counts), 2.0))

    def test_what_is_no_line(self) -> None:
        """A line that is none is counted, beside the good ones of the same write; a write with none is refused."""
        self.arena.send(write(b"m v=1 1\nno line"), Door.CIRCUIT, Said.STORED)
        self.assertEqual((1, 1), (self.figures.lines["stored"], self.figures.lines["invalid"]))
        self.arena.send(write(b"no line"), Door.CIRCUIT, Said.STORED)
        self.assertEqual((1, 1, 2), (
            self.figures.requests["written"], self.figures.requests["refused"], self.figures.lines["invalid"],
        ))  # fmt: skip

    def test_what_influxdb_refuses(self) -> None:
        """A write that InfluxDB refuses counts as refused, and so do its lines."""
        self.arena.send(write(b"m v=1 1"), Door.CIRCUIT, Said.NO_DATABASE)
        self.assertEqual((1, 1), (self.figures.requests["refused"], self.figures.lines["refused"]))

    def test_what_is_told_to_come_back(self) -> None:
        """While InfluxDB fails and there is no spool, a write is postponed, and we are not ready."""
        self.arena.send(write(b"m v=1 1"), Door.CIRCUIT, Said.FAULT)
        self.assertEqual((1, 1), (self.figures.requests["postponed"], self.figures.lines["postponed"]))

    def test_what_is_answered_at_once(self) -> None:
        """A ping and a statement are answered, and reach no InfluxDB."""
        self.arena.send(request(target=b"/ping"), Door.HTTP, Said.STORED)
        self.arena.send(request(target=b"/query?q=SHOW+DATABASES"), Door.HTTP, Said.STORED)
        self.assertEqual((2, 0), (self.figures.requests["answered"], self.figures.influxdb_writes["delivered"]))

    def test_what_is_refused_at_the_door(self) -> None:
        """What is no HTTP counts by its status."""
        self.arena.send(b"what is this\r\n\r\n", Door.HTTP, Said.STORED)
        self.assertEqual({"400": 1}, self.figures.door_refusals)


class UnlinkabilityTests(SynchronousTestCase):
    """Two reporters, with a gateway each."""

    def metrics(self, circuit: int, agent: bytes, database: bytes, lines: bytes) -> bytes:
        """The metrics of a gateway that has served nobody else."""
        arena = Arena()
        self.addCleanup(arena.close)
        for body in (lines, lines, b"no line"):
            arena.send(write(body, circuit, agent, database), Door.CIRCUIT, Said.STORED)
        return exposition(arena.figures, "1")

    def test_two_reporters_cannot_be_told_apart(self) -> None:
        """Whatever two reporters are called, come through and write, their gateways' metrics are the same bytes."""
        one = self.metrics(0x00C0FFEE, b"influxdb-python/5", b"telemetry", b"cpu,host=one v=1 1\nmem v=2 2")
        other = self.metrics(0xDEADBEEF, b"Telegraf/1.34 Go", b"something_else", b"a,b=c d=1 7\nlonger,x=yy z=22 9")
        self.assertEqual(one, other)


class UpstreamTests(SynchronousTestCase):
    """An upstream that takes its time."""

    def send(self, fate: Fate, seconds: float) -> Figures:
        """Let one write end so, after so long."""
        clock, tally, reply = Clock(), Tally(), Deferred[Reply]()

        class Slow:
            def send(self, batch: Batch) -> Deferred[Reply]:
                return reply

        sent = TalliedUpstream(Slow(), clock, tally).send(Batch(Destination("db"), b"m v=1 1", 20))
        clock.rightNow += seconds
        reply.callback(Reply(fate))
        self.assertEqual(Reply(fate), self.successResultOf(sent))
        return tally.figures

    def test_what_it_took(self) -> None:
        """Each write to InfluxDB is counted by its outcome, with its size and how long it took."""
        figures = self.send(Fate.DELIVERED, 0.3)
        self.assertEqual({"delivered": 1, "postponed": 0, "rejected": 0}, figures.influxdb_writes)
        self.assertEqual((0.3, 20), (figures.influxdb_write_seconds.total, figures.influxdb_write_points.total))
        self.assertEqual(1, self.send(Fate.POSTPONE, 1).influxdb_writes["postponed"])
        self.assertEqual(1, self.send(Fate.NO_DESTINATION, 1).influxdb_writes["rejected"])

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back meanwhile leaves no negative time in the sum."""
        self.assertEqual(0.0, self.send(Fate.DELIVERED, -3600).influxdb_write_seconds.total)

    def test_at_once(self) -> None:
        """An upstream that replies at once is passed on at once."""

        class AtOnce:
            def send(self, batch: Batch) -> Deferred[Reply]:
                return succeed(Reply(Fate.DELIVERED))

        self.successResultOf(TalliedUpstream(AtOnce(), Clock(), Tally()).send(Batch(Destination("db"), b"m v=1 1", 1)))

    def test_buckets(self) -> None:
        """What is exactly as large as a bucket is in it; what is larger than all is in the last one."""
        tally = Tally()
        for points in (1, 2, 3, 10_000, 10_001):
            tally.sent(Fate.DELIVERED, points, 11.0)
        histogram = tally.figures.influxdb_write_points
        self.assertEqual((1, 2, 1, 1), (*histogram.counts[:2], *histogram.counts[-2:]))
        self.assertEqual(5, tally.figures.influxdb_write_seconds.counts[-1])
