"""The quick way from numbers to a line. Pure.

Most points have one, two or three fields, and these are numbers. Each such form has a function of its own, which looks
at nothing but what can be otherwise the next time: types, and whether a number can be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from torfluxd.influx.line import MAX_INTEGER

__all__ = ["Number", "QuickField", "QuickWriter", "quick_writer"]

QuickWriter = Callable[[Mapping[str, Any], int], str | None]
"""From all fields of a point and its time to the line; None when that takes more than this knows."""

Number = type[int] | type[float]
QuickField = tuple[str, str, Number]
"""The key of a field, what stands before its value, and the exact type of it: `int` or `float`."""

_BOUNDS: Final[Mapping[Number, float]] = {int: MAX_INTEGER + 1, float: inf}
"""The absolute value of what can be written is less. So is the smallest integer, whose line is found the other way."""


def quick_writer(series: str, fields: Sequence[QuickField]) -> QuickWriter:
    """What writes the lines of a form.

    :param series: the measurement and the tags, as written; ASCII.
    :param fields: all fields of such points, in their order, at least one; ASCII.
    """
    pieces = [f"{series} "]
    for _, prefix, kind in fields:
        pieces[-1] += prefix
        pieces.append("i," if kind is int else ",")
    pieces[-1] = pieces[-1].replace(",", " ")
    keys, kinds = [key for key, _, _ in fields], [kind for _, _, kind in fields]
    bounds = [_BOUNDS[kind] for kind in kinds]
    write = {1: _one, 2: _two, 3: _three}.get(len(keys), _many)
    return write(keys, kinds, bounds, pieces)


_Keys = Sequence[str]
_Kinds = Sequence[Number]
_Bounds = Sequence[float]
_Pieces = Sequence[str]


def _one(keys: _Keys, kinds: _Kinds, bounds: _Bounds, pieces: _Pieces) -> QuickWriter:
    (key,), (kind,), (bound,), (before, after) = keys, kinds, bounds, pieces

    def write(fields: Mapping[str, Any], time_ns: int) -> str | None:
        value = fields[key]
        if type(value) is kind and -bound < value < bound:
            return f"{before}{value!r}{after}{time_ns}"
        return None

    return write


def _two(keys: _Keys, kinds: _Kinds, bounds: _Bounds, pieces: _Pieces) -> QuickWriter:
    (key_a, key_b), (kind_a, kind_b), (bound_a, bound_b), (before, between, after) = keys, kinds, bounds, pieces

    def write(fields: Mapping[str, Any], time_ns: int) -> str | None:
        a, b = fields[key_a], fields[key_b]
        if type(a) is kind_a and type(b) is kind_b and -bound_a < a < bound_a and -bound_b < b < bound_b:
            return f"{before}{a!r}{between}{b!r}{after}{time_ns}"
        return None

    return write


def _three(keys: _Keys, kinds: _Kinds, bounds: _Bounds, pieces: _Pieces) -> QuickWriter:
    key_a, key_b, key_c = keys
    kind_a, kind_b, kind_c = kinds
    bound_a, bound_b, bound_c = bounds
    before, after_a, after_b, after = pieces

    def write(fields: Mapping[str, Any], time_ns: int) -> str | None:
        a, b, c = fields[key_a], fields[key_b], fields[key_c]
        if not (type(a) is kind_a and type(b) is kind_b and type(c) is kind_c):
            return None
        if -bound_a < a < bound_a and -bound_b < b < bound_b and -bound_c < c < bound_c:
            return f"{before}{a!r}{after_a}{b!r}{after_b}{c!r}{after}{time_ns}"
        return None

    return write


def _many(keys: _Keys, kinds: _Kinds, bounds: _Bounds, pieces: _Pieces) -> QuickWriter:
    before = pieces[0]
    rest = tuple(zip(keys, kinds, bounds, pieces[1:], strict=True))

    def write(fields: Mapping[str, Any], time_ns: int) -> str | None:
        line = before
        for key, kind, bound, after in rest:
            value = fields[key]
            if type(value) is not kind or not -bound < value < bound:
                return None
            line += f"{value!r}{after}"
        return f"{line}{time_ns}"

    return write
