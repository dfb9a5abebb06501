"""Carries batches from a spool to an upstream, one at a time, and waits the longer the longer that fails.

The lifecycle is an Automat machine:

* *Stopped* carries nothing.
* *Idle*: the spool had nothing left to lend when it was last asked.
* *Carrying* owns the trip under way.
* *Waiting* owns the delayed call that ends the wait after a batch was postponed.
* *Stopping*: the last trip is under way, and has a deadline.
* *Restarting*: as Stopping, but the courier was started again meanwhile.

No input returns a value, so that each may arrive while another is at work: a callback on the Deferred of a flush may
stop the courier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen
from automat import TypeMachine, TypeMachineBuilder
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.boundaries import Fate, Reply, Spool, Upstream
from torfluxd.delivery.backoff import Backoff, wait_seconds
from torfluxd.delivery.trip import Trip

__all__ = ["Courier"]

_log = Logger()

_SPOOL_FAILED = Reply(Fate.POSTPONE, "the spool failed")
"""Ends a trip that failed on the spool's side, about which the log has said all."""


class _Inputs(Protocol):
    """What can happen to a courier."""

    def start_asked(self) -> None:
        """Someone wants it to carry."""

    def stop_asked(self, deadline_seconds: float, /) -> None:
        """Someone wants it to end, by then at the latest, and waits in `stops`."""

    def flush_asked(self) -> None:
        """Someone waits in `flushes`."""

    def batch_put(self) -> None:
        """A batch came into the spool."""

    def emptied(self) -> None:
        """The trip ended: the spool has nothing left to lend."""

    def postponed(self, reply: Reply, /) -> None:
        """The trip ended: a batch was postponed by this reply."""

    def waited(self) -> None:
        """The wait after a postponed batch is over."""


@frozen(eq=False)
class _Flush:
    """Someone who waits until all batches up to a position are settled."""

    position: int
    waiter: Deferred[bool]


@define(eq=False)
class _Core:
    """What lives as long as the courier; see :class:`Courier` for what it is given.

    :ivar failed_attempts: how many trips in a row ended with a postponed batch.
    """

    spool: Spool
    upstream: Upstream
    clock: IReactorTime
    backoff: Backoff
    tell_settled: Callable[[], None]
    tell_idle: Callable[[], None]
    turns: DeferredSemaphore
    tell_postponed: Callable[[Reply], None] | None = None
    failed_attempts: int = 0
    flushes: list[_Flush] = field(factory=list)
    stops: list[Deferred[None]] = field(factory=list)

    def set_out(self, inputs: _Inputs) -> Trip:
        """Begin a trip, whose end arrives as an input."""
        trip = Trip(self.spool, self.upstream, self.settled, self.turns)

        def ended(postponed: Reply | None) -> None:
            if postponed is None:
                inputs.emptied()
            else:
                inputs.postponed(postponed)

        def failed(failure: Failure) -> None:
            _log.failure("While batches were taken from the spool or given back to it", failure)
            inputs.postponed(_SPOOL_FAILED)

        Deferred.fromCoroutine(trip.make()).addCallbacks(ended, failed)
        return trip

    def settled(self, position: int) -> None:
        """A batch was delivered or rejected: the other side works, and all up to this position is settled."""
        if self.failed_attempts:
            say = _log.info if self.tell_postponed is None else _log.debug
            say("Batches get through again; failed attempts: {attempts}.", attempts=self.failed_attempts)
            self.failed_attempts = 0
        for flush in [flush for flush in self.flushes if flush.position <= position]:
            flush.waiter.callback(True)
        self.tell_settled()

    def next_wait_seconds(self, reply: Reply) -> float:
        """Count a failed attempt.

        :returns: how long to wait before the next.
        """
        self.failed_attempts += 1
        seconds = wait_seconds(self.backoff, self.failed_attempts, reply.retry_after_seconds)
        # The first of an outage is news, the others are not.
        say = _log.warn if self.failed_attempts == 1 and self.tell_postponed is None else _log.debug
        say("A batch waits for {seconds:.1f} seconds: {reason}", seconds=seconds, reason=reply.reason)
        if self.tell_postponed is not None and reply is not _SPOOL_FAILED:
            self.tell_postponed(reply)
        return seconds

    def end_flushes(self, settled: bool) -> None:
        """Tell everyone who waits for a flush how it ended."""
        for flush in list(self.flushes):
            flush.waiter.callback(settled)

    def end_stops(self) -> None:
        """Tell everyone who waits for the stop that it is done."""
        stops, self.stops = self.stops, []
        for waiter in stops:
            waiter.callback(None)


# What the states own.


def _set_out(inputs: _Inputs, core: _Core) -> Trip:
    return core.set_out(inputs)


def _wait(inputs: _Inputs, core: _Core, reply: Reply) -> IDelayedCall:
    return core.clock.callLater(core.next_wait_seconds(reply), inputs.waited)


# What the courier does on its way from one state to another.


def _tell_idle(inputs: _Inputs, core: _Core, trip: Trip) -> None:
    core.end_flushes(True)
    core.tell_idle()


def _tell_flushed_if_empty(inputs: _Inputs, core: _Core) -> None:
    core.end_flushes(core.spool.counts.batches == 0)


def _tell_stopped(inputs: _Inputs, core: _Core, *_: object) -> None:
    core.end_stops()


def _tell_stopped_empty(inputs: _Inputs, core: _Core) -> None:
    core.end_flushes(core.spool.counts.batches == 0)  # a batch may have come after the last look
    core.end_stops()


def _tell_stopped_with_a_rest(inputs: _Inputs, core: _Core, reply: Reply) -> None:
    core.end_flushes(False)
    core.end_stops()


def _look_again(inputs: _Inputs, core: _Core, trip: Trip) -> None:
    trip.batch_put()


def _end_the_trip(inputs: _Inputs, core: _Core, trip: Trip, deadline_seconds: float) -> None:
    trip.end_within(core.clock, deadline_seconds)


def _wait_no_longer(inputs: _Inputs, core: _Core, call: IDelayedCall) -> None:
    call.cancel()


def _try_once_more(inputs: _Inputs, core: _Core, call: IDelayedCall, deadline_seconds: float) -> None:
    call.cancel()
    core.set_out(inputs).end_within(core.clock, deadline_seconds)


def _make_machine() -> TypeMachine[_Inputs, _Core]:
    machine = TypeMachineBuilder(_Inputs, _Core)

    stopped = machine.state("Stopped")
    idle = machine.state("Idle")
    carrying = machine.state("Carrying", _set_out)
    waiting = machine.state("Waiting", _wait)
    stopping = machine.state("Stopping")
    restarting = machine.state("Restarting")

    stopped.upon(_Inputs.start_asked).to(carrying).returns(None)
    stopped.upon(_Inputs.stop_asked).loop()(_tell_stopped)
    stopped.upon(_Inputs.flush_asked).loop()(_tell_flushed_if_empty)
    stopped.upon(_Inputs.batch_put).loop().returns(None)

    idle.upon(_Inputs.start_asked).loop().returns(None)
    idle.upon(_Inputs.stop_asked).to(stopped)(_tell_stopped)
    idle.upon(_Inputs.flush_asked).to(carrying).returns(None)
    idle.upon(_Inputs.batch_put).to(carrying).returns(None)

    carrying.upon(_Inputs.start_asked).loop().returns(None)
    carrying.upon(_Inputs.stop_asked).to(stopping)(_end_the_trip)
    carrying.upon(_Inputs.flush_asked).loop()(_look_again)
    carrying.upon(_Inputs.batch_put).loop()(_look_again)
    carrying.upon(_Inputs.emptied).to(idle)(_tell_idle)
    carrying.upon(_Inputs.postponed).to(waiting).returns(None)

    waiting.upon(_Inputs.start_asked).loop().returns(None)
    waiting.upon(_Inputs.stop_asked).to(stopping)(_try_once_more)
    waiting.upon(_Inputs.flush_asked).to(carrying)(_wait_no_longer)
    waiting.upon(_Inputs.batch_put).loop().returns(None)
    waiting.upon(_Inputs.waited).to(carrying).returns(None)

    stopping.upon(_Inputs.start_asked).to(restarting).returns(None)
    stopping.upon(_Inputs.stop_asked).loop().returns(None)
    stopping.upon(_Inputs.flush_asked).loop().returns(None)
    stopping.upon(_Inputs.batch_put).loop().returns(None)
    stopping.upon(_Inputs.emptied).to(stopped)(_tell_stopped_empty)
    stopping.upon(_Inputs.postponed).to(stopped)(_tell_stopped_with_a_rest)

    restarting.upon(_Inputs.start_asked).loop().returns(None)
    restarting.upon(_Inputs.stop_asked).to(stopping).returns(None)
    restarting.upon(_Inputs.flush_asked).loop().returns(None)
    restarting.upon(_Inputs.batch_put).loop().returns(None)
    restarting.upon(_Inputs.emptied).to(carrying)(_tell_stopped)
    restarting.upon(_Inputs.postponed).to(waiting)(_tell_stopped)

    return machine.build()


_Machine = _make_machine()


class Courier:
    """Carries batches from a spool to an upstream, one at a time, oldest first.

    * delivered: the spool forgets the batch, and the next one goes at once;
    * rejected: the spool sets it aside, and the next one goes at once;
    * postponed: it goes back to the front, and after a wait the courier tries again, for ever.

    A failure of the spool is logged, and waited for like a postponed batch.

    :param spool: where the batches come from. It has no other courier.
    :param upstream: where they go.
    :param clock: for the waits and the deadlines.
    :param backoff: how long to wait after that many failed attempts in a row. What the other side asks for with
        `Retry-After` comes on top, see :func:`~torfluxd.delivery.backoff.wait_seconds`.
    :param settled: called each time that a batch was delivered or rejected, when the spool knows it.
    :param idle: called each time that the spool had nothing left to lend, and the courier rests, for the moment.
        It is safe to forget it then.
    :param postponed: called with the reply each time that a batch was postponed and the courier waits. Whoever gives
        it says in the log that there is an outage, and that it ended; by default the courier does.
    :param turns: shared by couriers that shall not all carry at once: each takes a turn for each batch, and holds no
        batch while it waits for one. By default it is alone.
    """

    def __init__(
        self,
        spool: Spool,
        upstream: Upstream,
        clock: IReactorTime,
        backoff: Backoff,
        *,
        settled: Callable[[], None] = lambda: None,
        idle: Callable[[], None] = lambda: None,
        postponed: Callable[[Reply], None] | None = None,
        turns: DeferredSemaphore | None = None,
    ) -> None:
        self._clock = clock
        self._core = _Core(spool, upstream, clock, backoff, settled, idle, turns or DeferredSemaphore(1), postponed)
        self._inputs = _Machine(self._core)

    def start(self) -> None:
        """Begin to carry. A courier that was started already goes on."""
        self._inputs.start_asked()

    def batch_put(self) -> None:
        """Say that the spool has kept another batch: who puts one says so after each put, or after several."""
        self._inputs.batch_put()

    def flush(self, deadline_seconds: float) -> Deferred[bool]:
        """Carry everything that the spool keeps now, without waiting for the end of a backoff first.

        :param deadline_seconds: how long that may take, further attempts and the waits between them included.
        :returns: a Deferred that fires with True when each batch kept at the time of the call was delivered, rejected
            or dropped by the spool; with False when some were not before the deadline, or before the courier was
            stopped: these stay in the spool. It fails with :class:`~twisted.internet.defer.CancelledError` when it is
            cancelled, which changes nothing for the batches.
        """
        core = self._core
        flush = _Flush(core.spool.counts.newest, Deferred())

        def forget(result: bool | Failure) -> bool | Failure:
            core.flushes.remove(flush)
            return result

        flush.waiter.addTimeout(deadline_seconds, self._clock, onTimeoutCancel=lambda *_: False).addBoth(forget)
        core.flushes.append(flush)
        self._inputs.flush_asked()
        return flush.waiter

    def stop(self, deadline_seconds: float) -> Deferred[None]:
        """Carry what can be carried at once, then end.

        A trip under way goes on, and a courier that waits tries once more, until the spool is empty, a batch is
        postponed or the deadline is over. Then the send in flight is cancelled and its batch put back.

        :param deadline_seconds: how long that may take. If the courier is stopping already, the first deadline holds.
        :returns: a Deferred that fires when nothing is under way any more, at the latest as soon after the deadline
            as the spool has taken back its batch. It never fails.
        """
        waiter: Deferred[None] = Deferred()
        self._core.stops.append(waiter)
        self._inputs.stop_asked(deadline_seconds)
        return waiter
