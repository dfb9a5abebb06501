"""Points become lines that mean what the points say, or errors that tell why they cannot."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import PointError, TorfluxdError
from torfluxd.influx.line import MAX_TIME_NS, MIN_TIME_NS, FieldValue, Point, encode, encode_point

SECRET = "Ms Smith, Baker Street 221b"
"""A value as people have them; no error may show it."""


def refusal(case: SynchronousTestCase, record: Callable[..., object], *arguments: object) -> str:
    """The text of the error by which a point is refused."""
    return str(case.assertRaises(PointError, record, *arguments))


class EscapingTests(SynchronousTestCase):
    """What line protocol separates with can stand in every text."""

    def test_plain(self) -> None:
        """A point without anything special in it is written as the documentation of InfluxDB shows it."""
        line = encode("cpu", {"load": 0.64}, {"host": "edge0"}, 1465839830100400200)
        self.assertEqual(line, b"cpu,host=edge0 load=0.64 1465839830100400200")

    def test_measurement(self) -> None:
        """Commas and spaces in a measurement are escaped; an equals sign has no meaning there."""
        self.assertEqual(encode("a,b c=d", {"f": 1}), rb"a\,b\ c=d f=1i")

    def test_tags(self) -> None:
        """Commas, spaces and equals signs in keys and values of tags are escaped."""
        self.assertEqual(encode("m", {"f": 1}, {"k,e y=": "v,a l="}), rb"m,k\,e\ y\==v\,a\ l\= f=1i")

    def test_field_keys(self) -> None:
        """Commas, spaces and equals signs in field keys are escaped; a double quote has no meaning there."""
        self.assertEqual(encode("m", {'k,e "y"=': 1}), rb'm k\,e\ "y"\==1i')

    def test_strings(self) -> None:
        """Double quotes and backslashes in a string are escaped, nothing else, and the string may be empty."""
        self.assertEqual(encode("m", {"f": 'a "b" \\ c,d=e\\'}), rb'm f="a \"b\" \\ c,d=e\\"')
        self.assertEqual(encode("m", {"f": "", "g": 'a\t"b"'}), b'm f="",g="a\t\\"b\\""')

    def test_utf8(self) -> None:
        """Text of every script is written in UTF-8."""
        line = encode("温度", {"Größe": "größer"}, {"город": "Київ 🌻"})
        self.assertEqual(line, '温度,город=Київ\\ 🌻 Größe="größer"'.encode())

    def test_lone_backslash(self) -> None:
        """A backslash before an ordinary character stays as it is, as in the path of a Windows program."""
        self.assertEqual(encode("m", {"f": 1}, {"path": r"C:\Users\\x"}), rb"m,path=C:\Users\\x f=1i")

    def test_tags_sorted(self) -> None:
        """Tags are written in the order in which InfluxDB stores them, whatever the order they are given in."""
        self.assertEqual(encode("m", {"z": 1, "a": 2}, {"b": "1", "a": "2"}), b"m,a=2,b=1 z=1i,a=2i")

    def test_tag_and_field_of_one_name(self) -> None:
        """A tag and a field may have the same name."""
        self.assertEqual(encode("m", {"a": 1}, {"a": "x"}), b"m,a=x a=1i")

    def test_empty_tag(self) -> None:
        """A tag with an empty value is left out, which means the same to InfluxDB."""
        self.assertEqual(encode("m", {"f": 1}, {"a": "", "b": "x", "c": ""}), b"m,b=x f=1i")


class RefusedTextTests(SynchronousTestCase):
    """Text that InfluxDB could not give back is refused, whatever it is the text of."""

    def assert_refused(self, text: str, *places: str) -> None:
        """A text is refused in these places, and in no other."""
        points = {
            "measurement": Point(text, {"f": 1}),
            "tag key": Point("m", {"f": 1}, {text: "x"}),
            "tag value": Point("m", {"f": 1}, {"t": text}),
            "field key": Point("m", {text: 1}),
            "string": Point("m", {"f": text}),
        }
        for place, point in points.items():
            if place in places:
                self.assertRaises(PointError, encode_point, point)
            else:
                self.assertTrue(encode_point(point), place)

    def test_line_breaks(self) -> None:
        """No text can end a line early and begin a forged one."""
        for text in ("a\nb", "a\r\nb", "a\r", "\n", "x\nforged,admin=1 f=1"):
            self.assert_refused(text, "measurement", "tag key", "tag value", "field key", "string")

    def test_control_characters(self) -> None:
        """No text has an ASCII control character in it, but for tabs in strings."""
        for code in {*range(0x20), 0x7F} - {0x09}:
            self.assert_refused(f"a{chr(code)}b", "measurement", "tag key", "tag value", "field key", "string")
        self.assert_refused("a\tb", "measurement", "tag key", "tag value", "field key")

    def test_lone_surrogates(self) -> None:
        """Text that has no UTF-8, like file names that Python could not decode, is refused."""
        for text in ("a\udcff", "\ud800b"):
            self.assert_refused(text, "measurement", "tag key", "tag value", "field key", "string")

    def test_ambiguous_backslashes(self) -> None:
        """A backslash at the end, or before what is or may be escaped, stands in strings only."""
        for text in ("a\\", "a\\\\", "a\\,b", "a\\=b", "a\\ b", 'a\\"b', "x\\,admin=1", "\\"):
            self.assert_refused(text, "measurement", "tag key", "tag value", "field key")

    def test_empty_names(self) -> None:
        """Measurement and keys have at least one character."""
        self.assert_refused("", "measurement", "tag key", "field key")

    def test_comment(self) -> None:
        """A measurement that would make the line a comment, and so vanish, is refused."""
        self.assert_refused("#m", "measurement")

    def test_leading_underscore(self) -> None:
        """Names that InfluxDB keeps for itself, and whose points it never shows, are refused."""
        for text in ("_name", "_series", "_"):
            self.assert_refused(text, "measurement", "tag key", "field key")

    def test_time(self) -> None:
        """A tag or field called `time`, which InfluxDB refuses or drops, is refused."""
        self.assert_refused("time", "tag key", "field key")

    def test_no_fields(self) -> None:
        """A point without fields is refused."""
        self.assertIn("no field", refusal(self, encode, "m", {}, {"t": "x"}))

    def test_key_length(self) -> None:
        """A measurement, its tags and a field key are at most as long together as InfluxDB can store."""
        self.assertTrue(encode("m" * 65_530, {"f": 1}))
        self.assertTrue(encode("m" * 100, {"f": "x" * 100_000}))
        self.assertTrue(encode("m", {"f" * 30_000: 1, "g" * 40_000: 1}))
        too_long = [
            Point("m" * 65_531, {"f": 1}),
            Point("m", {"f" * 65_531: 1}),
            Point("m", {"é" * 32_766: 1}),
            Point("m", {"f": 1}, {"t": "x" * 65_527}),
            Point("m", {"f": 1}, {"t": "é" * 32_764}),
            Point("m", {"f": 1}, {"t": "x" * 33_000, "u": "x" * 33_000}),
        ]
        for point in too_long:
            text = refusal(self, encode_point, point)
            self.assertIn("65531 bytes", text)
            self.assertLess(len(text), 300)


class FieldTypeTests(SynchronousTestCase):
    """Each type of Python is the type of InfluxDB that holds it exactly, and what has none is refused."""

    def written(self, value: Any) -> str:
        """A value as the line has it."""
        return encode("m", {"f": value}).decode().removeprefix("m f=")

    def test_booleans(self) -> None:
        """A bool is a boolean, though Python's bool is an int."""
        self.assertEqual([self.written(True), self.written(False)], ["true", "false"])

    def test_integers(self) -> None:
        """An int is an integer of 64 bits, and one that does not fit is refused."""
        self.assertEqual([self.written(0), self.written(-7)], ["0i", "-7i"])
        self.assertEqual(self.written(2**63 - 1), "9223372036854775807i")
        self.assertEqual(self.written(-(2**63)), "-9223372036854775808i")
        for value in (2**63, -(2**63) - 1, 10**5000):
            self.assertIn("64 bits", refusal(self, self.written, value))

    def test_floats(self) -> None:
        """A float is written with all its digits, and stays a float when it is whole."""
        values = [1.0, -0.0, 0.1, 1e20, 1e22, 5e-324, 1.7976931348623157e308]
        written = ["1.0", "-0.0", "0.1", "1e+20", "1e+22", "5e-324", "1.7976931348623157e+308"]
        self.assertEqual([self.written(value) for value in values], written)

    def test_not_finite(self) -> None:
        """NaN and the infinities are refused by an error that names measurement and field."""
        for value in (math.nan, math.inf, -math.inf):
            text = refusal(self, encode, "cpu", {"idle": 1.0, "load": value})
            self.assertIn("field 'load' of measurement 'cpu'", text)

    def test_numbers_of_other_libraries(self) -> None:
        """Numbers that call themselves integral or real are accepted, and are not asked for their own text."""

        class Float64(float):
            def __repr__(self) -> str:
                return "np.float64(0.5)"

        class Int64:
            def __int__(self) -> int:
                return 7

        Integral.register(Int64)
        self.assertEqual(self.written(Float64(0.5)), "0.5")
        self.assertEqual(self.written(Int64()), "7i")
        self.assertEqual(self.written(Fraction(1, 4)), "0.25")
        for value in (Float64("nan"), Fraction(10**400)):
            self.assertIn("finite", refusal(self, self.written, value))

    def test_enums(self) -> None:
        """A member of an enum of text or integers is written as its value."""

        class Colour(str, enum.Enum):  # noqa: UP042  # Not a StrEnum: its str() is "Colour.RED".
            RED = "red"
            PALE_RED = "red 1"

        class Level(enum.IntEnum):
            HIGH = 3

        class State(enum.StrEnum):
            BUSY = "busy"

        tags = {State.BUSY: Colour.RED, Colour.RED: Colour.PALE_RED}
        line = encode(Colour.RED, {Colour.PALE_RED: Level.HIGH, "r": Colour.RED, "s": State.BUSY}, tags)
        self.assertEqual(line, rb'red,busy=red,red=red\ 1 red\ 1=3i,r="red",s="busy"')

    def test_other_types(self) -> None:
        """A value of any other type is refused by an error that names measurement, field and type."""
        for value in (None, b"bytes", Decimal(1), 1j, [1], {"a": 1}, object()):
            text = refusal(self, self.written, value)
            self.assertIn("field 'f' of measurement 'm'", text)
            self.assertIn(type(value).__name__, text)

    def test_type_of_the_same_name(self) -> None:
        """A bool that is not Python's is refused by an error that tells the two apart."""
        foreign = type("bool", (), {"__module__": "numpy"})()
        self.assertIn("not numpy.bool", refusal(self, self.written, foreign))

    def test_tag_values_are_text(self) -> None:
        """A tag is text: whether 1, 1.0 and True are the same tag is for the application to say."""
        for value in (1, 1.0, True, None, b"x"):
            text = refusal(self, encode, "m", {"f": 1}, {"t": value})
            self.assertIn("tag 't' of measurement 'm'", text)
            self.assertIn(type(value).__name__, text)

    def test_names_are_text(self) -> None:
        """A name that is no text is refused by an error that says of which type it is."""
        for arguments in ((5, {"f": 1}), ("m", {5: 1}), ("m", {"f": 1}, {"a": "b", 5: "x"})):
            self.assertIn("must be a str, not int", refusal(self, encode, *arguments))


class TimeTests(SynchronousTestCase):
    """A point has the time it is given, or none."""

    def test_none(self) -> None:
        """Without a time the line ends with its fields."""
        self.assertEqual(encode("m", {"f": 1}), b"m f=1i")

    def test_range(self) -> None:
        """Every time that InfluxDB can store is written; the first and the last nanosecond it cannot are refused."""
        for time_ns in (MIN_TIME_NS, -1, 0, MAX_TIME_NS):
            self.assertEqual(encode("m", {"f": 1}, {}, time_ns), b"m f=1i %d" % time_ns)
        for time_ns in (MIN_TIME_NS - 1, MAX_TIME_NS + 1):
            self.assertIn("1677", refusal(self, encode, "m", {"f": 1}, {}, time_ns))

    def test_type(self) -> None:
        """A time that is not an integer, like the seconds of `time.time()`, is refused."""
        for time_ns in (1.5, True, "1", Decimal(1)):
            text = refusal(self, encode, "m", {"f": 1}, {}, time_ns)
            self.assertIn(type(time_ns).__name__, text)


class ErrorTests(SynchronousTestCase):
    """The errors can be caught as what they are, and can be logged."""

    def test_kinds(self) -> None:
        """A refused point is an error of torfluxd, and a ValueError for those who do not know torfluxd."""
        for kind in (PointError, TorfluxdError, ValueError):
            self.assertRaises(kind, encode, "", {"f": 1})

    def test_no_values(self) -> None:
        """No error shows the value of a tag or a field, not even in the errors behind it."""

        class Name(str):
            def __repr__(self) -> str:
                return SECRET

        bad: list[object] = [f"{SECRET}\n", f"{SECRET}\udcff", SECRET.encode(), [SECRET], Name(f"{SECRET}\n")]
        for value in bad:
            for fields, tags in (({"f": value}, {}), ({"f": 1}, {"t": value})):
                error = self.assertRaises(PointError, encode, "m", fields, tags)
                self.assertNotIn(SECRET, repr(error))
                self.assertIsNone(error.__context__)

    def test_unprintable_names(self) -> None:
        """A name with control characters or at any length does no harm to a log."""
        text = refusal(self, encode, "m\x1b[2J\n" * 10_000, {"f": 1})
        self.assertTrue(text.isprintable())
        self.assertLess(len(text), 500)


class PointTests(SynchronousTestCase):
    """A point as a value."""

    def test_encoded(self) -> None:
        """A point has the same line as its parts."""
        point = Point("cpu", {"load": 0.5}, {"host": "a b"}, 7)
        self.assertEqual(encode_point(point), encode("cpu", {"load": 0.5}, {"host": "a b"}, 7))
        self.assertEqual(encode_point(Point("cpu", {"load": 0.5})), b"cpu load=0.5")

    def test_frozen(self) -> None:
        """A point does not change: not by assignment, and not when the dict it was made of does."""
        fields = {"load": 0.5}
        point = Point("cpu", fields)
        fields["load"] = 1.0
        self.assertEqual(encode_point(point), b"cpu load=0.5")
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, point, "measurement", "x")
        self.assertEqual(point, Point("cpu", {"load": 0.5}))

    def test_repr(self) -> None:
        """Who prints a point sees its names, and nothing of its values."""
        point = Point("cpu", {"load": 0.75}, {"who": SECRET}, 123456)
        self.assertEqual(repr(point), "Point(measurement='cpu', fields=['load'], tags=['who'])")


def acceptable(text: str) -> bool:
    """The rule for names and tag values, in other words than the encoder's."""
    if text.endswith("\\") or any(f"\\{separator}" in text for separator in ',= "'):
        return False
    return not any(ord(character) < 0x20 or ord(character) == 0x7F for character in text)


# Separators and backslashes often enough that they meet.
characters = st.sampled_from('\\,= "#_é') | st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=12)
writable = texts.filter(acceptable)
measurements = writable.filter(lambda text: text != "" and text[0] not in "_#")
keys = writable.filter(lambda text: text not in {"", "time"} and text[0] != "_")
strings = texts.filter(lambda text: acceptable(text.replace("\t", "").replace("\\", "")))
# No subnormal ones: C's strtod, by which the parser reads, calls them out of range. influxd reads every float.
floats = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
values = st.booleans() | st.integers(-(2**63), 2**63 - 1) | floats | strings
times = st.none() | st.integers(MIN_TIME_NS, MAX_TIME_NS)

places = st.sampled_from(["measurement", "tag key", "tag value", "field key", "string"])


class RoundTripTests(SynchronousTestCase):
    """An independent parser, written in C, reads what was written."""

    @given(measurements, st.dictionaries(keys, values, min_size=1), st.dictionaries(keys, writable), times)
    def test_read_back(
        self, measurement: str, fields: dict[str, FieldValue], tags: dict[str, str], time_ns: int | None
    ) -> None:
        """Every point whose texts can be written is read back as it was, types and all."""
        read = parse_line(encode(measurement, fields, tags, time_ns).decode())
        self.assertEqual(read["measurement"], measurement)
        self.assertEqual(read["tags"], {key: value for key, value in tags.items() if value})
        self.assertEqual(sorted(map(repr, read["fields"].items())), sorted(map(repr, fields.items())))
        self.assertEqual(read["time"], time_ns)

    @settings(max_examples=1_000)
    @given(st.text(characters | st.characters(), max_size=6), places)
    @example("x\\,admin=1", "tag value")
    @example("\\\\=", "field key")
    def test_anything(self, text: str, place: str) -> None:
        """Whatever a text is, it is refused or read back as it was, and never changes anything beside it."""

        def at(here: str, otherwise: str) -> str:
            return text if here == place else otherwise

        fields: dict[str, FieldValue] = {at("field key", "f"): 1.5, "s": at("string", "x")}
        point = Point(at("measurement", "m"), fields, {at("tag key", "t"): at("tag value", "x")})
        try:
            line = encode_point(point)
        except PointError:
            return
        self.assertNotIn(b"\n", line)
        read = parse_line(line.decode())
        tags = {key: value for key, value in point.tags.items() if value}
        self.assertEqual(Point(read["measurement"], read["fields"], read["tags"]), attrs.evolve(point, tags=tags))

    @given(st.floats(allow_nan=False, allow_infinity=False))
    @example(5e-324)
    def test_floats(self, value: float) -> None:
        """Every finite float is written so that it is read as the same float."""
        self.assertEqual(repr(float(encode("m", {"f": value}).removeprefix(b"m f="))), repr(value))
