"""What can be typed: each command of `torfluxd` with its options, for completion and for the manual pages.

All of it is read out of the tables and classes by which the commands themselves read what was typed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen
from twisted.python import usage

from torfluxd.settings import AGENT_CONFIG_OPTIONS, AGENT_OPTIONS, CONFIG_OPTIONS, GATEWAY_OPTIONS, SERVE_OPTIONS
from torfluxd.settings.option import Option
from torfluxd.settings.options import LOG_FORMATS, LOG_LEVELS

__all__ = ["Command", "Flag", "all_commands", "summaries"]

_SUMMARY = re.compile(r"^    ([a-z]+) +(\S.*)$", re.MULTILINE)

_PLACEHOLDERS = {"admin": "ENDPOINT", "directory": "DIR", "state-dir": "DIR", "tor-binary": "PATH"}
"""What stands for the values of options that no table describes."""

_CHOICES = {
    "expose": ("write", "all"),
    "influxdb-api": ("v1", "v2", "v3"),
    "log-format": LOG_FORMATS,
    "log-level": LOG_LEVELS,
    "statsd": ("udp",),
    "tor": ("launch",),
}
"""Words that some options take; the last two take others as well."""

_ACTIONS = {
    "completion": ("bash", "zsh"),
    "key": ("new", "address", "show", "client"),
    "schema": ("suggest",),
    "spool": ("show", "retry", "drop"),
}
"""The word that stands behind a command, where one does."""

_WITH_FILES = ("key", "schema")
"""Commands whose further words are the names of files."""


@frozen
class Flag:
    """One option, as it can be typed.

    :ivar name: without the dashes.
    :ivar placeholder: what stands for its value, such as `FILE`; empty where it has none.
    :ivar help: what it means: whole sentences.
    :ivar default: as a person would type it; empty where there is none, or where the help tells of it.
    :ivar repeatable: whether it may be given several times.
    :ivar variable: the environment variable that stands for it, or empty.
    """

    name: str
    placeholder: str
    help: str
    default: str = ""
    repeatable: bool = False
    variable: str = ""

    @property
    def choices(self) -> Sequence[str]:
        """Words that it takes; none where it takes any."""
        return _CHOICES.get(self.name, ()) if self.placeholder else ()

    @property
    def takes_file(self) -> bool:
        """Whether it names a file."""
        return self.placeholder in ("FILE", "PATH")

    @property
    def takes_directory(self) -> bool:
        """Whether it names a directory."""
        return self.placeholder == "DIR"


@frozen
class Command:
    """One command.

    :ivar summary: one sentence.
    :ivar actions: one of these words stands behind it; none where no word does.
    :ivar takes_files: whether names of files stand behind that.
    """

    name: str
    summary: str
    flags: Sequence[Flag]
    actions: Sequence[str] = ()
    takes_files: bool = False


_HELP = Flag("help", "", "Tell how it is used, and end.")
_VERSION = Flag("version", "", "Print the versions of torfluxd, Twisted and Python, and end.")


def all_commands() -> Sequence[Command]:
    """Every command, in the order in which `torfluxd --help` names them."""
    flags = {
        "serve": _daemon_flags((*GATEWAY_OPTIONS, *CONFIG_OPTIONS, *SERVE_OPTIONS)),
        "agent": _daemon_flags((*AGENT_OPTIONS, *AGENT_CONFIG_OPTIONS)),
        **{name: _flags_of(kind) for name, kind in _classes().items()},
    }
    return [
        Command(name, summary, flags.get(name, (_HELP,)), _ACTIONS.get(name, ()), name in _WITH_FILES)
        for name, summary in summaries().items()
    ]


def summaries() -> dict[str, str]:
    """The commands, and what each is for."""
    from torfluxd.cli import COMMANDS

    return dict(_SUMMARY.findall(COMMANDS))


def _classes() -> dict[str, type[usage.Options]]:
    """The commands whose options Twisted reads, but for those that a table describes."""
    from torfluxd.delivery.spool_command import SpoolOptions
    from torfluxd.demo import DemoOptions
    from torfluxd.onion.testnet_command import TestnetOptions
    from torfluxd.ops.status_command import StatusOptions

    return {"demo": DemoOptions, "spool": SpoolOptions, "status": StatusOptions, "testnet": TestnetOptions}


def _daemon_flags(table: Sequence[Option]) -> Sequence[Flag]:
    """The options of a daemon."""
    return [*map(_flag, table), _HELP, _VERSION]


def _flag(option: Option) -> Flag:
    """An option of a table."""
    return Flag(
        option.name,
        option.metavar or "",
        option.help,
        (option.default or "") if option.metavar else "",
        option.repeatable,
        option.variable,
    )


def _flags_of(kind: type[usage.Options]) -> Sequence[Flag]:
    """The options of a class of Twisted's."""
    valued = [Flag(row[0], _PLACEHOLDERS.get(row[0], "VALUE"), row[3]) for row in _rows(kind, "optParameters")]
    return [*valued, *(Flag(row[0], "", row[2]) for row in _rows(kind, "optFlags")), _HELP]


def _rows(kind: type[usage.Options], table: str) -> Sequence[Sequence[str]]:
    rows: Sequence[Sequence[str]] = getattr(kind, table, [])
    return rows
