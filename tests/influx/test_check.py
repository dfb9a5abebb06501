"""The check of line protocol: what is good, what is kept, and what is said of the rest."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from torfluxd.influx.api import Api
from torfluxd.influx.check import MAX_BAD_LINES, MAX_LOOKS, NOT_NAMED, SHOWN_BYTES, TOO_MANY, Checked, are_plain, check
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.influx.line import encode
from torfluxd.influx.refusal import (
    AFTER_STRING,
    BACKSLASHES,
    CONTROL_CHARACTER,
    LINE_BREAK,
    MISCOUNTED,
    NOT_UTF8,
    refusal,
)
from torfluxd.influx.stamp import Timestamps

MEBIBYTE = 1 << 20

HOSTILE_SECONDS = 0.5
"""CPU time for a MiB of whatever a stranger makes up, on any machine: 10 to 70 ms on ours, linear in its size."""


def words(checked: Checked) -> list[str]:
    """What is said of the bad lines."""
    return [str(line) for line in checked.bad]


class GoodTests(SynchronousTestCase):
    """Lines that are taken."""

    def assert_taken(self, body: bytes, lines: bytes, timestamps: Timestamps) -> None:
        """All of a body is good, and this is kept of it."""
        checked = check(body)
        self.assertEqual(checked, Checked(lines, lines.count(b"\n") + 1, timestamps))

    def test_plain(self) -> None:
        """A body as programs write it is passed on as it is, without a copy."""
        for body, timestamps in [
            (b"m f=1 1", Timestamps.ALL),
            (b'cpu,host=a,region=b f=1.5,g=2i,h="x y",i=t 1577836800000000000\nm f=1 2', Timestamps.ALL),
            (b"cpu,host=a,region=b f=1.5\nm f=1", Timestamps.NONE),
        ]:
            self.assert_taken(body, body, timestamps)
            self.assertIs(check(body).lines, body)

    def test_last_newline(self) -> None:
        """The newline after the last line is no line."""
        self.assert_taken(b"m f=1 1\nm f=2 2\n", b"m f=1 1\nm f=2 2", Timestamps.ALL)

    def test_limits(self) -> None:
        """The greatest numbers that InfluxDB can hold are taken, and those one beyond are not."""
        for value, taken in [
            (b"9223372036854775807i", True),
            (b"9223372036854775808i", False),
            (b"-9223372036854775808i", True),
            (b"-9223372036854775809i", False),
            (b"1.7976931348623157e308", True),
            (b"1.8e308", False),
            (b"9" * 21 + b"e286", True),
            (b"9" * 21 + b"e288", False),
            (b"9" * 308, True),
            (b"9" * 309, False),
            (b"1e-999", True),
        ]:
            self.assertEqual(check(b"m f=" + value).points, taken, value)

    def test_mixed(self) -> None:
        """Lines with and without a time may stand together."""
        self.assert_taken(b"m f=1 1\nm f=2", b"m f=1 1\nm f=2", Timestamps.SOME)

    def test_tidied(self) -> None:
        """Comments, blank lines and blanks around a line are left out: what is passed on is points and nothing else."""
        body = b'# a comment\n\n  m f=1 1  \n#\n \t\n\tm f=2\n# "quoted\n# still a comment" m f=9\nm f=3 3\n\n# end'
        self.assert_taken(body, b"m f=1 1\nm f=2\nm f=3 3", Timestamps.SOME)

    def test_empty(self) -> None:
        """A body without a point is no fault."""
        for body in (b"", b"\n", b" \n\t\n", b"# nothing", b"# nothing\n\n"):
            self.assertEqual(check(body), Checked(b"", 0, Timestamps.SOME), body)

    def test_any_order_of_tags(self) -> None:
        """Tags need no order, and may begin alike."""
        for body in (
            b"m,b=1,a=2 f=1 1",
            b"m,region=1,rack=2 f=1 1",
            b"m,a=1,aa=2,aaa=3 f=1",
            b"m,\xc3\xa9=1,\xc3\xa8=2 f=1 1",
        ):
            self.assertEqual((check(body).lines, check(body).bad), (body, ()))

    @given(
        st.dictionaries(st.text("ab,= é\\", min_size=1), st.text('ab,= "é\\'), max_size=3),
        st.dictionaries(
            st.text("ab,= é", min_size=1),
            st.one_of(
                st.booleans(),
                st.integers(-(2**63), 2**63 - 1),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text('a,= "\\\t'),
            ),
            min_size=1,
            max_size=3,
        ),
        st.one_of(st.none(), st.integers(-(2**63) + 2, 2**63 - 2)),
    )
    def test_what_the_reporter_writes(
        self, tags: dict[str, str], fields: dict[str, object], time_ns: int | None
    ) -> None:
        """The gateway takes every line that a reporter can write."""
        try:
            line = encode("m", fields, tags, time_ns)  # type: ignore[arg-type]  # dict is invariant
        except ValueError:
            return
        self.assertEqual((check(line).lines, check(line).points, words(check(line))), (line, 1, []))


class BadTests(SynchronousTestCase):
    """Lines that are refused."""

    def test_named(self) -> None:
        """A bad line is named as influxd names it, and costs its neighbours nothing."""
        checked = check(b"m f=1 1\ngarbage\nm f=2 x\n\nm f=3 3\n")
        self.assertEqual(checked.lines, b"m f=1 1\nm f=3 3")
        self.assertEqual(checked.points, 2)
        self.assertEqual([line.number for line in checked.bad], [2, 3])
        self.assertEqual(
            words(checked), ["unable to parse 'garbage': missing fields", "unable to parse 'm f=2 x': bad timestamp"]
        )

    def test_reasons(self) -> None:
        """Each kind of fault is named."""
        for line, reason in [
            (b",t=1 f=1", "missing measurement"),
            (b"m, f=1", "missing tag key"),
            (b"m,t f=1", "missing tag value"),
            (b"m,t= f=1", "missing tag value"),
            (b"m,t=1=2 f=1", "invalid tag format"),
            (b"m,a=1,b=2,a=3 f=1", "duplicate tags"),
            (b"m,a=1,a=2 f=1", "duplicate tags"),
            (b"m,a\\ b=1,a\\ b=2 f=1", "duplicate tags"),
            (b"m f", "invalid field format"),
            (b"m f=1,", "invalid field format"),
            (b"m =1", "missing field key"),
            (b"m f=", "missing field value"),
            (b"m f=1u", "invalid number"),
            (b"m f=NaN", "invalid number"),
            (b"m f=1e400", "invalid float"),
            (b"m f=yes", "invalid boolean"),
            (b'm f="a', "unbalanced quotes"),
            (b"m f=1 1\r", "bad timestamp"),
            (b"m f=1 1 1", "point is invalid"),
            (
                b"m f=9223372036854775808i",
                'unable to parse integer 9223372036854775808: strconv.ParseInt: parsing "9223372036854775808": '
                "value out of range",
            ),
            (b"m f=1 9223372036854775807", "time outside range -9223372036854775806 - 9223372036854775806"),
        ]:
            self.assertEqual(words(check(line)), [f"unable to parse '{line.decode()}': {reason}"])

    def test_stricter(self) -> None:
        """What influxd takes and we refuse has its own reasons, and no neighbour is drawn in."""
        for line, reason in [
            (b"m\xff f=1", NOT_UTF8),
            (b"m,t=\x1b[2J f=1", CONTROL_CHARACTER),
            (b'm f="a"\r', CONTROL_CHARACTER),
            (b'm f="a\nm f=1 1\n"', LINE_BREAK),
            (b'm f="a"b', AFTER_STRING),
            (b'm \\\\\\\\"a=1', BACKSLASHES),
            (b'm a="",c,b="x=t', MISCOUNTED),
        ]:
            checked = check(b"m f=0 0\n%b\nm f=2 2" % line)
            self.assertEqual([bad.reason for bad in checked.bad], [reason], line)
            self.assertEqual(checked.lines, b"m f=0 0\nm f=2 2")

    def test_precision(self) -> None:
        """Which times are too far away depends on their unit."""
        for precision, limit in [
            ("u", 9223372036854775),
            ("ms", 9223372036854),
            ("s", 9223372036),
            ("m", 153722867),
            ("h", 2562047),
            ("auto", 9223372036854775806),
        ]:
            self.assertEqual(words(check(b"m f=1 %d\nm f=1 %d" % (limit, -limit), precision)), [])
            self.assertIn("time outside range", words(check(b"m f=1 %d" % (limit + 1), precision))[0])

    def test_secret(self) -> None:
        """What strangers wrote is not printed with the values that carry it."""
        checked = check(b"m secret=1 1\nsecret")
        self.assertNotIn("secret", repr(checked))

    def test_bounded(self) -> None:
        """A long bad line is not kept whole."""
        self.assertEqual(len(check(b"x" * 5000).bad[0].text), SHOWN_BYTES)

    @given(st.integers(0, 10**6), st.sampled_from(Api))
    def test_cut_at_newlines(self, seed: int, api: Api) -> None:
        """Good lines can be cut at the newlines, and each piece is the same good point alone."""
        lines, grammar = RandomLines(seed), GRAMMARS[api]
        checked = check(b"\n".join(lines.line() for _ in range(5)), "ns", grammar)
        pieces = checked.lines.split(b"\n") if checked.lines else []
        self.assertEqual(len(pieces), checked.points)
        for piece in pieces:
            alone = check(piece, "ns", grammar)
            self.assertEqual((alone.lines, words(alone)), (piece, []))


class GenerationTests(SynchronousTestCase):
    """What is a good line follows the InfluxDB that it is for."""

    def assert_taken(self, line: bytes, v1: bool, v2: bool, v3: bool) -> None:
        """Who takes a line: alone, among plain ones, and beside what makes a body be read line by line."""
        for api, taken in ((Api.V1, v1), (Api.V2, v2), (Api.V3, v3)):
            grammar = GRAMMARS[api]
            self.assertEqual(check(line, "ns", grammar).points, taken, (line, api))
            self.assertLessEqual(are_plain(b"m f=1 1\n%b 1" % line, "ns", grammar), taken, (line, api))
            mixed = check(b"\n%b\nm,b=1,a=1 f=1" % line, "ns", grammar)
            self.assertEqual((mixed.points, len(mixed.bad)), (1 + taken, 1 - taken), (line, api))

    def test_unsigned(self) -> None:
        """InfluxDB 2 and 3 take unsigned integers, of 64 bits; 1 takes none."""
        for value in (b"0u", b"1u", b"18446744073709551615u", b"0018446744073709551615u"):
            self.assert_taken(b"m f=1,g=" + value, v1=False, v2=True, v3=True)
            self.assertTrue(are_plain(b"m g=%b 1" % value, "ns", GRAMMARS[Api.V2]))
        for value in (b"18446744073709551616u", b"-1u", b"-0u", b"1.0u", b"1e1u", b"1uu", b"1ui", b"1iu", b"u"):
            self.assert_taken(b"m g=" + value, v1=False, v2=False, v3=False)

    def test_unsigned_named(self) -> None:
        """An unsigned integer that is too large is named as InfluxDB 2 names it, however long it is."""
        for digits in ("18446744073709551616", "9" * 5000):
            checked = check(f"m f={digits}u".encode(), "ns", GRAMMARS[Api.V2])
            reason = f'unable to parse unsigned {digits}: strconv.ParseUint: parsing "{digits}": value out of range'
            self.assertEqual([line.reason for line in checked.bad], [reason])

    def test_reserved_tags(self) -> None:
        """InfluxDB 2 refuses a whole body for one tag with a name of its own: it gets no such line."""
        for key in (b"_field", b"_measurement"):
            self.assert_taken(b"m,%b=1 f=1" % key, v1=True, v2=False, v3=True)
            self.assert_taken(b"m,a=1,%b=1,z=1 f=1" % key, v1=True, v2=False, v3=True)
            self.assert_taken(b"m,%b=1 %b=1" % (key[:-1], key), v1=True, v2=True, v3=True)
            self.assert_taken(b"m,%bs=1,a=1 f=1" % key, v1=True, v2=True, v3=True)
        checked = check(b"m,_field=1,_field=2 f=1", "ns", GRAMMARS[Api.V2])
        self.assertEqual([line.reason for line in checked.bad], ['cannot use reserved tag key "_field"'])

    def test_half_numbers(self) -> None:
        """InfluxDB 3 wants digits on both sides of a point."""
        for value in (b"1.", b".5", b"-.5", b"-1.", b"1.e5", b".5e-5"):
            self.assert_taken(b"m f=" + value, v1=True, v2=True, v3=False)
        for value in (b"1.5", b"-0.5", b"1e5", b"1.5E+5", b"1"):
            self.assert_taken(b"m f=" + value, v1=True, v2=True, v3=True)
        self.assertEqual(check(b"m f=1.", "ns", GRAMMARS[Api.V3]).bad[0].reason, "invalid number")

    def test_time_beside(self) -> None:
        """InfluxDB 3 refuses a point for a field `time`, before which the others leave it out."""
        for api, points in ((Api.V1, 1), (Api.V2, 1), (Api.V3, 0)):
            self.assertEqual(check(b"m f=1,time=1 1", "ns", GRAMMARS[api]).points, points)
            self.assertEqual(check(b"m,time=1 f=1 1", "ns", GRAMMARS[api]).points, 0)

    def test_tabs(self) -> None:
        """InfluxDB 3 knows no tabs between the parts of a line."""
        for line in (b"m \tf=1", b"m \t f=1", b"m f=1 \t1"):
            self.assert_taken(line, v1=True, v2=True, v3=False)
        self.assert_taken(b"m  f=1", v1=True, v2=True, v3=True)

    @given(st.integers(0, 10**6), st.sampled_from(Api))
    def test_a_glance_is_enough(self, seed: int, api: Api) -> None:
        """What is taken at a glance is taken at a second look, too, whichever the generation."""
        lines, grammar = RandomLines(seed), GRAMMARS[api]
        for line in (lines.line() for _ in range(20)):
            if b"\n" not in line and (grammar.with_time["ns"].fullmatch(line) or grammar.without_time.fullmatch(line)):
                self.assertIsNone(refusal(line, 1, grammar.rules), line)
                self.assertTrue(grammar.safe.fullmatch(line), line)


class CostTests(SynchronousTestCase):
    """What one body may cost."""

    def test_too_many_bad(self) -> None:
        """After a thousand bad lines the rest of a body is refused in one."""
        checked = check(b"m f=1 1\n" + b"bad\n" * 5000 + b"m f=2 2")
        self.assertEqual((checked.points, len(checked.bad)), (1, MAX_BAD_LINES + 1))
        self.assertEqual(checked.bad[-1].reason, TOO_MANY)

    def test_too_many_unusual(self) -> None:
        """Lines that need a second look are taken up to a limit, good as they are."""
        checked = check(b"m f=1e300 1\n" * (MAX_LOOKS + 5))
        self.assertEqual((checked.points, [bad.reason for bad in checked.bad]), (MAX_LOOKS, [TOO_MANY]))

    def test_ordinary_lines_do_not_count(self) -> None:
        """Comments, blank lines and good lines are free, also when one line is bad, or not plain."""
        for odd, points in [(b"m,b=1,a=1 f=1 1", 1), (b"m,t=\xff f=1 1", 0), (b"m f=1e300 1", 1), (b"bad", 0)]:
            for tags in (b"a=1,b=2", b"b=1,a=2"):
                body = (b"m,%b f=1 1\n# comment\n\n" % tags) * (MAX_LOOKS + 1) + odd
                checked = check(body)
                self.assertEqual((checked.points, len(checked.bad)), (MAX_LOOKS + 1 + points, 1 - points), odd)

    def test_too_long_to_name(self) -> None:
        """Of a bad line that is very long, it is said that it is bad."""
        self.assertEqual(check(b"m " + b"f=1," * 100_000).bad[0].reason, NOT_NAMED)

    def test_hostile(self) -> None:
        """A MiB of what makes parsers stumble takes linear time."""
        for body in [
            *(piece * MEBIBYTE for piece in (b"\\", b'"', b",", b"=", b" ", b"\n", b"#", b"\xff", b"\x00")),
            b"m f=" + b'"' * MEBIBYTE,
            b'm f="",' + b'"=",' * (MEBIBYTE // 4),
            b"m " + b'a="",' * (MEBIBYTE // 5),
            b"m," + b"a=1," * (MEBIBYTE // 4),
            b"m," + b"\\=," * (MEBIBYTE // 3),
            b"m " + b"a=1," * (MEBIBYTE // 4) + b"b=1",
            b"a\n" * (MEBIBYTE // 2),
            b'# "\n' * (MEBIBYTE // 4),
            b'm f="a\n' * (MEBIBYTE // 7),
            b"m f=" + b"9" * MEBIBYTE,
            b"m f=" + b"9" * MEBIBYTE + b"i",
            b"m f=1 " + b"9" * MEBIBYTE,
            b"m f=1" + b" " * MEBIBYTE + b"x",
            b"m,time=1 f=1\n" * (MEBIBYTE // 13),
            b"m f=1\nx\n" * (MEBIBYTE // 8),
            bytes(range(256)) * (MEBIBYTE // 256),
        ]:
            check(body[:1000])  # Its patterns are compiled.
            started = time.process_time()
            check(body)
            self.assertLess(time.process_time() - started, HOSTILE_SECONDS, (body[:20], body[-20:]))
