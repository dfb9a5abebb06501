"""Answers at random, and what they still tell on the whole."""

from __future__ import annotations

from collections import Counter
from math import exp, log
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.noise import estimated, kept_chance, randomised, rounded, rounded_integer

VALUES = ("linux", "macos", "windows", "other")
SEED = 20261


class RandomisedTests(SynchronousTestCase):
    """Tests for `randomised`."""

    def answers(self, value: str, epsilon: float, count: int, values: tuple[str, ...] = VALUES) -> Counter[str]:
        """What comes of a true value, many times."""
        chance = Random(SEED).random
        return Counter(randomised(value, values, epsilon, chance) for _ in range(count))

    def test_no_answer_tells_more_than_epsilon(self) -> None:
        """Whatever is answered, no true value is more than e^epsilon times as likely behind it as another is."""
        for values in (2, 4, 30):
            for epsilon in (0.1, 1.0, 5.0):
                kept = kept_chance(values, epsilon)
                changed = (1 - kept) / (values - 1)
                self.assertAlmostEqual(log(kept / changed), epsilon)

    def test_as_often_as_it_should(self) -> None:
        """The truth is told with the probability of the definition, and all others are equally likely."""
        epsilon, count = 1.0, 40_000
        found = self.answers("macos", epsilon, count)
        kept = exp(epsilon) / (exp(epsilon) + 3)
        self.assertApproximates(found["macos"] / count, kept, 0.01)
        for value in ("linux", "windows", "other"):
            self.assertApproximates(found[value] / count, (1 - kept) / 3, 0.01)

    @given(st.floats(min_value=0, max_value=1), st.sampled_from(VALUES), st.floats(min_value=0.01, max_value=20))
    def test_always_one_of_them(self, drawn: float, value: str, epsilon: float) -> None:
        """Whatever chance says, the answer is one of the values."""
        self.assertIn(randomised(value, VALUES, epsilon, lambda: drawn), VALUES)

    def test_one_value(self) -> None:
        """Where there is one value alone, it is the answer."""
        self.assertEqual(randomised("other", ("other",), 1.0, lambda: 1.0), "other")
        self.assertEqual(estimated({"other": 7}, ("other",), 1.0), {"other": 7})

    def test_the_vendor_can_count(self) -> None:
        """Out of all answers together the vendor learns how often each value is true, within what is documented."""
        truth = {"linux": 30_000, "macos": 12_000, "windows": 900, "other": 0}
        chance, epsilon, total = Random(SEED).random, 1.5, sum(truth.values())
        seen: Counter[str] = Counter()
        for value, count in truth.items():
            seen.update(randomised(value, VALUES, epsilon, chance) for _ in range(count))
        kept = kept_chance(len(VALUES), epsilon)
        changed = (1 - kept) / 3
        deviation = (total * changed * (1 - changed)) ** 0.5 / (kept - changed)
        found = estimated(seen, VALUES, epsilon)
        for value, count in truth.items():
            self.assertApproximates(found[value], count, 4 * deviation)
        self.assertApproximates(sum(found.values()), total, 1e-6)

    def test_unbiased(self) -> None:
        """The estimate is right on average, for a small crowd, too, also where single ones are far off."""
        chance, total = Random(SEED).random, 0.0
        for _ in range(400):
            seen = Counter(randomised(value, VALUES, 0.5, chance) for value in ["linux"] * 20 + ["macos"] * 80)
            total += estimated(seen, VALUES, 0.5)["linux"]
        self.assertApproximates(total / 400, 20, 6)


class RoundedTests(SynchronousTestCase):
    """Tests for `rounded`."""

    def test_written_short(self) -> None:
        """A rounded number has no more digits than its step."""
        for value, step, expected in (
            (0.34, 0.1, "0.3"),
            (12.8, 10.0, "10.0"),
            (15.0, 10, "20.0"),
            (25.0, 10, "20.0"),
            (-7.5, 5, "-10.0"),
            (1e300, 1e-3, "1e+300"),
            (1e-320, 10, "0.0"),
            (1.79e308, 1e308, "1.79e+308"),
        ):
            self.assertEqual(repr(rounded(value, step)), expected)

    @given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.01, 0.1, 0.25, 1.0, 10.0, 3600.0]))
    def test_near(self, value: float, step: float) -> None:
        """It is no further from the number than half a step, as far as floats can tell."""
        self.assertLessEqual(abs(rounded(value, step) - value), step / 2 * (1 + 1e-9) + abs(value) * 1e-15)

    @given(st.integers(), st.integers(min_value=1, max_value=10**6))
    def test_integers(self, value: int, step: int) -> None:
        """An integer becomes a multiple, the nearest, the even one between two."""
        result = rounded_integer(value, step)
        self.assertEqual(result % step, 0)
        self.assertLessEqual(2 * abs(result - value), step)
        if 2 * abs(result - value) == step:
            self.assertEqual(result // step % 2, 0)
