r"""Why a line is refused: in influxd's own words where influxd would refuse it, in ours where only we do.

Slow, and only for lines that :mod:`torfluxd.influx.check` refuses. The order of the questions is influxd 1.6.7's,
because its first answer is the one that is shown (tried, and read in ``models/points.go``): the measurement, the tags,
the fields one after the other, the time. Those of 2.x and 3.x have the words of 1.x where they have none of their own.
"""

from __future__ import annotations

import re
from math import isinf
from typing import Final

from torfluxd.influx.line import KEY_JOINT_BYTES, MAX_KEY_BYTES, MAX_TIME_NS, MAX_UNSIGNED, MIN_TIME_NS
from torfluxd.influx.rules import Rules

__all__ = ["STRICTER", "line_end", "refusal", "stricter_refusal"]

NOT_UTF8: Final = "invalid UTF-8"
"""A measurement with such a name breaks influxd's own file of names: no `DROP MEASUREMENT` removes it."""

CONTROL_CHARACTER: Final = "control character"
"""In a name it is a mistake, or an attack on the terminal where the name is shown. A line that ends with CRLF has a
carriage return in its last value, which influxd refuses, too, but after a string, where it is stored."""

LINE_BREAK: Final = "line break in a string or a name"
"""Other readers, VictoriaMetrics and we when we bisect a batch, end the line there: the rest would be a forged
point."""

AFTER_STRING: Final = "characters after the closing quote"
"""influxd cuts the last one off, and stores the others and the quote as part of the string."""

BACKSLASHES: Final = "backslash that can be read in two ways"
"""influxd finds the end of a line by one rule (a backslash and what follows are a pair) and the parts of a name by
another (a separator behind a backslash is escaped): after two backslashes they differ, and one line swallows the next
or gets a field that cannot be read back."""

MISCOUNTED: Final = "field without a value"
"""influxd counts commas and equals signs: a field with none and a string with one too many make up for each other, and
what it stores is neither: ``m a="",c,b="x=t``."""

STRICTER: Final = (NOT_UTF8, CONTROL_CHARACTER, LINE_BREAK, AFTER_STRING, BACKSLASHES, MISCOUNTED)
"""Why we refuse what influxd 1.6.7 takes. There are no other reasons."""

_OUR_OWN = (
    (LINE_BREAK, re.compile(rb"\n")),
    (CONTROL_CHARACTER, re.compile(rb"[\x00-\x1f\x7f]")),
    (AFTER_STRING, re.compile(rb'=(?:"(?:[^"\\]|\\.)*+"(?![, ]|\Z))', re.DOTALL)),
)

_SEPARATOR = re.compile(rb"(?<!\\)[, ]")
_TAG_SEPARATOR = re.compile(rb"(?<!\\)[,= ]")
_BLANK = re.compile(rb"[ \t\x00]*+")
_TO_VALUE = re.compile(rb'(?:[^\\"=, ]|\\.)*+\\?+', re.DOTALL)
_TOKEN = re.compile(rb"[^, ]*+")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+("?+)', re.DOTALL)
_BOOLEAN = re.compile(rb"t|T|true|True|TRUE|f|F|false|False|FALSE")
_INTEGER = re.compile(rb"-?+[0-9]++i")
_FLOAT = re.compile(rb"-?+(?=\.?+[0-9])[0-9]*+\.?+[0-9]*+(?:[eE][+-]?+[0-9]++)?+")
_UNSIGNED = re.compile(rb"[0-9]++u")
_HALF_NUMBER = re.compile(rb"-?+\.|[^.]*+\.(?![0-9])")
_FLOAT_LIKE = re.compile(rb"-?+(?:[0-9.]|[eE][+-]?+)++")
_TIME_OF = '"time" on measurement "{}" is invalid'
_TIME = re.compile(rb"-?+[0-9]*+(?= |\n|\Z)")

_KEY = re.compile(rb"[^\\ \n]*+(?:\\.[^\\ \n]*+)*+", re.DOTALL)
_FIELDS = re.compile(rb'[^\\"\n]*+(?:\\.[^\\"\n]*+)*+', re.DOTALL)
_STRINGS = re.compile(rb'(?:"(?:[^\\"]|\\.)*+(?:"|\Z)(?:[^\\",=\n]|\\.)*+)++', re.DOTALL)
_PAIR = re.compile(rb"\\.", re.DOTALL)

MAX_STRINGS = 4096
"""How many strings of a bad line are looked at to find where it ends; after that, it takes the rest of its body."""


class _RefusedError(Exception):
    """Carries the reason out of the scan."""


def line_end(body: bytes, start: int) -> int:
    """Where the line that begins at `start` ends for influxd: at a newline, though not one in a string, or escaped."""
    end = len(body)
    position = _end(_KEY, body, start)
    if position >= end or body[position] == 0x0A:
        return position
    open_values = 0  # Equals signs less commas: a quote opens a string where a value is due.
    for _ in range(MAX_STRINGS):
        plain = _end(_FIELDS, body, position)
        open_values += _difference(body[position:plain])
        if plain >= end or body[plain] == 0x0A:
            return plain
        if body[plain] == 0x5C:  # The last byte of the body.
            return end
        position = plain + 1
        if open_values > 0:
            strings = _STRINGS.match(body, plain)
            if strings is None:  # The last byte of the body escapes what is not there.
                return end
            position = strings.end()
    return end


def _difference(text: bytes) -> int:
    plain = _PAIR.sub(b"", text)
    return plain.count(b"=") - plain.count(b",")


def _end(pattern: re.Pattern[bytes], text: bytes, position: int) -> int:
    found = pattern.match(text, position)
    return position if found is None else found.end()


def refusal(line: bytes, factor: int, rules: Rules) -> str | None:
    """Why InfluxDB refuses a line, or None if it takes it.

    :param line: as InfluxDB cuts it out of its body, without blanks before it.
    :param factor: nanoseconds in one unit of its time.
    :param rules: what that InfluxDB takes.
    """
    try:
        key_end, tags = _scan_key(line, rules)
        fields_end, fields = _scan_fields(line, _end(_BLANK, line, key_end), key_end, rules)
        _scan_time(line, _end(_BLANK, line, fields_end), factor)
    except _RefusedError as refused:
        return str(refused)
    if b"time" in tags:
        return f"invalid tag key: input tag {_TIME_OF.format(_measurement(line))}"
    if set(fields) == {b"time"} or (b"time" in fields and not rules.time_beside):
        return f"invalid field name: input field {_TIME_OF.format(_measurement(line))}"
    return None


def stricter_refusal(line: bytes) -> str:
    """Why we refuse a line that influxd takes: one of `STRICTER`."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return NOT_UTF8
    for reason, pattern in _OUR_OWN:
        if pattern.search(line):
            return reason
    return BACKSLASHES if b"\\\\" in line else MISCOUNTED


def _measurement(line: bytes) -> str:
    return _SEPARATOR.split(line, 1)[0].decode("utf-8", "replace")


def _scan_key(line: bytes, rules: Rules) -> tuple[int, list[bytes]]:
    """Where measurement and tags end, and the keys of the tags."""
    if line.startswith(b","):
        raise _RefusedError("missing measurement")
    keys = []
    found = _SEPARATOR.search(line, 1)
    while found is not None and found[0] == b",":
        start = found.end()
        found = _scan_tag_key(line, start)
        keys.append(line[start : found.start()])
        found = _TAG_SEPARATOR.search(line, found.end() + 1)
        if found is not None and found[0] == b"=":
            raise _RefusedError("invalid tag format")
    if found is None:
        raise _RefusedError("missing fields")
    for key in keys:
        if key in rules.reserved_tags:
            raise _RefusedError(f'cannot use reserved tag key "{key.decode("ascii")}"')
    if len(set(keys)) != len(keys):
        raise _RefusedError("duplicate tags")
    if found.start() > MAX_KEY_BYTES:
        raise _RefusedError(f"max key length exceeded: {found.start()} > {MAX_KEY_BYTES}")
    return found.start(), keys


def _scan_tag_key(line: bytes, start: int) -> re.Match[bytes]:
    """The equals sign between a tag's key and its value."""
    if line[start : start + 1] in (b"", b" ", b",", b"="):
        raise _RefusedError("missing tag key")
    found = _TAG_SEPARATOR.search(line, start + 1)
    if found is None or found[0] != b"=" or line[found.end() : found.end() + 1] in (b"", b",", b" "):
        raise _RefusedError("missing tag value")
    return found


def _scan_fields(line: bytes, start: int, key_size: int, rules: Rules) -> tuple[int, list[bytes]]:
    """Where the fields end, and their keys."""
    keys = []
    position = key_start = start
    commas = 0
    while True:
        position = _end(_TO_VALUE, line, position)
        special = line[position : position + 1]
        if special == b"=":
            keys.append(line[key_start:position])
            position = _scan_value(line, position, rules)
        elif special == b",":
            commas += 1
            position = key_start = position + 1
        elif special == b'"':
            position = _scan_string(line, position) if len(keys) > commas else position + 1
        else:
            break
    if commas != len(keys) - 1:
        raise _RefusedError("invalid field format")
    size = key_size + KEY_JOINT_BYTES + max(map(len, keys))
    if size > MAX_KEY_BYTES:
        raise _RefusedError(f"max key length exceeded: {size} > {MAX_KEY_BYTES}")
    return position, keys


def _scan_string(line: bytes, start: int) -> int:
    found = _STRING.match(line, start)
    if found is None or not found[1]:
        raise _RefusedError("unbalanced quotes")
    return found.end()


def _scan_value(line: bytes, equals: int, rules: Rules) -> int:
    """Where the value ends that begins after this equals sign."""
    if line[equals - 1 : equals] in (b" ", b",") and line[equals - 2 : equals - 1] != b"\\":
        raise _RefusedError("missing field key")
    first = line[equals + 1 : equals + 2]
    if first in (b"", b",", b" "):
        raise _RefusedError("missing field value")
    if first == b'"':
        return equals + 1
    end = _end(_TOKEN, line, equals + 1)
    token = line[equals + 1 : end]
    if first in b"0123456789.-Nn":
        _check_number(token, rules)
    elif not _BOOLEAN.fullmatch(token):
        raise _RefusedError("invalid boolean")
    return end


def _check_number(token: bytes, rules: Rules) -> None:
    if _INTEGER.fullmatch(token):
        _check_integer(token[:-1], "unable to parse integer {}: ")
    elif rules.unsigned and _UNSIGNED.fullmatch(token):
        _check_unsigned(token[:-1])
    elif not _FLOAT_LIKE.fullmatch(token) or token.count(b".") > 1 or token in (b".", b"-."):
        raise _RefusedError("invalid number")
    elif not _FLOAT.fullmatch(token) or isinf(float(token)):
        raise _RefusedError("invalid float")
    elif not rules.half_numbers and _HALF_NUMBER.match(token):
        raise _RefusedError("invalid number")


def _check_unsigned(digits: bytes) -> None:
    text = digits.decode("ascii")
    if len(text.lstrip("0")) > 20 or int(text.lstrip("0") or "0") > MAX_UNSIGNED:
        parsing = f'strconv.ParseUint: parsing "{text}": value out of range'
        raise _RefusedError(f"unable to parse unsigned {text}: {parsing}")


def _check_integer(digits: bytes, opening: str) -> int:
    """The number, if it fits into 64 bits with sign."""
    text = digits.decode("ascii")
    if text == "-":
        raise _RefusedError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    # 20 digits suffice, and int() takes quadratic time for more.
    number = int(text) if len(text.lstrip("-0")) <= 20 else 2**64
    if not -(2**63) <= number < 2**63:
        raise _RefusedError(f'{opening.format(text)}strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _scan_time(line: bytes, start: int, factor: int) -> None:
    found = _TIME.match(line, start)
    if found is None:
        raise _RefusedError("bad timestamp")
    if not found[0]:
        return
    if not MIN_TIME_NS <= _check_integer(found[0], "") * factor <= MAX_TIME_NS:
        raise _RefusedError(f"time outside range {MIN_TIME_NS} - {MAX_TIME_NS}")
    if line[found.end() :].strip(b" "):
        raise _RefusedError("point is invalid")
