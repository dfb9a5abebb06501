"""The arithmetic of ed25519 that an onion address needs: a public key from a scalar, and whether a public key is one.

Written from RFC 8032 section 5.1. Its time depends on the numbers, so it is for keys on the machine they belong to,
a few times in the life of a process; it signs nothing. A public key takes about 0.5 ms (2 ms the first time), a check
2 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice

__all__ = ["clamp", "is_clamped", "is_public_key", "public_key"]

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_ORDER = 2**252 + 27742317777372353535851937790883648493
_SQRT_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_SIGN = 1 << 255

_Point = tuple[int, int, int, int]
"""X, Y, Z and T of section 5.1.4: x = X/Z, y = Y/Z, x*y = T/Z."""

_NEUTRAL: _Point = (0, 1, 1, 0)


def clamp(scalar: bytes) -> bytes:
    """Prune 32 bytes as section 5.1.5 does: a multiple of 8, with bit 254 set and bit 255 clear."""
    return bytes([scalar[0] & 0xF8, *scalar[1:31], scalar[31] & 0x3F | 0x40])


def is_clamped(scalar: bytes) -> bool:
    """Whether pruning would leave these 32 bytes as they are."""
    return clamp(scalar) == scalar


def public_key(scalar: bytes) -> bytes:
    """Multiply the base point.

    :param scalar: 32 bytes, little-endian.
    :returns: the encoded point, 32 bytes.
    """
    x, y, z, _ = _multiply(int.from_bytes(scalar, "little"), _base_doublings())
    inverse = pow(z, -1, _P)
    return ((y * inverse % _P) | (x * inverse % _P & 1) << 255).to_bytes(32, "little")


def is_public_key(encoded: bytes) -> bool:
    """Whether 32 bytes encode, canonically, a point of the group that the base point generates.

    The neutral point, the points of small order and those with a part of small order are not: nobody holds a key for
    them, and tor refuses their addresses too (tried with `HSFETCH`).
    """
    point = _decode(encoded)
    if point is None or _is_neutral(point):
        return False
    return _is_neutral(_multiply(_ORDER, _doublings(point)))


def _decode(encoded: bytes) -> _Point | None:
    """Section 5.1.3: the point, or None where there is none."""
    number = int.from_bytes(encoded, "little")
    y = number & ~_SIGN
    x = _square_root((y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P)
    odd = bool(number & _SIGN)
    if y >= _P or x is None or (x == 0 and odd):
        return None
    if x & 1 != odd:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _square_root(square: int) -> int | None:
    root = pow(square, (_P + 3) // 8, _P)
    for candidate in (root, root * _SQRT_MINUS_ONE % _P):
        if candidate * candidate % _P == square:
            return candidate
    return None


def _add(first: _Point, second: _Point) -> _Point:
    """Add two points, equal or not, with the formula of section 5.1.4."""
    x1, y1, z1, t1 = first
    x2, y2, z2, t2 = second
    a = (y1 - x1) * (y2 - x2) % _P
    b = (y1 + x1) * (y2 + x2) % _P
    c = 2 * t1 * _D * t2 % _P
    d = 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _is_neutral(point: _Point) -> bool:
    x, y, z, _ = point
    return x == 0 and y == z


def _multiply(scalar: int, doublings: Iterable[_Point]) -> _Point:
    """Multiply a point, given it and its doublings.

    A run of ones in the scalar costs one subtraction and one addition, not an addition for each.
    """
    total = _NEUTRAL
    for point in doublings:
        if not scalar:
            break
        if scalar & 3 == 3:
            x, y, z, t = point
            total = _add(total, (-x, y, z, -t))
            scalar += 1
        elif scalar & 1:
            total = _add(total, point)
        scalar >>= 1
    return total


def _doublings(point: _Point) -> Iterator[_Point]:
    while True:
        yield point
        point = _add(point, point)


@cache
def _base_doublings() -> tuple[_Point, ...]:
    base = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert base is not None
    # One for each bit of a scalar, and one for the carry out of the last.
    return tuple(islice(_doublings(base), 257))
