r"""One good line, taken apart and put together again, byte for byte as it is written. Pure.

Nothing is unescaped here but by :func:`plain_name`: what is put together again means what it meant before.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from attrs import define, field

__all__ = [
    "FIELD_KINDS",
    "FieldKind",
    "Pieces",
    "field_names",
    "kind_of",
    "plain_name",
    "series_end",
    "take_apart",
    "take_series",
]

FieldKind = Literal["float", "integer", "unsigned", "string", "boolean"]
"""The type of a field. InfluxDB 1.x knows no unsigned integers."""

FIELD_KINDS: Final[tuple[FieldKind, ...]] = ("float", "integer", "unsigned", "string", "boolean")

_MEASUREMENT = re.compile(rb"[^, \\]*+(?:\\.[^, \\]*+)*+")
_TAG = re.compile(rb",([^=\\]*+(?:\\.[^=\\]*+)*+)=([^, \\]*+(?:\\.[^, \\]*+)*+)")
_SERIES = re.compile(rb"[^ \\]*+(?:\\.[^ \\]*+)*+")
_FIELD = re.compile(rb'[, \t]*+([^=\\]*+(?:\\.[^=\\]*+)*+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^, \t]*+)(?![^, \t])')
_TIME = re.compile(rb"[ \t]++(-?[0-9]++)[ \t]*+\Z")
_ESCAPED = re.compile(rb"\\([,= ])")

_KINDS: Final[dict[bytes, FieldKind]] = {b"i": "integer", b"u": "unsigned"}


@define
class Pieces:
    """What a line says. It is somebody's data, and not for `repr`.

    :ivar measurement: as written.
    :ivar tags: the key and the value of each, as written.
    :ivar fields: the same.
    :ivar time: as written; empty if there is none.
    """

    measurement: bytes = field(repr=False)
    tags: list[tuple[bytes, bytes]] = field(repr=False)
    fields: list[tuple[bytes, bytes]] = field(repr=False)
    time: bytes = field(default=b"", repr=False)

    @property
    def series(self) -> bytes:
        """Measurement and tags."""
        return b",".join([self.measurement, *map(b"=".join, self.tags)])

    @property
    def line(self) -> bytes:
        """All of it."""
        text = b"%b %b" % (self.series, b",".join(map(b"=".join, self.fields)))
        return b"%b %b" % (text, self.time) if self.time else text


def series_end(line: bytes) -> int:
    """Where measurement and tags of a good line end."""
    if b"\\" not in line:
        return line.find(b" ")
    found = _SERIES.match(line)
    assert found is not None  # it matches also nothing
    return found.end()


def take_series(series: bytes) -> Pieces:
    """Take the measurement and the tags of a good line apart."""
    found = _MEASUREMENT.match(series)
    assert found is not None  # it matches also nothing
    return Pieces(found[0], _TAG.findall(series, found.end()), [])


def take_apart(line: bytes) -> Pieces:
    """Take a line apart.

    :param line: a good one, by :mod:`torfluxd.influx.check`.
    """
    end = series_end(line)
    pieces = take_series(line[:end])
    time = _TIME.search(line, max(end, line.rfind(b'"') + 1, line.rfind(b"=") + 1))
    if time is not None:
        pieces.time = time[1]
        line = line[: time.start()]
    pieces.fields = _FIELD.findall(line, end)
    return pieces


def field_names(fields: bytes) -> list[bytes]:
    """The names of the fields of a good line, as written.

    :param fields: what follows its series.
    """
    return [name for name, _ in _FIELD.findall(fields)]


def kind_of(value: bytes) -> FieldKind:
    """The type of a field, by its value as written."""
    first = value[:1]
    if first == b'"':
        return "string"
    if first in (b"t", b"T", b"f", b"F"):
        return "boolean"
    return _KINDS.get(value[-1:], "float")


def plain_name(written: bytes) -> bytes:
    """What a name, or the value of a tag, stands for: a backslash escapes separators, and nothing else."""
    return _ESCAPED.sub(rb"\1", written) if b"\\" in written else written
