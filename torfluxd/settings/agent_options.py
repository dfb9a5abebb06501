"""The agent's options: each declared once, for the command line, its help, the environment and the file. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from attrs import frozen

from torfluxd.durations import read_duration
from torfluxd.errors import OnionAddressError, SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.onion.address import parse_onion_address
from torfluxd.settings.option import Option, config_options, read_flag, read_name, read_path, read_text, shown
from torfluxd.settings.options import MIN_SPOOL_BYTES
from torfluxd.sizes import read_size

__all__ = ["AGENT_CONFIG_OPTIONS", "AGENT_OPTIONS", "StatsdAddress", "TorChoice", "interface_of"]

STATSD_PORT: Final = 8125
"""Where statsd clients send to when nobody tells them otherwise."""

LEAST_GRANULARITY_SECONDS: Final = 0.001
"""What is finer hides nothing: a reporter refuses it."""

LONGEST_GRANULARITY_SECONDS: Final = 86_400.0
"""A day: a gateway takes points that lie so far ahead of their time, and no farther."""

_COLON = re.compile(r"(?<!\\):")
_LISTENS_LOCALLY = ("unix", "systemd")
"""Endpoints that no network reaches by itself: a file, and what an operator has opened and handed over."""


@frozen
class TorChoice:
    """Which tor to use.

    :ivar launches: one of our own.
    :ivar socks: the SOCKS port of one that runs, as Twisted describes an endpoint; empty for none in particular.
    """

    launches: bool = False
    socks: str = ""


@frozen
class StatsdAddress:
    """Where statsd is heard.

    :ivar interface: an address of this machine.
    :ivar port: a UDP port.
    """

    interface: str = "127.0.0.1"
    port: int = STATSD_PORT


def _read_onion(text: str) -> str:
    """The URL of a gateway."""
    url = text if "://" in text else f"http://{text}"
    if not url.lower().startswith("http://"):
        raise SettingsError("expected http://; Tor encrypts on the way to an onion service, so there is no https")
    try:
        parse_onion_address(parse_influxdb_url(url).host)
    except OnionAddressError as error:
        raise SettingsError(str(error)) from None
    return url


def _read_tor(text: str) -> TorChoice:
    if text == "launch":
        return TorChoice(launches=True)
    kind, _, socks = text.partition(":")
    if kind != "socks" or not socks:
        raise SettingsError(
            f"expected launch, or socks: and where it is (socks:unix:/run/tor/socks), got {shown(text)}"
        )
    return TorChoice(socks=socks)


def _read_api(text: str) -> Api:
    try:
        return Api(text)
    except ValueError:
        raise SettingsError(f"expected v1, v2 or v3, got {shown(text)}") from None


def _read_granularity(text: str) -> float:
    seconds = read_duration(text)
    if not LEAST_GRANULARITY_SECONDS <= seconds <= LONGEST_GRANULARITY_SECONDS:
        raise SettingsError(f"expected a duration from 1ms to 24h, got {text!r}")
    return seconds


def _read_spool_limit(text: str) -> int:
    size = read_size(text)
    if size < MIN_SPOOL_BYTES:
        raise SettingsError(f"expected at least {MIN_SPOOL_BYTES >> 20}MiB, got {text!r}")
    return size


def _read_statsd(text: str) -> StatsdAddress:
    kind, *parts = _COLON.split(text)
    interface, port = StatsdAddress().interface, str(STATSD_PORT)
    if parts and "=" not in parts[0]:
        port = parts.pop(0)
    if parts and parts[0].startswith("interface="):
        interface = parts.pop(0).partition("=")[2].replace("\\:", ":")
    is_port = port.isascii() and port.isdecimal() and int(port[:6]) < 65_536
    if kind != "udp" or parts or not is_port or not _is_address(interface):
        raise SettingsError(
            f"expected udp, udp:{STATSD_PORT} or udp:{STATSD_PORT}:interface=127.0.0.1, got {shown(text)}"
        )
    return StatsdAddress(interface, int(port))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _read_host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text) and not _is_address(text.strip("[]")):
        raise SettingsError(f"expected the name or the address of a machine, without a port, got {shown(text)}")
    return text


def interface_of(endpoint: str) -> str | None:
    """On which address of this machine a server endpoint listens: empty for all of them, None for none.

    :param endpoint: as Twisted describes it. What kind of endpoint nobody knows is taken for one that listens on all.
    """
    kind, *parts = _COLON.split(endpoint)
    if kind in _LISTENS_LOCALLY:
        return None
    if kind not in ("tcp", "tcp4", "tcp6", "ssl"):
        return ""
    given = [part.partition("=")[2] for part in parts if part.startswith("interface=")]
    return given[-1].replace("\\:", ":").strip("[]") if given else ""


AGENT_OPTIONS = (
    Option(
        "onion",
        _read_onion,
        None,
        "The vendor's gateway: its onion address, or a URL with that, and with a port and a path prefix if the vendor"
        " says so.",
        "ADDRESS",
        example="j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion",
    ),
    Option(
        "listen",
        read_text,
        "tcp:8086:interface=127.0.0.1",
        "The Twisted server endpoint where InfluxDB clients find the agent (repeatable).",
        "ENDPOINT",
        repeatable=True,
        reason="InfluxDB's own port, so that clients on this machine need no change.",
    ),
    Option(
        "listen-allow-remote",
        read_flag,
        "no",
        "Let --listen and --statsd take addresses that other machines can reach: whoever reaches them can write.",
        metavar=None,
    ),
    Option(
        "allow-host",
        _read_host,
        None,
        "A further name or address by which clients may know this machine (repeatable), beside localhost, 127.0.0.1 and"
        " ::1. Other names are refused, because web pages can have them.",
        "NAME",
        repeatable=True,
        example="telemetry",
    ),
    Option(
        "statsd",
        _read_statsd,
        None,
        "Hear statsd, too: udp, for port 8125 of 127.0.0.1, or udp:PORT:interface=ADDRESS.",
        "ENDPOINT",
        example="udp:8125",
    ),
    Option(
        "database",
        read_name,
        None,
        "Where everything goes, whatever clients ask for: the vendor's database, or bucket. [default: where they ask]",
        "NAME",
        example="telemetry",
    ),
    Option(
        "retention-policy",
        read_name,
        None,
        "With --database: the retention policy in it.",
        "NAME",
        example="thirteen_weeks",
    ),
    Option(
        "influxdb-api",
        _read_api,
        "v1",
        "What the vendor's InfluxDB understands: v1, v2 or v3. Clients may speak any of them, whatever this is.",
        "VERSION",
        reason="What 1.x understands, all others do.",
    ),
    Option(
        "schema",
        read_path,
        None,
        "A file with the vendor's [schema.*]: what it does not name does not leave this machine. [default: that of"
        " --config, if there is one]",
        "FILE",
        example="/etc/torfluxd/schema.toml",
    ),
    Option(
        "granularity",
        _read_granularity,
        "1m",
        "To what the time of a point is coarsened: 10s, 1m, 1h.",
        "DURATION",
        reason="Enough for a dashboard, and too little to tell when somebody pressed a button.",
    ),
    Option(
        "interval",
        read_duration,
        "1m",
        "How often a report leaves, at a random moment: 1m, 15m, 1h.",
        "DURATION",
        reason="A circuit a minute is nothing to tor.",
    ),
    Option(
        "tor",
        _read_tor,
        None,
        "launch a tor of our own, or socks:ENDPOINT for one that runs, such as socks:unix:/run/tor/socks. [default:"
        " one that runs, else a tor in PATH, launched]",
        "MODE",
        example="launch",
    ),
    Option(
        "tor-binary",
        read_text,
        None,
        "With --tor launch: the tor to launch. [default: the one in PATH]",
        "PATH",
        example="/usr/bin/tor",
    ),
    Option(
        "client-key",
        read_path,
        None,
        "For a private gateway: the key with which its owner lets you in, NAME.auth_private, mode 0600; with --tor"
        " launch.",
        "FILE",
        example="/etc/torfluxd/app.auth_private",
    ),
    Option(
        "state-dir",
        read_path,
        None,
        "Where points wait until they are reported, and Tor keeps its state. [default: $STATE_DIRECTORY,"
        " /var/lib/torfluxd-agent for root, else ~/.local/state/torfluxd-agent]",
        "DIR",
        example="/var/lib/torfluxd-agent",
    ),
    Option(
        "spool-limit",
        _read_spool_limit,
        "128MiB",
        "How much is kept on disk while there is no Tor; the oldest goes first. At least 16MiB.",
        "SIZE",
        unit="bytes",
        reason="A million points or more: twelve of them a minute for 60 days.",
    ),
)

AGENT_CONFIG_OPTIONS = config_options("the same options under [agent], and perhaps [schema.*]")
"""Options about the configuration itself: they stand in no file."""
