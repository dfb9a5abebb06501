"""The lifecycle of a worker that serves, and comes back: an Automat machine.

The states, each owning what exists only in it::

    Stopped ─▶ Starting ─▶ Serving
                  │           │      ended
                  ▼           ▼
               Waiting ◀──────┘
                  └──▶ Starting

`Starting` and `Serving` own the process, and the timer by which it is ended when it says nothing: one that hangs is as
good as dead. `Waiting` owns the timer before the next start, `Stopping` waits for the end of a process that was told to
end. The machine never gives up by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from automat import TypeMachineBuilder
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from torfluxd.errors import WorkerError
from torfluxd.gateway.told import Message
from torfluxd.gateway.worker_process import WorkerProcess

__all__ = ["PULSE_SECONDS", "WorkerCore", "WorkerInputs", "WorkerMachine", "retry_delay"]

START_SECONDS = 60.0
"""How long a worker may take from its start until it serves: half a second, and more on a machine that does much
else, or with a large spool to be looked through."""

PULSE_SECONDS = 5.0
"""How often a worker that serves is asked for its figures, whether anybody wants them or not."""

HUNG_SECONDS = 30.0
"""How long it may owe an answer. Its reactor does nothing that takes a second, and a disk that hangs keeps a thread of
its own waiting, not this; so a worker that owes one for so long serves nobody."""

STOP_SECONDS = 4.4
"""What a worker gets to end: what requests in flight get, and something for the spool. Five seconds are for all."""

_RETRY_FIRST_SECONDS = 0.5
_RETRY_FACTOR = 2.0
_RETRY_CAP_SECONDS = 30.0
"""The wait before a worker is started again that did not serve for `STEADY_SECONDS`. Whatever ended it, a request or a
fault of the machine, the others go on meanwhile."""

STEADY_SECONDS = 30.0
"""A worker that served for so long, and ended then, is started again at once; so is one that ended for the first
time."""


def retry_delay(failures: int) -> float:
    """How long to wait before the next start.

    :param failures: how many starts in a row did not lead to `STEADY_SECONDS` of service, at least 1.
    """
    if failures <= 1:
        return 0.0
    return min(_RETRY_CAP_SECONDS, _RETRY_FIRST_SECONDS * _RETRY_FACTOR ** min(failures - 2, 10))


class WorkerInputs(Protocol):
    """What can happen to a worker. No input returns anything."""

    def start(self) -> None:
        """It is wanted."""

    def stop(self) -> None:
        """It is no longer wanted."""

    def tell(self, message: Message) -> None:
        """Somebody has a word for it, if it serves."""

    def _serves(self, held: _Held) -> None:
        """It serves."""

    def _answered(self) -> None:
        """It has answered."""

    def _ended(self, how: str) -> None:
        """Its process is gone."""

    def _retried(self) -> None:
        """It is time for the next start."""


@define
class WorkerCore:
    """What lives as long as the machine does.

    :ivar spawn: starts a process and tells it how to begin, given what hears it and what is told how it ended; raises
        :class:`~torfluxd.errors.WorkerError`.
    :ivar pulse: asks it something, given what tells it something.
    :ivar hear: takes each message that is not about its lifecycle.
    :ivar served: called each time that it serves.
    :ivar lost: called each time that its process is gone and was not told to end, with how it ended.
    """

    clock: IReactorTime
    spawn: Callable[[Callable[[Message], None], Callable[[str], None]], WorkerProcess]
    pulse: Callable[[Callable[[Message], None]], None]
    hear: Callable[[Message], None]
    served: Callable[[], None]
    lost: Callable[[str], None]

    failures: int = 0
    served_since: float | None = None
    waiting_for_stop: list[Deferred[None]] = field(factory=list)

    def count_end(self) -> None:
        """Note that a process is gone."""
        since, self.served_since = self.served_since, None
        steady = since is not None and self.clock.seconds() - since >= STEADY_SECONDS
        self.failures = 1 if steady else self.failures + 1

    def settle_stop(self) -> None:
        """Answer everybody who waits for the end."""
        waiting, self.waiting_for_stop = self.waiting_for_stop, []
        for stopped in waiting:
            stopped.callback(None)


@define
class _Held:
    """A process, if it could be started, and its timers.

    :ivar late: when it is ended.
    :ivar next_pulse: when it is asked again.
    :ivar hung: it was ended because it said nothing.
    """

    clock: IReactorTime
    process: WorkerProcess | None = None
    late: IDelayedCall | None = None
    next_pulse: IDelayedCall | None = None
    hung: bool = False

    def tell(self, message: Message) -> None:
        """Tell it something."""
        if self.process is not None:
            self.process.tell(message)

    def expect_word(self, seconds: float) -> None:
        """End it when it says nothing for so long."""
        if self.late is not None and self.late.active():
            self.late.cancel()
        self.late = self.clock.callLater(seconds, self._give_up)

    def begin_pulse(self, core: WorkerCore) -> None:
        """Ask it something from time to time."""

        def pulse() -> None:
            core.pulse(self.tell)
            self.next_pulse = self.clock.callLater(PULSE_SECONDS, pulse)

        self.next_pulse = self.clock.callLater(PULSE_SECONDS, pulse)

    def let_go(self) -> None:
        """Stop the timers."""
        for timer in (self.late, self.next_pulse):
            if timer is not None and timer.active():
                timer.cancel()

    def _give_up(self) -> None:
        self.hung = True
        if self.process is not None:
            self.process.kill()


def _start(inputs: WorkerInputs, core: WorkerCore) -> _Held:
    """Start a process; what it says, and its end, are inputs."""
    held = _Held(core.clock)

    def hear(message: Message) -> None:
        if "serves" in message:
            inputs._serves(held)
            return
        if "told" in message:
            inputs._answered()
        core.hear(message)

    def ended(how: str) -> None:
        held.let_go()
        inputs._ended("did not answer any more, and was killed" if held.hung else how)

    try:
        held.process = core.spawn(hear, ended)
    except WorkerError as error:
        core.clock.callLater(0, ended, str(error))
    else:
        held.expect_word(START_SECONDS)
    return held


def _make_machine() -> Callable[[WorkerCore], WorkerInputs]:  # noqa: C901  # a table of transitions, no branches
    machine = TypeMachineBuilder(WorkerInputs, WorkerCore)

    def begin_serving(inputs: WorkerInputs, core: WorkerCore, held: _Held) -> _Held:
        core.served_since = core.clock.seconds()
        held.expect_word(HUNG_SECONDS)
        held.begin_pulse(core)
        return held

    def begin_waiting(inputs: WorkerInputs, core: WorkerCore, how: str) -> IDelayedCall:
        core.count_end()
        return core.clock.callLater(retry_delay(core.failures), inputs._retried)

    stopped = machine.state("Stopped")
    starting = machine.state("Starting", _start)
    serving = machine.state("Serving", begin_serving)
    waiting = machine.state("Waiting", begin_waiting)
    stopping = machine.state("Stopping")

    stopped.upon(WorkerInputs.start).to(starting).returns(None)
    waiting.upon(WorkerInputs._retried).to(starting).returns(None)
    stopping.upon(WorkerInputs._serves).loop().returns(None)
    stopping.upon(WorkerInputs.stop).loop().returns(None)
    stopping.upon(WorkerInputs.start).loop().returns(None)  # nobody wants one again that he has stopped
    for state in (starting, serving, waiting):
        state.upon(WorkerInputs.start, nodata=True).loop().returns(None)
    for state in (starting, waiting):
        state.upon(WorkerInputs.tell, nodata=True).loop().returns(None)
    stopped.upon(WorkerInputs.tell).loop().returns(None)
    stopping.upon(WorkerInputs.tell).loop().returns(None)
    starting.upon(WorkerInputs._answered, nodata=True).loop().returns(None)
    stopping.upon(WorkerInputs._answered).loop().returns(None)
    serving.upon(WorkerInputs._serves, nodata=True).loop().returns(None)

    @starting.upon(WorkerInputs._serves).to(serving)
    def serves(inputs: WorkerInputs, core: WorkerCore, old: _Held, held: _Held) -> None:
        core.served()

    @serving.upon(WorkerInputs.tell).loop()
    def tell(inputs: WorkerInputs, core: WorkerCore, held: _Held, message: Message) -> None:
        held.tell(message)

    @serving.upon(WorkerInputs._answered).loop()
    def answered(inputs: WorkerInputs, core: WorkerCore, held: _Held) -> None:
        held.expect_word(HUNG_SECONDS)

    @starting.upon(WorkerInputs._ended).to(waiting)
    @serving.upon(WorkerInputs._ended).to(waiting)
    def ended(inputs: WorkerInputs, core: WorkerCore, held: _Held, how: str) -> None:
        core.lost(how)

    @starting.upon(WorkerInputs.stop).to(stopping)
    @serving.upon(WorkerInputs.stop).to(stopping)
    def stop(inputs: WorkerInputs, core: WorkerCore, held: _Held) -> None:
        held.let_go()
        held.tell({"stop": True})
        held.expect_word(STOP_SECONDS)

    @stopping.upon(WorkerInputs._ended).to(stopped)
    def ended_as_told(inputs: WorkerInputs, core: WorkerCore, how: str) -> None:
        core.settle_stop()

    @waiting.upon(WorkerInputs.stop).to(stopped)
    def stop_waiting(inputs: WorkerInputs, core: WorkerCore, retry: IDelayedCall) -> None:
        retry.cancel()
        core.settle_stop()

    @stopped.upon(WorkerInputs.stop).loop()
    def is_stopped(inputs: WorkerInputs, core: WorkerCore) -> None:
        core.settle_stop()

    return machine.build()


WorkerMachine = _make_machine()
"""Takes a core, gives the machine; at module level so that `automat-visualize` finds and draws it."""
