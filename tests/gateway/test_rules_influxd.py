"""Attacks that succeed against a real influxd, and what is left of them behind the gateway's rules."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.influxd import Influxd, start_influxd
from torfluxd.boundaries import Answer
from torfluxd.gateway.exchange import Collect, Head
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.site import InfluxdbSite
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.settings import FieldType, MeasurementSchema

DIRECT, BEHIND = "direct", "behind"
"""Two databases: one is attacked directly, the other through the gateway."""

WEEK_NS = 7 * 86_400 * 10**9


class RulesCase(TestCase):
    """A real influxd, alone and behind a gateway."""

    def setUp(self) -> None:
        """Both databases are empty."""
        self.influxd: Influxd = start_influxd(self)
        for name in (DIRECT, BEHIND):
            self.influxd.create_database(name)
        self.now = time.time_ns()

    def gateway(self, rules: LineRules) -> InfluxdbSite:
        """A gateway with these rules."""
        site = InfluxdbSite(reactor, parse_influxdb_url(self.influxd.url), rules=rules)  # type: ignore[arg-type]
        self.addCleanup(site.close)
        return site

    async def write(self, site: InfluxdbSite, lines: bytes, database: str = BEHIND, query: str = "") -> Answer:
        """What a stranger hears."""
        plan = site.plan(Head(b"POST", f"/write?db={database}{query}".encode(), ()))
        return await plan.complete(lines, "a writer") if isinstance(plan, Collect) else plan  # type: ignore[return-value]

    def shards(self, database: str) -> int:
        """How many shards a database has."""
        found = [each for each in self.influxd.query("SHOW SHARDS") if each["name"] == database]
        return sum(len(each.get("values", [])) for each in found)

    def series(self, database: str) -> int:
        """How many series."""
        return sum(len(each["values"]) for each in self.influxd.query("SHOW SERIES", database))


class AttackTests(RulesCase):
    """Each attack, directly and through the gateway."""

    async def test_400_weeks_in_one_body(self) -> None:
        """8 kB make 400 shards of influxd; through the gateway 14, and where old points are welcome 115."""
        lines = b"\n".join(b"m v=1 %d" % (self.now - week * WEEK_NS) for week in range(400))
        self.assertEqual(204, self.influxd.write(DIRECT, lines).status)
        self.assertEqual(400, self.shards(DIRECT))
        answer = await self.write(self.gateway(LineRules()), lines)
        self.assertEqual(400, answer.status)
        self.assertIn(b"time outside the window", answer.body)
        self.assertEqual(14, self.shards(BEHIND))
        answer = await self.write(self.gateway(LineRules(max_age_seconds=20 * 365 * 86400.0)), lines)
        self.assertIn(b"too many days in this write", answer.body)
        self.assertEqual(115, self.shards(BEHIND))

    async def test_a_first_write_of_the_wrong_type(self) -> None:
        """Who comes first gives a field its type, and honest points are refused ever after; with a schema he is
        refused himself, and influxd never hears of it.
        """
        poison, honest = b'm v="text" %d' % self.now, b"m v=1 %d" % self.now
        self.assertEqual(204, self.influxd.write(DIRECT, poison).status)
        self.assertEqual(400, self.influxd.write(DIRECT, honest).status)
        site = self.gateway(LineRules(schema={"m": MeasurementSchema({}, {"v": FieldType("float")})}))
        answer = await self.write(site, poison)
        self.assertEqual(400, answer.status)
        self.assertIn(b"field has another type in the schema", answer.body)
        self.assertEqual([], self.influxd.query("SHOW MEASUREMENTS", BEHIND))
        self.assertEqual(204, (await self.write(site, honest)).status)
        self.assertEqual(1, self.influxd.count(BEHIND, "m"))

    async def test_series_without_end(self) -> None:
        """Whoever makes up values gets as many as there may be; the rest is `other`, and honest values stay."""
        site = self.gateway(LineRules(max_tag_values=50))
        self.assertEqual(204, (await self.write(site, b"m,version=1.0 v=1")).status)
        lines = b"\n".join(b"m,version=%d v=1 %d" % (number, self.now + number) for number in range(1000))
        self.assertEqual(204, self.influxd.write(DIRECT, lines).status)
        self.assertEqual(1000, self.series(DIRECT))
        self.assertEqual(204, (await self.write(site, lines)).status)
        self.assertEqual(51, self.series(BEHIND))
        self.assertEqual(204, (await self.write(site, b"m,version=1.0 v=2")).status)
        found = self.influxd.query("SELECT count(v) FROM m WHERE version = '1.0' OR version = 'other'", BEHIND)
        self.assertEqual(2 + 1000 - 49, found[0]["values"][0][1])

    async def test_measurements_without_end(self) -> None:
        """And as many measurements."""
        site = self.gateway(LineRules(max_measurements=20))
        answer = await self.write(site, b"\n".join(b"m%d v=1" % number for number in range(100)))
        self.assertIn(b"too many measurements", answer.body)
        self.assertEqual(20, self.series(BEHIND))


class DestinationTests(RulesCase):
    """Where strangers' writes go."""

    async def test_only_the_vendors_database(self) -> None:
        """Another database does not exist, whether InfluxDB has it or not, in InfluxDB's own words."""
        site = self.gateway(LineRules(databases=(BEHIND,)))
        made_up = self.influxd.write("nowhere", b"m v=1")
        answer = await self.write(site, b"m v=1", "nowhere")
        self.assertEqual((made_up.status, made_up.body), (answer.status, answer.body))
        self.assertEqual(404, (await self.write(site, b"m v=1", DIRECT)).status)
        self.assertEqual(204, (await self.write(site, b"m v=1")).status)
        self.assertEqual((0, 1), (self.series(DIRECT), self.series(BEHIND)))

    async def test_the_vendors_retention_policy(self) -> None:
        """With a retention policy of the vendor's, points are there, whichever a stranger asks for."""
        self.influxd.query(f"CREATE RETENTION POLICY quarter ON {BEHIND} DURATION 100d REPLICATION 1")
        site = self.gateway(LineRules(databases=(BEHIND,), retention_policy="quarter"))
        for number, query in enumerate(("", "&rp=autogen", "&rp=nowhere")):
            answer = await self.write(site, b"m v=%d %d" % (number, self.now + number), query=query)
            self.assertEqual(204, answer.status)
        found = self.influxd.query("SELECT count(v) FROM quarter.m", BEHIND)
        self.assertEqual(3, found[0]["values"][0][1])
