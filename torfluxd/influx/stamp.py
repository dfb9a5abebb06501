"""Times for lines: one that nobody else has for those that come without, and nanoseconds for all.

InfluxDB gives a line without a time the time of its arrival, so whoever sends it twice stores it twice. A line that
went through here has its own time, and can be sent as often as it takes.
"""

from __future__ import annotations

import enum
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from torfluxd.influx.dialect import Precision

__all__ = ["AUTO_UNITS", "NANOSECONDS", "SLOT_NS", "Stamper", "Timestamps", "read_time", "stamp_lines"]

NANOSECONDS: Final[Mapping[Precision, int]] = MappingProxyType(
    {"ns": 1, "u": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "auto": 1}
)
"""The nanoseconds in one unit of each precision. Of `auto` it is the finest, which bounds what a time may be: all times
that it takes for coarser ones are far from the end of what InfluxDB can hold."""

_GUESSES: Sequence[tuple[int, int]] = ((5 * 10**9, 10**9), (5 * 10**12, 10**6), (5 * 10**15, 10**3))
"""How `auto` tells a unit: a time below the first number, sign aside, is in units of so many nanoseconds. So does 3.x
(`guess_precision` in influxdb3_types/src/write.rs, read); it is right for times from some months after 1970 to 2128."""

SLOT_NS = 1024
"""How exact a stamp is. Each stamp is a multiple of this, which tells the time to a microsecond, plus the place of its
process among this many: so two processes whose places differ never give the same stamp, whatever their clocks say."""

AUTO_UNITS: Final = tuple(
    (smallest, limit - 1, unit)
    for smallest, (limit, unit) in zip((0, *(limit for limit, _ in _GUESSES)), (*_GUESSES, (2**63, 1)), strict=True)
)
"""The times that `auto` takes for each unit: the smallest, the largest, and the nanoseconds in one."""

_ZEROS: Mapping[Precision, bytes] = MappingProxyType({"u": b"000", "ms": b"000000", "s": b"000000000"})
"""What makes nanoseconds out of a written time where the unit is a power of ten."""

_TIME = re.compile(rb"(?<=[ \t])-?[0-9]++$", re.MULTILINE)


class Timestamps(enum.Enum):
    """Which of the lines have a time."""

    ALL = "all"
    NONE = "none"
    SOME = "some"


class Stamper:
    """Gives times, in nanoseconds since 1970, each once.

    Within one process each is greater than the one before, even when the clock is set back. Between processes their
    places keep them apart: give each worker of one gateway another place. Between two runs, or two gateways that chose
    their places at random, it takes the same place (1 in 1024) *and* the same microsecond: after a restart that is a
    clock set back over the time of the first run. For two gateways of 1000 requests/s each that write to the same
    series, that is 1 request in a million. Nothing is kept on disk for this.

    Under more than 976 000 requests a second, stamps run ahead of the clock.

    :param place: below `SLOT_NS`; by default one at random.
    :param clock: the nanoseconds since 1970.
    """

    def __init__(self, place: int | None = None, clock: Callable[[], int] = time.time_ns) -> None:
        if place is None:
            place = secrets.randbelow(SLOT_NS)
        if not 0 <= place < SLOT_NS:
            raise ValueError(f"the place of a stamper is from 0 to {SLOT_NS - 1}, not {place}")
        self._place = place
        self._clock = clock
        self._slot = 0

    def stamp(self) -> int:
        """A time that no other request has: within 1.1 microseconds of now, unless the clock went back."""
        self._slot = max(self._clock() // SLOT_NS, self._slot + 1)
        return self._slot * SLOT_NS + self._place


def stamp_lines(
    lines: bytes, stamp_ns: int | None, precision: Precision = "ns", timestamps: Timestamps = Timestamps.SOME
) -> bytes:
    """Give every line a time in nanoseconds. Lines that all have one come back as they are, the same object.

    :param lines: as :func:`torfluxd.influx.check.check` gives them back: nothing after the last value but the time.
    :param stamp_ns: for the lines that have none; None to leave them without.
    :param precision: the unit of the times that are there.
    :param timestamps: which lines have a time; `SOME` is always right, and slower.
    """
    if not lines:
        return lines
    if timestamps is Timestamps.NONE:
        return lines if stamp_ns is None else _with_end(lines, b" %d" % stamp_ns)
    if timestamps is Timestamps.SOME and stamp_ns is not None:
        return b"\n".join(_stamped(line, stamp_ns, precision) for line in lines.split(b"\n"))
    if precision == "ns":
        return lines
    if precision in _ZEROS and timestamps is Timestamps.ALL:
        return _with_end(lines, _ZEROS[precision])
    return _TIME.sub(lambda found: _in_nanoseconds(found[0], precision), lines)


def _with_end(lines: bytes, end: bytes) -> bytes:
    """The lines, each with this at its end."""
    return lines.replace(b"\n", end + b"\n") + end


def _stamped(line: bytes, stamp_ns: int, precision: Precision) -> bytes:
    found = _TIME.search(line, line.rfind(b" "))
    if found is None:
        return b"%b %d" % (line, stamp_ns)
    if precision == "ns":
        return line
    return line[: found.start()] + _in_nanoseconds(found[0], precision)


def _in_nanoseconds(written: bytes, precision: Precision) -> bytes:
    return b"%d" % read_time(written, precision)


def read_time(written: bytes, precision: Precision) -> int:
    """A time in nanoseconds.

    :param written: as in a good line.
    :param precision: its unit.
    """
    digits = written.lstrip(b"-0") or b"0"  # int() does not take thousands of zeros
    time = int(digits) if written[:1] != b"-" else -int(digits)
    return time * (_guessed(time) if precision == "auto" else NANOSECONDS[precision])


def _guessed(time: int) -> int:
    """The nanoseconds in the unit in which a time seems to be written."""
    for limit, nanoseconds in _GUESSES:
        if abs(time) < limit:
            return nanoseconds
    return 1
