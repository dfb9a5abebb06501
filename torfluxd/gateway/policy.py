"""What a stranger may do: the facts of a request in, a verdict out.

Pure. Paths are compared byte for byte: `//write`, `/write/` and `/%77rite` are not `/write`, as in InfluxDB (tried).
Nothing is allowed that is not named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from attrs import evolve, field, frozen

from torfluxd.boundaries import Answer, Destination
from torfluxd.influx.dialect import Dialect, Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.influx.greetings import HEALTHY, NOT_FOUND, answer_ping, answer_statement
from torfluxd.settings import Expose

__all__ = ["Accept", "Forward", "HearStatement", "Policy", "Say", "Verdict"]


@frozen
class Accept:
    """Take the body, and write its lines."""

    write: Write


@frozen
class Say:
    """Answer this; nothing reaches InfluxDB."""

    answer: Answer


@frozen
class HearStatement:
    """Read the body, which may be a form with a statement; nothing reaches InfluxDB.

    :ivar query: the query of the request, where the statement is when it is not in the body.
    """

    query: bytes = field(repr=False)


@frozen
class Forward:
    """Pass it on to InfluxDB."""


Verdict = Accept | Say | HearStatement | Forward

_NOT_FOUND = Say(NOT_FOUND)
_FORWARD = Forward()

_WRITES: Mapping[bytes, Dialect] = {dialect.path: dialect for dialect in (V1, V2, V3)}
"""The paths that take writes."""

_CONSTANT_ROUTES: Mapping[tuple[bytes, bytes], Callable[[bytes], Verdict]] = {
    (b"GET", b"/ping"): lambda query: Say(answer_ping(query)),
    (b"HEAD", b"/ping"): lambda query: Say(answer_ping(query)),
    (b"GET", b"/health"): lambda query: Say(HEALTHY),
    (b"GET", b"/query"): lambda query: Say(answer_statement(query)),
    (b"POST", b"/query"): HearStatement,
}
"""What exists besides the writes, by method and path: its verdict, given the query."""


@frozen
class Policy:
    """What strangers may do.

    :ivar expose: what of InfluxDB they can reach.
    :ivar settle: where a write goes that asks for a destination, or None for nowhere; by default where it asks.
    """

    expose: Expose = Expose.WRITE
    settle: Callable[[Destination], Destination | None] = lambda asked: asked

    def judge(self, method: bytes, target: bytes) -> Verdict:
        """The verdict on a request, from its method and its target as they were sent."""
        if self.expose is Expose.ALL:
            return _FORWARD if target.startswith(b"/") else _NOT_FOUND
        path, _, query = target.partition(b"?")
        if method == b"POST" and (dialect := _WRITES.get(path)) is not None:
            asked = dialect.read_write(query)
            return Say(asked) if isinstance(asked, Answer) else self._accept(asked)
        verdict = _CONSTANT_ROUTES.get((method, path))
        return _NOT_FOUND if verdict is None else verdict(query)

    def _accept(self, write: Write) -> Verdict:
        """The verdict on a write that is understood."""
        destination = self.settle(write.destination)
        if destination is None:  # As InfluxDB says it of a database that does not exist, and as clients know it.
            text = f'database not found: "{write.destination.database}"'
            return Say(write.dialect.refuse(HTTPStatus.NOT_FOUND, text))
        return Accept(evolve(write, destination=destination))
