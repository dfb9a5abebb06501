"""The words in which the strangers' door and the routes speak to each other: one exchange, from its head to its answer.

`front` (our HTTP/1.1 protocol) and `resource` (twisted.web, for embedding) read a :class:`Head`, ask the routes for
a :class:`Plan` before a single byte of the body is held, and carry it out. Values and protocols only; no logic.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.web.iweb import IBodyProducer, IResponse

from torfluxd.boundaries import Answer, Header

__all__ = ["CANARY_PONG", "Answer", "Collect", "Head", "Header", "PassThrough", "Plan", "Site"]


@frozen(eq=False)
class Head:
    """What a request says before its body. Requests whose heads are the same bytes may share one.

    Nothing in here is printed by `repr`: it is a stranger's.

    :ivar method: as sent, upper case for every method that HTTP knows.
    :ivar target: the request target as sent, not decoded: `/write?db=telemetry`.
    :ivar headers: in the order sent, names in lower case.
    :ivar is_remembered: whether this very object will be met again, so that what is decided about it is worth keeping
        beside it.
    """

    method: bytes
    target: bytes = field(repr=False)
    headers: Sequence[Header] = field(repr=False)
    is_remembered: bool = False

    def header(self, name: bytes) -> bytes | None:
        """The value of the first header of this name (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@frozen
class Collect:
    """Read the body whole, then ask `complete` for the answer.

    :ivar limit_bytes: a body of more than this is answered with `too_large` as soon as that is known, from its
        declared length or while it arrives, and the connection is closed.
    :ivar too_large: the answer to such a body.
    :ivar complete: called once for each request, with the body as it came over the wire (de-chunked, not inflated), and
        with who asks: a circuit where it is known, else a connection. Compare it, hash it, never write it down. Its
        Deferred fires with the answer and never fails; cancelling it says that the writer has gone.
    """

    limit_bytes: int
    too_large: Answer
    complete: Callable[[bytes, Hashable], Deferred[Answer]]


@frozen
class PassThrough:
    """Stream both ways, with back-pressure both ways.

    :ivar open: called once for each request, with its body (its `length` is the declared one, 0 when there is none,
        `UNKNOWN_LENGTH` when it is chunked). Fires with the other side's response as soon as its headers are here,
        hop-by-hop headers already removed from it; or with an :class:`Answer` when there is no other side. It never
        fails, except with CancelledError when it is cancelled because the stranger has gone.
    """

    open: Callable[[IBodyProducer], Deferred[IResponse | Answer]]


Plan = Answer | Collect | PassThrough
"""What to do with a request whose head is known."""


CANARY_PONG: Final = Answer(204)
"""The plan for our own canary, and for nothing else: whoever counts what strangers ask for passes over this object."""


class Site(Protocol):
    """Decides on every request. The routes are one; a test's own is another."""

    def plan(self, head: Head) -> Plan:
        """Decide from the head alone, at once, without failing. One plan may serve many requests, also at a time."""
