"""Prometheus reads our metrics, and finds nothing to say about them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from attrs import fields
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.ops.test_figures import ONE, OTHER
from torfluxd.ops.exposition import PREFIX, exposition
from torfluxd.ops.figures import Figures, Kind, about

PROMTOOL_SECONDS = 30.0


def promtool(*arguments: str, data: bytes = b"") -> tuple[int, str]:
    """What `promtool` says."""
    try:
        ended = subprocess.run(
            ["promtool", *arguments], input=data, capture_output=True, check=False, timeout=PROMTOOL_SECONDS
        )
    except FileNotFoundError:
        raise AssertionError("there is no promtool; scripts/setup installs it (Debian's prometheus)") from None
    return ended.returncode, (ended.stdout + ended.stderr).decode()


class ExpositionTests(SynchronousTestCase):
    """The text that Prometheus is given."""

    def test_promtool_is_silent(self) -> None:
        """`promtool check metrics` has nothing against the metrics, neither at the start nor later."""
        for figures in (Figures(), ONE + OTHER):
            self.assertEqual((0, ""), promtool("check", "metrics", data=exposition(figures, "1.2.3")))

    def test_promtool_is_not_silent_by_itself(self) -> None:
        """A metric against the rules would be told."""
        self.assertNotEqual((0, ""), promtool("check", "metrics", data=b"# TYPE made_up counter\nmade_up 1\n"))

    def test_numbers(self) -> None:
        """The numbers are those that were counted, and a histogram's buckets hold all below them."""
        text = exposition(ONE, "1.2.3").decode()
        for line in (
            'torfluxd_build_info{version="1.2.3"} 1.0',
            'torfluxd_requests_total{verdict="written"} 3.0',
            'torfluxd_influxdb_write_seconds_bucket{le="0.1"} 3.0',
            'torfluxd_influxdb_write_seconds_bucket{le="1.0"} 5.0',
            'torfluxd_influxdb_write_seconds_bucket{le="+Inf"} 6.0',
            "torfluxd_influxdb_write_seconds_sum 4.5",
            "torfluxd_onion_descriptor_age_seconds 60.0",
        ):
            self.assertIn(f"\n{line}\n", f"\n{text}\n")

    def test_it_is_ours_alone(self) -> None:
        """There is one metric for each figure that is known, and none of the process, the platform or Python."""
        found = {family.name for family in text_string_to_metric_families(exposition(ONE, "1").decode())}
        known = {each.name for each in fields(Figures) if getattr(ONE, each.name) is not None}
        self.assertEqual({f"{PREFIX}{name}" for name in known} | {f"{PREFIX}build_info"}, found)

    def test_what_is_not_known_is_absent(self) -> None:
        """The age of a descriptor that was never uploaded is no metric, rather than a wrong one."""
        self.assertNotIn(b"descriptor_age", exposition(Figures(), "1"))


class DocumentedTests(SynchronousTestCase):
    """What `docs/monitoring.rst` tells of the metrics."""

    def test_each_is_told(self) -> None:
        """Each metric stands in the documentation with what it means, word for word."""
        text = " ".join((Path(__file__).parents[2] / "docs" / "monitoring.rst").read_text().split())
        for each in fields(Figures):
            what = about(each)
            name = f"{PREFIX}{each.name}{'_total' * (what.kind is Kind.COUNTER)}"
            self.assertIn(f"``{name}`` {what.help}", text)
