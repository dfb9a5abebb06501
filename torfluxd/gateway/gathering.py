"""When a write waits for company: group commit needs none while InfluxDB is slow, and a little when it is fast.

While a write is in flight newcomers gather anyway. Where InfluxDB answers faster than they come, writes would be small
and many, and each costs InfluxDB and us as much as a large one. So for some milliseconds after a write the next one
waits until as many bodies are there as writers were seen lately in that time. Who writes alone, one body after the
other, never waits, and nobody waits in vain for long (PostgreSQL's `commit_delay` and `commit_siblings` are the same
thought).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["ENOUGH_BODIES", "GATHER_SECONDS", "Gathering"]

GATHER_SECONDS = 0.002
"""How long after a write the next one may wait. What comes through Tor was under way for a hundred times as long; at
3000 small writes each second it saves a third of our CPU and more than half of InfluxDB's (docs/performance.rst)."""

ENOUGH_BODIES = 16
"""How many bodies never wait: by then what one write costs is little for each of them."""


class Gathering:
    """The company that one lane's next write may wait for.

    :param clock: measures it.
    :param seconds: how long after a write the next one may wait.
    :param go_on: called when it has waited for long enough.
    """

    def __init__(self, clock: IReactorTime, seconds: float, go_on: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._go_on = go_on
        self._writers: set[Hashable] = set()
        self._begun = self._sent = 0.0
        self._usual = self._expected = 0
        self._timer: IDelayedCall | None = None

    @property
    def holds(self) -> bool:
        """Whether something waits."""
        return self._timer is not None

    def hold(self, bodies: int) -> bool:
        """Ask whether so many bodies, which could leave now, shall wait; if so, `go_on` is called in time."""
        if not bodies or bodies >= self._expected:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return False
        if self._timer is None:
            left = min(self._sent + self._seconds - self._clock.seconds(), self._seconds)
            if left <= 0:
                return False
            self._timer = self._clock.callLater(left, self._end)
        return True

    def sent(self, writers: Iterable[Hashable]) -> None:
        """A write has left, with bodies of these."""
        self._sent = now = self._clock.seconds()
        self._writers.update(writers)
        if now - self._begun >= self._seconds:
            self._usual = min(len(self._writers), ENOUGH_BODIES)
            self._writers.clear()
            self._begun = now
        self._expected = self._usual

    def _end(self) -> None:
        self._timer = None
        self._expected = 0
        self._go_on()
