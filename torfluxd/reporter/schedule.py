"""When reports leave. Pure: chance is a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Final

from torfluxd.reporter.chance import Chance

__all__ = ["departures", "gaps"]

LONGEST_GAP: Final = 5.0
"""How long a gap can be, times the mean: one gap in 150 would be longer."""


def departures(interval_seconds: float, chance: Chance) -> Iterator[float]:
    """When reports leave: once in each interval, at a random moment of it, whatever happens and whenever.

    :param chance: a number from 0 to 1 for each interval, evenly spread.
    :returns: the seconds from the start to the first departure, from there to the second, and so on without end.
    """
    rest = 0.0
    while True:
        moment = interval_seconds * chance()
        yield rest + moment
        rest = interval_seconds - moment


def gaps(mean_seconds: float, chance: Chance) -> Iterator[float]:
    """The pauses between the reports of a backlog, so that it does not arrive as a burst that is known by its pace.

    They are spread as the gaps between strangers are who come independently of one another (exponentially), but for the
    longest: how long one has lasted says nothing of when it ends.

    :param mean_seconds: of a gap, nearly.
    :param chance: a number from 0 to 1 for each gap, evenly spread.
    :returns: seconds, each at most `LONGEST_GAP` times the mean, without end.
    """
    while True:
        left = max(1.0 - chance(), 1e-9)  # chance may be 1, of which there is no logarithm
        yield mean_seconds * min(-log(left), LONGEST_GAP)
