"""Figures are declared once, add up over processes, and travel as JSON."""

from __future__ import annotations

import json

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.ops.figures import Figures, Histogram, Kind, about

ONE = Figures(
    ready=1.0,
    start_time_seconds=100.0,
    processes=1,
    requests={"written": 3, "refused": 1},
    lines={"stored": 7},
    connections=2,
    influxdb_write_seconds=Histogram((0.1, 1.0), (3, 2, 1), 4.5),
    spool_oldest_age_seconds=10.0,
    onion_descriptor_age_seconds=60.0,
)
OTHER = Figures(
    ready=0.0,
    start_time_seconds=50.0,
    processes=1,
    requests={"written": 4, "postponed": 2},
    connections=5,
    influxdb_write_seconds=Histogram((0.1, 1.0), (1, 1, 1), 3.0),
    spool_oldest_age_seconds=None,
)

NO_FIGURES = (
    "",
    "[]",
    "{",
    '{"connections": "3"}',
    '{"requests": 3}',
    '{"lines": {"stored": true}}',
    '{"influxdb_write_seconds": {}}',
    '{"influxdb_write_seconds": 1}',
    '{"processes": null}',
)


class FiguresTests(SynchronousTestCase):
    """The value."""

    def test_two_processes_add_up(self) -> None:
        """What two workers did is the sum; how long something has lasted is the worst of both; unknown is nobody's."""
        both = ONE + OTHER
        self.assertEqual({"written": 7, "refused": 1, "postponed": 2}, both.requests)
        self.assertEqual((7, 2), (both.connections, both.processes))
        self.assertEqual(Histogram((0.1, 1.0), (4, 3, 2), 7.5), both.influxdb_write_seconds)
        self.assertEqual((0.0, 50.0, 10.0, 60.0), (
            both.ready, both.start_time_seconds, both.spool_oldest_age_seconds, both.onion_descriptor_age_seconds,
        ))  # fmt: skip
        self.assertIsNone(both.influxdb_up)

    def test_nothing_adds_nothing(self) -> None:
        """A process of which nothing is known changes no sum, and the order makes no difference."""
        self.assertEqual(ONE, ONE + Figures(influxdb_write_seconds=Histogram.empty((0.1, 1.0))))
        self.assertEqual(ONE + OTHER, OTHER + ONE)

    def test_it_travels(self) -> None:
        """What one process writes, another reads as the same figures."""
        for figures in (Figures(), ONE, ONE + OTHER):
            self.assertEqual(figures, Figures.from_json(figures.to_json()))

    def test_other_versions(self) -> None:
        """A newer version's figures are passed over where we do not know them, and an older one's are nothing yet."""
        self.assertEqual(Figures(connections=3), Figures.from_json('{"connections": 3, "phases_of_the_moon": [1]}'))

    def test_what_are_no_figures(self) -> None:
        """Anything else is refused as such, whatever it is."""
        for text in NO_FIGURES:
            with self.subTest(text):
                self.assertRaises(ValueError, Figures.from_json, text)

    def test_each_says_what_it_means(self) -> None:
        """Each figure has a sentence for whoever reads the metrics, and its name has its unit."""
        for each in fields(Figures):
            what = about(each)
            self.assertTrue(what.help.endswith(".") and what.help[0].isupper(), each.name)
            self.assertFalse(each.name.endswith(("_total", "_ms", "_count", "_bucket", "_sum")), each.name)
            if what.kind is Kind.GAUGE and ("age" in each.name or "time" in each.name):
                self.assertIn("seconds", each.name)

    def test_it_is_small(self) -> None:
        """What workers tell each other every time is a few kilobytes."""
        self.assertLess(len(json.dumps(json.loads((ONE + OTHER).to_json()))), 4096)
