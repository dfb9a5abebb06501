r"""What one line says, with its names and values as they are stored. Pure.

For lines that :mod:`torfluxd.influx.check` has found good; of others it makes something, or nothing, but no error of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

from torfluxd.influx.pieces import FieldKind, kind_of, plain_name, take_apart

__all__ = ["Parts", "split_line"]

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
    pieces = take_apart(line)
    return Parts(
        _text(_ESCAPED_IN_MEASUREMENT.sub(rb"\1", pieces.measurement)),
        {_name(key): _name(value) for key, value in pieces.tags},
        {_name(key): _value(value) for key, value in pieces.fields},
    )


def _text(plain: bytes) -> str:
    return plain.decode("utf-8", "replace")


def _name(written: bytes) -> str:
    return _text(plain_name(written))


def _value(written: bytes) -> tuple[FieldKind, str]:
    kind = kind_of(written)
    return kind, _text(_ESCAPED_IN_STRING.sub(rb"\1", written[1:-1]) if kind == "string" else written)
