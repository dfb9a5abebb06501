"""What may leave a machine, and that the quick way to a line is the same way."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import PointError
from torfluxd.influx.line import MAX_TIME_NS, MIN_TIME_NS, encode
from torfluxd.reporter.disclosure import PERSONAL_NAMES, Disclosure
from torfluxd.reporter.forms import FORMS_KEPT, MAX_LINE_BYTES, Forms
from torfluxd.reporter.lines import GivenLines
from torfluxd.reporter.times import ExactTimes
from torfluxd.settings import FieldType, MeasurementSchema

NOON = 1_700_000_000_000_000_000
KEY = b"k" * 16
SECRET = "Ms Smith, Baker Street 221b"

SCHEMA = {
    "backup": MeasurementSchema(
        {"version": "free", "os": ("linux", "mac os"), "host": "drop"},
        {
            "seconds": FieldType("float"),
            "files": FieldType("integer"),
            "bytes": FieldType("unsigned"),
            "ok": FieldType("boolean"),
            "error": FieldType("string", 5),
            "note": FieldType("string"),
            "coarse": FieldType("float", round=0.5),
            "tens": FieldType("integer", round=10),
        },
    ),
    "choice": MeasurementSchema({"os": ("linux", "macos")}, {"n": FieldType("integer")}, epsilons={"os": 1.0}),
}


class FormsCase(SynchronousTestCase):
    """Forms with exact times, so that a line can be told before."""

    def setUp(self) -> None:
        """Nothing is known yet."""
        self.stayed: list[tuple[str, str]] = []

    def forms(self, schema: Mapping[str, MeasurementSchema] | None = None, declared: tuple[str, ...] = ()) -> Forms:
        """What makes lines, and notes what stays here."""

        def hear(what: str, name: str) -> None:
            self.stayed.append((what, name))

        self.chance = Random(1).random
        times = ExactTimes(lambda: NOON)
        disclosure = Disclosure(schema, declared, hear)
        self.given = GivenLines(disclosure, times, self.chance, KEY)
        return Forms(disclosure, times, self.chance, KEY, hear)

    def line(
        self, forms: Forms, fields: Mapping[str, Any], tags: Mapping[str, str], name: str = "backup"
    ) -> str | None:
        """A line that is the same the quick way, once it is known, and the other."""
        first, *others = [forms.line(name, fields, tags, NOON) for _ in range(3)]
        self.assertEqual(others, [first, first])
        found = forms.quick.get((name, *tags.items(), *fields))
        if found is not None and (quick := found[0](fields, NOON)) is not None:
            self.assertEqual(quick, first)
        return first


def texts(letters: str) -> st.SearchStrategy[str]:
    """Short texts, in which what is special comes often."""
    return st.text(st.sampled_from(letters), max_size=4) | st.text(max_size=3)


NAMES = texts('ab ,=\\"%{}_#\néu') | st.sampled_from(["time", "m", "f", "percent%", "%s", "100%d"])
VALUES = (
    st.integers()
    | st.integers(min_value=-(2**63) - 2, max_value=-(2**63) + 2)
    | st.integers(min_value=2**63 - 2, max_value=2**63 + 2)
    | st.floats()
    | st.booleans()
    | texts('ab ,=\\"%{}\n\té')
    | st.sampled_from([None, Decimal(1), Fraction(1, 3), Fraction(10**400), 10**400, b"x", [], float("nan"), 2.0**63])
)


class SameLineTests(FormsCase):
    """Whatever is recorded, and however often."""

    @settings(max_examples=200)
    @given(
        st.lists(
            st.tuples(NAMES, st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, NAMES, max_size=3)),
            min_size=1,
            max_size=3,
        ),
        st.lists(VALUES, min_size=5, max_size=5),
    )
    @example([("m", {"f": 1.5}, {})], [float("nan")] * 5)
    @example([("m", {"a": 1.5, "b": 2, "c": 3, "d": 0.1}, {})], [2**63, 1, 10**400, -(2**63), 0.5])
    @example([("m%", {"a%": 1.5, "b{": 2, "c": 3, "d": 0.1}, {"%d": "{}"})], [1, 2, 3, 4, 5])
    @example([("m", {"a": "x", "b": True}, {})], ['"', False, "é", 1, ""])
    def test_as_encode_writes_it(
        self, points: list[tuple[str, dict[str, Any], dict[str, str]]], others: list[Any]
    ) -> None:
        """The line of a point is the one that `encode` makes of it, or the same refusal, however well it is known."""
        forms = self.forms(declared=tuple(PERSONAL_NAMES))
        for name, fields, tags in points:
            for values in (fields, fields, fields, dict(zip(fields, others, strict=False)), fields):
                self.assert_same(forms, name, {**fields, **values}, tags)

    def assert_same(self, forms: Forms, name: str, fields: dict[str, Any], tags: dict[str, str]) -> None:
        """Both ways make one line, or refuse the point in the same words."""
        try:
            expected: str | PointError = encode(name, fields, tags, NOON).decode()
        except PointError as error:
            expected = error
        known = forms.quick.get((name, *tags.items(), *fields))
        if known is not None:
            quick = known[0](fields, NOON)
            self.assertIn(quick, (expected, None))
        try:
            found: str | PointError | None = forms.line(name, fields, tags, NOON)
        except PointError as error:
            found = error
        self.assertEqual(str(found), str(expected))
        self.assertIs(type(found), type(expected))

    def test_quick(self) -> None:
        """Numbers, truths and plain strings go the quick way from the third time on."""
        forms = self.forms()
        for fields in (
            {"a": 1},
            {"a": 1.5, "b": 2},
            {"a": 1, "b": 2.5, "c": 3},
            {"a": 1, "b": 2, "c": 3, "d": 0.5},
            {"a": True, "b": "text", "c": 1, "d": 2.5},
        ):
            line = self.line(forms, fields, {"os": "linux"})
            write, given_time = forms.quick[("backup", ("os", "linux"), *fields)]
            self.assertEqual(write(fields, given_time(NOON)), line)

    def test_what_the_quick_way_does_not_know(self) -> None:
        """Other types, and what is no number, are left to the other way, which writes or refuses them."""
        forms = self.forms()
        for fields in ({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3, "d": 4}):
            self.line(forms, fields, {})
            write, _ = forms.quick[("backup", *fields)]
            for value in (1.5, True, "x", None, 2**63, -(2**63) - 1, 10**400, float("nan")):
                self.assertIsNone(write({**fields, "a": value}, NOON))
        self.line(forms, {"s": "x", "f": 0.5}, {})
        write, _ = forms.quick[("backup", "s", "f")]
        for fields in ({"s": 'a"', "f": 0.5}, {"s": "é", "f": 0.5}, {"s": "x" * 5000, "f": 1.0}, {"s": "", "f": 1e999}):
            self.assertIsNone(write(fields, NOON))

    def test_other_types(self) -> None:
        """A gauge that began with a whole number goes the quick way all the same; one that always changes does not."""
        forms = self.forms()
        for value in (0, 0.5, 1):
            self.line(forms, {"level": value}, {})
            write, _ = forms.quick[("backup", "level")]
            self.assertIsNotNone(write({"level": value}, NOON))
        self.line(forms, {"level": 0.5}, {})
        self.assertIsNone(forms.quick[("backup", "level")][0]({"level": 0.5}, NOON))

    def test_times(self) -> None:
        """A time that no point can have is refused, with the words of `encode`."""
        forms = self.forms()
        for _ in range(3):
            for time_ns in (MIN_TIME_NS - 1, MAX_TIME_NS + 1, "now", 1.5, True):
                self.assertRaises(PointError, forms.line, "m", {"f": 1}, {}, time_ns)
            self.assertEqual(forms.line("m", {"f": 1}, {}, MIN_TIME_NS), f"m f=1i {MIN_TIME_NS}")

    def test_no_mappings(self) -> None:
        """What is no mapping is a mistake in the program, and is told as one."""
        for fields, tags in (([1], {}), ("f", {}), ({"f": 1}, ["a"]), (None, {})):
            self.assertRaises(TypeError, self.forms().line, "m", fields, tags, NOON)

    def test_long_lines(self) -> None:
        """A line that a gateway would not take is refused when it is recorded."""
        forms = self.forms()
        for _ in range(3):
            self.assertRaises(PointError, forms.line, "m", {"f": "x" * MAX_LINE_BYTES}, {}, NOON)
            self.assertRaises(PointError, forms.line, "m", {"f": "é" * (MAX_LINE_BYTES // 2)}, {}, NOON)
            self.assertTrue(forms.line("m", {"f": "é" * (MAX_LINE_BYTES // 2 - 50)}, {}, NOON))

    def test_no_value_in_an_error(self) -> None:
        """What is refused is told without the values of the point, in the error and in those that led to it."""
        forms = self.forms()
        for fields, tags in (({"f": 1}, {"t": SECRET + "\n"}), ({"f": SECRET + "\n"}, {"t": SECRET}), ({"f": []}, {})):
            for _ in range(3):
                error: BaseException | None = self.assertRaises(PointError, forms.line, "m", fields, tags, NOON)
                while error is not None:
                    self.assertNotIn(SECRET, repr(error))
                    error = error.__context__

    def test_memory(self) -> None:
        """An application that makes up tags, names and fields without end costs no more and more memory."""
        forms = self.forms()
        for number in range(3 * FORMS_KEPT):
            for _ in range(2):
                forms.line("m", {"f": number}, {"t": f"{number}"}, NOON)
                forms.line(f"m{number}", {"f": number}, {}, NOON)
            self.assertLessEqual(len(forms.quick), FORMS_KEPT)
        forms.line("m", {"f": 1}, {"t": "x" * 2000}, NOON)
        forms.line("m", {"f": 1}, {"t": "x" * 2000}, NOON)
        self.assertEqual([key for key in forms.quick if ("t", "x" * 2000) in key], [])


class PersonalTests(FormsCase):
    """Without a schema."""

    def test_who_somebody_is(self) -> None:
        """Tags, and fields with text, whose names tell who or where somebody is stay here, however they are written."""
        forms = self.forms()
        tags = {"host": "a", "Host-Name": "b", "USER": "c", "client_ip": "d", "os": "linux"}
        fields: dict[str, Any] = {"hostname": "e", "user": 0.5, "text": "f"}
        self.assertEqual(self.line(forms, fields, tags), f'backup,os=linux user=0.5,text="f" {NOON}')
        self.assertEqual(
            set(self.stayed),
            {("tag", "host"), ("tag", "Host-Name"), ("tag", "USER"), ("tag", "client_ip"), ("field", "hostname")},
        )

    def test_declared(self) -> None:
        """An application that wants one of them says so, and has it."""
        forms = self.forms(declared=("host", "user"))
        self.assertEqual(self.line(forms, {"user": "x"}, {"host": "a", "ip": "b"}), f'backup,host=a user="x" {NOON}')

    def test_nothing_left(self) -> None:
        """A point of which nothing may leave is none."""
        self.assertIsNone(self.line(self.forms(), {"user": "x"}, {}))


class SchemaTests(FormsCase):
    """With a schema."""

    def test_only_what_it_names(self) -> None:
        """Measurements, tags and fields that the schema does not name stay here, and it is told of each."""
        forms = self.forms(SCHEMA)
        tags = {"version": "2.1", "host": "a", "os": "linux", "colour": "red"}
        line = self.line(forms, {"seconds": 1.5, "x": 1}, tags)
        self.assertEqual(line, f"backup,os=linux,version=2.1 seconds=1.5 {NOON}")
        self.assertEqual(set(self.stayed), {("tag", "host"), ("tag", "colour"), ("field", "x")})
        self.assertIsNone(self.line(forms, {"f": 1}, {}, "other"))
        self.assertIn(("measurement", "other"), self.stayed)
        self.assertIsNone(self.line(forms, {"f": 1}, {}))

    def test_values_that_it_lists(self) -> None:
        """A tag with a list of values has one of these, or is `other`."""
        forms = self.forms(SCHEMA)
        for value, written in (("linux", r",os=linux"), ("mac os", r",os=mac\ os"), ("beos", ",os=other"), ("", "")):
            self.assertEqual(self.line(forms, {"files": 1}, {"os": value}), f"backup{written} files=1i {NOON}")

    def test_types(self) -> None:
        """A number is written as the type that the schema has; what has another type or is too long stays here."""
        forms = self.forms(SCHEMA)
        for field, value, written in (
            ("seconds", 3, "3.0"),
            ("seconds", Fraction(1, 4), "0.25"),
            ("seconds", True, None),
            ("seconds", "3", None),
            ("files", 3, "3i"),
            ("files", 3.5, None),
            ("files", True, None),
            ("bytes", 3, "3u"),
            ("bytes", 2**64 - 1, f"{2**64 - 1}u"),
            ("bytes", 2**64, None),
            ("bytes", -1, None),
            ("ok", False, "false"),
            ("ok", 1, None),
            ("error", "12345", '"12345"'),
            ("error", "123456", None),
            ("error", "ééé", None),
            ("error", 3, None),
            ("note", 'a "b"', r'"a \"b\""'),
            ("coarse", 1.7, "1.5"),
            ("coarse", 2, "2.0"),
            ("tens", 17, "20i"),
            ("tens", -(2**63), f"{-(2**63) + 8}i"),
        ):
            expected = None if written is None else f"backup {field}={written} {NOON}"
            self.assertEqual(self.line(forms, {field: value}, {}), expected, (field, value))

    def test_what_could_never_be_written(self) -> None:
        """A mistake in the program is told also where the schema would keep the value here."""
        forms = self.forms(SCHEMA)
        for fields, tags in (
            ({"seconds": float("nan")}, {}),
            ({"seconds": 10**400}, {}),
            ({"files": 2**63}, {}),
            ({"ok": None}, {}),
            ({"error": "a\nb"}, {}),
            ({"seconds": 1.0}, {"host": "a\n"}),
            ({}, {}),
        ):
            self.assertRaises(PointError, forms.line, "backup", fields, tags, NOON)

    def test_what_remains_of_a_point(self) -> None:
        """When one field stays here for its value, the others leave."""
        forms = self.forms(SCHEMA)
        self.assertEqual(self.line(forms, {"error": "too long", "files": 2}, {}), f"backup files=2i {NOON}")
        self.assertIn(("field", "error"), self.stayed)


class NoisyTests(FormsCase):
    """Tags that are answered at random."""

    def test_both_answers(self) -> None:
        """Of one true value there are all answers, also of a tag that is not given, lest that be told."""
        forms = self.forms(SCHEMA)
        for tags in ({"os": "linux"}, {"os": "beos"}, {}):
            found = {forms.line("choice", {"n": 1}, tags, None) for _ in range(200)}
            values = {line.partition("=")[2].partition(" ")[0] for line in found if line}
            self.assertEqual(values, {"linux", "macos", "other"})
        self.assertEqual(forms.quick, {})

    def test_a_point_sent_twice(self) -> None:
        """A point that is recorded twice with one time has one answer: else it would be stored twice."""
        forms = self.forms(SCHEMA)
        for moment in range(50):
            self.line(forms, {"n": 1}, {"os": "linux"}, "choice")
            first, second = (self.given.settle(b"choice,os=linux n=1i %d" % (NOON + moment), 0) for _ in range(2))
            self.assertEqual(first, second)


class GivenLinesTests(FormsCase):
    """Lines that others wrote."""

    def settled(self, line: bytes, *, schema: bool = False) -> bytes | None:
        """What a line becomes."""
        self.forms(SCHEMA if schema else None)
        return self.given.settle(line, NOON)

    def test_as_they_are(self) -> None:
        """What may leave leaves byte for byte, with its own time, or with the one that it is given."""
        for line in (
            rb"cpu\ x,a\,b=c\ d,e=\=f usage=1.50,n=3i,u=4u,b=T,s=\"a \\\" b\"".replace(b'\\"a', b'"a').replace(
                b'b\\"', b'b"'
            ),
            b"m f=1e3",
        ):
            self.assertEqual(self.settled(line + b" 17"), line + b" 17")
            self.assertEqual(self.settled(line), line + b" %d" % NOON)

    def test_personal(self) -> None:
        """Names that tell who somebody is are taken out, as they are of points."""
        line = b'cpu,host=a,HOST_NAME=b,cpu=0 user=1,hostname="x",usage=2 17'
        self.assertEqual(self.settled(line), b"cpu,cpu=0 user=1,usage=2 17")
        self.assertIsNone(self.settled(b'cpu hostname="x" 17'))

    def test_schema(self) -> None:
        """The schema holds for lines as for points."""
        for line, expected in (
            (b"backup,os=linux,host=a seconds=1.5,x=1 17", b"backup,os=linux seconds=1.5 17"),
            (b"backup,os=beos,version=1\\ 2 seconds=3i 17", b"backup,os=other,version=1\\ 2 seconds=3.0 17"),
            (b"backup,os=mac\\ os files=3i,bytes=3u,ok=t 17", b"backup,os=mac\\ os files=3i,bytes=3u,ok=true 17"),
            (b'backup note="a \\"b\\" \\\\",error="123456" 17', b'backup note="a \\"b\\" \\\\" 17'),
            (b"backup coarse=1.7,tens=17i 17", b"backup coarse=1.5,tens=20i 17"),
            (b"backup files=9223372036854775808u 17", None),
            (b"other f=1 17", None),
            (b"backup x=1 17", None),
        ):
            self.assertEqual(self.settled(line, schema=True), expected, line)
