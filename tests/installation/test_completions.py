"""What the tab key offers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.readme import CHECKOUT
from torfluxd.commands import all_commands

DEADLINE_SECONDS = 60
SCRIPTS = CHECKOUT / "completions"

# What bash does when the tab key is pressed behind the last word.
IN_BASH = """
source "$1"; shift
compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_torfluxd
printf '%s\\n' "${COMPREPLY[@]}"
"""

# A zsh with a terminal, into which words and a tab are typed; it ends when what is awaited has come.
IN_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; stty columns 500; autoload -Uz compinit; compinit -u -D; source '$1'; bindkey '^I' list-choices"
zpty -w shell 'echo re''ady'
zpty -r shell said '*ready*'
zpty -w -n shell "$2"$'\\t'
zpty -r shell said "*$3*"
print -r -- $said
zpty -d shell
"""


class CompletionCase(SynchronousTestCase):
    """An empty directory."""

    def setUp(self) -> None:
        """Begin in an empty directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.place = Path(temporary.name)

    def run_shell(self, *command: str) -> str:
        """Run a shell there, which must say nothing on standard error."""
        ended = subprocess.run(
            command, cwd=self.place, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
        )
        self.assertEqual((0, ""), (ended.returncode, ended.stderr))
        return ended.stdout


class BashTests(CompletionCase):
    """bash."""

    def offered(self, *words: str) -> list[str]:
        """What it offers behind `torfluxd` and these words, the last of which has only begun."""
        said = self.run_shell("bash", "-uc", IN_BASH, "bash", str(SCRIPTS / "torfluxd.bash"), "torfluxd", *words)
        return said.split("\n")[:-1]

    def test_commands(self) -> None:
        """It offers every command."""
        self.assertEqual(self.offered(""), [*(command.name for command in all_commands()), "--help", "--version"])
        self.assertEqual(self.offered("sch"), ["schema"])

    def test_options(self) -> None:
        """It offers every option of a command, and those that begin as what was typed."""
        for command in all_commands():
            flags = [f"--{flag.name}" for flag in command.flags]
            self.assertEqual(self.offered(command.name, "--"), flags)
        self.assertEqual(self.offered("serve", "--ex"), ["--expose"])

    def test_values(self) -> None:
        """It offers the words that an option takes, behind a space and behind =."""
        self.assertEqual(self.offered("serve", "--expose", ""), ["write", "all"])
        self.assertEqual(self.offered("serve", "--expose", "=", "a"), ["all"])
        self.assertEqual(self.offered("serve", "--influxdb-api", "="), ["v1", "v2", "v3"])
        self.assertEqual(self.offered("serve", "--timeout", ""), [""])

    def test_files(self) -> None:
        """It offers files where a file is named, whatever they are called, and directories where it must be one."""
        (self.place / "my key").touch()
        (self.place / "my state").mkdir()
        self.assertEqual(sorted(self.offered("serve", "--onion-key", "my")), ["my key", "my state"])
        self.assertEqual(self.offered("serve", "--state-dir", "my"), ["my state"])
        self.assertEqual(sorted(self.offered("key", "address", "my")), ["my key", "my state"])

    def test_actions(self) -> None:
        """It offers what can be done with the spool and with keys."""
        self.assertEqual(self.offered("spool", "r"), ["retry"])
        self.assertEqual(self.offered("key", "c"), ["client"])


class ZshTests(CompletionCase):
    """zsh."""

    def assert_offered(self, typed: str, awaited: str) -> None:
        """It offers this when the tab key is pressed."""
        self.run_shell("zsh", "-fc", IN_ZSH, "zsh", str(SCRIPTS / "_torfluxd"), typed, awaited)

    def test_commands(self) -> None:
        """It offers commands, and says what each is for."""
        self.assert_offered("torfluxd sch", "schema*Propose a schema")

    def test_options(self) -> None:
        """It offers options of a command, and says what each means."""
        self.assert_offered("torfluxd serve --ex", "--expose*What strangers can reach")

    def test_values(self) -> None:
        """It offers the words that an option takes, and what can be done with keys."""
        self.assert_offered("torfluxd serve --influxdb-api=", "v1*v2*v3")
        self.assert_offered("torfluxd key ", "address*client*new*show")

    def test_every_option(self) -> None:
        """It knows every option of every command."""
        text = (SCRIPTS / "_torfluxd").read_text()
        for command in all_commands():
            for flag in command.flags:
                self.assertIn(f"--{flag.name}{'=' if flag.placeholder else ''}[", text)
