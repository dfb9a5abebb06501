"""`twistd torfluxd-agent`: the agent's command line, and the service that it makes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

from twisted.application.service import IService

from torfluxd.ops.ending import EXIT_FAILED, stop_with
from torfluxd.ops.notify import Notifier
from torfluxd.ops.steady import keep_steady
from torfluxd.settings import AGENT_CONFIG_OPTIONS, AGENT_OPTIONS, AgentSettings, read_agent_settings
from torfluxd.settings.agent import AGENT_FORM, gather_agent
from torfluxd.settings.config import load_config
from torfluxd.settings.option import find_given, read_value
from torfluxd.settings.sample import sample_agent_config, written_agent_settings
from torfluxd.table_options import TableOptions, need_extra, prepare, print_and_end

__all__ = ["Options", "makeService"]

_NEEDS = ("the agent", "torfluxd.reporter.agent", "agent", ("re2",))
"""See :func:`torfluxd.table_options.need_extra`."""


class Options(TableOptions):
    """The agent's options, made from the table in `settings`."""

    table = (*AGENT_OPTIONS, *AGENT_CONFIG_OPTIONS)
    longdesc = """\
Take what InfluxDB clients on this machine write, and report it to a vendor's gateway through Tor, or not at all. To
them it is an InfluxDB on port 8086; what they write is kept on disk until it has arrived, times are made coarse, and
reports leave at random moments.

Each option can also be given as an environment variable, --state-dir as TORFLUXD_STATE_DIR, and in a file: see --config
and --sample-config.
"""
    settings: AgentSettings

    def getSynopsis(self) -> str:
        """The first line of the help, the same however the agent was called."""
        return "Usage: twistd torfluxd-agent [options]\n   or: torfluxd agent [options]"

    def read_settings(self, flags: Mapping[str, str | Sequence[str] | None]) -> None:
        """See :meth:`TableOptions.read_settings`."""
        asked = {
            option.key: read_value(option, find_given(option, flags, os.environ, {})) for option in AGENT_CONFIG_OPTIONS
        }
        if asked["sample_config"]:
            print_and_end(sample_agent_config())
        config = load_config(flags, os.environ, AGENT_FORM)
        self.settings = read_agent_settings(flags, os.environ, config)
        if asked["check"]:
            _check_and_end(
                self.settings, written_agent_settings(gather_agent(flags, os.environ, config), config.schema)
            )


def _check_and_end(settings: AgentSettings, written: str) -> NoReturn:
    """Look at what the settings name; say that all is well, and which they are.

    :raises SettingsError: the agent could not come up.
    """
    from twisted.internet import reactor

    need_extra(*_NEEDS)
    from torfluxd.reporter.agent import AgentReactor, check_agent

    check_agent(settings, os.environ, cast(AgentReactor, reactor))
    print_and_end(f"# All is well. The agent would start with these settings:\n\n{written}")


def makeService(options: Options) -> IService:
    """Make the agent; what can be known to be wrong before a daemon forks ends here, with one line."""
    from twisted.internet import reactor

    need_extra(*_NEEDS)
    from torfluxd.reporter.agent import Agent, AgentReactor

    keep_steady(cast(AgentReactor, reactor))
    agent = Agent(
        cast(AgentReactor, reactor),
        options.settings,
        os.environ,
        give_up=lambda problem: stop_with(EXIT_FAILED, reactor),
        notifier=Notifier.from_environment(os.environ),
    )
    prepare(options, agent.prepare)
    return agent
