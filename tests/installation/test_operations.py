"""docs/operations.rst tells operators what is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from docutils import nodes
from twisted.trial.unittest import SynchronousTestCase

from tests.installation.test_units import MOST_EXPOSED, MOST_EXPOSED_ON_LOOPBACK
from tests.installation.units import UNITS
from tests.readme import CHECKOUT, rendered

DOCUMENT = "docs/operations.rst"
ALERT = re.compile(r"Torfluxd\w+")


@cache
def said() -> str:
    """Every text in the program, its log's sentences among them."""
    trees = [ast.parse(path.read_text()) for path in (CHECKOUT / "torfluxd").rglob("*.py")]
    constants = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return "\n".join(value for value in constants if isinstance(value, str))


def rows() -> Iterator[list[nodes.entry]]:
    """The rows of the table that says what to do when."""
    (table,) = (table for table in rendered(DOCUMENT)[0].findall(nodes.table) if "TorfluxdDown" in table.astext())
    for row in table.findall(nodes.row):
        yield [entry for entry in row if isinstance(entry, nodes.entry)]


class OperationsTests(SynchronousTestCase):
    """What it says."""

    def test_log(self) -> None:
        """What it says that the log says, the log can say."""
        quotes = [literal.astext() for _, log, _ in rows() for literal in log.findall(nodes.literal)]
        sentences = [quote for quote in quotes if not quote.startswith("journalctl")]
        self.assertGreater(len(sentences), 7)
        for sentence in sentences:
            for part in filter(None, sentence.split("...")):
                self.assertIn(part.strip(), said(), sentence)

    def test_alerts(self) -> None:
        """It says of every alert what to do."""
        rules = UNITS / "torfluxd.rules.yml"
        told = {name for alert, _, _ in rows() for name in ALERT.findall(alert.astext())}
        self.assertEqual(set(re.findall(r"alert: (\w+)", rules.read_text())), told)

    def test_exposure(self) -> None:
        """The figures of how tightly the units are shut in are those that the tests hold."""
        text = rendered(DOCUMENT)[0].astext().replace("\n", " ")
        self.assertIn(
            f"gives torfluxd.service at most {MOST_EXPOSED['torfluxd']}, with InfluxDB on a loopback port"
            f" {MOST_EXPOSED_ON_LOOPBACK}, and torfluxd-own-tor.service {MOST_EXPOSED['torfluxd-own-tor']}, out of 10",
            text,
        )

    def test_memory(self) -> None:
        """So are the bounds on memory."""
        text = rendered(DOCUMENT)[0].astext().replace("\n", " ")
        self.assertIn("MemoryMax= is 768 MiB for the gateway, and 3 GiB with its tor", text)
        self.assertIn("\nMemoryMax=768M\n", (UNITS / "torfluxd.service").read_text())
        self.assertIn("\nMemoryMax=3G\n", (UNITS / "torfluxd-own-tor.service").read_text())

    def test_files(self) -> None:
        """The files that it names below the prefix are installed there, and those of the repository exist."""
        shared = (CHECKOUT / "pyproject.toml").read_text()
        text = (CHECKOUT / DOCUMENT).read_text()
        for name in set(re.findall(r"/opt/torfluxd/share/torfluxd/([\w./-]+\w)", text)):
            self.assertTrue((UNITS / name).is_file(), name)
        for name in set(re.findall(r"/opt/torfluxd/lib/(sysusers\.d/[\w.]+conf)", text)):
            self.assertTrue((UNITS / name).is_file(), name)
            self.assertIn('"systemd/sysusers.d" = "lib/sysusers.d"', shared)
        for name in set(re.findall(r"(torfluxd-[\w-]+\.conf)", text)):
            self.assertTrue((UNITS / "drop-ins" / name).is_file(), name)
        for name in set(re.findall(r"(?:images|docs|\.github)/[\w./-]+\w", text)):
            self.assertTrue((CHECKOUT / name).exists(), name)
