"""A worker is started, asked, ended when it hangs, and started again: with the clock in our hands."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import WorkerError
from torfluxd.gateway.told import Message
from torfluxd.gateway.worker_lifecycle import (
    HUNG_SECONDS,
    PULSE_SECONDS,
    START_SECONDS,
    STEADY_SECONDS,
    STOP_SECONDS,
    WorkerCore,
    WorkerMachine,
    retry_delay,
)
from torfluxd.gateway.worker_process import WorkerProcess


class Process:
    """A process that does nothing by itself."""

    def __init__(self, hear: Callable[[Message], None], ended: Callable[[str], None]) -> None:
        self.hear = hear
        self.ended = ended
        self.told: list[Message] = []
        self.killed = 0

    def tell(self, message: Message) -> None:
        """Note what it is told."""
        self.told.append(message)

    def kill(self) -> None:
        """End, as a process does."""
        self.killed += 1
        self.ended("was ended by signal 9")


class LifecycleCase(SynchronousTestCase):
    """A worker of such processes."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.processes: list[Process] = []
        self.fault = ""
        self.heard: list[Message] = []
        self.events: list[str] = []
        self.core = WorkerCore(
            clock=cast(Any, self.clock),
            spawn=self.spawn,
            pulse=lambda tell: tell({"ask": 1}),
            hear=self.heard.append,
            served=lambda: self.events.append("serves"),
            lost=self.events.append,
        )
        self.machine = WorkerMachine(self.core)

    def spawn(self, hear: Callable[[Message], None], ended: Callable[[str], None]) -> WorkerProcess:
        """Start a process, unless the system does not let us."""
        if self.fault:
            raise WorkerError(self.fault)
        self.processes.append(Process(hear, ended))
        return cast(WorkerProcess, self.processes[-1])

    @property
    def process(self) -> Process:
        """The one that was started last."""
        return self.processes[-1]

    def serve(self) -> Process:
        """Start it, and let it serve."""
        self.machine.start()
        self.process.hear({"serves": True})
        return self.process

    def stop(self) -> Deferred[None]:
        """Stop it; fires when it has ended."""
        stopped: Deferred[None] = Deferred()
        self.core.waiting_for_stop.append(stopped)
        self.machine.stop()
        return stopped


class LifecycleTests(LifecycleCase):
    """What happens to a worker."""

    def test_it_serves(self) -> None:
        """It is started, says that it serves, is told things, and is heard."""
        process = self.serve()
        self.machine.tell({"stand_in": [2]})
        process.hear({"homes": "x"})
        self.assertEqual((self.events, process.told, self.heard), (["serves"], [{"stand_in": [2]}], [{"homes": "x"}]))

    def test_it_comes_back(self) -> None:
        """One that dies is started again at once, the first time."""
        self.serve().ended("was ended by signal 11")
        self.clock.advance(0)
        self.process.hear({"serves": True})
        self.assertEqual(self.events, ["serves", "was ended by signal 11", "serves"])

    def test_backoff(self) -> None:
        """One that dies again and again is started ever more rarely, and never given up."""
        self.machine.start()
        waits = []
        for _ in range(12):
            begun, number = self.clock.seconds(), len(self.processes)
            self.process.ended("ended with code 1")
            while len(self.processes) == number:
                self.clock.advance(0.25)
            waits.append(self.clock.seconds() - begun)
        self.assertEqual(waits[:5], [0.25, 0.5, 1.0, 2.0, 4.0])
        self.assertEqual(waits[-1], 30.0)

    def test_steady(self) -> None:
        """One that served for long begins with a clean slate."""
        self.machine.start()
        for _ in range(8):
            self.process.ended("ended with code 1")
            self.clock.pump([1.0] * 31)
        self.process.hear({"serves": True})
        for _ in range(int(STEADY_SECONDS / PULSE_SECONDS) + 1):
            self.clock.advance(PULSE_SECONDS)
            self.process.hear({"told": 1})
        number = len(self.processes)
        self.process.ended("ended with code 1")
        self.clock.advance(0)
        self.assertEqual(len(self.processes), number + 1)
        self.assertEqual(retry_delay(1), 0.0)

    def test_it_hangs(self) -> None:
        """One that answers nothing for half a minute is killed, which is told, and another one started."""
        process = self.serve()
        for _ in range(3):
            self.clock.advance(PULSE_SECONDS)
            process.hear({"told": 1})
        self.clock.pump([1.0] * int(HUNG_SECONDS - 1))
        self.assertEqual(process.killed, 0)
        self.clock.pump([1.0] * 2)
        self.assertEqual((process.killed, len(self.processes)), (1, 2))
        self.assertEqual(self.events[-1], "did not answer any more, and was killed")

    def test_it_never_begins(self) -> None:
        """One that never says that it serves is killed, too."""
        self.machine.start()
        self.clock.advance(START_SECONDS)
        self.assertEqual(self.processes[0].killed, 1)

    def test_no_process(self) -> None:
        """When the system lets us start none, that is told, and tried again."""
        self.fault = "a worker cannot be started: no memory"
        self.machine.start()
        self.clock.advance(0)
        self.assertEqual(set(self.events), {self.fault})
        self.fault = ""
        self.clock.advance(1)
        self.assertEqual(len(self.processes), 1)

    def test_stop(self) -> None:
        """It is told to end, and has ended when its process has."""
        process = self.serve()
        stopped = self.stop()
        self.assertEqual(process.told[-1], {"stop": True})
        self.assertNoResult(stopped)
        process.ended("ended with code 0")
        self.successResultOf(stopped)
        self.assertEqual((self.events, self.clock.getDelayedCalls()), (["serves"], []))

    def test_stop_late(self) -> None:
        """One that does not end in five seconds is killed."""
        process = self.serve()
        stopped = self.stop()
        self.clock.advance(STOP_SECONDS)
        self.successResultOf(stopped)
        self.assertEqual(process.killed, 1)
        self.assertLess(STOP_SECONDS, 5)

    def test_stop_between(self) -> None:
        """It can be stopped before it serves, while it waits, and when it was never started."""
        self.successResultOf(self.stop())
        self.machine.start()
        stopped = self.stop()
        self.process.hear({"serves": True})
        self.process.ended("ended with code 0")
        self.successResultOf(stopped)
        self.machine.start()
        self.process.ended("ended with code 1")
        self.clock.advance(0)
        self.process.ended("ended with code 1")
        self.successResultOf(self.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AnythingTests(LifecycleCase):
    """Whatever happens, in whatever order."""

    def test_no_surprise(self) -> None:
        """No sequence of events meets a state that does not know it, and in the end all can be stopped."""
        chance = random.Random(6)
        for _ in range(300):
            self.setUp()
            alive: set[Process] = set()
            for _ in range(40):
                alive = {process for process in self.processes if not getattr(process, "gone", False)}
                process = chance.choice(sorted(alive, key=id)) if alive else None
                events: list[Callable[[], object]] = [
                    self.machine.start,
                    self.machine.stop,
                    lambda: self.machine.tell({"stand_in": []}),
                    lambda: self.clock.advance(chance.choice([0, 0.5, 5, 31])),
                ]
                if process is not None:
                    events += [
                        lambda process=process: process.hear({"serves": True}),
                        lambda process=process: process.hear({"told": 1}),
                        lambda process=process: self.end(process),
                    ]
                chance.choice(events)()
            stopped = self.stop()
            self.clock.advance(STOP_SECONDS)
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def spawn(self, hear: Callable[[Message], None], ended: Callable[[str], None]) -> WorkerProcess:
        """Start a process that ends once."""

        def ended_once(how: str) -> None:
            if not getattr(process, "gone", False):
                process.gone = True  # type: ignore[attr-defined]
                ended(how)

        process = Process(hear, ended_once)
        self.processes.append(process)
        return cast(WorkerProcess, process)

    def end(self, process: Process) -> None:
        """A process ends by itself."""
        process.ended("ended with code 1")
