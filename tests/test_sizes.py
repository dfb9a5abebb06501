"""Sizes as people write them."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.sizes import read_size


class ReadSizeTests(SynchronousTestCase):
    """What people type."""

    def test_sizes_are_read(self) -> None:
        """Bytes, and both kinds of units, are read."""
        for text, size in (
            ("67108864", 1 << 26),
            ("1B", 1),
            ("10kB", 10_000),
            ("500MB", 500_000_000),
            ("2GB", 2 * 10**9),
            ("4KiB", 4096),
            ("16MiB", 16 << 20),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("1 GiB", 1 << 30),
        ):
            self.assertEqual(read_size(text), size, text)

    def test_anything_else_is_refused_with_an_example(self) -> None:
        """What is no size is refused, with examples of what is."""
        for text in ("", "banana", "-1", "1g", "1GIB", "1Gb", "1e9", "1,5GB", "٣", "1GiB\n", "0", "0MB", "9" * 5000):
            error = self.assertRaises(SettingsError, read_size, text)
            self.assertIn("expected a size", str(error))
            self.assertIn(repr(text), str(error))

    @given(st.text())
    def test_no_text_is_a_traceback(self, text: str) -> None:
        """Any text is a size or a clear error."""
        with contextlib.suppress(SettingsError):
            self.assertGreater(read_size(text), 0)
