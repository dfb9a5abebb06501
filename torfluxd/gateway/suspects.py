"""Who was refused lately, so that his next refusal costs nobody else a thing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

__all__ = ["MAX_SUSPECTS", "SUSPECT_SECONDS", "Suspects"]

SUSPECT_SECONDS = 60.0
"""How long a writer or a measurement is batched apart: long enough that a flood of refusals costs one write each, short
enough that a mended client is among the others again within a minute."""

MAX_SUSPECTS = 4096
"""How many suspects are remembered, the latest of them; strangers can make up as many as they like."""


class Suspects:
    """Writers and measurements that were refused in the last minute.

    :param clock: measures how long ago.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def __bool__(self) -> bool:
        """Whether there may be any."""
        return bool(self._until)

    def add_writer(self, writer: Hashable) -> None:
        """A writer sent what is refused."""
        self._add((True, writer))

    def add_measurement(self, measurement: bytes) -> None:
        """A body that begins with this measurement was refused by InfluxDB."""
        self._add((False, measurement))

    def has_writer(self, writer: Hashable) -> bool:
        """Whether this writer was refused."""
        return self._has((True, writer))

    def has_measurement(self, measurement: bytes) -> bool:
        """Whether lines of this measurement were."""
        return self._has((False, measurement))

    def _add(self, suspect: Hashable) -> None:
        self._until.pop(suspect, None)
        self._until[suspect] = self._clock.seconds() + SUSPECT_SECONDS
        while len(self._until) > MAX_SUSPECTS:
            self._until.popitem(last=False)

    def _has(self, suspect: Hashable) -> bool:
        now = self._clock.seconds()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return suspect in self._until
