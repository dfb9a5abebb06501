"""The schema: which measurements strangers may write, with which tags and fields; read out of `[schema.*]`. Pure.

One file serves both sides: the gateway refuses what is not in it, and a reporter lets nothing else out. What it says
of `epsilon` and `round` is for the reporter alone, before anything leaves the machine; the gateway takes no notice.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final, Literal, cast, get_args

from attrs import field, frozen

from torfluxd.errors import SettingsError
from torfluxd.influx.pieces import FIELD_KINDS, FieldKind
from torfluxd.settings.nearest import no_such
from torfluxd.settings.option import LARGEST_COUNT, shown
from torfluxd.settings.toml import written_key

__all__ = [
    "OTHER",
    "FieldType",
    "MeasurementSchema",
    "TagRule",
    "Unknown",
    "name_fault",
    "read_schema",
    "read_unknown",
]

OTHER: Final = "other"
"""The value of a tag that has too many others, or one that the schema does not list."""

LEAST_EPSILON: Final = 0.01
LARGEST_EPSILON: Final = 20.0
"""With less, millions of points tell nothing; with more, of a billion points none is changed."""

NUMBERS: Final = ("float", "integer", "unsigned")
"""The types of fields that can be rounded."""

Unknown = Literal["refuse", "drop"]
"""What becomes of what is not in the schema."""

TagRule = Literal["free", "drop"] | tuple[str, ...]
"""What becomes of a tag: it may have any value; it is taken out; or it may have these, and all others are written as
`other`."""

_KEYS: Final = ("tags", "fields", "unknown")
_TYPES = ", ".join(FIELD_KINDS[:-1]) + f" or {FIELD_KINDS[-1]}"
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@frozen
class FieldType:
    """What a field may hold.

    :ivar kind: its type.
    :ivar max_bytes: how long a string may be, in UTF-8; None for as long as a line may be.
    :ivar round: a reporter rounds a number to a multiple of this; None for not at all.
    """

    kind: FieldKind
    max_bytes: int | None = None
    round: float | None = None


@frozen
class MeasurementSchema:
    """What the points of one measurement may hold.

    :ivar tags: what becomes of each tag.
    :ivar fields: what each field may hold; at least one.
    :ivar unknown: what becomes of tags and fields that are not named.
    :ivar epsilons: for tags with a list of values: how much one point may tell of the true one. A reporter answers at
        random where there is one (:mod:`torfluxd.reporter.noise`).
    """

    tags: Mapping[str, TagRule]
    fields: Mapping[str, FieldType]
    unknown: Unknown = "refuse"
    epsilons: Mapping[str, float] = field(factory=dict)


def read_unknown(text: str) -> Unknown:
    """What becomes of what is not in the schema: `refuse` or `drop`."""
    if text not in get_args(Unknown):
        raise SettingsError(f"expected refuse or drop, got {shown(text)}")
    return cast(Unknown, text)


def read_schema(tables: object, unknown: Unknown) -> Mapping[str, MeasurementSchema]:
    """Read `[schema]`: one table for each measurement.

    :param tables: as `tomllib` reads it.
    :param unknown: for measurements that do not say what becomes of unknown tags and fields.
    :raises SettingsError: something of it cannot be used; all that is wrong is told, each by its key.
    """
    if not isinstance(tables, dict) or not tables:
        raise SettingsError("schema: expected a table for each measurement, such as [schema.backup]")
    reading = _Reading()
    schema = {name: reading.measurement(name, table, unknown) for name, table in tables.items()}
    if reading.problems:
        raise SettingsError(*reading.problems)
    return schema


def name_fault(name: str, *, measurement: bool = False) -> str | None:
    """Why nothing in line protocol can have a name, or None if it can.

    :param measurement: whether it is one of a measurement, not of a tag or a field.
    """
    if not name:
        return "is empty"
    if _UNUSABLE.search(name):
        return "has a control character in it"
    if "\\" in name:
        return "has a backslash in it, which does not mean the same to all readers of line protocol"
    if measurement and name.startswith("#"):
        return "begins with #, which makes the line a comment"
    if not measurement and name == "time":
        return "is the one that InfluxDB has for the time of a point"
    return None


def _is_number(value: object, least: float, largest: float) -> bool:
    return type(value) in (int, float) and isfinite(cast(float, value)) and least <= cast(float, value) <= largest


class _Reading:
    """Reads on when something is wrong, so that all that is wrong can be told."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def measurement(self, name: str, table: object, unknown: Unknown) -> MeasurementSchema:
        key = f"schema.{written_key(name)}"
        self._check_name(key, name, measurement=True)
        if not isinstance(table, dict):
            self._expected(key, f"a table, [{key}]", table)
            return MeasurementSchema({}, {})
        self.problems += [no_such(f"{key}.{written_key(other)}", other, _KEYS) for other in table if other not in _KEYS]
        fields = {one: self._field(where, value) for one, where, value in self._entries(f"{key}.fields", table)}
        if not fields and isinstance(table.get("fields", {}), dict):
            self.problems.append(f"{key}.fields: expected at least one field; InfluxDB stores no point without")
        entries = list(self._entries(f"{key}.tags", table))
        tags = {one: self._tag(where, value) for one, where, value in entries}
        epsilons = {
            one: value["epsilon"] for one, _, value in entries if isinstance(value, dict) and "epsilon" in value
        }
        of_others = self._unknown(f"{key}.unknown", table.get("unknown", unknown))
        return MeasurementSchema(tags, fields, of_others, epsilons)

    def _entries(self, key: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str, object]]:
        """The name, the whole key and the value of each tag, or of each field."""
        entries = table.get(key.rpartition(".")[2], {})
        if not isinstance(entries, dict):
            self._expected(key, f"a table, [{key}]", entries)
            return
        for name, value in entries.items():
            where = f"{key}.{written_key(name)}"
            self._check_name(where, name)
            yield name, where, value

    def _tag(self, key: str, value: object) -> TagRule:
        if isinstance(value, dict):
            return self._tag_table(key, value)
        if isinstance(value, str) and value in ("free", "drop"):
            return cast(TagRule, value)
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            for one in value:
                fault = name_fault(one) if one != "time" else None
                if fault is not None:
                    self.problems.append(f"{key}: the value {shown(one)} {fault}")
            return tuple(dict.fromkeys(value))
        self._expected(key, '"free", "drop" or a list of the values it may have', value)
        return "free"

    def _tag_table(self, key: str, table: Mapping[str, Any]) -> TagRule:
        known = ("values", "epsilon")
        self.problems += [no_such(f"{key}.{written_key(other)}", other, known) for other in table if other not in known]
        values = table.get("values")
        if "values" not in table:
            self.problems.append(f"{key}: expected values beside it: a list of those it may have")
            return "free"
        if not isinstance(values, list):
            self._expected(f"{key}.values", "a list of the values it may have", values)
            return "free"
        if not _is_number(table.get("epsilon", 1), LEAST_EPSILON, LARGEST_EPSILON):
            wanted = f"a number from {LEAST_EPSILON:g} to {LARGEST_EPSILON:g}"
            self._expected(f"{key}.epsilon", wanted, table["epsilon"])
        return self._tag(key, values)

    def _field(self, key: str, value: object) -> FieldType:
        if isinstance(value, str) and value in FIELD_KINDS:
            return FieldType(value)
        if isinstance(value, dict):
            return self._field_table(key, value)
        self._expected(key, _TYPES, value)
        return FieldType("float")

    def _field_table(self, key: str, table: Mapping[str, Any]) -> FieldType:
        known = ("type", "max_bytes", "round")
        self.problems += [no_such(f"{key}.{written_key(other)}", other, known) for other in table if other not in known]
        kind, limit = table.get("type"), table.get("max_bytes")
        if kind not in FIELD_KINDS:
            if "type" in table:
                self._expected(f"{key}.type", _TYPES, kind)
            else:
                self.problems.append(f"{key}: expected a type beside it: {_TYPES}")
            return FieldType("string")
        if limit is not None and (kind != "string" or type(limit) is not int or not 1 <= limit <= LARGEST_COUNT):
            wanted = "a number of bytes" if kind == "string" else "no such bound but for a string"
            self._expected(f"{key}.max_bytes", wanted, limit)
        return FieldType(kind, limit, self._step(f"{key}.round", kind, table.get("round")))

    def _step(self, key: str, kind: FieldKind, step: object) -> float | None:
        if step is None:
            return None
        if kind not in NUMBERS:
            self._expected(key, "none but for a number", step)
        elif kind == "float" and not _is_number(step, sys.float_info.min, sys.float_info.max):
            self._expected(key, "a number above 0", step)
        elif kind != "float" and (type(step) is not int or not 1 <= step <= LARGEST_COUNT):
            self._expected(key, "a whole number above 0", step)
        else:
            return cast(float, step)
        return None

    def _unknown(self, key: str, value: object) -> Unknown:
        if value in get_args(Unknown):
            return cast(Unknown, value)
        self._expected(key, "refuse or drop", value)
        return "refuse"

    def _check_name(self, key: str, name: str, *, measurement: bool = False) -> None:
        fault = name_fault(name, measurement=measurement)
        if fault is not None:
            self.problems.append(f"{key}: this name {fault}")

    def _expected(self, key: str, wanted: str, value: object) -> None:
        self.problems.append(f"{key}: expected {wanted}, got {shown(value)}")
