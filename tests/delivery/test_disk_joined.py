"""Tests for what `torfluxd.delivery.disk` lends when batches are joined, and when there are several destinations."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.delivery.disk_case import DiskCase, HeldWork
from tests.delivery.spool_suite import DESTINATION, batch, counting
from torfluxd.boundaries import Batch, Destination, Lease, Refusal, SpoolCounts
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.lending import DeadLetter
from torfluxd.delivery.schema import SCHEMA
from torfluxd.delivery.steps import Bounds
from torfluxd.delivery.store import Sums
from torfluxd.errors import SpoolBrokenError, SpoolFullError

JOINING = Bounds(lend_points=10, lend_bytes=100)
OTHER = Destination("other", "ten days")
FEW = Bounds(lend_points=6, lend_bytes=60)
PLACES = (DESTINATION, OTHER, Destination("other"))

INTERVALS = (("a", 7), ("b", 7), ("c", 8), ("d", 7))


def to(where: Destination, name: str, points: int = 1) -> Batch:
    """A batch for a destination."""
    return Batch(where, name.encode(), points)


class JoinedTests(DiskCase):
    """Batches in a row are lent as one."""

    def test_joined(self) -> None:
        """Small batches in a row are lent as one, oldest first, a line below the other; the lease knows the newest."""
        spool = self.open(JOINING)
        self.put(spool, batch("a"), batch("b\nc", 2), batch("d"))
        lease = self.lend(spool)
        self.assertEqual((lease.batch, lease.position), (batch("a\nb\nc\nd", 4), 3))
        self.assertIsNone(self.successResultOf(spool.lend()))
        self.assertEqual(spool.counts, SpoolCounts(3, 4, 2 * counting(1) + counting(3), newest=3))

    def test_bounds(self) -> None:
        """A lease exceeds neither bound; a batch that does is lent alone; the next begin where the last one ended."""
        spool = self.open(JOINING)
        self.put(spool, batch("a", 9), batch("b", 1), batch("c", 1))
        self.put(spool, batch("x" * 500), batch("d", 500), batch("e" * 60), batch("f" * 39), batch("g" * 60))
        lent = [lines[:3] for lines in self.lines(spool)]
        self.assertEqual(lent, [b"a\nb", b"c", b"xxx", b"d", b"eee", b"ggg"])

    def test_one_at_a_time(self) -> None:
        """When either bound is zero each batch is lent alone."""
        for bounds in (Bounds(lend_points=10), Bounds(lend_bytes=10)):
            spool = self.open(bounds, path=self.new_directory() / "spool.db")
            self.put(spool, batch("a"), batch("b"))
            self.assertEqual(self.lines(spool), [b"a", b"b"])

    def test_intervals(self) -> None:
        """What was recorded in different intervals is never lent as one, also by the next process."""
        spool = self.open(JOINING)
        self.put(spool, *(evolve(batch(name), interval=interval) for name, interval in INTERVALS))
        self.assertEqual(self.lines(self.open(JOINING, path=self.copy())), [b"a\nb", b"c", b"d"])
        lease = self.lend(spool)
        self.assertEqual(lease.batch.interval, 7)
        self.successResultOf(lease.put_back())
        self.assertEqual(self.lines(spool), [b"a\nb", b"c", b"d"])

    def test_delivered(self) -> None:
        """All of a lease is forgotten at once, and what came later is not."""
        spool = self.open(JOINING)
        self.put(spool, batch("a", 2), batch("b", 3))
        lease = self.lend(spool)
        self.put(spool, batch("c"))
        self.successResultOf(lease.delivered())
        self.assertEqual(spool.counts, SpoolCounts(1, 1, counting(1), delivered_points=5, newest=3))
        self.assertEqual(self.lines(self.open(JOINING, path=self.copy())), [b"c"])

    def test_up_to(self) -> None:
        """Nothing behind a position is lent when that is asked for, put back before or not, and nothing gets lost."""
        spool = self.open(JOINING)
        self.put(spool, batch("a"), batch("b"), batch("c"))
        for up_to, lines in ((0, None), (9, b"a\nb\nc"), (2, b"a\nb"), (2, b"a\nb"), (0, None)):
            lease = self.successResultOf(spool.lend(up_to=up_to))
            self.assertEqual(lease and lease.batch.lines, lines)
            if lease is not None:
                self.successResultOf(lease.put_back())
        self.successResultOf(self.successResultOf(spool.lend(up_to=2)).delivered())
        self.assertIsNone(self.successResultOf(spool.lend(up_to=2)))
        self.assertEqual(self.lines(spool), [b"c"])

    def test_killed(self) -> None:
        """What was lent and not given back when the process was killed is there again, each batch of it."""
        spool = self.open(JOINING)
        self.put(spool, batch("a"), batch("b"))
        self.lend(spool)
        self.assertEqual(self.lines(self.open(path=self.copy())), [b"a", b"b"])

    def test_put_back(self) -> None:
        """What is put back is the first to be lent again, as one, in front of what was never lent."""
        spool = self.open(JOINING)
        self.put(spool, batch("a"), batch("b"))
        lease = self.lend(spool)
        self.put(spool, batch("c"))
        self.successResultOf(lease.put_back())
        self.assertEqual(self.lines(spool), [b"a\nb", b"c"])

    def test_rejected(self) -> None:
        """A lease that is rejected as a whole is one dead letter; one of which two lines are refused is two."""
        spool = self.open(JOINING)
        self.put(spool, batch("a"), batch("b"))
        self.successResultOf(self.lend(spool).rejected("no"))
        self.put(spool, batch("c\nd", 2), batch("e\nf", 2))
        refused = [Refusal(b"d\ne", 2, "too old"), Refusal(b"f", 1, "conflict")]
        self.successResultOf(self.lend(spool).rejected("some", refused))
        letters = (batch("a\nb", 2), "no"), (batch("d\ne", 2), "too old"), (batch("f"), "conflict")
        self.assertEqual(self.dead_letters(spool), tuple(DeadLetter(*letter) for letter in letters))
        self.assertEqual(spool.counts, SpoolCounts(rejected_points=5, delivered_points=1, newest=4))
        self.assertEqual(spool.dead_letters, Sums(3, 5, 2 * counting(3) + counting(1)))

    def test_damaged(self) -> None:
        """Of batches that are lent as one, one that changed on the disk is set aside, and the others are whole."""
        spool = self.open(JOINING)
        self.put(spool, *(batch(f"{number}" * 20) for number in range(4)))
        self.successResultOf(spool.close())
        self.path.write_bytes(self.path.read_bytes().replace(b"1" * 20, b"1" * 19 + b"0"))
        spool = self.open(JOINING)
        self.assertEqual(self.lines(spool), [b"\n".join(b"%d" % number * 20 for number in (0, 2, 3))])
        self.assertEqual((spool.counts.rejected_points, len(self.told)), (1, 1))

    def test_thousands(self) -> None:
        """A lease of thousands of batches reads the file once."""
        spool = self.open(Bounds(lend_points=10_000, lend_bytes=1_000_000))
        for number in range(3000):
            spool.put(batch(f"{number}"))
        self.assertEqual(self.lend(spool).batch.points, 3000)


class DestinationTests(DiskCase):
    """Several destinations in one spool."""

    def test_only(self) -> None:
        """A view lends what is of its destination, joined, in order, and counts that; a retention policy counts."""
        spool = self.open(JOINING)
        self.put(spool, to(OTHER, "a"), to(DESTINATION, "b"), to(Destination("other"), "c"), to(OTHER, "d", 2))
        view = spool.only(OTHER)
        self.assertEqual(view.counts, SpoolCounts(2, 3, 2 * counting(1), newest=4))
        lease = self.successResultOf(view.lend())
        assert lease is not None
        self.assertEqual((lease.batch, lease.position), (to(OTHER, "a\nd", 3), 4))
        self.assertIsNone(self.successResultOf(view.lend()))
        self.successResultOf(lease.delivered())
        self.assertEqual(view.counts, SpoolCounts(delivered_points=3, newest=4))
        self.assertEqual(self.lines(spool), [b"b", b"c"])

    def test_oldest_of_all(self) -> None:
        """Who asks for no destination gets the oldest batch of all, and none of another destination with it."""
        spool = self.open(JOINING)
        self.put(spool, to(OTHER, "a"), to(DESTINATION, "b"), to(OTHER, "c"), to(DESTINATION, "d"))
        self.assertEqual(self.lines(spool), [b"a\nc", b"b\nd"])

    def test_put_through_a_view(self) -> None:
        """A view takes batches as the spool does."""
        spool = self.open()
        self.successResultOf(spool.only(OTHER).put(to(OTHER, "a")))
        self.assertEqual(spool.destinations, {OTHER: Sums(1, 1, counting(1))})

    def test_what_waits(self) -> None:
        """What waits for each destination is known, the lent batches too, and over a restart; nothing of who has
        nothing.
        """
        spool = self.open(JOINING)
        self.put(spool, to(OTHER, "a", 3), to(DESTINATION, "b"), to(OTHER, "cc"))
        self.successResultOf(spool.only(DESTINATION).lend())
        expected = {OTHER: Sums(2, 4, counting(1) + counting(2)), DESTINATION: Sums(1, 1, counting(1))}
        self.assertEqual(spool.destinations, expected)
        self.successResultOf(spool.close())
        spool = self.open(JOINING)
        self.assertEqual(spool.destinations, expected)
        for lease in [self.lend(spool), self.lend(spool)]:
            self.successResultOf(lease.delivered())
        self.assertEqual(spool.destinations, {})

    def test_names_are_forgotten(self) -> None:
        """The name of a destination is in the file while there is a batch or a dead letter of it, and no longer."""
        spool = self.open(JOINING)
        self.put(spool, to(OTHER, "a"), to(DESTINATION, "b"), to(OTHER, "c"))
        self.successResultOf(self.lend(spool).rejected("no"))
        self.successResultOf(self.lend(spool).delivered())
        self.assertEqual(self.names(), ["other"])

    def names(self) -> list[str]:
        """The databases that the file names."""
        with closing(sqlite3.connect(self.copy())) as connection:
            return [name for [name] in connection.execute("SELECT database FROM destination")]

    def test_too_many(self) -> None:
        """Strangers who make up destinations fill a bounded number of places; whoever has one already is served."""
        spool = self.open(Bounds(limit_destinations=2))
        self.put(spool, to(OTHER, "a"), to(DESTINATION, "b"))
        self.assertIn("2 destinations", self.fails(spool.put(to(Destination("x"), "c")), SpoolFullError))
        self.put(spool, to(OTHER, "d"))
        self.successResultOf(self.lend(spool).delivered())
        self.successResultOf(self.lend(spool).delivered())
        self.put(spool, to(Destination("x"), "c"))

    def test_set_aside(self) -> None:
        """When the file was damaged and set aside nothing waits for anybody."""
        spool = self.open()
        self.put(spool, to(OTHER, "a" * 9000))
        self.successResultOf(spool.close())
        self.path.write_bytes(b"nonsense" * 1000)
        self.assertEqual(self.open().destinations, {})


class FailedTests(DiskCase):
    """A transaction that fails."""

    def test_nothing_has_happened(self) -> None:
        """When one of a group fails the disk, nothing of the group has happened, and every lease is as if put back."""
        trigger = "CREATE TRIGGER fails BEFORE INSERT ON dead_letter BEGIN SELECT RAISE(ABORT, 'no'); END;"
        executor = HeldWork()
        opened = DiskSpool.open(self.path, self.clock, executor, self.told.append, JOINING, (*SCHEMA, trigger))
        executor.go()
        spool = self.successResultOf(opened)
        self.addCleanup(lambda: (spool.close(), executor.go()))
        asked = [spool.put(to(place, name)) for name in "ab" for place in PLACES]
        executor.go()
        executor.go()
        loans = [spool.only(place).lend() for place in PLACES]
        executor.go()
        executor.go()
        one, two, three = (self.successResultOf(loan) for loan in loans)
        assert one is not None
        assert two is not None
        assert three is not None
        before = (spool.counts, dict(spool.destinations))
        first = spool.put(to(OTHER, "c"))  # the others wait for it, and go together
        group = [one.delivered(), two.rejected("no"), three.put_back(), spool.put(to(DESTINATION, "d")), spool.lend()]
        executor.go()
        executor.go()
        self.successResultOf(first)
        for failed in group:
            self.fails(failed, SpoolBrokenError)
        self.assertEqual(len(asked), 6)
        self.assertEqual(spool.counts.points, before[0].points + 1)
        self.assertEqual(spool.destinations[DESTINATION], before[1][DESTINATION])
        self.clock.advance(60)
        loans = [spool.only(place).lend() for place in PLACES]
        executor.go()
        executor.go()
        again = [self.successResultOf(loan) for loan in loans]
        self.assertEqual([lease and lease.batch.lines for lease in again], [b"a\nb"] * 3)


@define
class PlacesModel:
    """What a spool of several destinations should be.

    :ivar waiting: the batches of each destination that are not lent, by their positions.
    :ivar letters: the lines that were refused.
    """

    waiting: dict[Destination, dict[int, Batch]] = field(factory=lambda: {place: {} for place in PLACES})
    newest: int = 0
    put: int = 0
    delivered: int = 0
    letters: list[bytes] = field(factory=list)


NUMBERS = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from((DESTINATION, *PLACES)), st.integers(1, 6)),
        st.tuples(st.just("lend"), st.sampled_from((DESTINATION, *PLACES, None))),
        st.tuples(st.sampled_from(["delivered", "rejected", "put_back"]), NUMBERS),
        st.tuples(st.just("partly"), NUMBERS, st.sets(NUMBERS, min_size=1)),
        st.tuples(st.just("restart")),
    ),
    min_size=30,  # few steps would seldom have two leases of one destination
    max_size=60,
)


class Life:
    """A spool of several destinations to which anything may happen, beside the model."""

    def __init__(self, case: DiskCase) -> None:
        self.case = case
        self.path = case.new_directory() / "spool.db"
        self.model = PlacesModel()
        self.leases: list[tuple[Lease, dict[int, Batch]]] = []
        self.spool = case.open(FEW, path=self.path)

    def put(self, where: Destination, points: int) -> None:
        """Put a batch whose lines nobody else has."""
        lines = "\n".join(f"line {self.model.put + number}" for number in range(points))
        self.model.put += points
        self.model.newest += 1
        self.model.waiting[where][self.model.newest] = to(where, lines, points)
        self.case.put(self.spool, to(where, lines, points))

    def lend(self, where: Destination | None) -> None:
        """Borrow; it must be the oldest there is, in a row, within the bounds, and something if anything waits."""
        lease = self.case.successResultOf(self.spool.lend() if where is None else self.spool.only(where).lend())
        places = PLACES if where is None else (where,)
        waiting = [position for place in places for position in self.model.waiting[place]]
        if lease is None:
            self.case.assertEqual(waiting, [])
            return
        own = self.model.waiting[lease.batch.destination]
        positions = [position for position in sorted(own) if position <= lease.position]
        self.case.assertEqual(positions[0], min(waiting))
        taken = {position: own.pop(position) for position in positions}
        self.case.assertEqual(lease.batch.lines, b"\n".join(each.lines for each in taken.values()))
        self.case.assertEqual(lease.batch.points, lease.batch.lines.count(b"\n") + 1)
        if len(taken) > 1:
            self.case.assertLessEqual(lease.batch.points, FEW.lend_points)
            self.case.assertLessEqual(len(lease.batch.lines), FEW.lend_bytes)
        self.leases.append((lease, taken))

    def delivered(self, number: int) -> None:
        """Deliver one of the leases."""
        if self.leases:
            lease, _ = self.leases.pop(number % len(self.leases))
            self.case.successResultOf(lease.delivered())
            self.model.delivered += lease.batch.points

    def rejected(self, number: int) -> None:
        """Reject one of the leases."""
        if self.leases:
            lease, _ = self.leases.pop(number % len(self.leases))
            self.case.successResultOf(lease.rejected("no"))
            self.model.letters.append(lease.batch.lines)

    def partly(self, number: int, lines: set[int]) -> None:
        """Reject some lines of one of the leases."""
        if self.leases:
            lease, _ = self.leases.pop(number % len(self.leases))
            there = lease.batch.lines.split(b"\n")
            refused = [there[at] for at in sorted({at % len(there) for at in lines})]
            self.case.successResultOf(lease.rejected("some", [Refusal(line, 1, "no") for line in refused]))
            self.model.letters += refused
            self.model.delivered += len(there) - len(refused)

    def put_back(self, number: int) -> None:
        """Put back one of the leases."""
        if self.leases:
            lease, taken = self.leases.pop(number % len(self.leases))
            self.case.successResultOf(lease.put_back())
            self.model.waiting[lease.batch.destination].update(taken)

    def restart(self) -> None:
        """Close the spool with all that is lent, and open it again; its counts begin with what is there."""
        self.case.successResultOf(self.spool.close())
        self.spool = self.case.open(FEW, path=self.path)
        for lease, taken in self.leases:
            self.model.waiting[lease.batch.destination].update(taken)
        self.leases = []
        left = [position for kept in self.model.waiting.values() for position in kept]
        renumbered = max(left, default=0)  # positions begin behind the greatest that is there
        self.model.newest = renumbered

    def check(self) -> None:
        """What waits for each destination, and in all, is what the model has."""
        kept = {place: list(self.model.waiting[place].values()) for place in PLACES}
        for _, taken in self.leases:
            for each in taken.values():
                kept[each.destination].append(each)
        expected = {place: self.summed(batches) for place, batches in kept.items() if batches}
        self.case.assertEqual(self.spool.destinations, expected)
        counts, total = self.spool.counts, sum(expected.values(), Sums())
        self.case.assertEqual(Sums(counts.batches, counts.points, counts.size_bytes), total)

    def summed(self, batches: Sequence[Batch]) -> Sums:
        """What batches count for."""
        size = sum(counting(len(each.lines)) for each in batches)
        return Sums(len(batches), sum(each.points for each in batches), size)

    def end(self) -> None:
        """Deliver everything: nothing was lost, nothing is there twice."""
        for number in range(len(self.leases)):
            self.put_back(number)
        for place in PLACES:
            while self.model.waiting[place]:
                self.lend(place)
                self.delivered(0)
        self.check()
        refused = sum(lines.count(b"\n") + 1 for lines in self.model.letters)
        self.case.assertEqual(self.model.put, self.model.delivered + refused)
        self.case.successResultOf(self.spool.close())
        self.case.path = self.path
        self.case.assertEqual([each.batch.lines for each in self.case.dead_letters(self.spool)], self.model.letters)


class ModelTests(DiskCase):
    """A spool of several destinations beside a model."""

    @settings(max_examples=50, deadline=None)
    @given(steps=STEPS)
    def test_like_the_model(self, steps: list[tuple[object, ...]]) -> None:
        """Whatever is put, lent, given back and restarted, nothing is lost, nothing is there twice, and each
        destination's batches keep their order.
        """
        life = Life(self)
        for name, *arguments in steps:
            getattr(life, str(name))(*arguments)
            life.check()
        life.end()
