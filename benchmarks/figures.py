"""What is made of many measurements: medians, spreads, ratios, and whether they are good enough. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from attrs import frozen

__all__ = ["Spread", "Threshold", "number", "ratios", "spread", "table"]


@frozen
class Spread:
    """The middle of some measurements, and how far they lie apart.

    :ivar median: half of them are below.
    :ivar low: the smallest.
    :ivar high: the greatest.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)}..{number(self.high)})"


def spread(values: Iterable[float]) -> Spread:
    """Tell the middle and the ends of some measurements.

    :param values: at least one.
    """
    all_values = list(values)
    return Spread(statistics.median(all_values), min(all_values), max(all_values))


def ratios(measured: Sequence[float], reference: Sequence[float]) -> Spread:
    """Compare two peers round by round, so that what slows a whole round cancels out.

    :param measured: one value for each round.
    :param reference: of the same rounds, in the same order; none is 0.
    """
    return spread(ours / theirs for ours, theirs in zip(measured, reference, strict=True))


def number(value: float) -> str:
    """Write a number with three digits that mean something, and thousands apart: `12 340`, `35.2`, `0.871`."""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


@frozen
class Threshold:
    """What a measurement must show.

    :ivar what: for people: what is measured.
    :ivar value: what was measured: a median.
    :ivar bound: what it is held against.
    :ivar at_most: whether the bound is an upper one.
    """

    what: str
    value: float
    bound: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is good enough."""
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "NOT MET"
        sense = "at most" if self.at_most else "at least"
        return f"{verdict:<8} {self.what}: {number(self.value)}, wanted {sense} {number(self.bound)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay out rows as a simple table of reStructuredText, as it stands in `docs/performance.rst`.

    :param head: the title of each column; the first column stands left, all others right.
    :param rows: as many cells in each; the first is never empty, which reStructuredText would read as a continuation.
    """
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    first, *others = ("  ".join(_aligned(row, widths)).rstrip() for row in cells)
    return [rule, first, rule, *others, rule]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    yield row[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
