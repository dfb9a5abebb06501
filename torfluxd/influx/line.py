r"""A point and its line: line protocol, written.

A point becomes one line or a :class:`~torfluxd.errors.PointError`; it is never altered to make it fit. A line means
the same to every reader, and has no line break in it: whoever cuts a body at its newlines, cuts between points.

What that takes, tried on influxd 1.6.7 and VictoriaMetrics 1.79.5:

* Line protocol escapes the comma, the equals sign and the space, but not the backslash. So a backslash before one of
  them, or at the end, cannot be said: InfluxDB keeps it in a tag, refuses it in a field key, and stores a measurement
  that no query finds; VictoriaMetrics takes the separator for a real one, and so a tag with the value ``x\,admin=1``
  would forge a tag. A backslash before a double quote InfluxDB drops, but for tags. One rule for all of them: refused.
* InfluxDB takes a line break inside a string. VictoriaMetrics ends the line there, and what follows would be a forged
  point. Refused, with the other ASCII control characters; only the tab may stand in a string.
* InfluxDB answers 204 to a line that begins with ``#``, which is a comment, to the field ``_name`` and to the
  measurement ``_series``, and never shows them. Its documentation keeps all names that begin with ``_`` for itself.
* InfluxDB refuses a tag ``time``, and leaves a field ``time`` out.
* InfluxDB cannot read a tag without a value, and ``WHERE "tag" = ''`` finds the points without the tag.
* InfluxDB keeps a tag and a field of the same name apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import inf, isfinite
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from torfluxd.errors import PointError

__all__ = [
    "MAX_INTEGER",
    "MAX_KEY_BYTES",
    "MAX_TIME_NS",
    "MAX_UNSIGNED",
    "MIN_INTEGER",
    "MIN_TIME_NS",
    "FieldValue",
    "Point",
    "Shape",
    "Slot",
    "checked_time",
    "encode",
    "encode_point",
    "escaped",
    "field_text",
    "series_text",
    "shape_of",
]

FieldValue = bool | int | float | str
"""What a field can hold. Whatever is a `numbers.Integral` or `numbers.Real`, as numpy's numbers are, will do too."""

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**63 - 1
"""What an integer field can hold: 64 bits with sign."""

MAX_UNSIGNED = 2**64 - 1
"""What an unsigned integer field can hold, in 2.x and 3.x."""

MIN_TIME_NS, MAX_TIME_NS = -(2**63) + 2, 2**63 - 2
"""The times a point can have, in nanoseconds since 1970. InfluxDB keeps the outermost 64-bit integers for itself."""

MAX_KEY_BYTES = 65_535
"""How long a measurement with its tags and one field key can be, as written, escapes and all: InfluxDB stores that
length in 16 bits."""

KEY_JOINT_BYTES = 4
"""What InfluxDB puts before the field key (``#!~#``); `MAX_KEY_BYTES` counts it."""

SHAPES_KEPT = 256
"""How many shapes are remembered. A program has one for each place that records, tens in all; one that has more is
slower for it, and one that makes up names without end does not grow."""

SHOWN_CHARACTERS = 80
"""How much of a name an error shows: a name can be 64 KiB long."""

_NO_TAGS: Mapping[str, str] = MappingProxyType({})

_NEVER = r"\x00-\x08\x0a-\x1f\x7f\ud800-\udfff"  # ASCII control characters but the tab; surrogates have no UTF-8.
_UNWRITABLE_IN_STRING = re.compile(rf"[{_NEVER}]")
_UNWRITABLE = re.compile(rf"[{_NEVER}\t]")
_AMBIGUOUS = re.compile(r'\\(?:[,= "]|\Z)')
_SEPARATORS = re.compile("[,= ]")
_MEASUREMENT_SEPARATORS = re.compile("[, ]")

# Whatever needs a second look: one search, and the common value may pass.
_UNCOMMON_IN_TAG = re.compile(rf"[{_NEVER}\t,= \\]").search
_UNCOMMON_IN_STRING = re.compile(rf'[{_NEVER}"\\]').search


def _copied_fields(fields: Mapping[str, FieldValue]) -> Mapping[str, FieldValue]:
    return dict(fields)


def _copied_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    return dict(tags)


def _names(mapping: Mapping[str, object]) -> str:
    return repr(list(mapping))


@frozen
class Point:
    """One measurement. Nothing is checked before it is encoded.

    Its values are somebody's data: `repr` shows the names alone.

    :ivar measurement: what was measured.
    :ivar fields: the values, at least one; a copy of what was given.
    :ivar tags: what the point is found by; a copy of what was given.
    :ivar time_ns: nanoseconds since 1970, or None: then it has the time at which it is stored.
    """

    measurement: str
    fields: Mapping[str, FieldValue] = field(converter=_copied_fields, repr=_names)
    tags: Mapping[str, str] = field(default=_NO_TAGS, converter=_copied_tags, repr=_names)
    time_ns: int | None = field(default=None, repr=False)


def encode_point(point: Point) -> bytes:
    """The line of a :class:`Point`; see :func:`encode`."""
    return encode(point.measurement, point.fields, point.tags, point.time_ns)


def encode(
    measurement: str,
    fields: Mapping[str, FieldValue],
    tags: Mapping[str, str] = _NO_TAGS,
    time_ns: int | None = None,
) -> bytes:
    """One point in line protocol: UTF-8, no newline at the end, tags sorted, which spares InfluxDB the work.

    :param measurement: what was measured.
    :param fields: the values, at least one.
    :param tags: what the point is found by. A tag with an empty value is left out: to InfluxDB that is the same.
    :param time_ns: nanoseconds since 1970, from `MIN_TIME_NS` to `MAX_TIME_NS`, or None for a line without a time.
    :raises PointError: InfluxDB could not give this point back as it is. The text names the measurement and the tag or
        field; of a value it says no more than the type.
    """
    shape = shape_of(measurement, tuple(tags), tuple(fields))
    series = text = series_text(shape, tags)
    for key, prefix, called in shape.fields:
        value = fields[key]
        text = f"{text}{prefix}{_FIELD_TEXT.get(type(value), _uncommon_text)(value, called)}"
    if time_ns is not None:
        if type(time_ns) is not int or not MIN_TIME_NS <= time_ns <= MAX_TIME_NS:
            time_ns = checked_time(time_ns)
        text = f"{text} {time_ns}"
    line = text.encode()
    if len(line) >= MAX_KEY_BYTES:  # Else the key, which stands in it, is shorter still.
        _check_key_length(series, shape)
    return line


def series_text(shape: Shape, tags: Mapping[str, str]) -> str:
    """The beginning of a line: the measurement and the tags.

    :param shape: of a point with these tags.
    :param tags: what it is found by.
    :raises PointError: as :func:`encode`.
    """
    text = shape.measurement
    for key, prefix, called in shape.tags:
        tag = tags[key]
        if type(tag) is not str or _UNCOMMON_IN_TAG(tag):
            tag = _tag_text(tag, called)
        if tag:
            text = f"{text}{prefix}{tag}"
    return text


def field_text(value: FieldValue, called: str) -> str:
    """The value of a field, as it stands in a line.

    :param called: what an error calls it (:data:`Slot`).
    :raises PointError: as :func:`encode`.
    """
    return _FIELD_TEXT.get(type(value), _uncommon_text)(value, called)


# Names. A program has few, and uses them again and again: they are checked and escaped once.

Slot = tuple[str, str, str]
"""A key, what stands before its value in the line, and what an error calls that value."""


@frozen
class Shape:
    """The names of a point, ready to be written.

    :ivar measurement: escaped.
    :ivar tags: sorted by key.
    :ivar fields: in the order given.
    """

    measurement: str
    tags: tuple[Slot, ...]
    fields: tuple[Slot, ...]


# Names only: values are people's data, which should not stay in memory, and too many.
@lru_cache(maxsize=SHAPES_KEPT)
def shape_of(measurement: str, tag_keys: tuple[str, ...], field_keys: tuple[str, ...]) -> Shape:
    """Check and escape the names of a point.

    :raises PointError: one of them cannot be a name in InfluxDB, or there is no field.
    """
    of = f"measurement {_shown(measurement)}"
    name = _checked_name(measurement, of)
    if name.startswith("#"):
        raise PointError(f"the name of {of} begins with '#', which makes the line a comment: choose another")
    if not field_keys:
        raise PointError(f"{of} has no field: give it one, InfluxDB stores nothing without")
    tags = [_slot(",", key, f"tag {_shown(key)} of {of}") for key in tag_keys]
    fields = [_slot("," if n else " ", key, f"field {_shown(key)} of {of}") for n, key in enumerate(field_keys)]
    return Shape(_MEASUREMENT_SEPARATORS.sub(r"\\\g<0>", name), tuple(sorted(tags)), tuple(fields))


def _slot(separator: str, key: str, called: str) -> Slot:
    name = _checked_name(key, called)
    if name == "time":
        raise PointError(f"the name of {called} is the one InfluxDB has for the time of a point: choose another")
    return name, f"{separator}{escaped(name)}=", f"the value of {called}"


def _shown(name: object) -> str:
    """A name as an error shows it: readable whatever is in it, and not at any length."""
    return repr(name[:SHOWN_CHARACTERS]) if isinstance(name, str) else f"<{_type_name(name)}>"


def _type_name(value: object) -> str:
    """The type of a value with its module: numpy has a ``bool``, too."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _checked_name(name: object, called: str) -> str:
    text = _checked_text(name, f"the name of {called}")
    if not text:
        raise PointError(f"the name of {called} is empty")
    if text.startswith("_"):
        raise PointError(f"the name of {called} begins with '_', as only InfluxDB's own names do: choose another")
    return text


def _check_key_length(series: str, shape: Shape) -> None:
    longest_field_key = max((prefix[1:-1].encode() for _, prefix, _ in shape.fields), key=len)
    if len(series.encode()) + KEY_JOINT_BYTES + len(longest_field_key) > MAX_KEY_BYTES:
        raise PointError(
            f"measurement {_shown(shape.measurement)} with its tags and its longest field key is longer than "
            f"the {MAX_KEY_BYTES - KEY_JOINT_BYTES} bytes that InfluxDB can store"
        )


# Names and tag values.


def _tag_text(value: object, called: str) -> str:
    return escaped(_checked_text(value, called))


def _checked_text(value: object, called: str) -> str:
    """A name or the value of a tag, not yet escaped.

    :raises PointError: it is not text, or not all readers would give it back.
    """
    if not isinstance(value, str):
        raise PointError(f"{called} must be a str, not {_type_name(value)}")
    if _UNWRITABLE.search(value):
        raise PointError(f"{called} has a line break, a control character or a lone surrogate in it: take it out")
    if _AMBIGUOUS.search(value):
        raise PointError(
            f"{called} has a backslash before a comma, an equals sign, a space or a double quote, or at its end, "
            "which line protocol cannot say: a slash can stand there"
        )
    return value


def escaped(text: str) -> str:
    """A name of a tag or field, or the value of a tag, as it stands in a line."""
    return _SEPARATORS.sub(r"\\\g<0>", text)


# Field values: a function for each type. The exact type chooses it, because a bool is an int, too.


def _boolean_text(value: bool, called: str) -> str:
    return "true" if value else "false"


def _integer_text(value: int, called: str) -> str:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise PointError(f"{called} does not fit into 64 bits with sign: a float can hold it")
    return f"{value}i"


def _float_text(value: float, called: str) -> str:
    if not isfinite(value):
        raise PointError(f"{called} is not a finite number, and InfluxDB stores no other: leave the field out")
    return repr(value)


def _string_text(value: str, called: str) -> str:
    if _UNCOMMON_IN_STRING(value):
        if _UNWRITABLE_IN_STRING.search(value):
            raise PointError(f"{called} has a line break, a control character or a lone surrogate in it: take it out")
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _uncommon_text(value: object, called: str) -> str:
    """A value of a subclass of one of the four types, or a number of another kind.

    Its own `repr` and `str` are not asked: they say ``np.float64(1.0)``, or the name of an enum's member.
    """
    if isinstance(value, str):
        return _string_text(str.__str__(value), called)
    if isinstance(value, Integral):
        return _integer_text(int(value), called)
    if isinstance(value, Real):
        return _float_text(_float(value), called)
    raise PointError(f"{called} must be a bool, an int, a float or a str, not {_type_name(value)}")


def _float(value: Real) -> float:
    try:
        return float(value)
    except OverflowError:  # A fraction too large for a float.
        return inf


_FIELD_TEXT: Mapping[type, Callable[[Any, str], str]] = {
    bool: _boolean_text,
    int: _integer_text,
    float: _float_text,
    str: _string_text,
}


def checked_time(time_ns: object) -> int:
    """A time in nanoseconds since 1970, if it is one.

    :raises PointError: as :func:`encode`.
    """
    if isinstance(time_ns, bool) or not isinstance(time_ns, Integral):
        raise PointError(f"the time of a point must be an int of nanoseconds, not {_type_name(time_ns)}")
    if not MIN_TIME_NS <= int(time_ns) <= MAX_TIME_NS:
        raise PointError("the time of a point must be in nanoseconds since 1970, and between the years 1677 and 2262")
    return int(time_ns)
