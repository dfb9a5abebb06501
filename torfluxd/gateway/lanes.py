"""Group commit: many small writes become one upstream write, and each hears what became of its own lines.

A *lane* leads to one destination. While a write of it is in flight, newcomers gather; when the answer is there, the
next write carries them all. So an idle lane adds nothing, and under load InfluxDB gets few large writes instead of many
small ones; see `gathering` for what is between the two.

A refused write is cut in two until each body has the answer that its own lines deserve: InfluxDB stores the good lines
of a write and refuses it all the same, and does not say truly how many. Where it did refuse them all, which is sure,
each body goes by itself at once: n bodies take n + 1 writes in place of 2n - 1. To send lines again is harmless,
because each has a time of its own.

Whoever was refused is a suspect for a while. A writer (a circuit, or a connection) who is one travels alone. As both
are cheap to renew, a measurement that InfluxDB refused is a suspect, too: bodies that begin with it travel together,
but apart from all others. The *groups* of a lane, the many, the parts of a refused write, the suspect measurements and
the suspect writers, take turns: so whatever strangers do who are refused again and again, every second write at least
is that of the others.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Answer, Batch, Destination, Fate, Reply, Upstream
from torfluxd.gateway.bodies import Bodies, Body, Load, join
from torfluxd.gateway.gathering import GATHER_SECONDS, Gathering
from torfluxd.gateway.suspects import Suspects
from torfluxd.gateway.tally import Tally

__all__ = ["Lanes"]

MAX_BATCH_BYTES = 2 * 1024 * 1024
"""The most that one joined write holds; a single body may be as large. influxd takes 25 MB (`max-body-size`)."""

MAX_BATCH_POINTS = 10_000
"""The most points of one joined write: twice the batch size at which InfluxDB is fastest, by its documentation."""

MIN_BATCH_BYTES = 64 * 1024
"""What a joined write may hold after any number of answers that it is too large: less than any server or proxy refuses
(nginx's `client_max_body_size` is 1 MiB)."""


KEPT_LANES = 64
"""How many lanes are kept when they are idle: more destinations than a vendor has. Strangers can think of any number,
and theirs are made anew for each write."""


@define(eq=False)
class _Queue:
    """Bodies that wait to be joined: one of each writer in turn, as many as fit into one write."""

    _waiting: OrderedDict[Hashable, deque[Body]] = field(factory=OrderedDict)

    def put(self, body: Body) -> None:
        """Wait."""
        own = self._waiting.get(body.writer)
        if own is None:
            own = self._waiting[body.writer] = deque()
        own.append(body)

    def take(self, max_bytes: int) -> list[Body]:
        """The bodies of the next write."""
        waiting = self._waiting
        bodies: list[Body] = []
        size = points = 0
        while waiting:
            writer, own = waiting.popitem(last=False)
            body = own[0]
            size += len(body.raw) + 1
            points += body.most_points
            if bodies and (size > max_bytes or points > MAX_BATCH_POINTS):
                waiting[writer] = own
                waiting.move_to_end(writer, last=False)  # the first of the next write
                break
            bodies.append(own.popleft())
            if own:
                waiting[writer] = own
        return bodies


@define(eq=False)
class _Common:
    """What the lanes share.

    :ivar clock: measures how long bodies wait for company.
    :ivar gather_seconds: for how long they may.
    :ivar send: sends one batch; ends as :meth:`torfluxd.boundaries.Upstream.send` does.
    :ivar bodies: reads them.
    :ivar suspects: who was refused lately.
    :ivar rest: called with a lane when nothing is left to do.
    :ivar refused: called with a writer whose lines were refused, and how many.
    :ivar done: called with bodies that have their answers.
    :ivar tally: counts what becomes of them.
    :ivar max_bytes: how much one joined write holds, so that it is not refused for its size.
    """

    clock: IReactorTime
    gather_seconds: float
    send: Callable[[Batch], Deferred[Reply]]
    bodies: Bodies
    suspects: Suspects
    rest: Callable[[_Lane], None]
    refused: Callable[[Hashable, int], None]
    done: Callable[[Sequence[Body]], None]
    tally: Tally
    max_bytes: int = MAX_BATCH_BYTES


class _Lane:
    """Carries the bodies for one destination, one write at a time.

    :ivar destination: where to.
    """

    def __init__(self, destination: Destination, common: _Common) -> None:
        self.destination = destination
        self._common = common
        self._many = _Queue()
        self._parts: list[list[Body]] = []
        self._marked = _Queue()
        self._alone: deque[Body] = deque()
        self._groups = (self._take_many, self._take_part, self._take_marked, self._take_alone)
        self._turn = 0
        self._waiting = 0
        self._in_flight = False
        self._going_on = False
        self._gathering = Gathering(common.clock, common.gather_seconds, self._go_on)

    def take(self, body: Body) -> None:
        """Carry a body with the next write, which leaves at once when nothing is in flight and nobody gathers."""
        suspects = self._common.suspects
        self._waiting += 1
        if not suspects:  # as almost always
            self._many.put(body)
        elif suspects.has_writer(body.writer):
            self._alone.append(body)
        elif suspects.has_measurement(body.measurement):
            self._marked.put(body)
        else:
            self._many.put(body)
        if not self._in_flight:
            self._go_on()

    def _go_on(self) -> None:
        """Send what is next, until something is in flight, or nothing is left."""
        if self._going_on:
            return
        self._going_on = True
        while not self._in_flight and (self._parts or not self._gathering.hold(self._waiting)):
            bodies = self._next()
            if not bodies:
                break
            load = self._load(bodies)
            if load.points:
                self._in_flight = True
                self._gathering.sent(body.writer for body in load.bodies)
                batch = Batch(self.destination, load.lines, load.points)
                self._common.send(batch).addCallback(self._answered, load)
        self._going_on = False
        if self.is_idle:
            self._common.rest(self)

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._in_flight and not self._gathering.holds

    def _next(self) -> Sequence[Body]:
        """The bodies of the next write, of the group whose turn it is among those that have any."""
        if not self._waiting and not self._parts:
            return ()
        for _ in self._groups:
            take = self._groups[self._turn]
            self._turn = (self._turn + 1) % len(self._groups)
            if bodies := take():
                return bodies
        return ()

    def _take_many(self) -> Sequence[Body]:
        bodies = self._many.take(self._common.max_bytes)
        self._waiting -= len(bodies)
        return bodies

    def _take_part(self) -> Sequence[Body]:
        return self._parts.pop() if self._parts else ()

    def _take_marked(self) -> Sequence[Body]:
        bodies = self._marked.take(self._common.max_bytes)
        self._waiting -= len(bodies)
        return bodies

    def _take_alone(self) -> Sequence[Body]:
        if not self._alone:
            return ()
        self._waiting -= 1
        return (self._alone.popleft(),)

    def _load(self, bodies: Sequence[Body]) -> Load:
        """Read bodies. Whoever has no good lines has his answer now."""
        common = self._common
        load = common.bodies.read_together(bodies)
        if load is not None:
            return load
        good = []
        for body in bodies:
            was_read = body.lines is not None
            if not common.bodies.read(body):
                common.suspects.add_writer(body.writer)
                if not was_read:
                    common.refused(body.writer, body.most_points - body.points)
                    common.tally.invalid_lines += body.most_points - body.points
            if body.points:
                good.append(body)
            else:
                common.done((body,))
                common.tally.refused += 1
                body.settled.callback(body.told)
        return join(good)

    def _answered(self, reply: Reply, load: Load) -> None:
        """Send on, then tell everybody, so that InfluxDB has work meanwhile; or cut in two what was refused."""
        bodies = load.bodies
        self._in_flight = False
        refused = reply.fate is Fate.REJECT
        if refused and reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self._common.max_bytes = max(MIN_BATCH_BYTES, min(self._common.max_bytes, len(load.lines) // 2))
        if refused and len(bodies) > 1:
            self._cut(bodies, 1 if _is_all_refused(reply, load) else (len(bodies) + 1) // 2)
            self._go_on()
            return
        if refused:
            self._common.suspects.add_writer(bodies[0].writer)
            self._common.suspects.add_measurement(bodies[0].measurement)
            self._common.refused(bodies[0].writer, load.points)
        self._go_on()
        self._common.done(bodies)
        self._common.tally.settled(reply.fate, len(bodies), load.points)
        for body in bodies:
            body.tell(reply)

    def _cut(self, bodies: Sequence[Body], size: int) -> None:
        """Have a refused write sent again in parts of so many bodies, the first one first."""
        parts = [list(bodies[start : start + size]) for start in range(0, len(bodies), size)]
        self._parts += reversed(parts)


def _is_all_refused(reply: Reply, load: Load) -> bool:
    return sum(refusal.points for refusal in reply.refused) == load.points


class Lanes:
    """The lanes to all destinations that anybody writes to at the moment.

    :param upstream: where they lead.
    :param clock: measures how long suspects are batched apart, and how long bodies wait for company.
    :param bodies: reads bodies.
    :param refused: called with each writer whose lines were refused, and how many; one who is refused some by InfluxDB
        is told of a whole body.
    :param done: called with bodies that have their answers, also when nobody waits for those any more.
    :param tally: counts what becomes of them.
    :param gather_seconds: for how long after a write the next one may wait for company.
    """

    def __init__(
        self,
        upstream: Upstream,
        clock: IReactorTime,
        bodies: Bodies,
        refused: Callable[[Hashable, int], None] = lambda writer, lines: None,
        done: Callable[[Sequence[Body]], None] = lambda bodies: None,
        tally: Tally | None = None,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._common = _Common(
            clock, gather_seconds, upstream.send, bodies, Suspects(clock), self._rest, refused, done, tally or Tally()
        )
        self._lanes: dict[Destination, _Lane] = {}

    def __len__(self) -> int:
        """How many lanes have something to do."""
        return sum(not lane.is_idle for lane in self._lanes.values())

    def take(self, body: Body) -> Deferred[Answer]:
        """Carry the lines of one body.

        :returns: :attr:`~torfluxd.gateway.bodies.Body.settled` of the body.
        """
        destination = body.write.destination
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = _Lane(destination, self._common)
        lane.take(body)
        return body.settled

    def _rest(self, lane: _Lane) -> None:
        if len(self._lanes) > KEPT_LANES:
            del self._lanes[lane.destination]
