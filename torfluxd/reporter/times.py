"""The times that points are written with: coarse, and each once. Pure: clocks and chance are parameters.

InfluxDB keeps only the last of two points with equal measurement, tags and time. So a time cannot just be rounded down:
it is, and then a random part of the granularity is added, once, when the point is recorded.

Within one reporter no two such times are equal. Between reporters they are, now and then: of *n* points of one series
that many reporters record within a granularity of *g* nanoseconds, n²/2g are lost, because two have the same offset.
With a granularity of a minute and 1000 such points in it, that is one point in 120 000 minutes. Points whose time was
given are in the same case also within one reporter. A tag that parts the crowd, such as the version, helps.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from torfluxd.reporter.chance import Chance, drawn_bytes

__all__ = [
    "BLOCK_POINTS",
    "LEAST_GRANULARITY_NS",
    "CoarseTimes",
    "ExactTimes",
    "Given",
    "Stamp",
    "Times",
    "unique_stamps",
]

Stamp = Callable[[int | None], int]
"""From the time that an application gives a point, or None, to the time it is written with: nanoseconds since 1970."""

Given = Callable[[int], int]
"""From the time that a point was given to the time it is written with: nanoseconds since 1970."""

SET_BACK_NS: Final = 1_000_000_000
"""A wall clock that says this much less than before was set back, and is right now. By less it only repeats itself: the
coarsest clocks in use tick every 16 ms, and a second of stamps one nanosecond apart is more than anybody records."""

LEAST_GRANULARITY_NS: Final = 1_000_000
"""What is finer than a millisecond hides nothing."""

BLOCK_POINTS: Final = 256
"""How many times are dealt together, at least, and less than twice as many. Among so many points nobody can tell from
the times which came first; of a reporter that records more in a granularity, it may be told of blocks of so many which
came first."""

SECRET_BYTES: Final = 16
"""Of what the times of a granularity are dealt with: as much as nobody can guess."""

OFFSET_BYTES: Final = 8
"""Of a hash, from which the offset of a time that was given is taken: so many that all offsets are as likely."""

BEFORE_ALL_NS: Final = -(2**63)

LANE_BYTES: Final = 8
"""For each of the numbers that are added at once: a time has 63 bits."""


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


class ExactTimes:
    """Times as they are: for applications that want that, and have asked their users.

    :param now_ns: the wall clock.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._stamp = unique_stamps(now_ns)

    def now(self) -> int:
        """A time for a point that is recorded now; as :func:`unique_stamps`."""
        return self._stamp(None)

    def quick_now(self) -> int:
        """None: ask :meth:`now`.

        :raises IndexError: always.
        """
        raise IndexError("exact times need a lock")

    def of_series(self, series: bytes) -> Given:
        """The times of points whose time was given: those."""
        return _as_given


class CoarseTimes:
    """Times that say in which granularity something happened, and no more.

    A granularity is parted into cells, some hundreds, whose width is a power of two. For each block of as many points
    the cells are shuffled: each point gets a cell, and in it a place that goes round all places of the cell, from a
    start and in odd steps that are the cell's own secret. So times do not repeat before there are as many as the
    granularity has nanoseconds, but for what is left over at its end, and nothing is remembered of those that there
    were.

    :param granularity_ns: at least `LEAST_GRANULARITY_NS`.
    :param now_ns: the wall clock. When it is set back over a boundary, by a second or more, times of that granularity
        may repeat earlier ones, by n²/2g.
    :param chance: where the secrets come from, once for each granularity in which something is recorded.
    :param key: for times that were given: the same key, series and time make the same coarse time, also after a
        restart, so that who sends a point twice stores it once. Who knows the key can tell the exact time.
    """

    def __init__(self, granularity_ns: int, now_ns: Callable[[], int], chance: Chance, key: bytes) -> None:
        self._granularity_ns = granularity_ns
        self._now_ns = now_ns
        self._chance = chance
        self._key = key
        self._width_ns = 1 << ((granularity_ns // BLOCK_POINTS).bit_length() - 1)
        self._cells = range(granularity_ns // self._width_ns)
        self._masks = _lanes([self._width_ns - 1] * len(self._cells))
        self._ones = _lanes([1] * len(self._cells))
        self._from = self._until = 0
        self._dealt: list[int] = []
        self._is_dealing = False
        self._blocks = 0
        self._secret = b""
        self._starts = self._places = self._steps = 0

    def quick_now(self) -> int:
        """A time for a point that is recorded now. It needs no lock, and may be interrupted anywhere.

        :raises IndexError: there is none yet, ask :meth:`now`.
        """
        # Every recording comes along here: measure what you change.
        if self._from <= self._now_ns() < self._until:
            return self._dealt.pop()
        raise IndexError("another granularity has begun")

    def now(self) -> int:
        """The same, under a lock.

        Who interrupts this in the same thread, as a signal handler may, gets one that is just random.
        """
        now = self._now_ns()
        if self._is_dealing:
            return now - now % self._granularity_ns + secrets.randbelow(self._granularity_ns)
        self._is_dealing = True
        try:
            if not self._from <= now < self._until:
                self._begin(now)
            while True:
                try:
                    return self._dealt.pop()
                except IndexError:
                    self._deal()
        finally:
            self._is_dealing = False

    def of_series(self, series: bytes) -> Given:
        """The coarse times of points whose time was given. It is always the same for the same time: so fields of one
        series and time that come apart stay together.

        :param series: what tells it from others, exactly.
        """
        granularity_ns = self._granularity_ns
        begun = hashlib.blake2b(series + b" ", digest_size=OFFSET_BYTES, key=self._key)

        def given(time_ns: int) -> int:
            hashed = begun.copy()
            hashed.update(b"%d" % time_ns)
            offset = int.from_bytes(hashed.digest(), "big") % granularity_ns
            return time_ns - time_ns % granularity_ns + offset

        return given

    def _begin(self, now: int) -> None:
        """A new granularity. A clock that trembles at its beginning stays in it; one from before 1970 is none."""
        start = max(0, now - now % self._granularity_ns)
        self._from, self._until = start - SET_BACK_NS if start else BEFORE_ALL_NS, start + self._granularity_ns
        self._dealt = []
        self._blocks = 0
        self._secret = drawn_bytes(self._chance, SECRET_BYTES)
        self._starts = _lanes([start + cell * self._width_ns for cell in self._cells])
        self._places = _lanes(self._random(b"places")) & self._masks
        self._steps = _lanes(self._random(b"steps")) & self._masks | self._ones

    def _deal(self) -> None:
        """One time out of each cell."""
        if self._blocks:
            self._places = self._places + self._steps & self._masks
        times = _numbers((self._starts + self._places).to_bytes(LANE_BYTES * len(self._cells), sys.byteorder))
        order = self._random(b"block %d" % self._blocks)
        self._dealt = [times[cell] for cell in sorted(self._cells, key=order.__getitem__)]
        self._blocks += 1

    def _random(self, what: bytes) -> list[int]:
        """A number for each cell, from the secret."""
        return _numbers(hashlib.shake_128(self._secret + what).digest(LANE_BYTES * len(self._cells)))


def _numbers(lanes: bytes) -> list[int]:
    return array("Q", lanes).tolist()


def _lanes(numbers: Sequence[int]) -> int:
    """One integer out of a number for each cell, so that a sum is a sum of all of them at once. None of them has so
    many bits that it would reach into the next one.
    """
    return int.from_bytes(array("Q", numbers).tobytes(), sys.byteorder)


def _as_given(time_ns: int) -> int:
    return time_ns


Times = ExactTimes | CoarseTimes
