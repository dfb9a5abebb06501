"""Chance, of which one seed makes as much as is needed. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

__all__ = ["Chance", "branches", "chance_from", "drawn_bytes"]

Chance = Callable[[], float]
"""A number from 0 to 1 for each call, evenly spread, as `random.SystemRandom().random` gives them."""

KEY_BYTES = 32
"""Of what a branch grows from: as much as nobody can guess."""

PIECE_BITS = 24
"""What is taken of a number at a time: a float has 53 bits, and all of these are as even as the number is."""

_FLOAT_BITS = 53


def drawn_bytes(chance: Chance, size: int) -> bytes:
    """So many bytes, as random as chance is."""
    pieces = -(-size * 8 // PIECE_BITS)
    numbers = [min(int(chance() * 2**PIECE_BITS), 2**PIECE_BITS - 1) for _ in range(pieces)]
    return b"".join(each.to_bytes(PIECE_BITS // 8, "big") for each in numbers)[:size]


def chance_from(seed: bytes) -> Chance:
    """Chance out of a seed: who does not know the seed cannot tell the next number from those before it.

    :param seed: any bytes; the same seed gives the same numbers.
    """
    key = hashlib.blake2b(seed, digest_size=KEY_BYTES).digest()
    drawn = 0

    def chance() -> float:
        nonlocal drawn
        drawn += 1
        digest = hashlib.blake2b(drawn.to_bytes(8, "big"), digest_size=8, key=key).digest()
        return (int.from_bytes(digest, "big") >> (64 - _FLOAT_BITS)) / float(2**_FLOAT_BITS)

    return chance


def branches(chance: Chance) -> Iterator[Chance]:
    """Chances that have nothing to do with one another, all from one.

    How often one of them is asked changes nothing for the others: so what is recorded, and how often, does not move the
    moments at which reports leave, though both are up to chance.

    :param chance: asked for each of them, once it is wanted.
    """
    while True:
        yield chance_from(drawn_bytes(chance, KEY_BYTES))
