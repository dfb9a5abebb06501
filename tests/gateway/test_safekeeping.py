"""What cannot be delivered now is kept, counts as written, and is delivered when it can be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.disk_case import HeldWork
from torfluxd.boundaries import Batch, Destination, Fate, Reply, Upstream
from torfluxd.delivery.couriers import Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce
from torfluxd.delivery.steps import Bounds
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.safekeeping import HomeUpstream, Safekeeping

T = TypeVar("T")

HOME = Destination("telemetry")
MADE_UP = Destination("nope")
DROPPED = Destination("dropped")
DELIVERED = Reply(Fate.DELIVERED, status=204)
AWAY = Reply(Fate.POSTPONE, "there was no answer")
MISSING = Reply(Fate.NO_DESTINATION, "it answered 404 Not Found: the database does not exist", 404)
REFUSED = Reply(Fate.REJECT, "it answered 400 Bad Request", 400)
RETRY_SECONDS = 5.0


def batch(number: int, destination: Destination = HOME) -> Batch:
    """A batch of one line."""
    return Batch(destination, b"m v=%d %d" % (number, number), 1)


@define
class Influxdb:
    """An InfluxDB whose answer is the test's to say, and what it stored.

    :ivar missing: destinations that do not exist, whatever it answers to others.
    """

    reply: Reply = DELIVERED
    asked: list[bytes] = field(factory=list)
    stored: list[bytes] = field(factory=list)
    missing: set[Destination] = field(factory=set)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Answer at once."""
        self.asked.append(batch.lines)
        if batch.destination in self.missing:
            return succeed(MISSING)
        if self.reply.fate is Fate.DELIVERED:
            self.stored += batch.lines.split(b"\n")
        return succeed(self.reply)


_: type[Upstream] = Influxdb


@define(eq=False)
class Disk(HeldWork):
    """A disk that is as fast as the test says."""

    slow: bool = False

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Work at once, or hold it."""
        if self.slow:
            HeldWork.run(self, work, done)
        else:
            AtOnce().run(work, done)


class SafekeepingCase(SynchronousTestCase):
    """A gateway's way to InfluxDB, with a spool on a disk."""

    limit_bytes = 100_000

    def setUp(self) -> None:
        """Begin with nothing."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "spool.db"
        self.clock = Clock()
        self.influxdb = Influxdb()
        self.homes = Homes()
        self.begin()

    def begin(self) -> None:
        """Begin, as a process does."""
        self.disk = Disk()
        self.complaints = Complaints(self.clock)
        self.safekeeping = Safekeeping(self.influxdb, self.homes, self.complaints)
        bounds = Bounds(self.limit_bytes, lend_points=100, lend_bytes=10_000)
        self.spool = self.successResultOf(
            DiskSpool.open(self.path, self.clock, self.disk, lambda sentence: None, bounds)
        )
        self.addCleanup(self.spool.close)
        upstream = HomeUpstream(self.influxdb, self.homes, Fate.REJECT)
        arrived, postponed = self.safekeeping.arrived, self.safekeeping.postponed
        self.couriers = Couriers(self.spool, upstream, self.clock, lambda attempt: RETRY_SECONDS, arrived, postponed)
        self.safekeeping.use(self.spool, self.couriers.batch_put)
        self.couriers.start()
        self.addCleanup(self.couriers.stop, 0)

    def send(self, number: int, destination: Destination = HOME) -> Fate:
        """The fate of a batch, as its writers hear of it."""
        return self.successResultOf(self.safekeeping.send(batch(number, destination))).fate

    def texts(self, events: list[LogEvent]) -> list[str]:
        """What an operator reads in the log of the gateway."""
        return [formatEvent(event) for event in events if event["log_level"] >= LogLevel.info]


class OutageTests(SafekeepingCase):
    """From an outage to its end."""

    def test_write_through(self) -> None:
        """While InfluxDB answers, nothing is kept, and its refusals are passed on."""
        self.assertIs(self.send(1), Fate.DELIVERED)
        self.influxdb.reply = REFUSED
        self.assertIs(self.send(2), Fate.REJECT)
        self.assertEqual((self.spool.counts.newest, self.influxdb.stored), (0, [b"m v=1 1"]))

    def test_kept_and_delivered(self) -> None:
        """What cannot be delivered counts as written, and is there in order when InfluxDB is back."""
        self.influxdb.reply = AWAY
        self.assertEqual([self.send(number) for number in range(10)], [Fate.DELIVERED] * 10)
        self.assertEqual(self.spool.counts.points, 10)
        self.influxdb.reply = DELIVERED
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.influxdb.stored, [batch(number).lines for number in range(10)])
        self.assertEqual((self.spool.counts.points, len(self.couriers)), (0, 0))

    def test_nobody_waits_for_an_influxdb_that_is_away(self) -> None:
        """Only the first write of an outage finds out; the next ones are kept at once, and a courier tries again."""
        self.influxdb.reply = AWAY
        self.send(0)
        asked = len(self.influxdb.asked)
        for number in range(1, 10):
            self.send(number)
        self.assertEqual(len(self.influxdb.asked), asked)
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(len(self.influxdb.asked), asked + 1)

    def test_back_to_the_direct_way(self) -> None:
        """When a kept batch got through, new writes go to InfluxDB again."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.influxdb.reply = DELIVERED
        self.clock.advance(RETRY_SECONDS)
        newest = self.spool.counts.newest
        self.send(1)
        self.assertEqual((self.spool.counts.newest, self.influxdb.stored), (newest, [b"m v=0 0", b"m v=1 1"]))

    def test_back_while_the_disk_is_slow(self) -> None:
        """What is on its way into the spool when InfluxDB is back begins no other outage, however slow the disk is."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.disk.slow = True
        with capturedLogs() as events:
            kept = self.safekeeping.send(batch(1))
            self.influxdb.reply = DELIVERED
            self.safekeeping.arrived(HOME)
            self.disk.go()
            self.assertIs(self.successResultOf(kept).fate, Fate.DELIVERED)
            self.disk.slow = False
            self.assertIs(self.send(2), Fate.DELIVERED)
            self.clock.advance(RETRY_SECONDS)
        self.assertEqual(sorted(self.influxdb.stored), [batch(number).lines for number in range(3)])
        self.assertEqual(self.complaints.outages, 1)
        self.assertFalse([text for text in self.texts(events) if "takes no writes" in text])

    def test_a_restart_in_the_middle(self) -> None:
        """What was kept by one process is delivered by the next."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.successResultOf(self.couriers.stop(0))
        self.successResultOf(self.spool.close())
        self.influxdb.reply = DELIVERED
        self.begin()
        self.assertEqual(self.influxdb.stored, [b"m v=0 0"])

    def test_one_destination_does_not_hold_up_another(self) -> None:
        """While writes to one destination are kept, those to another go through."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.influxdb.reply = DELIVERED
        self.assertIs(self.send(1, Destination("other")), Fate.DELIVERED)
        self.assertEqual(self.influxdb.stored, [b"m v=1 1"])

    def test_log(self) -> None:
        """The operator reads that an outage began and why, once a minute that it goes on, that it ended, and that the
        spool is empty: that, and nothing else.
        """
        self.influxdb.reply = Reply(Fate.POSTPONE, "there was no answer: 111: Connection refused.")
        with capturedLogs() as events:
            for number in range(200):
                self.send(number)
                self.clock.advance(0.5)
            self.influxdb.reply = DELIVERED
            self.clock.advance(RETRY_SECONDS)
        outage = (
            "InfluxDB takes no writes: there was no answer: 111: Connection refused; they are kept in the spool, which "
            "holds {} points; see whether it runs (systemctl status influxdb), and whether --influxdb leads to it"
        )
        self.assertEqual(
            self.texts(events),
            [
                outage.format(1),
                outage.format(120),
                "InfluxDB takes writes again; 199 points wait in the spool",
                "the spool is empty again: 200 points delivered, 0 refused for what is in them",
            ],
        )
        self.assertNotIn("telemetry", repr(events))

    def test_log_without_new_writes(self) -> None:
        """So it is after a restart in the middle, when nobody writes: what was kept before counts as well."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.send(1)
        self.successResultOf(self.couriers.stop(0))
        self.successResultOf(self.spool.close())
        with capturedLogs() as events:
            self.begin()
            self.clock.pump([1.0] * 90)
            self.influxdb.reply = REFUSED
            self.clock.advance(RETRY_SECONDS)
        [begun, *outage, refused, ended, empty] = self.texts(events)
        self.assertEqual(begun, "the spool holds 2 points from before, for InfluxDB")
        text = "InfluxDB takes no writes: there was no answer; they are kept in the spool, which holds 2 points; see "
        self.assertEqual([text in line for line in outage], [True] * 2)
        text = (
            "Points refused for their content: 2; it answered 400 Bad Request; they are set aside (torfluxd spool show)"
        )
        self.assertEqual(refused, text)
        self.assertEqual(ended, "InfluxDB takes writes again; 0 points wait in the spool")
        self.assertEqual(empty, "the spool is empty again: 0 points delivered, 2 refused for what is in them")

    def test_log_of_two_destinations(self) -> None:
        """An outage has ended when nothing is left that does not get through; another cause is news meanwhile."""
        self.send(0, DROPPED)
        self.influxdb.reply = AWAY
        self.send(1)
        self.send(2, DROPPED)
        with capturedLogs() as events:
            self.influxdb.missing.add(DROPPED)
            self.influxdb.reply = DELIVERED
            self.clock.advance(RETRY_SECONDS)
            self.influxdb.missing.clear()
            self.clock.advance(RETRY_SECONDS)
        self.assertEqual(
            self.texts(events),
            [
                "InfluxDB takes no writes: it answered 404 Not Found: the database does not exist; they are kept in the"
                " spool, which holds 1 points; see its own log (journalctl -u influxdb)",
                "InfluxDB takes writes again; 0 points wait in the spool",
                "the spool is empty again: 2 points delivered, 0 refused for what is in them",
            ],
        )


class WhoseFaultTests(SafekeepingCase):
    """A destination that does not exist is the vendor's fault if it did exist."""

    def test_made_up(self) -> None:
        """What a stranger made up is refused to him, and not kept."""
        self.influxdb.reply = MISSING
        self.assertIs(self.send(0, MADE_UP), Fate.NO_DESTINATION)
        self.assertEqual(self.spool.counts.newest, 0)

    def test_dropped(self) -> None:
        """A database that was dropped is an outage: kept, and delivered when it is there again."""
        self.send(0)
        self.influxdb.reply = MISSING
        self.assertIs(self.send(1), Fate.DELIVERED)
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.spool.counts.points, 1)
        self.influxdb.reply = DELIVERED
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.influxdb.stored, [b"m v=0 0", b"m v=1 1"])

    def test_forbidden(self) -> None:
        """A database of the vendor's that the gateway may not write to is not kept for; one that it could is."""
        self.send(0)
        self.influxdb.reply = Reply(Fate.POSTPONE, "it answered 403 Forbidden", 403)
        self.assertIs(self.send(1, MADE_UP), Fate.POSTPONE)
        self.assertEqual(self.spool.counts.newest, 0)
        self.assertIs(self.send(2), Fate.DELIVERED)
        self.assertEqual(self.spool.counts.points, 1)

    def test_made_up_during_an_outage(self) -> None:
        """What was kept for a destination that turns out to be made up is set aside, and blocks nobody."""
        self.influxdb.reply = AWAY
        self.send(0, MADE_UP)
        self.influxdb.reply = MISSING
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual((self.spool.counts.points, self.spool.dead_letters.points), (0, 1))

    def test_known_from_the_spool(self) -> None:
        """A destination that is first written to by a courier is the vendor's, too."""
        self.influxdb.reply = AWAY
        self.send(0)
        self.influxdb.reply = DELIVERED
        self.clock.advance(RETRY_SECONDS)
        self.assertTrue(self.homes.knows(HOME))


class NoRoomTests(SafekeepingCase):
    """Without room in the spool."""

    limit_bytes = 1000

    def test_full(self) -> None:
        """What cannot be kept either is not acknowledged; what was is delivered, and then there is room again."""
        self.influxdb.reply = AWAY
        with capturedLogs() as events:
            fates = [self.send(number) for number in range(10)]
        kept = fates.count(Fate.DELIVERED)
        self.assertEqual(fates, [Fate.DELIVERED] * kept + [Fate.POSTPONE] * (10 - kept))
        self.assertTrue(0 < kept < 10)
        self.assertFalse(self.safekeeping.keeps)  # so that a load balancer goes elsewhere
        told = "InfluxDB did not serve a stranger, who was told to come back: there was no answer; and "
        self.assertTrue(any(text.startswith(told) for text in self.texts(events)))
        self.influxdb.reply = DELIVERED
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.influxdb.stored, [batch(number).lines for number in range(kept)])
        self.assertIs(self.send(10), Fate.DELIVERED)
        self.assertTrue(self.safekeeping.keeps)

    def test_full_and_influxdb_back(self) -> None:
        """Whoever writes when there is no room left, and InfluxDB is back, is served before any courier tries again."""
        self.influxdb.reply = AWAY
        while self.send(0) is Fate.DELIVERED:
            pass
        self.influxdb.reply = DELIVERED
        with capturedLogs() as events:
            self.assertIs(self.send(1), Fate.DELIVERED)
            self.assertIs(self.send(2), Fate.DELIVERED)
        self.assertEqual((self.influxdb.stored, self.influxdb.asked[-1]), ([b"m v=1 1", b"m v=2 2"], b"m v=2 2"))
        self.assertEqual(self.texts(events), ["InfluxDB takes writes again; 3 points wait in the spool"])

    def test_closed(self) -> None:
        """At the end nothing is acknowledged that is not kept."""
        self.influxdb.reply = AWAY
        self.successResultOf(self.spool.close())
        self.assertIs(self.send(0), Fate.POSTPONE)


class NoSpoolTests(SynchronousTestCase):
    """Inside an application that keeps none."""

    def test_postponed(self) -> None:
        """Whoever cannot be served is told to come back, also when the database was dropped."""
        homes = Homes()
        influxdb = Influxdb()
        safekeeping = Safekeeping(influxdb, homes, Complaints(Clock()))
        self.assertIs(self.successResultOf(safekeeping.send(batch(0))).fate, Fate.DELIVERED)
        for reply in (AWAY, MISSING):
            influxdb.reply = reply
            self.assertIs(self.successResultOf(safekeeping.send(batch(1))).fate, Fate.POSTPONE)
