"""How one string of bytes becomes one visit: what it says, where it says it, in which pieces, to which InfluxDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.fuzzing.arena import Arena, Door, Outcome, Said, targets
from tests.fuzzing.corpus import CASES, DICTIONARY, Case

__all__ = ["dictionary_file", "encoded", "seeds", "visit"]

_DOORS, _SAID = tuple(Door), tuple(Said)

_PIECES: Final = (0, 0, 0, 0, 1, 2, 7, 100)
"""How many bytes arrive at a time; 0: all."""

MOST_PIECES: Final = 16
"""In how many pieces data arrive at most: many more take many times as long, and find nothing more."""


def visit(arena: Arena, data: bytes) -> Outcome:
    """Let a stranger do what these bytes say, whatever they are.

    :raises AssertionError: the gateway broke a promise.
    """
    choice, how, payload = data[:1] or b"\0", data[1:2] or b"\0", data[2:]
    said, door = divmod(choice[0], len(_DOORS))
    at, piece = divmod(how[0], len(_PIECES))
    size = max(_PIECES[piece], -(-len(payload) // MOST_PIECES)) if _PIECES[piece] else 0
    outcome = arena.send(payload, _DOORS[door], _SAID[said % len(_SAID)], size, at % len(targets))
    if outcome.broken:
        raise AssertionError(f"{outcome.broken[0]}, after {data!r}")
    return outcome


def encoded(case: Case, said: int = 0, how: int = 0) -> bytes:
    """The bytes that say what a case does.

    :param said: which of InfluxDB's answers.
    :param how: the pieces, and with `Door.LINES` the target.
    """
    return bytes((said * len(_DOORS) + case.door.value, how)) + case.data


def seeds(longest: int) -> Iterator[tuple[str, bytes]]:
    """Every case, once for each answer of InfluxDB's if that matters, with a name that a file can have.

    :param longest: cases of more bytes are left out.
    """
    for number, case in enumerate(CASES):
        if len(case.data) < longest:
            for said in range(len(_SAID) if case.lines else 1):
                yield f"{number:03d}-{said}", encoded(case, said, number % 256)


def dictionary_file() -> str:
    """The dictionary, as libFuzzer reads it."""
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in DICTIONARY)
    return "".join(f'"{word}"\n' for word in words)
