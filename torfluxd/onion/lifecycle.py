"""The lifecycle of a tor that is up, and comes back: an Automat machine.

The states, each owning what exists only in it::

    Stopped ─▶ Opening ─▶ Joining ─▶ Publishing ─▶ Up
                 │           │           │         │      failed, lost
                 ▼           ▼           ▼         ▼
              Waiting ◀──────────── Closing ◀──────┘
                 └──▶ Opening

`Opening` owns the attempt to have a tor (start one, or connect to one). `Joining` waits until it has joined its
network, `Publishing` until the directories have the onion service's descriptors; a tor without an onion service passes
through at once. `Up` keeps tor told who may reach a private one. `Closing` waits until what was opened has ended,
`Waiting` owns the timer before the next attempt. `Stopping` and `Restarting` wait for the end of what is under way. The
machine never gives up by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import ControlError, ControlReplyError, TorError, TorfluxdError
from torfluxd.onion.bootstrap import Bootstrap, read_bootstrap, read_clock_skew
from torfluxd.onion.control import ControlConnection
from torfluxd.onion.sources import OpenTor, TorSource

__all__ = ["Lifecycle", "TorMachine"]

_log = Logger()


@define
class _Held:
    """An opened tor, and what was begun with it.

    :ivar step: the step that it is taken through; cancelled when the tor is let go.
    :ivar lost: fires when the tor is of no more use; cancelled likewise.
    :ivar gone: it is let go, and how its step ends concerns nobody any more.
    """

    tor: OpenTor
    step: Deferred[None] = field(factory=lambda: succeed(None))
    lost: Deferred[None] = field(factory=lambda: succeed(None))
    gone: bool = False

    def let_go(self) -> Deferred[None]:
        """Leave it, and fire when what was opened has ended."""
        self.gone = True
        self.step.cancel()
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
    :ivar say: takes each line of progress.
    :ivar came_up: called each time that tor is up.
    :ivar bootstrap: the last bootstrap status that tor told.
    :ivar clock_skew_seconds: by how much tor finds the clock off, or None.
    """

    source: TorSource
    clock: IReactorTime
    retry_delay: Callable[[int], float]
    say: Callable[[str], None]
    came_up: Callable[[], None]

    bootstrap: Bootstrap | None = None
    clock_skew_seconds: int | None = None
    attempts: int = 0
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

    def tell_failure(self, failure: Failure) -> None:
        """Tell what went wrong: to those who wait for the first time, or else to the operator."""
        if failure.check(TorfluxdError) is None:
            _log.failure("while having a tor", failure)
        if self.was_up:
            self.say(f"tor: {failure.getErrorMessage()}")
        else:
            self.settle_up(failure)

    def hear(self, event: str) -> None:
        """Take a status event: keep what it says, and tell each step of the bootstrap once."""
        skew = read_clock_skew(event)
        if skew is not None:
            self.clock_skew_seconds = skew
        latest = read_bootstrap(event)
        if latest is None:
            return
        if self.bootstrap is None or str(latest) != str(self.bootstrap):
            self.say(f"tor: {latest}")
        self.bootstrap = latest


async def _join(core: Lifecycle, tor: OpenTor) -> None:
    """Return when tor has joined its network."""
    joined: Deferred[None] = Deferred()

    def take(event: str) -> None:
        core.hear(event)
        if core.bootstrap is not None and core.bootstrap.joined and not joined.called:
            joined.callback(None)

    await tor.control.listen("STATUS_CLIENT", take)
    await tor.control.listen("STATUS_GENERAL", take)
    take(await tor.control.command("GETINFO status/bootstrap-phase"))
    await joined


UNKNOWN_CIRCUIT = 552
"""Tor's answer when it has no such circuit (control-spec section 3.16)."""

UPLOADS_SECONDS = 10.0
"""How long directories may take once the first has taken a descriptor: those that then have not are rarely asked."""


async def _publish(core: Lifecycle, tor: OpenTor) -> None:
    """Return when the onion service can be found; at once when there is none."""
    await tor.host()
    if tor.descriptors is not None:
        await tor.descriptors.when_first_uploaded()
        with contextlib.suppress(defer.TimeoutError):
            await tor.descriptors.when_all_answered().addTimeout(UPLOADS_SECONDS, core.clock)


async def _close_circuit(control: ControlConnection, circuit: int) -> None:
    """Return when tor has closed a circuit, does not know it any more, or is not there to be asked."""
    try:
        await control.command(f"CLOSECIRCUIT {circuit}", secrets=(str(circuit),))
    except ControlReplyError as error:
        if error.code != UNKNOWN_CIRCUIT:
            _log.warn("tor refused to close a circuit: {code}", code=error.code)
    except ControlError as error:
        _log.debug("a circuit was not closed: {problem}", problem=str(error))


def _take_step(
    inputs: _Inputs, coroutine: Coroutine[Any, Any, None], held: _Held, done: Callable[[_Held], None]
) -> None:
    """Begin a step; its end is an input, unless the tor is let go before."""

    def failed(failure: Failure) -> None:
        # A step that closes the connection by itself, at a deadline, is let go in the middle, and fails afterwards.
        if failure.check(CancelledError) is None and not held.gone:
            inputs._failed(failure)

    held.step = Deferred.fromCoroutine(coroutine)
    held.step.addCallbacks(lambda _: done(held), failed)


def _make_machine() -> Callable[[Lifecycle], _Inputs]:  # noqa: C901  # a table of transitions, no branches
    machine = TypeMachineBuilder(_Inputs, Lifecycle)

    def begin_opening(inputs: _Inputs, core: Lifecycle, failure: Failure | None = None) -> Deferred[None]:
        core.attempts += 1
        core.bootstrap = None
        opening = Deferred.fromCoroutine(core.source.open())
        return opening.addCallback(inputs._opened).addErrback(inputs._failed)

    def begin_joining(inputs: _Inputs, core: Lifecycle, tor: OpenTor) -> _Held:
        held = _Held(tor)
        held.lost = tor.when_lost().addCallbacks(inputs._lost, lambda cancelled: None)
        _take_step(inputs, _join(core, tor), held, inputs._joined)
        return held

    def begin_publishing(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        _take_step(inputs, _publish(core, held.tor), held, inputs._published)
        return held

    def be_up(inputs: _Inputs, core: Lifecycle, held: _Held) -> _Held:
        core.attempts = 0
        core.was_up = True
        _take_step(inputs, held.tor.keep(), held, lambda held: None)
        return held

    def begin_waiting(inputs: _Inputs, core: Lifecycle, failure: Failure | None = None) -> IDelayedCall:
        return core.clock.callLater(core.retry_delay(core.attempts), inputs._retried)

    stopped = machine.state("Stopped")
    opening = machine.state("Opening", begin_opening)
    joining = machine.state("Joining", begin_joining)
    publishing = machine.state("Publishing", begin_publishing)
    up = machine.state("Up", be_up)
    closing = machine.state("Closing")
    waiting = machine.state("Waiting", begin_waiting)
    stopping = machine.state("Stopping")
    restarting = machine.state("Restarting")

    stopped.upon(_Inputs.start).to(opening).returns(None)
    opening.upon(_Inputs._opened).to(joining).returns(None)
    joining.upon(_Inputs._joined).to(publishing).returns(None)
    closing.upon(_Inputs._closed).to(waiting).returns(None)
    waiting.upon(_Inputs._retried).to(opening).returns(None)
    closing.upon(_Inputs.stop).to(stopping).returns(None)
    stopping.upon(_Inputs.stop).loop().returns(None)
    restarting.upon(_Inputs.stop).to(stopping).returns(None)
    stopping.upon(_Inputs.start).to(restarting).returns(None)
    restarting.upon(_Inputs._failed).to(opening).returns(None)
    for state in (opening, joining, publishing, up, closing, waiting, restarting):
        state.upon(_Inputs.start).loop().returns(None)

    @publishing.upon(_Inputs._published).to(up)
    def came_up(inputs: _Inputs, core: Lifecycle, old: _Held, held: _Held) -> None:
        core.came_up()
        core.settle_up(None)

    @opening.upon(_Inputs._failed).to(waiting)
    def attempt_failed(inputs: _Inputs, core: Lifecycle, attempt: Deferred[None], failure: Failure) -> None:
        core.tell_failure(failure)

    @joining.upon(_Inputs._failed).to(closing)
    @publishing.upon(_Inputs._failed).to(closing)
    @up.upon(_Inputs._failed).to(closing)
    def step_failed(inputs: _Inputs, core: Lifecycle, held: _Held, failure: Failure) -> None:
        core.tell_failure(failure)
        held.let_go().addCallback(lambda _: inputs._closed())

    @joining.upon(_Inputs._lost).to(closing)
    @publishing.upon(_Inputs._lost).to(closing)
    @up.upon(_Inputs._lost).to(closing)
    def tor_lost(inputs: _Inputs, core: Lifecycle, held: _Held, reason: str) -> None:
        core.tell_failure(Failure(TorError(reason)))
        held.let_go().addCallback(lambda _: inputs._closed())

    @stopped.upon(_Inputs.stop).loop()
    @stopping.upon(_Inputs._closed).to(stopped)
    @restarting.upon(_Inputs._closed).to(opening)
    def ended(inputs: _Inputs, core: Lifecycle) -> None:
        core.settle_stop()

    @stopping.upon(_Inputs._failed).to(stopped)
    def attempt_ended(inputs: _Inputs, core: Lifecycle, failure: Failure) -> None:
        core.settle_stop()

    @opening.upon(_Inputs.stop).to(stopping)
    def stop_attempt(inputs: _Inputs, core: Lifecycle, attempt: Deferred[None]) -> None:
        attempt.cancel()

    @joining.upon(_Inputs.stop).to(stopping)
    @publishing.upon(_Inputs.stop).to(stopping)
    @up.upon(_Inputs.stop).to(stopping)
    def stop_held(inputs: _Inputs, core: Lifecycle, held: _Held) -> None:
        held.let_go().addCallback(lambda _: inputs._closed())

    @waiting.upon(_Inputs.stop).to(stopped)
    def stop_waiting(inputs: _Inputs, core: Lifecycle, retry: IDelayedCall) -> None:
        retry.cancel()
        core.settle_stop()

    @stopping.upon(_Inputs._opened).loop()
    @restarting.upon(_Inputs._opened).loop()
    def opened_too_late(inputs: _Inputs, core: Lifecycle, tor: OpenTor) -> None:
        _Held(tor).let_go().addCallback(lambda _: inputs._closed())

    @up.upon(_Inputs.await_up).loop()
    def is_up(inputs: _Inputs, core: Lifecycle, held: _Held, waiter: Deferred[None]) -> None:
        waiter.callback(None)

    @up.upon(_Inputs.close_circuit).loop()
    def circuit_unwanted(inputs: _Inputs, core: Lifecycle, held: _Held, circuit: int) -> None:
        Deferred.fromCoroutine(_close_circuit(held.tor.control, circuit)).addErrback(
            lambda failure: _log.failure("while closing a circuit", failure)
        )

    for state in (stopped, closing, stopping, restarting):
        state.upon(_Inputs.close_circuit).loop().returns(None)
    for state in (opening, joining, publishing, waiting):
        state.upon(_Inputs.close_circuit, nodata=True).loop().returns(None)

    @stopped.upon(_Inputs.await_up).loop()
    @opening.upon(_Inputs.await_up, nodata=True).loop()
    @joining.upon(_Inputs.await_up, nodata=True).loop()
    @publishing.upon(_Inputs.await_up, nodata=True).loop()
    @closing.upon(_Inputs.await_up).loop()
    @waiting.upon(_Inputs.await_up, nodata=True).loop()
    @stopping.upon(_Inputs.await_up).loop()
    @restarting.upon(_Inputs.await_up).loop()
    def is_not_up(inputs: _Inputs, core: Lifecycle, waiter: Deferred[None]) -> None:
        core.waiting_for_up.append(waiter)

    return machine.build()


TorMachine = _make_machine()
"""Takes a core, gives the machine; at module level so that `automat-visualize` finds and draws it."""
