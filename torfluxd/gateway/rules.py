"""What strangers may write, as values: where to, how old, how much, how many names, and in what schema.

Each bound has its unit in its name and its reason beside it. The defaults suit a vendor who says nothing: any program
that reports metrics stays far within them, and nobody can make InfluxDB open a file for each week of ten years, or keep
a million names. What applies them is :mod:`torfluxd.gateway.screen`, to lines, and :mod:`torfluxd.gateway.policy`, to
destinations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import fields, frozen

from torfluxd.boundaries import Destination
from torfluxd.settings import OTHER, MeasurementSchema, RulesSettings, Unknown

__all__ = ["DAY_SECONDS", "MAX_BODY_BYTES", "OTHER", "LineRules"]

DAY_SECONDS: Final = 86_400.0
"""InfluxDB's shards are a day long, or a week (documented: a day for retention policies of up to six months)."""

MAX_AGE_SECONDS: Final = 92 * DAY_SECONDS
"""How old a point may be. A reporter keeps points for 60 days, and an operator's agent for 90 at most; a day more for
the coarsest granularity, and one for a clock that is wrong."""

MAX_AHEAD_SECONDS: Final = 25 * 3600.0
"""How far ahead of us a point may be: the coarsest granularity, a day, within which a reporter chooses at random, and
an hour for a clock that is wrong, or set to local time."""

MAX_SHARD_DAYS: Final = 100
"""Over how many days, before the last so many, the points of one body or one writer may lie. It is more than
`MAX_AGE_SECONDS` holds, so that nobody's backlog is refused for it; where a vendor allows older points, it keeps 400
weeks in one body from becoming 400 shards (429 open files, tried)."""

MAX_TAG_VALUES: Final = 5000
"""Of one tag of one measurement. A twentieth of influxd's `max-values-per-tag`, which is for everybody together, and
past which it refuses honest points, too."""

MAX_SERIES: Final = 100_000
"""Of all measurements. A tenth of influxd's `max-series-per-database`, and some 20 MB of our memory."""

MAX_MEASUREMENTS: Final = 1000
"""Programs have tens of them; all of Telegraf's plugins together some hundreds."""

MAX_TAG_KEYS: Final = 64
"""Of one measurement. Each is in InfluxDB's index for good."""

MAX_FIELD_NAMES: Final = 4000
"""Of all measurements together: Telegraf's plugins have some 3000. influxd writes all fields of a shard anew for each
one that is new."""

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""One body, on the wire and inflated: twice what Telegraf's batches of 1000 points come to if each has 1000 bytes.
influxd takes 25 MB (`max-body-size`); but we hold the bodies of many strangers at once, and one body is inflated, and
its lines are read, at a stretch, in which nobody else is served."""

MAX_LINES: Final = 20_000
"""In one body: twice the batch at which InfluxDB is fastest, by its documentation. Reading so many one by one, as it
must be where each is to be changed, takes a tenth of a second."""

MAX_LINE_BYTES: Final = 65_535
"""As long as influxd takes a series, or stores a string."""

MAX_TAGS: Final = 64
"""In one line. Telegraf's most talkative plugins have thirty."""

MAX_FIELDS: Final = 256
"""In one line. Telegraf's most talkative plugins have two hundred."""


@frozen(kw_only=True)
class LineRules:
    """What strangers may write.

    Names and values are counted from the start of the process on, whatever destination they are for.

    :ivar databases: those that may be written to; empty for any.
    :ivar retention_policy: with exactly one database: the one in which everything goes, whatever a stranger names.
    :ivar max_age_seconds: how old a point may be.
    :ivar max_ahead_seconds: how far ahead of us.
    :ivar max_shard_days_per_body: over how many days, before the last so many, the points of one body may lie.
    :ivar max_shard_days_per_writer: the same of one writer.
    :ivar max_tag_values: how many values one tag of one measurement may have; any other is :data:`OTHER`.
    :ivar max_series: of all measurements; the tags of any other are all :data:`OTHER`.
    :ivar max_measurements: how many.
    :ivar max_tag_keys: of one measurement.
    :ivar max_field_names: of all measurements.
    :ivar max_body_bytes: one body, as it arrives.
    :ivar max_inflated_bytes: one body, inflated.
    :ivar max_lines: in one body.
    :ivar max_line_bytes: one line.
    :ivar max_tags: in one line.
    :ivar max_fields: in one line.
    :ivar schema: by the name of the measurement; None for any.
    :ivar unknown: what becomes of lines of a measurement that is not in the schema.
    """

    databases: tuple[str, ...] = ()
    retention_policy: str | None = None
    max_age_seconds: float = MAX_AGE_SECONDS
    max_ahead_seconds: float = MAX_AHEAD_SECONDS
    max_shard_days_per_body: int = MAX_SHARD_DAYS
    max_shard_days_per_writer: int = MAX_SHARD_DAYS
    max_tag_values: int = MAX_TAG_VALUES
    max_series: int = MAX_SERIES
    max_measurements: int = MAX_MEASUREMENTS
    max_tag_keys: int = MAX_TAG_KEYS
    max_field_names: int = MAX_FIELD_NAMES
    max_body_bytes: int = MAX_BODY_BYTES
    max_inflated_bytes: int = MAX_BODY_BYTES
    max_lines: int = MAX_LINES
    max_line_bytes: int = MAX_LINE_BYTES
    max_tags: int = MAX_TAGS
    max_fields: int = MAX_FIELDS
    schema: Mapping[str, MeasurementSchema] | None = None
    unknown: Unknown = "refuse"

    def __attrs_post_init__(self) -> None:
        if self.retention_policy is not None and len(self.databases) != 1:
            raise ValueError("a retention policy belongs to exactly one database")

    @classmethod
    def of(cls, settings: RulesSettings) -> LineRules:
        """The rules that somebody configured."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})

    @property
    def homes(self) -> tuple[Destination, ...]:
        """The destinations that are the vendor's from the start."""
        return tuple(Destination(name, self.retention_policy) for name in self.databases)

    def settle(self, asked: Destination) -> Destination | None:
        """Where a write goes, given what a stranger asks for: there, or where the vendor has it, or nowhere."""
        if not self.databases:
            return asked
        if asked.database not in self.databases:
            return None
        return asked if self.retention_policy is None else self.homes[0]
