"""Tests for `torfluxd.delivery.spool`."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given

from tests.delivery import spool_suite
from tests.delivery.spool_suite import LIMITS, STEPS, Step, batch
from torfluxd.boundaries import Batch, Destination, Spool
from torfluxd.delivery.spool import DeadLetter, MemorySpool


class MemorySpoolCase(spool_suite.SpoolCase):
    """Each spool is a `MemorySpool`."""

    def make_spool(self, limit_bytes: int, dead_letter_limit_bytes: int = 1_000_000) -> MemorySpool:
        """An empty spool."""
        return MemorySpool(limit_bytes, dead_letter_limit_bytes)

    def dead_letters(self, spool: Spool) -> tuple[DeadLetter, ...]:
        """Its own list."""
        assert isinstance(spool, MemorySpool)
        return spool.dead_letters


class MemorySpoolTests(MemorySpoolCase, spool_suite.SpoolPromises):
    """`MemorySpool` keeps the promises of every spool."""


class JoinedTests(MemorySpoolCase):
    """Batches in a row are lent as one."""

    def make_spool(self, limit_bytes: int, dead_letter_limit_bytes: int = 1_000_000) -> MemorySpool:
        """A spool that joins."""
        return MemorySpool(limit_bytes, dead_letter_limit_bytes, lend_bytes=7)

    def lines(self, spool: MemorySpool, up_to: int = 99) -> list[bytes]:
        """What it lends, oldest first."""
        leases = iter(lambda: self.successResultOf(spool.lend(up_to)), None)
        return [lease.batch.lines for lease in leases]

    def test_joined(self) -> None:
        """Those of one destination and interval are, up to the bound; what is put back may be joined to more."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), batch("b"))
        lease = self.lend(spool)
        self.assertEqual((lease.batch, lease.position), (batch("a\nb", 2), 2))
        self.put(spool, batch("cc"), batch("d"), batch("e" * 9), batch("f"))
        self.successResultOf(lease.put_back())
        counts = spool.counts
        self.assertEqual((counts.batches, counts.points), (6, 6))
        self.assertEqual(self.lines(spool), [b"a\nb\ncc", b"d", b"e" * 9, b"f"])

    def test_apart(self) -> None:
        """Those of different ones are not."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), evolve(batch("b"), interval=1), Batch(Destination("other"), b"c", 1, 1))
        self.assertEqual(self.lines(spool), [b"a", b"b", b"c"])

    def test_up_to(self) -> None:
        """Nothing behind a position is lent when that is asked for."""
        spool = self.make_spool(10_000)
        self.put(spool, batch("a"), batch("b"), batch("c"))
        self.assertEqual([self.lines(spool, up_to) for up_to in (0, 2, 3)], [[], [b"a\nb"], [b"c"]])


class MemorySpoolModelTests(MemorySpoolCase, spool_suite.ModelPromises):
    """`MemorySpool` beside the model."""

    @given(limit_bytes=LIMITS, steps=STEPS)
    def test_like_the_model(self, limit_bytes: int, steps: list[Step]) -> None:
        """Whatever is done in whatever order, a spool lends what the model lends, counts alike, and keeps its limit."""
        self.play(limit_bytes, steps)
