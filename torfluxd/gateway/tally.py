"""What became of strangers' writes, in plain integers: counted where it happens, for a whole write of many strangers at
once where that is possible, and read when somebody asks (see `ops.figures`).
"""

from __future__ import annotations

from bisect import bisect_left

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Batch, Fate, Reply, Upstream
from torfluxd.ops.figures import BATCH_POINTS_BOUNDS, INFLUXDB_SECONDS_BOUNDS, Figures, Histogram

__all__ = ["TalliedUpstream", "Tally"]


@define(eq=False)
class Tally:
    """Counts, each from the start of the process on.

    :ivar written: writes whose good lines are stored, or kept in the spool.
    :ivar refused: writes that were refused for what is in them, or what is not.
    :ivar postponed: writes that were told to come back.
    :ivar answered: statements that were answered with a constant.
    :ivar forwarded: requests that were passed on to InfluxDB as they are.
    :ivar stored_lines: lines that InfluxDB stored at once.
    :ivar kept_lines: lines that were kept in the spool.
    :ivar invalid_lines: lines that are none, or against the rules.
    :ivar refused_lines: lines of writes that InfluxDB refused, in part perhaps.
    :ivar postponed_lines: lines of writes that were told to come back.
    :ivar delivered_writes: writes that InfluxDB took, out of the spool too.
    :ivar rejected_writes: writes that it refused.
    :ivar postponed_writes: writes that it did not take, and may later.
    :ivar write_seconds: how many took how long, for each of `INFLUXDB_SECONDS_BOUNDS` and beyond.
    :ivar write_points: how many had how many points, for each of `BATCH_POINTS_BOUNDS` and beyond.
    :ivar seconds_total: how long all of them took together.
    :ivar points_total: how many points all of them had.
    """

    written: int = 0
    refused: int = 0
    postponed: int = 0
    answered: int = 0
    forwarded: int = 0
    stored_lines: int = 0
    kept_lines: int = 0
    invalid_lines: int = 0
    refused_lines: int = 0
    postponed_lines: int = 0
    delivered_writes: int = 0
    rejected_writes: int = 0
    postponed_writes: int = 0
    write_seconds: list[int] = field(factory=lambda: [0] * (len(INFLUXDB_SECONDS_BOUNDS) + 1))
    write_points: list[int] = field(factory=lambda: [0] * (len(BATCH_POINTS_BOUNDS) + 1))
    seconds_total: float = 0.0
    points_total: int = 0

    def settled(self, fate: Fate, writes: int, points: int) -> None:
        """Count strangers' writes that have their answer, and those of their lines that are neither stored nor kept."""
        if fate is Fate.DELIVERED:
            self.written += writes
        elif fate is Fate.POSTPONE:
            self.postponed += writes
            self.postponed_lines += points
        else:
            self.refused += writes
            self.refused_lines += points

    def sent(self, fate: Fate, points: int, seconds: float) -> None:
        """Count a write to InfluxDB that has its reply.

        :param seconds: how long that took, by a clock that may have been set back meanwhile.
        """
        if fate is Fate.DELIVERED:
            self.delivered_writes += 1
        elif fate is Fate.POSTPONE:
            self.postponed_writes += 1
        else:
            self.rejected_writes += 1
        if seconds > 0:
            self.seconds_total += seconds
        self.write_seconds[bisect_left(INFLUXDB_SECONDS_BOUNDS, seconds)] += 1
        self.write_points[bisect_left(BATCH_POINTS_BOUNDS, points)] += 1
        self.points_total += points

    @property
    def figures(self) -> Figures:
        """All of it."""
        return Figures(
            requests={
                "answered": self.answered,
                "forwarded": self.forwarded,
                "postponed": self.postponed,
                "refused": self.refused,
                "written": self.written,
            },
            lines={
                "invalid": self.invalid_lines,
                "kept": self.kept_lines,
                "postponed": self.postponed_lines,
                "refused": self.refused_lines,
                "stored": self.stored_lines,
            },
            influxdb_writes={
                "delivered": self.delivered_writes,
                "postponed": self.postponed_writes,
                "rejected": self.rejected_writes,
            },
            influxdb_write_seconds=Histogram(INFLUXDB_SECONDS_BOUNDS, tuple(self.write_seconds), self.seconds_total),
            influxdb_write_points=Histogram(BATCH_POINTS_BOUNDS, tuple(self.write_points), self.points_total),
        )


class TalliedUpstream:
    """An upstream whose writes are counted.

    :param upstream: where InfluxDB is.
    :param clock: measures how long it takes.
    """

    def __init__(self, upstream: Upstream, clock: IReactorTime, tally: Tally) -> None:
        self._send = upstream.send
        self._seconds = clock.seconds
        self._tally = tally

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a batch; see :meth:`torfluxd.boundaries.Upstream.send`."""
        return self._send(batch).addCallback(self._count, batch.points, self._seconds())

    def _count(self, reply: Reply, points: int, begun: float) -> Reply:
        self._tally.sent(reply.fate, points, self._seconds() - begun)
        return reply


_: type[Upstream] = TalliedUpstream
