"""The times that points are written with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.times import SET_BACK_NS, unique_stamps

NOON = 1_700_000_000_000_000_000


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
