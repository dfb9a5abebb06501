"""Instruments: what is counted and measured all the time, added up in memory, and written once in each interval.

All of them may be used from any thread. What an instrument writes tells of one interval alone: counts are those of the
interval, and begin at 0 in the next one, so that nobody has to know which process they came from. Of an interval in
which nothing happened nothing is written.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import accumulate
from math import inf, isfinite
from numbers import Integral, Real
from threading import RLock
from types import TracebackType
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from torfluxd.errors import PointError
from torfluxd.influx.line import MAX_INTEGER, FieldValue, encode

__all__ = [
    "DEFAULT_BUCKETS",
    "Counter",
    "Gauge",
    "Harvest",
    "Histogram",
    "Instrument",
    "Instruments",
    "Timer",
    "exponential_buckets",
]

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bounds that Prometheus's clients have by default: for what a person waits for, in seconds."""

MAX_BUCKETS: Final = 100
"""Each is a field, and a column on the vendor's disk for good. People look at ten or twenty."""

Harvest = tuple[str, Mapping[str, FieldValue], Mapping[str, str]]
"""A point: measurement, fields, tags."""

_Tags = tuple[tuple[str, str], ...]

_running: ContextVar[_Run | None] = ContextVar("torfluxd_timers", default=None)


def exponential_buckets(first: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds of buckets, each a multiple of the one before it.

    :param first: above 0.
    :param factor: above 1.
    :param count: how many, up to `MAX_BUCKETS`.
    :raises PointError: one of these cannot be.
    """
    if not (0 < first < inf and 1 < factor < inf and 1 <= count <= MAX_BUCKETS):
        raise PointError(f"buckets: expected first above 0, factor above 1, and a count from 1 to {MAX_BUCKETS}")
    return tuple(first * factor**power for power in range(count))


class Instrument:
    """What all of them have in common. They are made by :class:`Instruments`.

    :ivar name: the measurement.
    :ivar tags: what its points are found by.
    """

    def __init__(self, home: Instruments, name: str, tags: _Tags) -> None:
        self._home = home
        self.name = name
        self.tags: Mapping[str, str] = dict(tags)
        self._is_changed = False
        self._reset()

    def _changed(self) -> None:
        """Something has happened in this interval. Under the lock."""
        if not self._is_changed:
            self._is_changed = True
            self._home._changed.append(self)

    def _reset(self) -> None:
        """Begin a new interval."""
        raise NotImplementedError

    def _fields(self) -> Mapping[str, FieldValue]:
        """What happened in this one."""
        raise NotImplementedError


class Counter(Instrument):
    """How often something happened, or how much of it. Writes `count`, what was added in the interval."""

    def _reset(self) -> None:
        self._count = 0

    def _fields(self) -> Mapping[str, FieldValue]:
        return {"count": min(self._count, MAX_INTEGER)}

    def add(self, amount: int = 1) -> None:
        """Count.

        :param amount: a whole number, 0 or more.
        :raises PointError: it is none.
        """
        if type(amount) is not int:
            amount = self._whole(amount)
        if amount < 0:
            raise self._not_whole()
        with self._home._lock:
            self._count += amount
            self._changed()

    def _whole(self, amount: object) -> int:
        if isinstance(amount, bool) or not isinstance(amount, Integral):
            raise self._not_whole()
        return int(amount)

    def _not_whole(self) -> PointError:
        return PointError(f"a counter counts whole numbers from 0 on: {self.name!r} was given something else")


class _Values(Instrument):
    """The values of an interval, added up."""

    def _reset(self) -> None:
        self._count = 0
        self._sum = self._last = 0.0
        self._least, self._most = inf, -inf

    def _take(self, value: float, weight: int = 1) -> None:
        """Take a value into account. Under the lock."""
        self._count += weight
        self._sum += value * weight
        self._last = value
        if value < self._least:
            self._least = value
        if value > self._most:
            self._most = value
        self._changed()

    def _observe(self, value: float, weight: int = 1) -> None:
        number = self._number(value)
        with self._home._lock:
            self._take(number, weight)

    def _number(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._not_finite()
        try:
            number = float(value)
        except OverflowError:  # an integer or a fraction that is too large
            number = inf
        if not isfinite(number):
            raise self._not_finite()
        return number

    def _not_finite(self) -> PointError:
        return PointError(f"an instrument takes finite numbers: {self.name!r} was given something else")


class Gauge(_Values):
    """How much there is of something now and then. Writes `last`, `min`, `max` and `mean` of the interval."""

    def _fields(self) -> Mapping[str, FieldValue]:
        return {"last": self._last, "min": self._least, "max": self._most, "mean": self._sum / self._count}

    def set(self, value: float) -> None:
        """Say how much there is.

        :raises PointError: it is no finite number.
        """
        self._observe(value)


class Timer(_Values):
    """How long something takes. Writes `count`, and `sum_seconds`, `min_seconds`, `max_seconds` and `mean_seconds`.

    As a context manager it times what is done within::

        with reporter.timer("backup"):
            await make_backup()

    That may be done many times at once: in threads, in coroutines of Twisted and of asyncio, and one within another.
    What ends in another thread or task than it began in is not timed.
    """

    def _fields(self) -> Mapping[str, FieldValue]:
        return {
            "count": self._count,
            "sum_seconds": self._sum,
            "min_seconds": self._least,
            "max_seconds": self._most,
            "mean_seconds": self._sum / self._count,
        }

    def observe(self, seconds: float, weight: int = 1) -> None:
        """Say how long it took.

        :param weight: for how many times this one stands, where only some are measured; at least 1.
        :raises PointError: it is no finite number.
        """
        self._observe(seconds, weight)

    def __enter__(self) -> Timer:
        _running.set((self, self._home._seconds(), _running.get()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        run = _running.get()
        if run is None or run[0] is not self:
            return
        _, began, outer = run
        _running.set(outer)
        self.observe(self._home._seconds() - began)


_Run = tuple[Timer, float, "_Run | None"]
"""A timer that runs, since when, and the one around it."""


class Histogram(_Values):
    """How values are spread. Writes `count`, `sum`, and for each bound how many values were not above it: `le_0.1`."""

    def __init__(self, home: Instruments, name: str, tags: _Tags, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        super().__init__(home, name, tags)

    def _reset(self) -> None:
        super()._reset()
        self._counts = [0] * (len(self.buckets) + 1)

    def _fields(self) -> Mapping[str, FieldValue]:
        up_to = zip(self.buckets, accumulate(self._counts), strict=False)
        return {"count": self._count, "sum": self._sum, **{f"le_{bound!r}": count for bound, count in up_to}}

    def observe(self, value: float, weight: int = 1) -> None:
        """Take a value into account.

        :param weight: for how many values this one stands, where only some are looked at; at least 1.
        :raises PointError: it is no finite number.
        """
        number = self._number(value)
        with self._home._lock:
            self._counts[bisect_left(self.buckets, number)] += weight
            self._take(number, weight)


def _finite(fields: Mapping[str, FieldValue]) -> Mapping[str, FieldValue]:
    """Fields without sums that are beyond a float."""
    return {key: value for key, value in fields.items() if isfinite(value)}  # type: ignore[arg-type]  # all are numbers


_I = TypeVar("_I", bound=Instrument)


class Instruments:
    """The instruments of one reporter.

    The same name and tags give the same instrument, so that it need not be kept; one that nobody keeps is forgotten
    when it has been harvested.

    :param seconds: a clock for timers.
    """

    def __init__(self, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds
        self._lock = RLock()  # one that a signal handler does not wait for
        self._all: WeakValueDictionary[tuple[str, _Tags], Instrument] = WeakValueDictionary()
        self._changed: list[Instrument] = []

    def counter(self, name: str, tags: Mapping[str, str] | None = None) -> Counter:
        """A counter.

        :param name: its measurement.
        :param tags: what its points are found by.
        :raises PointError: the name or a tag cannot be one, or is another kind of instrument.
        """
        return self._find(Counter, name, tags, Counter)

    def gauge(self, name: str, tags: Mapping[str, str] | None = None) -> Gauge:
        """A gauge; as :meth:`counter`."""
        return self._find(Gauge, name, tags, Gauge)

    def timer(self, name: str, tags: Mapping[str, str] | None = None) -> Timer:
        """A timer; as :meth:`counter`."""
        return self._find(Timer, name, tags, Timer)

    def histogram(
        self, name: str, tags: Mapping[str, str] | None = None, buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        """A histogram; as :meth:`counter`.

        :param buckets: the bounds, in ascending order, up to `MAX_BUCKETS`; see :func:`exponential_buckets`.
        :raises PointError: also when these cannot be bounds, or it has others.
        """
        bounds = tuple(float(bound) for bound in buckets)
        if not 1 <= len(bounds) <= MAX_BUCKETS or list(bounds) != sorted(set(bounds)) or not all(map(isfinite, bounds)):
            raise PointError(f"buckets: expected 1 to {MAX_BUCKETS} finite numbers in ascending order")
        found = self._find(Histogram, name, tags, lambda home, name, tags: Histogram(home, name, tags, bounds))
        if found.buckets != bounds:
            raise PointError(f"the histogram {name!r} has other buckets already")
        return found

    def harvest(self) -> list[Harvest]:
        """What happened since the last harvest, as points; a new interval begins."""
        with self._lock:
            changed, self._changed = self._changed, []
            points = [(each.name, _finite(each._fields()), each.tags) for each in changed]
            for each in changed:
                each._is_changed = False
                each._reset()
        return points

    def forget(self) -> None:
        """Let go of what happened since the last harvest."""
        self.harvest()

    def reset_after_fork(self) -> None:
        """Begin anew in a child process: what happened in the parent is the parent's to tell."""
        self._lock = RLock()  # threads that held the other are not here to give it back
        self.forget()

    def _find(
        self,
        kind: type[_I],
        name: str,
        tags: Mapping[str, str] | None,
        make: Callable[[Instruments, str, _Tags], _I],
    ) -> _I:
        key = (name, tuple(sorted(tags.items())) if tags else ())
        with self._lock:
            found = self._all.get(key)
            if found is None:
                encode(name, {"count": 0}, dict(key[1]))  # says now what cannot be, and not at the end of the interval
                found = self._all[key] = make(self, *key)
        if not isinstance(found, kind):
            raise PointError(f"the instrument {name!r} is a {type(found).__name__.lower()} already")
        return found
