"""The rules that hold when a vendor says nothing, and where writes go when he says where."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.gateway.rules import DAY_SECONDS, LineRules
from torfluxd.settings import read_gateway_settings

REPORTER_KEEPS_SECONDS = 90 * DAY_SECONDS
"""The longest that a reporter, or an agent, may be told to keep points."""

GRANULARITY_SECONDS = DAY_SECONDS
"""The coarsest one."""

CLOCK_SKEW_SECONDS = 3600.0
"""A clock that is set to local time, or back from summer time."""

INFLUXD_VALUES_PER_TAG = 100_000
INFLUXD_SERIES = 1_000_000
INFLUXD_BODY_BYTES = 25_000_000


class DefaultTests(SynchronousTestCase):
    """The defaults leave room for what is honest, and none for what InfluxDB cannot bear."""

    def setUp(self) -> None:
        """A vendor who says nothing."""
        self.rules = LineRules()

    def test_the_same_as_the_options(self) -> None:
        """They are the defaults of the options, which stand in the help and in the sample of a configuration."""
        self.assertEqual(self.rules, LineRules.of(read_gateway_settings({}, {}).rules))

    def test_nothing_honest_is_too_old(self) -> None:
        """A point may be older than the longest a reporter keeps it, rounded down, by a clock that is slow."""
        self.assertGreater(
            self.rules.max_age_seconds, REPORTER_KEEPS_SECONDS + GRANULARITY_SECONDS + CLOCK_SKEW_SECONDS
        )

    def test_nothing_honest_is_too_early(self) -> None:
        """And be as far ahead as the coarsest granularity and a fast clock put it."""
        self.assertGreaterEqual(self.rules.max_ahead_seconds, GRANULARITY_SECONDS + CLOCK_SKEW_SECONDS)

    def test_a_whole_backlog_may_come_at_once(self) -> None:
        """All days of the window may come in one body, and from one writer; so many shards nobody exceeds."""
        days = (self.rules.max_age_seconds + self.rules.max_ahead_seconds) / DAY_SECONDS + 1
        self.assertGreater(self.rules.max_shard_days_per_body, days)
        self.assertGreaterEqual(self.rules.max_shard_days_per_writer, self.rules.max_shard_days_per_body)

    def test_less_than_influxd_refuses_at(self) -> None:
        """Our bounds are reached before influxd's, at which it refuses everybody."""
        self.assertLess(self.rules.max_tag_values, INFLUXD_VALUES_PER_TAG)
        self.assertLess(self.rules.max_series, INFLUXD_SERIES)
        self.assertLess(self.rules.max_inflated_bytes, INFLUXD_BODY_BYTES)


class DestinationTests(SynchronousTestCase):
    """Where writes go."""

    def test_anywhere(self) -> None:
        """Without a word of the vendor's: where the stranger says; nothing is known to be the vendor's."""
        asked = Destination("x", "y")
        self.assertEqual((asked, ()), (LineRules().settle(asked), LineRules().homes))

    def test_only_these(self) -> None:
        """With a list of databases: to one of these, in the retention policy that the stranger names."""
        rules = LineRules(databases=("a", "b"))
        for asked in (Destination("a"), Destination("b", "week")):
            self.assertEqual(asked, rules.settle(asked))
        for database in ("c", "A", "a/b", ""):
            self.assertIsNone(rules.settle(Destination(database)))
        self.assertEqual((Destination("a"), Destination("b")), rules.homes)

    def test_one_policy(self) -> None:
        """With a retention policy: there, whatever the stranger names; but another database does not exist."""
        rules = LineRules(databases=("a",), retention_policy="week")
        for policy in (None, "week", "forever"):
            self.assertEqual(Destination("a", "week"), rules.settle(Destination("a", policy)))
        self.assertIsNone(rules.settle(Destination("b", "week")))
        self.assertEqual((Destination("a", "week"),), rules.homes)

    def test_a_policy_of_no_database(self) -> None:
        """A retention policy without its database, or with two, is a mistake."""
        for databases in ((), ("a", "b")):
            self.assertRaises(ValueError, LineRules, databases=databases, retention_policy="week")
