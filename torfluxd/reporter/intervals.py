"""Which interval a moment is in. Pure: the clock is a parameter.

Intervals begin where the wall clock, counted since 1970, is a multiple of their length: the same for all reporters, so
that when a reporter reports does not tell which one it is, or when it was started; and the same after a restart.
"""

from __future__ import annotations

from attrs import frozen

__all__ = ["Intervals"]

_NS = 1_000_000_000


@frozen
class Intervals:
    """Intervals of one length.

    :ivar length_ns: in nanoseconds.
    """

    length_ns: int

    @classmethod
    def of(cls, seconds: float) -> Intervals:
        """Intervals of so many seconds, above 0."""
        return cls(max(1, round(seconds * _NS)))

    def number(self, now_ns: int) -> int:
        """Of the interval that is now."""
        return now_ns // self.length_ns

    def end_ns(self, number: int) -> int:
        """When an interval ends, and the next begins."""
        return (number + 1) * self.length_ns

    def seconds_to_end(self, number: int, now_ns: int) -> float:
        """How long it takes until an interval ends; 0 when it is over."""
        return max(0, self.end_ns(number) - now_ns) / _NS
