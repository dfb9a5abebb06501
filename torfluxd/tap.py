"""`twistd torfluxd`: the gateway's command line, and the service that it makes."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from twisted import __version__ as twisted_version
from twisted.application.service import IService
from twisted.python import usage

import torfluxd
from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.gateway.identity import print_key
from torfluxd.ops.ending import EXIT_FAILED, refuse, stop_with
from torfluxd.settings import GATEWAY_OPTIONS, GatewaySettings, Option, read_gateway_settings

__all__ = ["Options", "makeService"]


def _described(option: Option) -> str:
    return (
        option.help
        if option.default is None or option.metavar is None
        else f"{option.help} [default: {option.default}]"
    )


class Options(usage.Options):
    """The gateway's options, made from the table in `settings`."""

    longdesc = """\
Host a Tor v3 onion service and relay the InfluxDB writes that arrive there to InfluxDB, without ever learning where
they come from. With no options at all: a tor of our own, InfluxDB on this machine, write-only.

Each option can also be given as an environment variable: --state-dir as TORFLUXD_STATE_DIR, and so on.
"""
    optParameters = [
        [option.name, None, None, _described(option)]
        for option in GATEWAY_OPTIONS
        if option.metavar is not None and not option.repeatable
    ]
    optFlags = [[option.name, None, option.help] for option in GATEWAY_OPTIONS if option.metavar is None]

    settings: GatewaySettings

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._repeated: dict[str, list[str]] = {"listen": [], "tor-option": []}

    def getSynopsis(self) -> str:
        """The first line of the help, the same however the gateway was called."""
        return "Usage: twistd torfluxd [options]\n   or: torfluxd serve [options]"

    def opt_listen(self, endpoint: str) -> None:
        """See the table."""
        self._repeated["listen"].append(endpoint)

    def opt_tor_option(self, line: str) -> None:
        """See the table."""
        self._repeated["tor-option"].append(line)

    def opt_version(self) -> None:
        """Print the versions of torfluxd, Twisted and Python, and end."""
        print(version_line())  # noqa: T201  # the answer to a question
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, or end with one line."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            refuse(_with_suggestion(str(error)))

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802  # Twisted's name
        """There are no arguments but options."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}; options begin with --")

    def postOptions(self) -> None:
        """Put the settings together."""
        flags: dict[str, Any] = {
            option.name: "yes" if option.metavar is None and self[option.name] else self.get(option.name) or None
            for option in GATEWAY_OPTIONS
            if not option.repeatable
        }
        try:
            self.settings = read_gateway_settings({**flags, **self._repeated}, os.environ)
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None


for _option in GATEWAY_OPTIONS:
    if _option.repeatable:  # Twisted reads a repeatable option's help out of its method's docstring
        getattr(Options, "opt_" + _option.name.replace("-", "_")).__doc__ = _option.help


def _with_suggestion(problem: str) -> str:
    """Name the option that was probably meant by one that does not exist."""
    words = problem.split()
    if len(words) != 4 or words[0] != "option" or words[2:] != ["not", "recognized"]:
        return problem
    known = [f"--{option.name}" for option in GATEWAY_OPTIONS]
    near = difflib.get_close_matches(words[1], known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else "--help lists the options"
    return f"there is no option {words[1]}; {hint}"


def version_line() -> str:
    """The versions that a bug report needs."""
    return f"torfluxd {torfluxd.__version__} (Twisted {twisted_version}, Python {sys.version.split()[0]})"


def makeService(options: Options) -> IService:
    """Make the gateway; what can be known to be wrong before a daemon forks ends here, with one line."""
    from twisted.internet import reactor

    try:
        from torfluxd.gateway.service import Gateway, GatewayReactor
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("httptools", "re2"):
            raise
        refuse(f"the gateway needs {error.name}, which is not installed: pip install 'torfluxd[gateway]'")

    gateway = Gateway(
        cast(GatewayReactor, reactor),
        options.settings,
        os.environ,
        give_up=lambda problem: stop_with(EXIT_FAILED, reactor),
        show_key=lambda key: print_key(key, sys.__stdout__ or sys.stdout, os.environ),
    )
    if not _changes_user(options):
        try:
            gateway.prepare()
        except TorfluxdError as error:
            refuse(error, EXIT_FAILED)
    return gateway


def _changes_user(options: Options) -> bool:
    """Whether twistd will give up root's rights later (`--uid`, `--gid`): then files must be made after that."""
    parent = options.parent
    return parent is not None and any(parent.get(name) is not None for name in ("uid", "gid"))
