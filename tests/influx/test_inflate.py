"""Gzip is inflated, but never beyond a bound."""

from __future__ import annotations

import gzip
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.influx.inflate import MAX_GZIP_MEMBERS, GzipFault, inflate

LINES = b"cpu,host=a load=0.5 1\n" * 50


class InflateTests(SynchronousTestCase):
    """What clients send arrives; what attackers send does not."""

    @given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
    def test_round_trip(self, parts: list[bytes]) -> None:
        """Any body comes out as it went in, in one member or in several, at a limit that just fits."""
        body = b"".join(map(gzip.compress, parts))
        whole = b"".join(parts)
        self.assertEqual(inflate(body, len(whole)), whole)

    @given(st.binary(min_size=1, max_size=2000), st.integers(0, 1999))
    def test_limit(self, content: bytes, limit: int) -> None:
        """One byte more than the limit is too much."""
        expected = content if len(content) <= limit else GzipFault.TOO_LARGE
        self.assertEqual(inflate(gzip.compress(content), limit), expected)

    def test_bomb(self) -> None:
        """200 MB in 200 kB cost no more memory than the limit and a little, and are refused."""
        bomb = gzip.compress(bytes(200_000_000), compresslevel=1)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(inflate(bomb, 1_000_000), GzipFault.TOO_LARGE)
        self.assertLess(tracemalloc.get_traced_memory()[1], 3_000_000)

    def test_bomb_in_members(self) -> None:
        """The limit is for all members together."""
        member = gzip.compress(bytes(1000))
        self.assertEqual(inflate(member * 3, 2999), GzipFault.TOO_LARGE)
        self.assertEqual(inflate(member * 3, 3000), bytes(3000))

    def test_many_members(self) -> None:
        """A body of very many members is not worth its work."""
        member = gzip.compress(b"")
        self.assertEqual(inflate(member * MAX_GZIP_MEMBERS, 1), b"")
        self.assertEqual(inflate(member * (MAX_GZIP_MEMBERS + 1), 1), GzipFault.DAMAGED)

    def test_every_truncation(self) -> None:
        """A body that was cut anywhere is refused with InfluxDB's own words."""
        body = gzip.compress(LINES)
        for length in range(len(body)):
            self.assertEqual(inflate(body[:length], 10_000), GzipFault.TRUNCATED)
        self.assertEqual(GzipFault.TRUNCATED.value, "unexpected EOF")

    def test_not_gzip(self) -> None:
        """Plain text and zlib's own format are not gzip, nor is what follows a member."""
        for body in (LINES, b"\x78\x9c\x03\x00\x00\x00\x00\x01", gzip.compress(LINES) + b"trailing"):
            self.assertEqual(inflate(body, 10_000), GzipFault.DAMAGED)

    @given(st.integers(0, 10_000), st.integers(1, 255))
    def test_any_damage(self, place: int, change: int) -> None:
        """A damaged body is refused, or inflates to what it was (where the header says nothing of importance)."""
        body = bytearray(gzip.compress(LINES))
        body[place % len(body)] ^= change
        self.assertIn(
            inflate(bytes(body), 10_000), {LINES, GzipFault.DAMAGED, GzipFault.TRUNCATED, GzipFault.TOO_LARGE}
        )
