"""A real influxd takes every line that we take, and we refuse what it takes for named reasons only."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from tests.influxd import REQUEST_SECONDS, start_influxd
from torfluxd.influx.check import Checked, check
from torfluxd.influx.dialect import Precision
from torfluxd.influx.refusal import MISCOUNTED, STRICTER

DATABASE = "telemetry"

SEED = 1606
LINES = 20_000
TORTURE_LINES = 1_000_000

JOINED_LINES = 5000

PRECISIONS: tuple[Precision, ...] = ("ns", "ns", "u", "ms", "s", "m", "h")

SAME_WORDS_AT_LEAST = 0.999
"""How much of what is refused by both is refused in the same words: all but some lines with backslashes in pairs, which
influxd reads in two ways."""

WEEK_NS = 7 * 24 * 3600 * 10**9
"""InfluxDB opens a file for every week that it has points of: those of a test share one."""

MEASUREMENT_END = re.compile(rb"(?<!\\)[, ]")
SERIES = re.compile(rb"(?:[^ \\]|\\.)*+")


class Oracle:
    """An influxd that is asked what it thinks of lines, and stores none of them.

    A retention policy that does not exist: influxd reads the lines first, and names their faults if all are bad.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=REQUEST_SECONDS)
        self.close = self._connection.close

    def faults(self, body: bytes, precision: Precision) -> str:
        """What it says against a body all of whose lines are bad; nothing if one of them is good."""
        self._connection.request("POST", f"/write?db={DATABASE}&rp=none&precision={precision}", body)
        response = self._connection.getresponse()
        text = response.read()
        error: str = json.loads(text)["error"] if text else ""
        assert response.status == 400 or error in ("", "retention policy not found: none"), (body, error)
        return error if response.status == 400 else ""


def is_for_the_store(reason: str) -> bool:
    """Whether influxd finds this fault only when it stores the line: a tag called `time`, or no field but `time`."""
    return reason.startswith(("invalid tag key: ", "invalid field name: "))


class Comparison:
    """What both said about many bodies, each made to be one line."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.too_lax: list[object] = []
        self.too_strict: list[object] = []
        self.other_words: list[object] = []
        self.both: Counter[str] = Counter()

    def compare(self, body: bytes, precision: Precision) -> None:
        """Hold our verdict on a body against influxd's."""
        checked = check(body, precision)
        faults = self.oracle.faults(body, precision)
        if not checked.bad:
            self.both["takes"] += 1
            if faults:
                self.too_lax.append((body, precision, faults))
        elif faults:
            self.both["refuses"] += 1
            if checked.points:
                self.too_lax.append((body, precision, faults))
            if faults != "\n".join(map(str, checked.bad)):
                self.other_words.append((body, faults, checked.bad))
        else:
            self.explain(checked, precision)

    def explain(self, checked: Checked, precision: Precision) -> None:
        """Each bad line is refused by influxd, too, when it comes alone, or for a reason that is on the list."""
        for line in checked.bad:
            if line.reason in STRICTER and (line.reason != MISCOUNTED or b'"' in line.text):
                self.both[line.reason] += 1
            elif not is_for_the_store(line.reason) and not self.oracle.faults(line.text, precision):
                self.too_strict.append((line.text, precision, line.reason))


class InfluxdbTests(SynchronousTestCase):
    """Our check and influxd's."""

    def setUp(self) -> None:
        """A real influxd, with a database."""
        self.influxd = start_influxd(self, log_enabled=False)
        self.influxd.create_database(DATABASE)

    def compare(self, seed: int, count: int) -> None:
        """Hold the verdicts on lines made at random against each other."""
        lines = RandomLines(seed)
        with closing(Oracle(self.influxd.port)) as oracle:
            comparison = Comparison(oracle)
            for _ in range(count):
                comparison.compare(lines.line(), lines.random.choice(PRECISIONS))
        self.assertEqual(comparison.too_lax, [])
        self.assertEqual(comparison.too_strict, [])
        both = comparison.both
        self.assertLessEqual(
            len(comparison.other_words), (1 - SAME_WORDS_AT_LEAST) * both["refuses"], comparison.other_words[:5]
        )
        # The lines at random are worth something: enough of them are good, and each reason is met.
        self.assertGreater(both["takes"], count * 0.2)
        usual = [reason for reason in STRICTER if reason != MISCOUNTED]
        self.assertEqual([reason for reason in usual if both[reason] < count / 2000], [])
        self.assertLess(both[MISCOUNTED], count / 2000)

    def test_same_verdicts(self) -> None:
        """No line that the gateway takes is refused by influxd; what only the gateway refuses is on its list."""
        self.compare(SEED, LINES)

    @pytest.mark.torture
    def test_same_verdicts_on_many(self) -> None:
        """The same of a million lines."""
        self.compare(SEED + 1, TORTURE_LINES)

    def test_names_called_time(self) -> None:
        """A tag `time`, and a point with no field but `time`, are refused as by influxd; beside others it may be."""
        for line, taken in [
            (b"m,time=1 f=1 1", False),
            (b"m,a=1,time=x f=1 1", False),
            (b"m time=1 1", False),
            (b"m f=1,time=1 1", True),
            (b"m time=1,f=1 1", True),
            (b"time,times=1,tim=2 timer=1,ti=2 1", True),
        ]:
            checked = check(line)
            answer = self.influxd.write(DATABASE, line)
            self.assertEqual((answer.status == 204, not checked.bad), (taken, taken), line)
            if not taken:
                error = json.loads(answer.body)["error"]
                self.assertEqual(error, f"partial write: {checked.bad[0].reason} dropped=1")

    def test_joined(self) -> None:
        """Good lines of anybody, one after the other in one body, are stored as just as many points of their own."""
        lines = RandomLines(SEED + 2)
        good: list[bytes] = []
        while len(good) < JOINED_LINES:
            line = check(lines.line()).lines.partition(b"\n")[0]
            # InfluxDB has one name for `e=f` and `e\\=f`, and finds the points of one spelling only.
            if line and not {*b'="'} & {*MEASUREMENT_END.split(line, maxsplit=1)[0]}:
                good.append(self.in_one_type(line, time_ns=lines.random.randrange(WEEK_NS)))
        joined = check(b"\n".join(good))
        self.assertEqual((joined.points, joined.bad), (JOINED_LINES, ()))
        answer = self.influxd.write(DATABASE, joined.lines)
        self.assertEqual((answer.status, answer.body), (204, b""))
        stored = self.influxd.query("SELECT * FROM /.*/", DATABASE)
        self.assertEqual(sum(len(series["values"]) for series in stored), JOINED_LINES)

    def in_one_type(self, line: bytes, time_ns: int) -> bytes:
        """The line with all its fields in one string: so that no two lines conflict, and strings have much in them."""
        found = SERIES.match(line)
        assert found is not None, line
        text = line[found.end() :].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'%b f\\"\\,\\ x="%b" %d' % (found[0], text, time_ns)

    def test_neighbours(self) -> None:
        """Whatever stands in a good line before ours, ours is stored."""
        lines = RandomLines(SEED + 3)
        expected = 0
        for number in range(1500):
            checked = check(lines.line())
            if checked.points:
                answer = self.influxd.write(DATABASE, b"%b\nours n=%di %d" % (checked.lines, number, number))
                # Two spellings of one field key, of two types: influxd refuses all that comes with it.
                expected += answer.body != b'{"error":"field type conflict"}\n'
        self.assertEqual(self.influxd.count(DATABASE, "ours"), expected)
        self.assertGreater(expected, 300)

    def test_long_keys(self) -> None:
        """Measurement, tags and field key together may be as long as influxd takes, to the byte; strings longer."""
        for line, taken in [
            (b"m " + b"f" * 65_530 + b"=1 1", True),
            (b"m " + b"f" * 65_531 + b"=1 1", False),
            (b"m" * 65_530 + b" f=1 1", True),
            (b"m" * 65_531 + b" f=1 1", False),
            (b"m" * 65_536 + b" f=1 1", False),
            (b"m,t=" + b"t" * 65_000 + b" f=1," + b"g" * 600 + b"=1 1", False),
            (b'm s="' + b"a=b," * 100_000 + b'",f=1 1', True),
            (b"m " + b",".join(b"f%d=1" % number for number in range(10_000)) + b" 1", True),
        ]:
            checked = check(line)
            answer = self.influxd.write(DATABASE, line)
            self.assertEqual((answer.status == 204, not checked.bad), (taken, taken), line[:80])
            if not taken:
                self.assertIn(checked.bad[0].reason, json.loads(answer.body)["error"])
