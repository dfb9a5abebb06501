"""The schema: which measurements strangers may write, with which tags and fields; read out of `[schema.*]`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, cast, get_args

from attrs import frozen

from torfluxd.errors import SettingsError
from torfluxd.influx.pieces import FIELD_KINDS, FieldKind
from torfluxd.settings.nearest import no_such
from torfluxd.settings.option import LARGEST_COUNT, shown
from torfluxd.settings.toml import written_key

__all__ = ["FieldType", "MeasurementSchema", "TagRule", "Unknown", "name_fault", "read_schema", "read_unknown"]

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
    """

    kind: FieldKind
    max_bytes: int | None = None


@frozen
class MeasurementSchema:
    """What the points of one measurement may hold.

    :ivar tags: what becomes of each tag.
    :ivar fields: what each field may hold; at least one.
    :ivar unknown: what becomes of tags and fields that are not named.
    """

    tags: Mapping[str, TagRule]
    fields: Mapping[str, FieldType]
    unknown: Unknown = "refuse"


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
        tags = {one: self._tag(where, value) for one, where, value in self._entries(f"{key}.tags", table)}
        return MeasurementSchema(tags, fields, self._unknown(f"{key}.unknown", table.get("unknown", unknown)))

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

    def _field(self, key: str, value: object) -> FieldType:
        if isinstance(value, str) and value in FIELD_KINDS:
            return FieldType(value)
        if isinstance(value, dict):
            return self._field_table(key, value)
        self._expected(key, _TYPES, value)
        return FieldType("float")

    def _field_table(self, key: str, table: Mapping[str, Any]) -> FieldType:
        known = ("type", "max_bytes")
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
        return FieldType(kind, limit)

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
