"""Durations as Go writes them."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.durations import read_duration
from torfluxd.errors import SettingsError


class ReadDurationTests(SynchronousTestCase):
    """What go-torfluxdb's users type."""

    def test_go_durations_are_read(self) -> None:
        """Every unit that Go knows is read, alone and together; so are days, which Go has not."""
        for text, seconds in (
            ("90s", 90),
            ("1m30s", 90),
            ("1.5h", 5400),
            ("250ms", 0.25),
            ("3us", 3e-6),
            ("3µs", 3e-6),
            (".5m", 30),
            ("+2h", 7200),
            ("90d", 7_776_000),
            ("1d12h", 129_600),
        ):
            self.assertAlmostEqual(seconds, read_duration(text), msg=text)

    def test_anything_else_is_refused_with_an_example(self) -> None:
        """What is no duration is refused, with examples of what is."""
        for text in ("banana", "", "5", "-1s", "1w", "1s1", "s", "1e3s", "1 s", "1ms\n", "0s", "0", "9999999h"):
            error = self.assertRaises(SettingsError, read_duration, text)
            self.assertIn(repr(text), str(error))

    @given(st.text())
    def test_no_text_is_a_traceback(self, text: str) -> None:
        """Any text is a duration or a clear error."""
        with contextlib.suppress(SettingsError):
            self.assertGreater(read_duration(text), 0)
