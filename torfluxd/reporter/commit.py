"""Whether points are kept: one answer for all points that are put on disk together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Generator
from threading import Lock
from typing import Any

from twisted.internet.defer import Deferred

from torfluxd.errors import SpoolBrokenError

__all__ = ["Commit", "Outcome"]

Outcome = bool | SpoolBrokenError
"""True: the points are on disk. False: they were not taken. An error: the disk failed, and they are lost."""

_Hear = Callable[[Outcome], None]


class Commit:
    """What becomes of points that were recorded. It can be awaited, by any number of coroutines, or left alone.

    For example::

        if not await reporter.record("backup", {"seconds": 12.8}):
            ...  # nobody has allowed it, or the vendor's schema has no place for it

    Many points share one: to record allocates none. It is awaited in coroutines of Twisted in the reactor's thread, and
    in those of asyncio in any thread. Awaiting gives True when the points are on disk, where a `kill -9` leaves them;
    False when they were not taken (no consent, not in the schema, no memory left); and raises
    :class:`~torfluxd.errors.SpoolBrokenError` when the disk failed. To cancel what awaits changes nothing for them.

    :param ended: hears that it is resolved, before all others.
    """

    __slots__ = ("_ended", "_hearing", "_lock", "_outcome")

    def __init__(self, ended: Callable[[Commit], None] | None = None) -> None:
        self._ended = ended
        self._lock = Lock()  # asyncio may be in another thread than the reactor
        self._hearing: list[_Hear] = []
        self._outcome: Outcome | None = None

    @classmethod
    def resolved(cls, outcome: Outcome) -> Commit:
        """One that is resolved from the start."""
        commit = cls()
        commit.resolve(outcome)
        return commit

    @classmethod
    def of_all(cls, commits: Collection[Commit]) -> Commit:
        """One for the points of several: an error when there is one, else False when one of them is, else True.

        :param commits: at least one.
        """
        if len(commits) == 1:
            return next(iter(commits))
        all_of_them = cls()
        outcomes: list[Outcome] = []

        def hear(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) == len(commits):
                errors = [each for each in outcomes if not isinstance(each, bool)]
                all_of_them.resolve(errors[0] if errors else all(outcomes))

        for commit in commits:
            commit.when_resolved(hear)
        return all_of_them

    @property
    def outcome(self) -> Outcome | None:
        """What became of the points, or None as long as nobody knows."""
        return self._outcome

    def resolve(self, outcome: Outcome) -> None:
        """Tell everybody who waits. In the reactor's thread; only the first time counts."""
        with self._lock:
            if self._outcome is not None:
                return
            self._outcome = outcome
            hearing, self._hearing = self._hearing, []
            ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)
        for hear in hearing:
            hear(outcome)

    def as_deferred(self) -> Deferred[bool]:
        """The same as a Deferred, in the reactor's thread.

        :returns: a Deferred that fires with True or False, or fails with
            :class:`~torfluxd.errors.SpoolBrokenError`, as awaiting does; with
            :class:`~twisted.internet.defer.CancelledError` when it is cancelled.
        """
        waiting: Deferred[bool] = Deferred(lambda _: self._leave(hear))

        def hear(outcome: Outcome) -> None:
            if isinstance(outcome, SpoolBrokenError):
                waiting.errback(outcome)
            else:
                waiting.callback(outcome)

        self.when_resolved(hear)
        return waiting

    def __await__(self) -> Generator[Any, Any, bool]:
        """Await it in a coroutine of Twisted or of asyncio."""
        if self._outcome is None and _is_in_asyncio_task():
            future = self._as_future()
            future._asyncio_future_blocking = True  # what `await future` says to the task that runs us
            try:
                yield future
            except BaseException:
                future.cancel()
                raise
            if future.done():
                return future.result()
            # Not that task runs us but Twisted, from within it: it hands back at once what it cannot await.
            future.cancel()
        return (yield from self.as_deferred().__await__())

    def _as_future(self) -> asyncio.Future[bool]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if future.done():  # cancelled
                return
            if isinstance(outcome, SpoolBrokenError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        def hear(outcome: Outcome) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, outcome)

        future.add_done_callback(lambda _: self._leave(hear))
        self.when_resolved(hear)
        return future

    def when_resolved(self, hear: Callable[[Outcome], None]) -> None:
        """Call this when it is resolved, in that thread; at once if it is."""
        with self._lock:
            outcome = self._outcome
            if outcome is None:
                self._hearing.append(hear)
                return
        hear(outcome)

    def _leave(self, hear: _Hear) -> None:
        with self._lock:
            if hear in self._hearing:
                self._hearing.remove(hear)


def _is_in_asyncio_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs in this thread
        return False
