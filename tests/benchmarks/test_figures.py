"""What the benchmark makes of many measurements."""

from __future__ import annotations

from docutils.core import publish_doctree
from docutils.nodes import entry
from docutils.nodes import table as table_node
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.figures import Spread, Threshold, number, ratios, spread, table


class FiguresTests(SynchronousTestCase):
    """Medians, ratios, and how they are written."""

    def test_the_median_stands_between_its_ends(self) -> None:
        """One run that somebody else's work slowed down does not change what is told, but is seen."""
        self.assertEqual(spread([10_000, 4_000, 11_000]), Spread(10_000, 4_000, 11_000))
        self.assertEqual(str(spread([10_000, 4_000, 11_000])), "10 000 (4 000..11 000)")

    def test_peers_are_compared_within_a_round(self) -> None:
        """A machine that is half as fast for a round changes no ratio."""
        self.assertEqual(ratios([20, 10], [10, 5]), Spread(2, 2, 2))

    def test_rounds_are_complete(self) -> None:
        """Peers that were not measured equally often are not compared."""
        with self.assertRaises(ValueError):
            ratios([1, 2], [1])

    def test_numbers_have_three_digits_that_mean_something(self) -> None:
        """Nobody reads digits that the next run would change."""
        written = [number(value) for value in (0, 0.8714, 1.005, 35.24, 350.4, 12_345.6)]
        self.assertEqual(written, ["0.000", "0.871", "1.00", "35.2", "350", "12 346"])

    def test_a_bound_itself_is_good_enough(self) -> None:
        """At least means at least, and at most means at most; the verdict can be read without the numbers."""
        self.assertTrue(Threshold("rate", 1.0, 1.0).is_met)
        self.assertFalse(Threshold("rate", 0.99, 1.0).is_met)
        self.assertTrue(Threshold("CPU", 0.5, 0.5, at_most=True).is_met)
        self.assertFalse(Threshold("CPU", 0.51, 0.5, at_most=True).is_met)
        self.assertTrue(str(Threshold("rate", 0.99, 1.0)).startswith("NOT MET"))
        self.assertTrue(str(Threshold("rate", 1.0, 1.0)).startswith("met"))

    def test_tables_can_be_pasted_into_the_documentation(self) -> None:
        """What is printed is a table of reStructuredText, cell by cell."""
        lines = table(("peer", "writes/s"), [("influxd", "12 340 (1..2)"), ("Go proxy", "5")])
        found = next(iter(publish_doctree("\n".join(lines)).findall(table_node)))
        cells = [cell.astext() for cell in found.findall(entry)]
        self.assertEqual(cells, ["peer", "writes/s", "influxd", "12 340 (1..2)", "Go proxy", "5"])
