"""The rules on lines, applied: to many bodies at once where nothing is to be said, else to one line after the other.

What programs send again and again passes at the price of a look: google-re2 says whether all lines have a good form, a
time that is surely in the window, and the fields of the schema; then whether all series and names of fields are known
is asked of two sets. Only what is new or wrong is taken apart.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from attrs import frozen

from torfluxd.gateway.budget import Budget
from torfluxd.gateway.parting import part
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.schema import Schema
from torfluxd.influx.check import are_like, check
from torfluxd.influx.dialect import Precision
from torfluxd.influx.grammar import Grammar
from torfluxd.influx.pieces import Pieces, take_apart, take_series
from torfluxd.influx.stamp import read_time
from torfluxd.influx.window import DAY_NS, Window

__all__ = ["MAX_WRITERS", "Screen", "Screened"]

MAX_WRITERS: Final = 4096
"""Of how many writers the days are remembered, the latest of them: only those who send points from before the last
hundred days have any."""

FIELD_BYTES: Final = 4
"""How long a field, or a tag, is at least, with what parts it from the next: `a=1,`."""

RUN_LINES: Final = 64
"""So many lines of a large body are looked at together, before they are taken apart: a few bad ones cost so many lines
their speed, and not all."""

MAX_FAMILIAR: Final = 500
"""Names of fields that a pattern of lines knows; a program writes tens."""

LEARN_NS: Final = 10 * 10**9
"""How long a pattern is kept at least, whatever names are new: to compile one takes up to ten milliseconds."""

LONG_LINE: Final = "line is too long"
MANY_TAGS: Final = "too many tags in this line"
MANY_FIELDS: Final = "too many fields in this line"
MANY_DAYS: Final = "too many days in this write"
MANY_DAYS_OF_WRITER: Final = "too many days from this writer"

_DROPPED: Final = ""


@frozen
class Screened:
    """The lines of one body, as far as the rules let them pass.

    :ivar lines: separated by newlines; what is to be changed in them is.
    :ivar points: how many.
    :ivar refused: the others, but those that are dropped without a word: which line of those given it was, from 0, and
        why.
    """

    lines: bytes
    points: int
    refused: Sequence[tuple[int, str]] = ()


class Screen:
    """Applies the rules.

    :param rules: what strangers may write.
    :param grammar: of the InfluxDB that the lines are for.
    :param clock: the nanoseconds since 1970.
    :param budget: the names that there are; by default none.
    """

    def __init__(
        self,
        rules: LineRules,
        grammar: Grammar,
        clock: Callable[[], int] = time.time_ns,
        budget: Budget | None = None,
    ) -> None:
        self._rules = rules
        self._grammar = grammar
        self._schema = None if rules.schema is None else Schema(rules.schema, rules.unknown)
        self._budget = budget or Budget(rules)
        self._clock = clock
        self._window = Window(rules.max_age_seconds, rules.max_ahead_seconds, clock)
        self._recent_days = min(rules.max_shard_days_per_body, rules.max_shard_days_per_writer)
        self._outside = (
            f"time outside the window: at most {rules.max_age_seconds / 3600:g} hours old,"
            f" {rules.max_ahead_seconds / 3600:g} hours ahead"
        )
        self._patterns: dict[Precision | None, Any] = {}
        self._familiar: dict[Precision | None, Any] = {}
        self._learnt = self._learnt_at = 0
        self._sure_bytes = self._longest_sure_line()
        self._days: OrderedDict[Hashable, set[int]] = OrderedDict()

    def under(self, rules: LineRules) -> Screen:
        """The screen that applies other rules from now on. Names and days that were counted still count."""
        screen = Screen(rules, self._grammar, self._clock, self._budget.under(rules))
        screen._days = self._days
        return screen

    def _longest_sure_line(self) -> int:
        """A line up to here keeps all bounds that no pattern knows."""
        bounds = [self._rules.max_line_bytes, FIELD_BYTES * self._rules.max_fields]
        if self._schema is not None and self._schema.sure_bytes is not None:
            bounds.append(self._schema.sure_bytes)
        return min(bounds)

    def passes(self, lines: bytes, precision: Precision | None) -> bool:
        """Whether all lines are good and plain, and keep to all rules as they are. New names are counted.

        If it says no, they may do so all the same.

        :param lines: of any bodies, separated by newlines, without one at the end.
        :param precision: the unit of their times, which all of them have; None where none has one.
        """
        if self._window.has_moved():
            self._patterns.clear()
            self._familiar.clear()
        familiar = self._familiar.get(precision)
        width = 2 if precision is None else 3
        if familiar is not None and are_like(lines, familiar, self._sure_bytes):
            series, _ = part(lines, width, with_fields=False)
            if self._budget.series.issuperset(series):
                return True
        pattern = self._patterns.get(precision) or self._pattern(precision)
        if not are_like(lines, pattern, self._sure_bytes) or not self._are_known(lines, width):
            return False
        if self._schema is None:
            self._learn(precision)
        return True

    def _times(self, precision: Precision | None) -> bytes | None:
        return None if precision is None else self._window.sure_times(precision, self._recent_days * DAY_NS)

    def _pattern(self, precision: Precision | None) -> Any:
        times, grammar = self._times(precision), self._grammar
        pattern = grammar.plain_lines(times) if self._schema is None else self._schema.pattern(grammar, times)
        self._patterns[precision] = pattern
        return pattern

    def _learn(self, precision: Precision | None) -> None:
        """Know lines with the names of fields that there are by now by a pattern, too: it costs less than to tell them.

        The names that came first are in it, lest those that somebody makes up take their place.
        """
        names, now = self._budget.fields, self._window.clock()
        if min(len(names), MAX_FAMILIAR) > self._learnt and not 0 <= now - self._learnt_at < LEARN_NS:
            self._familiar.clear()
            self._learnt, self._learnt_at = min(len(names), MAX_FAMILIAR), now
        if precision not in self._familiar and self._learnt:
            first = list(itertools.islice(names, self._learnt))
            self._familiar[precision] = self._grammar.familiar_lines(first, self._times(precision))

    def _are_known(self, lines: bytes, width: int) -> bool:
        """Whether all names of good lines are known, or may be."""
        budget = self._budget
        series, fields = part(lines, width, with_fields=self._schema is None)
        new = () if budget.series.issuperset(series) else set(series) - budget.series
        if not all(map(self._admits_as_it_is, new)):
            return False
        return budget.fields.keys() >= set(fields) or budget.admit_fields(fields) is None

    def _admits_as_it_is(self, series: bytes) -> bool:
        """Whether a series keeps to the rules, with nothing to be changed."""
        if self._schema is not None:  # The pattern says nothing of tags then.
            line = series + b" f=0"
            checked = check(line, grammar=self._grammar)
            if checked.bad or checked.lines != line:
                return False
        pieces = take_series(series)
        return self._settle_series(pieces) is None and pieces.series == series

    def _settle_series(self, pieces: Pieces) -> str | None:
        """Make measurement and tags keep to the rules; why they cannot."""
        if len(pieces.tags) > self._rules.max_tags:
            return MANY_TAGS
        if self._schema is None:
            return self._budget.admit_series(pieces)
        return self._schema.settle_tags(pieces) or self._budget.admit_series(pieces, self._schema.listed(pieces))

    def screen(self, lines: bytes, precision: Precision, writer: Hashable) -> Screened:
        """Apply the rules to the lines of one body, one after the other where that is needed.

        :param lines: good ones, separated by newlines; at least one.
        :param precision: the unit of the times that they have.
        :param writer: whose.
        """
        kept: list[bytes] = []
        refused: list[tuple[int, str]] = []
        days: set[int] = set()
        every = lines.split(b"\n")
        for start in range(0, len(every), RUN_LINES):
            run = every[start : start + RUN_LINES]
            if len(every) > RUN_LINES and self.passes(b"\n".join(run), precision):
                kept += run
                continue
            for index, line in enumerate(run, start):
                pieces = take_apart(line)
                reason = self._time_fault(pieces.time, precision, days, writer) or self._settle(line, pieces)
                if reason is None:
                    kept.append(pieces.line)
                elif reason != _DROPPED:
                    refused.append((index, reason))
        return Screened(b"\n".join(kept), len(kept), refused)

    def _settle(self, line: bytes, pieces: Pieces) -> str | None:
        """Make a line keep to the rules, whatever its time; why it cannot."""
        rules = self._rules
        if len(line) > rules.max_line_bytes:
            return LONG_LINE
        if len(pieces.fields) > rules.max_fields:
            return MANY_FIELDS
        reason = self._settle_series(pieces)
        if self._schema is None:
            return reason or self._budget.admit_fields(key for key, _ in pieces.fields)
        if reason is not None:
            return _DROPPED if self._schema.drops(reason) else reason
        reason = self._schema.settle_fields(pieces)
        return reason if reason is not None or pieces.fields else _DROPPED

    def _time_fault(self, written: bytes, precision: Precision, days: set[int], writer: Hashable) -> str | None:
        """What is wrong with the time of a line.

        :param days: those of its body, before the last that are for everybody.
        """
        if not written:
            return None
        time_ns = read_time(written, precision)
        if not self._window.holds(time_ns):
            return self._outside
        day = time_ns // DAY_NS
        if day in days or day >= self._window.clock() // DAY_NS - self._recent_days:
            return None
        if len(days) >= self._rules.max_shard_days_per_body:
            return MANY_DAYS
        if not self._counts_day(day, writer):
            return MANY_DAYS_OF_WRITER
        days.add(day)
        return None

    def _counts_day(self, day: int, writer: Hashable) -> bool:
        """Whether a writer may have points of this day."""
        days = self._days.setdefault(writer, set())
        self._days.move_to_end(writer)
        if len(self._days) > MAX_WRITERS:
            self._days.popitem(last=False)
        if day not in days and len(days) >= self._rules.max_shard_days_per_writer:
            return False
        days.add(day)
        return True
