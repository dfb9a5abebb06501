"""The torrc of a tor that is ours: plain values in, text out.

Every line that a defence hangs on is written here, with its reason. Names and meanings are those of `man 1 tor`
(0.4.9). What tor supports is asked of the binary first (:func:`read_version`, :func:`read_modules`), so that one torrc
fits every tor that we take.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

from torfluxd.errors import SettingsError, SocketPathError

__all__ = [
    "LONGEST_SOCKET_PATH_BYTES",
    "ONION_PORT",
    "POW_SAFE_SINCE",
    "OnionLines",
    "TorAbilities",
    "check_socket_path",
    "read_modules",
    "read_version",
    "takes_socks",
    "torrc",
]

ONION_PORT = 80
"""The port of the onion service: so that `http://<address>.onion` is all that anybody must know, as in go-torfluxdb."""

LONGEST_SOCKET_PATH_BYTES = 107
"""`sun_path` has 108 bytes on Linux, the closing NUL among them (unix(7)); the BSDs have 104."""

MAX_STREAMS_PER_CIRCUIT = 256
"""A reporter opens one stream on a circuit; stock clients behind one SOCKS port share a circuit among their
connections, and pools of 100 are common. Beyond it streams are refused, the circuit is kept."""

POW_QUEUE_RATE_PER_SECOND = 250
POW_QUEUE_BURST = 2500
"""Introductions a second, and at once, above which tor asks newcomers for proof of work: tor's own defaults, written
out so that a change of them is ours to make."""

POW_SAFE_SINCE = (0, 4, 9, 9)
"""Before it a stranger could crash the service through its proof of work (TROVE-2026-020)."""


@frozen
class TorAbilities:
    """What a tor binary, or a running tor, can do.

    :ivar version: `(0, 4, 9, 11)`.
    :ivar pow: whether the module for proof of work is built in.
    """

    version: tuple[int, ...]
    pow: bool

    @property
    def defends_with_pow(self) -> bool:
        """Whether proof of work is there, and safe to turn on."""
        return self.pow and self.version >= POW_SAFE_SINCE


@frozen
class OnionLines:
    """The onion service that our own tor hosts.

    :ivar directory: HiddenServiceDir, with the key in it; 0700.
    :ivar target: the unix socket that tor connects strangers to.
    :ivar further_targets: others; for each stream tor takes one of them all by chance.
    :ivar is_instance: whether it is one of several behind an address that Onionbalance publishes. Which one that is
        says a file `ob_config` in the directory.
    """

    directory: Path
    target: Path
    further_targets: tuple[Path, ...] = ()
    is_instance: bool = False


def read_version(text: str) -> tuple[int, ...]:
    """Read the version out of `Tor version 0.4.9.11.` or `0.4.9.11 (git-...)`.

    :returns: its numbers; empty when there are none.
    """
    found = re.search(r"\b(\d+(?:\.\d+){2,3})\b", text)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def read_modules(text: str) -> frozenset[str]:
    """Read the names of the modules that are built in out of `tor --list-modules`: `pow: yes` a line."""
    return frozenset(re.findall(r"^(\w+): yes$", text, re.MULTILINE))


def check_socket_path(path: Path) -> None:
    """Refuse a path that a unix socket cannot have, before anything is started.

    :raises SocketPathError: it is longer than `LONGEST_SOCKET_PATH_BYTES`.
    """
    length = len(str(path).encode())
    if length > LONGEST_SOCKET_PATH_BYTES:
        raise SocketPathError(
            f"{path} has {length} bytes, and a unix socket's path at most {LONGEST_SOCKET_PATH_BYTES}:"
            " choose a shorter --state-dir"
        )


def takes_socks(options: tuple[str, ...]) -> bool:
    """Whether a SOCKS port can stand beside these further lines: an onion service that does not hide where it is must
    have none (tor(1), `HiddenServiceNonAnonymousMode`), and `SocksPort 0` contradicts one.
    """
    given = {(*line.lower().split(maxsplit=1), "")[:2] for line in options}
    return not given & {("hiddenservicenonanonymousmode", "1"), ("socksport", "0")}


def torrc(
    *,
    data_directory: Path,
    control_socket: Path,
    owner_pid: int,
    abilities: TorAbilities,
    socks_socket: Path | None = None,
    onion: OnionLines | None = None,
    options: tuple[str, ...] = (),
) -> str:
    """Write the torrc of our own tor.

    :param data_directory: tor's state; kept between runs, so that entry guards survive.
    :param control_socket: a unix socket in a directory that is ours alone.
    :param owner_pid: tor ends itself within 15 s of the end of this process, should nothing else have ended it.
    :param socks_socket: where the SOCKS port is, or None for no SOCKS port at all.
    :param onion: the onion service to host, or None.
    :param options: further lines, as given by `--tor-option`; they come last.
    :raises SettingsError: a further line has a line break in it.
    """
    lines = [
        f"DataDirectory {_quoted(data_directory)}",
        f"ControlPort unix:{_quoted(control_socket)}",  # ControlSocket takes no quoted path
        "CookieAuthentication 1",
        f"CookieAuthFile {_quoted(data_directory / 'control_auth_cookie')}",
        f"__OwningControllerProcess {owner_pid}",
        "RunAsDaemon 0",
        "ClientOnly 1",
        # What we read of it is the reason for an early end; addresses in it are scrubbed.
        "Log notice stdout",
        "SafeLogging 1",
        *_socks_lines(socks_socket),
        *(_onion_lines(onion, abilities) if onion else ()),
        *(_option_line(option) for option in options),
    ]
    return "\n".join(lines) + "\n"


def _socks_lines(socket: Path | None) -> tuple[str, ...]:
    if socket is None:
        return ("SocksPort 0",)
    # Streams with different user names never share a circuit; replies name what is wrong with an onion service.
    return (f"SocksPort unix:{_quoted(socket)} IsolateSOCKSAuth KeepAliveIsolateSOCKSAuth ExtendedErrors",)


def _onion_lines(onion: OnionLines, abilities: TorAbilities) -> list[str]:
    lines = [
        f"HiddenServiceDir {_quoted(onion.directory)}",
        "HiddenServiceVersion 3",
        *(f"HiddenServicePort {ONION_PORT} unix:{_quoted(path)}" for path in (onion.target, *onion.further_targets)),
        # Each connection begins with a PROXY line that names its circuit: the only way to be fair between strangers.
        "HiddenServiceExportCircuitID haproxy",
        f"HiddenServiceMaxStreams {MAX_STREAMS_PER_CIRCUIT}",
    ]
    if onion.is_instance:
        lines.append("HiddenServiceOnionBalanceInstance 1")
    if abilities.defends_with_pow:
        lines += [
            "HiddenServicePoWDefensesEnabled 1",
            f"HiddenServicePoWQueueRate {POW_QUEUE_RATE_PER_SECOND}",
            f"HiddenServicePoWQueueBurst {POW_QUEUE_BURST}",
        ]
    return lines


def _option_line(option: str) -> str:
    if "\n" in option or "\r" in option:
        raise SettingsError("--tor-option takes one line of a torrc, without line breaks")
    return option


def _quoted(path: Path) -> str:
    """Quote a path, so that spaces are part of it. Escapes are refused: tor 0.4.9 reads them in some options only."""
    text = str(path)
    if re.search(r'[\x00-\x1f\x7f#"\\]', text):
        raise SettingsError(
            f"{text!r} has a character in it that tor's configuration cannot hold (#, a double quote, a backslash or a"
            " control character): choose another --state-dir"
        )
    return f'"{text}"'
