"""One chance, and as many as are needed out of it."""

from __future__ import annotations

from itertools import islice
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.chance import branches, chance_from, drawn_bytes


class ChanceTests(SynchronousTestCase):
    """Tests for `chance`."""

    def test_one_seed_one_row_of_numbers(self) -> None:
        """The same seed gives the same numbers, another seed gives others; all are from 0 to 1, and evenly spread."""
        one, same, other = chance_from(b"a"), chance_from(b"a"), chance_from(b"b")
        numbers = [one() for _ in range(4000)]
        self.assertEqual(numbers, [same() for _ in range(4000)])
        self.assertNotEqual(numbers[0], other())
        self.assertTrue(all(0 <= number < 1 for number in numbers))
        for tenth in range(10):
            self.assertApproximates(sum(tenth <= number * 10 < tenth + 1 for number in numbers) / 4000, 0.1, 0.02)

    def test_branches_know_nothing_of_one_another(self) -> None:
        """How often one is asked changes nothing for the others: so events do not move the moments of reports."""
        quiet, loud = (list(islice(branches(Random(7).random), 2)) for _ in range(2))
        for _ in range(100):
            loud[0]()
        self.assertEqual([quiet[1]() for _ in range(9)], [loud[1]() for _ in range(9)])
        self.assertNotEqual(quiet[0](), quiet[1]())

    def test_bytes(self) -> None:
        """As many bytes as are asked for, also where chance is at one of its ends."""
        self.assertEqual(drawn_bytes(lambda: 0.0, 5), bytes(5))
        self.assertEqual(drawn_bytes(lambda: 1.0, 5), b"\xff" * 5)
        self.assertEqual(len(set(drawn_bytes(Random(1).random, 4000))), 256)
