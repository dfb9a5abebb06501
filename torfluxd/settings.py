"""What a person configured: flags and environment in, frozen settings out, or an error that names the option.

Flags win over the environment (`TORFLUXD_<OPTION>`), which wins over the default. Each option is declared once, in a
table, from which the command line and its help are made as well. Pure: the file system and the network are looked at
later, by those who use the settings.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from torfluxd.durations import read_duration
from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.credential import CredentialOptions
from torfluxd.influx.url import InfluxdbUrl, parse_influxdb_url
from torfluxd.sizes import read_size

__all__ = ["GATEWAY_OPTIONS", "Expose", "GatewaySettings", "Option", "read_gateway_settings"]


MIN_SPOOL_BYTES = 16 * 2**20
"""The least that a spool may hold: eight writes of the largest size, with room for what SQLite needs beside them."""


class Expose(enum.Enum):
    """What of InfluxDB strangers can reach."""

    WRITE = "write"
    """The write routes, and constant answers to what stock clients ask before they write."""

    ALL = "all"
    """Everything, as go-torfluxdb does: a stranger can read, and DROP the database."""


@frozen
class Option:
    """One option.

    :ivar name: as on the command line, without the dashes.
    :ivar read: its text to its value; raises SettingsError with a sentence that does not name the option.
    :ivar default: as a person would type it, or None.
    :ivar help: for `--help`.
    :ivar metavar: what stands for the value in the help; None for a flag without value.
    :ivar repeatable: whether it may be given several times; its value is a tuple then.
    """

    name: str
    read: Callable[[str], Any]
    default: str | None
    help: str
    metavar: str | None = "VALUE"
    repeatable: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that stands for it."""
        return "TORFLUXD_" + self.name.upper().replace("-", "_")


def _read_expose(text: str) -> Expose:
    try:
        return Expose(text)
    except ValueError:
        raise SettingsError(f"expected write or all, got {text!r}") from None


def _read_api(text: str) -> Api:
    try:
        return Api(text)
    except ValueError:
        raise SettingsError(f"expected v1, v2 or v3, got {text!r}") from None


def _read_user(text: str) -> str:
    # RFC 7617 section 2: a colon ends the name, and control characters have no place in it.
    if not text.strip() or ":" in text or not text.isprintable():
        raise SettingsError("expected a name without colons and control characters")
    return text


def _read_spool_limit(text: str) -> int:
    size = read_size(text)
    if size < MIN_SPOOL_BYTES:
        raise SettingsError(f"expected at least {MIN_SPOOL_BYTES >> 20}MiB, got {text!r}")
    return size


def _read_path(text: str) -> Path:
    if not text or "\0" in text:
        raise SettingsError(f"expected a path, got {text!r}")
    return Path(text).expanduser()


def _read_flag(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise SettingsError(f"expected yes or no, got {text!r}")


def _read_text(text: str) -> str:
    if not text.strip():
        raise SettingsError("expected some text, got none")
    return text


GATEWAY_OPTIONS = (
    Option(
        "influxdb",
        parse_influxdb_url,
        "http://127.0.0.1:8086",
        "Where InfluxDB is: a URL, host:port, [::1]:8086 or unix:/path; https and a path prefix are fine.",
        "URL",
    ),
    Option(
        "influxdb-api",
        _read_api,
        "v1",
        "How InfluxDB is written to: v1 (1.x, VictoriaMetrics), v2 (2.x, with --influxdb-org) or v3 (3.x). Strangers"
        " may speak any of them, whatever this is.",
        "VERSION",
    ),
    Option("influxdb-org", _read_text, None, "With --influxdb-api v2: the organisation, by name or ID.", "ORG"),
    Option(
        "influxdb-token-file",
        _read_path,
        None,
        "The token to write to InfluxDB with, mode 0600; it is read again when InfluxDB refuses it. [default: the"
        " systemd credential influxdb-token, if there is one]",
        "FILE",
    ),
    Option(
        "influxdb-user",
        _read_user,
        None,
        "The user to write to InfluxDB as, in place of a token.",
        "NAME",
    ),
    Option(
        "influxdb-password-file",
        _read_path,
        None,
        "The user's password, mode 0600; it is read again when InfluxDB refuses it. [default: the systemd credential"
        " influxdb-password]",
        "FILE",
    ),
    Option(
        "tor",
        _read_text,
        "launch",
        "launch a tor of our own; or the Twisted client endpoint of a running tor's control port, such as"
        " unix:/run/tor/control; or none, for no onion service at all (needs --listen).",
        "MODE",
    ),
    Option("tor-binary", _read_text, None, "The tor to launch. [default: the one in PATH]", "PATH"),
    Option(
        "state-dir",
        _read_path,
        None,
        "Where Tor's state, the key and the sockets live; hostname in it holds the onion address. [default:"
        " $STATE_DIRECTORY, /var/lib/torfluxd for root, else ~/.local/state/torfluxd]",
        "DIR",
    ),
    Option(
        "onion-key",
        _read_path,
        None,
        "The onion service's private key, in any format, mode 0600. [default: the systemd credential onion-key, else"
        " $TORFLUXDB_ONIONKEY, else onion.key in the state directory, made when missing]",
        "FILE",
    ),
    Option(
        "onion-socket",
        _read_path,
        None,
        "With a running tor: the unix socket to which it connects strangers, for the group of its directory. [default:"
        " onion.sock in the state directory, for this user alone]",
        "PATH",
    ),
    Option(
        "timeout",
        read_duration,
        "3m",
        "How long joining the Tor network may take at the start: 90s, 1m30s, 1.5h.",
        "DURATION",
    ),
    Option(
        "spool-limit",
        _read_spool_limit,
        "1GiB",
        "How much of what strangers write is kept on disk while InfluxDB is away: 500MB, 2GiB, a number of bytes; at"
        " least 16MiB.",
        "SIZE",
    ),
    Option("expose", _read_expose, "write", "What strangers can reach: write, or all (they can DROP too).", "WHAT"),
    Option(
        "listen",
        _read_text,
        None,
        "A further Twisted server endpoint on which the same is served, such as tcp:8087:interface=127.0.0.1"
        " (repeatable).",
        "ENDPOINT",
        repeatable=True,
    ),
    Option(
        "tor-option",
        _read_text,
        None,
        "A further line for the torrc of our own tor: 'UseBridges 1' (repeatable).",
        "'NAME VALUE'",
        repeatable=True,
    ),
    Option(
        "printkey",
        _read_flag,
        "no",
        "Print the private key to standard output, once, in go-torfluxdb's hex digits. Whoever has it can impersonate"
        " the gateway.",
        metavar=None,
    ),
)


@frozen(kw_only=True)
class GatewaySettings:
    """The gateway's settings, each as its option reads it; see :data:`GATEWAY_OPTIONS` for what they mean.

    :ivar timeout: seconds.
    :ivar onion_key: the file named, or None to look where the help says.
    :ivar spool_limit: bytes.
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
    expose: Expose
    listen: tuple[str, ...]
    tor_option: tuple[str, ...]
    printkey: bool

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


def read_gateway_settings(
    flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str]
) -> GatewaySettings:
    """Put the gateway's settings together.

    :param flags: option name to what was typed; absent, None or an empty list for an option that was not given.
    :param environment: `os.environ`. A repeatable option's variable holds one value.
    :raises SettingsError: something cannot be used; the error names the option or the variable, and the cure.
    """
    settings = GatewaySettings(**_gathered(GATEWAY_OPTIONS, flags, environment))
    _check_tor(settings)
    _check_influxdb(settings)
    return settings


def _check_tor(settings: GatewaySettings) -> None:
    """Refuse what cannot work together about Tor."""
    if not settings.has_onion and not settings.listen:
        raise SettingsError("--tor none: nothing would be served; add --listen, or let --tor be launch")
    if not settings.launches_tor and (settings.tor_binary or settings.tor_option):
        given = "--tor-binary" if settings.tor_binary else "--tor-option"
        raise SettingsError(f"{given}: is for a tor of our own, and --tor names a running one; leave one of them out")
    if settings.onion_socket and (settings.launches_tor or not settings.has_onion):
        raise SettingsError("--onion-socket: is for a running tor (--tor ENDPOINT); our own tor needs none")


def _check_influxdb(settings: GatewaySettings) -> None:
    """Refuse what cannot work together about InfluxDB."""
    api, user = settings.influxdb_api, settings.influxdb_user
    if api is Api.V2 and not settings.influxdb_org:
        raise SettingsError("--influxdb-api v2: writes go to an organisation; name it with --influxdb-org ORG")
    if api is not Api.V2 and settings.influxdb_org:
        raise SettingsError("--influxdb-org: is for --influxdb-api v2; add that, or leave this out")
    if settings.influxdb_token_file and (user or settings.influxdb_password_file):
        given = "--influxdb-user" if user else "--influxdb-password-file"
        raise SettingsError(f"{given}: a token needs neither user nor password; leave it or --influxdb-token-file out")
    if settings.influxdb_password_file and not user:
        raise SettingsError("--influxdb-password-file: whose password is it? add --influxdb-user NAME")
    if user and api is Api.V2:
        raise SettingsError("--influxdb-user: InfluxDB 2 takes tokens alone; use --influxdb-token-file FILE")


def _gathered(
    options: Sequence[Option], flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str]
) -> dict[str, Any]:
    return {option.name.replace("-", "_"): _value(option, flags, environment) for option in options}


def _value(option: Option, flags: Mapping[str, str | Sequence[str] | None], environment: Mapping[str, str]) -> Any:
    typed, where = flags.get(option.name), f"--{option.name}"
    if not typed and typed != "" and option.variable in environment:
        typed, where = environment[option.variable], option.variable
    if typed is None or (option.repeatable and not typed):
        typed = option.default
    if typed is None:
        return () if option.repeatable else None
    try:
        if option.repeatable:
            return tuple(option.read(text) for text in ([typed] if isinstance(typed, str) else typed))
        return option.read(str(typed))
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
