"""Which times a point may have, while the clock goes on.

A window is known in two ways: exactly, for one time; and as a pattern for all times that are surely in it, now and for
a while, which costs no more than to see that a time is a number.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from torfluxd.influx.dialect import Precision
from torfluxd.influx.grammar import NOTHING
from torfluxd.influx.line import MAX_TIME_NS
from torfluxd.influx.stamp import AUTO_UNITS, NANOSECONDS

__all__ = ["DAY_NS", "SURE_NS", "Window", "whole_numbers"]

SECOND_NS: Final = 10**9
DAY_NS: Final = 86_400 * SECOND_NS

SURE_NS: Final = 3600 * SECOND_NS
"""For how long a pattern holds. It leaves as much out at the old end, which is an hour in three months; to compile one
takes milliseconds."""


class Window:
    """The times from so long ago to so far ahead, of those that InfluxDB can hold.

    :param max_age_seconds: how long ago.
    :param max_ahead_seconds: how far ahead.
    :param clock: the nanoseconds since 1970.
    """

    def __init__(
        self, max_age_seconds: float, max_ahead_seconds: float, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.max_age_ns = int(max_age_seconds * SECOND_NS)
        self.max_ahead_ns = int(max_ahead_seconds * SECOND_NS)
        self.clock = clock
        self._since = self._until = 0

    def holds(self, time_ns: int) -> bool:
        """Whether a point may have this time now."""
        now = self.clock()
        return now - self.max_age_ns <= time_ns <= min(now + self.max_ahead_ns, MAX_TIME_NS)

    def has_moved(self) -> bool:
        """Whether the patterns made before are to be made again; then this moment is the one they are made for.

        They are so when they have got old, and when the clock was set back.
        """
        now = self.clock()
        if self._since <= now < self._until:
            return False
        self._since, self._until = now, now + SURE_NS
        return True

    def sure_times(self, precision: Precision, max_age_ns: int) -> bytes:
        """A pattern of written times that are in the window until it has moved, and not older than this; in the unit
        of a precision. It may match no time at all.
        """
        low = max(0, self._until - min(max_age_ns, self.max_age_ns))
        high = min(self._since + self.max_ahead_ns, MAX_TIME_NS)
        if precision != "auto":
            return whole_numbers(*_in_units(low, high, NANOSECONDS[precision]))
        parts = []
        for smallest, largest, unit in AUTO_UNITS:
            first, last = _in_units(low, high, unit)
            parts.append(whole_numbers(max(first, smallest), min(last, largest)))
        return b"(?:%b)" % b"|".join(parts)


def _in_units(low_ns: int, high_ns: int, unit: int) -> tuple[int, int]:
    """The whole units between two times."""
    return -(-low_ns // unit), high_ns // unit


def whole_numbers(first: int, last: int) -> bytes:
    """A pattern of the whole numbers from one to another, both included and not negative, without zeros before them."""
    choices: list[bytes] = []
    for length in range(len(str(first)), len(str(last)) + 1):
        low, high = max(first, 10 ** (length - 1) if length > 1 else 0), min(last, 10**length - 1)
        if low <= high:
            choices += _between(b"%d" % low, b"%d" % high)
    return b"(?:%b)" % b"|".join(choices) if choices else NOTHING


def _between(low: bytes, high: bytes) -> Iterator[bytes]:
    """Patterns of the numbers between two of the same length."""
    rest = len(low) - 1
    if low == b"0" * len(low) and high == b"9" * len(high):
        yield b"[0-9]{%d}" % len(low) if low else b""
    elif low[:1] == high[:1]:
        yield from (low[:1] + each for each in _between(low[1:], high[1:]))
    else:
        first, last = low[0], high[0]
        if low[1:] != b"0" * rest:
            yield from (low[:1] + each for each in _between(low[1:], b"9" * rest))
            first += 1
        if high[1:] != b"9" * rest:
            yield from (high[:1] + each for each in _between(b"0" * rest, high[1:]))
            last -= 1
        if first <= last:
            yield b"[%c-%c]" % (first, last) + (b"[0-9]{%d}" % rest if rest else b"")
