"""The manual pages tell of what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from manuals.mdoc import filled
from tests.end_to_end.programs import BIN
from tests.readme import CHECKOUT
from torfluxd.commands import Command, all_commands
from torfluxd.settings import GATEWAY_OPTIONS

PAGES = CHECKOUT / "docs/man"
OPTION = re.compile(r"^(?:  -\w, |      )--([a-z-]+)", re.MULTILINE)
"""How Twisted's help begins the lines of an option."""


def run(*command: str) -> tuple[int, str]:
    """Run a command; its exit code, and all it said."""
    ended = subprocess.run(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ended.returncode, ended.stdout


def page(name: str, section: int = 1) -> str:
    """A page's source."""
    return (PAGES / f"man{section}/{name}.{section}").read_text()


def options_in(text: str) -> Sequence[str]:
    """The options that a page describes."""
    return [name.replace("\\-", "-") for name in re.findall(r"^\.It Fl \\-([a-z\\-]+)", text, re.MULTILINE)]


class PageTests(SynchronousTestCase):
    """The pages in docs/man."""

    commands: Sequence[Command] = all_commands()

    def test_made(self) -> None:
        """Pages and completions are made of what there is today; `make manuals` makes them anew."""
        self.assertEqual((0, ""), run(sys.executable, "-m", "manuals", "--check"))

    def test_every_command(self) -> None:
        """Every command has a page, and the page of torfluxd itself names it."""
        for command in self.commands:
            self.assertIn(f"\n.Xr torfluxd-{command.name} 1 ", page("torfluxd"))
            self.assertIn(f".Dt TORFLUXD-{command.name.upper()} 1\n", page(f"torfluxd-{command.name}"))

    def test_options(self) -> None:
        """A page describes the options that the command has by its own --help, each of them, and no others."""
        for command in self.commands:
            _, said = run(str(BIN / "torfluxd"), command.name, "--help")
            told = set(OPTION.findall(said)) | {"help"}
            told -= {"version"} if command.name not in ("serve", "agent") else set()
            self.assertEqual(sorted(options_in(page(f"torfluxd-{command.name}"))), sorted(told), command.name)

    def test_defaults(self) -> None:
        """The gateway's page tells what each option means, in the words of its help, and its default."""
        text = page("torfluxd-serve").replace("\\-", "-").replace("\\(aq", "'").replace("\n", " ")
        for option in GATEWAY_OPTIONS:
            for word in option.help.split():
                self.assertIn(word, text, option.name)
            if option.default is not None and option.metavar is not None:
                self.assertIn(f"By default .Ql {option.default} .", text, option.name)

    def test_mandoc(self) -> None:
        """Mandoc has nothing to remark."""
        paths = sorted(str(path) for path in PAGES.glob("man?/*"))
        self.assertEqual((0, ""), run("mandoc", "-Tlint", "-Wwarning", *paths))

    def test_twistd(self) -> None:
        """The gateway's page is found under the name with which twistd runs it, too."""
        self.assertEqual(page("twistd-torfluxd"), page("torfluxd-serve"))


class MdocTests(SynchronousTestCase):
    """How a help becomes mdoc."""

    def test_nothing_has_a_meaning(self) -> None:
        """Dots, dashes, quotes and backslashes of a help are shown as they are."""
        from torfluxd.commands import Flag

        text = filled('.\\" options of x\n', [Command("x", "", [Flag("a-b", "", ".A -b \\ 'c'. Then d.")])], ())
        self.assertEqual(text, ".Bl -tag -width Ds\n.It Fl \\-a\\-b\n\\&.A \\-b \\e \\(aqc\\(aq.\nThen d.\n.El\n")
