"""Times for lines: unique for those that have none, in nanoseconds for all."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.influx.dialect import Precision
from torfluxd.influx.stamp import NANOSECONDS, SLOT_NS, Stamper, Timestamps, stamp_lines

NOW_NS = 1_750_000_000_123_456_789


class StamperTests(SynchronousTestCase):
    """Stamps."""

    @given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=50))
    def test_increasing(self, steps: list[int]) -> None:
        """Every request has a later stamp than the one before, however the clock is set back and forth."""
        readings = iter([NOW_NS + step for step in steps])
        stamper = Stamper(clock=lambda: next(readings))
        stamps = [stamper.stamp() for _ in steps]
        self.assertEqual(stamps, sorted(set(stamps)))

    def test_close_to_now(self) -> None:
        """A stamp tells the time to a microsecond, whatever the place."""
        for place in (0, 1, SLOT_NS - 1):
            self.assertLess(abs(Stamper(place, lambda: NOW_NS).stamp() - NOW_NS), 1100)

    def test_follows_the_clock(self) -> None:
        """After a burst of requests in one microsecond, stamps are the time again as soon as it has passed."""
        now = NOW_NS
        stamper = Stamper(7, lambda: now)
        for _ in range(1000):
            stamper.stamp()
        now += 2_000_000
        self.assertLess(abs(stamper.stamp() - now), 1100)

    def test_unique_between_places(self) -> None:
        """Two workers never give the same stamp, even when both ask at the same instant, again and again."""
        stampers = [Stamper(place, lambda: NOW_NS) for place in (0, 1, 511, SLOT_NS - 1)]
        stamps = [stamper.stamp() for _ in range(1000) for stamper in stampers]
        self.assertEqual(len(set(stamps)), 4000)

    def test_unique_between_runs(self) -> None:
        """After a restart stamps are others, although the clock was set back over the first run: but 1 in 1024."""
        runs = [Stamper(clock=lambda: NOW_NS).stamp() for _ in range(100)]
        self.assertGreater(len(set(runs)), 50)

    def test_place(self) -> None:
        """A place that is none is refused."""
        for place in (-1, SLOT_NS):
            self.assertRaises(ValueError, Stamper, place)


class StampLinesTests(SynchronousTestCase):
    """Lines and their times."""

    def test_without_time(self) -> None:
        """Lines without a time share one, so that fields of one series in one request still meet."""
        for timestamps in (Timestamps.NONE, Timestamps.SOME):
            for precision in NANOSECONDS:
                stamped = stamp_lines(b"m f=1\nm g=2i", NOW_NS, precision, timestamps)
                self.assertEqual(stamped, b"m f=1 1750000000123456789\nm g=2i 1750000000123456789")

    def test_untouched(self) -> None:
        """Lines that all have nanoseconds are passed on as they are, without a copy."""
        lines = b"m f=1 1\nm f=2 2"
        self.assertIs(stamp_lines(lines, NOW_NS, "ns", Timestamps.ALL), lines)

    def test_precisions(self) -> None:
        """A time means the same instant, whatever its unit."""
        for precision, written in [
            ("ns", b"1577836800000000000"),
            ("u", b"1577836800000000"),
            ("ms", b"1577836800000"),
            ("s", b"1577836800"),
            ("m", b"26297280"),
            ("h", b"438288"),
        ]:
            for timestamps in (Timestamps.ALL, Timestamps.SOME):
                lines = b'm f=1 %b\nm,t=a\\ 1 f="x 1" %b' % (written, written)
                self.assertEqual(
                    stamp_lines(lines, NOW_NS, precision, timestamps),
                    b'm f=1 1577836800000000000\nm,t=a\\ 1 f="x 1" 1577836800000000000',
                )

    def test_auto(self) -> None:
        """With 3.x's `auto` each time tells its unit by its size, to both sides of each limit and of zero."""
        for written, expected in [
            (1577836800, 1577836800000000000),
            (1577836800000, 1577836800000000000),
            (1577836800000000, 1577836800000000000),
            (1577836800000000000, 1577836800000000000),
            (0, 0),
            (4999999999, 4999999999000000000),
            (5000000000, 5000000000000000),
            (4999999999999, 4999999999999000000),
            (5000000000000, 5000000000000000),
            (4999999999999999, 4999999999999999000),
            (5000000000000000, 5000000000000000),
            (9223372036854775806, 9223372036854775806),
        ]:
            for sign in (1, -1):
                for timestamps in (Timestamps.ALL, Timestamps.SOME):
                    stamped = stamp_lines(b"m f=1 %d" % (sign * written), NOW_NS, "auto", timestamps)
                    self.assertEqual(stamped, b"m f=1 %d" % (sign * expected))

    def test_many_zeros(self) -> None:
        """However many zeros stand before a time, it is understood."""
        for precision, factor in (("s", 10**9), ("h", 3600 * 10**9), ("auto", 10**9)):
            for sign in (b"", b"-"):
                stamped = stamp_lines(b"m f=1 %b%b7\nm f=2" % (sign, b"0" * 5000), NOW_NS, precision)
                self.assertEqual(stamped, b"m f=1 %b%d\nm f=2 %d" % (sign, 7 * factor, NOW_NS))

    def test_some(self) -> None:
        """In a body of both kinds each line has the time that is due to it."""
        lines = b'm f=1 -5\nm\\ 2 f=1\nm f="a 7"\nm f=1 \t6\nm f=t'
        self.assertEqual(
            stamp_lines(lines, NOW_NS, "s"),
            b'm f=1 -5000000000\nm\\ 2 f=1 %d\nm f="a 7" %d\nm f=1 \t6000000000\nm f=t %d' % (NOW_NS, NOW_NS, NOW_NS),
        )

    def test_left_without(self) -> None:
        """Lines without a time can be left without, and the others have theirs in nanoseconds all the same."""
        lines = b'm v=1\nm v=2 7\nm s="a 5"'
        for timestamps, precision, expected in (
            (Timestamps.NONE, "s", lines),
            (Timestamps.SOME, "ns", lines),
            (Timestamps.SOME, "ms", b'm v=1\nm v=2 7000000\nm s="a 5"'),
        ):
            self.assertEqual(stamp_lines(lines, None, cast(Precision, precision), timestamps), expected)

    def test_nothing(self) -> None:
        """Where no line is left, none is made."""
        self.assertEqual(stamp_lines(b"", NOW_NS), b"")

    @given(
        st.lists(st.integers(-2_562_047, 2_562_047), min_size=1, max_size=5),
        st.sampled_from(sorted({*NANOSECONDS} - {"auto"})),
    )
    def test_one_truth(self, times: list[int], precision: Precision) -> None:
        """The fast way and the slow way give the same instants."""
        lines = b"\n".join(b"m f=1 %d" % time for time in times)
        fast, slow = (stamp_lines(lines, NOW_NS, precision, kind) for kind in (Timestamps.ALL, Timestamps.SOME))
        expected = [time * NANOSECONDS[precision] for time in times]
        for stamped in (fast, slow):
            self.assertEqual([int(line.rpartition(b" ")[2]) for line in stamped.split(b"\n")], expected)
