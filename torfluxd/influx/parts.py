r"""One line, taken apart: measurement, tags, fields. Pure.

For lines that :mod:`torfluxd.influx.check` has found good; of others it makes something, or nothing, but no error of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

__all__ = ["FIELD_KINDS", "FieldKind", "Parts", "split_line"]

FieldKind = Literal["float", "integer", "unsigned", "string", "boolean"]
"""The type of a field. InfluxDB 1.x knows no unsigned integers."""

FIELD_KINDS: Final[tuple[FieldKind, ...]] = ("float", "integer", "unsigned", "string", "boolean")

_MEASUREMENT = re.compile(rb"[^, \\]*+(?:\\.?[^, \\]*+)*+")
_TAG = re.compile(rb",([^=\\]*+(?:\\.[^=\\]*+)*+)=([^, \\]*+(?:\\.?[^, \\]*+)*+)")
_FIELD = re.compile(
    rb'[ \t,]++([^=\\ ]*+(?:\\.[^=\\ ]*+)*+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^", ]++)',
)
_ESCAPED = re.compile(rb"\\([,= ])")
_ESCAPED_IN_MEASUREMENT = re.compile(rb"\\([, ])")
_ESCAPED_IN_STRING = re.compile(rb'\\(["\\])')


def _names(mapping: Mapping[str, object]) -> str:
    return repr(list(mapping))


@frozen
class Parts:
    """What a line says, without its time.

    Its values are somebody's data: `repr` shows the names alone.

    :ivar measurement: its name, as it is stored.
    :ivar tags: the value of each.
    :ivar fields: the type of each, and for a string its text, else what stands for it in the line.
    """

    measurement: str
    tags: Mapping[str, str] = field(repr=_names)
    fields: Mapping[str, tuple[FieldKind, str]] = field(repr=_names)


def split_line(line: bytes) -> Parts:
    """Take a line apart.

    :param line: a good one.
    """
    measurement = _MEASUREMENT.match(line)
    assert measurement is not None  # it matches also nothing
    tags = {}
    position = measurement.end()
    while (tag := _TAG.match(line, position)) is not None:
        tags[_name(tag[1])] = _name(tag[2])
        position = tag.end()
    fields = {}
    while (one := _FIELD.match(line, position)) is not None:
        fields[_name(one[1])] = _value(one[2])
        position = one.end()
    return Parts(_name(measurement[0], _ESCAPED_IN_MEASUREMENT), tags, fields)


def _name(text: bytes, escaped: re.Pattern[bytes] = _ESCAPED) -> str:
    r"""A name or the value of a tag: a backslash escapes separators, and nothing else."""
    return escaped.sub(rb"\1", text).decode("utf-8", "replace")


def _value(text: bytes) -> tuple[FieldKind, str]:
    if text.startswith(b'"'):
        return "string", _ESCAPED_IN_STRING.sub(rb"\1", text[1:-1]).decode("utf-8", "replace")
    kind: FieldKind = "float"
    if text[:1] in b"tTfF":
        kind = "boolean"
    elif text.endswith((b"i", b"u")):
        kind = "integer" if text.endswith(b"i") else "unsigned"
    return kind, text.decode("utf-8", "replace")
