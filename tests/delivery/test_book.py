"""Tests for `torfluxd.delivery.book`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.delivery.book import Place, Remembered
from torfluxd.delivery.lending import LAST_POSITION
from torfluxd.delivery.store import Span

CHANGES = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers()), max_size=30)


class RememberedTests(SynchronousTestCase):
    """A mapping that can be taken back."""

    @given(before=CHANGES, after=CHANGES)
    def test_revert(self, before: list[tuple[int, int | None]], after: list[tuple[int, int | None]]) -> None:
        """Whatever was written since the mark, it leads back to what was there, and says where something was."""
        mapping = Remembered[int, int]()
        for key, value in before:
            mapping.put(key, value)
        mapping.mark()
        there = dict(mapping.items())
        for key, value in after:
            mapping.put(key, value)
        self.assertEqual(set(mapping.changed), {key for key, _ in after})
        mapping.revert()
        self.assertEqual((dict(mapping.items()), set(mapping.changed)), (there, set()))


class PlaceTests(SynchronousTestCase):
    """How far one destination has come."""

    def test_ahead(self) -> None:
        """What was put back is looked at first, oldest first, and then what was never lent."""
        place = Place(1, cursor=9).put_back(Span(7, 9)).put_back(Span(2, 4))
        seen = []
        for _ in range(3):
            seen.append(place.ahead)
            place = place.passed(place.ahead.last if place.returned else 12)
        self.assertEqual(seen, [Span(2, 4), Span(7, 9), Span(10, LAST_POSITION)])
        self.assertEqual(place.ahead.first, 13)

    def test_partly_passed(self) -> None:
        """What of it was not lent again is still ahead; where nothing was found there is nothing."""
        place = Place(1, cursor=9).put_back(Span(2, 8)).passed(5)
        self.assertEqual(place.ahead, Span(6, 8))
        self.assertEqual(place.passed(None).ahead, Span(10, LAST_POSITION))
        self.assertEqual(place.passed(None).passed(None).ahead, Span(10, LAST_POSITION))
