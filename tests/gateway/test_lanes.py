"""Many small writes become one, and each writer hears the truth about his own lines."""

from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Batch, Destination, Fate, Reply, Upstream
from torfluxd.gateway.lanes import MAX_BATCH_BYTES, MAX_BATCH_POINTS, MAX_SUSPECTS, SUSPECT_SECONDS, Lanes

HOME = Destination("telemetry")
STORED = Reply(Fate.DELIVERED, status=204)
AWAY = Reply(Fate.POSTPONE, "connection refused")
BAD = b"bad"


@define
class Slow:
    """An upstream that answers when the test says so; it refuses what has a bad line in it, as InfluxDB does."""

    sent: list[tuple[Batch, Deferred[Reply]]] = field(factory=list)
    stored: set[bytes] = field(factory=set)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Take a batch."""
        self.sent.append((batch, Deferred()))
        return self.sent[-1][1]

    def answer(self, reply: Reply | None = None) -> Batch:
        """Answer the batch that waits, truly unless told otherwise."""
        batch, waiting = self.sent[-1]
        assert not waiting.called, "nothing is in flight"
        lines = batch.lines.split(b"\n")
        if reply is None:
            self.stored.update(line for line in lines if not line.startswith(BAD))
            first = next((line for line in lines if line.startswith(BAD)), None)
            reply = STORED if first is None else Reply(Fate.REJECT, status=400, body=first)
        waiting.callback(reply)
        return batch

    @property
    def waiting(self) -> bool:
        """Whether something is in flight."""
        return bool(self.sent) and not self.sent[-1][1].called

    def answer_all(self) -> None:
        """Answer truly, until nothing is in flight."""
        while self.waiting:
            self.answer()


_: type[Upstream] = Slow


class LanesCase(SynchronousTestCase):
    """Lanes to an upstream that is ours to play."""

    def setUp(self) -> None:
        """Begin idle."""
        self.clock = Clock()
        self.upstream = Slow()
        self.lanes = Lanes(self.upstream, self.clock)

    def write(self, lines: bytes, writer: object = "someone", destination: Destination = HOME) -> Deferred[Reply]:
        """Write one body."""
        return self.lanes.write(destination, lines, lines.count(b"\n") + 1, writer)

    def travelled(self) -> list[bytes]:
        """What went upstream, write by write."""
        return [batch.lines for batch, _ in self.upstream.sent]


class JoiningTests(LanesCase):
    """Newcomers gather while a write is in flight."""

    def test_an_idle_lane_sends_at_once(self) -> None:
        """A write to an idle lane leaves at once, as it is."""
        reply = self.write(b"m v=1 1")
        self.assertEqual([b"m v=1 1"], self.travelled())
        self.upstream.answer()
        self.assertEqual(STORED, self.successResultOf(reply))
        self.assertEqual(0, len(self.lanes))

    def test_those_who_come_meanwhile_travel_together(self) -> None:
        """Writes that come while one is in flight travel in one write, and are all answered by it."""
        first = self.write(b"m v=1 1")
        others = [self.write(b"m v=1 %d" % number, number) for number in range(2, 102)]
        self.upstream.answer()
        self.successResultOf(first)
        batch = self.upstream.answer()
        self.assertEqual(100, batch.points)
        self.assertEqual([STORED] * 100, [self.successResultOf(other) for other in others])
        self.assertEqual(2, len(self.upstream.sent))

    def test_destinations_do_not_wait_for_each_other(self) -> None:
        """Each destination has its own write in flight."""
        self.write(b"m v=1 1")
        self.write(b"m v=1 1", destination=Destination("telemetry", "week"))
        self.assertEqual(2, len(self.upstream.sent))

    def test_a_write_has_its_bounds(self) -> None:
        """A joined write is bounded in bytes and in points; what does not fit travels in the next."""
        self.write(b"first v=1 1")
        big = b"m v=1 1\n" * (MAX_BATCH_POINTS // 2 - 1) + b"m v=1 1"
        for number in range(3):
            self.write(big, number)
        long = b'm s="' + b"x" * (MAX_BATCH_BYTES // 2) + b'" 1'
        for number in range(3, 5):
            self.write(long, number)
        self.upstream.answer_all()
        for batch, _ in self.upstream.sent:
            self.assertLessEqual(batch.points, MAX_BATCH_POINTS)
            self.assertLessEqual(len(batch.lines), MAX_BATCH_BYTES)
        self.assertEqual(4, len(self.upstream.sent))

    def test_writers_have_their_turns(self) -> None:
        """A writer with a thousand bodies does not keep one with a single body waiting."""
        self.write(b"m v=1 1")
        body = b"m v=1 1\n" * 999 + b"m v=1 1"
        for _ in range(1000):
            self.write(body, "many")
        single = self.write(b"m v=1 2", "single")
        self.upstream.answer()
        self.upstream.answer()
        self.successResultOf(single)

    def test_a_writer_who_goes_away_disturbs_nobody(self) -> None:
        """Whoever goes away while his lines travel disturbs neither the batch nor the others."""
        self.write(b"m v=1 1")
        gone, stays = self.write(b"m v=1 2", 2), self.write(b"m v=1 3", 3)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.upstream.answer_all()
        self.assertEqual(STORED, self.successResultOf(stays))
        self.assertIn(b"m v=1 2", self.upstream.stored)

    def test_an_outage_is_everybodys(self) -> None:
        """When InfluxDB cannot be reached, all of the batch hear that, and none is a suspect for it."""
        self.write(b"m v=1 1")
        others = [self.write(b"m v=1 %d" % number, number) for number in range(9)]
        self.upstream.answer(AWAY)
        self.upstream.answer(AWAY)
        self.assertEqual([AWAY] * 9, [self.successResultOf(other) for other in others])


class RefusalTests(LanesCase):
    """A refused write is cut in two until each has his own answer."""

    def test_a_neighbours_bad_line_costs_nobody_anything(self) -> None:
        """One bad body among a hundred: its writer alone is refused, with InfluxDB's own words; the rest is stored."""
        self.write(b"first v=1 1")
        replies = [self.write(b"m v=1 %d" % number if number != 42 else BAD, number) for number in range(100)]
        self.upstream.answer_all()
        told = [self.successResultOf(reply) for reply in replies]
        self.assertEqual([42], [number for number, reply in enumerate(told) if reply.fate is Fate.REJECT])
        self.assertEqual(BAD, told[42].body)
        self.assertEqual(100, len(self.upstream.stored))

    @given(st.lists(st.booleans(), min_size=1, max_size=60))
    def test_everybody_hears_the_truth(self, good: list[bool]) -> None:
        """Whoever is good is stored and told so, whoever is bad is refused, in whatever company."""
        self.setUp()
        self.write(b"first v=1 1")
        replies = [self.write(b"m v=1 %d" % n if fine else BAD + b"%d" % n, n) for n, fine in enumerate(good)]
        self.upstream.answer_all()
        fates = [self.successResultOf(reply).fate is Fate.DELIVERED for reply in replies]
        self.assertEqual(good, fates)
        self.assertEqual(sum(good) + 1, len(self.upstream.stored))
        self.assertEqual(0, len(self.lanes))

    def refused(self, writer: object, lines: bytes = BAD) -> None:
        """Have a writer refused."""
        reply = self.write(lines, writer)
        self.upstream.answer_all()
        self.assertEqual(Fate.REJECT, self.successResultOf(reply).fate)

    def travels_alone(self, lines: bytes, writer: object) -> bool:
        """Whether a body travels alone, when others wait as well."""
        begun = len(self.upstream.sent)
        self.write(b"first v=1 1", "the first")
        self.write(lines, writer)
        self.write(b"other v=1 1", "another")
        self.upstream.answer_all()
        return lines in self.travelled()[begun + 1 :]

    def test_a_refused_writer_travels_alone_for_a_while(self) -> None:
        """Whoever was refused travels alone, so that his next refusal costs nobody a second write; after a minute he
        is one of many again.
        """
        self.assertFalse(self.travels_alone(b"m v=1 1", "he"))
        self.refused("he")
        self.assertTrue(self.travels_alone(b"m v=1 2", "he"))
        self.clock.advance(SUSPECT_SECONDS)
        self.assertFalse(self.travels_alone(b"m v=1 3", "he"))

    def test_a_new_circuit_does_not_help(self) -> None:
        """What was refused travels alone by its measurement, too, whoever sends it next."""
        self.refused("he", b"bad,tag=x v=1 1")
        self.assertTrue(self.travels_alone(b"bad,tag=y v=1 2", "he on a new circuit"))
        self.assertFalse(self.travels_alone(b"ba v=1 2", "someone else"))

    def test_suspects_do_not_hold_up_the_others(self) -> None:
        """However much a suspect sends, every second write is the others'."""
        self.refused("he")
        self.write(b"first v=1 1", "the first")
        for number in range(10):
            self.write(b"m v=1 %d" % number, "he")
        other = self.write(b"other v=1 1", "another")
        self.upstream.answer()
        self.upstream.answer()
        self.assertTrue(self.upstream.answer() and other.called)

    def test_suspects_are_bounded(self) -> None:
        """Only so many suspects are remembered, the latest of them."""
        for number in range(MAX_SUSPECTS):
            self.refused(number)
        self.assertFalse(self.travels_alone(b"m v=1 1", 0))
        self.assertTrue(self.travels_alone(b"m v=1 1", MAX_SUSPECTS - 1))
