"""What was probably meant by a name that does not exist. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest", "no_such"]

ALIKE = 0.7
"""How alike two names must be, from 0 to 1, for one to be offered for the other: a letter or two of ten differ."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like this one, if any is."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=ALIKE)
    return found[0] if found else None


def no_such(key: str, name: str, known: Iterable[str]) -> str:
    """The sentence about a key that does not exist.

    :param key: as it is to be told.
    :param name: its last part.
    :param known: what could stand in its place.
    """
    names = list(known)
    near = nearest(name.lower().replace("-", "_"), names)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
    return f"{key}: there is no such key; {hint}"
