"""Lines that others have written, made to keep to the rules of privacy. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from torfluxd.errors import PointError
from torfluxd.influx.line import MAX_TIME_NS, escaped
from torfluxd.influx.pieces import Pieces, kind_of, plain_name, take_apart
from torfluxd.reporter.chance import Chance, chance_from
from torfluxd.reporter.disclosure import Disclosure
from torfluxd.reporter.forms import MAX_LINE_BYTES
from torfluxd.reporter.times import Times

__all__ = ["GivenLines"]

_ESCAPED_IN_STRING: Final = re.compile(r'\\(["\\])')
_CALLED: Final = "a field"
"""What errors call it: its name is somebody else's, and none of our errors shows it."""


class GivenLines:
    """Makes lines keep to the rules.

    :param disclosure: what may leave.
    :param times: the times that lines are written with.
    :param chance: for tags that are answered at random.
    :param key: as in :class:`~torfluxd.reporter.forms.Forms`.
    """

    def __init__(self, disclosure: Disclosure, times: Times, chance: Chance, key: bytes) -> None:
        self._disclosure = disclosure
        self._times = times
        self._chance = chance
        self._key = key

    def settle(self, line: bytes, now_ns: int) -> bytes | None:
        """Make one line keep to the rules.

        :param line: a good one, with a time in nanoseconds or without.
        :param now_ns: the time that it is written with if it has none.
        :returns: the line as it may leave, always with a time; None when nothing of it may.
        """
        pieces = take_apart(line)
        measurement = _text(pieces.measurement)
        if not self._disclosure.knows(measurement):
            return None
        origin, given = pieces.series, int(pieces.time) if pieces.time else None
        chance = self._chance if given is None else chance_from(b"%b%d %b" % (self._key, given, origin))
        pieces.tags = self._tags(measurement, pieces, chance)
        pieces.fields = self._fields(measurement, pieces)
        time = now_ns if given is None else self._times.of_series(origin)(given)
        if not pieces.fields or time > MAX_TIME_NS:
            return None
        pieces.time = b"%d" % time
        settled = pieces.line
        return settled if len(settled) <= MAX_LINE_BYTES else None

    def _tags(self, measurement: str, pieces: Pieces, chance: Chance) -> list[tuple[bytes, bytes]]:
        given = {_text(key): (key, value) for key, value in pieces.tags}
        kept = self._disclosure.tags(measurement, {key: _text(value) for key, (_, value) in given.items()}, chance)
        return [_written_tag(key, value, given) for key, value in kept.items()]

    def _fields(self, measurement: str, pieces: Pieces) -> list[tuple[bytes, bytes]]:
        disclosure = self._disclosure
        if disclosure.is_open:
            return [
                (key, value)
                for key, value in pieces.fields
                if not value.startswith(b'"') or disclosure.passes_as_text(_text(key))
            ]
        kept = []
        for key, value in pieces.fields:
            writer = disclosure.writer(measurement, _text(key), _CALLED)
            if writer is None:
                continue
            try:
                text = writer(_value(value))
            except PointError:  # what a line may hold, and no point of ours
                continue
            if text is not None:
                kept.append((key, text.encode("utf-8")))
        return kept


def _written_tag(key: str, value: str, given: Mapping[str, tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """A tag as it was written, where it still is the same."""
    if key not in given:
        return escaped(key).encode("utf-8"), escaped(value).encode("utf-8")
    written_key, written_value = given[key]
    return written_key, written_value if _text(written_value) == value else escaped(value).encode("utf-8")


def _text(written: bytes) -> str:
    return plain_name(written).decode("utf-8")


def _value(written: bytes) -> bool | int | float | str:
    kind = kind_of(written)
    if kind == "string":
        return _ESCAPED_IN_STRING.sub(r"\1", written[1:-1].decode("utf-8"))
    if kind == "boolean":
        return written[:1] in b"tT"
    if kind == "float":
        return float(written)
    return int(written[:-1])
