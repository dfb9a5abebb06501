"""One line, taken apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from torfluxd.errors import PointError
from torfluxd.influx.check import check
from torfluxd.influx.line import encode
from torfluxd.influx.parts import split_line

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8) | st.text(
    "a,= \"\\'é", min_size=1
)
VALUES = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.text('a,= "\\') | st.booleans() | st.integers(-9, 9)
)


class SplitTests(SynchronousTestCase):
    """What a line says."""

    def test_every_part(self) -> None:
        """Names and values are as they are stored, without what escapes them in the line."""
        parts = split_line(rb'a\ b\,c=d,t\=1=x\ y,u=v f\,1=1.5,g=-3i,h="a\"b,c=d \\",i=T,j=7u 17')
        self.assertEqual(parts.measurement, "a b,c=d")
        self.assertEqual(parts.tags, {"t=1": "x y", "u": "v"})
        self.assertEqual(
            parts.fields,
            {
                "f,1": ("float", "1.5"),
                "g": ("integer", "-3i"),
                "h": ("string", 'a"b,c=d \\'),
                "i": ("boolean", "T"),
                "j": ("unsigned", "7u"),
            },
        )

    def test_values_stay_out_of_sight(self) -> None:
        """Values are somebody's data: they are not in the `repr`."""
        self.assertNotIn("hunter2", repr(split_line(b'm,t=hunter2 f="hunter2" 1')))

    @given(NAMES, st.dictionaries(NAMES, NAMES), st.dictionaries(NAMES, VALUES | st.floats(-1, 1), min_size=1))
    def test_what_was_written_is_read(
        self, measurement: str, tags: dict[str, str], fields: dict[str, str | bool | int | float]
    ) -> None:
        """A point that was written is read again."""
        try:
            line = encode(measurement, fields, tags, 1)
        except PointError:
            return
        parts = split_line(line)
        self.assertEqual((parts.measurement, dict(parts.tags)), (measurement, tags))
        kinds = {bool: "boolean", int: "integer", float: "float", str: "string"}
        self.assertEqual(
            {name: kind for name, (kind, _) in parts.fields.items()},
            {name: kinds[type(value)] for name, value in fields.items()},
        )
        for name, value in fields.items():
            if isinstance(value, str):
                self.assertEqual(parts.fields[name][1], value)

    def test_every_good_line_has_its_parts(self) -> None:
        """Of whatever is taken for a good line, a measurement and a field are found."""
        lines = RandomLines(4)
        found = 0
        for _ in range(5000):
            checked = check(lines.line())
            for line in checked.lines.split(b"\n") if checked.points else ():
                parts = split_line(line)
                self.assertTrue(parts.measurement, line)
                self.assertTrue(parts.fields, line)
                found += 1
        self.assertGreater(found, 1000)
