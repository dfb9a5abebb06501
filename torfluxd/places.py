"""Where an operator looks: the place of a status page, out of the text of a Twisted endpoint. Pure.

The same text names the place to the gateway, which listens there, and to `torfluxd status`, which looks there.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen

from torfluxd.errors import SettingsError

__all__ = ["ADMIN_SOCKET", "Place", "is_loopback", "read_place", "unix_place"]

ADMIN_SOCKET = "admin.sock"
"""In the state directory: a place that every gateway has, for its own user alone."""

MAX_PORT = 65535

_PART = re.compile(r"((?:[^:\\]|\\.)*)(?::|\Z)")
"""A part of an endpoint; a colon in one stands behind a backslash (`twisted.internet.endpoints`)."""

_NAMED = re.compile(r"(\w+)=(.*)", re.DOTALL)
"""A part with a name; an equals sign that separates nothing stands behind a backslash."""

_EXPECTED = "expected unix:PATH, tcp:PORT:interface=127.0.0.1 or systemd:..., got"


@frozen
class Place:
    """A place.

    :ivar text: the Twisted server endpoint to listen on.
    :ivar socket: the path of a unix socket, or None.
    :ivar host: the address to listen on, an IP address; empty for all, or where systemd knows.
    :ivar port: of TCP; 0 where systemd knows.
    :ivar is_ours: the socket is in our state directory: what lies there in its place is one that a kill left.
    """

    text: str
    socket: Path | None = None
    host: str = ""
    port: int = 0
    is_ours: bool = False

    def __str__(self) -> str:
        return self.text if self.socket is None else f"unix:{self.socket}"

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine can reach it; where systemd has opened it, that is seen when we have it."""
        return self.socket is not None or not self.port or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an IP address, or `localhost`, is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def unix_place(socket: Path, mode: int) -> Place:
    """The place of a unix socket in our own state directory, for those alone whom its mode lets in."""
    escaped = re.sub(r"([:\\=])", r"\\\1", str(socket))
    return Place(f"unix:{escaped}:mode={mode:o}:lockfile=0", socket, is_ours=True)


def read_place(text: str) -> Place:
    """Read a place; a unix socket is for its owner and his group where nothing else is said.

    :raises SettingsError: it is none.
    """
    kind, *parts = _parts(text)
    found = [_NAMED.fullmatch(part) for part in parts]
    named = {each[1]: _plain(each[2]) for each in found if each is not None}
    rest = [_plain(part) for part, name in zip(parts, found, strict=True) if name is None]
    if kind == "unix":
        path = named.get("address") or (rest[0] if rest else "")
        if not path or "\0" in path:
            raise SettingsError(f"{_EXPECTED} {text!r}")
        return Place(text if "mode" in named else f"{text}:mode=660", Path(path))
    if kind == "tcp":
        port = named.get("port") or (rest[0] if rest else "")
        if not (port.isascii() and port.isdecimal() and 0 < int(port) <= MAX_PORT):
            raise SettingsError(f"{_EXPECTED} {text!r}")
        return Place(text, host=named.get("interface", ""), port=int(port))
    if kind == "systemd":
        return Place(text)
    raise SettingsError(f"{_EXPECTED} {text!r}")


def _plain(part: str) -> str:
    """A part without its backslashes."""
    return re.sub(r"\\(.)", r"\1", part)


def _parts(text: str) -> list[str]:
    """The parts of an endpoint, still with their backslashes.

    :raises SettingsError: there is nothing.
    """
    if not text:
        raise SettingsError(f"{_EXPECTED} nothing")
    parts, at = [], 0
    while at <= len(text):
        found = _PART.match(text, at)
        if found is None:  # a lone backslash at the end
            raise SettingsError(f"{_EXPECTED} {text!r}")
        parts.append(found[1])
        if found.end() == len(text) and not found[0].endswith(":"):
            break
        at = found.end()
    return parts
