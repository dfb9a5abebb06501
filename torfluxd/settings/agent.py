"""The agent's settings, put together out of flags, environment and file. Pure: what they name is looked at later."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.settings.agent_options import AGENT_OPTIONS, StatsdAddress, TorChoice, interface_of
from torfluxd.settings.config import NO_CONFIG, Config, Form
from torfluxd.settings.gateway import named_as_given, read_values
from torfluxd.settings.option import Given, Option, find_given
from torfluxd.settings.schema import MeasurementSchema

__all__ = ["AGENT_FORM", "AgentSettings", "gather_agent", "read_agent_settings"]

AGENT_FORM = Form({"agent": AGENT_OPTIONS}, "torfluxd agent")
"""What a configuration file of the agent may hold."""


_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # nobody is known by these


@frozen(kw_only=True)
class AgentSettings:
    """The agent's settings, each as its option reads it; see :data:`~torfluxd.settings.agent_options.AGENT_OPTIONS`.

    :ivar onion: the URL of the vendor's gateway.
    :ivar database: where everything goes, or None for where clients ask.
    :ivar granularity: seconds.
    :ivar interval: seconds.
    :ivar spool_limit: bytes.
    :ivar tor: which one, or None for what can be found.
    :ivar schema: the file that holds it, or None.
    :ivar own_schema: what stands in the configuration file, or None.
    """

    onion: str
    listen: tuple[str, ...]
    listen_allow_remote: bool
    allow_host: tuple[str, ...]
    statsd: StatsdAddress | None
    database: str | None
    retention_policy: str | None
    influxdb_api: Api
    schema: Path | None
    granularity: float
    interval: float
    tor: TorChoice | None
    tor_binary: str | None
    client_key: Path | None
    state_dir: Path | None
    spool_limit: int
    own_schema: Mapping[str, MeasurementSchema] | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names and addresses by which clients may know the agent, beside those of loopback."""
        interfaces = [interface_of(endpoint) for endpoint in self.listen]
        return (*self.allow_host, *(each for each in interfaces if each and each not in _ALL_ADDRESSES))


def gather_agent(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], config: Config = NO_CONFIG
) -> Mapping[Option, Given]:
    """What holds for each option, and where it was given.

    :param flags: option name to what was typed; absent, None or an empty list for an option that was not given.
    :param environment: `os.environ`. A repeatable option's variable holds one value.
    :param config: what stands in the configuration file.
    """
    return {option: find_given(option, flags, environment, config.given) for option in AGENT_OPTIONS}


def read_agent_settings(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], config: Config = NO_CONFIG
) -> AgentSettings:
    """Put the agent's settings together; the parameters are those of :func:`gather_agent`.

    :raises SettingsError: something cannot be used. All that is wrong is told, each with the option, the variable or
        the key, and the cure; what cannot stand together is not looked for before each can stand alone.
    """
    given = gather_agent(flags, environment, config)
    values, problems = read_values(given)
    problems = [*config.problems, *problems]
    if not problems and values["onion"] is None:
        problems = ["--onion: where do reports go? name the vendor's gateway: --onion ADDRESS"]
    if problems:
        raise SettingsError(*problems)
    settings = AgentSettings(own_schema=config.schema, **values)
    problems = [*_faults_about_doors(settings), *_faults_about_points(settings), *_faults_about_tor(settings)]
    if problems:
        raise SettingsError(*(named_as_given(problem, given) for problem in problems))
    return settings


def _faults_about_doors(settings: AgentSettings) -> Iterator[str]:
    """What others could reach though nobody said that they may."""
    if settings.listen_allow_remote:
        return
    cure = "or say --listen-allow-remote, and whoever reaches it can write"
    for endpoint in settings.listen:
        interface = interface_of(endpoint)
        if interface == "":
            yield f"--listen: {endpoint} listens on every address of this machine; add :interface=127.0.0.1, {cure}"
        elif interface is not None and not _is_loopback(interface):
            yield f"--listen: other machines can reach {endpoint}; take interface=127.0.0.1, {cure}"
    if settings.statsd is not None and not _is_loopback(settings.statsd.interface):
        yield f"--statsd: other machines can reach {settings.statsd.interface}; take interface=127.0.0.1, {cure}"


def _is_loopback(interface: str) -> bool:
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"


def _faults_about_points(settings: AgentSettings) -> Iterator[str]:
    """What cannot work together about points."""
    if settings.retention_policy and not settings.database:
        yield "--retention-policy: is one of a database; name that with --database NAME"
    if settings.statsd is not None and not settings.database:
        yield "--statsd: it names no database; say where everything goes with --database NAME"
    if settings.schema is not None and settings.own_schema is not None:
        yield "--schema: there is a schema in the configuration file already; leave one of them out"


def _faults_about_tor(settings: AgentSettings) -> Iterator[str]:
    """What cannot work together about Tor."""
    launches = settings.tor is not None and settings.tor.launches
    if settings.tor_binary and not launches:
        yield "--tor-binary: is for a tor of our own; add --tor launch, or leave it out"
    if settings.client_key and not launches:
        yield (
            "--client-key: a tor that runs is told by its torrc (ClientOnionAuthDir); add --tor launch for one of our"
            " own, or leave this out"
        )
