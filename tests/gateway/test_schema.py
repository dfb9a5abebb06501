"""A schema: what keeps to it passes untouched, the rest is folded, dropped or refused as the vendor says."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.schema import (
    LONG_STRING,
    UNKNOWN_FIELD,
    UNKNOWN_MEASUREMENT,
    UNKNOWN_TAG,
    WRONG_TYPE,
)
from torfluxd.gateway.screen import Screen
from torfluxd.influx.api import Api
from torfluxd.influx.check import check
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.influx.line import FieldValue, encode
from torfluxd.settings import FieldType, MeasurementSchema, Unknown

NOW_NS = 1_750_000_000_123_456_789
KINDS: Mapping[type, str] = {bool: "boolean", int: "integer", float: "float", str: "string"}

SCHEMA = {
    "backup run": MeasurementSchema(
        {"os": ("linux", "win, dows"), "lang=": "free", "host": "drop"},
        {
            "seconds": FieldType("float"),
            "files": FieldType("integer"),
            "ok": FieldType("boolean"),
            "a,b": FieldType("string"),
            "short": FieldType("string", 3),
            "longer": FieldType("string", 200),
        },
    ),
    "loose": MeasurementSchema({"os": ("linux",)}, {"v": FieldType("float")}, "drop"),
}
RULES = LineRules(schema=SCHEMA)

TAGS = st.dictionaries(
    st.sampled_from(["os", "lang=", "host", "new"]), st.sampled_from(["linux", "win, dows", "other", "é", "x"])
)
VALUES = st.one_of(
    st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text('a"\\ é,=', max_size=5), st.just("x" * 201)
)
FIELDS = st.dictionaries(
    st.sampled_from(["seconds", "files", "ok", "a,b", "short", "longer", "v", "new"]), VALUES, min_size=1, max_size=3
)
FITTING = st.fixed_dictionaries(
    {},
    optional={
        "seconds": st.floats(-9, 9),
        "files": st.integers(-9, 9),
        "ok": st.booleans(),
        "a,b": st.text('a"\\ é,=', max_size=5),
        "short": st.text('a"\\ é', max_size=3),
        "longer": st.text('a"\\ é', max_size=300),
    },
).filter(bool)
POINTS = st.tuples(st.sampled_from(["backup run", "loose", "new"]), TAGS, FIELDS | FITTING)
Point = tuple[str, Mapping[str, str], Mapping[str, FieldValue]]


def screen(rules: LineRules = RULES, api: Api = Api.V1) -> Screen:
    """The rules, at a moment that stands still."""
    return Screen(rules, GRAMMARS[api], lambda: NOW_NS)


def line(point: Point) -> bytes:
    """The line of a point."""
    name, tags, fields = point
    return encode(name, fields, tags, NOW_NS)


def model(point: Point, unknown: Unknown) -> bytes | str | None:
    """What becomes of a point, plainly: a line; why it is refused; or None if it is dropped."""
    name, tags, fields = point
    known = SCHEMA.get(name)
    if known is None:
        return None if unknown == "drop" else UNKNOWN_MEASUREMENT
    if known.unknown == "refuse" and not known.tags.keys() >= tags.keys():
        return UNKNOWN_TAG
    kept_tags = {}
    for key, value in tags.items():
        rule = known.tags.get(key, "drop")
        if rule != "drop":
            kept_tags[key] = value if rule == "free" or value in rule else "other"
    kept_fields: dict[str, FieldValue] = {}
    for key, field in fields.items():
        if key not in known.fields and known.unknown == "refuse":
            return UNKNOWN_FIELD
        if key in known.fields:
            kept = known.fields[key]
            if KINDS[type(field)] != kept.kind:
                return WRONG_TYPE
            if isinstance(field, str) and len(field.encode()) > (kept.max_bytes or 10**6):
                return LONG_STRING
            kept_fields[key] = field
    return line((name, kept_tags, kept_fields)) if kept_fields else None


class SchemaTests(SynchronousTestCase):
    """Lines, and what the schema makes of them."""

    @given(POINTS, st.sampled_from(["refuse", "drop"]))
    def test_as_a_simple_model_says(self, point: Point, unknown: Unknown) -> None:
        """Every point is kept, folded, stripped, dropped or refused as the words of the schema say."""
        screened = screen(evolve(RULES, unknown=unknown)).screen(line(point), "ns", 1)
        expected = model(point, unknown)
        if isinstance(expected, bytes):
            self.assertEqual((expected, 1, []), (screened.lines, screened.points, screened.refused))
        else:
            self.assertEqual(([] if expected is None else [(0, expected)]), screened.refused)
            self.assertEqual((b"", 0), (screened.lines, screened.points))

    @given(st.lists(POINTS, min_size=1, max_size=4))
    def test_the_pattern_says_the_same(self, points: list[Point]) -> None:
        """What the pattern lets pass, the slow way leaves as it is; and where that leaves all as it is, the pattern
        lets them pass, if nothing in them is written in a rare way.
        """
        lines = b"\n".join(map(line, points))
        passes = screen().passes(lines, "ns")
        untouched = screen().screen(lines, "ns", 1).lines == lines
        self.assertTrue(untouched or not passes)
        if untouched and max(map(len, lines.split(b"\n"))) <= 200 and b"\\\\" not in lines and b'\\"' not in lines:
            self.assertTrue(passes)

    def test_most_pass_the_pattern(self) -> None:
        """A program that keeps to the schema passes by the pattern, with its time or without."""
        for text in (b"backup\\ run,lang\\==de,os=linux seconds=1.5,files=3i", b'loose v=1\nbackup\\ run short="abc"'):
            self.assertTrue(screen().passes(text, None))
            self.assertTrue(screen().passes(b"%b %d" % (text.replace(b"\n", b" %d\n" % NOW_NS), NOW_NS), "ns"))

    def test_tags_that_are_none(self) -> None:
        """The pattern knows nothing of tags: what is wrong with them is seen all the same."""
        for series in (b"loose,os", b"loose,os=", b"loose,", b"loose,os=linux,os=linux", b"loose,time=1", b"loose,=x"):
            text = series + b" v=1 %d" % NOW_NS
            self.assertNotEqual((), check(text).bad)
            self.assertFalse(screen().passes(text, "ns"), series)
        self.assertFalse(screen().passes(b"loose,os=\xff v=1 %d" % NOW_NS, "ns"))

    def test_unsigned(self) -> None:
        """An unsigned field is one where InfluxDB has them."""
        rules = LineRules(schema={"m": MeasurementSchema({}, {"v": FieldType("unsigned")})})
        self.assertTrue(screen(rules, Api.V2).passes(b"m v=1u", None))
        self.assertFalse(screen(rules, Api.V1).passes(b"m v=1u", None))
        self.assertEqual([(0, WRONG_TYPE)], screen(rules, Api.V2).screen(b"m v=1i", "ns", 1).refused)

    def test_no_measurement_at_all(self) -> None:
        """A schema without measurements lets nothing pass."""
        empty = screen(LineRules(schema={}))
        self.assertFalse(empty.passes(b"m v=1", None))
        self.assertEqual([(0, UNKNOWN_MEASUREMENT)], empty.screen(b"m v=1", "ns", 1).refused)
