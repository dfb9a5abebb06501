"""Line protocol in patterns, as each generation of InfluxDB reads it, by the rules of :mod:`torfluxd.influx.rules`.

Pure. A pattern is compiled when it is first asked for, which takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import re2

from torfluxd.influx.dialect import Precision
from torfluxd.influx.line import MAX_INTEGER, MAX_TIME_NS, MAX_UNSIGNED, MIN_INTEGER
from torfluxd.influx.pieces import FieldKind
from torfluxd.influx.rules import RULES, Rules
from torfluxd.influx.stamp import NANOSECONDS

__all__ = ["GRAMMARS", "MAX_COUNTED_BYTES", "NOTHING", "Grammar", "compiled"]

# All of it is bytes: UTF-8 is checked apart.

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


def _other_than(names: Collection[bytes]) -> bytes:
    """Any text, also none, but none of these: another beginning, or the same and then other than the rests."""
    starts = sorted({name[:1] for name in names if name})
    choices = [rb"%b%b*" % (_name_character(b",= ", but=b"".join(starts)), _TEXT)]
    choices += [start + _rest_other_than(start, names) for start in starts]
    return rb"(?:%b)%b" % (b"|".join(choices), b"" if b"" in names else b"?")


_FIRST_LETTERS = [b"%c" % letter for letter in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"]


def _rest_other_than(start: bytes, names: Collection[bytes]) -> bytes:
    """What may follow a beginning that is one character long, so that the whole is none of these names."""
    rests = [name[1:] for name in names if name[:1] == start]
    return _other_than(rests) if rests else _TEXT + b"*"


_ANY_SERIES = rb"(?:[^%b \\]|\\[^%b])*" % (_CONTROL, _CONTROL)
_STRING = rb'"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'


def _at_most(limit: int) -> bytes:
    """A whole number from 0 to a limit: shorter, or smaller in one digit after the same beginning, or the limit."""
    digits = b"%d" % limit
    choices = [b"[0-9]{1,%d}" % (len(digits) - 1), digits]
    for place, digit in enumerate(digits):
        if digit > 0x30:
            choices.append(rb"%b[0-%c][0-9]{%d}" % (digits[:place], digit - 1, len(digits) - place - 1))
    return rb"0*(?:%b)" % b"|".join(choices)


_SHORT_STRING = rb'"[^\x00-\x08\x0a-\x1f\x7f"\\]{0,%d}"'
_BOOLEAN = rb"(?:t|T|true|True|TRUE|f|F|false|False|FALSE)"

MAX_COUNTED_BYTES: Final = 64
"""Up to which length a pattern counts the bytes of a string: each one takes room in it."""

NOTHING: Final = rb"[^\x00-\xff]"
"""A pattern that nothing matches."""

_INTEGER = rb"(?:-?%b|-0*%d)i" % (_at_most(MAX_INTEGER), -MIN_INTEGER)
_UNSIGNED = rb"%bu" % _at_most(MAX_UNSIGNED)

# At most 21 digits before the point and a power of ten below 287: no more than 1.8e308, which is the limit.
_SURE_DIGITS = rb"[0-9]{1,21}"
_SURE_POWER = rb"(?:[eE](?:-[0-9]+|\+?0*(?:1?[0-9]{1,2}|2[0-7][0-9]|28[0-6])))?"
_ANY_POWER = rb"(?:[eE][+-]?[0-9]+)?"


def _fraction(whole: bytes, rules: Rules) -> bytes:
    """Digits with a point, or without, of which these stand before it."""
    if rules.half_numbers:
        return rb"(?:%b(?:\.[0-9]*)?|\.[0-9]+)" % whole
    return rb"%b(?:\.[0-9]+)?" % whole


def _time(precision: Precision) -> bytes:
    return rb"-?%b" % _at_most(MAX_TIME_NS // NANOSECONDS[precision])


def _lines(line: bytes) -> bytes:
    return rb"(?:%b\n)*%b" % (line, line)


def compiled(pattern: bytes) -> Any:
    """A pattern of google-re2 for bytes, without captures."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    return re2.compile(pattern, options)


class _Patterns(dict[Precision, Any]):
    """A pattern for each precision, compiled when it is first asked for.

    :param make: writes it.
    """

    def __init__(self, make: Callable[[Precision], bytes]) -> None:
        self._make = make

    def __missing__(self, precision: Precision) -> Any:
        pattern = self[precision] = compiled(self._make(precision))
        return pattern


class Grammar:
    """The patterns of one generation.

    :param rules: what it takes.
    :ivar rules: the same.
    :ivar with_time: plain lines that all have a time.
    :ivar sure_runs: lines with tags of which none is there twice, blank lines and comments: as many as there are in a
        row.
    :ivar any_runs: the same with any tags.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        # A key that is not `time`. Lines with that name have their own rules: see `refusal`.
        self._key = _other_than({b"", b"time"})
        self._tag_key = _other_than({b"", b"time", *rules.reserved_tags})
        self._blanks = rb" [ \t]*" if rules.tabs else rb" +"
        self._plain = rb"%b%b %b" % (_MEASUREMENT, self._distinct_tags(), self._sure_fields())
        self.with_time = _Patterns(lambda precision: _lines(rb"%b %b" % (self._plain, _time(precision))))
        self.sure_runs = _Patterns(lambda precision: self._run(self._distinct_tags(), precision))
        self.any_runs = _Patterns(lambda precision: self._run(self._any_tags(), precision))

    @cached_property
    def without_time(self) -> Any:
        """Plain lines that all have no time."""
        return compiled(_lines(self._plain))

    @cached_property
    def safe(self) -> Any:
        """A line that means one thing, whatever its numbers."""
        fields = self._fields(_fraction(b"[0-9]+", self.rules) + _ANY_POWER, _TEXT + b"+")
        return compiled(
            rb"%b(?:,%b+=%b)*%b%b(?:%b(?:-?[0-9]+ *)?)?"
            % (_MEASUREMENT, _TEXT, _TAG_VALUE, self._blanks, fields, self._blanks)
        )

    def plain_lines(self, time: bytes | None) -> Any:
        """Plain lines that all have such a time.

        :param time: a pattern; None for lines without a time.
        """
        return self.without_time if time is None else compiled(_lines(rb"%b %b" % (self._plain, time)))

    def typed_lines(self, points: Iterable[tuple[bytes, Iterable[bytes]]], time: bytes | None) -> Any:
        """Lines of these measurements with these fields, in any order, and such a time. Of their tags this says
        nothing, but where they end: whoever asks knows each series.

        :param points: a measurement, and patterns of what its fields may be (:meth:`typed_field`).
        :param time: a pattern; None for lines without a time.
        """
        choices = []
        for measurement, fields in points:
            field = b"|".join(fields)
            choices.append(rb"%b(?:,%b)? (?:%b)(?:,(?:%b))*" % (re2.escape(measurement), _ANY_SERIES, field, field))
        point = rb"(?:%b)" % (b"|".join(choices) or NOTHING)
        return compiled(_lines(point if time is None else rb"%b %b" % (point, time)))

    def familiar_lines(self, fields: Iterable[bytes], time: bytes | None) -> Any:
        """Lines of any series, of which this says nothing but where it ends, and such fields and such a time.

        :param fields: their names, as written.
        :param time: a pattern; None for lines without a time.
        """
        names = rb"(?:%b)" % (b"|".join(map(re2.escape, fields)) or NOTHING)
        point = rb"%b %b" % (_ANY_SERIES, self._fields(_fraction(_SURE_DIGITS, self.rules) + _SURE_POWER, names))
        return compiled(_lines(point if time is None else rb"%b %b" % (point, time)))

    def typed_field(self, key: bytes, kind: FieldKind, max_bytes: int | None) -> bytes:
        """A pattern of a field and its value. It may leave out values that are rarely written.

        :param key: as it is written.
        :param max_bytes: of a string, if it has a limit.
        """
        if kind == "string":
            value = _STRING if max_bytes is None or max_bytes > MAX_COUNTED_BYTES else _SHORT_STRING % max_bytes
        elif kind == "boolean":
            value = _BOOLEAN
        elif kind == "integer":
            value = _INTEGER
        elif kind == "unsigned":
            value = _UNSIGNED if self.rules.unsigned else NOTHING
        else:
            value = rb"-?%b%b" % (_fraction(_SURE_DIGITS, self.rules), _SURE_POWER)
        return rb"%b=%b" % (re2.escape(key), value)

    def _any_tags(self) -> bytes:
        return rb"(?:,%b=%b)*" % (self._tag_key, _TAG_VALUE)

    def _distinct_tags(self) -> bytes:
        """Each tag begins with another letter, in the order of the alphabet, as in sorted tags: so none is there twice.

        RE2 cannot compare two tags; this it can see, and at no cost.
        """
        barred = {b"time", *self.rules.reserved_tags}
        return b"".join(
            rb"(?:,%b=%b)?" % (letter + _rest_other_than(letter, barred), _TAG_VALUE) for letter in _FIRST_LETTERS
        )

    def _sure_fields(self) -> bytes:
        return self._fields(_fraction(_SURE_DIGITS, self.rules) + _SURE_POWER, self._key)

    def _fields(self, number: bytes, key: bytes) -> bytes:
        numbers = [rb"-?%b" % number, _INTEGER]
        if self.rules.unsigned:
            numbers.append(_UNSIGNED)
        value = rb"(?:%b|%b|%b)" % (b"|".join(numbers), _STRING, _BOOLEAN)
        one = rb"%b=%b" % (key, value)
        return rb"%b(?:,%b)*" % (one, one)

    def _run(self, tags: bytes, precision: Precision) -> bytes:
        point = rb"%b%b%b%b(?:%b(?:%b *)?)?" % (
            _MEASUREMENT,
            tags,
            self._blanks,
            self._sure_fields(),
            self._blanks,
            _time(precision),
        )
        line = rb'[ \t]*(?:%b|#[^\n"\\]*)?' % point
        return rb"(?:%b\n)*(?:%b\z)?" % (line, line)


GRAMMARS: Final = MappingProxyType({api: Grammar(rules) for api, rules in RULES.items()})
"""The grammar of each generation."""
