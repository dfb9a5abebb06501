"""A clock for the reactor that neither jumps nor stands still.

Twisted's is the date. Whoever sets the date back by an hour, a time server for instance, has every timer of a daemon
wait for an hour more: its deadlines, its retries, its watch over tor. Whoever sets it forward has all run out at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

__all__ = ["elapsed_seconds", "keep_steady"]


def elapsed_seconds() -> float:
    """Seconds since some moment, those among them in which this machine slept (`CLOCK_BOOTTIME`, on Linux)."""
    boot_time: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def keep_steady(
    reactor: IReactorTime,
    date: Callable[[], float] = time.time,
    elapsed: Callable[[], float] = elapsed_seconds,
) -> None:
    """Have a reactor's clock begin with the date of now, and then go on evenly, whatever becomes of the date.

    For the process that is ours alone: everything in it sees that clock. What is timed already stays so.

    :param reactor: before it runs.
    :param date: seconds since 1970.
    :param elapsed: seconds since some moment.
    """
    offset = date() - elapsed()
    reactor.seconds = lambda: elapsed() + offset  # type: ignore[method-assign]
