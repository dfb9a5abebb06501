"""Write-through, and the spool while that fails: what a stranger was told is stored, or will be.

While InfluxDB answers, every write goes to it, and its answer comes back. When it cannot be reached, or fails through a
fault of the vendor's, the lines are committed to the spool and count as written; and as long as the spool holds any for
that destination and none of them gets through, the next ones go there at once. A courier tries again, and its first
success brings that destination's writes back to the direct way, beside those that still wait in the spool.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Destination, Fate, Reply, Upstream
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.steps import LIMIT_BYTES
from torfluxd.errors import SpoolError
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.tally import Tally

__all__ = ["HomeUpstream", "Safekeeping"]

WRITES_AT_ONCE = 16
"""How many writes InfluxDB gets at a time, one for each destination; the others wait their turn, lest a stranger who
thinks of many destinations opens as many connections."""

_KEPT = Reply(Fate.DELIVERED)
"""The reply of a spool that has synced the lines to the disk."""


class Safekeeping:
    """An upstream that keeps what cannot be sent now. Its replies are `Fate.POSTPONE` only when that fails, too.

    :param upstream: where InfluxDB is.
    :param homes: the vendor's destinations.
    :param complaints: told what the operator must know.
    :param tally: counts writes to InfluxDB, and the lines that are stored or kept.
    :param seconds: tells the time, to measure how long writes take.
    :ivar keeps: the last write that InfluxDB did not take was kept; what the spool does not take either is lost to us.
    """

    def __init__(
        self,
        upstream: Upstream,
        homes: Homes,
        complaints: Complaints,
        tally: Tally | None = None,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._tally = tally or Tally()
        self.keeps = True
        self._upstream = upstream
        self._homes = homes
        self._complaints = complaints
        self._under_way = 0
        self._turns: deque[Deferred[None]] = deque()
        self._spool: DiskSpool | None = None
        self._put: Callable[[Destination], None] = lambda destination: None
        # Why the direct way was left, by destination.
        self._away: dict[Destination, Reply] = {}

    def use(self, spool: DiskSpool, put: Callable[[Destination], None], limit_bytes: int = LIMIT_BYTES) -> None:
        """Keep in this spool from now on.

        :param put: told the destination of each batch that was put there.
        :param limit_bytes: how much it holds.
        """
        self._spool = spool
        self._put = put
        self._complaints.found(spool.counts, limit_bytes)

    def arrived(self, destination: Destination) -> None:
        """InfluxDB took, or refused, a batch of this destination, also out of the spool: the direct way is open."""
        self.keeps = True
        self._away.pop(destination, None)
        if self._spool is not None:
            self._complaints.arrived(destination, self._spool.counts, self._spool.destinations)

    def postponed(self, destination: Destination, reply: Reply) -> None:
        """InfluxDB did not take a batch of this destination out of the spool, for which there may be no new ones."""
        if self._spool is not None:
            self._complaints.kept(destination, reply.reason, self._spool.counts)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a batch, or keep it; see :meth:`torfluxd.boundaries.Upstream.send`."""
        reply, spool = self._away.get(batch.destination), self._spool
        if reply is not None and spool is not None and batch.destination in spool.destinations:
            return self._keep(spool, batch, reply, self._send_after_all)
        return self._send(batch)

    def _send(self, batch: Batch) -> Deferred[Reply]:
        if self._under_way < WRITES_AT_ONCE:
            return self._send_now(batch)
        turn: Deferred[None] = Deferred()
        self._turns.append(turn)
        return turn.addCallback(lambda _: self._send_now(batch))

    def _send_now(self, batch: Batch) -> Deferred[Reply]:
        self._under_way += 1
        return self._upstream.send(batch).addCallbacks(self._sent, self._failed, (batch, self._seconds()))

    def _sent(self, reply: Reply, batch: Batch, begun: float) -> Reply | Deferred[Reply]:
        self._tally.sent(reply.fate, batch.points, self._seconds() - begun)
        self._end_turn()
        return self._judged(judge(reply, batch.destination, self._homes, Fate.NO_DESTINATION), batch)

    def _failed(self, failure: Failure) -> Failure:
        self._end_turn()
        return failure

    def _end_turn(self) -> None:
        self._under_way -= 1
        if self._turns:
            self._turns.popleft().callback(None)

    def _judged(self, reply: Reply, batch: Batch) -> Reply | Deferred[Reply]:
        if reply.fate is not Fate.POSTPONE:
            if reply.fate is Fate.DELIVERED:
                self._tally.stored_lines += batch.points
            if self._away or not self.keeps:
                self.arrived(batch.destination)
            return reply
        if self._spool is None or self._is_forbidden(reply, batch.destination):
            self._complaints.note(reply.reason)
            return reply
        return self._keep(self._spool, batch, reply, self._not_kept)

    def _is_forbidden(self, reply: Reply, destination: Destination) -> bool:
        """Whether a stranger asks for a database of the vendor's that is none of the gateway's business: it exists, so
        that InfluxDB does not say that it is missing, and what is kept for it would fill the spool and stay there.
        """
        return reply.status == HTTPStatus.FORBIDDEN and not self._homes.knows(destination)

    def _keep(
        self,
        spool: DiskSpool,
        batch: Batch,
        reply: Reply,
        otherwise: Callable[[Failure, Batch, Reply], Reply | Deferred[Reply]],
    ) -> Deferred[Reply]:
        # Now, and not when it is kept: InfluxDB may take another batch until then, and be back.
        self._away[batch.destination] = reply
        kept = spool.put(batch)
        return kept.addCallbacks(self._kept, otherwise, (spool, batch, reply), {}, (batch, reply), {})

    def _kept(self, _: None, spool: DiskSpool, batch: Batch, reply: Reply) -> Reply:
        self.keeps = True
        self._tally.kept_lines += batch.points
        if batch.destination in self._away:
            self._complaints.kept(batch.destination, reply.reason, spool.counts)
        self._put(batch.destination)
        return _KEPT

    def _send_after_all(self, failure: Failure, batch: Batch, _: Reply) -> Deferred[Reply]:
        """The spool takes nothing more, which is no reason to turn writers away: InfluxDB may be back, so ask it."""
        failure.trap(SpoolError)
        return self._send(batch)

    def _not_kept(self, failure: Failure, _: Batch, reply: Reply) -> Reply:
        failure.trap(SpoolError)
        self.keeps = False
        self._complaints.note(f"{reply.reason}; and {failure.getErrorMessage()}")
        return reply


class HomeUpstream:
    """An upstream that knows whose fault it is when a destination does not exist.

    :param upstream: where InfluxDB is.
    :param homes: the vendor's destinations; what is stored elsewhere makes it one of them.
    :param made_up: the fate of a batch for a destination that a stranger made up.
    """

    def __init__(self, upstream: Upstream, homes: Homes, made_up: Fate) -> None:
        self._upstream = upstream
        self._homes = homes
        self._made_up = made_up

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a batch; see :meth:`torfluxd.boundaries.Upstream.send`."""
        return self._upstream.send(batch).addCallback(judge, batch.destination, self._homes, self._made_up)


def judge(reply: Reply, destination: Destination, homes: Homes, made_up: Fate) -> Reply:
    """Whose fault it is when a destination does not exist; what is stored makes it the vendor's.

    :param made_up: the fate of what was sent to a destination that a stranger made up.
    """
    if reply.fate is Fate.DELIVERED:
        homes.stored(destination)
    elif reply.fate is Fate.NO_DESTINATION:
        return evolve(reply, fate=Fate.POSTPONE if homes.knows(destination) else made_up)
    return reply


_: tuple[type[Upstream], ...] = (Safekeeping, HomeUpstream)
