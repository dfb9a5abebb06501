"""A schema out of a sample: what `torfluxd schema suggest` proposes. Pure.

What it proposes is a beginning: a person reads it, and takes out what she does not want to know. A tag whose name or
values look as if they name a machine or a person is proposed to be dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define, field, frozen

from torfluxd.influx.check import BadLine, check
from torfluxd.influx.parts import split_line
from torfluxd.influx.pieces import FieldKind
from torfluxd.settings.sample import written_field, written_tag
from torfluxd.settings.schema import FieldType, TagRule, name_fault
from torfluxd.settings.toml import written_key

__all__ = ["Suggestion", "suggest"]

FEW_VALUES: Final = 16
"""A tag with no more values than this in the sample is proposed with a list of them."""

MAX_LIST_CHARACTERS: Final = 2000
"""Values that are longer together make no list that a person reads."""

PIECE_BYTES: Final = 256 * 1024
"""How much of a sample is checked at once: the bounds on bad lines in :mod:`torfluxd.influx.check` are for one body."""

MIN_STRING_BYTES: Final = 64
"""The least bound that is proposed for a string; else the next power of two beyond twice the longest in the sample."""

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_NAMING_WORDS: Final = frozenset(
    {
        *(
            "account",
            "addr",
            "address",
            "clientid",
            "computer",
            "cookie",
            "customer",
            "deviceid",
            "email",
            "fqdn",
            "guid",
        ),
        *(
            "host",
            "hostid",
            "hostname",
            "hwid",
            "imei",
            "instance",
            "ip",
            "ipv",
            "login",
            "mac",
            "machine",
            "machineid",
        ),
        *(
            "mail",
            "node",
            "nodename",
            "owner",
            "peer",
            "person",
            "phone",
            "serial",
            "server",
            "session",
            "token",
            "uid",
        ),
        *("user", "userid", "username", "uuid"),
    }
)
_RELEASE_WORDS: Final = frozenset({"build", "commit", "release", "revision", "version"})
"""What is said of the software: four numbers with dots are no address there, nor are forty hexadecimal digits an id."""

_NAMING_VALUE = re.compile(
    r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"  # a UUID
    r"|(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}"  # a MAC address
    r"|\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?"  # IPv4, with a port
    r"|(?=.*:.*:)[0-9a-f:.]{3,45}(?:%\w+)?"  # IPv6
    r"|[^@\s]+@[^@\s]+\.[^@\s]+"  # an address of e-mail
    r"|[0-9a-f]{16,}|[a-z2-7]{56}\.onion",  # digests, ids, onion addresses
    re.IGNORECASE | re.ASCII,
)
_VERSION = re.compile(r"v?\d+(?:\.\d+)+\S*", re.ASCII)


@frozen
class Suggestion:
    """What is proposed.

    :ivar text: the tables, with comments, as they can stand in a configuration; empty when nothing could be read.
    :ivar lines: how many lines could be read.
    :ivar bad: those that could not be.
    """

    text: str = field(repr=False)
    lines: int
    bad: Sequence[BadLine] = field(repr=False)


@define
class _Tag:
    """What a sample shows of a tag; no values are kept when they are many."""

    lines: int = 0
    values: set[str] = field(factory=set)
    is_naming: bool = False

    def see(self, value: str) -> None:
        self.lines += 1
        self.is_naming = self.is_naming or _NAMING_VALUE.fullmatch(value) is not None
        if len(self.values) <= FEW_VALUES:
            self.values.add(value)


@define
class _Field:
    """What a sample shows of a field."""

    kinds: Counter[FieldKind] = field(factory=Counter)
    longest_bytes: int = 0

    def see(self, kind: FieldKind, text: str) -> None:
        self.kinds[kind] += 1
        if kind == "string":
            self.longest_bytes = max(self.longest_bytes, len(text.encode()))


@define
class _Measurement:
    lines: int = 0
    tags: dict[str, _Tag] = field(factory=dict)
    fields: dict[str, _Field] = field(factory=dict)


def suggest(sample: bytes) -> Suggestion:
    """Propose a schema.

    :param sample: line protocol, with times in any precision.
    """
    seen: dict[str, _Measurement] = {}
    bad: list[BadLine] = []
    lines = 0
    for first, piece in _pieces(sample):
        checked = check(piece)
        bad += (BadLine(first + one.number, one.text, one.reason) for one in checked.bad)
        lines += checked.points
        for line in checked.lines.split(b"\n") if checked.points else ():
            _see(seen, line)
    return Suggestion("\n".join(_written(seen, lines, len(bad))) + "\n" if seen else "", lines, bad)


def _pieces(sample: bytes) -> Iterator[tuple[int, bytes]]:
    """A sample in pieces of whole lines, and how many lines stand before each."""
    start = lines = 0
    while start < len(sample):
        end = sample.find(b"\n", start + PIECE_BYTES)
        end = len(sample) if end < 0 else end + 1
        piece = sample[start:end]
        yield lines, piece
        lines += piece.count(b"\n")
        start = end


def _see(seen: dict[str, _Measurement], line: bytes) -> None:
    parts = split_line(line)
    measurement = seen.setdefault(parts.measurement, _Measurement())
    measurement.lines += 1
    for name, value in parts.tags.items():
        measurement.tags.setdefault(name, _Tag()).see(value)
    for name, (kind, text) in parts.fields.items():
        measurement.fields.setdefault(name, _Field()).see(kind, text)


def _written(seen: dict[str, _Measurement], lines: int, bad: int) -> Iterator[str]:
    unread = f"; {_counted(bad, 'line')} could not be read" if bad else ""
    yield f"# Proposed after {_counted(lines, 'line')} of a sample{unread}. Read it before you use it: what stands"
    yield "# here, you will be told. Tags that look as if they name a machine or a person are dropped."
    for name, measurement in sorted(seen.items()):
        yield ""
        yield from _measurement_lines(name, measurement)


def _measurement_lines(name: str, measurement: _Measurement) -> Iterator[str]:
    fields = {one: kind for one, kind in sorted(measurement.fields.items()) if name_fault(one) is None}
    if name_fault(name, measurement=True) is not None or not fields:
        yield "# A measurement is left out, because no schema can hold its name or those of its fields."
        return
    key = f"schema.{written_key(name)}"
    yield f"[{key}]  # {_counted(measurement.lines, 'line')}"
    tags = {one: tag for one, tag in sorted(measurement.tags.items()) if name_fault(one) is None}
    if tags:
        yield ""
        yield f"[{key}.tags]"
        yield from (f"{written_key(one)} = {_tag(one, tag)}" for one, tag in tags.items())
    yield ""
    yield f"[{key}.fields]"
    yield from (f"{written_key(one)} = {_field(one, seen)}" for one, seen in fields.items())
    left_out = len(measurement.tags) + len(measurement.fields) - len(tags) - len(fields)
    if left_out:
        yield f"# {_counted(left_out, 'name')} of tags or fields left out, because no schema can hold them."


def _tag(name: str, tag: _Tag) -> str:
    """The rule for a tag, and why."""
    values = tuple(sorted(tag.values))
    rule: TagRule = "free"
    if _is_naming(name) or (tag.is_naming and _RELEASE_WORDS.isdisjoint(_words(name))):
        rule, why = "drop", "looks as if it names a machine or a person"
    elif len(values) > FEW_VALUES:
        why = f"more than {FEW_VALUES} values"
    elif not _RELEASE_WORDS.isdisjoint(_words(name)) or any(_VERSION.fullmatch(value) for value in values):
        why = "versions: new ones will come"
    elif sum(map(len, values)) > MAX_LIST_CHARACTERS or any(_has_fault(value) for value in values):
        why = "its values make no list"
    else:
        rule, why = values, 'all others become "other"'
    return f"{written_tag(rule)}  # {why}"


def _has_fault(value: str) -> bool:
    return value != "time" and name_fault(value) is not None


def _field(name: str, seen: _Field) -> str:
    """The type of a field, and what is odd about it."""
    (kind, _), *others = seen.kinds.most_common()
    if others and set(seen.kinds) == {"float", "integer"}:
        kind = "float"
    limit = max(MIN_STRING_BYTES, 1 << (2 * seen.longest_bytes).bit_length()) if kind == "string" else None
    remarks = []
    if others:
        remarks.append(f"also seen as {', '.join(sorted(set(seen.kinds) - {kind}))}, which InfluxDB does not mix")
    if kind == "string" and _is_naming(name):
        remarks.append("looks as if it names a machine or a person: think it over")
    return written_field(FieldType(kind, limit)) + (f"  # {'; '.join(remarks)}" if remarks else "")


def _is_naming(name: str) -> bool:
    """Whether the name of a tag says that its values tell machines or people apart."""
    words = _words(name)
    return words[-1:] == ["id"] or not _NAMING_WORDS.isdisjoint(words)


def _words(name: str) -> list[str]:
    """The words of a name: `clientId`, `client_id` and `CLIENT-ID` have two, the same."""
    return [word.lower() for word in _WORDS.findall(name)]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
