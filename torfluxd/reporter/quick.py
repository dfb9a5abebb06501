"""The quick way from a few values to a line. Pure.

Most points have one, two or three fields, and these are numbers. Each such form has a function of its own, which looks
at nothing but what can be otherwise the next time: types, and whether a number can be written. Whatever that function
does not know it leaves to others, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import hypot, inf
from typing import Any, Final

from torfluxd.influx.line import MAX_INTEGER

__all__ = ["INTEGER", "NUMBER", "TRUTH", "QuickField", "QuickWriter", "quick_writer"]

QuickWriter = Callable[[Mapping[str, Any], int], str | None]
"""From all fields of a point and its time to the line, which is ASCII; None when that takes more than this knows."""

QuickField = tuple[str, str, type[Any], float]
"""The key of a field, what stands before its value, the exact type of that, and below which bound it is: the absolute
value of a number, the length of a string. The bound of an integer is one, which compares faster."""

INTEGER: Final = (int, MAX_INTEGER + 1)
NUMBER: Final = (float, inf)
TRUTH: Final = (bool, inf)
"""The type and the bound of what can be written. The smallest integer has its line from elsewhere."""

ORDINARY: Final = 2.0**62
"""When the squares of some numbers add up to less than the square of this, each of them is finite and fits into 64 bits
with sign."""

NUMBER_BYTES: Final = 25
"""As long as a number is at most: `-1.7976931348623157e+308` or 64 bits with sign, and what stands after it."""


def quick_writer(series: str, fields: Sequence[QuickField], max_bytes: int) -> QuickWriter | None:
    """What writes the lines of a form, or None where a line could be longer than it may.

    :param series: the measurement and the tags, as written.
    :param fields: all fields of such points, in their order, at least one.
    :param max_bytes: how long a line may be.
    """
    names = series + "".join(prefix for _, prefix, _, _ in fields)
    longest = [bound if kind is str else NUMBER_BYTES for _, _, kind, bound in fields]
    if not names.isascii() or len(names) + sum(longest) + NUMBER_BYTES > max_bytes:
        return None
    if not all(kind in (int, float) for _, _, kind, _ in fields):
        return _mixed(series, fields)
    pieces = [f"{series} "]
    for _, prefix, kind, _ in fields:
        pieces[-1] += prefix
        pieces.append("i," if kind is int else ",")
    pieces[-1] = pieces[-1].replace(",", " ")
    return {1: _one, 2: _two, 3: _three}.get(len(fields), _many)(fields, pieces)


def _one(fields: Sequence[QuickField], pieces: Sequence[str]) -> QuickWriter:
    ((key, _, kind, high),) = fields
    before, after = pieces
    low = -high

    def write(values: Mapping[str, Any], time_ns: int) -> str | None:
        value = values[key]
        if type(value) is kind and low < value < high:
            return f"{before}{value!r}{after}{time_ns}"
        return None

    return write


def _two(fields: Sequence[QuickField], pieces: Sequence[str]) -> QuickWriter:
    (key_a, _, kind_a, high_a), (key_b, _, kind_b, high_b) = fields
    before, after_a, after_b = pieces
    low_a, low_b = -high_a, -high_b

    def write(values: Mapping[str, Any], time_ns: int) -> str | None:
        a, b = values[key_a], values[key_b]
        if type(a) is kind_a and type(b) is kind_b and low_a < a < high_a and low_b < b < high_b:
            return f"{before}{a!r}{after_a}{b!r}{after_b}{time_ns}"
        return None

    return write


def _three(fields: Sequence[QuickField], pieces: Sequence[str]) -> QuickWriter:
    (key_a, _, kind_a, high_a), (key_b, _, kind_b, high_b), (key_c, _, kind_c, high_c) = fields
    before, after_a, after_b, after_c = pieces
    low_a, low_b, low_c = -high_a, -high_b, -high_c

    def write(values: Mapping[str, Any], time_ns: int) -> str | None:
        a, b, c = values[key_a], values[key_b], values[key_c]
        if not (type(a) is kind_a and type(b) is kind_b and type(c) is kind_c):
            return None
        if low_a < a < high_a and low_b < b < high_b and low_c < c < high_c:
            return f"{before}{a!r}{after_a}{b!r}{after_b}{c!r}{after_c}{time_ns}"
        return None

    return write


def _many(fields: Sequence[QuickField], pieces: Sequence[str]) -> QuickWriter:
    template = "%r".join(piece.replace("%", "%%") for piece in pieces) + "%d"
    kinds = tuple(kind for _, _, kind, _ in fields)

    def write(values: Mapping[str, Any], time_ns: int) -> str | None:
        numbers = (*values.values(),)
        try:
            if (*map(type, numbers),) == kinds and hypot(*numbers) < ORDINARY:
                return template % (*numbers, time_ns)
        except OverflowError:  # an integer that no float can hold
            return None
        return None

    return write


def _mixed(series: str, fields: Sequence[QuickField]) -> QuickWriter:
    """With strings or booleans among them."""
    before = f"{series} "
    rest = [
        (key, f",{prefix}" if place else prefix, kind, -high, high, "i" if kind is int else "")
        for place, (key, prefix, kind, high) in enumerate(fields)
    ]

    def write(values: Mapping[str, Any], time_ns: int) -> str | None:
        line = before
        for key, prefix, kind, low, high, after in rest:
            value = values[key]
            if type(value) is not kind:
                return None
            if kind is str:
                if (
                    '"' in value
                    or "\\" in value
                    or len(value) >= high
                    or not value.isascii()
                    or not value.isprintable()
                ):
                    return None
                line += f'{prefix}"{value}"'
            elif kind is bool:
                line += f"{prefix}true" if value else f"{prefix}false"
            elif low < value < high:
                line += f"{prefix}{value!r}{after}"
            else:
                return None
        return f"{line} {time_ns}"

    return write
