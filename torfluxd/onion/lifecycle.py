"""The lifecycle of a tor that is up, and comes back: an Automat machine.

The states, each owning what exists only in it::

    Stopped ─▶ Opening ─▶ Joining ─▶ Publishing ─▶ Up ─▶ Reachable ◀─▶ Doubtful
                 │           │           │         │         │            │    failed, lost
                 ▼           ▼           ▼         ▼         ▼            ▼
              Waiting ◀──────────── Closing ◀─────────────────────────────┘
                 └──▶ Opening

`Opening` owns the attempt to have a tor (start one, or connect to one). `Joining` waits until it has joined its
network, `Publishing` until the directories have the onion service's descriptors; a tor without an onion service passes
through at once. In `Up` it is published; in `Reachable` we have also reached it ourselves, and in `Doubtful` the last
attempt to do so failed: three names for a tor that is up, and that is watched over (:mod:`~torfluxd.onion.watch`).
`Closing` waits until what was opened has ended, `Waiting` owns the timer before the next attempt. `Stopping` and
`Restarting` wait for the end of what is under way. The machine never gives up by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import TorError, TorfluxdError
from torfluxd.onion.bootstrap import Bootstrap, read_bootstrap, read_clock_skew
from torfluxd.onion.descriptors import DescriptorWatch
from torfluxd.onion.sources import OpenTor, TorSource
from torfluxd.onion.steps import JOIN_SECONDS, PUBLISH_SECONDS, close_circuit, join, publish, within
from torfluxd.onion.watch import Watch

__all__ = ["STEADY_SECONDS", "Lifecycle", "TorMachine"]

STEADY_SECONDS = 5.0
"""How long a tor must have been up for the waits between attempts to begin anew. One that does not live so long counts
as a failed attempt, so that a tor which crashes as soon as it is up is not started in a tight circle."""

_log = Logger()


@define
class _Held:
    """An opened tor, and what was begun with it.

    :ivar step: the step that it is taken through; cancelled when the tor is let go.
    :ivar pulse: fails when it does not answer any more; cancelled likewise.
    :ivar lost: fires when the tor is of no more use; cancelled likewise.
    :ivar up_since: since when it is up, in the clock's seconds.
    :ivar gone: it is let go, and how its step ends concerns nobody any more.
    """

    tor: OpenTor
    step: Deferred[None] = field(factory=lambda: succeed(None))
    pulse: Deferred[None] = field(factory=lambda: succeed(None))
    lost: Deferred[None] = field(factory=lambda: succeed(None))
    up_since: float | None = None
    gone: bool = False

    def let_go(self) -> Deferred[None]:
        """Leave it, and fire when what was opened has ended."""
        self.gone = True
        self.step.cancel()
        self.pulse.cancel()
        self.lost.cancel()
        return Deferred.fromCoroutine(self.tor.close())


class _Inputs(Protocol):
    """What can happen to a tor.

    No input returns anything, so that each can be given from within another: by somebody who was just told that tor is
    up, for instance. Who wants to know of the end gives a Deferred to the core beforehand.
    """

    def start(self) -> None:
        """It is wanted."""

    def stop(self) -> None:
        """It is no longer wanted."""

    def await_up(self, waiter: Deferred[None]) -> None:
        """Somebody waits for it."""

    def close_circuit(self, circuit: int) -> None:
        """Somebody's circuit is to be closed, if it is there."""

    def _opened(self, tor: OpenTor) -> None:
        """There is a tor that lets us in."""

    def _joined(self, held: _Held) -> None:
        """It has joined its network."""

    def _published(self, held: _Held) -> None:
        """Its onion service can be found, or it has none."""

    def _reached(self, held: _Held) -> None:
        """We have reached the onion service ourselves."""

    def _missed(self, held: _Held) -> None:
        """We could not reach it."""

    def _failed(self, failure: Failure) -> None:
        """An attempt, or a step, did not succeed."""

    def _lost(self, reason: str) -> None:
        """The tor that we had is of no more use."""

    def _closed(self) -> None:
        """What was opened has ended."""

    def _retried(self) -> None:
        """It is time for the next attempt."""


@define
class Lifecycle:
    """What lives as long as the machine does.

    :ivar source: how to have a tor.
    :ivar retry_delay: seconds to wait after the n-th failed attempt, given n.
    :ivar say: takes what went wrong.
    :ivar progress: takes each step of the bootstrap.
    :ivar came_up: called each time that tor is up.
    :ivar went_down: called each time that a tor which let us in has ended.
    :ivar watch: watches over a tor that is up.
    :ivar state: the name of the machine's state, for people.
    :ivar bootstrap: the last bootstrap status that tor told.
    :ivar clock_skew_seconds: by how much tor finds the clock off, or None.
    :ivar descriptors: what became of the descriptors of the tor that was up last; None without an onion service.
    :ivar losses: how many tors that were up were lost, or let go to be mended.
    """

    source: TorSource
    clock: IReactorTime
    retry_delay: Callable[[int], float]
    say: Callable[[str], None]
    progress: Callable[[str], None]
    came_up: Callable[[], None]
    went_down: Callable[[], None]
    watch: Watch

    state: str = "stopped"
    bootstrap: Bootstrap | None = None
    clock_skew_seconds: int | None = None
    descriptors: DescriptorWatch | None = None
    attempts: int = 0
    losses: int = 0
    was_up: bool = False
    waiting_for_up: list[Deferred[None]] = field(factory=list)
    waiting_for_stop: list[Deferred[None]] = field(factory=list)

    def new_waiter(self) -> Deferred[None]:
        """For somebody who waits for tor to be up, and may stop waiting."""
        return Deferred(self._forget)

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self.waiting_for_up:
            self.waiting_for_up.remove(waiter)

    def settle_up(self, failure: Failure | None) -> None:
        """Answer everybody who waits for tor to be up."""
        waiting, self.waiting_for_up = self.waiting_for_up, []
        for up in waiting:
            up.callback(None) if failure is None else up.errback(failure)

    def settle_stop(self) -> None:
        """Answer everybody who waits for the end."""
        self.settle_up(Failure(CancelledError()))
        waiting, self.waiting_for_stop = self.waiting_for_stop, []
        for stopped in waiting:
            stopped.callback(None)

    def lose(self, held: _Held, failure: Failure) -> None:
        """Note that a tor is of no more use, and why."""
        if held.up_since is not None:
            self.losses += 1
            if self.clock.seconds() - held.up_since >= STEADY_SECONDS:
                self.attempts = 0
        self.tell_failure(failure)

    def tell_failure(self, failure: Failure) -> None:
        """Tell what went wrong: to those who wait for the first time, or else to the operator."""
        if failure.check(TorfluxdError) is None:
            _log.failure("while having a tor", failure)
        if self.was_up:
            self.say(f"tor: {failure.getErrorMessage()}")
        else:
            self.settle_up(failure)

    def hear(self, event: str) -> bool:
        """Take a status event: keep what it says, and tell each step of the bootstrap once.

        :returns: whether tor has joined its network, as far as it has told.
        """
        skew = read_clock_skew(event)
        if skew is not None:
            self.clock_skew_seconds = skew
        latest = read_bootstrap(event)
        if latest is not None:
            if self.bootstrap is None or str(latest) != str(self.bootstrap):
                self.progress(f"tor: {latest}")
            self.bootstrap = latest
        return self.bootstrap is not None and self.bootstrap.joined

    def join(self, tor: OpenTor) -> Deferred[None]:
        """Begin to wait until tor has joined its network. The first time, whoever waits decides how long."""
        return self._in_time(JOIN_SECONDS, join(tor, self.hear), "has not joined its network")

    def publish(self, tor: OpenTor) -> Deferred[None]:
        """Begin to wait until the onion service can be found; likewise."""
        return self._in_time(PUBLISH_SECONDS, publish(tor, self.clock), "has no descriptor in any directory")

    def _in_time(self, seconds: float, coroutine: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
        step = Deferred.fromCoroutine(coroutine)
        if self.was_up:
            return within(seconds, self.clock, step, f"it {what} after {seconds / 60:.0f} minutes; trying again")
        return step


def _take_step(inputs: _Inputs, step: Deferred[None], held: _Held, done: Callable[[_Held], None]) -> Deferred[None]:
    """Have the end of a step be an input, unless the tor is let go before."""

    def failed(failure: Failure) -> None:
        # A step that closes the connection by itself, at a deadline, is let go in the middle, and fails afterwards.
        if not held.gone:
            inputs._failed(failure)

    return step.addCallbacks(lambda _: done(held), failed)


def _entering(name: str) -> Callable[..., None]:
    """What a state begins with that owns nothing: its name is known."""

    def enter(inputs: _Inputs, core: Lifecycle, *unused: object) -> None:
        core.state = name

    return enter


def _make_machine() -> Callable[[Lifecycle], _Inputs]:  # noqa: C901  # a table of transitions, no branches
    machine = TypeMachineBuilder(_Inputs, Lifecycle)

    def begin_opening(inputs: _Inputs, core: Lifecycle, failure: Failure | None = None) -> Deferred[None]:
        core.state = "opening"
        core.attempts += 1
        core.bootstrap = None
        opening = Deferred.fromCoroutine(core.source.open())
        return opening.addCallback(inputs._opened).addErrback(inputs._failed)

    def begin_joining(inputs: _Inputs, core: Lifecycle, tor: OpenTor) -> _Held:
        core.state = "joining"
        held = _Held(tor)
        held.lost = tor.when_lost().addCallbacks(inputs._lost, lambda cancelled: None)
        held.step = _take_step(inputs, core.join(tor), held, inputs._joined)
        held.pulse = _take_step(inputs, core.watch.feel_pulse(tor), held, lambda held: None)
        return held

    def begin_publishing(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        core.state = "publishing"
        held.step = _take_step(inputs, core.publish(held.tor), held, inputs._published)
        return held

    def be_up(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        def tell(reached: bool) -> None:
            if not held.gone:
                (inputs._reached if reached else inputs._missed)(held)

        core.state = "published"
        core.was_up = True
        core.descriptors = held.tor.descriptors
        held.up_since = core.clock.seconds()
        held.step = _take_step(inputs, core.watch.watch_over(held.tor, tell), held, lambda held: None)
        return held

    def be_reachable(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        core.state = "reachable"
        return held

    def be_doubtful(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        core.state = "doubtful"
        return held

    def begin_waiting(inputs: _Inputs, core: Lifecycle, failure: Failure | None = None) -> IDelayedCall:
        core.state = "waiting"
        return core.clock.callLater(core.retry_delay(core.attempts), inputs._retried)

    stopped = machine.state("Stopped")  # the first cannot be entered with a name: who enters it says so
    opening = machine.state("Opening", begin_opening)
    joining = machine.state("Joining", begin_joining)
    publishing = machine.state("Publishing", begin_publishing)
    up = machine.state("Up", be_up)
    reachable = machine.state("Reachable", be_reachable)
    doubtful = machine.state("Doubtful", be_doubtful)
    closing = machine.state("Closing", _entering("closing"))
    waiting = machine.state("Waiting", begin_waiting)
    stopping = machine.state("Stopping", _entering("stopping"))
    restarting = machine.state("Restarting", _entering("restarting"))
    are_up = (up, reachable, doubtful)
    are_held = (joining, publishing, *are_up)

    stopped.upon(_Inputs.start).to(opening).returns(None)
    opening.upon(_Inputs._opened).to(joining).returns(None)
    joining.upon(_Inputs._joined).to(publishing).returns(None)
    waiting.upon(_Inputs._retried).to(opening).returns(None)
    closing.upon(_Inputs.stop).to(stopping).returns(None)
    stopping.upon(_Inputs.stop).loop().returns(None)
    restarting.upon(_Inputs.stop).to(stopping).returns(None)
    stopping.upon(_Inputs.start).to(restarting).returns(None)
    restarting.upon(_Inputs._failed).to(opening).returns(None)
    for state in (opening, closing, waiting, restarting, *are_held):
        state.upon(_Inputs.start).loop().returns(None)
    for state in are_up:
        state.upon(_Inputs._reached).to(reachable).returns(None)
        state.upon(_Inputs._missed).to(doubtful).returns(None)

    @publishing.upon(_Inputs._published).to(up)
    def came_up(inputs: _Inputs, core: Lifecycle, old: _Held, held: _Held) -> None:
        core.came_up()
        core.settle_up(None)

    @opening.upon(_Inputs._failed).to(waiting)
    def attempt_failed(inputs: _Inputs, core: Lifecycle, attempt: Deferred[None], failure: Failure) -> None:
        core.tell_failure(failure)

    def step_failed(inputs: _Inputs, core: Lifecycle, held: _Held, failure: Failure) -> None:
        core.lose(held, failure)
        held.let_go().addCallback(lambda _: inputs._closed())

    def tor_lost(inputs: _Inputs, core: Lifecycle, held: _Held, reason: str) -> None:
        core.lose(held, Failure(TorError(reason)))
        held.let_go().addCallback(lambda _: inputs._closed())

    def stop_held(inputs: _Inputs, core: Lifecycle, held: _Held) -> None:
        held.let_go().addCallback(lambda _: inputs._closed())

    for state in are_held:
        state.upon(_Inputs._failed).to(closing)(step_failed)
        state.upon(_Inputs._lost).to(closing)(tor_lost)
        state.upon(_Inputs.stop).to(stopping)(stop_held)

    @closing.upon(_Inputs._closed, nodata=True).to(waiting)
    def tor_ended(inputs: _Inputs, core: Lifecycle) -> None:
        core.went_down()

    @stopped.upon(_Inputs.stop).loop()
    def never_began(inputs: _Inputs, core: Lifecycle) -> None:
        core.settle_stop()

    @stopping.upon(_Inputs._closed).to(stopped)
    def ended(inputs: _Inputs, core: Lifecycle, nothing: object) -> None:
        core.state = "stopped"
        core.went_down()
        core.settle_stop()

    @restarting.upon(_Inputs._closed, nodata=True).to(opening)
    def ended_on_the_way(inputs: _Inputs, core: Lifecycle) -> None:
        core.went_down()
        core.settle_stop()

    @stopping.upon(_Inputs._failed).to(stopped)
    def attempt_ended(inputs: _Inputs, core: Lifecycle, nothing: object, failure: Failure) -> None:
        core.state = "stopped"
        core.settle_stop()

    @opening.upon(_Inputs.stop).to(stopping)
    def stop_attempt(inputs: _Inputs, core: Lifecycle, attempt: Deferred[None]) -> None:
        attempt.cancel()

    @waiting.upon(_Inputs.stop).to(stopped)
    def stop_waiting(inputs: _Inputs, core: Lifecycle, retry: IDelayedCall) -> None:
        core.state = "stopped"
        retry.cancel()
        core.settle_stop()

    @stopping.upon(_Inputs._opened, nodata=True).loop()
    @restarting.upon(_Inputs._opened, nodata=True).loop()
    def opened_too_late(inputs: _Inputs, core: Lifecycle, tor: OpenTor) -> None:
        _Held(tor).let_go().addCallback(lambda _: inputs._closed())

    def is_up(inputs: _Inputs, core: Lifecycle, held: _Held, waiter: Deferred[None]) -> None:
        waiter.callback(None)

    def circuit_unwanted(inputs: _Inputs, core: Lifecycle, held: _Held, circuit: int) -> None:
        Deferred.fromCoroutine(close_circuit(held.tor.control, circuit)).addErrback(
            lambda failure: _log.failure("while closing a circuit", failure)
        )

    def is_not_up(inputs: _Inputs, core: Lifecycle, waiter: Deferred[None]) -> None:
        core.waiting_for_up.append(waiter)

    for state in are_up:
        state.upon(_Inputs.await_up).loop()(is_up)
        state.upon(_Inputs.close_circuit).loop()(circuit_unwanted)
    stopped.upon(_Inputs.await_up).loop()(is_not_up)
    stopped.upon(_Inputs.close_circuit).loop().returns(None)
    for state in (opening, joining, publishing, closing, waiting, stopping, restarting):
        state.upon(_Inputs.await_up, nodata=True).loop()(is_not_up)
        state.upon(_Inputs.close_circuit, nodata=True).loop().returns(None)

    return machine.build()


TorMachine = _make_machine()
"""Takes a core, gives the machine; at module level so that `automat-visualize` finds and draws it."""
