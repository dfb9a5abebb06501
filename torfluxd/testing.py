"""Doubles for applications that report: a gateway in memory, and a reporter whose time is in a test's hands.

No Tor, no network, no disk, no waiting: an application hands a :class:`ClockReporter` to its own code in place of its
:class:`~torfluxd.Reporter`, and looks at what arrived. See `docs/testing.rst`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, field, frozen
from twisted.internet import error
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IConsumer, IProtocol, ITransport
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from torfluxd.boundaries import Answer
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.line import FieldValue
from torfluxd.influx.parts import split_line
from torfluxd.influx.pieces import FieldKind, take_apart
from torfluxd.reporter.reporter import INTERVAL_SECONDS, Reporter

__all__ = ["ADDRESS", "START_SECONDS", "ArrivedPoint", "ArrivedReport", "ClockReporter", "MemoryGateway"]

ADDRESS: Final = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
"""An onion address that nobody has the key of."""

START_SECONDS: Final = 1_749_999_600
"""The time at which a :class:`ClockReporter` begins, in seconds since 1970: a whole hour of a day in June 2025."""

STEP_SECONDS: Final = 0.25
"""In what steps time passes: what waits for what waits has its turn, too."""

_READ: Mapping[FieldKind, Callable[[str], FieldValue]] = MappingProxyType(
    {
        "float": float,
        "integer": lambda text: int(text[:-1]),
        "unsigned": lambda text: int(text[:-1]),
        "string": str,
        "boolean": lambda text: text[0] in "tT",
    }
)


@frozen
class ArrivedPoint:
    """A point that arrived.

    :ivar database: where it was to go.
    :ivar measurement: what was measured.
    :ivar tags: as they arrived.
    :ivar fields: as they arrived.
    :ivar time_ns: nanoseconds since 1970, as coarse as the reporter made it.
    :ivar retention_policy: 1.x's retention policy, or None for the database's default.
    """

    database: str
    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, FieldValue]
    time_ns: int
    retention_policy: str | None = None


@frozen
class ArrivedReport:
    """A report that arrived, whatever became of it.

    :ivar target: the request target.
    :ivar body: all of it, padding included.
    :ivar points: what it held.
    :ivar is_stored: whether the gateway took it.
    """

    target: str
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    points: tuple[ArrivedPoint, ...]
    is_stored: bool


@implementer(IAgent)
class MemoryGateway:
    """A vendor's gateway, and the way to it, in memory: an :class:`~twisted.web.iweb.IAgent` for a reporter.

    By default it takes everything. It can be told to fail in the ways in which gateways, circuits and networks do.

    :ivar reports: all that arrived, also what was not taken, and what arrived again.
    :ivar is_up: whether it can be reached at all; a test may set it.
    """

    def __init__(self) -> None:
        self.reports: list[ArrivedReport] = []
        self.is_up = True
        self._plans: list[Callable[[ArrivedReport], Deferred[IResponse]]] = []
        self._held: list[Callable[[], None]] | None = None

    @property
    def points(self) -> list[ArrivedPoint]:
        """What an InfluxDB would hold now: of points with one measurement, tags and time there is one."""
        stored: dict[object, ArrivedPoint] = {}
        for report in self.reports:
            for point in report.points if report.is_stored else ():
                tags = tuple(sorted(point.tags.items()))
                key = (point.database, point.retention_policy, point.measurement, tags, point.time_ns)
                before = stored.get(key)
                stored[key] = point if before is None else evolve(point, fields={**before.fields, **point.fields})
        return list(stored.values())

    def of(self, measurement: str) -> list[ArrivedPoint]:
        """The stored points of one measurement."""
        return [point for point in self.points if point.measurement == measurement]

    # What it does with the next reports, in the order of these calls.

    def answer(self, status: int, body: bytes = b"", *, times: int = 1) -> None:
        """Answer so many reports with this status, and take nothing of them. The reporter will send them again."""
        self._plans += [lambda report: self._respond(Answer(status, (), body))] * times

    def refuse(self, reason: str = "field type conflict", *, times: int = 1) -> None:
        """Refuse so many reports for what is in them, as an InfluxDB does: then the reporter gives them up.

        One with many points it sends again in parts, to find out which of them are refused.
        """
        self._plans += [lambda report: self._respond(V1.refuse(400, reason))] * times

    def cut(self, *, times: int = 1) -> None:
        """Cut so many connections before anything is taken."""
        self._plans += [lambda report: _cut()] * times

    def lose_answers(self, *, times: int = 1) -> None:
        """Take so many reports, and cut the connection before the answer: the reporter will send them again."""

        def lose(report: ArrivedReport) -> Deferred[IResponse]:
            self._store(report)
            return _cut()

        self._plans += [lose] * times

    def hold(self) -> None:
        """Keep reports waiting for their answers, until :meth:`go_on`. They are taken already."""
        if self._held is None:
            self._held = []

    def go_on(self) -> None:
        """Answer those that wait, and all others at once."""
        held, self._held = self._held or [], None
        for answer in held:
            answer()

    # The way to it.

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Take a report.

        :returns: a Deferred that fires with the answer; or fails as a connection does that is refused, or cut.
        """
        if not self.is_up:
            return fail(error.ConnectionRefusedError())
        body = _Body()
        if bodyProducer is None:
            return self._arrived(uri, body)
        produced: Deferred[None] = bodyProducer.startProducing(body)
        return produced.addCallback(lambda _: self._arrived(uri, body))

    def _arrived(self, uri: bytes, body: _Body) -> Deferred[IResponse]:
        report = _read_report(uri, b"".join(body.parts))
        self.reports.append(report)
        if self._plans:
            return self._plans.pop(0)(report)
        self._store(report)
        return self._respond(Answer(204))

    def _store(self, report: ArrivedReport) -> None:
        place = next(place for place, arrived in enumerate(self.reports) if arrived is report)
        self.reports[place] = evolve(report, is_stored=True)

    def _respond(self, answer: Answer) -> Deferred[IResponse]:
        response: Deferred[IResponse] = Deferred()
        if self._held is None:
            response.callback(_Response(answer))
        else:
            self._held.append(lambda: None if response.called else response.callback(_Response(answer)))
        return response


class ClockReporter(Reporter):
    """A reporter for tests. It keeps its points in memory, and time passes when the test says so.

    It is started already; stop it at the end, as any other.

    :param gateway: where its reports go; one of its own by default.
    :param database: as for :class:`~torfluxd.Reporter`.
    :param seed: for chance: the same one, the same moments.
    :param clock: its time, in seconds; another double may share it.
    :param options: the other parameters of :class:`~torfluxd.Reporter`: `schema`, `granularity_seconds`, ...
    :ivar gateway: where its reports go.
    :ivar clock: its time.
    """

    def __init__(
        self,
        gateway: MemoryGateway | None = None,
        database: str = "telemetry",
        *,
        seed: int = 0,
        clock: Clock | None = None,
        interval_seconds: float = INTERVAL_SECONDS,
        **options: Any,
    ) -> None:
        self.gateway = MemoryGateway() if gateway is None else gateway
        self.clock = Clock() if clock is None else clock
        self._interval_seconds = interval_seconds
        super().__init__(
            f"http://{ADDRESS}",
            database,
            agent=self.gateway,
            reactor=self.clock,
            now_ns=lambda: round((START_SECONDS + self.clock.seconds()) * 1e9),
            chance=Random(seed).random,  # noqa: S311  # a test wants to know it before
            interval_seconds=interval_seconds,
            **options,
        )
        self.startService()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        whole, rest = divmod(seconds, STEP_SECONDS)
        self.clock.pump([STEP_SECONDS] * int(whole))
        self.clock.advance(rest)

    def report(self) -> None:
        """Let so much time pass that all that was recorded is reported, if the gateway takes it."""
        self.advance(2 * self._interval_seconds + 1)


@implementer(IConsumer)
class _Body:
    """Takes the body of a request."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take a part."""
        self.parts.append(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Whoever produces may do so at any pace."""

    def unregisterProducer(self) -> None:
        """Nothing more comes."""


@implementer(IResponse)
class _Response:
    """An answer that is whole already."""

    version = (b"HTTP", 1, 1)
    phrase = b""
    request: IClientRequest | None = None
    previousResponse: IResponse | None = None  # noqa: N815  # Twisted's name

    def __init__(self, answer: Answer) -> None:
        self.code = answer.status
        self.headers = Headers({name: [value] for name, value in answer.headers})
        self.length = len(answer.body)
        self._body = answer.body

    def deliverBody(self, protocol: IProtocol) -> None:
        """Deliver it at once."""
        protocol.makeConnection(_NoTransport())
        if self._body:
            protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: IResponse) -> None:  # noqa: N802  # Twisted's name
        """Remember where it was redirected from."""
        self.previousResponse = response


@implementer(ITransport)
class _NoTransport:
    """What an answer in memory comes through."""

    disconnecting = False

    def write(self, data: bytes) -> None:
        """Nobody listens."""

    def writeSequence(self, data: object) -> None:
        """Nobody listens."""

    def loseConnection(self) -> None:
        """There is none."""

    def getPeer(self) -> Any:
        """There is none."""

    def getHost(self) -> Any:
        """There is none."""


def _cut() -> Deferred[IResponse]:
    return fail(ResponseFailed([Failure(error.ConnectionLost())]))


def _read_report(uri: bytes, body: bytes) -> ArrivedReport:
    target = b"/" + uri.partition(b"://")[2].partition(b"/")[2]
    write = V1.read_write(target.partition(b"?")[2])
    if isinstance(write, Answer):
        return ArrivedReport(target.decode(), body, (), is_stored=False)
    where = write.destination
    lines = [line for line in body.split(b"\n") if line and not line.startswith(b"#")]
    points = tuple(_read_point(line, where.database, where.retention_policy) for line in lines)
    return ArrivedReport(target.decode(), body, points, is_stored=False)


def _read_point(line: bytes, database: str, retention_policy: str | None) -> ArrivedPoint:
    parts = split_line(line)
    fields = {name: _READ[kind](text) for name, (kind, text) in parts.fields.items()}
    time_ns = int(take_apart(line).time)
    return ArrivedPoint(database, parts.measurement, dict(parts.tags), fields, time_ns, retention_policy)
