"""Sizes as people write them: `1GiB`, `500MB`, `67108864`. Pure."""

from __future__ import annotations

import re

from torfluxd.errors import SettingsError

__all__ = ["read_size"]

_UNIT_BYTES = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_SIZE = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNIT_BYTES)})", re.ASCII)

LARGEST_BYTES = 2**60
"""An exbibyte: what is more is a typing error."""


def read_size(text: str) -> int:
    """Read a positive size.

    :returns: bytes.
    :raises SettingsError: it is none.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise SettingsError(f"expected a size like 1GiB, 500MB or a number of bytes, got {text!r}")
    size = float(found[1]) * _UNIT_BYTES[found[2]]
    if not 1 <= size <= LARGEST_BYTES:
        raise SettingsError(f"expected a size of at least one byte and less than an exbibyte, got {text!r}")
    return int(size)
