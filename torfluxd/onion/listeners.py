"""Where a running tor takes streams: its SOCKS ports, as it tells them itself. Pure.

`GETINFO net/listeners/socks` (control-spec section 3.9) answers `"127.0.0.1:9050" "unix:/run/tor/socks"`.
"""

from __future__ import annotations

import ipaddress
import re

__all__ = ["read_listeners"]

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read_listeners(text: str) -> list[str]:
    """Read them as descriptions of Twisted client endpoints, those of this machine alone, unix sockets first.

    :param text: tor's answer.
    """
    found = [_described(re.sub(r"\\(.)", r"\1", each)) for each in _QUOTED.findall(text)]
    return sorted((each for each in found if each), key=lambda each: not each.startswith("unix:"))


def _described(listener: str) -> str | None:
    if listener.startswith("unix:"):
        path = listener.removeprefix("unix:").strip('"')
        return f"unix:{_escaped(path)}" if path.startswith("/") else None
    host, _, port = listener.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    if not port.isdecimal() or not 1 <= int(port) <= 65535 or not (address.is_loopback or address.is_unspecified):
        return None
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"tcp:{_escaped(str(address))}:{port}"


def _escaped(text: str) -> str:
    """As Twisted's descriptions of endpoints want it."""
    return re.sub(r"([\\:=])", r"\\\1", text)
