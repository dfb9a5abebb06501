"""A whole gateway in memory: its doors, its routes and its way to InfluxDB are the real ones, the sockets are not.

Whoever sends something into it learns what came back, what went to InfluxDB, and what the gateway promised and did not
keep: a traceback in the log, a byte at InfluxDB that the policy does not allow, an answer that is no HTTP, a
connection or a timer that is left over.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from tests.fuzzing.allowed import faults_of
from torfluxd.gateway.allowances import Allowance, Allowances
from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.circuits import CircuitFactory
from torfluxd.gateway.front import Front
from torfluxd.gateway.limiter import Limiter
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.site import InfluxdbSite
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.ops.figures import Figures

__all__ = ["Arena", "Door", "Outcome", "Said", "targets"]

_ADDRESS = IPv4Address("TCP", "127.0.0.1", 8086)

_ANY_TIME_SECONDS = 7e9
"""So old, or so far ahead, points may be, nearly as InfluxDB itself allows: their times are not what decides here."""

_LITTLE = Allowance(requests_per_second=20, burst_requests=40, bytes_per_second=4096, burst_bytes=16_384)
"""What a circuit may do here: so little that even a mutation of a few hundred bytes comes to be slowed, refused and
closed."""

_ALLOWANCES = Allowances(
    newcomer=_LITTLE,
    grown=_LITTLE.times(2),
    newcomers_together=_LITTLE.times(4),
    grown_together=_LITTLE.times(8),
    growing_seconds=5,
    slowed_seconds=1,
    refused_seconds=1,
    refusals_before_close=2,
)

MOMENTS = 4
MOMENT_SECONDS = 0.4
"""How long somebody who came through a circuit stays after he has sent everything: he may be waiting for his turn."""

TURNS = 100
"""How often a stranger's data are gone on with, 32 requests each time: a mutation may have hundreds."""

_ANSWER = re.compile(
    rb"HTTP/1\.1 (?P<status>[1-5][0-9][0-9]) [A-Za-z' -]+\r\n"
    rb"(?:(?!Content-Length:)[A-Z][A-Za-z-]*: [^\r\n\x00]*\r\n)*+"
    rb"(?:Content-Length: (?P<length>[0-9]+)\r\n)?\r\n"
)

targets = (
    b"/write?db=telemetry",
    b"/write?db=telemetry&precision=s",
    b"/write?db=telemetry&rp=autogen&precision=h",
    b"/api/v2/write?org=o&bucket=telemetry/autogen&precision=ms",
    b"/api/v3/write_lp?db=telemetry",
    b"/api/v3/write_lp?db=telemetry&precision=u&accept_partial=false",
)
"""Where lines are written to, when it is the lines that matter."""


class Door(enum.Enum):
    """Where bytes go in."""

    HTTP = 0
    """A connection of which nothing is known."""

    CIRCUIT = 1
    """A connection from our own tor, from its PROXY line on."""

    LINES = 2
    """The body of a write that is well-formed for the rest."""


class Said(enum.Enum):
    """What InfluxDB says to a write."""

    STORED = b"HTTP/1.1 204 No Content\r\nX-Influxdb-Version: 1.6.7\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n\r\n"
    PARTIAL = (
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nX-Influxdb-Error: partial write\x00\r\n"
        b'Content-Length: 72\r\n\r\n{"error":"partial write: points beyond retention policy \\ufffd dropped=1"}'
    )
    NO_DATABASE = (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nX-Influxdb-Error: database not found\r\n"
        b'Content-Length: 41\r\n\r\n{"error":"database not found: \\"nope\\""}\n\n'
    )
    FAULT = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
    TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n\r\n"
    NO_HTTP = b"\x16\x03\x01 nonsense\r\n\r\n"
    NOTHING = b""


@frozen
class Outcome:
    """What became of what a stranger sent.

    :ivar heard: all that he was answered.
    :ivar requests: what InfluxDB was sent.
    :ivar aborted: he was cut off.
    :ivar circuits_closed: the circuits that tor was asked to close.
    :ivar broken: the promises that were broken.
    """

    heard: bytes = field(repr=False)
    requests: Sequence[bytes] = field(repr=False)
    aborted: bool
    circuits_closed: Sequence[int] = field(repr=False)
    broken: Sequence[str]

    @property
    def statuses(self) -> list[int]:
        """The statuses of his answers, `100 Continue` among them."""
        return [status for status, _ in _answers(self.heard)]

    @property
    def lines(self) -> list[bytes]:
        """The lines that InfluxDB was sent, without their times."""
        bodies = [request.partition(b"\r\n\r\n")[2] for request in self.requests]
        return [line.rpartition(b" ")[0] for body in bodies for line in body.split(b"\n")]


def _answers(heard: bytes) -> list[tuple[int, bytes]]:
    """Cut answers apart, none of which is to a `HEAD`.

    :raises ValueError: it is no HTTP, or none of ours.
    """
    answers = []
    at = 0
    while at < len(heard):
        head = _ANSWER.match(heard, at)
        if head is None:
            raise ValueError
        end = head.end() + int(head["length"] or 0)
        if end > len(heard):
            raise ValueError
        answers.append((int(head["status"]), heard[head.end() : end]))
        at = end
    return answers


class _Wire(StringTransport):
    """InfluxDB's side of a connection that the gateway opened."""

    protocol: IProtocol
    gone = False

    def abortConnection(self) -> None:
        """End at once."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """End."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class _Reactor(MemoryReactorClock):  # type: ignore[misc]  # Twisted's own double has no types
    """Connects at once, to nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[_Wire] = []

    def connectTCP(self, host: str, port: int, factory: IProtocolFactory, *args: object, **more: object) -> None:
        """Connect."""
        protocol = factory.buildProtocol(_ADDRESS)
        assert protocol is not None
        wire = _Wire()
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)


class _Visit(StringTransport):
    """A stranger's side of his connection; what is behind it may change, as it does after a PROXY line."""

    protocol: IProtocol

    def deliver(self, data: bytes) -> None:
        """Let data arrive, as long as there is a connection."""
        if data and not self.disconnected:
            self.protocol.dataReceived(data)

    def leave(self) -> None:
        """Go."""
        self.protocol.connectionLost(Failure(ConnectionDone()))


class Arena:
    """A gateway and an InfluxDB, for any number of strangers one after the other.

    :param rules: what strangers may write; by default whatever the time.
    :ivar site: what is behind the doors.
    """

    def __init__(self, rules: LineRules | None = None) -> None:
        self._reactor = _Reactor()
        rules = rules or LineRules(max_age_seconds=_ANY_TIME_SECONDS, max_ahead_seconds=_ANY_TIME_SECONDS)
        site = InfluxdbSite(self._reactor, parse_influxdb_url("http://127.0.0.1:8086"), rules=rules)
        self._front = Front(site, Bounds(), self._reactor)
        self.site = site
        self._limiter = limiter = Limiter(self._reactor, _ALLOWANCES, self._close_circuit)
        self._circuits = CircuitFactory(lambda circuit: self._front.build_limited(limiter.of_circuit(circuit)))
        self._circuits_closed: list[int] = []
        self._requests: list[bytes] = []
        self._broken: list[str] = []
        globalLogPublisher.addObserver(self._observe)

    def close(self) -> None:
        """Listen to the log no more."""
        globalLogPublisher.removeObserver(self._observe)

    @property
    def figures(self) -> Figures:
        """What the gateway has counted."""
        return self.site.figures + self._front.figures + self._limiter.figures

    def _close_circuit(self, circuit: int) -> None:
        self._circuits_closed.append(circuit)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error or event.get("log_failure") is not None or event.get("isError"):
            self._broken.append(f"logged: {event.get('kind') or event.get('log_failure') or event.get('log_format')}")

    def send(
        self, data: bytes, door: Door = Door.HTTP, said: Said | bytes = Said.STORED, piece: int = 0, at: int = 0
    ) -> Outcome:
        """Let one stranger come, send and leave.

        :param data: what he sends; for `Door.LINES` the body of his write.
        :param said: what InfluxDB says to every write of his; no bytes: it hangs up.
        :param piece: how many bytes arrive at a time; 0: all.
        :param at: with `Door.LINES`, which of `targets` he writes to.
        """
        self._requests, self._broken, self._circuits_closed = [], [], []
        said = said if isinstance(said, bytes) else said.value
        visit = self._enter(door)
        if door is Door.LINES:
            target = targets[at % len(targets)]
            data = b"POST %b HTTP/1.1\r\nHost: a.onion\r\nContent-Length: %d\r\n\r\n%b" % (target, len(data), data)
        for start in range(0, len(data), piece or len(data) or 1):
            visit.deliver(data[start : start + piece] if piece else data)
            self._go_on(said)
        if door is Door.CIRCUIT:
            self._let_time_pass(said)
        visit.leave()
        self._go_on(said)
        heard = visit.value()
        self._look_at(heard, b"HEAD " in data)
        return Outcome(heard, self._requests, bool(visit.disconnected), self._circuits_closed, self._broken)

    def _enter(self, door: Door) -> _Visit:
        factory: Any = self._circuits if door is Door.CIRCUIT else self._front
        visit = _Visit(lenient=True)
        visit.protocol = factory.buildProtocol(None)
        visit.protocol.makeConnection(visit)
        return visit

    def _go_on(self, said: bytes) -> None:
        """Let InfluxDB answer, and what was put off for a moment be done, until nothing is left."""
        reactor = self._reactor
        for _ in range(TURNS):
            if reactor.wires:
                self._answer(said)
            if not any(call.getTime() <= reactor.seconds() for call in reactor.getDelayedCalls()):
                return
            reactor.advance(0)

    def _let_time_pass(self, said: bytes) -> None:
        for _ in range(MOMENTS):
            self._reactor.advance(MOMENT_SECONDS)
            self._go_on(said)

    def _answer(self, said: bytes) -> None:
        asking = True
        while asking:
            asking = False
            for wire in self._reactor.wires:
                request = wire.value()
                if wire.gone or not request:
                    continue
                asking = True
                wire.clear()
                self._requests.append(request)
                self._broken += faults_of(request)
                if said:
                    wire.protocol.dataReceived(said)
                else:
                    wire.loseConnection()
        if any(wire.gone for wire in self._reactor.wires):
            self._reactor.wires = [wire for wire in self._reactor.wires if not wire.gone]

    def _look_at(self, heard: bytes, asked_head: bool) -> None:
        if not asked_head:
            try:
                _answers(heard)
            except ValueError:
                self._broken.append("an answer that is no HTTP, or none of ours")
        if self._front.connections:
            self._broken.append("a connection is left over")
        # One connection to InfluxDB is kept for a while, and so is what is known of circuits.
        if len(self._reactor.getDelayedCalls()) > 2:
            self._broken.append("a timer is left over")
