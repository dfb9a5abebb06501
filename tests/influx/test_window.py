"""Which times a point may have: exactly, and as a pattern."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.influx.dialect import Precision
from torfluxd.influx.line import MAX_TIME_NS
from torfluxd.influx.stamp import NANOSECONDS, read_time
from torfluxd.influx.window import DAY_NS, SURE_NS, Window, whole_numbers

NOW_NS = 1_750_000_000_123_456_789


class WholeNumberTests(SynchronousTestCase):
    """`whole_numbers`."""

    @given(st.integers(0, 10**6), st.integers(0, 10**6), st.lists(st.integers(0, 2 * 10**6)))
    def test_those_between(self, first: int, last: int, others: list[int]) -> None:
        """The pattern matches the numbers between two, both included, and no other, nor one with zeros before it."""
        pattern = re.compile(whole_numbers(first, last))
        for number in {first, last, max(0, first - 1), last + 1, (first + last) // 2, *others}:
            self.assertEqual(first <= number <= last, bool(pattern.fullmatch(b"%d" % number)), number)
            self.assertIsNone(pattern.fullmatch(b"0%d" % number))


class WindowTests(SynchronousTestCase):
    """`Window`."""

    def setUp(self) -> None:
        """Three months and a day, at a moment that is ours to choose."""
        self.now = NOW_NS
        self.window = Window(90 * 86400, 86400, lambda: self.now)

    def test_exact(self) -> None:
        """A point may be as old, and as far ahead, as was said, to the nanosecond."""
        for offset, inside in ((-90 * DAY_NS, True), (-90 * DAY_NS - 1, False), (DAY_NS, True), (DAY_NS + 1, False)):
            self.assertEqual(inside, self.window.holds(NOW_NS + offset))

    def test_what_influxdb_cannot_hold_is_outside(self) -> None:
        """However far ahead a point may be, a time that InfluxDB cannot hold is outside of the window."""
        window = Window(86400, 1e11, lambda: NOW_NS)
        window.has_moved()
        pattern = re.compile(window.sure_times("ns", 10**30))
        for time_ns, inside in ((MAX_TIME_NS, True), (MAX_TIME_NS + 1, False)):
            self.assertEqual(inside, window.holds(time_ns))
            self.assertEqual(inside, bool(pattern.fullmatch(b"%d" % time_ns)))

    @given(
        st.sampled_from(["ns", "u", "ms", "s", "m", "h", "auto"]),
        st.integers(-95 * 24 * 60, 30 * 60),
        st.integers(0, SURE_NS - 1),
    )
    def test_what_the_pattern_knows_is_inside(self, precision: Precision, minutes: int, later_ns: int) -> None:
        """A time that the pattern knows is in the window as long as the pattern holds; it knows all but an hour."""
        self.now = NOW_NS
        self.window.has_moved()
        pattern = re.compile(self.window.sure_times(precision, 10**30))
        time_ns = NOW_NS + minutes * 60 * 10**9
        for unit in [NANOSECONDS[precision]] if precision != "auto" else [1, 10**3, 10**6, 10**9]:
            written = b"%d" % (time_ns // unit)
            known = bool(pattern.fullmatch(written))
            self.now = NOW_NS + later_ns
            read = read_time(written, precision)
            self.assertFalse(self.window.has_moved())
            self.assertTrue(self.window.holds(read) or not known)
            if NOW_NS - 90 * DAY_NS + SURE_NS <= read <= NOW_NS + DAY_NS:
                self.assertTrue(known)

    def test_moves(self) -> None:
        """A pattern is made again when it has got old, and when the clock was set back."""
        self.assertTrue(self.window.has_moved())
        for step, moved in ((0, False), (SURE_NS - 1, False), (1, True), (0, False), (-1, True), (0, False)):
            self.now += step
            self.assertEqual(moved, self.window.has_moved())

    def test_not_older_than(self) -> None:
        """A pattern may be of fewer days than the window."""
        self.window.has_moved()
        pattern = re.compile(self.window.sure_times("ns", 2 * DAY_NS))
        self.assertIsNone(pattern.fullmatch(b"%d" % (NOW_NS - 2 * DAY_NS)))
        self.assertIsNotNone(pattern.fullmatch(b"%d" % (NOW_NS - DAY_NS)))
