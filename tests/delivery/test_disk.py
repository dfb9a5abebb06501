"""Tests for `torfluxd.delivery.disk`, with a clock and without a thread."""

from __future__ import annotations

import sqlite3
import zlib

from hypothesis import given, settings
from twisted.internet.defer import CancelledError, Deferred

from tests.delivery import spool_suite
from tests.delivery.disk_case import NOW, DiskCase, HeldWork
from tests.delivery.spool_suite import DESTINATION, LIMITS, STEPS, Step, batch, counting
from torfluxd.boundaries import Batch, Destination, SpoolCounts
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce
from torfluxd.delivery.lending import DeadLetter
from torfluxd.delivery.letters import Contents, drop_letters, look, retry_letters
from torfluxd.delivery.schema import SCHEMA
from torfluxd.delivery.steps import Bounds
from torfluxd.delivery.store import Sums
from torfluxd.errors import SpoolBrokenError, SpoolFullError, SpoolVersionError


class DiskSpoolTests(DiskCase, spool_suite.SpoolPromises):
    """`DiskSpool` keeps the promises of every spool."""


class DiskSpoolModelTests(DiskCase, spool_suite.ModelPromises):
    """`DiskSpool` beside the model."""

    @settings(max_examples=25)
    @given(limit_bytes=LIMITS, steps=STEPS)
    def test_like_the_model(self, limit_bytes: int, steps: list[Step]) -> None:
        """Whatever is done in whatever order, a spool lends what the model lends, counts alike, and keeps its limit."""
        self.play(limit_bytes, steps)


class RestartTests(DiskCase):
    """What is there after a restart."""

    def test_kept(self) -> None:
        """All that was put and not delivered is there again, in order, the lent ones too, whole and counted."""
        spool = self.open()
        where = Destination("größe", "ten days")
        self.put(spool, batch("a"), Batch(where, b"\x00\xff\n", 7), batch("c"), batch("d"))
        self.successResultOf(self.lend(spool).delivered())
        self.lend(spool)
        self.successResultOf(spool.close())
        again = self.open()
        self.assertEqual(again.counts, SpoolCounts(3, 9, counting(3) + 2 * counting(1), newest=4))
        lease = self.lend(again)
        self.assertEqual((lease.batch, lease.position), (Batch(where, b"\x00\xff\n", 7), 2))
        self.assertEqual(self.lines(again), [b"c", b"d"])

    def test_killed(self) -> None:
        """What was acknowledged is in the files at that moment, and what was delivered is not, without a close."""
        spool = self.open()
        self.put(spool, batch("a"), batch("b"))
        self.successResultOf(self.lend(spool).delivered())
        self.assertEqual(self.lines(self.open(path=self.copy())), [b"b"])

    def test_for_its_owner_only(self) -> None:
        """Nobody but the owner can read the files, even when somebody opened them to others."""
        spool = self.open()
        self.put(spool, batch("a"))
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in self.directory.iterdir()}
        self.assertEqual(modes, {"spool.db": "0o600", "spool.db-wal": "0o600"})
        self.successResultOf(spool.close())
        self.path.chmod(0o644)
        self.open()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_closed(self) -> None:
        """A closed spool leaves one file, its thread is ended, and it says that it is closed."""
        executor = HeldWork()
        spool = self.open(executor=executor)
        put = spool.put(batch("a"))
        closed, closed_too = spool.close(), spool.close()
        executor.go()
        self.successResultOf(put)
        executor.go()
        self.successResultOf(closed)
        self.successResultOf(closed_too)
        self.successResultOf(spool.close())
        self.assertTrue(executor.stopped)
        self.assertIn("closed", self.fails(spool.put(batch("b")), SpoolBrokenError))
        self.assertEqual([file.name for file in self.directory.iterdir()], ["spool.db"])

    def test_half_begun(self) -> None:
        """A process that was killed while it began its spool is no trouble for the next."""
        (self.directory / "spool.db.new").write_bytes(b"half")
        self.put(self.open(), batch("a"))
        self.assertEqual(self.told, [])


class GroupTests(DiskCase):
    """What is asked while the disk is at work."""

    def setUp(self) -> None:
        """The disk works when the test says so."""
        super().setUp()
        self.executor = HeldWork()
        self.spool = self.open(executor=self.executor)

    def test_one_transaction(self) -> None:
        """Puts that wait together are committed together, and none is acknowledged or counted before."""
        first = self.spool.put(batch("a"))
        waiting = [self.spool.put(batch(name)) for name in "bcd"]
        self.executor.go()
        self.successResultOf(first)
        for put in waiting:
            self.assertNoResult(put)
        self.assertEqual(self.spool.counts.points, 1)
        self.executor.go()
        for put in waiting:
            self.successResultOf(put)
        self.assertEqual(self.spool.counts.points, 4)
        self.assertEqual(self.executor.held, [])

    def test_mixed(self) -> None:
        """Whatever waits together is done in the order in which it was asked."""
        self.spool.put(batch("a"))
        self.executor.go()
        steps = [self.spool.lend(), self.spool.put(batch("b")), self.spool.lend(), self.spool.lend()]
        self.executor.go()
        self.executor.go()
        leases = [self.successResultOf(step) for step in steps]
        self.assertEqual([getattr(lease, "position", None) for lease in leases], [1, None, 2, None])

    def test_full_one_among_others(self) -> None:
        """A put that is refused costs those who wait with it nothing."""
        executor = HeldWork()
        spool = self.open(Bounds(4 * counting(10)), executor, self.new_directory() / "spool.db")
        spool.put(batch("a"))
        large, small = spool.put(batch("b" * 2000)), spool.put(batch("c"))
        wrong = spool.put(Batch(Destination("\ud800"), b"d", 1))
        executor.go()
        executor.go()
        self.fails(large, SpoolFullError)
        self.successResultOf(small)
        self.fails(wrong, ValueError)
        self.assertEqual(spool.counts.points, 2)

    def test_cancelled(self) -> None:
        """Who cancels a loan does not keep the batch from others; a put that is cancelled is kept all the same."""
        put, loan = self.spool.put(batch("a")), self.spool.lend()
        for deferred in (put, loan):
            deferred.cancel()
            self.fails(deferred, CancelledError)
        self.executor.go()
        self.executor.go()
        self.executor.go()
        again = self.spool.lend()
        self.executor.go()
        lease = self.successResultOf(again)
        assert lease is not None
        self.assertEqual(lease.batch, batch("a"))


class BoundTests(DiskCase):
    """A spool holds as much as it may, and no more."""

    def test_refuses(self) -> None:
        """By default a full spool refuses what is new, says so, and loses nothing that it acknowledged."""
        spool = self.open(Bounds(2 * counting(1)))
        self.put(spool, batch("a"), batch("b"))
        self.assertIn("full", self.fails(spool.put(batch("c")), SpoolFullError))
        self.assertEqual(spool.counts, SpoolCounts(2, 2, 2 * counting(1), newest=2))
        self.successResultOf(self.lend(spool).delivered())
        self.put(spool, batch("d"))
        self.assertEqual(self.lines(spool), [b"b", b"d"])

    def test_still_full_after_a_restart(self) -> None:
        """What a spool holds counts against its limit after a restart too."""
        spool = self.open(Bounds(counting(1)))
        self.put(spool, batch("a"))
        self.successResultOf(spool.close())
        self.fails(self.open(Bounds(counting(1))).put(batch("b")), SpoolFullError)

    def test_points(self) -> None:
        """A spool that may hold a number of points drops its oldest batches for new ones."""
        spool = self.open(Bounds(10_000, limit_points=5, drop_oldest=True))
        self.put(spool, batch("a", 2), batch("b", 2), batch("c", 2))
        self.assertEqual(spool.counts.dropped_points, 2)
        self.assertEqual(self.lines(spool), [b"b", b"c"])

    def test_age(self) -> None:
        """A spool that may hold batches for an hour drops older ones, not the lent ones, and counts their points."""
        spool = self.open(Bounds(10_000, limit_age_seconds=3600, drop_oldest=True))
        self.put(spool, batch("a"), batch("b", 3))
        lease = self.lend(spool)
        self.clock.advance(3000)
        self.put(spool, batch("c"))
        self.clock.advance(601)
        self.assertEqual(self.lines(spool), [b"c"])
        self.assertEqual((spool.counts.dropped_points, spool.counts.points), (3, 2))
        self.successResultOf(lease.delivered())

    def test_no_age_for_what_is_never_dropped(self) -> None:
        """Bounds that contradict each other are refused."""
        self.assertRaises(ValueError, Bounds, limit_age_seconds=1.0)

    def test_oldest_age(self) -> None:
        """The age of the oldest batch is known, over a restart too."""
        spool = self.open()
        self.assertIsNone(spool.oldest_age_seconds)
        self.put(spool, batch("a"))
        self.clock.advance(40)
        self.put(spool, batch("b"))
        self.successResultOf(spool.close())
        again = self.open()
        self.assertEqual(again.oldest_age_seconds, 40)
        self.successResultOf(self.lend(again).delivered())
        self.assertEqual(again.oldest_age_seconds, 0)

    def test_file(self) -> None:
        """Room is used again: the files stay within twice the limit however much goes through."""
        spool = self.open(Bounds(1_000_000, drop_oldest=True))
        for number in range(60):
            for _ in range(5):
                spool.put(Batch(DESTINATION, bytes([number]) * 20_000, 1))
        self.successResultOf(spool.close())
        self.assertLess(self.path.stat().st_size, 2_000_000)

    def test_letters_forgotten(self) -> None:
        """Dead letters have a bound of their own; what is forgotten for it is counted."""
        spool = self.open(Bounds(10_000, dead_letter_limit_bytes=counting(1)))
        self.put(spool, batch("a", 3), batch("b", 4))
        for _ in range(2):
            self.successResultOf(self.lend(spool).rejected("no"))
        self.assertEqual((spool.dead_letters, spool.forgotten_points), (Sums(1, 4, counting(1)), 3))


class VersionTests(DiskCase):
    """A file that another version wrote."""

    LATER = (*SCHEMA, "ALTER TABLE batch ADD COLUMN colour TEXT;")

    def open_with(self, schema: tuple[str, ...]) -> Deferred[DiskSpool]:
        """Open it as another version would."""
        return DiskSpool.open(self.path, self.clock, AtOnce(), self.told.append, schema=schema)

    def test_older(self) -> None:
        """An older file is brought up to date, and keeps what it holds."""
        spool = self.open()
        self.put(spool, batch("a"))
        self.successResultOf(spool.close())
        later = self.successResultOf(self.open_with(self.LATER))
        self.assertEqual(self.lines(later), [b"a"])
        self.successResultOf(later.close())
        connection = sqlite3.connect(self.path)
        self.assertEqual(connection.execute("SELECT colour FROM batch").fetchall(), [(None,)])
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (len(self.LATER),))
        connection.close()

    def test_first(self) -> None:
        """What the first release kept is kept, and sent."""
        first = self.successResultOf(self.open_with(SCHEMA[:1]))
        self.successResultOf(first.close())
        connection = sqlite3.connect(self.path)
        crc = zlib.crc32(b"a", zlib.crc32(b"telemetry\0None"))
        connection.execute("INSERT INTO destination VALUES (1, 'telemetry', NULL)")
        connection.execute("INSERT INTO batch VALUES (1, 1, 3, ?, ?, ?)", (NOW, crc, b"a"))
        connection.commit()
        connection.close()
        self.assertEqual(self.lend(self.open()).batch, batch("a", 3))

    def test_newer(self) -> None:
        """A newer file is refused, with the cure, and stays as it is, byte for byte."""
        self.successResultOf(self.successResultOf(self.open_with(self.LATER)).close())
        before = self.path.read_bytes()
        executor = HeldWork()
        opened = DiskSpool.open(self.path, self.clock, executor, self.told.append)
        executor.go()
        self.assertIn("newer torfluxd", self.fails(opened, SpoolVersionError))
        self.assertEqual((self.path.read_bytes(), executor.stopped), (before, True))
        self.assertRaises(SpoolVersionError, look, self.path)


class LetterTests(DiskCase):
    """What the operator does with dead letters."""

    def setUp(self) -> None:
        """Two were refused, one waits, and the spool is closed."""
        super().setUp()
        spool = self.open()
        self.put(spool, batch("a", 2), batch("b", 3), batch("c", 4))
        for reason in ("field type conflict", "too old"):
            self.successResultOf(self.lend(spool).rejected(reason))
        self.successResultOf(spool.close())

    def test_list(self) -> None:
        """She sees each with its number, its time, its reason and its batch."""
        [first, second] = look(self.path).letters
        self.assertEqual((first.refused_at, first.letter), (NOW, DeadLetter(batch("a", 2), "field type conflict")))
        self.assertEqual(second.letter, DeadLetter(batch("b", 3), "too old"))

    def test_retry(self) -> None:
        """She has one of them, or all, tried again: they go behind what waits."""
        number = look(self.path).letters[1].number
        self.assertEqual(retry_letters(self.path, [number, 999]), [number])
        self.assertEqual(len(retry_letters(self.path)), 1)
        spool = self.open()
        self.assertEqual((spool.counts.points, spool.dead_letters), (9, Sums()))
        self.assertEqual(self.lines(spool), [b"c", b"b", b"a"])

    def test_drop(self) -> None:
        """She drops one, or all; a number never names another letter later."""
        numbers = [letter.number for letter in look(self.path).letters]
        self.assertEqual((drop_letters(self.path, numbers[1:]), drop_letters(self.path)), (numbers[1:], numbers[:1]))
        spool = self.open()
        self.successResultOf(self.lend(spool).rejected("no"))
        self.successResultOf(spool.close())
        self.assertNotIn(look(self.path).letters[0].number, numbers)

    def test_in_use(self) -> None:
        """A spool that is in use is left alone, with a clear word."""
        self.open()
        self.assertIn("locked", str(self.assertRaises(SpoolBrokenError, look, self.path)))

    def test_none(self) -> None:
        """Where there is no spool there are no letters, and none is begun."""
        path = self.directory / "other.db"
        self.assertEqual((look(path), retry_letters(path), drop_letters(path)), (Contents(), [], []))
        self.assertFalse(path.exists())
