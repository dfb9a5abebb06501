"""What strangers may write: the rules on databases, times, sizes and names, as a person configured them. Pure.

How they are applied is the gateway's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from attrs import frozen

from torfluxd.durations import read_duration
from torfluxd.errors import SettingsError
from torfluxd.settings.option import Option, read_bytes, read_count, read_name
from torfluxd.settings.schema import MeasurementSchema, Unknown, read_unknown

__all__ = ["RULE_FLAGS", "RULE_OPTIONS", "RulesSettings", "read_rules"]

RULE_FLAGS = (
    Option(
        "database",
        read_name,
        None,
        "A database that strangers may write to (repeatable). With --retention-policy there is exactly one, and every"
        " write goes there. [default: any that InfluxDB has]",
        "NAME",
        repeatable=True,
        example="telemetry",
    ),
    Option(
        "retention-policy",
        read_name,
        None,
        "The retention policy of the one --database to which every write goes, whatever a stranger asks for.",
        "NAME",
        example="thirteen_weeks",
    ),
    Option(
        "max-age",
        read_duration,
        "92d",
        "How old a point may be: 90d, 36h. An older one is refused.",
        "DURATION",
        reason="More than the 90 days that a reporter may keep a point, its coarsest granularity of a day, and a clock"
        " that is wrong by as much.",
    ),
    Option(
        "max-ahead",
        read_duration,
        "25h",
        "How far in the future a point may lie. One beyond that is refused.",
        "DURATION",
        reason="The coarsest granularity of a reporter, a day, and an hour by which its clock may be wrong.",
    ),
    Option(
        "max-body-bytes",
        read_bytes,
        "2MiB",
        "How large one write may be as it arrives.",
        "SIZE",
        unit="bytes",
        reason="Twice Telegraf's batches of 1000 points of 1000 bytes; the bodies of many strangers are held at once.",
    ),
    Option(
        "max-inflated-bytes",
        read_bytes,
        "2MiB",
        "How large one write may be when gzip is taken off.",
        "SIZE",
        unit="bytes",
        reason="As large as one that comes without gzip. 59 kB of gzip can hold 60 MB.",
    ),
)
"""Rules that have a flag, and stand under `[gateway]` in a file as all flags do."""


def _count(name: str, default: int, unit: str, help_text: str, reason: str) -> Option:
    return Option(name, read_count(unit), str(default), help_text, "NUMBER", unit=unit, reason=reason)


RULE_OPTIONS = (
    _count(
        "max-lines",
        20_000,
        "lines",
        "How many lines one write may hold.",
        "Twice the largest batch that InfluxDB's documentation advises.",
    ),
    _count(
        "max-line-bytes",
        65_535,
        "bytes",
        "How long one line may be.",
        "As long as InfluxDB 1.x takes a measurement with its tags, or one string.",
    ),
    _count(
        "max-tags",
        64,
        "tags",
        "How many tags one line may have.",
        "Telegraf's widest plugins send thirty; each tag of a series is kept in InfluxDB's index.",
    ),
    _count(
        "max-fields",
        256,
        "fields",
        "How many fields one line may have.",
        "Telegraf's widest plugins send two hundred; each field is a column on InfluxDB's disk for good.",
    ),
    _count(
        "max-measurements",
        1000,
        "measurements",
        "How many measurements strangers may write to, as long as the gateway runs.",
        "Programs have tens; all of Telegraf's plugins together have some hundreds.",
    ),
    _count(
        "max-tag-keys",
        64,
        "tags",
        "How many different tags one measurement may have, as long as the gateway runs.",
        "Each is in InfluxDB's index for good.",
    ),
    _count(
        "max-field-names",
        4000,
        "fields",
        "How many different fields all measurements together may have, as long as the gateway runs.",
        "All of Telegraf's plugins together have some 3000; InfluxDB writes its list of them anew for each new one.",
    ),
    _count(
        "max-series",
        100_000,
        "series",
        "How many series, which is combinations of tag values, all measurements together may have, as long as the"
        ' gateway runs; the tags of any other are all written as "other".',
        "A tenth of InfluxDB's own limit (max-series-per-database), past which honest points are refused, too.",
    ),
    _count(
        "max-tag-values",
        5000,
        "values",
        "How many values one tag of one measurement may have, as long as the gateway runs; what comes after that is"
        ' written as "other".',
        "InfluxDB's own limit is 100000 for everybody together, and past it honest points are refused, too.",
    ),
    _count(
        "max-shard-days-per-body",
        100,
        "days",
        "Over how many different days the points of one write may lie.",
        "InfluxDB opens files for each day or week that it has points of; all days that --max-age allows fit, so that"
        " nobody's backlog is refused, and no more when that is raised.",
    ),
    _count(
        "max-shard-days-per-writer",
        100,
        "days",
        "Over how many different days the points of one writer may lie.",
        "The same, for one who sends many small writes.",
    ),
    Option(
        "unknown",
        read_unknown,
        "refuse",
        "What becomes of measurements, tags and fields that are not in the schema, if there is one: refuse the line, or"
        " drop what is unknown and keep the rest.",
        "refuse|drop",
        reason="Who is told of a refusal can mend it; what is dropped is missed by nobody until it is needed.",
    ),
)
"""Rules that stand in a file alone, under `[rules]`."""


@frozen(kw_only=True)
class RulesSettings:
    """The rules on what strangers write.

    :ivar databases: those that may be written to; empty for any.
    :ivar database: the one to which every write goes, which then stands alone in `databases`; or None.
    :ivar retention_policy: of `database`; None if that is.
    :ivar max_age_seconds: how old a point may be.
    :ivar max_ahead_seconds: how far in the future it may lie.
    :ivar max_shard_days_per_body: over how many days the points of one write may lie.
    :ivar max_shard_days_per_writer: the same, for all that one writer sends.
    :ivar max_tag_values: how many values one tag of one measurement may have.
    :ivar max_measurements: how many measurements may be written to.
    :ivar max_tag_keys: how many different tags one measurement may have.
    :ivar max_field_names: how many different fields all measurements together may have.
    :ivar max_series: how many series all measurements together may have.
    :ivar max_lines: of one write.
    :ivar max_line_bytes: of one line.
    :ivar max_tags: of one line.
    :ivar max_fields: of one line.
    :ivar max_body_bytes: of one write, as it arrives.
    :ivar max_inflated_bytes: of one write, when gzip is taken off.
    :ivar schema: what each measurement may hold, by its name; None where there is no schema.
    :ivar unknown: what becomes of a measurement that is not in the schema.
    """

    databases: tuple[str, ...]
    database: str | None
    retention_policy: str | None
    max_age_seconds: float
    max_ahead_seconds: float
    max_shard_days_per_body: int
    max_shard_days_per_writer: int
    max_tag_values: int
    max_measurements: int
    max_tag_keys: int
    max_field_names: int
    max_series: int
    max_lines: int
    max_line_bytes: int
    max_tags: int
    max_fields: int
    max_body_bytes: int
    max_inflated_bytes: int
    schema: Mapping[str, MeasurementSchema] | None
    unknown: Unknown


def read_rules(values: Mapping[str, Any], schema: Mapping[str, MeasurementSchema] | None) -> RulesSettings:
    """Put the rules together.

    :param values: the value of each of `RULE_FLAGS` and `RULE_OPTIONS`, by its key.
    :param schema: what a file says about it.
    :raises SettingsError: they cannot hold together.
    """
    rest = dict(values)
    databases: tuple[str, ...] = tuple(dict.fromkeys(rest.pop("database")))
    policy = cast(str | None, rest.pop("retention_policy"))
    if policy is not None and len(databases) != 1:
        raise SettingsError("--retention-policy: belongs to one database; name that with --database NAME, and no other")
    return RulesSettings(
        databases=databases,
        database=databases[0] if policy is not None else None,
        retention_policy=policy,
        max_age_seconds=rest.pop("max_age"),
        max_ahead_seconds=rest.pop("max_ahead"),
        schema=schema,
        **rest,
    )
