"""One way of a courier, out and back: straight-line code, with the ways in which it can be cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import Batch, Fate, Lease, Reply, Spool, Upstream

__all__ = ["Trip"]

_log = Logger()

_T = TypeVar("_T")

_STOPPED = Reply(Fate.POSTPONE, "the courier was stopped")


@define(eq=False)
class Trip:
    """Batches are borrowed, sent and given back, one at a time, until none is left or one is postponed.

    It owns what exists only on the way: the lease, the send in flight and, once it shall end, the deadline.

    :param spool: where the batches come from.
    :param upstream: where they go.
    :param settled: told the position of each batch that was delivered or rejected, as soon as the spool knows it.
    :param turns: one is taken for each batch, before it is borrowed and until it is given back.
    """

    _spool: Spool
    _upstream: Upstream
    _settled: Callable[[int], None]
    _turns: DeferredSemaphore
    _waiting: Deferred[Any] | None = field(default=None, init=False)
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
            reply = await self._carry_next()
            if reply is None:
                if not self._batch_put:
                    return None
            elif reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION):
                return reply

    async def _carry_next(self) -> Reply | None:
        """Carry the next batch when it is our turn.

        :returns: the reply to it, or None when there is none.
        """
        if self._abandoned:
            return _STOPPED
        try:
            await self._cancellable(self._turns.acquire())
        except CancelledError:
            return _STOPPED
        try:
            lease = await self._spool.lend()
            return None if lease is None else await self._carry(lease)
        finally:
            self._turns.release()

    async def _carry(self, lease: Lease) -> Reply:
        """Send one batch and give it back in the way the reply demands."""
        reply = await self._send(lease.batch)
        if reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION):
            await lease.put_back()
            return reply
        if reply.fate is Fate.DELIVERED:
            await lease.delivered()
        else:
            points = sum(refusal.points for refusal in reply.refused) or lease.batch.points
            _log.warn(
                "Points refused for their content: {points}; {reason}; they are set aside (torfluxd spool show)",
                points=points,
                reason=reply.reason,
            )
            await lease.rejected(reply.reason, reply.refused)
        self._settled(lease.position)
        return reply

    async def _send(self, batch: Batch) -> Reply:
        """Send one batch; whatever happens, there is a reply."""
        if self._abandoned:
            return _STOPPED
        try:
            return await self._cancellable(self._upstream.send(batch))
        except CancelledError:
            return Reply(Fate.POSTPONE, "the courier was stopped before there was an answer")
        except Exception:
            _log.failure("While a batch was sent")
            return Reply(Fate.POSTPONE, "sending failed in a way it should not")

    async def _cancellable(self, waiting: Deferred[_T]) -> _T:
        """Wait for what is cancelled when the trip is abandoned."""
        self._waiting = waiting
        try:
            return await waiting
        finally:
            self._waiting = None

    def _abandon(self) -> None:
        self._abandoned = True
        if self._waiting is not None:
            self._waiting.cancel()
