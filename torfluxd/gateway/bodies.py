"""One stranger's lines on their way: read alone or with others', and answered.

Bodies gather unread. Those that leave together are checked together, which takes a twentieth of the time when all of
them are plain, as almost always; only if they are not, each is read by itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from http import HTTPStatus

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from torfluxd.boundaries import Answer, Fate, Reply
from torfluxd.gateway.screen import Screen
from torfluxd.influx.answers import WRITTEN, told_of_bad_lines, too_large, unavailable
from torfluxd.influx.api import Api
from torfluxd.influx.check import Checked, are_plain, check, merged, named
from torfluxd.influx.dialect import Write
from torfluxd.influx.grammar import GRAMMARS, Grammar
from torfluxd.influx.stamp import Stamper, Timestamps, stamp_lines

__all__ = ["Bodies", "Body", "Load", "join"]


@define(eq=False)
class Body:
    """The lines of one request.

    :ivar raw: as they came, inflated, without newlines at the end.
    :ivar write: where to, and how they are meant.
    :ivar writer: whose.
    :ivar told: what he hears when his good lines are stored.
    :ivar lines: the good ones, each with its time in nanoseconds, separated by newlines; None before it was read.
    :ivar points: how many those are.
    :ivar settled: fires with what he hears. It fails with :class:`~twisted.internet.defer.CancelledError` alone, when
        it is cancelled because he has gone; then his lines travel on all the same.
    """

    raw: bytes = field(repr=False)
    write: Write = field(repr=False)
    writer: Hashable = field(repr=False)
    told: Answer = field(default=WRITTEN, repr=False)
    lines: bytes | None = field(default=None, repr=False)
    points: int = 0
    settled: Deferred[Answer] = field(factory=Deferred, repr=False)

    @property
    def most_points(self) -> int:
        """At most how many points it holds."""
        return self.raw.count(b"\n") + 1

    @property
    def measurement(self) -> bytes:
        """The measurement of its first line, which stands for all: clients write one kind of thing at a time."""
        end = min(at for at in (self.raw.find(b","), self.raw.find(b" "), len(self.raw)) if at >= 0)
        return self.raw[:end]

    def tell(self, reply: Reply) -> None:
        """Tell the writer what became of his lines, by InfluxDB's reply to them."""
        self.settled.callback(self._answer(reply))

    def _answer(self, reply: Reply) -> Answer:
        dialect = self.write.dialect
        if reply.fate is Fate.DELIVERED:
            return self.told
        if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return too_large(dialect)
        if reply.fate is Fate.POSTPONE or reply.status is None:
            return unavailable(dialect)
        return dialect.retell(reply)


@frozen(eq=False)
class Load:
    """What one upstream write carries.

    :ivar bodies: whose answer is the write's.
    :ivar lines: all their lines.
    :ivar points: how many.
    """

    bodies: Sequence[Body]
    lines: bytes = field(repr=lambda lines: f"<{len(lines)} bytes>")
    points: int


class Bodies:
    """Reads bodies.

    :param stamper: gives lines without a time theirs.
    :param grammar: of the InfluxDB that the lines are for.
    :ivar screen: applies the vendor's rules; None where there are none.
    """

    def __init__(self, stamper: Stamper, grammar: Grammar = GRAMMARS[Api.V1], screen: Screen | None = None) -> None:
        self._stamper = stamper
        self._grammar = grammar
        self.screen = screen

    def read_together(self, bodies: Sequence[Body]) -> Load | None:
        """Read bodies that nobody has read yet, if all their lines are plain, have a time, and keep to the rules.

        :returns: all of them, or None when each is to be read by itself.
        """
        precision = bodies[0].write.precision
        if any(body.lines is not None or body.write.precision != precision for body in bodies):
            return None
        raw = b"\n".join([body.raw for body in bodies])
        screen = self.screen
        if not (are_plain(raw, precision, self._grammar) if screen is None else screen.passes(raw, precision)):
            return None
        return Load(bodies, stamp_lines(raw, 0, precision, Timestamps.ALL), raw.count(b"\n") + 1)

    def read(self, body: Body) -> bool:
        """Read a body by itself, once.

        :returns: whether all its lines are good.
        """
        if body.lines is None:
            write = body.write
            checked = self._screened(check(body.raw, write.precision, self._grammar), body)
            if checked.bad:
                body.told = told_of_bad_lines(write, checked)
            if checked.bad and write.is_whole:
                body.lines = b""
            else:
                stamp = self._stamper.stamp()
                body.lines = stamp_lines(checked.lines, stamp, write.precision, checked.timestamps)
                body.points = checked.points
        return body.told is WRITTEN

    def _screened(self, checked: Checked, body: Body) -> Checked:
        """What the rules leave of a body's good lines."""
        screen, precision = self.screen, body.write.precision
        if screen is None or not checked.points:
            return checked
        if checked.timestamps is not Timestamps.SOME and screen.passes(
            checked.lines, precision if checked.timestamps is Timestamps.ALL else None
        ):
            return checked
        screened = screen.screen(checked.lines, precision, body.writer)
        bad = checked.bad
        if screened.refused:
            bad = merged(bad, named(body.raw, checked.lines, screened.refused))
        return Checked(screened.lines, screened.points, checked.timestamps, bad)


def join(bodies: Sequence[Body]) -> Load:
    """A load of bodies that were read by themselves, and have good lines."""
    lines = b"\n".join([body.lines for body in bodies if body.lines])
    return Load(bodies, lines, sum(body.points for body in bodies))
