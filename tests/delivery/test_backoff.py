"""Tests for `torfluxd.delivery.backoff`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.delivery.backoff import exponential_backoff, wait_seconds

CHANCES = st.floats(min_value=0, max_value=1)
ATTEMPTS = st.integers(min_value=1, max_value=10**6)


class ExponentialBackoffTests(SynchronousTestCase):
    """Tests for `exponential_backoff`."""

    def test_growth(self) -> None:
        """With the greatest jitter the waits are the first, the factor times it, and so on up to the cap."""
        backoff = exponential_backoff(first_seconds=5, factor=2, cap_seconds=35, jitter=lambda: 1.0)
        self.assertEqual([backoff(attempt) for attempt in range(1, 6)], [5, 10, 20, 35, 35])

    @given(attempt=ATTEMPTS, chance=CHANCES)
    def test_bounds(self, attempt: int, chance: float) -> None:
        """However many attempts failed and whatever the jitter, a wait is between half its longest and its longest."""
        longest = exponential_backoff(first_seconds=1, factor=2, cap_seconds=60, jitter=lambda: 1.0)(attempt)
        wait = exponential_backoff(first_seconds=1, factor=2, cap_seconds=60, jitter=lambda: chance)(attempt)
        self.assertTrue(longest / 2 <= wait <= longest <= 60)

    def test_spread(self) -> None:
        """The jitter moves a wait evenly over the upper half."""
        chances = iter([0.0, 0.5, 1.0])
        backoff = exponential_backoff(first_seconds=8, factor=2, cap_seconds=60, jitter=lambda: next(chances))
        self.assertEqual([backoff(1), backoff(1), backoff(1)], [4, 6, 8])


class WaitSecondsTests(SynchronousTestCase):
    """Tests for `wait_seconds`."""

    def test_nothing_asked(self) -> None:
        """Without `Retry-After` the wait is the backoff's for that attempt."""
        self.assertEqual(wait_seconds(lambda attempt: attempt * 3.0, 2, None), 6)

    def test_asked(self) -> None:
        """A `Retry-After` is waited out, and the backoff on top of it."""
        self.assertEqual(wait_seconds(lambda attempt: 5.0, 1, 30), 35)
