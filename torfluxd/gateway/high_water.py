"""How full the spool has become: said once for each mark that it rises to."""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

__all__ = ["MARKS_PERCENT", "HighWater"]

MARKS_PERCENT: Final = (50, 80, 95)
"""Half is news, 80 % is what alerts are made of, and at 95 % it is minutes until strangers are turned away."""

EASE_PERCENT: Final = 10
"""How far it must fall below a mark before that can be news again: a spool that is drained and filled at a time goes up
and down around one."""

_log = Logger()


class HighWater:
    """Watches one spool.

    :param limit_bytes: how much it holds.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._said = 0

    def see(self, size_bytes: int) -> None:
        """It holds so much now."""
        percent = 100 * size_bytes // self._limit_bytes
        if percent < self._said - EASE_PERCENT:
            self._said = max((mark for mark in MARKS_PERCENT if mark <= percent), default=0)
        reached = max((mark for mark in MARKS_PERCENT if mark <= percent), default=0)
        if reached > self._said:
            self._said = reached
            _log.warn(
                "the spool is {percent} % full ({size_bytes} of {limit_bytes} bytes); when it is full, strangers are"
                " told to come back later: see why InfluxDB takes no writes, or raise --spool-limit",
                percent=percent,
                size_bytes=size_bytes,
                limit_bytes=self._limit_bytes,
            )
