"""When reports leave."""

from __future__ import annotations

from itertools import islice
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.privacy import branches, departures, gaps

CHANCES = st.floats(min_value=0, max_value=1)


class DeparturesTests(SynchronousTestCase):
    """Tests for `departures`."""

    @given(st.lists(CHANCES, min_size=1, max_size=50))
    def test_once_an_interval(self, chances: list[float]) -> None:
        """One report leaves in each interval, at the moment that chance chose, and chance alone."""
        delays = islice(departures(60, iter(chances).__next__), len(chances))
        moment = 0.0
        for number, (delay, chance) in enumerate(zip(delays, chances, strict=True)):
            moment += delay
            self.assertAlmostEqual(moment, 60 * (number + chance), places=6)


class GapsTests(SynchronousTestCase):
    """Tests for `gaps`."""

    @given(CHANCES)
    def test_bounded(self, chance: float) -> None:
        """No gap is below 0, or longer than five times the mean."""
        self.assertTrue(0 <= next(gaps(10, lambda: chance)) <= 50)

    def test_the_mean(self) -> None:
        """They are as long as they should be, on the whole, and no two are alike, but for the longest."""
        found = list(islice(gaps(10, Random(3).random), 5000))
        self.assertApproximates(sum(found) / 5000, 10, 0.5)
        self.assertEqual(len({gap for gap in found if gap < 50}), sum(gap < 50 for gap in found))


class OneSeedTests(SynchronousTestCase):
    """Two stories, one schedule."""

    def test_events_move_nothing(self) -> None:
        """With one seed reports leave at the same moments, whatever was recorded in between, and whatever waits."""

        def moments(*, events: int, backlog: int) -> list[float]:
            recording, leaving, pausing = islice(branches(Random(11).random), 3)
            due, pauses = departures(60, leaving), gaps(10, pausing)
            found = []
            for _ in range(20):
                for _ in range(events):
                    recording()
                for _ in range(backlog):
                    next(pauses)
                found.append(next(due))
            return found

        self.assertEqual(moments(events=0, backlog=0), moments(events=9, backlog=3))
