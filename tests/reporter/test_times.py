"""The times that points are written with."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.influx.line import MAX_TIME_NS, MIN_TIME_NS
from torfluxd.reporter.times import (
    BLOCK_POINTS,
    LEAST_GRANULARITY_NS,
    SET_BACK_NS,
    CoarseTimes,
    ExactTimes,
    unique_stamps,
)

NOON = 1_700_000_000_000_000_000
MINUTE = 60 * 10**9
KEY = b"k" * 16
TIMES = st.integers(min_value=MIN_TIME_NS, max_value=MAX_TIME_NS)


class UniqueStampsTests(SynchronousTestCase):
    """Tests for `unique_stamps`."""

    def stamps(self, *times_ns: int) -> list[int]:
        """The stamps of points recorded when the clock shows these times."""
        times = iter(times_ns)
        stamp = unique_stamps(lambda: next(times))
        return [stamp(None) for _ in times_ns]

    def test_the_clock(self) -> None:
        """A point has the time at which it is recorded."""
        self.assertEqual(self.stamps(NOON, NOON + 7), [NOON, NOON + 7])

    def test_repeating_clock(self) -> None:
        """Points recorded in the same tick of a coarse clock do not replace each other, nor those of the next tick."""
        self.assertEqual(self.stamps(NOON, NOON, NOON, NOON + 1), [NOON, NOON + 1, NOON + 2, NOON + 3])

    def test_clock_set_back(self) -> None:
        """When the clock is set back, points follow it: they do not stand still until it has caught up."""
        hour = 3600 * 1_000_000_000
        self.assertEqual(self.stamps(NOON, NOON - hour, NOON - hour), [NOON, NOON - hour, NOON - hour + 1])

    def test_given(self) -> None:
        """A time that the application gives is left as it is, and changes nothing for other points."""
        stamp = unique_stamps(lambda: NOON)
        self.assertEqual([stamp(None), stamp(5), stamp(5), stamp(None)], [NOON, 5, 5, NOON + 1])

    @given(st.lists(st.integers(min_value=0, max_value=SET_BACK_NS // 1000), max_size=50))
    def test_never_twice(self, offsets: list[int]) -> None:
        """However the clock trembles, no stamp repeats an earlier one or goes back."""
        stamps = self.stamps(*(NOON + offset for offset in offsets))
        self.assertEqual(stamps, sorted(set(stamps)))


class CoarseTimesTests(SynchronousTestCase):
    """Tests for `CoarseTimes`."""

    def times(
        self, now_ns: Callable[[], int] = lambda: NOON, granularity_ns: int = MINUTE, seed: int = 5
    ) -> CoarseTimes:
        """Times of a reporter."""
        return CoarseTimes(granularity_ns, now_ns, Random(seed).random, KEY)

    def test_the_minute_and_no_more(self) -> None:
        """The time of a point is somewhere in the minute in which it was recorded, at its beginning or at its end."""
        for second in (0, 1, 59, 60, 61):
            start = NOON - NOON % MINUTE + second // 60 * MINUTE
            times = self.times(lambda second=second: NOON - NOON % MINUTE + second * 10**9)  # type: ignore[misc]
            found = [times.now() for _ in range(2000)]
            self.assertTrue(all(start <= one < start + MINUTE for one in found))
            self.assertTrue(min(found) < start + MINUTE // 100 and max(found) > start + MINUTE - MINUTE // 100)

    def test_none_twice(self) -> None:
        """No two points of a minute have one time, however many there are."""
        times = self.times()
        found = [times.now() for _ in range(100_000)]
        self.assertEqual(len(set(found)), len(found))

    def test_room_for_more_than_anybody_records(self) -> None:
        """A time comes again only after as many as there are nanoseconds, but for the last few."""
        times = self.times(granularity_ns=LEAST_GRANULARITY_NS)
        room = LEAST_GRANULARITY_NS - LEAST_GRANULARITY_NS % 2048
        found = [times.now() for _ in range(room)]
        self.assertEqual(len(set(found)), room)
        self.assertIn(times.now(), set(found))

    def test_quick_and_slow(self) -> None:
        """Times that are had without a lock are of the same kind, and there are some as long as the minute lasts."""
        now = [NOON]
        times = self.times(lambda: now[0])
        self.assertRaises(IndexError, times.quick_now)
        found = [times.now(), *(times.quick_now() for _ in range(200)), times.now()]
        self.assertEqual(len(set(found)), 202)
        now[0] += MINUTE
        self.assertRaises(IndexError, times.quick_now)

    def test_interrupted(self) -> None:
        """Who interrupts the dealing of times, in the same thread, gets one of the same minute."""
        found: list[int] = []

        def chance() -> float:
            if not found:
                found.append(0)
                found.append(times.now())
            return 0.5

        times = CoarseTimes(MINUTE, lambda: NOON, chance, KEY)
        found.append(times.now())
        self.assertEqual({time // MINUTE for time in found[1:]}, {NOON // MINUTE})

    def test_the_order_is_not_told(self) -> None:
        """Later points have no later times: half of the pairs stand one way, and half the other."""
        for _ in range(3):
            times = self.times(seed=_)
            found = [times.now() for _ in range(BLOCK_POINTS)]
            later = sum(found[j] > found[i] for j in range(BLOCK_POINTS) for i in range(j))
            self.assertApproximates(later / (BLOCK_POINTS * (BLOCK_POINTS - 1) / 2), 0.5, 0.1)

    def test_each_its_own(self) -> None:
        """Two reporters, or one in two minutes, have nothing in common."""
        now = [NOON]
        one, other = self.times(lambda: now[0], seed=1), self.times(lambda: now[0], seed=2)
        first = [one.now() % MINUTE for _ in range(500)]
        self.assertEqual(set(first) & {other.now() % MINUTE for _ in range(500)}, set())
        now[0] += MINUTE
        self.assertEqual(set(first) & {one.now() % MINUTE for _ in range(500)}, set())

    def test_a_trembling_clock(self) -> None:
        """A clock that goes back by less than a second over the end of a minute makes no time come again."""
        start = NOON - NOON % MINUTE
        moments = iter([start - 10, *[start + step % 2 * 20 - 10 for step in range(2000)]])
        times = self.times(lambda: next(moments))
        found = [times.now() for _ in range(1500)]
        self.assertEqual(len(set(found)), len(found))

    def test_a_clock_set_back(self) -> None:
        """Points follow a clock that was set back, also to a time before there was one."""
        now = [NOON]
        times = self.times(lambda: now[0])
        times.now()
        for moment in (NOON - 3600 * 10**9, -5, NOON):
            now[0] = moment
            start = max(0, moment - moment % MINUTE)
            self.assertTrue(start <= times.now() < start + MINUTE)

    @given(st.binary(max_size=40), TIMES)
    def test_a_given_time(self, series: bytes, time_ns: int) -> None:
        """A time that was given stays in its minute, and is the same again in another run of the reporter."""
        found = self.times(seed=1).of_series(series)(time_ns)
        self.assertEqual(found, self.times(seed=2).of_series(series)(time_ns))
        self.assertEqual(found // MINUTE, time_ns // MINUTE)

    def test_who_has_the_key(self) -> None:
        """Another reporter, another series and another time of one minute have another coarse time."""
        given = self.times().of_series(b"m,a=b")
        other_key = CoarseTimes(MINUTE, lambda: NOON, Random(5).random, b"l" * 16)
        found = {
            given(NOON),
            given(NOON + 1),
            self.times().of_series(b"m,a=c")(NOON),
            other_key.of_series(b"m,a=b")(NOON),
        }
        self.assertEqual(len(found), 4)
        self.assertNotIn(NOON, found)

    def test_what_is_lost_between_reporters(self) -> None:
        """Of many points of one series from many reporters as few are lost as the documentation says: n²/2g."""
        points, granularity = 2000, LEAST_GRANULARITY_NS
        lost = 0
        for seed in range(3):
            found = {self.times(granularity_ns=granularity, seed=seed * points + n).now() for n in range(points)}
            lost += points - len(found)
        expected = 3 * points**2 / (2 * granularity)
        self.assertApproximates(lost, expected, 5 * expected**0.5)


class ExactTimesTests(SynchronousTestCase):
    """Tests for `ExactTimes`."""

    def test_as_they_are(self) -> None:
        """An application that wants exact times has them; those that it does not give are unique all the same."""
        times = ExactTimes(lambda: NOON)
        self.assertEqual([times.now(), times.now(), times.of_series(b"m")(7)], [NOON, NOON + 1, 7])
