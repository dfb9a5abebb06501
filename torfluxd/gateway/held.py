"""How much of what strangers sent is held in memory: by connections that read, and by lanes that wait for InfluxDB."""

from __future__ import annotations

from attrs import define

__all__ = ["HELD_BYTES", "Held"]

HELD_BYTES = 256 * 1024 * 1024
"""The most that is held for all strangers together: 128 of the largest bodies, or all that tor brings in four seconds
with a core of its own. InfluxDB beside us wants memory, too."""


@define
class Held:
    """Counts what is held.

    What a connection holds can be let go by closing it. What waits in a lane cannot: it was taken, and goes to InfluxDB
    or into the spool. So when all is full, connections go, and what would have to wait is refused.

    :ivar limit_bytes: the most that is held.
    :ivar reading_bytes: held by connections: heads and bodies that are not whole, and what lies behind them.
    :ivar waiting_bytes: bodies, inflated, that wait until InfluxDB or the spool has taken them.
    """

    limit_bytes: int = HELD_BYTES
    reading_bytes: int = 0
    waiting_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """More is held than may be."""
        return self.reading_bytes + self.waiting_bytes > self.limit_bytes

    def may_wait(self, size: int) -> bool:
        """Whether a body of so many bytes may wait, too."""
        return self.waiting_bytes + size <= self.limit_bytes
