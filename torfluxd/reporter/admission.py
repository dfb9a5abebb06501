"""Who may speak to the agent: programs on this machine, and no web page that is open in a browser on it. Pure.

A page can have its visitor's browser send requests to 127.0.0.1, also such as it could not read the answers of: a form,
or `fetch` with `text/plain`, is sent without asking. Browsers mark these with `Origin`, `Referer` or `Sec-Fetch-Site`,
which no InfluxDB client sends. And a page whose own name leads to 127.0.0.1 all of a sudden (DNS rebinding) has that
name in `Host`, where an InfluxDB client has what it was configured with.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from attrs import frozen

from torfluxd.boundaries import Answer
from torfluxd.influx.dialect_v1 import V1

__all__ = ["NOT_FOR_PAGES", "NO_HOST", "STRANGE_HOST", "Admission", "Asked", "read_target"]

NOT_FOR_PAGES = V1.refuse(403, "this is for programs on this machine, not for web pages")
STRANGE_HOST = V1.refuse(
    403, "this is for programs on this machine, and not known by the name in Host; see torfluxd agent --allow-host"
)
NO_HOST = V1.refuse(400, "there is no Host, or more than one")

_MARKS_OF_PAGES = (b"origin", b"referer", b"access-control-request-method", b"access-control-request-private-network")
_NOT_A_PAGE = b"none"
"""`Sec-Fetch-Site` of an address that a person has typed."""


@frozen
class Asked:
    """What a request asks for.

    :ivar target: path and query.
    :ivar authority: whom it is for, where the request says so, as one to a proxy does: `http://host:port/path`.
    """

    target: bytes
    authority: bytes | None = None


def read_target(uri: bytes) -> Asked | None:
    """Read a request target: `/path`, or `http://host/path`; None where it is neither.

    A client with an HTTP proxy in its settings takes the agent for one, and sends the second form.
    """
    if uri.startswith(b"/"):
        return Asked(uri)
    scheme, _, rest = uri.partition(b"://")
    if scheme.lower() != b"http" or not rest:
        return None
    authority, slash, path = rest.partition(b"/")
    return Asked(slash + path or b"/", authority)


class Admission:
    """Lets in, or not.

    :param hosts: names and addresses, without ports, by which clients may know the agent, beside those of loopback.
    :param onion: the vendor's gateway: clients that take the agent for a proxy may ask for it.
    """

    def __init__(self, hosts: Collection[str] = (), onion: str = "") -> None:
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)
        self._proxied = self._hosts | ({onion.lower()} if onion else set())

    def refusal(self, asked: Asked, headers: Mapping[bytes, Sequence[bytes]], *, http11: bool) -> Answer | None:
        """The answer that refuses a request, or None to let it in.

        :param headers: names in lower case.
        """
        if any(mark in headers for mark in _MARKS_OF_PAGES):
            return NOT_FOR_PAGES
        if any(site.lower() != _NOT_A_PAGE for site in headers.get(b"sec-fetch-site", ())):
            return NOT_FOR_PAGES
        hosts = headers.get(b"host", [])
        if len(hosts) > 1 or (http11 and not hosts):
            return NO_HOST
        names = self._hosts if asked.authority is None else self._proxied
        claims = hosts if asked.authority is None else [asked.authority, *hosts]
        return None if all(_is_known(host, names) for host in claims) else STRANGE_HOST


def _is_known(host: bytes, names: Collection[str]) -> bool:
    """Whether a `Host`, with or without its port, is loopback or one of these names."""
    name = _without_port(host.decode("ascii", "replace").lower())
    return name == "localhost" or name.endswith(".localhost") or name in names or _is_loopback(name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
