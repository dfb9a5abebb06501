"""A real InfluxDB gives back the points that were written, and would not have given back those that were refused."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.influxd import quoted, start_influxd
from torfluxd.errors import PointError
from torfluxd.influx.line import MAX_TIME_NS, MIN_TIME_NS, FieldValue, Point, encode_point

DATABASE = "telemetry"

SEED = 20181
"""Of the points made at random: the same in every run."""

RANDOM_POINTS = 400

WEEK_NS = 7 * 24 * 3600 * 10**9
"""InfluxDB opens a file for every week that it has points of: the random ones share one."""

NASTY = [
    "a",
    "B",
    "é",
    "温",
    "🌻",
    "\u00a0",
    "\u0085",
    "\u2028",
    "\ufeff",
    "\uffff",
    "\x80",
    *'\\\\,,==  ""##__\'`.:/%$*{}[]()<>|0',
]
"""What texts are made of: separators often enough that they meet."""

Row = tuple[str, tuple[tuple[str, str], ...], int, str]
"""One value of one point: measurement, tags, time, and the field with its value, as `repr`."""


def expected(point: Point) -> Iterator[Row]:
    """The rows that a point becomes."""
    assert point.time_ns is not None
    tags = tuple(sorted((key, value) for key, value in point.tags.items() if value))
    for key, value in point.fields.items():
        yield point.measurement, tags, point.time_ns, repr((key, value))


def found(answer: Sequence[dict[str, Any]], points: Sequence[Point]) -> Iterator[Row]:
    """The rows in an answer of InfluxDB."""
    # JSON has one kind of number, so that 1e20 looks like an integer.
    floats = {
        (point.measurement, key) for point in points for key, value in point.fields.items() if type(value) is float
    }
    for series in answer:
        tags = tuple(sorted((key, value) for key, value in series.get("tags", {}).items() if value))
        for time_ns, *values in series["values"]:
            for key, value in zip(series["columns"][1:], values, strict=True):
                exact = float(value) if (series["name"], key) in floats else value
                yield series["name"], tags, time_ns, repr((key, exact))


def unchecked(point: Point) -> bytes:
    """The line of a point by an encoder that escapes what can be escaped, and checks nothing."""
    tags = "".join(f",{escaped(key)}={escaped(value)}" for key, value in point.tags.items())
    fields = ",".join(f"{escaped(key)}={value}" for key, value in point.fields.items())
    return f"{escaped(point.measurement)}{tags} {fields} {point.time_ns}".encode()


def escaped(text: str) -> str:
    """A name with all escapes that line protocol has."""
    return "".join(f"\\{character}" if character in ",= " else character for character in text)


class RandomPoints:
    """Points with nasty names and values of every type; each measurement has one type for each field."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        """Any text that can be refused or not."""
        return "".join(self.random.choices(NASTY, k=self.random.randrange(8)))

    def value(self) -> FieldValue:
        """A value of any type; floats are any 64 bits."""
        bits = self.random.randbytes(8)
        candidates: list[FieldValue] = [
            struct.unpack("<d", bits)[0],
            struct.unpack("<q", bits)[0],
            self.random.choice([0.0, -0.0, 1e16, 1e22, 5e-324, 1e-320, 2.2250738585072014e-308, 0.1, -1e-5]),
            self.random.choice([0, -1, 2**63 - 1, -(2**63), 2**53 + 1]),
            self.random.random() < 0.5,
            self.text() + "\t",
            'all "quoted" \\',
        ]
        return self.random.choice(candidates)

    def point(self, number: int) -> Point:
        """A point, of a measurement of its own."""
        fields = {self.text(): self.value() for _ in range(self.random.randint(1, 4))}
        tags = {self.text(): self.text() for _ in range(self.random.randint(0, 4))}
        return Point(f"{self.text()}{number}", fields, tags, self.random.randrange(WEEK_NS))

    def writable(self, count: int) -> Iterator[Point]:
        """Points that are not refused."""
        number = 0
        while number < count:
            point = self.point(number)
            try:
                encode_point(point)
            except PointError:
                continue
            number += 1
            yield point


class InfluxdbTests(SynchronousTestCase):
    """The encoder and influxd."""

    def setUp(self) -> None:
        """A real influxd, with a database."""
        self.influxd = start_influxd(self)
        self.influxd.create_database(DATABASE)

    def test_read_back(self) -> None:
        """Every point is stored with its exact names, values, types and time, also after a restart."""
        points = [
            *RandomPoints(SEED).writable(RANDOM_POINTS),
            Point("first", {"f": 1}, {}, MIN_TIME_NS),
            Point("last", {"f": 1}, {}, MAX_TIME_NS),
            Point("same", {"name": 1}, {"name": "x"}, 1),
            Point("time", {"f": 1}, {}, 1),
            Point("m" * 65_515, {"a b=c,d, =": 1.0, "long": "x" * 1_000_000}, {}, 1),
        ]
        answer = self.influxd.write(DATABASE, b"\n".join(map(encode_point, points)))
        self.assertEqual((answer.status, answer.body), (204, b""))
        rows = sorted(row for point in points for row in expected(point))
        # One statement for each: of several measurements InfluxDB makes one table, with one type for each column.
        query = ";".join(f"SELECT * FROM {quoted(point.measurement)} GROUP BY *" for point in points)
        self.assertEqual(sorted(found(self.influxd.query(query, DATABASE), points)), rows)
        self.influxd.restart()
        self.assertEqual(sorted(found(self.influxd.query(query, DATABASE), points)), rows)

    def test_refused(self) -> None:
        """Points that are refused would have been refused, changed or hidden by InfluxDB."""
        field = {"f": True}
        backslashes = ["a\\", "a\\,b", "a\\ b", "a\\=b", 'a\\"b']
        points = [
            *(Point(name, field, {}, 1) for name in ["", "#m", "_series", "a\nb", "\tm", "\0m", *backslashes]),
            *(Point("m", {name: True}, {}, 1) for name in ["", "_name", "time", "a\nb", "\tf", "\0f", *backslashes]),
            *(Point("m", field, {name: "x"}, 1) for name in ["", "time", "a\nb", "a\\"]),
            *(Point("m", field, {"t": value}, 1) for value in ["a\nb", "a\\"]),
            *(Point("m", {"f": value}, {}, 1) for value in (math.nan, math.inf, -math.inf)),
            *(Point("m", field, {}, time_ns) for time_ns in (MIN_TIME_NS - 1, MAX_TIME_NS + 1)),
            Point("m", {}, {}, 1),
            Point("m" * 65_531, field, {}, 1),
            Point("m" * 65_516, {"a b=c,d, =": 1.0}, {}, 1),
        ]
        for number, point in enumerate(points):
            self.assertRaises(PointError, encode_point, point)
            database = f"refused{number}"
            self.influxd.create_database(database)
            answer = self.influxd.write(database, unchecked(point))
            rows = list(found(self.influxd.query("SELECT * FROM /.*/ GROUP BY *", database), [point]))
            self.assertFalse(answer.status == 204 and rows == list(expected(point)), point)

    def test_empty_tag(self) -> None:
        """A point whose tag has an empty value is found by that."""
        self.influxd.write(DATABASE, encode_point(Point("m", {"f": 1}, {"t": ""}, 1)))
        self.influxd.write(DATABASE, encode_point(Point("m", {"f": 2}, {"t": "x"}, 2)))
        series = self.influxd.query("SELECT f FROM m WHERE t = ''", DATABASE)
        self.assertEqual([one["values"] for one in series], [[[1, 1]]])
