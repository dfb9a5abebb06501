"""What is counted and measured all the time, and written once an interval."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import PointError
from torfluxd.influx.line import encode
from torfluxd.reporter.instruments import DEFAULT_BUCKETS, MAX_BUCKETS, Instruments, exponential_buckets


class InstrumentsCase(SynchronousTestCase):
    """Instruments, and a clock for timers."""

    def setUp(self) -> None:
        """Nothing has happened yet."""
        self.clock = Clock()
        self.instruments = Instruments(self.clock.seconds)

    def harvest(self) -> dict[str, dict[str, Any]]:
        """What happened, by the name of the instrument."""
        points = self.instruments.harvest()
        for name, fields, tags in points:
            encode(name, fields, tags)
        return {name: dict(fields) for name, fields, _ in points}


class CounterTests(InstrumentsCase):
    """Tests for `Counter`."""

    def test_what_was_added(self) -> None:
        """A counter tells what was added in the interval, and begins at 0 in the next."""
        counter = self.instruments.counter("files")
        counter.add()
        counter.add(41)
        self.assertEqual(self.harvest(), {"files": {"count": 42}})
        counter.add(0)
        self.assertEqual(self.harvest(), {"files": {"count": 0}})

    def test_nothing_happened(self) -> None:
        """Of an interval in which nothing was counted nothing is written, whatever there was before."""
        self.instruments.counter("files").add()
        self.harvest()
        self.assertEqual(self.instruments.harvest(), [])

    def test_whole_numbers(self) -> None:
        """It counts whole numbers, and says so to others."""
        counter = self.instruments.counter("files")
        for amount in (-1, 1.5, True, "1", None, Decimal(1)):
            self.assertRaises(PointError, counter.add, amount)
        self.assertEqual(self.instruments.harvest(), [])
        counter.add(2**80)
        self.assertEqual(self.harvest(), {"files": {"count": 2**63 - 1}})


class GaugeTests(InstrumentsCase):
    """Tests for `Gauge`."""

    def test_an_interval(self) -> None:
        """A gauge tells its last value of the interval, and between which others it was; nothing when none was set."""
        gauge = self.instruments.gauge("queue")
        for value in (4, 1.5, 7, 3):
            gauge.set(value)
        self.assertEqual(self.harvest(), {"queue": {"last": 3.0, "min": 1.5, "max": 7.0, "mean": 3.875}})
        self.assertEqual(self.instruments.harvest(), [])

    def test_numbers(self) -> None:
        """It takes finite numbers, and says so to others."""
        gauge = self.instruments.gauge("queue")
        for value in (float("nan"), float("inf"), True, "1", None, 10**400, Fraction(10**400), Decimal(1)):
            self.assertRaises(PointError, gauge.set, value)
        self.assertEqual(self.instruments.harvest(), [])
        gauge.set(Fraction(1, 4))
        self.assertEqual(self.harvest()["queue"]["last"], 0.25)

    def test_beyond_a_float(self) -> None:
        """What adds up to more than a float can hold is left out, and the rest is written."""
        gauge = self.instruments.gauge("queue")
        gauge.set(1.7e308)
        gauge.set(1.7e308)
        self.assertEqual(self.harvest(), {"queue": {"last": 1.7e308, "min": 1.7e308, "max": 1.7e308}})


class TimerTests(InstrumentsCase):
    """Tests for `Timer`."""

    def test_observed(self) -> None:
        """A timer tells how often something was done, and how long it took."""
        timer = self.instruments.timer("backup")
        timer.observe(1.0)
        timer.observe(3)
        self.assertEqual(
            self.harvest(),
            {
                "backup": {
                    "count": 2,
                    "sum_seconds": 4.0,
                    "min_seconds": 1.0,
                    "max_seconds": 3.0,
                    "mean_seconds": 2.0,
                }
            },
        )

    def test_a_context(self) -> None:
        """What is done within it is timed, also when it fails, and one within another."""
        timer = self.instruments.timer("backup")
        with timer:
            self.clock.advance(1)
            with self.instruments.timer("backup"), self.instruments.timer("upload"):
                self.clock.advance(2)
            self.clock.advance(4)

        def fail() -> None:
            with timer:
                self.clock.advance(8)
                raise ValueError

        self.assertRaises(ValueError, fail)
        found = self.harvest()
        self.assertEqual((found["backup"]["count"], found["backup"]["sum_seconds"]), (3, 7.0 + 2.0 + 8.0))
        self.assertEqual(found["upload"]["sum_seconds"], 2.0)

    def test_coroutines(self) -> None:
        """Coroutines that take turns are timed each by itself."""
        waiting: list[Deferred[None]] = []

        async def work() -> None:
            with self.instruments.timer("work"):
                waiting.append(Deferred())
                await waiting[-1]

        for _ in range(2):
            Deferred.fromCoroutine(work())
            self.clock.advance(1)
        waiting[0].callback(None)
        self.clock.advance(8)
        waiting[1].callback(None)
        found = self.harvest()["work"]
        self.assertEqual((found["count"], found["min_seconds"], found["max_seconds"]), (2, 2.0, 9.0))

    def test_tasks(self) -> None:
        """So are tasks of asyncio."""

        async def work(seconds: float, turns: int) -> None:
            with self.instruments.timer("work"):
                for _ in range(turns):
                    await asyncio.sleep(0)
                    self.clock.advance(seconds)

        async def story() -> None:
            await asyncio.gather(work(1, 1), work(1, 3))

        asyncio.run(story())
        found = self.harvest()["work"]
        self.assertEqual((found["count"], found["min_seconds"], found["max_seconds"]), (2, 1.0, 4.0))

    def test_elsewhere(self) -> None:
        """What ends in another thread than it began in is not timed, and disturbs nobody."""
        timer = self.instruments.timer("work")
        timer.__enter__()
        ending = threading.Thread(target=timer.__exit__, args=(None, None, None))
        ending.start()
        ending.join()
        self.assertEqual(self.instruments.harvest(), [])
        timer.__exit__(None, None, None)
        self.assertEqual(self.harvest()["work"]["count"], 1)


class HistogramTests(InstrumentsCase):
    """Tests for `Histogram`."""

    def test_buckets(self) -> None:
        """A histogram tells for each bound how many values were not above it, and how many there were in all."""
        histogram = self.instruments.histogram("size", buckets=(1, 10, 100))
        for value in (0.5, 1, 1.5, 10, 100, 1000):
            histogram.observe(value)
        self.assertEqual(
            self.harvest(), {"size": {"count": 6, "sum": 1113.0, "le_1.0": 2, "le_10.0": 4, "le_100.0": 5}}
        )
        histogram.observe(5)
        self.assertEqual(self.harvest()["size"]["le_1.0"], 0)

    def test_bounds(self) -> None:
        """Bounds are finite, ascending and not too many, and those of one histogram are always the same."""
        for buckets in ((), (2, 1), (1, 1), (float("nan"),), (float("inf"),), range(MAX_BUCKETS + 1)):
            self.assertRaises(PointError, self.instruments.histogram, "size", None, buckets)
        kept = self.instruments.histogram("size")
        self.assertEqual(kept.buckets, DEFAULT_BUCKETS)
        self.assertRaises(PointError, self.instruments.histogram, "size", None, (1, 2))

    @given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1.01, max_value=10), st.integers(1, 20))
    def test_exponential(self, first: float, factor: float, count: int) -> None:
        """Exponential buckets begin where they should, and are as many as they should be."""
        buckets = exponential_buckets(first, factor, count)
        self.assertEqual((buckets[0], len(buckets), list(buckets)), (first, count, sorted(set(buckets))))

    def test_no_exponential_buckets(self) -> None:
        """What makes none is refused."""
        for first, factor, count in ((0, 2, 3), (1, 1, 3), (1, 2, 0), (1, 2, MAX_BUCKETS + 1), (1, float("nan"), 3)):
            self.assertRaises(PointError, exponential_buckets, first, factor, count)


class RegistryTests(InstrumentsCase):
    """Instruments by their names."""

    def test_the_same(self) -> None:
        """The same name and tags give the same instrument, in whatever order the tags are; others give others."""
        self.instruments.counter("m", {"a": "1", "b": "2"}).add()
        self.instruments.counter("m", {"b": "2", "a": "1"}).add()
        self.instruments.counter("m", {"a": "1"}).add()
        self.assertEqual(
            sorted((fields["count"], dict(tags)) for _, fields, tags in self.instruments.harvest()),
            [(1, {"a": "1"}), (2, {"a": "1", "b": "2"})],
        )

    def test_another_kind(self) -> None:
        """One name is one kind of instrument."""
        kept = self.instruments.counter("m")
        self.assertRaises(PointError, self.instruments.gauge, "m")
        kept.add()

    def test_names(self) -> None:
        """A name that cannot be one is refused when the instrument is asked for, not when the report leaves."""
        for make in (self.instruments.counter, self.instruments.gauge, self.instruments.timer):
            self.assertRaises(PointError, make, "")
            self.assertRaises(PointError, make, "m", {"a": "b\n"})

    def test_memory(self) -> None:
        """Instruments that nobody keeps are forgotten when they were harvested, one that is kept goes on."""
        kept = self.instruments.counter("kept")
        for number in range(1000):
            self.instruments.counter("m", {"n": f"{number}"}).add()
        kept.add()
        self.assertEqual(len(self.instruments.harvest()), 1001)
        gc.collect()
        self.assertEqual(len(self.instruments._all), 1)
        kept.add()
        self.assertEqual(self.harvest(), {"kept": {"count": 1}})

    def test_forgotten(self) -> None:
        """When consent is withdrawn, or in a child process, what has happened so far is forgotten."""
        forget: list[Callable[[], None]] = [self.instruments.forget, self.instruments.reset_after_fork]
        for each in forget:
            counter = self.instruments.counter("m")
            counter.add()
            each()
            self.assertEqual(self.instruments.harvest(), [])
            counter.add()
            self.assertEqual(self.harvest(), {"m": {"count": 1}})

    def test_threads(self) -> None:
        """Eight threads count while a ninth harvests: nothing is lost, nothing is counted twice."""

        def work() -> None:
            for _ in range(5000):
                self.instruments.counter("m").add()
                self.instruments.histogram("h").observe(0.1)

        working = [threading.Thread(target=work) for _ in range(8)]
        for each in working:
            each.start()
        counted = {"m": 0, "h": 0}
        while any(each.is_alive() for each in working):
            for name, fields in self.harvest().items():
                counted[name] += fields["count"]
        for each in working:
            each.join()
        for name, fields in self.harvest().items():
            counted[name] += fields["count"]
        self.assertEqual(counted, {"m": 40_000, "h": 40_000})
