r"""Line protocol, read: which lines of a body influxd 1.6.7 would take, and why not the others.

A body is checked as a whole by google-re2, in linear time whatever is in it; only what is not plain is looked at line
by line. Every line we take, influxd takes, alone and in any company: it has no line break and no open quote or escape
in it, so lines of many writers can be joined with newlines, and cut there again. What we refuse and influxd would take
is named in :data:`torfluxd.influx.refusal.STRICTER`, and what is beyond the bounds below.

At 113 bytes a line, 100 or more in a body: 0.2 microseconds a line where all are plain, 0.5 where one is bad, 2 where
tags are not sorted or begin alike; Python's `re` alone takes 1.2 for the grammar.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

import re2
from attrs import field, frozen

from torfluxd.influx.dialect import BadLine, Precision
from torfluxd.influx.line import KEY_JOINT_BYTES, MAX_INTEGER, MAX_KEY_BYTES, MAX_TIME_NS, MIN_INTEGER
from torfluxd.influx.refusal import line_end, refusal, stricter_refusal
from torfluxd.influx.stamp import NANOSECONDS, Timestamps

__all__ = ["BadLine", "Checked", "are_plain", "check"]

MAX_BAD_LINES: Final = 1000
"""After so many bad lines the rest of a body is one more bad line: naming one takes up to 10 microseconds, in which
nobody else is served."""

MAX_LOOKS: Final = 10_000
"""How many lines of a body are looked at one by one because they are not plain, the bad ones among them; after that the
rest is bad. In what programs send there are none, or few. Blank lines and comments do not count, but for comments with
a quote or a backslash, which may go on in the next line."""

MAX_LOOK_BYTES: Final = 128 * 1024
"""How many bytes such lines may have together: reading one takes up to 0.2 microseconds a byte. A line beyond that is
refused with `NOT_NAMED`."""

SHOWN_BYTES: Final = 1024
"""How much of a bad line is kept to be shown. influxd shows all of it, but cuts its header there."""

TOO_MANY: Final = "too many bad or unusual lines before this one: the rest of the body was not read"
NOT_NAMED: Final = "malformed line"

_LONGEST_SURE_LINE = MAX_KEY_BYTES - KEY_JOINT_BYTES
"""A line up to here has no key that is too long."""


@frozen
class Checked:
    """A body after its check.

    :ivar lines: the good lines, one point each, separated by newlines: no comment, no blank line, no blanks around a
        line. The body itself, not a copy, where it was like that.
    :ivar points: how many they are.
    :ivar timestamps: which of them have a time.
    :ivar bad: the others, in their order.
    """

    lines: bytes = field(repr=lambda lines: f"<{len(lines)} bytes>")
    points: int
    timestamps: Timestamps
    bad: tuple[BadLine, ...] = ()


# The grammar. All of it is bytes: UTF-8 is checked apart.

_CONTROL = rb"\x00-\x1f\x7f"


def _name_character(separators: bytes, but: bytes = b"") -> bytes:
    r"""A plain character, one with backslashes before it that escape nothing, or a separator with one that does.

    Two backslashes before a separator are read in two ways, see :data:`torfluxd.influx.refusal.BACKSLASHES`.
    """
    plain = _CONTROL + separators
    return rb"(?:[^%b%b\\]|\\+[^%b=\"\\]|\\[%b=\"])" % (but, plain, plain, separators)


_MEASUREMENT = rb"%b%b*" % (_name_character(b", ", but=b"#"), _name_character(b", "))
_TEXT = _name_character(b",= ")
_TAG_VALUE = rb"(?:=%b*|%b+)" % (_TEXT, _TEXT)


def _other_than(name: bytes) -> bytes:
    """Any text, also none, but not this: nothing, or another beginning, or the same and then other than the rest."""
    if not name:
        return rb"%b+" % _TEXT
    return rb"(?:%b%b*|%c%b)?" % (_name_character(b",= ", but=name[:1]), _TEXT, name[0], _other_than(name[1:]))


_KEY = rb"(?:%b%b*|t%b)" % (_name_character(b",= ", but=b"t"), _TEXT, _other_than(b"ime"))
"""A key that is not `time`. Lines with that name have their own rules: see :mod:`torfluxd.influx.refusal`."""

_STRING = rb'"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_BLANKS = rb" [ \t]*"

_ANY_TAGS = rb"(?:,%b=%b)*" % (_KEY, _TAG_VALUE)

# Each tag begins with another letter, in the order of the alphabet, as in sorted tags: so no tag is there twice. RE2
# cannot compare two tags; this it can see, and at no cost.
_DISTINCT_TAGS = b"".join(
    rb"(?:,%c%b=%b)?" % (letter, _other_than(b"ime") if letter == 0x74 else _TEXT + b"*", _TAG_VALUE)
    for letter in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
)

_DIGITS = rb"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_ANY_FLOAT = rb"%b(?:[eE][+-]?[0-9]+)?" % _DIGITS

# At most 21 digits before the point and a power of ten below 287: no more than 1.8e308, which is the limit.
_SURE_FLOAT = (
    rb"(?:[0-9]{1,21}(?:\.[0-9]*)?|\.[0-9]+)"
    rb"(?:[eE](?:-[0-9]+|\+?0*(?:1?[0-9]{1,2}|2[0-7][0-9]|28[0-6])))?"
)


def _at_most(limit: int) -> bytes:
    """A whole number from 0 to a limit: shorter, or smaller in one digit after the same beginning, or the limit."""
    digits = b"%d" % limit
    choices = [b"[0-9]{1,%d}" % (len(digits) - 1), digits]
    for place, digit in enumerate(digits):
        if digit > 0x30:
            choices.append(rb"%b[0-%c][0-9]{%d}" % (digits[:place], digit - 1, len(digits) - place - 1))
    return rb"0*(?:%b)" % b"|".join(choices)


def _fields(number: bytes, key: bytes = _KEY) -> bytes:
    integer = rb"(?:-?%b|-0*%d)i" % (_at_most(MAX_INTEGER), -MIN_INTEGER)
    value = rb"(?:-?%b|%b|%b|t|T|true|True|TRUE|f|F|false|False|FALSE)" % (number, integer, _STRING)
    one = rb"%b=%b" % (key, value)
    return rb"%b(?:,%b)*" % (one, one)


def _compiled(pattern: bytes) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return re2.compile(pattern, options)


def _time(precision: Precision) -> bytes:
    return rb"-?%b" % _at_most(MAX_TIME_NS // NANOSECONDS[precision])


def _lines(line: bytes) -> bytes:
    return rb"(?:%b\n)*%b" % (line, line)


_PLAIN = rb"%b%b %b" % (_MEASUREMENT, _DISTINCT_TAGS, _fields(_SURE_FLOAT))
_WITHOUT_TIME = _compiled(_lines(_PLAIN))


@cache
def _with_time(precision: Precision) -> Any:
    """Plain lines that all have a time."""
    return _compiled(_lines(rb"%b %b" % (_PLAIN, _time(precision))))


@cache
def _run(tags: bytes, precision: Precision) -> Any:
    """Lines with such tags, blank lines and comments: as many as there are in a row."""
    point = rb"%b%b%b%b(?:%b(?:%b *)?)?" % (
        _MEASUREMENT,
        tags,
        _BLANKS,
        _fields(_SURE_FLOAT),
        _BLANKS,
        _time(precision),
    )
    line = rb'[ \t]*(?:%b|#[^\n"\\]*)?' % point
    return _compiled(rb"(?:%b\n)*(?:%b\z)?" % (line, line))


_SAFE = _compiled(
    rb"%b(?:,%b+=%b)*%b%b(?:%b(?:-?[0-9]+ *)?)?"
    % (_MEASUREMENT, _TEXT, _TAG_VALUE, _BLANKS, _fields(_ANY_FLOAT, _TEXT + b"+"), _BLANKS)
)
"""A line that means one thing, whatever its numbers."""

_UNTIDY = _compiled(rb"(?:^|\n)[ \t#\n]|[ \t](?:\n|\z)")
_TIDYING = re.compile(rb"^(?:[ \t]*+(?:#[^\n]*+)?+(?:\n|\Z))++|^[ \t]++|[ \t]++$", re.MULTILINE)

# For lines that are good but for their keys.
_SERIES = re.compile(rb"[^ \\]*+(?:\\.[^ \\]*+)*+")
_TAG_KEYS = re.compile(rb",([^=\\]*+(?:\\.[^=\\]*+)*+)=[^,\\]*+(?:\\.[^,\\]*+)*+")
_STRING_VALUES = re.compile(rb'(?<!\\)="[^"\\]*+(?:\\.[^"\\]*+)*+"')
_EQUALS = re.compile(rb"(?<!\\)=")


def _series(line: bytes) -> bytes:
    """The measurement and the tags of a line."""
    if b"\\" not in line:
        return line[: line.find(b" ")]
    found = _SERIES.match(line)
    return line if found is None else found[0]


def _has_good_keys(line: bytes) -> bool:
    """Whether no two tags have one key, and no key is too long. It may err on the safe side.

    :param line: one point, without blanks around it.
    """
    series = _series(line)
    commas = series.count(b",")
    if commas > 1:
        keys = _TAG_KEYS.findall(series, series.find(b","))
        if len(set(keys)) != commas:
            return False
    return len(line) <= _LONGEST_SURE_LINE or _has_short_keys(line[len(series) :], _LONGEST_SURE_LINE - len(series))


def _has_short_keys(fields: bytes, limit: int) -> bool:
    return max(map(len, _EQUALS.split(_STRING_VALUES.sub(b"=", fields)))) <= limit


def are_plain(lines: bytes, precision: Precision = "ns") -> bool:
    """Whether all of a text are good and plain lines, each with its time: then so are they in any other company.

    :param lines: separated by newlines, without one at the end.
    :param precision: the unit of their times.
    """
    return not _has_rarities(lines) and bool(_with_time(precision).fullmatch(lines))


def check(body: bytes, precision: Precision = "ns") -> Checked:
    """Check a body.

    :param body: line protocol, as it came.
    :param precision: the unit of its times, which decides which of them InfluxDB can hold.
    """
    lines = body.rstrip(b"\n")
    if not _has_rarities(lines):
        for timestamps, plain in ((Timestamps.ALL, _with_time(precision)), (Timestamps.NONE, _WITHOUT_TIME)):
            if plain.fullmatch(lines):
                return Checked(lines, lines.count(b"\n") + 1, timestamps)
    return _Reading(body, precision).read()


def _has_rarities(lines: bytes) -> bool:
    """Whether there is what no pattern finds: broken UTF-8, a key that may be too long."""
    return not _is_utf8(lines) or _has_long_line(lines)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_long_line(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > _LONGEST_SURE_LINE:
        start = lines.rfind(b"\n", start, start + _LONGEST_SURE_LINE + 1) + 1
        if start == 0:
            return True
    return False


class _Reading:
    """One body, read in runs of good lines and, between them, line by line."""

    def __init__(self, body: bytes, precision: Precision) -> None:
        self._body = body
        self._precision: Precision = precision
        self._factor = NANOSECONDS[precision]
        self._kept: list[bytes] = []
        self._bad: list[BadLine] = []
        self._looks = 0
        self._look_bytes = 0
        self._full = False

    def read(self) -> Checked:
        body = self._body
        position = 0
        number = 1
        while position < len(body) and not self._full:
            end = self._take_run(position, number)
            if end == position:
                end = line_end(body, position) + 1
                self._take_line(body[position : end - 1].removesuffix(b"\n"), number)
            number += body.count(b"\n", position, end)
            position = end
        lines = b"\n".join(self._kept)
        return Checked(lines, lines.count(b"\n") + bool(lines), Timestamps.SOME, tuple(self._bad))

    def _take_run(self, start: int, number: int) -> int:
        """Take all good lines that begin here; where they end."""
        for tags in (_DISTINCT_TAGS, _ANY_TAGS):
            end: int = _run(tags, self._precision).match(self._body, start).end()
            if end > start:
                run = self._body[start:end]
                tidy = (_TIDYING.sub(b"", run) if _UNTIDY.search(run) else run).rstrip(b"\n")
                if tags is _DISTINCT_TAGS and not _has_rarities(tidy):
                    self._kept += [tidy] if tidy else []
                else:
                    self._take_lines(run, number)
                return end
        return start

    def _take_lines(self, run: bytes, number: int) -> None:
        sound = _is_utf8(run)
        for offset, line in enumerate(run.split(b"\n")):
            tidy = line.strip(b" \t")
            if not tidy or tidy.startswith(b"#"):
                continue
            if (sound or _is_utf8(tidy)) and _has_good_keys(tidy):
                self._kept.append(tidy)
            else:
                self._take_line(line, number + offset)
            if self._full:
                return

    def _take_line(self, line: bytes, number: int) -> None:
        """Keep one line, or say what is wrong with it, within the limits of what a body may cost."""
        self._looks += 1
        self._look_bytes += len(line)
        line = line.lstrip(b" \t\x00")
        if not line or (line.startswith(b"#") and self._looks <= MAX_LOOKS):
            return
        if self._looks > MAX_LOOKS or len(self._bad) >= MAX_BAD_LINES:
            self._refuse(line, number, TOO_MANY)
            self._full = True
        elif self._look_bytes > MAX_LOOK_BYTES:
            self._refuse(line, number, NOT_NAMED)
        elif (reason := self._reason(line)) is not None:
            self._refuse(line, number, reason)
        else:
            self._kept.append(line.rstrip(b" \t"))

    def _reason(self, line: bytes) -> str | None:
        reason = refusal(line, self._factor)
        if reason is None and not (_SAFE.fullmatch(line) and _is_utf8(line)):
            reason = stricter_refusal(line)
        return reason

    def _refuse(self, line: bytes, number: int, reason: str) -> None:
        self._bad.append(BadLine(number, line[:SHOWN_BYTES], reason))
