"""The check of line protocol: what is good, what is kept, and what is said of the rest."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from torfluxd.influx.check import MAX_BAD_LINES, MAX_LOOKS, NOT_NAMED, SHOWN_BYTES, TOO_MANY, Checked, check
from torfluxd.influx.line import encode
from torfluxd.influx.refusal import AFTER_STRING, BACKSLASHES, CONTROL_CHARACTER, LINE_BREAK, MISCOUNTED, NOT_UTF8
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

    @given(st.integers(0, 10**6))
    def test_cut_at_newlines(self, seed: int) -> None:
        """Good lines can be cut at the newlines, and each piece is the same good point alone."""
        lines = RandomLines(seed)
        checked = check(b"\n".join(lines.line() for _ in range(5)))
        pieces = checked.lines.split(b"\n") if checked.lines else []
        self.assertEqual(len(pieces), checked.points)
        for piece in pieces:
            self.assertEqual((check(piece).lines, words(check(piece))), (piece, []))


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
