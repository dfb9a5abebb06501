"""One way of a courier, out and back: straight-line code, with the ways in which it can be cut short."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import Batch, Fate, Lease, Reply, Spool, Upstream

__all__ = ["Trip"]

_log = Logger()


@define(eq=False)
class Trip:
    """Batches are borrowed, sent and given back, one at a time, until none is left or one is postponed.

    It owns what exists only on the way: the lease, the send in flight and, once it shall end, the deadline.

    :param spool: where the batches come from.
    :param upstream: where they go.
    :param settled: told the position of each batch that was delivered or rejected, as soon as the spool knows it.
    """

    _spool: Spool
    _upstream: Upstream
    _settled: Callable[[int], None]
    _sending: Deferred[Reply] | None = field(default=None, init=False)
    _deadline: IDelayedCall | None = field(default=None, init=False)
    _batch_put: bool = field(default=False, init=False)
    _abandoned: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)

    async def make(self) -> Reply | None:
        """Make the trip, once.

        :returns: the reply by which a batch was postponed, or None when the spool has nothing left to lend.
        :raises Exception: what the spool failed with. What the upstream fails with against its contract is logged,
            and postpones the batch.
        """
        try:
            return await self._carry_all()
        finally:
            self._ended = True
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()

    def batch_put(self) -> None:
        """A batch came into the spool: a look that is under way may have missed it, so look again."""
        self._batch_put = True

    def end_within(self, clock: IReactorTime, deadline_seconds: float) -> None:
        """Abandon the trip if it is still under way by then: the send in flight is cancelled, its batch put back."""
        if not self._ended:
            self._deadline = clock.callLater(deadline_seconds, self._abandon)

    async def _carry_all(self) -> Reply | None:
        while True:
            self._batch_put = False
            lease = await self._spool.lend()
            if lease is not None:
                reply = await self._carry(lease)
                if reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION):
                    return reply
            elif not self._batch_put:
                return None

    async def _carry(self, lease: Lease) -> Reply:
        """Send one batch and give it back in the way the reply demands."""
        reply = await self._send(lease.batch)
        if reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION):
            await lease.put_back()
            return reply
        if reply.fate is Fate.DELIVERED:
            await lease.delivered()
        else:
            points = lease.batch.points
            _log.warn("Points refused for their content: {points}; {reason}", points=points, reason=reply.reason)
            await lease.rejected(reply.reason, reply.refused)
        self._settled(lease.position)
        return reply

    async def _send(self, batch: Batch) -> Reply:
        """Send one batch; whatever happens, there is a reply."""
        if self._abandoned:
            return Reply(Fate.POSTPONE, "the courier was stopped")
        try:
            self._sending = self._upstream.send(batch)
            return await self._sending
        except CancelledError:
            return Reply(Fate.POSTPONE, "the courier was stopped before there was an answer")
        except Exception:
            _log.failure("While a batch was sent")
            return Reply(Fate.POSTPONE, "sending failed in a way it should not")
        finally:
            self._sending = None

    def _abandon(self) -> None:
        self._abandoned = True
        if self._sending is not None:
            self._sending.cancel()
