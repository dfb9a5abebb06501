"""Durations as Go writes them, which go-torfluxdb's users know: `90s`, `1m30s`, `1.5h`; and days: `90d`. Pure."""

from __future__ import annotations

import re

from torfluxd.errors import SettingsError

__all__ = ["read_duration"]

# https://pkg.go.dev/time#ParseDuration; days are ours, of 24 hours.
_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)")
_WHOLE = re.compile(rf"\+?(?:{_PART.pattern})+")

LONGEST_SECONDS = 10 * 365 * 86400.0
"""Ten years: what is longer is a typing error, and would not fit into a timer."""


def read_duration(text: str) -> float:
    """Read a positive duration.

    :returns: seconds.
    :raises SettingsError: it is none.
    """
    if not _WHOLE.fullmatch(text):
        raise SettingsError(f"expected a duration like 90s, 1m30s, 1.5h or 90d, got {text!r}")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))
    if not 0 < seconds <= LONGEST_SECONDS:
        raise SettingsError(f"expected a duration of more than nothing and less than ten years, got {text!r}")
    return seconds
