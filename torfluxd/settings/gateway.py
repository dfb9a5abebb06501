"""The gateway's settings, put together out of flags, environment and file. Pure: what they name is looked at later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.credential import CredentialOptions
from torfluxd.influx.url import InfluxdbUrl
from torfluxd.onion.address import OnionAddress
from torfluxd.places import Place
from torfluxd.settings.config import NO_CONFIG, Config
from torfluxd.settings.option import Given, Option, find_given, read_value
from torfluxd.settings.options import GATEWAY_OPTIONS, MIN_SPOOL_BYTES, Expose
from torfluxd.settings.rules import RULE_FLAGS, RULE_OPTIONS, RulesSettings, read_rules

__all__ = ["GatewaySettings", "gather", "named_as_given", "read_gateway_settings", "read_values"]


@frozen(kw_only=True)
class GatewaySettings:
    """The gateway's settings, each as its option reads it; see :data:`~torfluxd.settings.options.GATEWAY_OPTIONS`.

    :ivar timeout: seconds.
    :ivar onion_key: the file named, or None to look where the help says.
    :ivar spool_limit: bytes.
    :ivar admin: where the status pages are, besides the state directory.
    :ivar authorized_clients: the directory of those who alone may reach the onion service, or None for everybody.
    :ivar workers: how many processes.
    :ivar onionbalance: the address that Onionbalance publishes, or None.
    :ivar rules: on what strangers write.
    """

    influxdb: InfluxdbUrl
    influxdb_api: Api
    influxdb_org: str | None
    influxdb_token_file: Path | None
    influxdb_user: str | None
    influxdb_password_file: Path | None
    tor: str
    tor_binary: str | None
    state_dir: Path | None
    onion_key: Path | None
    onion_socket: Path | None
    timeout: float
    spool_limit: int
    admin: Place | None
    admin_allow_remote: bool
    expose: Expose
    listen: tuple[str, ...]
    tor_option: tuple[str, ...]
    printkey: bool
    authorized_clients: Path | None
    workers: int
    onionbalance: OnionAddress | None
    rules: RulesSettings

    @property
    def credential_options(self) -> CredentialOptions:
        """What was said about the credential for InfluxDB."""
        return CredentialOptions(self.influxdb_token_file, self.influxdb_user, self.influxdb_password_file)

    @property
    def launches_tor(self) -> bool:
        """Whether tor is our own."""
        return self.tor == "launch"

    @property
    def has_onion(self) -> bool:
        """Whether there is an onion service."""
        return self.tor != "none"


def gather(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], config: Config = NO_CONFIG
) -> Mapping[Option, Given]:
    """What holds for each option, and for each rule that has none, and where it was given.

    :param flags: option name to what was typed; absent, None or an empty list for an option that was not given.
    :param environment: `os.environ`. A repeatable option's variable holds one value.
    :param config: what stands in the configuration file.
    """
    options = {option: find_given(option, flags, environment, config.given) for option in GATEWAY_OPTIONS}
    return options | {option: find_given(option, {}, {}, config.given) for option in RULE_OPTIONS}


def read_gateway_settings(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str], config: Config = NO_CONFIG
) -> GatewaySettings:
    """Put the gateway's settings together; the parameters are those of :func:`gather`.

    :raises SettingsError: something cannot be used. All that is wrong is told, each with the option, the variable or
        the key, and the cure; what cannot stand together is not looked for before each can stand alone.
    """
    given = gather(flags, environment, config)
    values, problems = read_values(given)
    problems = [*config.problems, *problems]
    if problems:
        raise SettingsError(*problems)
    try:
        settings = _settings(values, config)
        problems = [
            *_faults_about_tor(settings),
            *_faults_about_influxdb(settings),
            *_faults_about_admin(settings),
            *_faults_about_many(settings),
        ]
    except SettingsError as error:
        problems = list(error.problems)
    if problems:
        raise SettingsError(*(named_as_given(problem, given) for problem in problems))
    return settings


def read_values(given: Mapping[Option, Given]) -> tuple[dict[str, Any], list[str]]:
    """The values by their keys, and what cannot be read."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for option, one in given.items():
        try:
            values[option.key] = read_value(option, one)
        except SettingsError as error:
            problems += error.problems
    return values, problems


def _settings(values: dict[str, Any], config: Config) -> GatewaySettings:
    """The settings of values that can each stand alone.

    :raises SettingsError: the rules cannot stand together.
    """
    rules = {option.key: values.pop(option.key) for option in (*RULE_FLAGS, *RULE_OPTIONS)}
    return GatewaySettings(rules=read_rules(rules, config.schema), **values)


def _faults_about_tor(settings: GatewaySettings) -> Iterator[str]:
    """What cannot work together about Tor."""
    if not settings.has_onion and not settings.listen:
        yield "--tor none: nothing would be served; add --listen, or let --tor be launch"
    if not settings.launches_tor and (settings.tor_binary or settings.tor_option):
        given = "--tor-binary" if settings.tor_binary else "--tor-option"
        yield f"{given}: is for a tor of our own, and --tor names a running one; leave one of them out"
    if settings.onion_socket and (settings.launches_tor or not settings.has_onion):
        yield "--onion-socket: is for a running tor (--tor ENDPOINT); our own tor needs none"
    if settings.authorized_clients and not settings.has_onion:
        yield "--authorized-clients: is for an onion service, and with --tor none there is none"


def _faults_about_influxdb(settings: GatewaySettings) -> Iterator[str]:
    """What cannot work together about InfluxDB."""
    api, user = settings.influxdb_api, settings.influxdb_user
    if api is Api.V2 and not settings.influxdb_org:
        yield "--influxdb-api v2: writes go to an organisation; name it with --influxdb-org ORG"
    if api is not Api.V2 and settings.influxdb_org:
        yield "--influxdb-org: is for --influxdb-api v2; add that, or leave this out"
    if settings.influxdb_token_file and (user or settings.influxdb_password_file):
        given = "--influxdb-user" if user else "--influxdb-password-file"
        yield f"{given}: a token needs neither user nor password; leave it or --influxdb-token-file out"
    if settings.influxdb_password_file and not user:
        yield "--influxdb-password-file: whose password is it? add --influxdb-user NAME"
    if user and api is Api.V2:
        yield "--influxdb-user: InfluxDB 2 takes tokens alone; use --influxdb-token-file FILE"


def _faults_about_admin(settings: GatewaySettings) -> Iterator[str]:
    """What cannot work together about the status pages."""
    if settings.admin is None:
        if settings.admin_allow_remote:
            yield "--admin-allow-remote: is about --admin ENDPOINT; add that, or leave this out"
    elif not (settings.admin.is_local or settings.admin_allow_remote):
        yield (
            "--admin: other machines could reach that; add :interface=127.0.0.1, or use unix:PATH; or add"
            " --admin-allow-remote, where the network is your own, as a container's is"
        )


def _faults_about_many(settings: GatewaySettings) -> Iterator[str]:
    """What cannot work together about many workers, and many gateways."""
    if settings.spool_limit // settings.workers < MIN_SPOOL_BYTES:
        least = settings.workers * MIN_SPOOL_BYTES >> 20
        yield f"--spool-limit: is divided among --workers {settings.workers}; make it at least {least}MiB"
    if settings.onionbalance and not settings.launches_tor:
        yield "--onionbalance: needs a tor of our own (--tor launch): a running one cannot be told"
    if settings.onionbalance and settings.authorized_clients:
        yield (
            "--authorized-clients: Onionbalance cannot read what is published for a few clients alone; leave it or"
            " --onionbalance out"
        )


def named_as_given(problem: str, given: Mapping[Option, Given]) -> str:
    """A problem that begins with a flag: told of the variable, or of the file and the key, where it was given there."""
    flag, _, rest = problem.partition(":")
    name = flag.removeprefix("--").split(" ")[0]
    where = next((one.where for option, one in given.items() if option.name == name), "")
    return f"{where}{flag.removeprefix(f'--{name}')}:{rest}" if where else problem
