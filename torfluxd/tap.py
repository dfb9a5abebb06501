"""`twistd torfluxd`: the gateway's command line, and the service that it makes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from twisted import __version__ as twisted_version
from twisted.application.service import IService
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python import usage

import torfluxd
from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.gateway.identity import print_key
from torfluxd.ops.ending import EXIT_FAILED, refuse, stop_with
from torfluxd.ops.signals import on_hangup
from torfluxd.ops.steady import keep_steady
from torfluxd.settings import (
    CONFIG_OPTIONS,
    GATEWAY_OPTIONS,
    SERVE_OPTIONS,
    GatewaySettings,
    Option,
    read_gateway_settings,
)
from torfluxd.settings.config import load_config
from torfluxd.settings.gateway import gather
from torfluxd.settings.nearest import nearest
from torfluxd.settings.option import find_given, read_value
from torfluxd.settings.sample import sample_config, written_settings

__all__ = ["Options", "ServeOptions", "makeService"]

_OPTIONS = (*GATEWAY_OPTIONS, *CONFIG_OPTIONS)


def _described(option: Option) -> str:
    return (
        option.help
        if option.default is None or option.metavar is None
        else f"{option.help} [default: {option.default}]"
    )


class Options(usage.Options):
    """The gateway's options, made from the tables in `settings`."""

    longdesc = """\
Host a Tor v3 onion service and relay the InfluxDB writes that arrive there to InfluxDB, without ever learning where
they come from. With no options at all: a tor of our own, InfluxDB on this machine, write-only.

Each option can also be given as an environment variable, --state-dir as TORFLUXD_STATE_DIR, and in a file: see --config
and --sample-config.
"""
    optParameters = [
        [option.name, None, None, _described(option)]
        for option in _OPTIONS
        if option.metavar is not None and not option.repeatable
    ]
    optFlags = [[option.name, None, option.help] for option in _OPTIONS if option.metavar is None]

    settings: GatewaySettings
    _flags: Mapping[str, str | Sequence[str] | None]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._repeated: dict[str, list[str]] = {option.name: [] for option in _OPTIONS if option.repeatable}

    def getSynopsis(self) -> str:
        """The first line of the help, the same however the gateway was called."""
        return "Usage: twistd torfluxd [options]\n   or: torfluxd serve [options]"

    def opt_listen(self, endpoint: str) -> None:
        """See the table."""
        self._repeated["listen"].append(endpoint)

    def opt_tor_option(self, line: str) -> None:
        """See the table."""
        self._repeated["tor-option"].append(line)

    def opt_database(self, name: str) -> None:
        """See the table."""
        self._repeated["database"].append(name)

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
        """Put the settings together; for `--check` and `--sample-config`, print and end."""
        flags: dict[str, Any] = {
            option.name: self[option.name] if option.metavar is not None else "yes" if self[option.name] else None
            for option in _OPTIONS
            if not option.repeatable
        }
        try:
            self._flags = {**flags, **self._repeated}
            self._read(self._flags)
        except SettingsError as error:
            refuse(error)

    def reread(self) -> GatewaySettings:
        """The settings as the same flags, the environment and the file of now have them.

        :raises SettingsError: they cannot be used.
        """
        return read_gateway_settings(self._flags, os.environ, load_config(self._flags, os.environ))

    def _read(self, flags: Mapping[str, str | Sequence[str] | None]) -> None:
        asked = {option.key: read_value(option, find_given(option, flags, os.environ, {})) for option in CONFIG_OPTIONS}
        if asked["sample_config"]:
            _print_and_end(sample_config())
        config = load_config(flags, os.environ)
        self.settings = read_gateway_settings(flags, os.environ, config)
        if asked["check"]:
            _check_and_end(self.settings, written_settings(gather(flags, os.environ, config), config.schema))


class ServeOptions(Options):
    """The options of `torfluxd serve`: the gateway's, and those of its log.

    :ivar log_format: `text` or `json`.
    :ivar log_level: the name of one of Twisted's levels.
    """

    optParameters = [  # Twisted adds those of the class above
        [option.name, None, None, _described(option)] for option in SERVE_OPTIONS
    ]

    log_format: str
    log_level: str

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: torfluxd serve [options]"

    def postOptions(self) -> None:
        """Read those of the log, then the others."""
        try:
            self.log_format, self.log_level = (
                read_value(option, find_given(option, self, os.environ, {})) for option in SERVE_OPTIONS
            )
        except SettingsError as error:
            refuse(error)
        Options.postOptions(self)


def _print_and_end(text: str) -> NoReturn:
    print(text, end="")  # noqa: T201  # the answer to a question
    raise SystemExit(0)


def _check_and_end(settings: GatewaySettings, written: str) -> NoReturn:
    """Look at what the settings name; say that all is well, and which they are.

    :raises SettingsError: the gateway could not come up.
    """
    from twisted.internet import reactor

    _need_extra()
    from torfluxd.gateway.checkup import check_up

    for warning in check_up(settings, os.environ, cast(IReactorTime, reactor)):
        print(f"torfluxd: {warning}", file=sys.stderr)  # noqa: T201  # as above
    _print_and_end(f"# All is well. The gateway would start with these settings:\n\n{written}")


for _option in GATEWAY_OPTIONS:
    if _option.repeatable:  # Twisted reads a repeatable option's help out of its method's docstring
        getattr(Options, "opt_" + _option.name.replace("-", "_")).__doc__ = _option.help


def _with_suggestion(problem: str) -> str:
    """Name the option that was probably meant by one that does not exist."""
    words = problem.split()
    if len(words) != 4 or words[0] != "option" or words[2:] != ["not", "recognized"]:
        return problem
    near = nearest(words[1], [f"--{option.name}" for option in (*_OPTIONS, *SERVE_OPTIONS)])
    hint = f"did you mean {near}?" if near else "--help lists the options"
    return f"there is no option {words[1]}; {hint}"


def version_line() -> str:
    """The versions that a bug report needs."""
    return f"torfluxd {torfluxd.__version__} (Twisted {twisted_version}, Python {sys.version.split()[0]})"


def makeService(options: Options) -> IService:
    """Make the gateway; what can be known to be wrong before a daemon forks ends here, with one line."""
    from twisted.internet import reactor

    _need_extra()
    from torfluxd.gateway.service import Gateway, GatewayReactor

    keep_steady(cast(IReactorTime, reactor))
    gateway = Gateway(
        cast(GatewayReactor, reactor),
        options.settings,
        os.environ,
        give_up=lambda problem: stop_with(EXIT_FAILED, reactor),
        show_key=lambda key: print_key(key, sys.__stdout__ or sys.stdout, os.environ),
        reread=options.reread,
    )
    threads = cast(IReactorFromThreads, reactor)
    reactor.callWhenRunning(on_hangup, threads, gateway.reload)
    if not _changes_user(options):
        try:
            gateway.prepare()
        except TorfluxdError as error:
            refuse(error, EXIT_FAILED)
    return gateway


def _need_extra() -> None:
    """End with one line where what only the gateway needs is not installed."""
    try:
        import torfluxd.gateway.service  # noqa: F401
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("httptools", "prometheus_client", "re2"):
            raise
        refuse(f"the gateway needs {error.name}, which is not installed: pip install 'torfluxd[gateway]'")


def _changes_user(options: Options) -> bool:
    """Whether twistd will give up root's rights later (`--uid`, `--gid`): then files must be made after that."""
    parent = options.parent
    return parent is not None and any(parent.get(name) is not None for name in ("uid", "gid"))
