"""The gateway's options: each declared once, for the command line, its help, the environment and the file. Pure."""

from __future__ import annotations

import enum
import re

from torfluxd.durations import read_duration
from torfluxd.errors import OnionAddressError, SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.onion.address import OnionAddress, parse_onion_address
from torfluxd.places import read_place
from torfluxd.settings.option import Option, config_options, read_count, read_flag, read_path, read_text
from torfluxd.settings.rules import RULE_FLAGS
from torfluxd.sizes import read_size

__all__ = ["CONFIG_OPTIONS", "GATEWAY_OPTIONS", "SERVE_OPTIONS", "Expose"]

MIN_SPOOL_BYTES = 16 * 2**20
"""The least that a spool may hold: eight writes of the largest size, with room for what SQLite needs beside them."""

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warn", "error", "critical")

MAX_WORKERS = 64
"""More than tor, which has one thread for what it encrypts, can ever keep busy."""

_KEY_IN_ENDPOINT = re.compile(r"(?i)(?<![^:])(private_?key|pass\w*)=(?:[^:\\]|\\.)*")


class Expose(enum.Enum):
    """What of InfluxDB strangers can reach."""

    WRITE = "write"
    """The write routes, and constant answers to what stock clients ask before they write."""

    ALL = "all"
    """Everything, as go-torfluxdb does: a stranger can read, and DROP the database."""


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


def _read_log_format(text: str) -> str:
    if text not in LOG_FORMATS:
        raise SettingsError(f"expected text or json, got {text!r}")
    return text


def _read_log_level(text: str) -> str:
    if text not in LOG_LEVELS:
        raise SettingsError(f"expected {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}, got {text!r}")
    return text


def _read_spool_limit(text: str) -> int:
    size = read_size(text)
    if size < MIN_SPOOL_BYTES:
        raise SettingsError(f"expected at least {MIN_SPOOL_BYTES >> 20}MiB, got {text!r}")
    return size


def _read_workers(text: str) -> int:
    workers = read_count("processes")(text)
    if workers > MAX_WORKERS:
        raise SettingsError(f"expected at most {MAX_WORKERS}, got {text!r}")
    return workers


def _read_frontend(text: str) -> OnionAddress:
    try:
        return parse_onion_address(text)
    except OnionAddressError as error:
        raise SettingsError(str(error)) from None


def _without_keys(endpoint: str) -> str:
    """An endpoint without the private key that txtorcon's may hold."""
    return _KEY_IN_ENDPOINT.sub(r"\1=…", endpoint)


def _first_word(line: str) -> str:
    """The name of a torrc line: passwords of bridges and proxies stand in what follows."""
    return f"{line.split()[0]} …"


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
    Option(
        "influxdb-org",
        read_text,
        None,
        "With --influxdb-api v2: the organisation, by name or ID.",
        "ORG",
        example="my-organisation",
    ),
    Option(
        "influxdb-token-file",
        read_path,
        None,
        "The token to write to InfluxDB with, mode 0600; it is read again when InfluxDB refuses it. [default: the"
        " systemd credential influxdb-token, if there is one]",
        "FILE",
        example="/etc/torfluxd/influxdb.token",
    ),
    Option(
        "influxdb-user",
        _read_user,
        None,
        "The user to write to InfluxDB as, in place of a token.",
        "NAME",
        example="telemetry",
    ),
    Option(
        "influxdb-password-file",
        read_path,
        None,
        "The user's password, mode 0600; it is read again when InfluxDB refuses it. [default: the systemd credential"
        " influxdb-password]",
        "FILE",
        example="/etc/torfluxd/influxdb.password",
    ),
    Option(
        "tor",
        read_text,
        "launch",
        "launch a tor of our own; or the Twisted client endpoint of a running tor's control port, such as"
        " unix:/run/tor/control; or none, for no onion service at all (needs --listen).",
        "MODE",
    ),
    Option(
        "tor-binary",
        read_text,
        None,
        "The tor to launch. [default: the one in PATH]",
        "PATH",
        example="/usr/bin/tor",
    ),
    Option(
        "state-dir",
        read_path,
        None,
        "Where Tor's state, the key and the sockets live; hostname in it holds the onion address. [default:"
        " $STATE_DIRECTORY, /var/lib/torfluxd for root, else ~/.local/state/torfluxd]",
        "DIR",
        example="/var/lib/torfluxd",
    ),
    Option(
        "onion-key",
        read_path,
        None,
        "The onion service's private key, in any format, mode 0600. [default: the systemd credential onion-key, else"
        " $TORFLUXDB_ONIONKEY, else onion.key in the state directory, made when missing]",
        "FILE",
        example="/etc/torfluxd/onion.key",
    ),
    Option(
        "onion-socket",
        read_path,
        None,
        "With a running tor: the unix socket to which it connects strangers, for the group of its directory. [default:"
        " onion.sock in the state directory, for this user alone]",
        "PATH",
        example="/run/torfluxd/onion.sock",
    ),
    Option(
        "timeout",
        read_duration,
        "3m",
        "How long joining the Tor network may take at the start: 90s, 1m30s, 1.5h.",
        "DURATION",
        reason="A tor that has never run before needs half a minute, and over a bridge or a slow line minutes.",
    ),
    Option(
        "spool-limit",
        _read_spool_limit,
        "1GiB",
        "How much of what strangers write is kept on disk while InfluxDB is away: 500MB, 2GiB, a number of bytes; at"
        " least 16MiB.",
        "SIZE",
        unit="bytes",
        reason="Five to ten million points; a disk that holds an InfluxDB has room for as much again.",
    ),
    Option(
        "admin",
        read_place,
        None,
        "A Twisted server endpoint for the status pages (/, /health, /ready, /status.json, /metrics for Prometheus):"
        " unix:PATH, tcp:PORT:interface=127.0.0.1 or systemd:...; on this machine alone. torfluxd status needs none.",
        "ENDPOINT",
        example="tcp:9273:interface=127.0.0.1",
    ),
    Option(
        "admin-allow-remote",
        read_flag,
        "no",
        "Let --admin be reached from other machines too, by any name: in a container, on a network of your own.",
        metavar=None,
    ),
    Option("expose", _read_expose, "write", "What strangers can reach: write, or all (they can DROP too).", "WHAT"),
    Option(
        "listen",
        read_text,
        None,
        "A further Twisted server endpoint on which the same is served, such as tcp:8087:interface=127.0.0.1"
        " (repeatable).",
        "ENDPOINT",
        repeatable=True,
        example="tcp:8087:interface=127.0.0.1",
        conceal=_without_keys,
    ),
    Option(
        "tor-option",
        read_text,
        None,
        "A further line for the torrc of our own tor: 'UseBridges 1' (repeatable).",
        "'NAME VALUE'",
        repeatable=True,
        example="UseBridges 1",
        conceal=_first_word,
    ),
    Option(
        "authorized-clients",
        read_path,
        None,
        "A directory with a NAME.auth file for each client that may reach the onion service, in tor's own format"
        " (descriptor:x25519:PUBLICKEY); nobody else can. [default: everybody can who knows the address]",
        "DIR",
        example="/etc/torfluxd/clients",
    ),
    Option(
        "workers",
        _read_workers,
        "1",
        "In how many processes the gateway serves strangers; tor spreads them. What they may use together, and"
        " --spool-limit, are divided among them.",
        "N",
        unit="processes",
        reason="One serves more than one tor can bring (docs/performance.rst); with a slow InfluxDB far away, or a"
        " large schema, more may help.",
    ),
    Option(
        "onionbalance",
        _read_frontend,
        None,
        "The onion address that Onionbalance publishes for several gateways, of which this is one; with a tor of our"
        " own.",
        "ADDRESS",
        example="2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
    ),
    Option(
        "printkey",
        read_flag,
        "no",
        "Print the private key to standard output, once, in go-torfluxdb's hex digits. Whoever has it can impersonate"
        " the gateway.",
        metavar=None,
    ),
    *RULE_FLAGS,
)

CONFIG_OPTIONS = config_options(
    "the same options under [gateway], and what strangers may write under [rules] and [schema]"
)
"""Options about the configuration itself: they stand in no file."""

SERVE_OPTIONS = (
    Option(
        "log-format",
        _read_log_format,
        "text",
        "How the log is written, to standard output: text for people, or json, one object a line.",
        "text|json",
    ),
    Option(
        "log-level",
        _read_log_level,
        "info",
        "How grave what is logged must be at least: debug, info, warn, error or critical.",
        "LEVEL",
    ),
)
"""Options of `torfluxd serve` alone: `twistd` has others (`--logger torfluxd.ops.logs.json_lines`). They stand in no
file."""
