"""What every spool promises, whatever it keeps its batches in: the tests of each of them begin with these."""

from __future__ import annotations

from attrs import define, field
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Batch, Destination, Lease, Refusal, Spool, SpoolCounts
from torfluxd.delivery.lending import BATCH_OVERHEAD_BYTES, DeadLetter
from torfluxd.errors import LeaseError

DESTINATION = Destination("telemetry")


def batch(name: str, points: int = 1) -> Batch:
    """A batch that can be told from others by its lines."""
    return Batch(DESTINATION, name.encode(), points)


def counting(size_bytes: int) -> int:
    """What lines of that size count for."""
    return size_bytes + BATCH_OVERHEAD_BYTES


class SpoolCase(SynchronousTestCase):
    """Tests of a spool which drops its oldest batches when it is full, and whose Deferreds fire at once."""

    def make_spool(self, limit_bytes: int, dead_letter_limit_bytes: int = 1_000_000) -> Spool:
        """An empty spool."""
        raise NotImplementedError

    def dead_letters(self, spool: Spool) -> tuple[DeadLetter, ...]:
        """What a spool was told to set aside, as far as it still has it."""
        raise NotImplementedError

    def lend(self, spool: Spool) -> Lease:
        """Borrow a batch that must be there."""
        lease = self.successResultOf(spool.lend())
        assert lease is not None
        return lease

    def put(self, spool: Spool, *batches: Batch) -> None:
        """Keep batches."""
        for each in batches:
            self.successResultOf(spool.put(each))


class SpoolPromises(SpoolCase):
    """What every spool that drops its oldest batches promises."""

    def test_empty(self) -> None:
        """An empty spool lends nothing and counts nothing."""
        spool = self.make_spool(10_000)
        self.assertIsNone(self.successResultOf(spool.lend()))
        self.assertEqual(spool.counts, SpoolCounts())

    def test_oldest_first(self) -> None:
        """Batches are lent in the order in which they were put, each once."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), batch("b"))
        self.assertEqual([self.lend(spool).batch for _ in range(2)], [batch("a"), batch("b")])
        self.assertIsNone(self.successResultOf(spool.lend()))

    def test_delivered(self) -> None:
        """What was delivered is forgotten, and its points are counted as delivered."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a", points=3))
        self.successResultOf(self.lend(spool).delivered())
        self.assertEqual(spool.counts, SpoolCounts(delivered_points=3, newest=1))

    def test_rejected(self) -> None:
        """What was rejected is set aside with its reason, blocks nobody, and its points are counted as rejected."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a", points=3), batch("b"))
        self.successResultOf(self.lend(spool).rejected("field type conflict"))
        self.assertEqual(self.dead_letters(spool), (DeadLetter(batch("a", points=3), "field type conflict"),))
        self.assertEqual(spool.counts.rejected_points, 3)
        self.assertEqual(self.lend(spool).batch, batch("b"))

    def test_partly_rejected(self) -> None:
        """Of a batch of which two lines were refused only these are set aside, each with its reason; all others count
        as delivered.
        """
        spool = self.make_spool(10_000)
        self.put(spool, batch("a\nb\nc\nd", points=4))
        refused = (Refusal(b"a", 1, "too old"), Refusal(b"c", 1, "field type conflict"))
        self.successResultOf(self.lend(spool).rejected("some were refused", refused))
        self.assertEqual(
            self.dead_letters(spool),
            (DeadLetter(batch("a"), "too old"), DeadLetter(batch("c"), "field type conflict")),
        )
        self.assertEqual(spool.counts, SpoolCounts(delivered_points=2, rejected_points=2, newest=1))

    def test_put_back(self) -> None:
        """What was put back is the first to be lent again, in the old order, even when several were lent."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), batch("b"), batch("c"))
        first, second = self.lend(spool), self.lend(spool)
        self.successResultOf(first.put_back())
        self.successResultOf(second.put_back())
        self.assertEqual([self.lend(spool).batch.lines for _ in range(3)], [b"a", b"b", b"c"])

    def test_one_way_back(self) -> None:
        """A lease is given back once: each second way raises, and changes nothing."""
        spool = self.make_spool(10_000)
        for first in ("delivered", "rejected", "put_back"):
            self.put(spool, batch("a"))
            lease = self.lend(spool)
            ways = {
                "delivered": lease.delivered,
                "rejected": lambda lease=lease: lease.rejected("no"),
                "put_back": lease.put_back,
            }
            ways[first]()
            before = spool.counts
            for second in ways.values():
                self.assertRaises(LeaseError, second)
            self.assertEqual(spool.counts, before)

    def test_full(self) -> None:
        """A full spool drops its oldest batches for a new one, as few as possible, and counts their points."""
        spool = self.make_spool(3 * counting(10))
        self.put(spool, *(batch(name * 10, points=2) for name in "abcd"))
        self.assertEqual(spool.counts.dropped_points, 2)
        self.assertEqual([self.lend(spool).batch.lines[:1] for _ in range(3)], [b"b", b"c", b"d"])

    def test_full_of_lent_ones(self) -> None:
        """What is lent is never dropped: when nothing else makes room, the new batch is."""
        spool = self.make_spool(2 * counting(10))
        self.put(spool, batch("a" * 10), batch("b" * 10))
        leases = [self.lend(spool), self.lend(spool)]
        self.put(spool, batch("c" * 10, points=7))
        self.assertEqual(spool.counts.dropped_points, 7)
        for lease in leases:
            self.successResultOf(lease.put_back())
        self.assertEqual([self.lend(spool).batch.lines[:1] for _ in range(2)], [b"a", b"b"])

    def test_too_large(self) -> None:
        """A batch that could never fit is dropped alone, and costs no other batch its place."""
        spool = self.make_spool(2 * counting(10))
        self.put(spool, batch("a" * 10), batch("b" * 1000, points=5))
        self.assertEqual(spool.counts, SpoolCounts(1, 1, counting(10), dropped_points=5, newest=2))

    def test_dead_letters_are_bounded(self) -> None:
        """Only the latest of what was rejected is kept, up to its own limit; the count goes on."""
        spool = self.make_spool(10_000, dead_letter_limit_bytes=2 * counting(1))
        for name in "abc":
            self.put(spool, batch(name))
            self.lend(spool).rejected("no")
        self.assertEqual([letter.batch.lines for letter in self.dead_letters(spool)], [b"b", b"c"])
        self.assertEqual(spool.counts.rejected_points, 3)

    def test_position(self) -> None:
        """A lease knows its place in the order of puts, and the counts know the latest."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), batch("b"))
        self.assertEqual((self.lend(spool).position, self.lend(spool).position, spool.counts.newest), (1, 2, 2))


@define
class Model:
    """What a spool should be: lists, and no cleverness."""

    limit_bytes: int
    waiting: list[tuple[int, Batch]] = field(factory=list)
    lent: list[tuple[int, Batch]] = field(factory=list)
    newest: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0

    def size_bytes(self) -> int:
        """What everything kept counts for."""
        return sum(counting(len(batch.lines)) for _, batch in self.waiting + self.lent)

    def put(self, batch: Batch) -> None:
        """Keep a batch."""
        self.newest += 1
        size = counting(len(batch.lines))
        lent = sum(counting(len(other.lines)) for _, other in self.lent)
        if lent + size > self.limit_bytes:
            self.dropped += batch.points
            return
        while self.size_bytes() + size > self.limit_bytes:
            self.dropped += self.waiting.pop(0)[1].points
        self.waiting.append((self.newest, batch))

    def counts(self) -> SpoolCounts:
        """What the spool should count."""
        kept = self.waiting + self.lent
        points = sum(batch.points for _, batch in kept)
        return SpoolCounts(
            len(kept), points, self.size_bytes(), self.delivered, self.rejected, self.dropped, self.newest
        )


PUTS = st.builds(batch, st.text("xyz", max_size=900), st.integers(min_value=1, max_value=9))
GIVE_BACKS = st.tuples(st.sampled_from(["delivered", "rejected", "put_back"]), st.integers(min_value=0, max_value=9))
LIMITS = st.integers(min_value=0, max_value=4000)
STEPS = st.lists(st.one_of(PUTS, st.just("lend"), GIVE_BACKS), max_size=60)


Step = Batch | str | tuple[str, int]


class ModelPromises(SpoolCase):
    """A spool beside a model of lists."""

    def give_back(self, model: Model, leases: list[Lease], way: str, number: int) -> None:
        """Give back one of the leases, if there is one, and do the same in the model."""
        if not leases:
            return
        lease = leases.pop(number % len(leases))
        kept = (lease.position, lease.batch)
        model.lent.remove(kept)
        if way == "put_back":
            self.successResultOf(lease.put_back())
            model.waiting = sorted([*model.waiting, kept], key=lambda one: one[0])
        elif way == "delivered":
            self.successResultOf(lease.delivered())
            model.delivered += lease.batch.points
        else:
            self.successResultOf(lease.rejected("no"))
            model.rejected += lease.batch.points

    def play(self, limit_bytes: int, steps: list[Step]) -> None:
        """Do the steps with both, and compare after each."""
        spool, model, leases = self.make_spool(limit_bytes), Model(limit_bytes), list[Lease]()
        for step in steps:
            if isinstance(step, Batch):
                self.successResultOf(spool.put(step))
                model.put(step)
            elif isinstance(step, tuple):
                self.give_back(model, leases, *step)
            else:
                lease = self.successResultOf(spool.lend())
                expected = model.waiting.pop(0) if model.waiting else None
                self.assertEqual(lease and (lease.position, lease.batch), expected)
                if lease is not None and expected is not None:
                    leases.append(lease)
                    model.lent.append(expected)
            self.assertEqual(spool.counts, model.counts())
            self.assertLessEqual(spool.counts.size_bytes, limit_bytes)
