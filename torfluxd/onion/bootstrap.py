"""How far tor has come in joining its network, and why it does not get further. Pure.

The texts come from `GETINFO status/bootstrap-phase` and from `STATUS_CLIENT` events (control-spec section 4.1.10):
`NOTICE BOOTSTRAP PROGRESS=45 TAG=requesting_descriptors SUMMARY="Asking for relay descriptors"`.
"""

from __future__ import annotations

import re

from attrs import frozen

__all__ = ["Bootstrap", "likely_cause", "read_bootstrap", "read_clock_skew"]

_KEYWORD = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')


@frozen
class Bootstrap:
    """One step on the way into the network.

    :ivar progress: percent; 100 is joined.
    :ivar summary: tor's words for the step.
    :ivar warning: tor's words for what is in the way, or the empty string.
    :ivar reason: tor's code for it (`CONNECTREFUSED`, `NOROUTE`, `TIMEOUT`, ...), or the empty string.
    """

    progress: int
    summary: str
    warning: str = ""
    reason: str = ""

    @property
    def joined(self) -> bool:
        """Whether tor can build circuits."""
        return self.progress >= 100

    def __str__(self) -> str:
        return f"{self.progress:3d} % {self.summary}"


def read_bootstrap(text: str) -> Bootstrap | None:
    """Read a bootstrap status, or None when the text is about something else."""
    words = text.split()
    if "BOOTSTRAP" not in words[:2]:
        return None
    keywords = {key: quoted or plain for key, quoted, plain in _KEYWORD.findall(text)}
    if not keywords.get("PROGRESS", "").isdecimal():
        return None
    return Bootstrap(
        progress=int(keywords["PROGRESS"]),
        summary=keywords.get("SUMMARY", ""),
        warning=keywords.get("WARNING", ""),
        reason=keywords.get("REASON", ""),
    )


def read_clock_skew(text: str) -> int | None:
    """Read by how many seconds tor finds this machine's clock ahead of the network's, out of a `CLOCK_SKEW` event."""
    found = re.search(r"\bCLOCK_SKEW\b.*\bSKEW=([+-]?\d+)", text)
    return int(found[1]) if found else None


_REACH_PROGRESS = 10
"""Percent below which tor has not even spoken with a relay."""

_DIRECTORY_PROGRESS = 75
"""Percent below which tor has not yet loaded the network's directory."""

_NO_NETWORK_REASONS = frozenset({"NOROUTE", "CONNECTREFUSED", "TIMEOUT", "IOERROR", "CONNECTRESET"})
_CLOCK_WORDS = re.compile(r"clock|skew|valid-after|valid-until", re.IGNORECASE)


def likely_cause(latest: Bootstrap | None, clock_skew_seconds: int | None = None) -> str:
    """Say in one sentence what probably keeps tor from joining its network, and what to do about it.

    :param latest: the last status seen, or None when there was none.
    :param clock_skew_seconds: what :func:`read_clock_skew` read last.
    """
    if latest is None:
        return "tor has not even begun to connect"
    where = f"it stopped at {latest.progress} % ({latest.summary or 'starting'})"
    if clock_skew_seconds is not None or _CLOCK_WORDS.search(latest.warning):
        off = f" by about {abs(clock_skew_seconds)} s" if clock_skew_seconds else ""
        return f"{where}: the clock of this machine seems wrong{off}; set it (`timedatectl`), then try again"
    said = f"; tor says: {latest.warning}" if latest.warning else ""
    if latest.progress <= _REACH_PROGRESS or latest.reason in _NO_NETWORK_REASONS:
        return (
            f"{where}: it reaches no relay{said}; is this machine online, and does a firewall let tor out"
            " (networks that block Tor need a bridge: --tor-option 'UseBridges 1' and --tor-option 'Bridge ...')?"
        )
    if latest.progress < _DIRECTORY_PROGRESS:
        return f"{where}: it reaches a relay, but not the network's directory{said}; the connection may be very slow"
    return f"{where}: it knows the network, but builds no circuit{said}; try again, or allow more time with --timeout"
