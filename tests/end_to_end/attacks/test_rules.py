"""Attacks that are no mistake of anybody's, and which only rules can tell: too old, too many, of the wrong type."""

from __future__ import annotations

import time

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, write

WEEK_NS = 7 * 86_400 * 10**9

WEEKS = 400
"""Over how many weeks the points of one body lie: 8 kB."""


class RulesCase(AttackCase):
    """A gateway with the rules that it has by itself, and those of a configuration file."""

    gateway_options = ()
    configuration = ""

    def prepare_gateway(self) -> tuple[str, ...]:
        """Write the file."""
        path = self.directory / "torfluxd.toml"
        path.write_text(self.configuration)
        return ("--config", str(path))

    def times(self, count: int) -> list[int]:
        """So many times, a second apart, the last of them now."""
        now = time.time_ns()
        return [now - second * 10**9 for second in range(count)]


def weekly(measurement: bytes) -> bytes:
    """A point a week, for years."""
    now = time.time_ns()
    return b"\n".join(b"%b v=1 %d" % (measurement, now - week * WEEK_NS) for week in range(WEEKS))


class ShardsTests(RulesCase):
    """Files for each week of eight years."""

    def test_shards(self) -> None:
        """8 kB make influxd open 400 shards; through the gateway there are those of the last 92 days."""
        self.assertEqual(400, self.one_through_gateway(write(weekly(b"m"))).status)
        self.assertLessEqual(self.shards(), 15)
        self.assertLessEqual(self.influxd.count(DATABASE, "m"), 14)
        self.assertEqual(204, self.one_directly(write(weekly(b"m"))).status)
        self.assertGreaterEqual(self.shards(), WEEKS)

    def test_the_future(self) -> None:
        """The same is true of times to come."""
        line = b"m v=1 %d" % (time.time_ns() + 2 * 86_400 * 10**9)
        self.assert_refused(write(line), 400)
        self.assertEqual(204, self.one_directly(write(line)).status)


class ShardBudgetTests(RulesCase):
    """A vendor who takes points of any age."""

    gateway_options = ("--max-age", "3000d")

    def test_shards(self) -> None:
        """Where points may be as old as they like, one writer still opens a bounded number of shards."""
        self.assertEqual(400, self.one_through_gateway(write(weekly(b"m"))).status)
        self.assertLessEqual(self.shards(), 120)


class TypeTests(RulesCase):
    """The first write decides what a field is, for ever."""

    configuration = '[schema.backup.fields]\nseconds = "float"\n'

    def test_wrong_first_type(self) -> None:
        """Whoever writes first in the wrong type shuts out everybody at influxd; the schema does not let him."""
        hostile, honest = write(b'backup seconds="x"'), write(b"backup seconds=1.5")
        self.assert_refused(hostile, 400)
        self.assertEqual(204, self.one_through_gateway(honest).status)
        self.influxd.query("DROP MEASUREMENT backup", DATABASE)
        self.assertEqual(204, self.one_directly(hostile).status)
        self.assertEqual(400, self.one_directly(honest).status)

    def test_other_measurements(self) -> None:
        """Nothing that is not in the schema gets anywhere."""
        self.assert_refused(write(b"other v=1"), 400)
        self.assert_refused(write(b"backup,host=a seconds=1.5"), 400)
        self.assert_refused(write(b"backup other=1"), 400)
        self.assertEqual([], self.measurements())


class CardinalityTests(RulesCase):
    """More names and values than anybody has."""

    configuration = "[rules]\nmax_tag_values = 20\nmax_series = 30\nmax_measurements = 3\n"
    data_options = "max-values-per-tag = 50\nmax-series-per-database = 200"

    def test_values_per_tag(self) -> None:
        """Influxd takes 60 values in one batch where 50 are allowed; through the gateway those beyond are `other`."""
        lines = b"\n".join(b"m,t=%d v=1 %d" % (number, at) for number, at in enumerate(self.times(60)))
        self.one_through_gateway(write(lines))
        values = {value for _, value in self.influxd.query('SHOW TAG VALUES WITH KEY = "t"', DATABASE)[0]["values"]}
        self.assertLessEqual(len(values), 21)
        self.assertIn("other", values)
        self.assertEqual(60, self.influxd.count(DATABASE, "m"))
        self.influxd.query("DROP MEASUREMENT m", DATABASE)
        self.assertEqual(204, self.one_directly(write(lines)).status)
        self.assertEqual(60, self.series())

    def test_series(self) -> None:
        """One stranger cannot use up the series of the database: those of others are written on."""
        for start in range(0, 500, 100):
            lines = b"\n".join(b"m,a=%d,b=%d v=1" % (number % 20, number // 20) for number in range(start, start + 100))
            self.one_through_gateway(write(lines))
        self.assertLess(self.series(), 40)
        self.assertEqual(204, self.one_through_gateway(write(b"honest v=1")).status)

    def test_measurements(self) -> None:
        """Nor the number of measurements."""
        for number in range(10):
            self.one_through_gateway(write(b"m%d v=1" % number))
        self.assertEqual(3, len(self.measurements()))


class DatabaseTests(RulesCase):
    """A database of the vendor's that is none of the strangers' business."""

    gateway_options = ("--database", DATABASE)

    def test_another_database(self) -> None:
        """A write to another database is refused before influxd hears of it, whether there is one or not."""
        self.influxd.create_database("accounting")
        for database in ("accounting", "_internal", "nope"):
            data = write(b"m v=1", f"db={database}")
            answers = self.through_gateway(data)
            self.assertNotEqual(204, answers[0].status)
            self.assertEqual([], self.reached(lambda data=data: self.through_gateway(data)))  # type: ignore[misc]
        self.assertEqual(0, self.influxd.count("accounting", "m"))
        self.assertEqual(204, self.one_through_gateway(write(b"m v=1")).status)
