"""A schema at work: lines that keep to it, lines that are made to, and lines that are refused.

A measurement and its tags (a series) are looked at apart from the fields: a series comes again and again, and its lines
are known by a pattern that knows the fields and their types. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from attrs import frozen

from torfluxd.gateway.rules import OTHER
from torfluxd.influx.grammar import MAX_COUNTED_BYTES, Grammar
from torfluxd.influx.pieces import Pieces, kind_of, plain_name
from torfluxd.settings import FieldType, MeasurementSchema, TagRule, Unknown

__all__ = ["Schema"]

UNKNOWN_MEASUREMENT: Final = "measurement is not in the schema"
UNKNOWN_TAG: Final = "tag is not in the schema"
UNKNOWN_FIELD: Final = "field is not in the schema"
WRONG_TYPE: Final = "field has another type in the schema"
LONG_STRING: Final = "string is longer than the schema allows"

_OTHER: Final = OTHER.encode("ascii")
_ESCAPED_IN_STRING = re.compile(rb'\\(["\\])')
_SEPARATORS = re.compile(rb"[,= ]")
_MEASUREMENT_SEPARATORS = re.compile(rb"[, ]")


@frozen
class _Measurement:
    """One measurement, its names and values in bytes."""

    tags: Mapping[bytes, frozenset[bytes] | TagRule]
    fields: Mapping[bytes, FieldType]
    unknown: Unknown

    @classmethod
    def of(cls, schema: MeasurementSchema) -> _Measurement:
        """The same in bytes."""
        tags: dict[bytes, frozenset[bytes] | TagRule] = {
            key.encode("utf-8"): rule
            if isinstance(rule, str)
            else frozenset(value.encode("utf-8") for value in (*rule, OTHER))
            for key, rule in schema.tags.items()
        }
        return cls(tags, {key.encode("utf-8"): each for key, each in schema.fields.items()}, schema.unknown)


class Schema:
    """What lines may hold.

    :param measurements: by name.
    :param unknown: what becomes of lines of others.
    """

    def __init__(self, measurements: Mapping[str, MeasurementSchema], unknown: Unknown) -> None:
        self._measurements = {name.encode("utf-8"): _Measurement.of(each) for name, each in measurements.items()}
        self._unknown: Unknown = unknown

    @property
    def sure_bytes(self) -> int | None:
        """How long a line may be in which no string can be too long; None where there are no such bounds, or
        :meth:`pattern` knows them.
        """
        bounds = [each.max_bytes or 0 for one in self._measurements.values() for each in one.fields.values()]
        return min((bound for bound in bounds if bound > MAX_COUNTED_BYTES), default=None)

    def pattern(self, grammar: Grammar, time: bytes | None) -> Any:
        """A pattern of lines whose fields keep to this, and which have such a time. Of tags it says nothing.

        :param time: a pattern; None for lines without a time.
        """
        points = []
        for name, each in self._measurements.items():
            fields = [
                grammar.typed_field(_SEPARATORS.sub(rb"\\\g<0>", key), kept.kind, kept.max_bytes)
                for key, kept in each.fields.items()
            ]
            points.append((_MEASUREMENT_SEPARATORS.sub(rb"\\\g<0>", name), fields))
        return grammar.typed_lines(points, time)

    def listed(self, pieces: Pieces) -> Collection[bytes]:
        """The tags of a measurement, as written, whose values the schema lists."""
        known = self._measurements.get(plain_name(pieces.measurement))
        if known is None:
            return ()
        return {key for key, _ in pieces.tags if isinstance(known.tags.get(plain_name(key)), frozenset)}

    def settle_tags(self, pieces: Pieces) -> str | None:
        """Make measurement and tags keep to the schema.

        :returns: why they cannot.
        """
        known = self._measurements.get(plain_name(pieces.measurement))
        if known is None:
            return UNKNOWN_MEASUREMENT
        tags = []
        for key, value in pieces.tags:
            rule = known.tags.get(plain_name(key), known.unknown)
            if rule == "refuse":
                return UNKNOWN_TAG
            if isinstance(rule, frozenset):
                tags.append((key, value if plain_name(value) in rule else _OTHER))
            elif rule == "free":
                tags.append((key, value))
        pieces.tags = tags
        return None

    def settle_fields(self, pieces: Pieces) -> str | None:
        """Make the fields of a known measurement keep to the schema. There may be none left.

        :returns: why they cannot.
        """
        known = self._measurements[plain_name(pieces.measurement)]
        fields = []
        for key, value in pieces.fields:
            kept = known.fields.get(plain_name(key))
            if kept is not None:
                if kind_of(value) != kept.kind:
                    return WRONG_TYPE
                if kept.max_bytes is not None and kept.kind == "string" and _string_bytes(value) > kept.max_bytes:
                    return LONG_STRING
                fields.append((key, value))
            elif known.unknown == "refuse":
                return UNKNOWN_FIELD
        pieces.fields = fields
        return None

    def drops(self, reason: str) -> bool:
        """Whether a line with this fault is to be dropped, and its writer told nothing of it."""
        return reason == UNKNOWN_MEASUREMENT and self._unknown == "drop"


def _string_bytes(written: bytes) -> int:
    return len(_ESCAPED_IN_STRING.sub(rb"\1", written)) - 2
