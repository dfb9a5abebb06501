"""What runs in a worker's process: it is told how to begin, serves, and ends when its gateway says so, or ends.

It holds no tor and no key. What the gateway must know, it tells (see `told`); its log goes into the gateway's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorCore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, Logger, LogLevel, eventAsJSON
from twisted.python.failure import Failure

import torfluxd
from torfluxd.delivery.schema import SPOOL_FILE
from torfluxd.errors import TorfluxdError
from torfluxd.gateway.acceptor import Acceptor, AcceptorReactor
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.serving import Part, Serving
from torfluxd.gateway.shared_doors import Kind
from torfluxd.gateway.site import SiteReactor
from torfluxd.gateway.told import Begin, BeginDoor, LineReader, Message, encode, read_begin, unpack
from torfluxd.state import StateDirectory

__all__ = ["Worker", "WorkerReactor"]

_log = Logger()


class WorkerReactor(IReactorCore, SiteReactor, AcceptorReactor):
    """The kind of reactor that a worker needs."""


class Worker(Protocol):
    """The worker, as the pipe from and to its gateway sees it.

    :param environment: `os.environ`.
    :param leave: called once, when all has ended, with the exit code.
    """

    def __init__(
        self, reactor: WorkerReactor, environment: MutableMapping[str, str], leave: Callable[[int], None]
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._leave = leave
        self._reader = LineReader()
        self._state: StateDirectory | None = None
        self._serving: Serving | None = None
        self._homes: Homes | None = None
        self._acceptors: list[Acceptor] = []
        self._stand_ins: dict[int, list[Acceptor]] = {}
        self._ended: Deferred[None] | None = None
        self._begun: Deferred[None] | None = None
        self._tells = True
        self._code: int | None = None
        self._words: dict[str, Callable[[Any], object]] = {
            "begin": self._hear_begin,
            "stop": lambda _: self.stop(),
            "stand_in": self._hear_stand_in,
            "homes": self._hear_homes,
            "forget": self._hear_forget,
            "change": self._change,
            "ask": self._tell_figures,
            "prove": self._prove,
        }

    # What the gateway tells.

    def dataReceived(self, data: bytes) -> None:
        """Do what it says."""
        for message in self._reader.feed(data):
            self._hear(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone, and so are those who could be answered; or we have told it all there was."""
        self._tells = False
        if self._code is None:
            self.stop()
        else:
            self._leave(self._code)

    def _hear(self, message: Message) -> None:
        for word, value in message.items():
            self._words[word](value)

    def _hear_begin(self, told: Message) -> None:
        self._begun = Deferred.fromCoroutine(self._begin(told)).addErrback(self._failed)

    def _hear_stand_in(self, away: Sequence[int]) -> None:
        for number, acceptors in self._stand_ins.items():
            for acceptor in acceptors:
                acceptor.accept(number in away and self._ended is None)

    def _hear_homes(self, text: str) -> None:
        if self._homes is not None:
            self._homes.learn(text)

    def _hear_forget(self, _: bool) -> None:
        if self._serving is not None:
            self._serving.limiter.forget()

    # What it is told.

    def _tell(self, message: Message) -> None:
        if self._tells and self.transport is not None:
            self.transport.write(encode(message))

    def log(self, event: LogEvent) -> None:
        """Have the gateway log an event: an observer for this process's log.

        What Twisted itself says of each socket that it listens to is left out, as is what is for debugging.
        """
        level = event.get("log_level", LogLevel.info)
        if level < LogLevel.info or (level is LogLevel.info and event.get("log_namespace") == "log_legacy"):
            return
        self._tell({"log": eventAsJSON(event)})

    def _tell_figures(self, ident: int) -> None:
        assert self._serving is not None  # nobody is asked before he serves
        serving = self._serving
        figures, problems = asdict(serving.figures), list(serving.site.problems)
        self._tell({"told": ident, "figures": figures, "problems": problems, "met": serving.limiter.met})

    def _prove(self, ident: int) -> None:
        assert self._serving is not None

        def proven(result: Failure | None) -> None:
            fault = "" if result is None else result.getErrorMessage()
            self._tell({"told": ident, "fault": fault})

        self._serving.site.prove().addBoth(proven)

    def _change(self, told: str) -> None:
        assert self._serving is not None
        try:
            warnings = self._serving.change(unpack(told))
        except TorfluxdError as error:  # which the gateway has not seen when it looked
            _log.error("the new configuration cannot be used, so the one from before holds: {why}", why=str(error))
        else:
            for warning in warnings:
                _log.debug("{text}", text=warning)  # the gateway has told it

    # From the beginning to the end.

    async def _begin(self, told: Message) -> None:
        begin = _read(told)
        self._state = StateDirectory.claim(Path(begin.state))
        self._homes = homes = Homes(begin.homes, lambda text: self._tell({"homes": text}))
        part = Part(begin.number, begin.workers, begin.stamp_place)
        canary_target = begin.canary_target.encode("ascii")
        self._serving = serving = Serving(
            self._reactor, begin.settings, self._environment, homes, self._close_circuit, part, canary_target
        )
        for warning in serving.load_credential():
            _log.warn("{text}", text=warning)
        await serving.open(self._state.path / SPOOL_FILE)
        await serving.adopt([Path(orphan) for orphan in begin.orphans])
        for door in begin.doors:
            self._listen(begin, door)
        self._tell({"serves": True})

    def _listen(self, begin: Begin, door: BeginDoor) -> None:
        assert self._serving is not None
        kind = Kind(door.kind)
        factory: IProtocolFactory = self._serving.front
        if kind is not Kind.OPEN:
            factory = self._serving.onion_factory(knows_circuits=kind is Kind.CIRCUIT)
        for number, descriptor in enumerate(door.descriptors, 1):
            acceptor = Acceptor(self._reactor, socket.socket(fileno=descriptor), factory)
            if len(door.descriptors) == 1 or number == begin.number:
                self._acceptors.append(acceptor)
                acceptor.accept()
            else:
                self._stand_ins.setdefault(number, []).append(acceptor)

    def _close_circuit(self, circuit: int) -> None:
        self._tell({"close": circuit})

    def _failed(self, failure: Failure) -> None:
        if failure.check(TorfluxdError) is None:
            _log.failure("a worker cannot begin, for a fault of its own", failure)
        self._tell({"failed": failure.getErrorMessage()})
        self.stop(code=1)

    def stop(self, code: int = 0) -> Deferred[None]:
        """Answer what is in flight, and end.

        :returns: a Deferred that fires when all is done, whoever asks how often. It never fails.
        """
        if self._ended is None:
            self._ended = Deferred()
            self._tell({"leaves": True})
            Deferred.fromCoroutine(self._go_down(code)).addErrback(self._went_down_badly)
        done: Deferred[None] = Deferred()
        self._ended.addCallback(lambda _: done.callback(None))
        return done

    async def _go_down(self, code: int) -> None:
        for acceptor in (*self._acceptors, *(one for others in self._stand_ins.values() for one in others)):
            acceptor.accept(False)
        if self._serving is not None:
            await self._serving.drain()
            await self._serving.close()
        if self._state is not None:
            self._state.release()
        self._end(code)

    def _went_down_badly(self, failure: Failure) -> None:
        _log.failure("a worker did not end in good order", failure)
        self._end(1)

    def _end(self, code: int) -> None:
        assert self._ended is not None
        self._ended.callback(None)
        self._code = code
        if self._tells and self.transport is not None:
            self.transport.loseConnection()  # when it has heard all
        else:
            self._leave(code)


def _read(told: Message) -> Begin:
    version = told.get("version")
    if version != torfluxd.__version__:
        raise TorfluxdError(
            f"torfluxd was updated from {version} to {torfluxd.__version__} under its gateway: please restart that"
        )
    return read_begin(told)
