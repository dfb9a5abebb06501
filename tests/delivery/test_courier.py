"""Tests for `torfluxd.delivery.courier`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.doubles import DELIVERED, POSTPONED, REJECTED, HeldUpstream, SlowSpool
from torfluxd.boundaries import Batch, Destination, Fate, Reply, Spool
from torfluxd.delivery.courier import Courier
from torfluxd.delivery.spool import MemorySpool

DESTINATION = Destination("telemetry")


def wait_ten_times_the_attempt(attempt: int) -> float:
    """A backoff that is easy to follow: 10 s, 20 s, 30 s."""
    return 10.0 * attempt


class CourierCase(SynchronousTestCase):
    """A courier between a spool in memory and an upstream that the test answers for."""

    def setUp(self) -> None:
        """Nothing is started, nothing is in the spool."""
        self.clock = Clock()
        self.spool = MemorySpool(100_000)
        self.upstream = HeldUpstream()
        self.courier = self.courier_for(self.spool)

    def courier_for(self, spool: Spool) -> Courier:
        """Another courier with the same upstream and clock."""
        return Courier(spool, self.upstream, self.clock, wait_ten_times_the_attempt)

    def put(self, *names: str) -> None:
        """Put batches of one point each, and say so."""
        for name in names:
            self.successResultOf(self.spool.put(Batch(DESTINATION, name.encode(), 1)))
        self.courier.batch_put()

    def names_in_spool(self) -> list[bytes]:
        """What the spool would lend, oldest first."""
        names: list[bytes] = []
        leases = []
        while (lease := self.successResultOf(self.spool.lend())) is not None:
            leases.append(lease)
            names.append(lease.batch.lines)
        for lease in leases:
            lease.put_back()
        return names


class CarryingTests(CourierCase):
    """A courier that was started carries."""

    def test_what_was_there(self) -> None:
        """What the spool holds when the courier is started is sent at once."""
        self.put("a")
        self.courier.start()
        self.assertEqual(self.upstream.names(), [b"a"])

    def test_what_comes(self) -> None:
        """A batch that comes while the courier is idle is sent as soon as the courier hears of it."""
        self.courier.start()
        self.put("a")
        self.assertEqual(self.upstream.names(), [b"a"])

    def test_one_at_a_time(self) -> None:
        """Batches go one at a time, oldest first, each as soon as the one before it is delivered."""
        self.courier.start()
        self.put("a", "b", "c")
        for sent in ([b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
            self.assertEqual(self.upstream.names(), sent)
            self.upstream.answer(DELIVERED)
        self.assertEqual(self.spool.counts.delivered_points, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_comes_on_the_way(self) -> None:
        """A batch that comes while another is in flight follows it."""
        self.courier.start()
        self.put("a")
        self.put("b")
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.upstream.names(), [b"a", b"b"])

    def test_many_at_once(self) -> None:
        """An upstream that answers at once drains a spool of thousands of batches."""

        class Ready:
            def send(self, batch: Batch) -> Deferred[Reply]:
                answer: Deferred[Reply] = Deferred()
                answer.callback(DELIVERED)
                return answer

        spool = MemorySpool(10_000_000)
        for number in range(5000):
            self.successResultOf(spool.put(Batch(DESTINATION, b"%d" % number, 1)))
        Courier(spool, Ready(), self.clock, wait_ten_times_the_attempt).start()
        self.assertEqual(spool.counts.delivered_points, 5000)

    def test_rejected(self) -> None:
        """A rejected batch is set aside with its reason, the log counts its points, and the next goes at once."""
        self.courier.start()
        with capturedLogs() as events:
            self.put("a", "b")
            self.upstream.answer(REJECTED)
        [letter] = self.spool.dead_letters
        self.assertEqual((letter.batch.lines, letter.reason), (b"a", "field type conflict"))
        self.assertEqual(self.upstream.names(), [b"a", b"b"])
        self.assertEqual([(event["points"], event["reason"]) for event in events], [(1, "field type conflict")])

    def test_started_twice(self) -> None:
        """A second start changes nothing, whatever the courier is doing."""
        self.courier.start()
        self.courier.start()
        self.put("a")
        self.courier.start()
        self.assertEqual(self.upstream.names(), [b"a"])
        self.upstream.answer(POSTPONED)
        self.courier.start()
        self.assertEqual(self.upstream.names(), [b"a"])


class WaitingTests(CourierCase):
    """A courier whose batch was postponed waits, and tries again."""

    def test_put_back(self) -> None:
        """A postponed batch is the first to go after the wait, and is not lost or doubled meanwhile."""
        self.courier.start()
        self.put("a", "b")
        self.upstream.answer(POSTPONED)
        self.assertEqual(self.names_in_spool(), [b"a", b"b"])
        self.clock.advance(9.9)
        self.assertEqual(self.upstream.names(), [b"a"])
        self.clock.advance(0.1)
        self.assertEqual(self.upstream.names(), [b"a", b"a"])

    def test_longer_and_longer(self) -> None:
        """Each further failure asks the backoff for a longer wait."""
        self.courier.start()
        self.put("a")
        for wait in (10, 20, 30):
            self.upstream.answer(POSTPONED)
            [call] = self.clock.getDelayedCalls()
            self.assertEqual(call.getTime() - self.clock.seconds(), wait)
            self.clock.advance(wait)

    def test_starts_afresh(self) -> None:
        """After a delivery, or a rejection, the next failure is the first again."""
        for good in (DELIVERED, REJECTED):
            clock, spool, upstream = Clock(), MemorySpool(100_000), HeldUpstream()
            courier = Courier(spool, upstream, clock, wait_ten_times_the_attempt)
            for name in (b"a", b"b"):
                self.successResultOf(spool.put(Batch(DESTINATION, name, 1)))
            courier.start()
            upstream.answer(POSTPONED)
            clock.advance(10)
            upstream.answer(good)
            upstream.answer(POSTPONED)
            [call] = clock.getDelayedCalls()
            self.assertEqual(call.getTime() - clock.seconds(), 10)

    def test_retry_after(self) -> None:
        """When the other side asks for a pause, the courier does not come back before it is over."""
        self.courier.start()
        self.put("a")
        self.upstream.answer(Reply(Fate.POSTPONE, "overloaded", 503, retry_after_seconds=120))
        self.clock.advance(120)
        self.assertEqual(len(self.upstream.sent), 1)
        self.clock.advance(10)
        self.assertEqual(len(self.upstream.sent), 2)

    def test_new_batches_wait_too(self) -> None:
        """A batch that comes during the wait ends it for nobody, and goes in its turn."""
        self.courier.start()
        self.put("a")
        self.upstream.answer(POSTPONED)
        self.put("b")
        self.assertEqual(self.upstream.names(), [b"a"])
        self.clock.advance(10)
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.upstream.names(), [b"a", b"a", b"b"])

    def test_log(self) -> None:
        """The log tells once that an outage began, with its reason, and once that it ended."""
        self.courier.start()
        with capturedLogs() as events:
            self.put("a")
            for attempt in (1, 2):
                self.upstream.answer(POSTPONED)
                self.clock.advance(10 * attempt)
            self.upstream.answer(DELIVERED)
        told = [event for event in events if event["log_level"].name != "debug"]
        self.assertEqual([event["log_level"].name for event in told], ["warn", "info"])
        self.assertEqual((told[0]["reason"], told[1]["attempts"]), ("nobody answered", 2))

    def test_log_of_others(self) -> None:
        """Whoever is told of each postponed batch says that himself, and the log has it from nobody else."""
        told: list[Reply] = []
        courier = Courier(self.spool, self.upstream, self.clock, wait_ten_times_the_attempt, postponed=told.append)
        courier.start()
        with capturedLogs() as events:
            self.successResultOf(self.spool.put(Batch(DESTINATION, b"a", 1)))
            courier.batch_put()
            for attempt in (1, 2):
                self.upstream.answer(POSTPONED)
                self.clock.advance(10 * attempt)
            self.upstream.answer(DELIVERED)
        self.assertEqual([event for event in events if event["log_level"].name != "debug"], [])
        self.assertEqual(told, [POSTPONED, POSTPONED])

    def test_upstream_breaks_its_contract(self) -> None:
        """An upstream that fails instead of answering costs nothing: it is logged, and the batch goes again."""
        self.courier.start()
        self.put("a")
        self.upstream.break_down(ZeroDivisionError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(10)
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.spool.counts.delivered_points, 1)


class FlushTests(CourierCase):
    """`flush` carries what is there."""

    def test_nothing_there(self) -> None:
        """With nothing to carry a flush is done at once, whether the courier was started or not."""
        self.assertTrue(self.successResultOf(self.courier.flush(5)))
        self.courier.start()
        self.assertTrue(self.successResultOf(self.courier.flush(5)))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """A courier that was not started carries nothing: the flush says at once that something is left."""
        self.put("a")
        self.assertFalse(self.successResultOf(self.courier.flush(5)))

    def test_until_delivered(self) -> None:
        """A flush ends when the last batch that was there is settled, whether delivered or rejected."""
        self.courier.start()
        self.put("a", "b")
        flushed = self.courier.flush(5)
        self.upstream.answer(DELIVERED)
        self.assertNoResult(flushed)
        self.upstream.answer(REJECTED)
        self.assertTrue(self.successResultOf(flushed))

    def test_not_what_comes_later(self) -> None:
        """What comes after the call is not waited for."""
        self.courier.start()
        self.put("a")
        flushed = self.courier.flush(5)
        self.put("b")
        self.upstream.answer(DELIVERED)
        self.assertTrue(self.successResultOf(flushed))
        self.assertEqual(self.spool.counts.points, 1)

    def test_what_was_dropped(self) -> None:
        """A batch that the spool dropped meanwhile is settled too."""
        self.spool = MemorySpool(600)
        self.courier = self.courier_for(self.spool)
        self.courier.start()
        self.put("a", "b")
        flushed = self.courier.flush(5)
        self.put("c")  # there is room for two: b is given up
        self.upstream.answer(DELIVERED)
        self.assertNoResult(flushed)
        self.upstream.answer(DELIVERED)
        self.assertTrue(self.successResultOf(flushed))
        self.assertEqual(self.upstream.names(), [b"a", b"c"])

    def test_does_not_wait(self) -> None:
        """A flush during an outage tries at once, then with the waits of the backoff, until its deadline."""
        self.courier.start()
        self.put("a")
        self.upstream.answer(POSTPONED)
        flushed = self.courier.flush(25)
        self.assertEqual(len(self.upstream.sent), 2)
        self.upstream.answer(POSTPONED)
        self.clock.advance(20)
        self.assertEqual(len(self.upstream.sent), 3)
        self.assertNoResult(flushed)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(flushed))
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.spool.counts.delivered_points, 1)

    def test_cancelled(self) -> None:
        """A flush that is cancelled fails with CancelledError, and the batch in flight never notices."""
        self.courier.start()
        self.put("a")
        flushed = self.courier.flush(5)
        flushed.cancel()
        self.failureResultOf(flushed, CancelledError)
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.spool.counts.delivered_points, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_from_its_callback(self) -> None:
        """Stopping the courier when a flush is done is a natural thing to do, and works."""
        self.courier.start()
        self.put("a")
        stopped = self.courier.flush(5).addCallback(lambda _: self.courier.stop(5))
        self.upstream.answer(DELIVERED)
        self.successResultOf(stopped)
        self.successResultOf(self.courier.flush(5).addCallback(lambda _: self.courier.stop(5)))

    def test_ended_by_the_stop(self) -> None:
        """A flush that a stop overtakes says that something is left."""
        self.courier.start()
        self.put("a")
        flushed = self.courier.flush(50)
        self.courier.stop(5)
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(flushed))


class StopTests(CourierCase):
    """`stop` ends within its deadline, and loses nothing."""

    def test_nothing_to_do(self) -> None:
        """An idle courier, or one never started, stops at once."""
        self.successResultOf(self.courier.stop(5))
        self.courier.start()
        self.successResultOf(self.courier.stop(5))
        self.put("a")
        self.assertEqual(self.upstream.names(), [])

    def test_finishes(self) -> None:
        """What can be carried within the deadline is carried before the stop is done."""
        self.courier.start()
        self.put("a", "b")
        stopped = self.courier.stop(5)
        self.upstream.answer(DELIVERED)
        self.assertNoResult(stopped)
        self.upstream.answer(DELIVERED)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadline(self) -> None:
        """A batch still in flight at the deadline is cancelled and kept, and nothing else is begun."""
        self.courier.start()
        self.put("a", "b")
        stopped = self.courier.stop(5)
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assertEqual(self.upstream.cancelled, 1)
        self.assertEqual(self.upstream.names(), [b"a"])
        self.assertEqual(self.names_in_spool(), [b"a", b"b"])

    def test_postponed(self) -> None:
        """A batch that is postponed while the courier stops is kept, and the stop does not wait for its deadline."""
        self.courier.start()
        self.put("a")
        stopped = self.courier.stop(5)
        self.upstream.answer(POSTPONED)
        self.successResultOf(stopped)
        self.assertEqual(self.names_in_spool(), [b"a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_while_waiting(self) -> None:
        """A courier that waits out an outage tries once more before it stops."""
        self.courier.start()
        self.put("a")
        self.upstream.answer(POSTPONED)
        stopped = self.courier.stop(5)
        self.assertEqual(self.upstream.names(), [b"a", b"a"])
        self.upstream.answer(POSTPONED)
        self.successResultOf(stopped)
        self.assertEqual(self.names_in_spool(), [b"a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_twice(self) -> None:
        """Everybody who stops it is told when it has stopped; the first deadline holds."""
        self.courier.start()
        self.put("a")
        first, second = self.courier.stop(5), self.courier.stop(60)
        self.clock.advance(5)
        self.successResultOf(first)
        self.successResultOf(second)

    def test_started_again(self) -> None:
        """A courier that is started again after a stop takes up where it was."""
        self.courier.start()
        self.put("a")
        self.courier.stop(5)
        self.clock.advance(5)
        self.courier.start()
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.spool.counts.delivered_points, 1)

    def test_started_again_meanwhile(self) -> None:
        """A start that comes while the courier stops is not forgotten: the stop is done first, then it goes on."""
        for reply in (DELIVERED, POSTPONED):
            clock, spool, upstream = Clock(), MemorySpool(100_000), HeldUpstream()
            courier = Courier(spool, upstream, clock, wait_ten_times_the_attempt)
            self.successResultOf(spool.put(Batch(DESTINATION, b"a", 1)))
            courier.start()
            stopped = courier.stop(5)
            courier.start()
            upstream.answer(reply)
            self.successResultOf(stopped)
            self.successResultOf(spool.put(Batch(DESTINATION, b"b", 1)))
            courier.batch_put()
            clock.advance(10)
            self.assertEqual(len(upstream.in_flight), 1)

    def test_last_word_is_stop(self) -> None:
        """Stopped, started and stopped again while a batch is in flight, the courier is stopped in the end."""
        self.courier.start()
        self.put("a")
        self.courier.stop(5)
        self.courier.start()
        stopped = self.courier.stop(5)
        self.upstream.answer(DELIVERED)
        self.successResultOf(stopped)
        self.put("b")
        self.assertEqual(self.upstream.names(), [b"a"])


class HookTests(CourierCase):
    """Whoever has several couriers hears of each, and lets them carry in turns."""

    def setUp(self) -> None:
        """A courier that says what it does."""
        super().setUp()
        self.heard: list[str] = []
        self.turns = DeferredSemaphore(1)
        self.courier = self.hooked(self.spool, "first")

    def hooked(self, spool: Spool, name: str) -> Courier:
        """A courier that shares the turns."""
        return Courier(
            spool,
            self.upstream,
            self.clock,
            wait_ten_times_the_attempt,
            settled=lambda: self.heard.append(f"{name} settled"),
            idle=lambda: self.heard.append(f"{name} idle"),
            turns=self.turns,
        )

    def test_settled(self) -> None:
        """It tells of each batch that was delivered or rejected, not of one that was postponed, and when it rests."""
        self.courier.start()
        self.put("a", "b")
        self.upstream.answer(POSTPONED)
        self.clock.advance(10)
        self.assertEqual(self.heard, ["first idle"])
        self.upstream.answer(DELIVERED)
        self.assertEqual(self.heard[1:], ["first settled"])
        self.upstream.answer(REJECTED)
        self.assertEqual(self.heard[1:], ["first settled", "first settled", "first idle"])

    def test_turns(self) -> None:
        """Two that share one turn carry by turns, and who waits for his holds no batch."""
        other_spool = MemorySpool(100_000)
        other = self.hooked(other_spool, "second")
        for spool, names in ((self.spool, (b"a", b"b")), (other_spool, (b"x", b"y"))):
            for name in names:
                self.successResultOf(spool.put(Batch(DESTINATION, name, 1)))
        self.courier.start()
        other.start()
        lease = self.successResultOf(other_spool.lend())
        assert lease is not None
        self.assertEqual(lease.position, 1)
        lease.put_back()
        for _ in range(4):
            self.upstream.answer(DELIVERED)
        self.assertEqual(self.upstream.names(), [b"a", b"x", b"b", b"y"])

    def test_stopped_while_it_waits_for_its_turn(self) -> None:
        """One that waits for its turn longer than it has to stop, stops, and holds no turn."""
        self.turns.acquire()
        self.courier.start()
        self.put("a")
        stopped, flushed = self.courier.stop(5), self.courier.flush(60)
        self.clock.advance(5)
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(flushed))
        self.turns.release()
        self.assertEqual((self.turns.tokens, self.names_in_spool()), (1, [b"a"]))


class SlowSpoolTests(CourierCase):
    """The courier and a spool that takes its time, and fails at times."""

    def setUp(self) -> None:
        """The same spool, behind a slow one."""
        super().setUp()
        self.slow = SlowSpool(self.clock, self.spool)
        self.courier = self.courier_for(self.slow)

    def test_put_during_the_look(self) -> None:
        """A batch that comes while the spool is looking for one, and finds none, is not overlooked."""
        self.courier.start()
        self.clock.advance(0.5)
        self.put("a")
        self.clock.pump([0.5, 1])
        self.assertEqual(self.upstream.names(), [b"a"])

    def test_flush_and_stop_during_the_look(self) -> None:
        """A flush and a stop that come while the spool is looking are both told when it finds nothing."""
        self.courier.start()
        stopped, flushed = self.courier.stop(5), self.courier.flush(5)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertTrue(self.successResultOf(flushed))

    def test_flush_when_a_batch_came_after_the_last_look(self) -> None:
        """A flush that a stop overtakes does not call a batch settled that came after the last look."""
        self.courier.start()
        stopped = self.courier.stop(5)
        self.put("a")
        flushed = self.courier.flush(5)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertFalse(self.successResultOf(flushed))

    def test_spool_fails(self) -> None:
        """A spool that fails is logged and tried again after the backoff; nothing is lost."""
        self.put("a")
        self.slow.error = OSError("no space left on device")
        self.courier.start()
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.slow.error = None
        self.clock.pump([10, 1])
        self.upstream.answer(DELIVERED)
        self.clock.advance(1)
        self.assertEqual(self.spool.counts.delivered_points, 1)

    def test_spool_fails_is_no_outage(self) -> None:
        """Whoever is told of postponed batches is not told of a spool that fails: the log says that."""
        self.put("a")
        self.slow.error = OSError("no space left on device")
        told: list[Reply] = []
        Courier(self.slow, self.upstream, self.clock, wait_ten_times_the_attempt, postponed=told.append).start()
        self.clock.advance(1)
        self.assertEqual((len(self.flushLoggedErrors(OSError)), told), (1, []))

    def test_spool_fails_to_forget(self) -> None:
        """A batch that was delivered, but could not be taken out of the spool, is sent again: twice, not never."""
        self.put("a")
        self.courier.start()
        self.clock.advance(1)
        self.slow.error = OSError("input/output error")
        self.upstream.answer(DELIVERED)
        self.clock.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.slow.error = None
        self.clock.pump([10, 1])
        self.assertEqual(self.upstream.names(), [b"a", b"a"])

    def test_deadline_during_the_look(self) -> None:
        """A batch that the spool lends after the deadline of a stop is not sent, but put back."""
        self.put("a")
        self.courier.start()
        stopped = self.courier.stop(0.5)
        self.clock.pump([0.5, 0.5])
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.upstream.names(), [])
        self.assertEqual(self.names_in_spool(), [b"a"])


ANSWERS = st.sampled_from([DELIVERED, DELIVERED, POSTPONED, REJECTED])
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 7.0, 30.0])
STEPS = st.lists(
    st.one_of(
        st.just(("put",)),
        st.just(("start",)),
        st.just(("toggle_error",)),
        st.tuples(st.just("answer"), ANSWERS),
        st.tuples(st.sampled_from(["advance", "stop", "flush"]), SECONDS),
    ),
    max_size=40,
)


class RandomLife:
    """A courier to which anything may happen; what must always hold is checked on the way."""

    def __init__(self, case: SynchronousTestCase, slow: bool) -> None:
        self.case = case
        self.clock = Clock()
        self.memory = MemorySpool(100_000)
        self.slow = SlowSpool(self.clock, self.memory)
        self.upstream = HeldUpstream()
        self.courier = Courier(
            self.slow if slow else self.memory, self.upstream, self.clock, wait_ten_times_the_attempt
        )
        self.stops: list[Deferred[None]] = []
        self.flushes: list[Deferred[None]] = []

    def put(self) -> None:
        """Put a batch that is named by its position."""
        self.memory.put(Batch(DESTINATION, b"%d" % (self.memory.counts.newest + 1), 1))
        self.courier.batch_put()

    def start(self) -> None:
        """Start it."""
        self.courier.start()

    def toggle_error(self) -> None:
        """The disk fails, or works again."""
        self.slow.error = None if self.slow.error else OSError("input/output error")

    def answer(self, reply: Reply) -> None:
        """Answer what is in flight, if anything is."""
        if self.upstream.in_flight:
            self.upstream.answer(reply)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    def stop(self, deadline_seconds: float) -> None:
        """Stop it."""
        self.stops.append(self.courier.stop(deadline_seconds))

    def flush(self, deadline_seconds: float) -> None:
        """Flush; when it says that all was settled, nothing of it may be kept any more."""
        newest = self.memory.counts.newest

        def check(settled: bool) -> None:
            if settled:
                self.case.assertEqual([position for position in self.kept() if position <= newest], [])

        self.flushes.append(self.courier.flush(deadline_seconds).addCallback(check))

    def kept(self) -> list[int]:
        """The positions of what the spool keeps and does not lend, and of what is in flight."""
        leases = []
        while (lease := self.case.successResultOf(self.memory.lend())) is not None:
            leases.append(lease)
        for lease in leases:
            lease.put_back()
        in_flight = [int(self.upstream.sent[-1].lines)] if self.upstream.in_flight else []
        return [lease.position for lease in leases] + in_flight

    def check(self) -> None:
        """One batch in flight at most, and every point is somewhere."""
        counts = self.memory.counts
        self.case.assertLessEqual(len(self.upstream.in_flight), 1)
        self.case.assertEqual(counts.points + counts.delivered_points + counts.rejected_points, counts.newest)

    def end(self) -> None:
        """Stop for good: whoever waits is told, nothing is in flight, no delayed call is left."""
        self.stop(1)
        self.clock.pump([1.0] * 90)
        for waiter in [*self.stops, *self.flushes]:
            self.case.successResultOf(waiter)
        self.case.assertEqual((self.upstream.in_flight, self.clock.getDelayedCalls()), ([], []))
        self.case.assertEqual(len(self.kept()), self.memory.counts.points)


class RandomLifeTests(SynchronousTestCase):
    """The courier under random inputs."""

    @settings(max_examples=300, deadline=None)
    @given(slow=st.booleans(), steps=STEPS)
    def test_random_life(self, slow: bool, steps: list[tuple[str] | tuple[str, object]]) -> None:
        """Whatever happens in whatever order, no input is out of place, no point is lost, every waiter is told."""
        life = RandomLife(self, slow)
        for name, *arguments in steps:
            getattr(life, name)(*arguments)
            life.check()
        life.end()
        self.flushLoggedErrors(OSError)
        self.assertEqual(self.flushLoggedErrors(), [])

    @settings(deadline=None)
    @given(slow=st.booleans(), steps=STEPS)
    def test_all_delivered_in_the_end(self, slow: bool, steps: list[tuple[str] | tuple[str, object]]) -> None:
        """Whatever happened before, a started courier whose spool and upstream work delivers all that is kept."""
        life = RandomLife(self, slow)
        for name, *arguments in steps:
            getattr(life, name)(*arguments)
        life.slow.error = None
        life.start()
        for _ in range(200):
            life.answer(DELIVERED)
            life.clock.pump([1.0] * 4)
        life.clock.advance(10_000)
        for _ in range(50):
            life.answer(DELIVERED)
            life.clock.pump([1.0] * 4)
        self.assertEqual(life.memory.counts.points, 0)
        life.end()
        self.flushLoggedErrors(OSError)
