"""What of a point may leave the machine: by the vendor's schema, or by a list of names that tell who somebody is. Pure.

With a schema, what it does not name stays here: measurements, tags and fields; and a tag's value that it does not list
becomes `other`. Without one, tags and fields leave as they are given, but for tags, and fields with text, whose names
are in `PERSONAL_NAMES`; an application that wants one of these has to say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, Final

from attrs import field, frozen

from torfluxd.influx.line import MAX_INTEGER, MAX_UNSIGNED, MIN_INTEGER, field_text
from torfluxd.influx.pieces import FieldKind
from torfluxd.reporter.chance import Chance
from torfluxd.reporter.noise import randomised, rounded, rounded_integer
from torfluxd.reporter.quick import INTEGER, NUMBER, TRUTH
from torfluxd.settings import OTHER, FieldType, MeasurementSchema

__all__ = ["PERSONAL_NAMES", "Disclosure", "FieldWriter", "Hear", "is_personal", "plain_personal_name"]

PERSONAL_NAMES: Final = frozenset(
    {
        *("host", "hostname", "fqdn", "node", "nodename", "instance", "machine", "machineid", "machinename"),
        *("computer", "computername", "deviceid", "devicename", "servername", "client", "clientid", "clientname"),
        *("ip", "ipaddr", "ipaddress", "ipv4", "ipv6", "clientip", "remoteip", "remoteaddr", "remoteaddress", "peer"),
        *("mac", "macaddr", "macaddress", "bssid", "ssid", "imei", "imsi", "serial", "serialnumber", "uuid", "guid"),
        *("user", "userid", "username", "uid", "login", "loginname", "account", "accountid", "accountname", "owner"),
        *("email", "mail", "phone", "firstname", "lastname", "fullname", "realname", "session", "sessionid", "cookie"),
        *(
            "lat",
            "latitude",
            "lon",
            "lng",
            "longitude",
            "geohash",
            "zipcode",
            "postcode",
            "timezone",
            "home",
            "homedir",
        ),
    }
)
"""Names that tell machines, people and places apart. They are compared without regard to case, and without hyphens,
underscores, dots and spaces. Telegraf and statsd clients put `host` into every point; Prometheus, `instance`."""

QUICK_STRING_CHARACTERS: Final = 4096
"""Shorter strings are written the quick way."""

_JOINTS: Final = re.compile(r"[-_.\s]+")

FieldWriter = Callable[[Any], str | None]
"""From the value of a field to its text in a line, or None when it stays here.

It raises :class:`~torfluxd.errors.PointError` as :func:`~torfluxd.influx.line.encode` does."""

Hear = Callable[[str, str], None]
"""Hears what stays here: `measurement`, `tag` or `field`, and its name."""


def plain_personal_name(name: str) -> str:
    """A name as it stands in `PERSONAL_NAMES`, if it does."""
    return _JOINTS.sub("", name).lower()


def is_personal(name: str) -> bool:
    """Whether a tag with this name would tell who or where somebody is."""
    return plain_personal_name(name) in PERSONAL_NAMES


@frozen
class _Noisy:
    """A tag that is answered at random."""

    values: tuple[str, ...]
    epsilon: float


@frozen
class _Measurement:
    """One measurement of a schema.

    :ivar tags: what becomes of each: any value, or one of these; those that are dropped are not in it.
    :ivar noisy: those that are answered at random.
    """

    tags: Mapping[str, frozenset[str] | None]
    noisy: Mapping[str, _Noisy]
    fields: Mapping[str, FieldType]

    @classmethod
    def of(cls, schema: MeasurementSchema) -> _Measurement:
        tags: dict[str, frozenset[str] | None] = {}
        noisy = {}
        for key, rule in schema.tags.items():
            if rule == "free":
                tags[key] = None
            elif not isinstance(rule, str):
                tags[key] = frozenset(rule)
                if key in schema.epsilons:
                    noisy[key] = _Noisy(tuple(dict.fromkeys((*rule, OTHER))), schema.epsilons[key])
        return cls(tags, noisy, schema.fields)


def _by_name(schema: Mapping[str, MeasurementSchema] | None) -> Mapping[str, _Measurement] | None:
    return None if schema is None else {name: _Measurement.of(each) for name, each in schema.items()}


@frozen
class Disclosure:
    """What may leave.

    :param schema: the vendor's, or None.
    :param declared: without a schema: names that leave though they are in `PERSONAL_NAMES`.
    :param hear: hears what stays here, each time it is asked for.
    """

    _schema: Mapping[str, _Measurement] | None = field(converter=_by_name)
    _declared: Collection[str]
    _hear: Hear

    def knows(self, measurement: str) -> bool:
        """Whether points of this measurement may leave."""
        if self._schema is None or measurement in self._schema:
            return True
        self._hear("measurement", measurement)
        return False

    def is_noisy(self, measurement: str) -> bool:
        """Whether chance has a part in its tags."""
        return self._schema is not None and bool(self._schema[measurement].noisy)

    def tags(self, measurement: str, tags: Mapping[str, str], chance: Chance) -> dict[str, str]:
        """The tags as they leave.

        :param measurement: that may leave.
        :param chance: for those that are answered at random.
        """
        if self._schema is None:
            return {key: value for key, value in tags.items() if self._passes("tag", key)}
        known = self._schema[measurement]
        kept = {}
        for key, value in tags.items():
            if key not in known.tags:
                self._hear("tag", key)
                continue
            values = known.tags[key]
            kept[key] = value if values is None or value in values or not value else OTHER
        for key, noisy in known.noisy.items():
            # Else it would tell whether the point has the tag.
            kept[key] = randomised(kept.get(key) or OTHER, noisy.values, noisy.epsilon, chance)
        return kept

    def writer(self, measurement: str, key: str, called: str) -> FieldWriter | None:
        """What writes the values of a field, or None where the field stays here.

        :param measurement: that may leave.
        :param called: what an error calls the value.
        """
        if self._schema is None:
            return partial(field_text if self.passes_as_text(key) else _no_text, called=called)
        kept = self._schema[measurement].fields.get(key)
        if kept is None:
            self._hear("field", key)
            return None
        return partial(_WRITERS[kept.kind], kept=kept, called=called)

    def quick_bounds(self, measurement: str, key: str, kind: type) -> tuple[type[Any], float] | None:
        """The type and the bound of values that leave as they are, with nothing to be decided, or None.

        They are those of :data:`~torfluxd.reporter.quick.QuickField`.

        :param kind: of a value that the field has now.
        """
        if self._schema is None:
            return _QUICK.get(kind) if kind is not str or self.passes_as_text(key) else None
        kept = self._schema[measurement].fields.get(key)
        if kept is None or kept.round is not None:
            return None
        if kept.kind == "string" and kept.max_bytes is not None:
            return str, min(kept.max_bytes + 1, QUICK_STRING_CHARACTERS)
        return _QUICK_KINDS.get(kept.kind)

    def passes_all_tags(self, tags: Collection[str]) -> bool:
        """Whether a point with these tags leaves with them just as they are."""
        return self._schema is None and not any(is_personal(key) and key not in self._declared for key in tags)

    @property
    def is_open(self) -> bool:
        """Whether there is no schema."""
        return self._schema is None

    def passes_as_text(self, name: str) -> bool:
        """Without a schema: whether a field with this name may leave with text in it."""
        return name in self._declared or not is_personal(name)

    def _passes(self, what: str, name: str) -> bool:
        if self.passes_as_text(name):
            return True
        self._hear(what, name)
        return False


_STRING: Final = (str, QUICK_STRING_CHARACTERS)
_QUICK: Final[Mapping[type, tuple[type[Any], float]]] = {int: INTEGER, float: NUMBER, bool: TRUTH, str: _STRING}
_QUICK_KINDS: Final[Mapping[FieldKind, tuple[type[Any], float]]] = {
    "integer": INTEGER,
    "float": NUMBER,
    "boolean": TRUTH,
    "string": _STRING,
}


def _no_text(value: Any, called: str) -> str | None:
    return None if isinstance(value, str) else field_text(value, called)


def _float_text(value: Any, kept: FieldType, called: str) -> str | None:
    """A float, or another number, which InfluxDB would take for an integer as it is."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return _other_type(value, called)
    try:
        number = float(value)
    except OverflowError:
        number = inf
    return field_text(rounded(number, kept.round) if kept.round is not None and isfinite(number) else number, called)


def _integer_text(value: Any, kept: FieldType, called: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _other_type(value, called)
    return field_text(_rounded(value, kept), called)


def _unsigned_text(value: Any, kept: FieldType, called: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _other_type(value, called)
    number = _rounded(value, kept)
    return f"{number}u" if 0 <= number <= MAX_UNSIGNED else None


def _rounded(value: Integral, kept: FieldType) -> int:
    number = int(value)
    if kept.round is None:
        return number
    step = int(kept.round)
    nearest = rounded_integer(number, step)
    most = MAX_UNSIGNED if kept.kind == "unsigned" else MAX_INTEGER
    if nearest > most >= number:
        return nearest - step
    return nearest + step if nearest < MIN_INTEGER <= number else nearest


def _boolean_text(value: Any, kept: FieldType, called: str) -> str | None:
    return field_text(value, called) if isinstance(value, bool) else _other_type(value, called)


def _string_text(value: Any, kept: FieldType, called: str) -> str | None:
    if not isinstance(value, str):
        return _other_type(value, called)
    text = field_text(value, called)
    return None if kept.max_bytes is not None and len(value.encode("utf-8")) > kept.max_bytes else text


def _other_type(value: Any, called: str) -> str | None:
    """The schema has another type: it stays here, unless no field could have it."""
    field_text(value, called)
    return None


_WRITERS: Final[Mapping[str, Callable[..., str | None]]] = {
    "float": _float_text,
    "integer": _integer_text,
    "unsigned": _unsigned_text,
    "boolean": _boolean_text,
    "string": _string_text,
}
