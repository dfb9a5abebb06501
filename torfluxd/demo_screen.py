"""What the demo shows: lines of progress, and a table of what has arrived in InfluxDB. Pure but for the writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from attrs import define, frozen

__all__ = ["Row", "Screen", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_UP = "\x1b[{lines}A"
_CLEAR_LINE = "\x1b[K"


@frozen
class Row:
    """What is known of one reporter.

    :ivar recorded: points that it recorded.
    :ivar stored: points of it that InfluxDB has.
    :ivar values: its latest values, as InfluxDB has them, oldest first.
    """

    name: str
    recorded: int
    stored: int
    values: Sequence[float]


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Values as bars between two bounds, one character each."""
    steps = len(_BARS) - 1
    return "".join(_BARS[round(steps * min(max((value - low) / (high - low), 0), 1))] for value in values)


def table(rows: Sequence[Row], low: float, high: float) -> list[str]:
    """The lines of the table."""
    lines = ["  reporter   recorded     stored   latest"]
    for row in rows:
        latest = f"{row.values[-1]:8.1f}" if row.values else "       -"
        bars = sparkline(row.values, low, high)
        lines.append(f"  {row.name:<8}{row.recorded:>11}{row.stored:>11} {latest}   {bars}")
    recorded, stored = sum(row.recorded for row in rows), sum(row.stored for row in rows)
    lines.append(f"  {'together':<8}{recorded:>11}{stored:>11}")
    return lines


@define
class Screen:
    """Where the demo writes.

    :ivar out: the stream.
    :ivar live: whether the table is drawn over itself, as on a terminal.
    """

    out: TextIO
    live: bool
    _drawn: int = 0

    def say(self, line: str = "") -> None:
        """Write one line; the table stays above it."""
        self.out.write(f"{line}\n")
        self.out.flush()
        self._drawn = 0

    def draw(self, rows: Sequence[Row], low: float, high: float) -> None:
        """Write the table, on a terminal over the one before; elsewhere one line of sums."""
        if not self.live:
            recorded, stored = sum(row.recorded for row in rows), sum(row.stored for row in rows)
            self.say(f"recorded {recorded}, stored {stored}")
            return
        lines = table(rows, low, high)
        up = _UP.format(lines=self._drawn) if self._drawn else ""
        self.out.write(up + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines))
        self.out.flush()
        self._drawn = len(lines)
