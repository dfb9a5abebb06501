"""A line that is taken apart and put together again is the same line."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from torfluxd.influx.check import check
from torfluxd.influx.line import encode
from torfluxd.influx.pieces import kind_of, plain_name, series_end, take_apart, take_series

NAMES = st.text("aé=, \"'", min_size=1, max_size=4).filter(lambda text: text != "time")
VALUES = st.booleans() | st.integers(-9, 9) | st.floats(-1e9, 1e9) | st.text('a1 ,=\\"é', max_size=6)


class PiecesTests(SynchronousTestCase):
    """`take_apart`."""

    @given(
        NAMES,
        st.dictionaries(NAMES, NAMES, max_size=3),
        st.dictionaries(NAMES, VALUES, min_size=1, max_size=3),
        st.none() | st.integers(-5, 2**62),
    )
    def test_every_point(self, name: str, tags: dict[str, str], fields: dict[str, object], time_ns: int | None) -> None:
        """Whatever a point is called and holds, its names, its types and its time are found, and it stays as it is."""
        line = encode(name, fields, tags, time_ns)  # type: ignore[arg-type]
        pieces = take_apart(line)
        self.assertEqual(line, pieces.line)
        self.assertEqual(name, plain_name(pieces.measurement).decode())
        self.assertEqual(tags, {plain_name(key).decode(): plain_name(value).decode() for key, value in pieces.tags})
        self.assertEqual(list(fields), [plain_name(key).decode() for key, _ in pieces.fields])
        kinds = {bool: "boolean", int: "integer", float: "float", str: "string"}
        self.assertEqual([kinds[type(value)] for value in fields.values()], [kind_of(v) for _, v in pieces.fields])
        self.assertEqual(b"" if time_ns is None else b"%d" % time_ns, pieces.time)

    @given(st.integers())
    def test_every_good_line(self, seed: int) -> None:
        """Whatever a good line looks like, it is found whole; only blanks between its parts may go."""
        lines = RandomLines(seed)
        for line in check(b"\n".join(lines.line() for _ in range(20))).lines.split(b"\n"):
            if line:
                pieces = take_apart(line)
                self.assertEqual(re.sub(rb"[ \t]", b"", line), re.sub(rb"[ \t]", b"", pieces.line))
                self.assertEqual((1, ()), (check(pieces.line).points, check(pieces.line).bad))
                self.assertEqual(pieces.series, line[: series_end(line)])
                self.assertEqual(pieces.tags, take_series(pieces.series).tags)

    def test_unsigned(self) -> None:
        """An unsigned integer is one."""
        self.assertEqual("unsigned", kind_of(b"1u"))
