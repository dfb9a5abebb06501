"""The workers of a gateway, together: as many processes as are wanted, each with its sockets and its spool.

A worker that dies, or hangs, is stood in for at once: the others accept what connects to its sockets, until it is there
again. What it had acknowledged is in InfluxDB or in its spool, which it finds when it comes back.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.logger import Logger, eventFromJSON, globalLogPublisher

import torfluxd
from torfluxd.delivery.spools import worker_directory
from torfluxd.errors import WorkerError
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.shared_doors import SharedDoor
from torfluxd.gateway.told import Begin, BeginDoor, Message, pack, tell_begin
from torfluxd.gateway.worker_lifecycle import WorkerCore, WorkerInputs, WorkerMachine
from torfluxd.gateway.worker_process import FIRST_DOOR, WorkerProcess
from torfluxd.influx.stamp import SLOT_NS
from torfluxd.ops.figures import Figures, counted
from torfluxd.settings import GatewaySettings

__all__ = ["ASK_SECONDS", "PROVE_SECONDS", "Crew", "CrewReactor", "log_as_ours"]

ASK_SECONDS = 2.0
"""How long a worker may take for an answer before it is left out: a millisecond, unless it is stuck."""

PROVE_SECONDS = 10.0
"""How long it may take to show that its spool works: as long as a slow disk takes for a sync."""

_log = Logger()


class CrewReactor(IReactorProcess, IReactorTime):
    """The kind of reactor that workers need."""


@define(eq=False)
class _Worker:
    """One of them, whatever process it has at the moment.

    :ivar first: fires when it serves for the first time.
    :ivar problem: what it said last of why it cannot begin.
    :ivar asked: who waits for its answers.
    :ivar before: what its earlier processes have counted.
    :ivar latest: what this one told last.
    :ivar problems: why it takes no writes, as it told last.
    :ivar met: how many circuits there have been, as it told last.
    :ivar process: the one that was started last.
    """

    number: int
    core: WorkerCore
    machine: WorkerInputs
    first: Deferred[None] = field(factory=Deferred)
    problem: str = ""
    asked: dict[int, Deferred[Message | None]] = field(factory=dict)
    before: Figures = field(factory=Figures)
    latest: Figures = field(factory=Figures)
    problems: Sequence[str] = ()
    met: int = 0
    process: WorkerProcess | None = None


class Crew:
    """The workers of a gateway.

    :ivar restarts: how often one of them had to be started again.

    :param settings: the gateway's.
    :param environment: `os.environ`.
    :param state: the gateway's state directory.
    :param homes: the vendor's destinations, as far as the gateway knows them; what a worker learns is added.
    :param close_circuit: asks tor to close a circuit.
    :param canary_target: what our own canary asks for.
    """

    def __init__(
        self,
        reactor: CrewReactor,
        settings: GatewaySettings,
        environment: Mapping[str, str],
        state: Path,
        homes: Homes,
        close_circuit: Callable[[int], None],
        canary_target: bytes,
    ) -> None:
        self.restarts = 0
        self._reactor = reactor
        self._settings = settings
        self._environment = environment
        self._state = state
        self._homes = homes
        self._close_circuit = close_circuit
        self._canary_target = canary_target
        self._stamp_place = secrets.randbelow(SLOT_NS)
        self._doors: Sequence[SharedDoor] = ()
        self._orphans: Sequence[Path] = ()
        self._questions = itertools.count()
        self._away: set[int] = set()
        self._workers = [self._make(number) for number in range(1, settings.workers + 1)]

    def start(self, doors: Sequence[SharedDoor], orphans: Sequence[Path]) -> Deferred[None]:
        """Start all of them.

        :param doors: where strangers come in.
        :param orphans: spools of workers that are no more; the first worker empties them.
        :returns: a Deferred that fires when all of them serve. It fails with :class:`~torfluxd.errors.WorkerError` when
            one does not come up the first time, and with CancelledError when it is cancelled: stop them then.
        """
        self._doors, self._orphans = doors, orphans
        for worker in self._workers:
            worker.machine.start()
        return Deferred.fromCoroutine(self._all_serve())

    async def _all_serve(self) -> None:
        try:
            await gatherResults([worker.first for worker in self._workers], consumeErrors=True)
        except FirstError as error:
            if error.subFailure.check(CancelledError):
                raise CancelledError from None
            raise WorkerError(error.subFailure.getErrorMessage()) from None

    def stop(self) -> Deferred[None]:
        """Let them finish what is in flight, and end.

        :returns: a Deferred that fires when all processes are gone, killed if need be. It never fails.
        """
        waiting: list[Deferred[None]] = []
        for worker in self._workers:
            waiting.append(Deferred())
            worker.core.waiting_for_stop.append(waiting[-1])
            worker.machine.stop()
        return gatherResults(waiting).addCallback(lambda _: None)

    async def look(self) -> tuple[Figures, Sequence[str]]:
        """What they count and how they stand, together; and why writes are not taken. Never raises."""
        await gatherResults([self._ask(worker, worker.machine.tell, "ask") for worker in self._workers])
        figures, problems = Figures(), []
        for worker in self._workers:
            figures += worker.before + worker.latest
            problems += [f"worker {worker.number}: {problem}" for problem in worker.problems]
        if len(self._away) == len(self._workers):
            problems.append("no worker serves at the moment")
        return figures, problems

    async def prove(self) -> None:
        """Return when one of them has synced something to the disk.

        :raises WorkerError: none has.
        """
        asked = [self._ask(worker, worker.machine.tell, "prove", PROVE_SECONDS) for worker in self._workers]
        answers = await gatherResults(asked)
        faults = [answer["fault"] for answer in answers if answer is not None]
        if not faults:
            raise WorkerError("no worker answers")
        if all(faults):
            raise WorkerError(faults[0])

    def change(self, settings: GatewaySettings) -> None:
        """Have them hold to other rules, and use another credential."""
        # How many there are, and where, is as it was at the start.
        self._settings = evolve(
            self._settings,
            rules=settings.rules,
            influxdb_token_file=settings.influxdb_token_file,
            influxdb_user=settings.influxdb_user,
            influxdb_password_file=settings.influxdb_password_file,
        )
        self.tell({"change": pack(self._settings)})

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of the workers' latest processes."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    @property
    def circuits(self) -> int:
        """How many circuits have connections, as they told last."""
        return sum(worker.latest.circuits for worker in self._workers)

    @property
    def circuits_met(self) -> int:
        """How many circuits there have been, as they told last."""
        return sum(worker.met for worker in self._workers)

    def tell(self, message: Message) -> None:
        """Tell all that serve."""
        for worker in self._workers:
            worker.machine.tell(message)

    # Inside.

    def _make(self, number: int) -> _Worker:
        core = WorkerCore(
            clock=self._reactor,
            spawn=lambda hear, ended: self._spawn(worker, hear, ended),
            pulse=lambda tell: self._pulse(worker, tell),
            hear=lambda message: self._hear(worker, message),
            served=lambda: self._served(worker),
            lost=lambda how: self._lost(worker, how),
        )
        worker = _Worker(number, core, WorkerMachine(core))
        return worker

    def _spawn(self, worker: _Worker, hear: Callable[[Message], None], ended: Callable[[str], None]) -> WorkerProcess:
        number = worker.number
        worker.process = process = WorkerProcess(hear, ended)
        descriptors = itertools.count(FIRST_DOOR)
        doors = [BeginDoor(door.kind.value, [next(descriptors) for _ in door.sockets]) for door in self._doors]
        process.start(self._reactor, [one.fileno() for door in self._doors for one in door.sockets], self._environment)
        begin = Begin(
            version=torfluxd.__version__,
            settings=self._settings,
            number=number,
            workers=len(self._workers),
            stamp_place=(self._stamp_place + number) % SLOT_NS,
            state=str(worker_directory(self._state, number)),
            homes=self._homes.text,
            canary_target=self._canary_target.decode("ascii"),
            orphans=[str(path) for path in self._orphans] if number == 1 else [],
            doors=doors,
        )
        process.tell(tell_begin(begin))
        return process

    def _served(self, worker: _Worker) -> None:
        if worker.number in self._away:
            self.restarts += 1
            _log.info("worker {number} serves again", number=worker.number)
        if not worker.first.called:
            worker.first.callback(None)
        self._away.discard(worker.number)
        worker.machine.tell({"homes": self._homes.text})  # what was learned since it was started
        self._have_stood_in()

    def _lost(self, worker: _Worker, how: str) -> None:
        worker.before += counted(worker.latest)
        worker.latest, worker.problems = Figures(), ()
        for waiting in list(worker.asked.values()):
            waiting.callback(None)
        problem, worker.problem = worker.problem, ""
        if not worker.first.called:
            worker.first.errback(WorkerError(problem or f"worker {worker.number} {how} before it served"))
            return
        _log.warn(
            "worker {number} {how}{why}: it is started again, and the others serve for it meanwhile",
            number=worker.number,
            how=how,
            why=f" ({problem})" if problem else "",
        )
        self._away.add(worker.number)
        self._have_stood_in()

    def _have_stood_in(self) -> None:
        self.tell({"stand_in": sorted(self._away)})

    def _hear(self, worker: _Worker, message: Message) -> None:
        if "close" in message:
            self._close_circuit(message["close"])
        elif "told" in message:
            if "figures" in message:
                worker.latest = Figures.from_values(message["figures"])
                worker.problems, worker.met = message["problems"], message["met"]
            waiting = worker.asked.get(message["told"])
            if waiting is not None:
                waiting.callback(message)
        elif "homes" in message:
            if self._homes.learn(message["homes"]):
                self.tell({"homes": self._homes.text})
        elif "leaves" in message:
            self._away.add(worker.number)
            self._have_stood_in()
        elif "log" in message:
            log_as_ours(worker.number, message["log"])
        elif "failed" in message:
            worker.problem = message["failed"]

    def _pulse(self, worker: _Worker, tell: Callable[[Message], None]) -> None:
        self._ask(worker, tell, "ask")  # that it answers is enough

    def _ask(
        self, worker: _Worker, tell: Callable[[Message], None], what: str, seconds: float = ASK_SECONDS
    ) -> Deferred[Message | None]:
        """Ask a worker something; the Deferred fires with None when there is no answer, and never fails."""
        ident = next(self._questions)
        answer: Deferred[Message | None] = Deferred()
        worker.asked[ident] = answer
        late = self._reactor.callLater(seconds, answer.callback, None)

        def settled(answered: Message | None) -> Message | None:
            del worker.asked[ident]
            if late.active():
                late.cancel()
            return answered

        answer.addCallback(settled)
        tell({what: ident})
        return answer


def log_as_ours(number: int, text: str) -> None:
    """Log what a worker did, with all that it says of it.

    :param number: of the worker.
    :param text: the event, as :func:`twisted.logger.eventAsJSON` writes it.
    """
    event = eventFromJSON(text)
    if event.get("log_format"):
        # Its number is no field: those that there are were written out already.
        event["log_format"] = f"worker {number}: {event['log_format']}"
    event["log_worker"] = number
    globalLogPublisher(event)
