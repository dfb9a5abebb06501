"""TOML, written: `tomllib` only reads it. Pure. See https://toml.io/en/v1.0.0."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["written_key", "written_list", "written_text"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def written_text(text: str) -> str:
    """A string, in quotes; what no screen shows, and what could change how a screen shows it, is escaped."""
    return '"' + "".join(_character(one) for one in text) + '"'


def written_key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else written_text(name)


def written_list(texts: Sequence[str]) -> str:
    """A list of strings."""
    return "[" + ", ".join(written_text(text) for text in texts) + "]"


def _character(one: str) -> str:
    if one in _SHORT:
        return _SHORT[one]
    if one.isprintable():
        return one
    code = ord(one)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
