"""Many small writes become one, and each writer hears the truth about his own lines."""

from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Batch, Destination, Fate, Refusal, Reply, Upstream
from torfluxd.gateway.bodies import Bodies, Body
from torfluxd.gateway.gathering import GATHER_SECONDS
from torfluxd.gateway.lanes import MAX_BATCH_BYTES, MAX_BATCH_POINTS, MIN_BATCH_BYTES, Lanes
from torfluxd.gateway.suspects import MAX_SUSPECTS, SUSPECT_SECONDS, Suspects
from torfluxd.influx.answers import WRITTEN, too_large, unavailable
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.stamp import Stamper

HOME = Destination("telemetry")
DELIVERED = Reply(Fate.DELIVERED, status=204)
AWAY = Reply(Fate.POSTPONE, "connection refused")
CONFLICT = b"conflict"
"""The measurement whose lines the upstream refuses, as InfluxDB does when a field has another type."""
STAMP = 1 << 60


@define
class Slow:
    """An upstream that answers when the test says so; it refuses what has a bad line in it, as InfluxDB does.

    :ivar tells_all: whether it tells when it has refused everything.
    """

    limit_bytes: int = MAX_BATCH_BYTES
    tells_all: bool = False
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
        waiting.callback(self.truth(batch) if reply is None else reply)
        return batch

    def truth(self, batch: Batch) -> Reply:
        """Store what is good, and answer as InfluxDB would."""
        if len(batch.lines) > self.limit_bytes:
            return Reply(Fate.REJECT, status=413)
        lines = batch.lines.split(b"\n")
        self.stored.update(line for line in lines if not line.startswith(CONFLICT))
        bad = [line for line in lines if line.startswith(CONFLICT)]
        if not bad:
            return DELIVERED
        whole = self.tells_all and bad == lines
        refused = (Refusal(batch.lines, batch.points, "field type conflict"),) if whole else ()
        return Reply(Fate.REJECT, status=400, body=bad[0], refused=refused)

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
        self.lanes = Lanes(self.upstream, self.clock, Bodies(Stamper(0, lambda: STAMP)))

    def write(self, lines: bytes, writer: object = "someone", destination: Destination = HOME) -> Deferred[Answer]:
        """Write one body."""
        return self.lanes.take(Body(lines, Write(V1, destination), writer))

    def travelled(self) -> list[bytes]:
        """What went upstream, write by write."""
        return [batch.lines for batch, _ in self.upstream.sent]

    def heard(self, answers: list[Deferred[Answer]]) -> list[Answer]:
        """What everybody heard."""
        return [self.successResultOf(answer) for answer in answers]

    def statuses(self, answers: list[Deferred[Answer]]) -> list[int]:
        """The statuses that everybody heard."""
        return [answer.status for answer in self.heard(answers)]


class JoiningTests(LanesCase):
    """Newcomers gather while a write is in flight."""

    def test_an_idle_lane_sends_at_once(self) -> None:
        """A write to an idle lane leaves at once, as it is."""
        answer = self.write(b"m v=1 1")
        self.assertEqual([b"m v=1 1"], self.travelled())
        self.upstream.answer()
        self.assertIs(WRITTEN, self.successResultOf(answer))
        self.assertEqual(0, len(self.lanes))

    def test_those_who_come_meanwhile_travel_together(self) -> None:
        """Writes that come while one is in flight travel in one write, and are all answered by it."""
        first = self.write(b"m v=1 1")
        others = [self.write(b"m v=1 %d" % number, number) for number in range(2, 102)]
        self.upstream.answer()
        self.successResultOf(first)
        batch = self.upstream.answer()
        self.assertEqual(100, batch.points)
        self.assertEqual([204] * 100, self.statuses(others))
        self.assertEqual(2, len(self.upstream.sent))

    def test_the_next_write_leaves_before_anybody_is_told(self) -> None:
        """InfluxDB has work again before we answer those whose lines are stored."""
        seen = []
        self.write(b"m v=1 1").addCallback(lambda _: seen.append(self.travelled()))
        self.write(b"m v=1 2")
        self.upstream.answer()
        self.assertEqual([[b"m v=1 1", b"m v=1 2"]], seen)

    def test_those_who_write_often_travel_together(self) -> None:
        """Those who write again as soon as they have an answer soon share each write; when one leaves, the others go
        on, and nobody's lines are left behind.
        """
        writing = {"a", "b", "c"}

        def write(writer: str) -> None:
            if writer in writing:
                self.write(b"m v=1 1", writer).addCallback(lambda _: write(writer))

        def live() -> list[int]:
            begun = len(self.upstream.sent)
            for _ in range(40):
                self.clock.advance(GATHER_SECONDS / 8)
                if self.upstream.waiting:
                    self.upstream.answer()
            return [batch.points for batch, _ in self.upstream.sent[begun:]][-5:]

        for writer in "abc":
            write(writer)
        self.assertEqual([3] * 5, live())
        writing.remove("c")
        self.assertEqual([2] * 5, live())
        writing.clear()
        live()
        self.assertEqual(0, len(self.lanes))

    def test_every_line_has_its_time(self) -> None:
        """In company or alone, with or without times, in one unit or several: all lines travel with nanoseconds."""
        self.write(b"m v=1 1")
        for precision, line in (("s", b"m v=2 2"), ("s", b"m v=3 3"), ("ms", b"m v=4 4"), ("ns", b"m v=5")):
            self.lanes.take(Body(line, Write(V1, HOME, precision), line))  # type: ignore[arg-type]
        self.upstream.answer_all()
        times = [2_000_000_000, 3_000_000_000, 4_000_000]
        wanted = {b"m v=%d %d" % (number, time) for number, time in enumerate(times, 2)}
        [stamped] = self.upstream.stored - {b"m v=1 1", *wanted}
        self.assertRegex(stamped, rb"\Am v=5 [0-9]{19}\Z")
        for precision in ("s", "ns"):
            self.lanes.take(Body(b"m v=6 6", Write(V1, HOME, precision), 6))  # type: ignore[arg-type]
            self.upstream.answer_all()
        self.assertLessEqual({b"m v=6 6000000000", b"m v=6 6"}, self.upstream.stored)

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
        self.assertIs(WRITTEN, self.successResultOf(stays))
        self.assertIn(b"m v=1 2", self.upstream.stored)

    def test_an_outage_is_everybodys(self) -> None:
        """When the lines can neither be sent nor kept, all of the batch hear that, and none is a suspect for it."""
        self.write(b"m v=1 1")
        others = [self.write(b"m v=1 %d" % number, number) for number in range(9)]
        self.upstream.answer(AWAY)
        self.upstream.answer(AWAY)
        self.assertEqual([unavailable(V1)] * 9, [self.successResultOf(other) for other in others])
        self.write(b"m v=1 1")
        for number in range(9):
            self.write(b"m v=1 %d" % number, number)
        self.upstream.answer()
        self.assertEqual(9, self.upstream.answer().points)


@define
class AtOnce:
    """An upstream that holds the first batch, and answers all others before it returns, as a closed spool does."""

    first: Deferred[Reply] = field(factory=Deferred)
    sent: int = 0

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Answer, or hold."""
        self.sent += 1
        return self.first if self.sent == 1 else succeed(AWAY)


class AtOnceTests(SynchronousTestCase):
    """An upstream may answer at once."""

    def test_many(self) -> None:
        """However many writes wait, each for itself, for one that answers at once, each is answered."""
        lanes = Lanes(AtOnce(upstream_first := Deferred()), Clock(), Bodies(Stamper()))
        body = b"m v=1 1\n" * (MAX_BATCH_POINTS - 1) + b"m v=1 1"
        answers = [lanes.take(Body(body if n else b"m v=1 1", Write(V1, HOME), n)) for n in range(400)]
        upstream_first.callback(DELIVERED)
        self.assertEqual([204] + [503] * 399, [self.successResultOf(answer).status for answer in answers])
        self.assertEqual(0, len(lanes))


class BadLinesTests(LanesCase):
    """Lines that are bad never travel, and cost no neighbour anything."""

    def test_neighbours_of_garbage(self) -> None:
        """Garbage among the bodies of one write is refused to whoever sent it, by its number and reason; the others are
        stored in the same write.
        """
        self.write(b"first v=1 1")
        answers = [self.write(b"m v=1 %d" % n if n != 42 else b"m v=1 1\ngarbage", n) for n in range(100)]
        self.upstream.answer_all()
        heard = self.heard(answers)
        self.assertEqual([204] * 42 + [400] + [204] * 57, [answer.status for answer in heard])
        self.assertIn(b"unable to parse 'garbage': missing fields", heard[42].body)
        self.assertEqual(2, len(self.upstream.sent))

    def test_only_garbage(self) -> None:
        """When nothing good is left of what waits, nothing is sent."""
        self.write(b"first v=1 1")
        answers = [self.write(b"garbage", number) for number in range(10)]
        self.upstream.answer()
        self.assertEqual([400] * 10, self.statuses(answers))
        self.assertEqual((1, 0), (len(self.upstream.sent), len(self.lanes)))

    def test_all_or_nothing(self) -> None:
        """Of a body that is to be taken whole or not at all, nothing travels when one line is bad."""
        answer = self.lanes.take(Body(b"m v=1 1\ngarbage", Write(V1, HOME, is_whole=True), 1))
        self.assertEqual(400, self.successResultOf(answer).status)
        self.assertEqual([], self.travelled())


class RefusalTests(LanesCase):
    """A refused write is cut in two until each has his own answer."""

    def test_a_neighbours_refused_line_costs_nobody_anything(self) -> None:
        """One refused body among a hundred: its writer alone is told, with InfluxDB's own words; the rest is stored."""
        self.write(b"first v=1 1")
        answers = [self.write(b"%b v=1 %d" % (b"m" if n != 42 else CONFLICT, n), n) for n in range(100)]
        self.upstream.answer_all()
        heard = self.heard(answers)
        self.assertEqual([204] * 42 + [400] + [204] * 57, [answer.status for answer in heard])
        self.assertEqual(b"conflict v=1 42", heard[42].body)
        self.assertEqual(100, len(self.upstream.stored))

    def test_all_refused(self) -> None:
        """When every line of a write is refused, each writer hears about his own after one more write of his."""
        self.upstream.tells_all = True
        self.write(b"first v=1 1")
        answers = [self.write(b"conflict v=1 %d\nconflict v=2 %d" % (n, n), n) for n in range(100)]
        self.upstream.answer_all()
        self.assertEqual([b"conflict v=1 %d" % n for n in range(100)], [answer.body for answer in self.heard(answers)])
        self.assertEqual(1 + 1 + 100, len(self.upstream.sent))

    def test_all_of_a_part_refused(self) -> None:
        """So it is when that is true of a part alone."""
        self.upstream.tells_all = True
        self.write(b"first v=1 1")
        answers = [self.write(b"%b v=1 %d" % (b"m" if n < 50 else CONFLICT, n), n) for n in range(100)]
        self.upstream.answer_all()
        self.assertEqual([204] * 50 + [400] * 50, self.statuses(answers))
        self.assertEqual(1 + 1 + 1 + (1 + 50), len(self.upstream.sent))

    @given(
        st.lists(st.sampled_from([b"m v=1 %d", b"conflict v=1 %d", b"garbage%d"]), min_size=1, max_size=60),
        st.booleans(),
    )
    def test_everybody_hears_the_truth(self, kinds: list[bytes], tells_all: bool) -> None:
        """Whoever is good is stored and told so, whoever is bad is refused, in whatever company."""
        self.setUp()
        self.upstream.tells_all = tells_all
        self.write(b"first v=1 1")
        answers = [self.write(kind % n, n) for n, kind in enumerate(kinds)]
        self.upstream.answer_all()
        good = [kind.startswith(b"m ") for kind in kinds]
        self.assertEqual([204 if fine else 400 for fine in good], self.statuses(answers))
        self.assertEqual(sum(good) + 1, len(self.upstream.stored))
        self.assertEqual(0, len(self.lanes))

    def test_too_large_together(self) -> None:
        """A joined write that is too large for InfluxDB, or for a proxy before it, is cut in two like a refused one;
        the next ones are smaller, and nobody hears of it.
        """
        self.upstream.limit_bytes = MIN_BATCH_BYTES
        body = b'm s="' + b"x" * 20_000 + b'" 1'
        for _ in range(2):
            answers = [self.write(body, number) for number in range(20)]
            self.upstream.answer_all()
            self.assertEqual([204] * 20, self.statuses(answers))
        begun = len(self.upstream.sent)
        for number in range(20):
            self.write(body, number)
        self.upstream.answer_all()
        self.assertTrue(all(len(lines) <= MIN_BATCH_BYTES for lines in self.travelled()[begun:]))

    def test_too_large_alone(self) -> None:
        """A body that is too large by itself is too large for its writer."""
        self.upstream.limit_bytes = 10
        answer = self.write(b"m value=1 1")
        self.upstream.answer()
        self.assertIs(too_large(V1), self.successResultOf(answer))


class SuspectTests(LanesCase):
    """Whoever was refused is batched apart for a while."""

    def refused(self, writer: object, lines: bytes = b"conflict v=1 1", status: int = 400) -> None:
        """Have a writer refused."""
        self.clock.advance(GATHER_SECONDS)
        answer = self.write(lines, writer)
        self.upstream.answer_all()
        self.assertEqual(status, self.successResultOf(answer).status)

    def company(self, lines: bytes, writer: object, *others: tuple[bytes, object]) -> list[bytes]:
        """The lines of the write in which a body travels, when these wait as well, and another of nobody's."""
        self.clock.advance(GATHER_SECONDS)  # so that the first need not wait for company
        begun = len(self.upstream.sent)
        self.write(b"first v=1 1", "the first")
        for body, other in ((lines, writer), *others, (b"other v=1 1", "another")):
            self.write(body, other)
        self.upstream.answer_all()
        self.clock.advance(GATHER_SECONDS)  # for those that wait for company
        self.upstream.answer_all()
        [write] = [sent for sent in self.travelled()[begun + 1 :] if lines in sent.split(b"\n")]
        return write.split(b"\n")

    def test_a_refused_writer_travels_alone_for_a_while(self) -> None:
        """Whoever was refused travels alone, so that his next refusal costs nobody a second write; after a minute he
        is one of many again.
        """
        self.assertEqual(2, len(self.company(b"m v=1 1", "he")))
        for lines in (b"conflict v=1 1", b"garbage"):
            self.refused("he", lines)
            self.assertEqual(1, len(self.company(b"m v=1 2", "he")))
            self.clock.advance(SUSPECT_SECONDS)
            self.assertEqual(2, len(self.company(b"m v=1 3", "he")))

    def test_a_new_circuit_does_not_help(self) -> None:
        """What begins with a measurement that InfluxDB refused travels apart from all else, whoever sends it next; but
        together, so that those who write the same thing rightly are fast as well.
        """
        self.refused("he", b"conflict,tag=x v=1 1")
        bodies = [(b"conflict,tag=y v=%d 2" % number, number) for number in range(5)]
        begun = len(self.upstream.sent)
        self.write(b"first v=1 1", "the first")
        for lines, writer in bodies:
            self.write(lines, writer)
        self.write(b"other v=1 1", "another")
        self.upstream.answer()
        travelled = {self.upstream.answer(DELIVERED).lines, self.upstream.answer(DELIVERED).lines}
        self.assertEqual(begun + 3, len(self.upstream.sent))
        self.assertEqual({b"other v=1 1", b"\n".join(lines for lines, _ in bodies)}, travelled)

    def test_garbage_suspects_no_measurement(self) -> None:
        """Garbage that begins like others' lines makes nobody a suspect but its writer."""
        self.refused("he", b"m garbage")
        self.assertEqual(2, len(self.company(b"m v=1 1", "another one")))

    def test_suspects_do_not_hold_up_the_others(self) -> None:
        """However much suspects send, every second write at least is the others'."""
        self.refused("he")
        self.write(b"first v=1 1", "the first")
        for number in range(10):
            self.write(b"m v=1 %d" % number, "he")
            self.write(b"conflict v=1 %d" % number, f"he on circuit {number}")
        for number in range(10):
            other = self.write(b"other v=1 %d" % number, "another")
            for _ in range(4):
                self.upstream.answer()
            self.assertTrue(other.called)

    def test_suspects_are_bounded(self) -> None:
        """Only so many suspects are remembered, the latest of them."""
        suspects = Suspects(self.clock)
        for number in range(MAX_SUSPECTS + 1):
            suspects.add_writer(number)
        self.assertFalse(suspects.has_writer(0))
        self.assertTrue(suspects.has_writer(1) and suspects.has_writer(MAX_SUSPECTS))
