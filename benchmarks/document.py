"""Puts what was measured where the documentation has room for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from benchmarks.house import BenchError

__all__ = ["fill"]

_END = ".. end of figures"


def fill(text: str, figures: Mapping[str, Sequence[str]]) -> str:
    """Replace what stands between the comments `.. figures: NAME` and `.. end of figures`.

    :param text: the document.
    :param figures: the lines for each name; what is not named stays as it is.
    :raises BenchError: the document has no room for one of them.
    """
    for name, lines in figures.items():
        begin = f".. figures: {name}"
        room = re.compile(rf"^{re.escape(begin)}$.*?^{re.escape(_END)}$", re.MULTILINE | re.DOTALL)
        filled = "\n".join([begin, "", *lines, _END])
        text, found = room.subn(lambda _, filled=filled: filled, text)  # type: ignore[misc]
        if not found:
            raise BenchError(f"the document has no line {begin!r}, with a line {_END!r} after it")
    return text
