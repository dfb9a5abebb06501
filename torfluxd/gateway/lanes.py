"""Group commit: many small writes become one upstream write, and each hears what became of its own lines.

A *lane* leads to one destination. While a write of it is in flight, newcomers gather; when the answer is there, the
next write carries them all. So there is no timer: an idle lane adds nothing, and under load InfluxDB gets few large
writes instead of many small ones.

A refused write is cut in two until each body has the answer that its own lines deserve: InfluxDB stores the good lines
of a write and refuses it all the same, and does not say truly how many. To send lines again is harmless, because each
has a timestamp of its own. A body that was refused by itself makes its writer and its measurement *suspect* for a
while: their bodies travel alone, behind the others', so that a stranger who is refused again and again costs his
neighbours nothing. Both are remembered because a writer, a circuit or a connection, is cheap to renew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Batch, Destination, Fate, Reply, Upstream

__all__ = ["Body", "Lane", "Lanes", "Suspects"]

MAX_BATCH_BYTES = 2 * 1024 * 1024
"""The most that one joined write holds; a single body may be as large. influxd takes 25 MB (`max-body-size`)."""

MAX_BATCH_POINTS = 10_000
"""The most points of one joined write: twice the batch size at which InfluxDB is fastest, by its documentation."""

SUSPECT_SECONDS = 60.0
"""How long a refused writer's bodies travel alone: long enough that a flood of refusals costs one write each, short
enough that a mended client is among the others again within a minute."""

MAX_SUSPECTS = 4096
"""How many suspects are remembered, the latest of them; strangers can make up as many as they like."""


@frozen(eq=False)
class Body:
    """The lines of one request.

    :ivar lines: good ones, each with its timestamp in nanoseconds, separated by newlines.
    :ivar points: how many.
    :ivar writer: whose.
    :ivar settled: fires with what became of them; never fails.
    """

    lines: bytes = field(repr=lambda lines: f"<{len(lines)} bytes>")
    points: int
    writer: Hashable = field(repr=False)
    settled: Deferred[Reply] = field(factory=Deferred, repr=False)

    @property
    def measurement(self) -> bytes:
        """The measurement of its first line, which stands for all: clients write one kind of thing at a time."""
        end = min(at for at in (self.lines.find(b","), self.lines.find(b" "), len(self.lines)) if at >= 0)
        return self.lines[:end]


class Suspects:
    """Who was refused lately.

    :param clock: measures how long ago.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, body: Body) -> None:
        """A body was refused by itself."""
        until = self._clock.seconds() + SUSPECT_SECONDS
        for suspect in (("writer", body.writer), ("measurement", body.measurement)):
            self._until.pop(suspect, None)
            self._until[suspect] = until
        while len(self._until) > MAX_SUSPECTS:
            self._until.popitem(last=False)

    def __contains__(self, body: Body) -> bool:
        if not self._until:  # as almost always
            return False
        now = self._clock.seconds()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)
        return ("writer", body.writer) in self._until or ("measurement", body.measurement) in self._until


@define(eq=False)
class Lane:
    """Carries the bodies for one destination, one write at a time.

    :ivar destination: where to.
    :ivar send: sends one batch; ends as :meth:`torfluxd.boundaries.Upstream.send` does.
    :ivar suspects: whose bodies travel alone.
    :ivar emptied: called with the lane when nothing is left to do.
    """

    destination: Destination
    send: Callable[[Batch], Deferred[Reply]]
    suspects: Suspects
    emptied: Callable[[Lane], None]
    _waiting: OrderedDict[Hashable, deque[Body]] = field(factory=OrderedDict, init=False)
    _apart: deque[Body] = field(factory=deque, init=False)
    _halves: list[list[Body]] = field(factory=list, init=False)
    _in_flight: bool = field(default=False, init=False)
    _turn_of_apart: bool = field(default=False, init=False)

    def take(self, body: Body) -> None:
        """Carry a body: at once when nothing is in flight, else with the next write."""
        if body in self.suspects:
            self._apart.append(body)
        else:
            self._waiting.setdefault(body.writer, deque()).append(body)
        if not self._in_flight:
            self._send_next()

    def _send_next(self) -> None:
        bodies = self._next()
        if not bodies:
            self.emptied(self)
            return
        self._in_flight = True
        lines = b"\n".join([body.lines for body in bodies])
        batch = Batch(self.destination, lines, sum(body.points for body in bodies))
        self.send(batch).addCallback(self._answered, bodies)

    def _next(self) -> list[Body]:
        """What travels next: halves of a refused write; then the many and a suspect in turns."""
        if self._halves:
            return self._halves.pop()
        if self._apart and (self._turn_of_apart or not self._waiting):
            self._turn_of_apart = False
            return [self._apart.popleft()]
        self._turn_of_apart = True
        return self._gathered()

    def _gathered(self) -> list[Body]:
        """Bodies of all who wait, one of each writer in turn, as many as fit into one write."""
        bodies: list[Body] = []
        size = points = 0
        while self._waiting:
            writer, own = self._waiting.popitem(last=False)
            body = own[0]
            size += len(body.lines) + 1
            points += body.points
            if bodies and (size > MAX_BATCH_BYTES or points > MAX_BATCH_POINTS):
                self._waiting[writer] = own
                self._waiting.move_to_end(writer, last=False)  # the first of the next write
                break
            bodies.append(own.popleft())
            if own:
                self._waiting[writer] = own
        return bodies

    def _answered(self, reply: Reply, bodies: Sequence[Body]) -> None:
        """Tell everybody, or cut in two what was refused; then go on."""
        if reply.fate is Fate.REJECT and len(bodies) > 1:
            middle = len(bodies) // 2
            self._halves += [list(bodies[middle:]), list(bodies[:middle])]
        else:
            if reply.fate is Fate.REJECT:
                self.suspects.add(bodies[0])
            for body in bodies:
                body.settled.callback(reply)
        self._in_flight = False
        self._send_next()


class Lanes:
    """The lanes to all destinations that anybody writes to at the moment.

    :param upstream: where they lead.
    :param clock: measures how long suspects travel alone.
    """

    def __init__(self, upstream: Upstream, clock: IReactorTime) -> None:
        self._upstream = upstream
        self._suspects = Suspects(clock)
        self._lanes: dict[Destination, Lane] = {}

    def __len__(self) -> int:
        """How many lanes have something to do."""
        return len(self._lanes)

    def write(self, destination: Destination, lines: bytes, points: int, writer: Hashable) -> Deferred[Reply]:
        """Write the lines of one body.

        :returns: a Deferred that fires with what became of these lines, and never fails. To cancel it is to say that
            nobody waits any more; the lines are written all the same.
        """
        body = Body(lines, points, writer)
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane(destination, self._upstream.send, self._suspects, self._forget)
        lane.take(body)
        return body.settled

    def _forget(self, lane: Lane) -> None:
        del self._lanes[lane.destination]
