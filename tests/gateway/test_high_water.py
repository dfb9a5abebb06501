"""The operator hears of a spool that fills up, at half, at 80 % and at 95 %, and not for each write."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.high_water import HighWater


class HighWaterTests(SynchronousTestCase):
    """One spool of 1000 bytes."""

    def said(self, *sizes: int) -> list[int]:
        """At which percentages something was said."""
        high_water = HighWater(1000)
        with capturedLogs() as events:
            for size in sizes:
                high_water.see(size)
        return [event["percent"] for event in events]

    def test_each_mark_once(self) -> None:
        """Each mark is told once on the way up, and nothing else is."""
        self.assertEqual([50, 80, 95], self.said(*range(0, 1001, 5)))

    def test_a_leap(self) -> None:
        """A spool that leaps over two marks, or is found full at the start, is told once."""
        self.assertEqual([99], self.said(0, 990, 1000))
        self.assertEqual([85], self.said(850, 860))

    def test_around_a_mark(self) -> None:
        """What is drained and filled at a time, around a mark, is told once."""
        self.assertEqual([80], self.said(800, 790, 801, 720, 805, 750, 810))

    def test_again(self) -> None:
        """A second outage is news like the first."""
        self.assertEqual([50, 80, 50, 80], self.said(500, 800, 600, 0, 500, 800))
        self.assertEqual([80, 80], self.said(800, 600, 800))

    def test_says_what_to_do(self) -> None:
        """The words tell what will happen, and what to do."""
        with capturedLogs() as events:
            HighWater(1000).see(800)
        (event,) = events
        self.assertIn("--spool-limit", event["log_format"])
