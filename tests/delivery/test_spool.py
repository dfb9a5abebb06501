"""Tests for `torfluxd.delivery.spool`."""

from __future__ import annotations

from hypothesis import given

from tests.delivery import spool_suite
from tests.delivery.spool_suite import LIMITS, STEPS, Step
from torfluxd.boundaries import Spool
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


class MemorySpoolModelTests(MemorySpoolCase, spool_suite.ModelPromises):
    """`MemorySpool` beside the model."""

    @given(limit_bytes=LIMITS, steps=STEPS)
    def test_like_the_model(self, limit_bytes: int, steps: list[Step]) -> None:
        """Whatever is done in whatever order, a spool lends what the model lends, counts alike, and keeps its limit."""
        self.play(limit_bytes, steps)
