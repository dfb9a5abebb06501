"""From the recorder into the stock, once a second; and out of it, one report in each interval.

What was recorded is committed a second later. At the end of an interval everything is sealed, and its report leaves at
a random moment of the next one. What could not leave then follows, report by report, at a pace of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch
from torfluxd.delivery.courier import Courier
from torfluxd.errors import SpoolBrokenError, SpoolError
from torfluxd.reporter.commit import Outcome
from torfluxd.reporter.home import Home
from torfluxd.reporter.instruments import Instruments
from torfluxd.reporter.intervals import Intervals
from torfluxd.reporter.recorder import Recorder, Taken
from torfluxd.reporter.reports import Reports
from torfluxd.reporter.stock import Stock

__all__ = ["COMMIT_SECONDS", "Dispatch"]

COMMIT_SECONDS = 1.0
"""How long a point stays in memory at most before it is written to the disk: so long that a disk that sleeps, or wears,
is not written to for each point, and no longer than what anybody loses without noticing."""

T = TypeVar("T")

_log = Logger()


@define(eq=False)
class Dispatch:
    """Brings points from where they are recorded to the courier, at the right moments, in the reactor's thread.

    :param clock: for timers.
    :param now_ns: the wall clock.
    :param intervals: one report leaves in each.
    :param commit_seconds: how long what was recorded waits until it is committed.
    :param chance: for the moment in each.
    :param sends_empty_reports: whether there is a report for an interval in which nothing was recorded.
    :param home: where the disk is, or None for a reporter that has none.
    """

    _clock: IReactorTime
    _now_ns: Callable[[], int]
    _intervals: Intervals
    _commit_seconds: float
    _chance: Callable[[], float]
    _sends_empty_reports: bool
    _recorder: Recorder
    _instruments: Instruments
    _stock: Stock
    _home: Home | None
    _reports: Reports
    _courier: Courier
    committed_points: int = field(default=0, init=False)
    _runs: bool = field(default=False, init=False)
    _is_wiping: bool = field(default=False, init=False)
    _number: int = field(default=0, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _commit_call: IDelayedCall | None = field(default=None, init=False)
    _calls: set[IDelayedCall] = field(factory=set, init=False)
    _last_filled: int | None = field(default=None, init=False)

    # Its life.

    def begin(self) -> None:
        """Open the disk, and begin to report. Whoever has begun goes on."""
        if self._runs:
            return
        self._runs = True
        self._stock.is_shut = self._is_wiping
        self._await_end(self._intervals.number(self._now_ns()))
        self._do(self._open)
        self.wake()

    async def end(self, deadline_seconds: float) -> None:
        """Send what can be sent until the deadline, and close the disk, unless it has begun again meanwhile."""
        self._halt()
        await self._in_turn(self._seal_all)
        self._stock.forget_empties()
        self._reports.hurry()
        try:
            self._courier.start()
            await self._courier.stop(deadline_seconds)
        finally:
            self._reports.calm_down()
        await self._in_turn(self._close)

    async def wipe(self) -> int:
        """Send nothing any more, and delete everything at once, what other processes left behind, too.

        :returns: how many points were deleted that were committed.
        :raises SpoolBrokenError: something cannot be deleted.
        """
        self._halt()
        self._stock.is_shut = self._is_wiping = True
        await self._courier.stop(0)
        return await self._in_turn(self._wipe)

    def abandon(self) -> None:
        """Do nothing any more: it is the parent of this process that goes on."""
        self._halt()
        self._stock.is_shut = True

    # From the recorder.

    def wake(self) -> None:
        """Something was recorded: commit it soon."""
        if self._runs and self._commit_call is None:
            self._commit_call = self._clock.callLater(self._commit_seconds, self.commit)

    def commit(self) -> None:
        """Commit what was recorded, now."""
        if self._commit_call is not None and self._commit_call.active():
            self._commit_call.cancel()
        self._commit_call = None
        if self._runs:
            self._do(self._commit)

    # To the courier.

    async def flush(self, deadline_seconds: float) -> bool:
        """Send everything now; as :meth:`~torfluxd.delivery.courier.Courier.flush`."""
        await self._in_turn(self._seal_all)
        self._reports.hurry()
        try:
            self._courier.start()
            return await self._courier.flush(deadline_seconds)
        finally:
            self._reports.calm_down()

    async def next_batch(self) -> Batch | None:
        """What the next report would hold, if the interval ended now."""
        return await self._in_turn(self._peek)

    # One at a time, so that what is sealed is what was recorded until then.

    async def _open(self) -> None:
        if self._home is not None and self._stock.disk is None:
            try:
                self._stock.disk_opened(await self._home.move_in())
            except SpoolBrokenError:  # it was told; it is tried again in the next interval
                return
            self._adopt()

    async def _close(self) -> None:
        if not self._runs and self._home is not None:
            await self._home.move_out()
            self._stock.disk_closed()

    async def _wipe(self) -> int:
        try:
            return self._stock.wiped(0 if self._home is None else await self._home.wipe())
        finally:
            self._is_wiping = False
            self._stock.is_shut = not self._runs
            if self._runs:  # the user has changed his mind meanwhile
                await self._open()

    async def _commit(self) -> None:
        await self._keep(self._recorder.take(), self._number)

    async def _seal(self, number: int) -> None:
        """An interval is over."""
        self._harvest(self._intervals.end_ns(number))
        await self._keep(self._recorder.take(), number)
        self._stock.seal()
        if self._sends_empty_reports and self._last_filled != number:
            self._stock.add_empty()

    async def _seal_all(self) -> None:
        """Everything shall leave that was recorded until now."""
        self._harvest(self._now_ns())
        await self._commit()
        self._stock.seal()

    async def _peek(self) -> Batch | None:
        self._harvest(self._now_ns())
        await self._commit()
        lease = await self._stock.peek()
        if lease is None:
            return None
        await lease.put_back()
        return lease.batch

    async def _set_out(self) -> None:
        if self._runs:
            self._courier.start()
            self._courier.batch_put()

    def _harvest(self, until_ns: int) -> None:
        """Record what the instruments say, as of the last moment before a time."""
        for measurement, fields, tags in self._instruments.harvest():
            self._recorder.record(measurement, fields, tags, until_ns - 1)

    async def _keep(self, taken: list[Taken], number: int) -> None:
        if taken:
            self._last_filled = number
            await DeferredList([Deferred.fromCoroutine(self._keep_one(one, number)) for one in taken])

    async def _keep_one(self, one: Taken, number: int) -> None:
        outcome: Outcome = True
        try:
            await self._stock.put(evolve(one.batch, interval=number))
            if self._home is not None and self._stock.disk is None:
                outcome = SpoolBrokenError("the state directory cannot be used: the points are in memory")
        except SpoolBrokenError as error:
            outcome = error
        except SpoolError:
            outcome = False
        self.committed_points += one.batch.points
        one.commit.resolve(outcome)

    def _adopt(self) -> None:
        if self._home is not None:
            Deferred.fromCoroutine(self._home.adopt()).addErrback(_log_failure)

    def _in_turn(self, do: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> Deferred[T]:
        """Do it when what was begun before is done. Whoever waits for it may go away: it is done all the same."""
        told: Deferred[T] = Deferred()

        def tell(outcome: T | Failure) -> None:
            if not told.called:
                told.callback(outcome)
            elif isinstance(outcome, Failure):
                _log_failure(outcome)

        self._turn.run(lambda: Deferred.fromCoroutine(do())).addBoth(tell)
        return told

    def _do(self, what: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> None:
        self._in_turn(what).addErrback(_log_failure)

    # Timers.

    def _await_end(self, number: int) -> None:
        self._number = number
        self._later(self._intervals.seconds_to_end(number, self._now_ns()), partial(self._ended, number))

    def _ended(self, number: int) -> None:
        now = self._now_ns()
        # A timer may be early by a little, and the clock may be set back by less than an interval.
        current = self._intervals.number(now)
        self._await_end(number + 1 if current == number else current)
        self._do(partial(self._seal, number))
        self._later(self._intervals.length_ns / 1e9 * self._chance(), partial(self._do, self._set_out))
        self._do(self._open)
        self._adopt()

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        def now() -> None:
            self._calls.discard(call)
            do()

        call = self._clock.callLater(seconds, now)
        self._calls.add(call)

    def _halt(self) -> None:
        self._runs = False
        for call in (*self._calls, self._commit_call):
            if call is not None and call.active():
                call.cancel()
        self._calls.clear()
        self._commit_call = None


def _log_failure(failure: Failure) -> None:
    _log.failure("While points were kept, or a report was to leave", failure)
