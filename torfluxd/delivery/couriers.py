"""One courier for each destination that has something in the spool, so that none of them waits for another's database.

They share what InfluxDB is asked at a time, in turns: whoever has carried a batch goes behind those who wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Destination, Reply, Upstream
from torfluxd.delivery.backoff import Backoff
from torfluxd.delivery.courier import Courier
from torfluxd.delivery.disk import DiskSpool

__all__ = ["COURIERS_AT_ONCE", "Couriers"]

COURIERS_AT_ONCE = 8
"""How many of them carry at a time, over all destinations, each with one batch in memory and one write in flight: so
many that some destinations which take no writes hold up nobody, and few beside the live writes."""


class Couriers:
    """Carries what a spool keeps, each destination's batches in their order, by a courier of its own.

    Couriers of destinations with nothing left are let go.

    :param spool: where the batches come from. Nobody else lends any.
    :param upstream: where they go.
    :param clock: for the waits and the deadlines.
    :param backoff: how long a courier waits after that many failed attempts in a row of its own.
    :param arrived: called with the destination each time that a batch of it was delivered or rejected, when the spool
        knows it: InfluxDB takes writes to it again.
    :param postponed: called with the destination and the reply each time that a batch of it was postponed. Whoever
        gives it says in the log that there is an outage, and that it ended; by default each courier does.
    """

    def __init__(
        self,
        spool: DiskSpool,
        upstream: Upstream,
        clock: IReactorTime,
        backoff: Backoff,
        arrived: Callable[[Destination], None],
        postponed: Callable[[Destination, Reply], None] | None = None,
    ) -> None:
        self._spool = spool
        self._upstream = upstream
        self._clock = clock
        self._backoff = backoff
        self._arrived = arrived
        self._postponed = postponed
        self._turns = DeferredSemaphore(COURIERS_AT_ONCE)
        self._couriers: dict[Destination, Courier] = {}
        self._running = False

    def __len__(self) -> int:
        """For how many destinations there is a courier."""
        return len(self._couriers)

    def start(self) -> None:
        """Begin to carry, with what the spool holds already. Couriers that were started go on."""
        self._running = True
        for courier in list(self._couriers.values()):
            courier.start()  # it may be stopping
        self._send_for_all()

    def batch_put(self, destination: Destination) -> None:
        """Say that the spool has kept another batch: who puts one says so after each put, or after several."""
        if not self._running:
            return
        courier = self._couriers.get(destination)
        if courier is None:
            self._send_for(destination)
        else:
            courier.batch_put()

    def flush(self, deadline_seconds: float) -> Deferred[bool]:
        """Carry everything that the spool keeps now, without waiting for the end of a backoff first.

        :param deadline_seconds: how long that may take, further attempts and the waits between them included.
        :returns: a Deferred that fires with True when each batch kept at the time of the call was delivered, rejected
            or dropped by the spool; with False when some were not before the deadline, or before the couriers were
            stopped: these stay in the spool. It fails with :class:`~twisted.internet.defer.CancelledError` when it is
            cancelled, which changes nothing for the batches.
        """
        return Deferred.fromCoroutine(self._flush(deadline_seconds))

    async def _flush(self, deadline_seconds: float) -> bool:
        if not self._running:
            return not self._spool.destinations
        self._send_for_all()
        flushes = [courier.flush(deadline_seconds) for courier in list(self._couriers.values())]
        try:
            settled: list[bool] = await gatherResults(flushes, consumeErrors=True)
        except FirstError as error:  # they fail in one way, when they are cancelled
            raise CancelledError from error
        return all(settled)

    def stop(self, deadline_seconds: float) -> Deferred[None]:
        """Carry what can be carried at once, then end.

        :param deadline_seconds: how long that may take; see :meth:`~torfluxd.delivery.courier.Courier.stop`.
        :returns: a Deferred that fires when nothing is under way any more; it never fails.
        """
        self._running = False
        return Deferred.fromCoroutine(self._stop(deadline_seconds))

    async def _stop(self, deadline_seconds: float) -> None:
        await DeferredList([courier.stop(deadline_seconds) for courier in list(self._couriers.values())])
        if not self._running:  # nobody has started them again meanwhile
            self._couriers.clear()

    def _send_for_all(self) -> None:
        for destination in list(self._spool.destinations):
            if destination not in self._couriers:
                self._send_for(destination)

    def _send_for(self, destination: Destination) -> None:
        courier = self._couriers[destination] = Courier(
            self._spool.only(destination),
            self._upstream,
            self._clock,
            self._backoff,
            settled=partial(self._arrived, destination),
            idle=partial(self._let_go, destination),
            postponed=None if self._postponed is None else partial(self._postponed, destination),
            turns=self._turns,
        )
        courier.start()

    def _let_go(self, destination: Destination) -> None:
        self._couriers.pop(destination, None)
