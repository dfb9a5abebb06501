"""Tests for when reports leave, and what they show of themselves: `torfluxd.reporter.dispatch`, `reports`, `stock`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

from tests.influxd import start_influxd
from tests.reporter.case import NOON, UNAVAILABLE, ReporterCase
from tests.reporter.doubles import cut
from torfluxd.boundaries import Destination
from torfluxd.reporter.privacy import PADDED_SIZES
from torfluxd.reporter.reporter import MAX_REPORT_BYTES, Reporter
from torfluxd.reporter.stock import KEPT_EMPTY_REPORTS

MINUTE_NS = 60 * 10**9


class IntervalTests(ReporterCase):
    """One report carries one interval."""

    def test_not_before_its_end(self) -> None:
        """What is recorded while a report is due waits for the next one."""
        self.reporter.startService()
        self.record(1)
        self.end_interval()
        self.record(2)
        self.advance(30)
        self.advance(30)
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=1i"], ["f=2i"]])

    def test_one_each(self) -> None:
        """After an outage each interval has a report of its own, oldest first, with a circuit of its own."""
        self.tor.is_up = False
        self.reporter.startService()
        for value in range(5):
            self.record(2 * value)
            self.advance(1)
            self.record(2 * value + 1)
            self.end_interval()
        self.tor.is_up = True
        for _ in range(120):
            self.advance(1)
        self.assertEqual(self.values_arrived(), [[f"f={2 * value}i", f"f={2 * value + 1}i"] for value in range(5)])
        self.assertEqual(len(set(self.tor.circuits)), len(self.tor.circuits))

    def test_gaps(self) -> None:
        """The reports of a backlog do not leave together: before each there is a gap, and no two are alike."""
        self.tor.is_up = False
        self.reporter = self.reporter_for(chance=Random(1).random)
        self.reporter.startService()
        for value in range(10):
            self.record(value)
            self.end_interval()
        self.tor.is_up = True
        moments = []
        for tick in range(2000):
            before = len(self.gateway.arrived)
            self.advance(0.1)
            moments += [tick] * (len(self.gateway.arrived) - before)
        gaps = [later - earlier for earlier, later in pairwise(moments)]
        self.assertEqual(len(gaps), 9)
        self.assertGreater(len(set(gaps)), 5)
        self.assertLess(max(gaps), 300)

    def test_flush_leaves_no_gaps(self) -> None:
        """A flush sends a backlog at once, and the interval that is not over."""
        self.tor.is_up = False
        self.reporter.startService()
        for value in range(3):
            self.record(value)
            self.end_interval()
        self.record(3)
        self.tor.is_up = True
        self.assertTrue(self.successResultOf(self.flush()))
        self.assertEqual(self.values_arrived(), [["f=0i"], ["f=1i"], ["f=2i"], ["f=3i"]])

    def test_flush_in_a_gap(self) -> None:
        """A flush ends the gap that is being waited for."""
        self.reporter.startService()
        for number in range(12):
            self.reporter.record("m", {"f": "x" * 50_000, "n": number})
        self.depart()
        self.assertEqual(len(self.gateway.arrived), 1)
        flushed = self.flush()
        self.tor.pump()
        self.assertTrue(self.successResultOf(flushed))
        self.assertEqual(len(self.gateway.arrived), 3)

    def test_clock_set_back(self) -> None:
        """When the wall clock is set back by a day, reports go on, and nothing recorded is left behind."""
        back_ns = [0]
        self.reporter = self.reporter_for(now_ns=lambda: NOON + int(self.clock.seconds() * 1e9) - back_ns[0])
        self.reporter.startService()
        self.record(1)
        self.advance(30)
        back_ns[0] = 24 * 3600 * 10**9
        self.record(2)
        for _ in range(30):
            self.advance(10)
        self.assertEqual(sorted(self.values()), ["f=1i", "f=2i"])
        self.assertEqual(self.reporter.stats.pending, 0)

    def test_asleep(self) -> None:
        """After hours in which the machine slept, what was recorded before leaves; there is no burst."""
        self.reporter = self.reporter_for(empty_reports=True)
        self.reporter.startService()
        self.record(1)
        self.advance(5 * 3600)
        for _ in range(6):
            self.advance(10)
        self.assertEqual(self.values_arrived()[0], ["f=1i"])
        self.assertLessEqual(len(self.gateway.requests), 2)


class EmptyReportTests(ReporterCase):
    """Silence tells nothing while the application runs."""

    def setUp(self) -> None:
        """It reports also when it has nothing to say."""
        super().setUp()
        self.reporter = self.reporter_for(empty_reports=True, padding=True)
        self.reporter.startService()

    def bodies(self) -> list[list[str]]:
        """The lines that were stored, without comments."""
        return [[line for line in lines if line and not line.startswith("#")] for lines in self.gateway.arrived]

    def test_empty(self) -> None:
        """An interval in which nothing was recorded has a report, which holds no point, and counts for nothing."""
        self.depart()
        self.record(1)
        self.depart()
        self.depart()
        self.assertEqual([len(lines) for lines in self.bodies()], [0, 1, 0])
        self.assertEqual({len("\n".join(lines)) for lines in self.gateway.arrived}, {PADDED_SIZES[0]})
        self.assertEqual((self.reporter.stats.recorded, self.reporter.stats.delivered), (1, 1))

    def test_outage(self) -> None:
        """Empty reports wait for the end of an outage as others do, but no more than for an hour."""
        self.tor.is_up = False
        for _ in range(2 * KEPT_EMPTY_REPORTS):
            self.end_interval()
        self.tor.is_up = True
        for _ in range(60 * 60):
            self.advance(1)
        # One for each interval of the hour since then, and those that were kept.
        self.assertIn(len(self.gateway.requests), range(58 + KEPT_EMPTY_REPORTS, 63 + KEPT_EMPTY_REPORTS))

    def test_retried(self) -> None:
        """One that does not get through is sent again, at the moments at which any other would be."""
        self.gateway.answers = [cut, UNAVAILABLE]
        self.depart()
        self.advance(10)
        self.advance(130)
        self.assertGreaterEqual(len(self.gateway.arrived), 1)

    def test_stop(self) -> None:
        """At the stop none is sent."""
        self.end_interval()
        self.successResultOf(self.stop())
        self.assertEqual(self.gateway.requests, [])

    def test_turned_off(self) -> None:
        """They can be turned off."""
        self.successResultOf(self.stop())
        self.reporter = self.reporter_for(empty_reports=False)
        self.reporter.startService()
        self.depart()
        self.assertEqual(self.gateway.requests, [])


class ScheduleTests(ReporterCase):
    """The moments at which reports leave tell nothing of what happened."""

    def schedule_of(self, events: Sequence[float], answers: int) -> list[float]:
        """When requests arrive in half an hour, with an outage in it, when points are recorded at these moments."""
        self.setUp()
        chance = Random(7).random
        reporter = self.reporter_for(
            chance=chance, backoff=None, empty_reports=True, padding=True, granularity_seconds=60
        )
        self.gateway.answers = [cut] * answers
        waiting = sorted(events)
        found: list[float] = []
        reporter.startService()
        while self.clock.seconds() < 1800:
            while waiting and waiting[0] <= self.clock.seconds():
                reporter.record("m", {"f": waiting.pop(0)})
            self.advance(0.25)
            found += [self.clock.seconds()] * (len(self.gateway.requests) - len(found))
        return found

    def test_one_seed_one_schedule(self) -> None:
        """With the same chance, reports leave at the same moments, whatever was recorded and whenever; also after an
        outage.
        """
        busy = [second / 7 for second in range(12_000)]
        for answers in (0, 4):
            schedule = self.schedule_of([], answers)
            self.assertGreater(len(schedule), 25)
            for events in ([3.0], [100.5, 101.0, 640.0], busy):
                self.assertEqual(self.schedule_of(events, answers), schedule)


class DestinationTests(ReporterCase):
    """Lines that others have written, for several destinations."""

    def test_apart(self) -> None:
        """What goes to different destinations leaves in different reports, each to where it shall go."""
        self.reporter.startService()
        other = Destination("other", "a week")
        commit = self.reporter.record_lines(b"m f=1i 1\nm f=2i 2", other).as_deferred()
        self.record(3)
        self.reporter.record_lines(b"m f=4i 4", other)
        self.assertTrue(self.successResultOf(self.flush()))
        self.assertTrue(self.successResultOf(commit))
        self.assertEqual(sorted(self.values()), ["f=1i", "f=2i", "f=3i", "f=4i"])
        self.assertEqual(
            {uri for _, uri, _ in self.gateway.requests},
            {b"/write?db=telemetry&precision=ns", b"/write?db=other&rp=a%20week&precision=ns"},
        )


class TroubleTests(ReporterCase):
    """What an application can show to who asks why nothing arrives."""

    def test_trouble(self) -> None:
        """It is why the last report did not get through, and nothing once one does."""
        self.assertEqual(self.reporter.trouble, "")
        self.tor.is_up = False
        self.reporter.startService()
        self.record(1)
        self.depart()
        self.assertIn("SOCKS", self.reporter.trouble)
        self.tor.is_up = True
        self.advance(10)
        self.assertEqual((self.values(), self.reporter.trouble), (["f=1i"], ""))


class InstrumentTests(ReporterCase):
    """What instruments say leaves with the report of its interval."""

    def test_once_an_interval(self) -> None:
        """All that a counter counted in an interval is one point, with a time in that interval; and of an interval in
        which it counted nothing there is none.
        """
        self.reporter.startService()
        counter = self.reporter.counter("clicks", {"kind": "b"})
        for _ in range(3):
            counter.add()
            self.advance(10)
        self.depart()
        counter.add(5)
        self.depart()
        self.depart()
        [[first], [second]] = self.gateway.arrived
        self.assertEqual(first, f"clicks,kind=b count=3i {NOON + MINUTE_NS - 1}")
        self.assertEqual(second, f"clicks,kind=b count=5i {NOON + 2 * MINUTE_NS - 1}")

    def test_all_of_them(self) -> None:
        """There are counters, gauges, timers and histograms; a flush takes what they know at that moment."""
        self.reporter.startService()
        self.reporter.counter("a").add()
        self.reporter.gauge("b").set(2.5)
        with self.reporter.timer("c"):
            pass
        self.reporter.histogram("d", buckets=(1, 2)).observe(1.5)
        self.assertTrue(self.successResultOf(self.flush()))
        self.assertEqual(sorted(line[0] for line in self.gateway.arrived[0]), ["a", "b", "c", "d"])

    def test_denied(self) -> None:
        """When the user denies, what they know is forgotten."""
        self.reporter.startService()
        counter = self.reporter.counter("clicks")
        counter.add()
        self.reporter.deny()
        self.advance(0)
        self.reporter.allow()
        self.depart()
        self.assertEqual(self.gateway.requests, [])


class PrivateReportTests(ReporterCase):
    """What the points of a report tell, with everything at its default."""

    def default_reporter(self) -> Reporter:
        """A reporter as applications make one."""
        reporter = self.reporter_for(granularity_seconds=60, padding=True, chance=Random().random)
        reporter.startService()
        return reporter

    def test_equal_points_of_many(self) -> None:
        """Fifty reporters record the same point in the same minute: there are fifty points, also when every report is
        sent twice.
        """
        reporters = [self.default_reporter() for _ in range(50)]
        self.gateway.answers = [UNAVAILABLE] * 50
        for reporter in reporters:
            reporter.record("m", {"f": 1}, {"version": "1"})
        for _ in range(400):
            self.advance(1)
        arrived = [line for lines in self.gateway.arrived for line in lines if line.startswith("m,")]
        self.assertEqual((len(arrived), len(set(arrived))), (50, 50))
        times = {int(line.split()[-1]) for line in arrived}
        self.assertEqual({time - time % MINUTE_NS for time in times}, {NOON})

    def test_in_influxdb(self) -> None:
        """And InfluxDB stores fifty, also when it is sent all of them again."""
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        reporters = [self.default_reporter() for _ in range(50)]
        for reporter in reporters:
            reporter.record("m", {"f": 1}, {"version": "1"})
            reporter.flush()
        self.tor.pump()
        bodies = ["\n".join(lines).encode() for lines in self.gateway.arrived]
        for _ in range(2):
            self.assertEqual({influxd.write("telemetry", body).status for body in bodies}, {204})
            self.assertEqual(influxd.count("telemetry", "m"), 50)

    def test_sizes(self) -> None:
        """Reports have one of a few sizes, and none has more than that of the largest."""
        reporter = self.default_reporter()
        for count in (1, 200, 5000):
            for number in range(count):
                reporter.record("m", {"f": "x" * 80, "n": number})
            self.end_interval()
        for _ in range(300):
            self.advance(1)
        sizes = [len("\n".join(lines)) for lines in self.gateway.arrived]
        self.assertLessEqual(set(sizes), set(PADDED_SIZES))
        self.assertGreater(len(sizes), 3)
        self.assertEqual(max(sizes), MAX_REPORT_BYTES)
        self.assertEqual(reporter.stats.delivered, 5201)
