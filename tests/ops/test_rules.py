"""The alerts that come with torfluxd are rules that Prometheus takes, about metrics that there are."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields
from twisted.trial.unittest import SynchronousTestCase

from tests.ops.test_exposition import promtool
from torfluxd.ops.exposition import PREFIX
from torfluxd.ops.figures import Figures, Kind, about

HERE = Path(__file__).parent
RULES = HERE.parent.parent / "systemd" / "torfluxd.rules.yml"

MUST_KNOW = (
    "not published",
    "do not reach it ourselves",
    "takes no writes",
    "full",
    "refuses points",
    "not ready",
    "was started",
    "does not answer",
)
"""What an operator must hear of."""


class RulesTests(SynchronousTestCase):
    """`systemd/torfluxd.rules.yml`."""

    def setUp(self) -> None:
        """Read it."""
        self.text = RULES.read_text()

    def test_promtool(self) -> None:
        """`promtool check rules` finds nothing, and our own cases end as they should: no alarm when all is well."""
        code, said = promtool("check", "rules", str(RULES))
        self.assertEqual(0, code, said)
        self.assertRegex(said, r"\AChecking \S+\n  SUCCESS: \d+ rules found\n\n\Z")
        code, said = promtool("test", "rules", str(HERE / "torfluxd.rules.test.yml"))
        self.assertEqual(0, code, said)

    def test_metrics_exist(self) -> None:
        """An alert about a metric that there is not would never come."""
        names = {f"{PREFIX}{each.name}{'_total' * (about(each).kind is Kind.COUNTER)}" for each in fields(Figures)}
        used = set(re.findall(rf"\b{PREFIX}\w+", self.text))
        self.assertEqual(set(), used - names)

    def test_everything_that_matters(self) -> None:
        """There is an alert for everything that an operator must know, and each names the next command."""
        for words in MUST_KNOW:
            self.assertIn(words, self.text)
        for description in re.findall(r"description: (.*)", self.text):
            self.assertRegex(description, r"torfluxd |journalctl|--spool-limit")
