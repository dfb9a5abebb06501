"""What an InfluxDB says is wrong is understood, whichever generation it is."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.influx.said import Said, SaidLine, read_said

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda values: (
        st.lists(values)
        | st.dictionaries(st.sampled_from(["error", "data", "code", "message", "error_message"]), values)
    ),
)


class ReadSaidTests(SynchronousTestCase):
    """Answers, read."""

    def said(self, error: object) -> Said | None:
        """What is read out of a body."""
        return read_said((), json.dumps(error).encode())

    def test_v1(self) -> None:
        """1.x: an error, in the body; where there is no body, in the header."""
        self.assertEqual(self.said({"error": "why"}), Said(True, "", "why"))
        self.assertEqual(read_said(((b"X-Influxdb-Error", b"why\xff"),), b""), Said(True, "", "why\ufffd"))

    def test_v2(self) -> None:
        """2.x: a code and a message, its preamble left out."""
        self.assertEqual(self.said({"code": "invalid", "message": "why"}), Said(False, "invalid", "why"))
        said = self.said({"code": "x", "message": "failure writing points to database: partial write: y dropped=1"})
        self.assertEqual(said, Said(False, "x", "partial write: y dropped=1"))
        assert said is not None
        self.assertTrue(said.is_partial)

    def test_v3(self) -> None:
        """3.x: an error, and with it one line, several, or none."""
        line = {"original_line": "m f=", "line_number": 1, "error_message": "why"}
        lines = (SaidLine("m f=", "why"),)
        self.assertEqual(self.said({"error": "whole", "data": None}), Said(False, "", "whole"))
        self.assertEqual(self.said({"error": "whole", "data": line}), Said(False, "", "why", lines))
        self.assertEqual(
            self.said({"error": "partial write of line protocol occurred", "data": [line]}),
            Said(False, "", "partial write: why", lines),
        )

    def test_half_a_pair(self) -> None:
        """Half of a surrogate pair, which JSON can hold and UTF-8 cannot, keeps no writer from his answer."""
        for error in (
            {"error": "why \ud800"},
            {"code": "\udfff", "message": "why \ud800"},
            {"error": "partial write of line protocol occurred", "data": [{"error_message": "why \ud800"}]},
        ):
            said = self.said(error)
            assert said is not None
            self.assertIn(b"why ?", (said.text + said.code).encode("utf-8"))

    def test_nothing_said(self) -> None:
        """What is in no shape of InfluxDB's says nothing."""
        for body in (b"", b"404 page not found\n", b"<html>", b"{}", b"[]", b'"error"', b'{"error":1}', b"\xff"):
            self.assertIsNone(read_said(((b"content-type", b"application/json"),), body))

    def test_hostile(self) -> None:
        """An answer that is made to break its reader says nothing."""
        self.assertIsNone(read_said((), b"[" * 100_000))

    @given(JSON_VALUES)
    def test_anything(self, error: object) -> None:
        """Whatever is answered, reading it does not fail."""
        self.said(error)

    def test_secret(self) -> None:
        """What was said is not printed: it repeats the lines."""
        said = self.said({"error": "secret", "data": {"error_message": "secret", "original_line": "secret"}})
        assert said is not None
        self.assertNotIn("secret", repr(said))
        self.assertNotIn("secret", repr(said.lines))
