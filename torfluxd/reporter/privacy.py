"""What reports may tell, and what not. Pure: clocks and chance are parameters.

* the times of points: :mod:`torfluxd.reporter.times`
* measurements, tags and fields: :mod:`torfluxd.reporter.disclosure`, and :mod:`torfluxd.reporter.noise` for answers at
  random
* when reports leave: :mod:`torfluxd.reporter.schedule`
* how large they are: :mod:`torfluxd.reporter.padding`

All of it happens on the user's machine, before anything is sent: the vendor need not be trusted with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Final

from attrs import Attribute, field, frozen

from torfluxd.errors import SettingsError
from torfluxd.reporter.chance import Chance, branches
from torfluxd.reporter.padding import PADDED_SIZES, padded
from torfluxd.reporter.schedule import departures, gaps
from torfluxd.reporter.times import LEAST_GRANULARITY_NS, CoarseTimes, ExactTimes, Stamp, Times, unique_stamps
from torfluxd.settings import MeasurementSchema

__all__ = [
    "GRANULARITY_NS",
    "KEY_BYTES",
    "MAX_GRANULARITY_NS",
    "PADDED_SIZES",
    "Chance",
    "PrivacyRules",
    "Stamp",
    "branches",
    "departures",
    "gaps",
    "new_key",
    "padded",
    "unique_stamps",
]

GRANULARITY_NS: Final = 60 * 10**9
"""A minute: as coarse as a dashboard's points, too coarse to tell a person by the moments at which things happen."""

MAX_GRANULARITY_NS: Final = 24 * 3600 * 10**9
"""A day, within which a gateway takes points from the future by default (`max_ahead` there)."""

KEY_BYTES: Final = 16
"""More than anybody can try."""


def new_key() -> bytes:
    """A key for :class:`PrivacyRules`."""
    return secrets.token_bytes(KEY_BYTES)


def _check_granularity(_: object, attribute: Attribute[int], value: int) -> None:
    if value and not LEAST_GRANULARITY_NS <= value <= MAX_GRANULARITY_NS:
        raise SettingsError("granularity: expected a time from a millisecond to a day, or 0 for exact times")


def _check_key(_: object, attribute: Attribute[bytes], value: bytes) -> None:
    if len(value) != KEY_BYTES:
        raise SettingsError(f"key: expected {KEY_BYTES} bytes, got {len(value)}")


@frozen
class PrivacyRules:
    """What the points of one reporter may tell.

    :ivar granularity_ns: how coarse their times are, in nanoseconds; 0 for exact times.
    :ivar key: `KEY_BYTES` random bytes of this reporter alone, kept between its runs: with the same key a point that is
        recorded twice with the same time is the same point. Whoever knows it can tell exact times from coarse ones.
    :ivar schema: the vendor's: what it does not name is not recorded. None for everything but personal names.
    :ivar declared_tags: without a schema: names that the application wants to send though they are personal.
    :raises SettingsError: one of these cannot be used.
    """

    granularity_ns: int = field(default=GRANULARITY_NS, validator=_check_granularity)
    key: bytes = field(factory=new_key, validator=_check_key, repr=False)
    schema: Mapping[str, MeasurementSchema] | None = None
    declared_tags: Collection[str] = field(default=frozenset(), converter=frozenset)

    def times(self, now_ns: Callable[[], int], chance: Chance) -> Times:
        """The times that points are written with.

        :param now_ns: the wall clock: nanoseconds since 1970.
        """
        if not self.granularity_ns:
            return ExactTimes(now_ns)
        return CoarseTimes(self.granularity_ns, now_ns, chance, self.key)
