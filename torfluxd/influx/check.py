r"""Line protocol, read: which lines of a body InfluxDB would take, and why not the others.

Which InfluxDB that is says a :class:`~torfluxd.influx.grammar.Grammar`: the vendor's. By default it is influxd 1.6.7.

A body is checked as a whole by google-re2, in linear time whatever is in it; only what is not plain is looked at line
by line. Every line we take, influxd takes, alone and in any company: it has no line break and no open quote or escape
in it, so lines of many writers can be joined with newlines, and cut there again. What we refuse and influxd would take
is named in :data:`torfluxd.influx.refusal.STRICTER`, and what is beyond the bounds below.

At 113 bytes a line, 100 or more in a body: 0.2 microseconds a line where all are plain, 0.5 where one is bad, 2 where
tags are not sorted or begin alike; Python's `re` alone takes 1.2 for the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import field, frozen

from torfluxd.influx.api import Api
from torfluxd.influx.dialect import BadLine, Precision
from torfluxd.influx.grammar import GRAMMARS, Grammar, compiled
from torfluxd.influx.line import KEY_JOINT_BYTES, MAX_KEY_BYTES
from torfluxd.influx.refusal import line_end, refusal, stricter_refusal
from torfluxd.influx.stamp import NANOSECONDS, Timestamps

__all__ = ["BadLine", "Checked", "are_like", "are_plain", "check", "merged", "named"]

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

_V1 = GRAMMARS[Api.V1]

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


def named(body: bytes, lines: bytes, refused: Sequence[tuple[int, str]]) -> list[BadLine]:
    """Name good lines that are refused for another reason, as many as bad ones are named.

    :param body: as it came.
    :param lines: the good lines of it (:attr:`Checked.lines`).
    :param refused: which of those, from 0 and in their order, and why.
    """
    good = lines.split(b"\n")
    texts = enumerate(body.split(b"\n"), 1)
    bad = []
    index = -1
    for wanted, reason in refused[:MAX_BAD_LINES]:
        while index < wanted:  # The good lines are in the body, in their order.
            number, text = next(texts)
            index += text.strip(b" \t\x00") == good[index + 1]
        bad.append(BadLine(number, good[wanted][:SHOWN_BYTES], reason))
    return bad


def merged(bad: Sequence[BadLine], others: Sequence[BadLine]) -> tuple[BadLine, ...]:
    """Bad lines in their order; no more of them than are named."""
    return tuple(sorted((*bad, *others), key=lambda line: line.number)[: MAX_BAD_LINES + 1])


_UNTIDY = compiled(rb"(?:^|\n)[ \t#\n]|[ \t](?:\n|\z)")
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


def are_plain(lines: bytes, precision: Precision = "ns", grammar: Grammar = _V1) -> bool:
    """Whether all of a text are good and plain lines, each with its time: then so are they in any other company.

    :param lines: separated by newlines, without one at the end.
    :param precision: the unit of their times.
    :param grammar: of the InfluxDB that is to take them.
    """
    return are_like(lines, grammar.with_time[precision])


def are_like(lines: bytes, pattern: Any, longest: int = _LONGEST_SURE_LINE) -> bool:
    """Whether all of a text is as a pattern of plain lines says, and none of it is longer than that.

    :param lines: separated by newlines, without one at the end.
    :param pattern: of :class:`~torfluxd.influx.grammar.Grammar`.
    :param longest: bytes.
    """
    return (
        _is_utf8(lines)
        and not _has_long_line(lines, min(longest, _LONGEST_SURE_LINE))
        and bool(pattern.fullmatch(lines))
    )


def check(body: bytes, precision: Precision = "ns", grammar: Grammar = _V1) -> Checked:
    """Check a body.

    :param body: line protocol, as it came.
    :param precision: the unit of its times, which decides which of them InfluxDB can hold.
    :param grammar: of the InfluxDB that is to take it.
    """
    lines = body.rstrip(b"\n")
    if not _has_rarities(lines):
        if grammar.with_time[precision].fullmatch(lines):
            return Checked(lines, lines.count(b"\n") + 1, Timestamps.ALL)
        if grammar.without_time.fullmatch(lines):
            return Checked(lines, lines.count(b"\n") + 1, Timestamps.NONE)
    return _Reading(body, precision, grammar).read()


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


def _has_long_line(lines: bytes, longest: int = _LONGEST_SURE_LINE) -> bool:
    start = 0
    while len(lines) - start > longest:
        start = lines.rfind(b"\n", start, start + longest + 1) + 1
        if start == 0:
            return True
    return False


class _Reading:
    """One body, read in runs of good lines and, between them, line by line."""

    def __init__(self, body: bytes, precision: Precision, grammar: Grammar) -> None:
        self._body = body
        self._grammar = grammar
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
        grammar = self._grammar
        for is_sure, runs in ((True, grammar.sure_runs), (False, grammar.any_runs)):
            end: int = runs[self._precision].match(self._body, start).end()
            if end > start:
                run = self._body[start:end]
                tidy = (_TIDYING.sub(b"", run) if _UNTIDY.search(run) else run).rstrip(b"\n")
                if is_sure and not _has_rarities(tidy):
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
        reason = refusal(line, self._factor, self._grammar.rules)
        if reason is None and not (self._grammar.safe.fullmatch(line) and _is_utf8(line)):
            reason = stricter_refusal(line)
        return reason

    def _refuse(self, line: bytes, number: int, reason: str) -> None:
        self._bad.append(BadLine(number, line[:SHOWN_BYTES], reason))
