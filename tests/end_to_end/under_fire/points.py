"""Points that can be told apart, and the count of them in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from itertools import count, islice

from attrs import define, field, frozen

from tests.influxd import Influxd

__all__ = ["DATABASE", "MEASUREMENT", "Census", "Register", "take_census"]

DATABASE = "telemetry"
MEASUREMENT = "load"

DAY_NS = 86_400 * 10**9

FIRST_NS = (time.time_ns() // DAY_NS - 30) * DAY_NS
"""The time of the point with the id 0, a month ago; the others follow, one a nanosecond. Points that go without a time
get one of today, so that they can be told from these."""

LAST_NS = FIRST_NS + 10**15


@define(eq=False)
class Register:
    """Gives out ids of points, each one once, and knows which of them were acknowledged. For many threads.

    :ivar acknowledged: the ids of points that were answered 204.
    """

    acknowledged: set[int] = field(factory=set)
    _ids: count[int] = field(factory=count, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def new_ids(self, number: int) -> list[int]:
        """So many ids."""
        with self._lock:
            return list(islice(self._ids, number))

    def snapshot(self) -> set[int]:
        """What was acknowledged by now."""
        with self._lock:
            return set(self.acknowledged)

    def up_to(self, last: int) -> int:
        """How many points up to this id were acknowledged."""
        with self._lock:
            return sum(id_ <= last for id_ in self.acknowledged)

    def forget_up_to(self, last: int) -> None:
        """Points up to this id need not be there any more."""
        with self._lock:
            self.acknowledged = {id_ for id_ in self.acknowledged if id_ > last}

    def acknowledge(self, ids: Collection[int]) -> None:
        """These points were answered 204."""
        with self._lock:
            self.acknowledged.update(ids)


def stamped(ids: Sequence[int], writer: int) -> bytes:
    """The lines of these points, each with its time."""
    return b"\n".join(b"%s,writer=%d id=%di %d" % (MEASUREMENT.encode(), writer, id_, FIRST_NS + id_) for id_ in ids)


def unstamped(ids: Sequence[int], writer: int) -> bytes:
    """The lines of these points, without a time. Points of one write get the same, so each has a series of its own."""
    lines = (b"%s,writer=%d,slot=%d id=%di" % (MEASUREMENT.encode(), writer, slot, id_) for slot, id_ in enumerate(ids))
    return b"\n".join(lines)


@frozen
class Census:
    """What InfluxDB holds, beside what was acknowledged.

    :ivar acknowledged: how many points were.
    :ivar found: how many points InfluxDB holds; those whose writer never heard the answer are among them.
    :ivar missing: how many points were acknowledged and are not there.
    :ivar duplicated: how many points are there, though one with the same id is there as well.
    :ivar misdated: how many points stand at another time than their writer's.
    """

    acknowledged: int
    found: int
    missing: int
    duplicated: int
    misdated: int

    @property
    def faults(self) -> tuple[int, int, int]:
        """How many are missing, duplicated, misdated."""
        return self.missing, self.duplicated, self.misdated

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} points acknowledged, {self.missing} missing, {self.duplicated} duplicated,"
            f" {self.misdated} at a wrong time"
        )


def take_census(influxd: Influxd, register: Register) -> Census:
    """Count; what is acknowledged while this counts is not looked for."""
    acknowledged = register.snapshot()
    series = influxd.query(f"SELECT id FROM {MEASUREMENT}", DATABASE)
    rows = series[0]["values"] if series else []
    there = {id_ for _, id_ in rows}
    return Census(
        acknowledged=len(acknowledged),
        found=len(rows),
        missing=len(acknowledged - there),
        duplicated=len(rows) - len(there),
        misdated=sum(FIRST_NS <= at < LAST_NS and at != FIRST_NS + id_ for at, id_ in rows),
    )
