"""When reports leave."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.privacy import departures

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
