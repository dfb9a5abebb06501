"""The agent's door: what an InfluxDB client finds on 127.0.0.1, in the words of 1.x, 2.x and 3.x.

It takes writes, answers `/ping`, `/health` and `CREATE DATABASE` as an InfluxDB would, and knows nothing else. Nothing
is logged of what clients send. Whom it lets in is a matter of :mod:`torfluxd.reporter.admission`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from torfluxd.boundaries import Answer
from torfluxd.influx.answers import too_large, unavailable
from torfluxd.influx.dialect import Dialect
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.influx.greetings import HEALTHY, NOT_FOUND, answer_ping, answer_statement
from torfluxd.quiet_web import QuietRequest, QuietSite, WebBounds, write_answer
from torfluxd.reporter.admission import Admission, Asked, read_target
from torfluxd.reporter.intake import Intake

__all__ = ["LISTENER_BOUNDS", "MAX_BODY_BYTES", "Listener", "listener_site"]

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""One body, as it comes and inflated. A gateway takes a quarter of that; here each is cut into reports. Telegraf drops
what is answered 413, so its largest batches should pass: 8000 metrics of 1000 bytes."""

MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""All bodies that are not answered yet. Beyond it clients are asked to come back."""

MAX_CONNECTIONS: Final = 256
"""Programs on one machine that measure: tens, with a few connections each."""

REQUEST_SECONDS: Final = 60.0
"""From the first byte of a request to the last of its body. On loopback that takes milliseconds."""

LINGER_BYTES: Final = 4 * MAX_BODY_BYTES
"""How much of a body that is too large is read and thrown away: many clients read no answer before they have sent all,
and would take a connection that is closed meanwhile for a fault of the network, and try the same again for ever."""

MAX_STATEMENT_BYTES: Final = 4096
"""The most that is read of a statement. `CREATE DATABASE` with a name of 64 bytes and a retention policy has 200."""

LISTENER_BOUNDS: Final = WebBounds(
    body_bytes=MAX_BODY_BYTES,
    held_bytes=MAX_HELD_BYTES,
    connections=MAX_CONNECTIONS,
    request_seconds=REQUEST_SECONDS,
    linger_bytes=LINGER_BYTES,
)

_WRITES: Mapping[bytes, Dialect] = {dialect.path: dialect for dialect in (V1, V2, V3)}
_QUESTIONS: Mapping[tuple[bytes, bytes], Callable[[bytes], Answer]] = {
    (b"GET", b"/ping"): answer_ping,
    (b"HEAD", b"/ping"): answer_ping,
    (b"GET", b"/health"): lambda query: HEALTHY,
    (b"GET", b"/query"): answer_statement,
}
_FORM = b"application/x-www-form-urlencoded"
_FAULT = Answer(500)


class Listener(Resource):
    """Answers local clients.

    :param intake: takes what they write.
    :param admission: says whose requests are heard.
    """

    isLeaf = True
    _log = Logger()

    def __init__(self, intake: Intake, admission: Admission) -> None:
        Resource.__init__(self)
        self._intake = intake
        self._admission = admission
        self._under_way: set[QuietRequest] = set()
        self._idle: list[Deferred[None]] = []

    def render(self, request: QuietRequest) -> int:
        """Answer a request, now or when its points are kept."""
        self._under_way.add(request)
        # Points that are under way are kept, also when nobody waits for the answer any more.
        request.notifyFinish().addErrback(lambda _: None).addCallback(lambda _: self._ended(request))
        try:
            answered = self._answer(request)
        except Exception:
            answered = succeed(self._fault(Failure()))
        answered.addErrback(self._fault).addCallback(self._write, request)
        return NOT_DONE_YET

    def drained(self) -> Deferred[None]:
        """Fires when no request is under way."""
        if not self._under_way:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    def _ended(self, request: QuietRequest) -> None:
        self._under_way.discard(request)
        if not self._under_way:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)

    def _write(self, answer: Answer, request: QuietRequest) -> None:
        if request in self._under_way:  # else whoever asked has gone
            write_answer(request, answer)

    def _fault(self, failure: Failure) -> Answer:
        self._log.failure("A request of a local client could not be answered, for a fault of ours", failure)
        return _FAULT

    def _answer(self, request: QuietRequest) -> Deferred[Answer]:
        asked = read_target(request.uri)
        headers = {name.lower(): values for name, values in request.requestHeaders.getAllRawHeaders()}
        if asked is None:
            return succeed(NOT_FOUND)
        http11 = request.clientproto != b"HTTP/1.0"
        refusal = self._admission.refusal(asked, headers, http11=http11)
        return self._serve(asked, request, headers) if refusal is None else succeed(refusal)

    def _serve(self, asked: Asked, request: QuietRequest, headers: Mapping[bytes, Sequence[bytes]]) -> Deferred[Answer]:
        path, _, query = asked.target.partition(b"?")
        if request.method == b"POST" and path in _WRITES:
            return self._take_write(_WRITES[path], query, request, headers)
        if (request.method, path) == (b"POST", b"/query"):
            return succeed(_hear_statement(query, request, headers))
        question = _QUESTIONS.get((request.method, path))
        return succeed(NOT_FOUND if question is None else question(query))

    def _take_write(
        self, dialect: Dialect, query: bytes, request: QuietRequest, headers: Mapping[bytes, Sequence[bytes]]
    ) -> Deferred[Answer]:
        write = dialect.read_write(query)
        if isinstance(write, Answer):
            return succeed(write)
        if request.refused:
            return succeed(too_large(dialect) if request.refused == 413 else unavailable(dialect))
        encodings = headers.get(b"content-encoding", [])
        return self._intake.take(write, request.content.read(), encodings[0] if encodings else None)


def _hear_statement(query: bytes, request: QuietRequest, headers: Mapping[bytes, Sequence[bytes]]) -> Answer:
    body = request.content.read(MAX_STATEMENT_BYTES + 1)
    if request.refused or len(body) > MAX_STATEMENT_BYTES:
        return NOT_FOUND
    kinds = headers.get(b"content-type", [b""])
    return answer_statement(query, body if kinds[0].partition(b";")[0].strip().lower() == _FORM else b"")


def listener_site(listener: Listener, reactor: IReactorTime) -> QuietSite:
    """The server to listen with.

    :param reactor: measures time.
    """
    return QuietSite(listener, LISTENER_BOUNDS, reactor)
