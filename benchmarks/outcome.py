"""What a measurement is asked for, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from benchmarks.figures import Threshold

__all__ = ["Outcome", "Plan"]


@frozen
class Plan:
    """What is to be measured.

    :ivar rounds: how often each peer is measured.
    :ivar seconds: of each timed part; whole ones, as wrk counts.
    :ivar only: the beginnings of the names of the wanted scenarios; all are wanted when there is none.
    """

    rounds: int
    seconds: int
    only: tuple[str, ...] = ()

    def wants(self, scenario: str) -> bool:
        """Whether a scenario is to be measured."""
        return not self.only or scenario.startswith(self.only)


@frozen
class Outcome:
    """What was measured.

    :ivar name: of the module; of the scenarios, if they failed.
    :ivar figures: the tables, by the name of the place in `docs/performance.rst` where they stand.
    :ivar thresholds: what it must show, and does or does not.
    :ivar runs: every single measurement, as attrs instances.
    :ivar failure: why there are none, or the empty string.
    """

    name: str
    figures: Mapping[str, Sequence[str]]
    thresholds: Sequence[Threshold]
    runs: Sequence[Any]
    failure: str = ""
