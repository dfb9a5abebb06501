"""Tests for `torfluxd.delivery.couriers`."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from tests.delivery.disk_case import DiskCase
from tests.delivery.doubles import DELIVERED, POSTPONED, REJECTED
from tests.delivery.spool_suite import DESTINATION
from torfluxd.boundaries import Batch, Destination, Fate, Reply, Upstream
from torfluxd.delivery.couriers import COURIERS_AT_ONCE, Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.steps import Bounds

OTHER = Destination("other")


@define(eq=False)
class ManyUpstream:
    """An upstream that holds the batch of each destination until the test answers, or answers at once.

    :ivar at_once: the answer for each destination that has one.
    """

    sent: list[Batch] = field(factory=list)
    in_flight: dict[Destination, Deferred[Reply]] = field(factory=dict)
    at_once: dict[Destination, Reply] = field(factory=dict)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Hold it, or answer."""
        where = batch.destination
        self.sent.append(batch)
        assert where not in self.in_flight, "one batch of a destination at a time"
        if where in self.at_once:
            return succeed(self.at_once[where])
        self.in_flight[where] = Deferred(lambda _: self.in_flight.pop(where))
        return self.in_flight[where]

    def answer(self, where: Destination, reply: Reply) -> None:
        """Answer the batch of a destination."""
        self.in_flight.pop(where).callback(reply)

    def lines(self, where: Destination) -> list[bytes]:
        """The lines of what was sent to a destination, in order."""
        return [batch.lines for batch in self.sent if batch.destination == where]


_upstream_type: type[Upstream] = ManyUpstream


def wait_ten_times_the_attempt(attempt: int) -> float:
    """A backoff that is easy to follow: 10 s, 20 s, 30 s."""
    return 10.0 * attempt


class CouriersCase(DiskCase):
    """Couriers between a spool on disk and an upstream that the test answers for."""

    def setUp(self) -> None:
        """Nothing is started, nothing is in the spool."""
        super().setUp()
        self.spool = self.open(Bounds())
        self.upstream = ManyUpstream()
        self.arrived: list[Destination] = []
        self.couriers = self.couriers_for(self.spool)

    def couriers_for(self, spool: DiskSpool) -> Couriers:
        """Couriers for a spool."""
        clock: IReactorTime = self.clock
        return Couriers(spool, self.upstream, clock, wait_ten_times_the_attempt, self.arrived.append)

    def put_for(self, where: Destination, *names: str) -> None:
        """Put batches of one point each, and say so."""
        for name in names:
            self.put(self.spool, Batch(where, name.encode(), 1))
        self.couriers.batch_put(where)


class CarryingTests(CouriersCase):
    """Couriers that were started carry."""

    def test_what_was_there(self) -> None:
        """What the spool holds when they are started is sent at once, for all destinations together."""
        self.put_for(DESTINATION, "a", "b")
        self.put_for(OTHER, "c")
        self.assertEqual((self.upstream.sent, len(self.couriers)), ([], 0))
        self.couriers.start()
        self.assertEqual([batch.lines for batch in self.upstream.sent], [b"a", b"c"])
        self.assertEqual(len(self.couriers), 2)

    def test_what_comes(self) -> None:
        """A batch for a destination that had none is sent as soon as they hear of it."""
        self.couriers.start()
        self.put_for(OTHER, "a")
        self.assertEqual(self.upstream.lines(OTHER), [b"a"])
        self.put_for(OTHER, "b")
        self.upstream.answer(OTHER, DELIVERED)
        self.assertEqual(self.upstream.lines(OTHER), [b"a", b"b"])

    def test_one_blocks_nobody(self) -> None:
        """A destination whose database was dropped waits, and the batches of others pass it by."""
        self.upstream.at_once = {OTHER: Reply(Fate.NO_DESTINATION, "there is no such database")}
        self.couriers.start()
        self.put_for(OTHER, "a")
        self.put_for(DESTINATION, "b", "c")
        self.upstream.answer(DESTINATION, DELIVERED)
        self.upstream.answer(DESTINATION, DELIVERED)
        self.assertEqual((self.spool.counts.delivered_points, self.spool.counts.points), (2, 1))
        self.upstream.at_once = {OTHER: DELIVERED}
        self.clock.advance(10)
        self.assertEqual((self.spool.counts.points, len(self.couriers)), (0, 0))

    def test_arrived(self) -> None:
        """Each batch that was delivered or rejected is told, when the spool knows it, and none that was postponed."""
        self.put_for(DESTINATION, "a", "b")
        self.put_for(OTHER, "c")
        self.couriers.start()
        self.upstream.answer(DESTINATION, DELIVERED)
        self.upstream.answer(OTHER, POSTPONED)
        self.assertEqual(self.arrived, [DESTINATION])
        self.upstream.answer(DESTINATION, REJECTED)
        self.assertEqual(self.arrived, [DESTINATION, DESTINATION])
        self.clock.advance(10)
        self.upstream.answer(OTHER, DELIVERED)
        self.assertEqual(self.arrived, [DESTINATION, DESTINATION, OTHER])

    def test_let_go(self) -> None:
        """When nothing is left for a destination its courier is let go, and nothing remains of it."""
        self.couriers.start()
        self.put_for(DESTINATION, "a")
        self.put_for(OTHER, "b")
        self.upstream.answer(OTHER, DELIVERED)
        self.assertEqual(len(self.couriers), 1)
        self.upstream.answer(DESTINATION, DELIVERED)
        self.assertEqual((len(self.couriers), self.clock.getDelayedCalls()), (0, []))
        self.put_for(OTHER, "c")
        self.assertEqual(self.upstream.lines(OTHER), [b"b", b"c"])

    def test_put_when_told(self) -> None:
        """A batch that is put while a courier is let go finds another one."""
        self.couriers = Couriers(
            self.spool,
            self.upstream,
            self.clock,
            wait_ten_times_the_attempt,
            lambda where: self.put_for(where, "b") if len(self.upstream.sent) == 1 else None,
        )
        self.couriers.start()
        self.put_for(OTHER, "a")
        self.upstream.answer(OTHER, DELIVERED)
        self.assertEqual(self.upstream.lines(OTHER), [b"a", b"b"])

    def test_few_at_once(self) -> None:
        """However many destinations there are, few batches are in flight or in memory, and each has its turn."""
        places = [Destination(f"{number}") for number in range(3 * COURIERS_AT_ONCE)]
        for place in places:
            self.put_for(place, "a", "b")
        self.couriers.start()
        self.assertEqual(set(self.upstream.in_flight), set(places[:COURIERS_AT_ONCE]))
        seen: list[Destination] = []
        while self.upstream.in_flight:
            self.assertLessEqual(len(self.upstream.in_flight), COURIERS_AT_ONCE)
            seen.append(next(iter(self.upstream.in_flight)))
            self.upstream.answer(seen[-1], DELIVERED)
        self.assertEqual(seen, places + places)
        self.assertEqual((self.spool.counts.points, len(self.couriers)), (0, 0))

    def test_started_twice(self) -> None:
        """A second start changes nothing."""
        self.put_for(OTHER, "a")
        self.couriers.start()
        self.couriers.start()
        self.assertEqual(self.upstream.lines(OTHER), [b"a"])


class FlushTests(CouriersCase):
    """`flush` carries what is there, for all destinations."""

    def test_until_all_is_settled(self) -> None:
        """It is done when what was there is settled for every destination."""
        self.put_for(DESTINATION, "a")
        self.put_for(OTHER, "b")
        self.couriers.start()
        flushed = self.couriers.flush(5)
        self.upstream.answer(DESTINATION, DELIVERED)
        self.assertNoResult(flushed)
        self.upstream.answer(OTHER, REJECTED)
        self.assertTrue(self.successResultOf(flushed))
        self.assertTrue(self.successResultOf(self.couriers.flush(5)))

    def test_a_rest(self) -> None:
        """It tries at once where a courier waits, and says at the deadline that something is left."""
        self.put_for(DESTINATION, "a")
        self.put_for(OTHER, "b")
        self.couriers.start()
        self.upstream.answer(OTHER, POSTPONED)
        flushed = self.couriers.flush(5)
        self.assertEqual(self.upstream.lines(OTHER), [b"b", b"b"])
        self.upstream.answer(DESTINATION, DELIVERED)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(flushed))

    def test_unannounced(self) -> None:
        """It carries what was put a moment ago, and not yet announced."""
        self.couriers.start()
        self.put(self.spool, Batch(OTHER, b"a", 1))
        flushed = self.couriers.flush(5)
        self.upstream.answer(OTHER, DELIVERED)
        self.assertTrue(self.successResultOf(flushed))

    def test_not_started(self) -> None:
        """Couriers that were not started carry nothing, and say whether anything is left."""
        self.assertTrue(self.successResultOf(self.couriers.flush(5)))
        self.put_for(OTHER, "a")
        self.assertFalse(self.successResultOf(self.couriers.flush(5)))

    def test_cancelled(self) -> None:
        """Cancelled it fails with CancelledError, and the batches in flight never notice."""
        self.put_for(DESTINATION, "a")
        self.put_for(OTHER, "b")
        self.couriers.start()
        flushed = self.couriers.flush(5)
        flushed.cancel()
        self.failureResultOf(flushed, CancelledError)
        for place in (DESTINATION, OTHER):
            self.upstream.answer(place, DELIVERED)
        self.assertEqual((self.spool.counts.delivered_points, self.clock.getDelayedCalls()), (2, []))


class StopTests(CouriersCase):
    """`stop` ends within its deadline, and loses nothing."""

    def test_deadline(self) -> None:
        """What is in flight at the deadline is cancelled and kept, what waits for its turn is kept, and nothing more
        is sent.
        """
        places = [Destination(f"{number}") for number in range(COURIERS_AT_ONCE + 3)]
        for place in places:
            self.put_for(place, "a")
        self.couriers.start()
        stopped = self.couriers.stop(5)
        self.clock.advance(4)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual((self.upstream.in_flight, self.clock.getDelayedCalls(), len(self.couriers)), ({}, [], 0))
        self.assertEqual(self.lines(self.spool), [b"a"] * len(places))

    def test_finishes(self) -> None:
        """What can be carried within the deadline is carried; what comes after the call is not."""
        self.couriers.start()
        self.put_for(OTHER, "a", "b")
        stopped = self.couriers.stop(5)
        self.put_for(DESTINATION, "c")
        self.upstream.answer(OTHER, DELIVERED)
        self.upstream.answer(OTHER, DELIVERED)
        self.successResultOf(stopped)
        self.assertEqual((self.spool.counts.delivered_points, self.upstream.lines(DESTINATION)), (2, []))

    def test_nothing_to_do(self) -> None:
        """Couriers without a batch, or never started, stop at once."""
        self.successResultOf(self.couriers.stop(5))
        self.couriers.start()
        self.successResultOf(self.couriers.stop(5))

    def test_started_again(self) -> None:
        """Started again after a stop, or while they stop, they take up where they were."""
        self.couriers.start()
        self.put_for(OTHER, "a")
        self.couriers.stop(5)
        self.clock.advance(5)
        self.couriers.start()
        stopped = self.couriers.stop(5)
        self.couriers.start()
        self.put_for(DESTINATION, "b")
        for place in (OTHER, DESTINATION):
            self.upstream.answer(place, DELIVERED)
        self.successResultOf(stopped)
        self.assertEqual((self.spool.counts.points, self.clock.getDelayedCalls()), (0, []))
        self.put_for(OTHER, "c")
        self.assertEqual(self.upstream.lines(OTHER), [b"a", b"a", b"c"])
