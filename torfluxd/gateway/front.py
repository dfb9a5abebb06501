"""The strangers' door: an HTTP/1.1 server that answers a :class:`~torfluxd.gateway.exchange.Site`, with every bound.

This module holds what all connections share: the site, the bounds, the cap, the clock that ends slow ones, the counts.
`connection` serves one stranger, `reader` reads what he sends, `wire` writes what he gets, `streams` passes through.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.connection import Connection
from torfluxd.gateway.exchange import Site
from torfluxd.gateway.heads import HeadReader
from torfluxd.gateway.held import Held
from torfluxd.gateway.limiter import Share
from torfluxd.gateway.wire import AnswerBytes
from torfluxd.ops.figures import Figures

__all__ = ["Bounds", "Front"]

SWEEP_SECONDS: Final = 1.0
"""How often connections are looked at for passed deadlines, so how late a deadline may be kept. A timer for each
request would cost more than parsing it; a look at 16 384 connections takes 2 ms."""

EXPIRED_IN_ONE_TURN: Final = 128
"""How many connections are closed for their deadlines before others have their turn: 5 ms' worth. A flood of
connections that came together ends together."""


class Front(Factory):
    """Serves strangers.

    Listen with it on any Twisted server endpoint. Nothing it does is logged, but failures of our own code.

    :ivar requests: how many requests reached the site.
    :ivar answered: how many of them it answered from their heads.
    :ivar refused: how many connections were ended by an answer of the door's own, or by
        :attr:`~torfluxd.gateway.exchange.Collect.too_large`, for each status.
    :ivar evicted: how many connections were ended because there were too many, or too much was held.
    :ivar draining: no request is begun any more.

    :param site: decides on every request.
    :param bounds: what strangers are allowed.
    :param clock: usually the reactor.
    :param held: what is held for strangers, shared with whoever else holds something; by default nobody does.
    """

    noisy = False

    def __init__(self, site: Site, bounds: Bounds, clock: IReactorTime, held: Held | None = None) -> None:
        self.site = site
        self.bounds = bounds
        self.clock = clock
        self.encode = AnswerBytes()
        self.read_head = HeadReader(bounds)
        self.requests = self.answered = 0
        self.refused: Counter[int] = Counter()
        self.evicted = 0
        self.draining = False
        # The one with the oldest progress is the first.
        self._connections: OrderedDict[Connection, None] = OrderedDict()
        # Those of them that hold something, likewise.
        self._holders: OrderedDict[Connection, None] = OrderedDict()
        self._held = Held() if held is None else held
        self._next_sweep: IDelayedCall | None = None
        self._drained: list[Deferred[None]] = []

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def figures(self) -> Figures:
        """Who is here, and who was refused or had to go."""
        return Figures(
            requests={"answered": self.answered},
            door_refusals={str(int(status)): count for status, count in sorted(self.refused.items())},
            connections=self.connections,
            evicted_connections=self.evicted,
            held_bytes=self._held.reading_bytes + self._held.waiting_bytes,
        )

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """Serve a connection of which nothing is known, or close it when we are draining."""
        return None if self.draining else self.build(object())

    def build_limited(self, share: Share) -> Connection:
        """Serve a connection of a stranger who has this share, which is also the writer that the site knows him by."""
        return self.build(share, share)

    def build(self, writer: Hashable, share: Share | None = None) -> Connection:
        """Serve a connection of this writer; `CircuitFactory` knows a better one than `buildProtocol` does.

        :param writer: what :attr:`~torfluxd.gateway.exchange.Collect.complete` is told.
        :param share: what it may use; by default there is no limit but the bounds.
        """
        connection = Connection(self, writer, share)
        connection.factory = self
        return connection

    def drain(self, deadline_seconds: float) -> Deferred[None]:
        """Let requests that are under way finish, and close everything else at once.

        New connections are closed as they come; stop listening first.

        :param deadline_seconds: after which the rest is cut off.
        :returns: a Deferred that fires with None when no connection is left. It does not fail.
        """
        self.draining = True
        for connection in list(self._connections):
            connection.close_if_idle()
        done = Deferred[None]()
        if not self._connections:
            done.callback(None)
            return done
        self._drained.append(done)
        cut = self.clock.callLater(deadline_seconds, self._cut_off)
        done.addCallback(lambda _: cut.cancel() if cut.active() else None)
        return done

    def _cut_off(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    # What connections call.

    def joined(self, connection: Connection) -> None:
        """Count a new connection. When there are too many, the one that got on longest ago has to go.

        A connection gets on when it comes, when a head of it is whole, and with each piece that is passed through:
        not with each byte. So a flood of connections that send nothing, or drip, evicts itself first, whatever its
        size; and finding the one to evict costs the same whatever their number.
        """
        self._connections[connection] = None
        if self._next_sweep is None:
            self._next_sweep = self.clock.callLater(SWEEP_SECONDS, self._sweep)
        if self.draining:
            connection.close_if_idle()
        elif len(self._connections) > self.bounds.connections:
            oldest, _ = self._connections.popitem(last=False)
            self.evicted += 1
            oldest.abort()

    def progressed(self, connection: Connection) -> None:
        """Note that a connection got on."""
        self._connections.move_to_end(connection)
        if connection.held_bytes:
            self._holders.move_to_end(connection)

    def holds(self, connection: Connection, size: int) -> None:
        """Note how much a connection holds. When all of them hold too much, the one that got on longest ago has to go,
        of those that hold something.
        """
        held = self._held
        held.reading_bytes += size - connection.held_bytes
        connection.held_bytes = size
        if not size:
            self._holders.pop(connection, None)
            return
        self._holders.setdefault(connection)
        while held.is_over and self._holders:
            oldest = next(iter(self._holders))
            self._let_go(oldest)
            self.evicted += 1
            oldest.abort()

    def _let_go(self, connection: Connection) -> None:
        """What it holds is as good as gone."""
        self._holders.pop(connection, None)
        self._held.reading_bytes -= connection.held_bytes
        connection.held_bytes = 0

    def left(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._connections.pop(connection, None)
        self._let_go(connection)
        if self._connections:
            return
        if self._next_sweep is not None:
            self._next_sweep.cancel()
            self._next_sweep = None
        drained, self._drained = self._drained, []
        for done in drained:
            done.callback(None)

    def _sweep(self) -> None:
        self._next_sweep = self.clock.callLater(SWEEP_SECONDS, self._sweep)
        now = self.clock.seconds()
        self._expire([connection for connection in self._connections if connection.deadline <= now])

    def _expire(self, late: list[Connection]) -> None:
        now = self.clock.seconds()
        for connection in late[:EXPIRED_IN_ONE_TURN]:
            if connection.deadline <= now:  # It still is: it may have got on since.
                connection.expire()
        if later := late[EXPIRED_IN_ONE_TURN:]:
            self.clock.callLater(0, self._expire, later)
