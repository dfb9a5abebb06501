"""statsd over UDP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import PointError
from torfluxd.reporter.instruments import Instruments
from torfluxd.reporter.statsd import MAX_METRICS, MAX_SET_VALUES, Meters, Statsd, StatsdCounts

ADDRESS = ("127.0.0.1", 9)
INTERVAL_SECONDS = 60.0


@define
class Meter:
    """Remembers what one instrument was told."""

    told: list[Any] = field(factory=list)

    def add(self, amount: int = 1) -> None:
        """Count."""
        self.told.append(amount)

    def set(self, value: float) -> None:
        """Set."""
        self.told.append(value)

    def observe(self, value: float, weight: int = 1) -> None:
        """Observe."""
        self.told.append((value, weight))


@define
class RememberingMeters:
    """Remembers what its instruments were told, and the points that were recorded."""

    meters: dict[tuple[str, str, str], Meter] = field(factory=dict)
    points: list[tuple[str, Mapping[str, float], Mapping[str, str] | None]] = field(factory=list)

    def _meter(self, kind: str, name: str, tags: Mapping[str, str] | None) -> Meter:
        if name.startswith("unwritable") or any(key[1] == name and key[0] != kind for key in self.meters):
            raise PointError("no point can have this name, or it is one of another kind")
        return self.meters.setdefault((kind, name, str(dict(tags or {}))), Meter())

    def counter(self, name: str, tags: Mapping[str, str] | None = None) -> Meter:
        """A counter."""
        return self._meter("counter", name, tags)

    def gauge(self, name: str, tags: Mapping[str, str] | None = None) -> Meter:
        """A gauge."""
        return self._meter("gauge", name, tags)

    def timer(self, name: str, tags: Mapping[str, str] | None = None) -> Meter:
        """A timer."""
        return self._meter("timer", name, tags)

    def histogram(self, name: str, tags: Mapping[str, str] | None = None) -> Meter:
        """A histogram."""
        return self._meter("histogram", name, tags)

    def record(self, measurement: str, fields: Mapping[str, float], tags: Mapping[str, str] | None = None) -> None:
        """A point."""
        self.points.append((measurement, fields, tags))

    def told(self, kind: str, name: str, tags: str = "{}") -> list[Any]:
        """What an instrument was told."""
        return self.meters[kind, name, tags].told


_: type[Meters] = RememberingMeters


class StatsdTests(SynchronousTestCase):
    """What becomes of what is heard."""

    def setUp(self) -> None:
        """Listen."""
        self.clock = Clock()
        self.meters = RememberingMeters()
        self.statsd = Statsd(self.meters, self.clock, INTERVAL_SECONDS)
        self.statsd.startProtocol()
        self.addCleanup(self.statsd.stopProtocol)

    def hear(self, *datagrams: bytes) -> None:
        """Receive datagrams."""
        for datagram in datagrams:
            self.statsd.datagramReceived(datagram, ADDRESS)

    def test_counters(self) -> None:
        """A counter counts; what stands for several counts for them."""
        self.hear(b"a:2|c\na:1|c|@0.1", b"a:3|c|#x:y")
        self.assertEqual(self.meters.told("counter", "a"), [2, 10])
        self.assertEqual(self.meters.told("counter", "a", "{'x': 'y'}"), [3])

    def test_fractions(self) -> None:
        """What is not whole adds up, and what is taken back is taken off what follows."""
        self.hear(b"a:0.5|c", b"a:0.75|c", b"a:-3|c", b"a:4|c", b"a:1|c|@0.3")
        self.assertEqual(self.meters.told("counter", "a"), [0, 1, 0, 1, 3])
        self.assertTrue(all(type(amount) is int for amount in self.meters.told("counter", "a")))

    def test_one_name_of_two_kinds(self) -> None:
        """A name that stands for a counter and for a time is two metrics."""
        self.hear(b"a:1|c", b"a:320|ms", b"a:1|c")
        self.assertEqual(self.meters.told("counter", "a"), [1, 1])
        self.assertEqual(self.meters.told("timer", "a.time"), [(0.32, 1)])

    def test_real_instruments(self) -> None:
        """With a reporter's own instruments it comes to points."""

        class Meters(Instruments):
            def record(self, *point: object) -> None:
                """None is recorded here."""

        instruments = Meters()
        statsd = Statsd(instruments, self.clock, INTERVAL_SECONDS)
        statsd.datagramReceived(b"c:1|c|@0.1\ng:3|g\ng:+4|g\nt:500|ms|@0.5|#v:1\nh:0.2|h", ADDRESS)
        points = {name: (fields, tags) for name, fields, tags in instruments.harvest()}
        self.assertEqual(points["c"], ({"count": 10}, {}))
        self.assertEqual(points["g"][0]["last"], 7)
        self.assertEqual((points["t"][0]["count"], points["t"][0]["sum_seconds"], points["t"][1]), (2, 1.0, {"v": "1"}))
        self.assertEqual(points["h"][0]["le_0.25"], 1)

    def test_gauges(self) -> None:
        """A gauge stands where it was set, and changes by what is added."""
        self.hear(b"a:5|g", b"a:-2|g", b"a:+4|g", b"b:+1|g")
        self.assertEqual(self.meters.told("gauge", "a"), [5, 3, 7])
        self.assertEqual(self.meters.told("gauge", "b"), [1])

    def test_times(self) -> None:
        """A time in milliseconds becomes seconds; histograms and distributions are one."""
        self.hear(b"a:320|ms|@0.5", b"b:3|h\nb:4|d")
        self.assertEqual(self.meters.told("timer", "a"), [(0.32, 2)])
        self.assertEqual(self.meters.told("histogram", "b"), [(3, 1), (4, 1)])

    def test_sets(self) -> None:
        """Of a set the different values of an interval are counted, and nothing is written when there are none."""
        self.hear(b"a:x|s\na:y|s\na:x|s|#t:1")
        self.clock.advance(INTERVAL_SECONDS)
        self.assertEqual(self.meters.points, [("a", {"count": 2}, {}), ("a", {"count": 1}, {"t": "1"})])
        self.clock.advance(INTERVAL_SECONDS)
        self.assertEqual(len(self.meters.points), 2)
        self.hear(b"a:x|s")
        self.statsd.stopProtocol()
        self.assertEqual(self.meters.points[2:], [("a", {"count": 1}, {})])

    def test_large_sets(self) -> None:
        """A set does not grow without end."""
        for number in range(MAX_SET_VALUES + 9):
            self.hear(b"a:%d|s" % number)
        self.statsd.tick()
        self.assertEqual(self.meters.points, [("a", {"count": MAX_SET_VALUES}, {})])

    def test_unread(self) -> None:
        """What cannot be read is counted, told once an interval without a word of it, and costs the rest nothing."""
        with capturedLogs() as events:
            self.hear(b"secret\na:1|c\nunwritable:1|c", b"\xff\xfe")
            self.clock.advance(INTERVAL_SECONDS)
            self.clock.advance(INTERVAL_SECONDS)
        self.assertEqual(self.statsd.counts, StatsdCounts(samples=1, unread=3))
        self.assertEqual([event["lines"] for event in events], [3])
        self.assertNotIn("secret", str(events))

    def test_many_names(self) -> None:
        """There are so many metrics, and no more; those that are known go on."""
        for number in range(MAX_METRICS + 5):
            self.hear(b"n%d:1|c" % number)
        with capturedLogs() as events:
            self.hear(b"n0:1|c")
            self.statsd.tick()
        self.assertEqual(len(self.meters.meters), MAX_METRICS)
        self.assertEqual((self.statsd.counts.beyond, self.meters.told("counter", "n0")), (5, [1, 1]))
        self.assertEqual([event["values"] for event in events], [5])

    @given(st.binary(max_size=80) | st.text("ab:|@#,.+-1\ncgmshd", max_size=60).map(str.encode))
    def test_anything(self, datagram: bytes) -> None:
        """Whatever arrives, nothing raises."""
        self.hear(datagram)
