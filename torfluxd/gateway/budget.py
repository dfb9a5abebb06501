"""How many names strangers can give InfluxDB to keep: counted, and bounded.

InfluxDB keeps each series (a measurement and its tags) and each field in an index for good, and ends when there are too
many. Whoever writes may make up as many as he likes; so what is new is counted here, and past its bound it becomes
`other`, or is refused. What was there before goes on as it did, whatever is made up beside it.

It is counted over the life of the process, for all destinations together, and forgotten at its end: each database may
get as many names in each run. What is kept for it is bounded, too: some 60 MB when every bound is reached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Final

from torfluxd.gateway.rules import OTHER, LineRules
from torfluxd.influx.pieces import Pieces

__all__ = ["Budget"]

MAX_NAME_BYTES: Final = 256
"""Of a measurement, a tag or a field, as written. The longest of Telegraf's has 60; InfluxDB would keep 64 KiB."""

MAX_VALUES: Final = 200_000
"""Values of all tags of all measurements: some 25 MB. Twice as many as there may be series by default, which have
hundreds of values each in common."""

KEPT_SERIES_BYTES: Final = 256
"""Up to which length a series is remembered as it is, and its lines pass fast. Of a longer one we remember a digest."""

KEPT_VALUE_BYTES: Final = 64
"""The same of the value of a tag."""

RESERVED_PART: Final = 8
"""One series for so many others may be added when there are too many, if it has nothing but `other` for its tags: so
that points are not lost for what others made up."""

LONG_NAME: Final = "name is too long"
MANY_MEASUREMENTS: Final = "too many measurements: this one is new"
MANY_TAGS: Final = "too many tags of this measurement: this one is new"
MANY_FIELDS: Final = "too many names of fields: this one is new"
MANY_SERIES: Final = "too many series: this one is new"

_OTHER: Final = OTHER.encode("ascii")


class Budget:
    """The names that there are.

    :param rules: how many there may be.
    :ivar series: those of up to `KEPT_SERIES_BYTES` that have passed as they are, and digests of longer ones.
    :ivar fields: the names of fields, in the order in which they came.
    """

    def __init__(self, rules: LineRules) -> None:
        self._rules = rules
        self.series: set[bytes] = set()
        self.fields: dict[bytes, None] = {}
        self._values: dict[tuple[bytes, bytes], set[bytes]] = {}
        self._value_count = 0
        self._tags: dict[bytes, set[bytes]] = {}

    def under(self, rules: LineRules) -> Budget:
        """The same names, to which so many may be added as other rules say. This one is not used any more."""
        budget = Budget(rules)
        budget.series, budget.fields, budget._tags = self.series, self.fields, self._tags
        budget._values, budget._value_count = self._values, self._value_count
        return budget

    def admit_series(self, pieces: Pieces, listed: Collection[bytes] = ()) -> str | None:
        """Count the measurement and the tags of a line; values that are too many become `other` in it.

        :param listed: tags whose values are bounded already.
        :returns: why the line is refused.
        """
        if _kept(pieces.series, KEPT_SERIES_BYTES) in self.series:
            return None
        fault = self._fault(pieces)
        if fault is not None:
            return fault
        pieces.tags = [
            (key, value if key in listed or self._has_room(pieces.measurement, key, value) else _OTHER)
            for key, value in pieces.tags
        ]
        limit = self._rules.max_series
        mark = _kept(pieces.series, KEPT_SERIES_BYTES)
        if mark not in self.series and len(self.series) >= limit:
            pieces.tags = [(key, _OTHER) for key, _ in pieces.tags]
            mark = _kept(pieces.series, KEPT_SERIES_BYTES)
            limit += limit // RESERVED_PART
        if mark not in self.series:
            if len(self.series) >= limit:
                return MANY_SERIES
            self.series.add(mark)
            self._count(pieces, listed)
        return None

    def admit_fields(self, names: Iterable[bytes]) -> str | None:
        """Count names of fields.

        :returns: why a line with them is refused.
        """
        new = [name for name in dict.fromkeys(names) if name not in self.fields]
        if any(len(name) > MAX_NAME_BYTES for name in new):
            return LONG_NAME
        if new and len(self.fields) + len(new) > self._rules.max_field_names:
            return MANY_FIELDS
        self.fields.update(dict.fromkeys(new))
        return None

    def _fault(self, pieces: Pieces) -> str | None:
        """What is wrong with the names of a series, whatever its values."""
        keys = [key for key, _ in pieces.tags]
        if max(map(len, (pieces.measurement, *keys))) > MAX_NAME_BYTES:
            return LONG_NAME
        known = self._tags.get(pieces.measurement)
        if known is None:
            return (
                MANY_MEASUREMENTS if len(self._tags) >= self._rules.max_measurements else _many_tags(keys, self._rules)
            )
        return _many_tags(known.union(keys), self._rules)

    def _has_room(self, measurement: bytes, key: bytes, value: bytes) -> bool:
        if value == _OTHER:
            return True
        values = self._values.get((measurement, key), ())
        if _kept(value, KEPT_VALUE_BYTES) in values:
            return True
        return len(values) < self._rules.max_tag_values and self._value_count < MAX_VALUES

    def _count(self, pieces: Pieces, listed: Collection[bytes]) -> None:
        self._tags.setdefault(pieces.measurement, set()).update(key for key, _ in pieces.tags)
        for key, value in pieces.tags:
            if key not in listed and value != _OTHER:
                values = self._values.setdefault((pieces.measurement, key), set())
                self._value_count -= len(values)
                values.add(_kept(value, KEPT_VALUE_BYTES))
                self._value_count += len(values)


def _many_tags(keys: Collection[bytes], rules: LineRules) -> str | None:
    return MANY_TAGS if len(keys) > rules.max_tag_keys else None


def _kept(text: bytes, limit: int) -> bytes:
    """What is remembered of a text: a digest where it is long."""
    return text if len(text) <= limit else blake2b(text, digest_size=16).digest()
