"""What the times of points and reports may tell. Pure: clocks and chance are parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["Stamp", "departures", "unique_stamps"]

Stamp = Callable[[int | None], int]
"""From the time that an application gives a point, or None, to the time it is written with: nanoseconds since 1970."""

SET_BACK_NS = 1_000_000_000
"""A wall clock that says this much less than before was set back, and is right now. By less it only repeats itself: the
coarsest clocks in use tick every 16 ms, and a second of stamps one nanosecond apart is more than anybody records."""


def unique_stamps(now_ns: Callable[[], int]) -> Stamp:
    """Stamps that do not repeat, because InfluxDB keeps only the last of two points with equal tags and time.

    A time given by the application stays as it is: whoever says when, means it.

    :param now_ns: the wall clock.
    :returns: a policy whose stamps are the clock's, each at least 1 ns after the one before it. When the clock is set
        back by a second or more they follow it, and may repeat earlier ones.
    """
    last_ns = 0

    def stamp(given_ns: int | None) -> int:
        nonlocal last_ns
        if given_ns is not None:
            return given_ns
        now = now_ns()
        last_ns = last_ns + 1 if now <= last_ns < now + SET_BACK_NS else now
        return last_ns

    return stamp


def departures(interval_seconds: float, chance: Callable[[], float]) -> Iterator[float]:
    """When reports leave: once in each interval, at a random moment of it, whatever happens and whenever.

    :param chance: a number from 0 to 1 for each interval, evenly spread.
    :returns: the seconds from the start to the first departure, from there to the second, and so on without end.
    """
    rest = 0.0
    while True:
        moment = interval_seconds * chance()
        yield rest + moment
        rest = interval_seconds - moment
