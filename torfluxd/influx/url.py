"""Where InfluxDB is: what a person writes after `--influxdb`, read once into a value.

Pure: nothing is looked up and nothing is opened.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from attrs import frozen

from torfluxd.errors import SettingsError

__all__ = ["InfluxdbUrl", "parse_influxdb_url"]

INFLUXDB_PORT = 8086
"""InfluxDB's own port, meant when a host stands alone, as in go-torfluxdb and in InfluxDB's tools."""

MAX_SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket on Linux: `sun_path` is 108 bytes, the closing NUL among them (unix(7))."""

_SCHEME_PORTS = {"http": 80, "https": 443}
"""What a URL means when it names no port (RFC 9110 section 4.2)."""

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
"""A host name (RFC 1123 section 2.1) or an IPv4 address. Twisted looks up no name with an underscore (tried)."""

_PREFIX = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
"""The path of a URL (RFC 3986 section 3.3)."""


@frozen
class InfluxdbUrl:
    """Where InfluxDB is. It never holds a credential, so it may be printed.

    :ivar host: a name or an address, an IPv6 address without its brackets; with a unix socket it is `localhost`, which
        stands in the `Host` header and is never looked up.
    :ivar port: the TCP port.
    :ivar tls: whether to speak TLS.
    :ivar socket_path: the unix socket to connect to instead of host and port, or None.
    :ivar prefix: what stands before every path: empty, or a path that begins with a slash and ends without one.
    """

    host: str
    port: int
    tls: bool = False
    socket_path: str | None = None
    prefix: str = ""

    @property
    def authority(self) -> bytes:
        """The value of the `Host` header: without the port where the scheme implies it, and without the zone of an
        IPv6 address, which means something on this machine only (RFC 6874 section 1).
        """
        name = self.host.partition("%")[0]
        if ":" in name:
            name = f"[{name}]"
        implied = _SCHEME_PORTS["https" if self.tls else "http"]
        return (name if self.port == implied else f"{name}:{self.port}").encode("ascii")

    @property
    def origin(self) -> bytes:
        """Scheme and authority."""
        return (b"https://" if self.tls else b"http://") + self.authority

    def __str__(self) -> str:
        """As a person would write it."""
        return f"unix:{self.socket_path}" if self.socket_path else self.origin.decode("ascii") + self.prefix

    def request_uri(self, path_and_query: bytes) -> bytes:
        """What InfluxDB is asked for, for a path (and query) below the prefix."""
        return self.prefix.encode("ascii") + path_and_query


def parse_influxdb_url(text: str) -> InfluxdbUrl:
    """Read one of `http://host:port/prefix`, `https://host:port/prefix`, `host:port`, `host`, `unix:/path`.

    An IPv6 address stands in brackets. A URL without a port means 80 or 443, as URLs do; a host alone means 8086.

    :raises SettingsError: when it is none of these. Its text is made to stand behind the option's name, and repeats
        nothing of the value, because a person may have put a password anywhere.
    """
    if not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError("has a space or a character outside ASCII in it; a host name is written in its xn-- form")
    if text.lower().startswith("unix:"):
        return _parse_socket(text[len("unix:") :])
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _parse_network(text, tls=False, implied_port=INFLUXDB_PORT)
    scheme = scheme.lower()
    if scheme not in _SCHEME_PORTS:
        raise SettingsError(
            "begins with an unknown scheme; expected http://host:port, https://host:port, host:port or unix:/path"
        )
    return _parse_network(rest, tls=scheme == "https", implied_port=_SCHEME_PORTS[scheme])


def _parse_socket(path: str) -> InfluxdbUrl:
    """Read what follows `unix:`; `unix:///path` is the same as `unix:/path`."""
    path = path.removeprefix("//")
    if not path.startswith("/") or path.endswith("/"):
        raise SettingsError("needs the absolute path of a socket after unix:, as in unix:/run/influxdb/influxdb.sock")
    if len(path) > MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"names a unix socket by {len(path)} bytes of path, and Linux takes {MAX_SOCKET_PATH_BYTES};"
            " choose a shorter path"
        )
    return InfluxdbUrl("localhost", _SCHEME_PORTS["http"], socket_path=path)


def _parse_network(text: str, *, tls: bool, implied_port: int) -> InfluxdbUrl:
    """Read `host`, `host:port` and either with a prefix."""
    authority, path = _split_authority(text)
    if "@" in authority:
        raise SettingsError(
            "holds credentials, which the list of processes would show to everybody; take out what stands before the @"
        )
    if "?" in path or "#" in path:
        raise SettingsError("has a query or a fragment; leave out everything from the ? or # on")
    if not _PREFIX.fullmatch(path):
        raise SettingsError("has a character in its path that a URL cannot hold; write it as %xx")
    host, port = _split_port(authority)
    return InfluxdbUrl(
        _check_host(host),
        implied_port if port is None else _check_port(port),
        tls=tls,
        prefix=path.rstrip("/"),
    )


def _split_authority(text: str) -> tuple[str, str]:
    """Part the text before the first of `/`, `?` and `#` from the rest (RFC 3986 section 3.2)."""
    authority = re.split("[/?#]", text, maxsplit=1)[0]
    return authority, text[len(authority) :]


def _split_port(authority: str) -> tuple[str, str | None]:
    """Part the host, brackets and all, from the port, which is None when there is no colon."""
    if authority.startswith("[") and authority.endswith("]"):
        return authority, None
    host, colon, port = authority.rpartition(":")
    if not colon:
        return port, None
    if ":" in host and not host.startswith("["):
        raise SettingsError("has an IPv6 address without brackets; write [::1]:8086")
    return host, port


def _check_host(host: str) -> str:
    """The host in lower case, an IPv6 address without its brackets and with a bare `%` before its zone."""
    if not host:
        raise SettingsError("has no host; write 127.0.0.1:8086, for example")
    if host.startswith("["):
        return _check_ipv6(host)
    if not _NAME.fullmatch(host):
        raise SettingsError(
            "has a host that is neither a name nor an address; a name has letters, digits, hyphens and dots"
        )
    return host.lower()


def _check_ipv6(host: str) -> str:
    """An IPv6 address in brackets, without them. A zone may follow `%` or, as in RFC 6874, `%25`."""
    address = host[1:].removesuffix("]").replace("%25", "%", 1)
    try:
        return str(IPv6Address(address))
    except ValueError:
        raise SettingsError("has something in brackets that is not an IPv6 address; write [::1]:8086") from None


def _check_port(port: str) -> int:
    """The port as a number."""
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise SettingsError("has a port that is not a number from 1 to 65535")
    return int(port)
