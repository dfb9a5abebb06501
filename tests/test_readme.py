"""The README says what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from docutils import nodes
from twisted.trial.unittest import SynchronousTestCase

from tests.readme import CHECKOUT, EXAMPLE_ADDRESS, blocks, literals, rendered, the_block
from torfluxd import Reporter
from torfluxd.delivery.schema import SPOOL_FILE
from torfluxd.delivery.spool_command import SpoolOptions
from torfluxd.delivery.steps import DEAD_LETTER_LIMIT_BYTES
from torfluxd.demo import DemoOptions
from torfluxd.gateway.identity import CREDENTIAL, KEY_FILE, KEY_VARIABLE
from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.testnet_command import TestnetOptions
from torfluxd.ops.ending import EXIT_FAILED, EXIT_USAGE
from torfluxd.settings import (
    AGENT_CONFIG_OPTIONS,
    AGENT_OPTIONS,
    CONFIG_OPTIONS,
    GATEWAY_OPTIONS,
    read_gateway_settings,
)
from torfluxd.settings.config import read_config

OPTIONS = (*GATEWAY_OPTIONS, *CONFIG_OPTIONS)
OPTIONS_OF_THE_AGENT = (*AGENT_OPTIONS, *AGENT_CONFIG_OPTIONS)
OUR_COMMAND = re.compile(r"(?:twistd|twist|serve|agent) .*(?:\\\n.*)*")
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def run(*command: str, text: str = "") -> tuple[int, str]:
    """Run a command; its exit code, and all it said."""
    ended = subprocess.run(
        command, cwd=CHECKOUT, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ended.returncode, ended.stdout


class ReadmeTests(SynchronousTestCase):
    """The README."""

    def test_renders(self) -> None:
        """It renders everywhere: docutils has nothing to remark."""
        self.assertEqual(rendered()[1], "")

    def test_documentation(self) -> None:
        """So does all that is in `docs`, and the options that it names exist."""
        known = {option.name for option in (*OPTIONS, *OPTIONS_OF_THE_AGENT)}
        for path in sorted((CHECKOUT / "docs").glob("*.rst")):
            document, remarks = rendered(path.relative_to(CHECKOUT).as_posix())
            self.assertEqual(remarks, "", path.name)
            texts = [literal.astext() for literal in document.findall(nodes.literal)]
            named = {name for text in texts if text.startswith("--") for name in OPTION.findall(text)}
            self.assertEqual(named - known, set(), path.name)

    def test_make(self) -> None:
        """The commands that it tells a stranger to run are there."""
        text = "\n".join([*blocks(""), *literals()])
        targets = set(re.findall(r"^ *make ([a-z-]+)", text, re.MULTILINE))
        self.assertLessEqual({"run", "test"}, targets)
        for target in targets:
            self.assertEqual(run("make", "--dry-run", target)[0], 0, target)

    def test_python(self) -> None:
        """Its Python is right: a type checker holds it against the code."""
        examples = [*blocks("python"), *blocks("python", "docs/reporter.rst")]
        self.assertGreater(len(examples), 2)
        with tempfile.TemporaryDirectory() as place:
            names = []
            for number, example in enumerate(examples):
                path = Path(place, f"example_{number}.py")
                path.write_text(example)
                names.append(str(path))
            # influxdb has no types.
            checked = run(sys.executable, "-m", "mypy", "--ignore-missing-imports", *names)
        self.assertEqual(checked, (0, f"Success: no issues found in {len(examples)} source files\n"))

    def test_application(self) -> None:
        """The lines for an application record a point."""
        lines = [line for line in the_block("python", "import Reporter").splitlines() if "startService" not in line]
        names: dict[str, object] = {}
        with tempfile.TemporaryDirectory() as home:
            self.patch(os, "environ", {**os.environ, "HOME": home})
            exec("\n".join(lines), names)
        reporter = names["reporter"]
        assert isinstance(reporter, Reporter)
        self.assertEqual((reporter.stats.recorded, reporter.stats.pending), (1, 1))

    def test_shell(self) -> None:
        """Its shell commands can be pasted."""
        for script in (*blocks("sh"), *blocks("")[1:]):
            self.assertEqual(run("sh", "-n", text=script), (0, ""))

    def test_options_exist(self) -> None:
        """Every option that it names is one, of the gateway, the agent, the demo, the testnet or the spool command."""
        others = [*DemoOptions.optFlags, *DemoOptions.optParameters, *TestnetOptions.optFlags, *SpoolOptions.optFlags]
        known = {option.name for option in (*OPTIONS, *OPTIONS_OF_THE_AGENT)} | {option[0] for option in others}
        known.add("help")
        commands = [found for script in blocks("sh") for found in OUR_COMMAND.findall(script)]
        named = {name for text in (*literals(), *commands) for name in OPTION.findall(text)}
        self.assertEqual(named - known, set())

    def test_options_are_told(self) -> None:
        """Every option of the gateway is in the table, with its default."""
        table = {re.split(r"[ `]", text)[0].removeprefix("--"): text for text in literals() if text.startswith("--")}
        self.assertLessEqual({option.name for option in OPTIONS}, set(table))
        for option in OPTIONS:
            if option.default is not None and option.metavar is not None:
                self.assertIn(option.default, literals(), option.name)

    def test_options_of_the_agent_are_told(self) -> None:
        """Every option of the agent is in its table, with its default."""
        texts = [literal.astext() for literal in rendered("docs/agent.rst")[0].findall(nodes.literal)]
        table = {re.split(r"[ `]", text)[0].removeprefix("--") for text in texts if text.startswith("--")}
        self.assertEqual({option.name for option in OPTIONS_OF_THE_AGENT} - table, set())
        for option in OPTIONS_OF_THE_AGENT:
            if option.default is not None and option.metavar is not None:
                self.assertIn(option.default, texts, option.name)

    def test_configuration(self) -> None:
        """Its example of a configuration is one, and says what stands behind it."""
        config = read_config(the_block("toml", "[schema.backup]").encode(), "README.rst")
        rules = read_gateway_settings({}, {}, config).rules
        self.assertEqual((rules.databases, rules.max_tag_values), (("telemetry",), 500))
        self.assertEqual(set(rules.schema or {}), {"backup"})

    def test_address(self) -> None:
        """The onion address of its examples is one, so that they can be tried; and it is the same everywhere."""
        parse_onion_address(EXAMPLE_ADDRESS)
        examples = "\n".join((*blocks("python"), *blocks("sh")))
        self.assertEqual(set(re.findall(r"[a-z2-7]{56}\.onion", examples)), {EXAMPLE_ADDRESS})

    def test_names(self) -> None:
        """Exit codes, files and variables have the names that it tells."""
        text = rendered()[0].astext().replace("\n", " ")
        self.assertIn(
            f"exit code {EXIT_USAGE}; a gateway that cannot come up says why, and ends with {EXIT_FAILED}", text
        )
        self.assertIn(f"Back up {KEY_FILE}", text)
        self.assertIn(f"the file {SPOOL_FILE} in its state directory", text)
        self.assertIn(f"no more than {DEAD_LETTER_LIMIT_BYTES >> 20} MiB are kept of them", text)
        self.assertIn(f"LoadCredential={CREDENTIAL}:PATH", text)
        self.assertIn(f"{KEY_VARIABLE} mean the same", text)

    def test_news(self) -> None:
        """Every piece of news is of a kind that the release notes know."""
        kinds = {
            kind["directory"]
            for kind in tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["towncrier"]["type"]
        }
        for path in (CHECKOUT / "changelog.d").iterdir():
            if path.name != "README.rst":
                self.assertRegex(path.name, rf"^\+[a-z-]+\.({'|'.join(sorted(kinds))})\.rst$")
