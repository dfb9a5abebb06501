"""statsd, read: what a datagram says. Pure.

The protocol is Etsy's (https://github.com/statsd/statsd/blob/master/docs/metric_types.md) with DogStatsD's tags, its
distributions and its packed values. What else DogStatsD sends (events, service checks) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from attrs import field, frozen

__all__ = ["MAX_NAME_CHARACTERS", "MAX_TAGS", "MAX_VALUES", "Kind", "Sample", "read_datagram"]

Kind = Literal["c", "g", "ms", "h", "d", "s"]
"""What is measured: a counter, a gauge, a time in milliseconds, a histogram, a distribution (which here is one), or a
set, of which the different values are counted."""

MAX_NAME_CHARACTERS: Final = 255
"""Longer than the names and values of tags of any program."""

MAX_TAGS: Final = 32
"""Of one sample; the others are left out."""

MAX_VALUES: Final = 1000
"""In one line: a client packs as many as fit into a datagram, some hundreds."""

LEAST_RATE: Final = 0.0001
"""One sample that stands for ten thousand. With less, a single datagram would stand for any number of them."""

LARGEST_NUMBER: Final = 1e300
"""Of these as many as anybody sends can be added up, and each may stand for ten thousand."""

_KINDS: Final[Mapping[str, Kind]] = {"c": "c", "g": "g", "ms": "ms", "h": "h", "d": "d", "s": "s"}
_PASSED_OVER: Final = ("_e{", "_sc|")
_UNUSABLE: Final = re.compile(r"[\x00-\x1f\x7f]")
_BARE_TAG: Final = "true"
"""The value of a tag that is only a name."""


@frozen
class Sample:
    """What one value says. It is a program's data, and not for `repr`.

    :ivar kind: what is measured.
    :ivar name: of the metric.
    :ivar value: a number; of a set, a text.
    :ivar is_change: of a gauge: the number is to be added to it.
    :ivar rate: what share of the samples was sent, above 0 and up to 1.
    :ivar tags: theirs.
    """

    kind: Kind
    name: str = field(repr=False)
    value: float | str = field(repr=False)
    is_change: bool = False
    rate: float = 1.0
    tags: Mapping[str, str] = field(factory=dict, repr=False)


def read_datagram(datagram: bytes) -> Iterator[Sample | None]:
    """Read a datagram: each sample, and None for each line that is none."""
    for line in datagram.split(b"\n"):
        if line.strip():
            yield from _read_line(line)


def _read_line(line: bytes) -> Iterator[Sample | None]:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        yield None
        return
    if text.startswith(_PASSED_OVER):
        return
    packed, *parts = text.split("|")
    name, colon, values = packed.partition(":")
    kind = _KINDS.get(parts[0]) if parts else None
    rate = _rate(parts)
    if kind is None or rate is None or not colon or not _is_usable(name):
        yield None
        return
    tags = _tags(parts)
    for value in values.split(":", MAX_VALUES)[:MAX_VALUES]:
        yield _sample(kind, name, value, rate, tags)


def _sample(kind: Kind, name: str, value: str, rate: float, tags: Mapping[str, str]) -> Sample | None:
    if kind == "s":
        return Sample(kind, name, value, rate=rate, tags=tags) if value else None
    number = _number(value)
    if number is None:
        return None
    return Sample(kind, name, number, kind == "g" and value[:1] in ("+", "-"), rate, tags)


def _number(text: str) -> float | None:
    if not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST_NUMBER else None


def _rate(parts: list[str]) -> float | None:
    """The sample rate; None if it is none."""
    given = [part[1:] for part in parts[1:] if part.startswith("@")]
    if not given:
        return 1.0
    rate = _number(given[0])
    return rate if rate is not None and LEAST_RATE <= rate <= 1 else None


def _tags(parts: list[str]) -> Mapping[str, str]:
    """The tags that a line protocol can hold."""
    given = [part[1:] for part in parts[1:] if part.startswith("#")]
    tags: dict[str, str] = {}
    for tag in (given[0].split(",") if given else ())[:MAX_TAGS]:
        name, colon, value = tag.partition(":")
        if _is_usable(name) and name != "time" and _is_usable(value if colon else _BARE_TAG):
            tags[name] = value if colon else _BARE_TAG
    return tags


def _is_usable(name: str) -> bool:
    """Whether something in line protocol can have this name, or this value of a tag."""
    return bool(name) and len(name) <= MAX_NAME_CHARACTERS and "\\" not in name and not _UNUSABLE.search(name)
