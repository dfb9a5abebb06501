"""`twistd torfluxd`: the gateway's command line, and the service that it makes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar, NoReturn, cast

from twisted.application.service import IService
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from torfluxd.errors import SettingsError
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
from torfluxd.settings.option import find_given, read_value
from torfluxd.settings.sample import sample_config, written_settings
from torfluxd.table_options import TableOptions, need_extra, prepare, print_and_end

__all__ = ["Options", "ServeOptions", "makeService"]

_NEEDS = ("the gateway", "torfluxd.gateway.service", "gateway", ("httptools", "prometheus_client", "re2"))
"""See :func:`torfluxd.table_options.need_extra`."""


class Options(TableOptions):
    """The gateway's options, made from the tables in `settings`."""

    table: ClassVar[Sequence[Option]] = (*GATEWAY_OPTIONS, *CONFIG_OPTIONS)
    longdesc = """\
Host a Tor v3 onion service and relay the InfluxDB writes that arrive there to InfluxDB, without ever learning where
they come from. With no options at all: a tor of our own, InfluxDB on this machine, write-only.

Each option can also be given as an environment variable, --state-dir as TORFLUXD_STATE_DIR, and in a file: see --config
and --sample-config.
"""
    settings: GatewaySettings
    _flags: Mapping[str, str | Sequence[str] | None]

    def getSynopsis(self) -> str:
        """The first line of the help, the same however the gateway was called."""
        return "Usage: twistd torfluxd [options]\n   or: torfluxd serve [options]"

    def reread(self) -> GatewaySettings:
        """The settings as the same flags, the environment and the file of now have them.

        :raises SettingsError: they cannot be used.
        """
        return read_gateway_settings(self._flags, os.environ, load_config(self._flags, os.environ))

    def read_settings(self, flags: Mapping[str, str | Sequence[str] | None]) -> None:
        """See :meth:`TableOptions.read_settings`."""
        self._flags = flags
        asked = {option.key: read_value(option, find_given(option, flags, os.environ, {})) for option in CONFIG_OPTIONS}
        if asked["sample_config"]:
            print_and_end(sample_config())
        config = load_config(flags, os.environ)
        self.settings = read_gateway_settings(flags, os.environ, config)
        if asked["check"]:
            _check_and_end(self.settings, written_settings(gather(flags, os.environ, config), config.schema))


class ServeOptions(Options):
    """The options of `torfluxd serve`: the gateway's, and those of its log.

    :ivar log_format: `text` or `json`.
    :ivar log_level: the name of one of Twisted's levels.
    """

    table = (*Options.table, *SERVE_OPTIONS)

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


def _check_and_end(settings: GatewaySettings, written: str) -> NoReturn:
    """Look at what the settings name; say that all is well, and which they are.

    :raises SettingsError: the gateway could not come up.
    """
    from twisted.internet import reactor

    need_extra(*_NEEDS)
    from torfluxd.gateway.checkup import check_up

    for warning in check_up(settings, os.environ, cast(IReactorTime, reactor)):
        print(f"torfluxd: {warning}", file=sys.stderr)  # noqa: T201  # as above
    print_and_end(f"# All is well. The gateway would start with these settings:\n\n{written}")


def makeService(options: Options) -> IService:
    """Make the gateway; what can be known to be wrong before a daemon forks ends here, with one line."""
    from twisted.internet import reactor

    need_extra(*_NEEDS)
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
    prepare(options, gateway.prepare)
    return gateway
