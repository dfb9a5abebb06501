"""Lines of one form: the same measurement, tags, fields and types of fields, and other values. Pure.

A program records at some places, again and again. What is the same each time is checked, decided and escaped once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from torfluxd.errors import PointError
from torfluxd.influx.line import FieldValue, checked_time, series_text, shape_of
from torfluxd.reporter.chance import Chance, chance_from
from torfluxd.reporter.disclosure import Disclosure, FieldWriter, Hear
from torfluxd.reporter.quick import QuickWriter, quick_writer
from torfluxd.reporter.times import Given, Times

__all__ = ["MAX_LINE_BYTES", "Form", "Forms"]

MAX_LINE_BYTES: Final = 60 * 1024
"""The longest line: less than InfluxDB takes for one key or one string, and than a gateway takes for a line."""

NUMBER_BYTES: Final = 25
"""As long as a number is at most: `-1.7976931348623157e+308` or 64 bits with sign, and what stands after it."""


@frozen
class Form:
    """What the lines of some points have in common.

    :ivar quick: writes the lines of most points; they are ASCII, and not too long. None where it would write none.
    :ivar series: how the lines begin; None where chance has a part in it.
    :ivar origin: what tells the series from others, of which it may keep something back.
    :ivar given: the times of points whose time was given.
    :ivar fields: of each that may leave, the key, what stands before the value, and what writes that. None where
        nothing of such points may leave.
    """

    quick: QuickWriter | None
    series: str | None
    origin: bytes
    given: Given
    fields: tuple[tuple[str, str, FieldWriter], ...]


_WITHHELD: Final = Form(None, "", b"", lambda time_ns: time_ns, ())


class Forms:
    """Finds the form of a point, and writes its line.

    :param disclosure: what may leave.
    :param times: the times that points are written with.
    :param chance: for tags that are answered at random.
    :param key: for such tags of points whose time was given: as in :class:`~torfluxd.reporter.times.CoarseTimes`, so
        that the same point is the same again.
    :param hear: hears what stays here for its value.
    """

    def __init__(self, disclosure: Disclosure, times: Times, chance: Chance, key: bytes, hear: Hear) -> None:
        self._disclosure = disclosure
        self._times = times
        self._chance = chance
        self._key = key
        self._hear = hear

    def form(self, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str]) -> Form:
        """The form of a point.

        :raises PointError: there can be no such point, whatever may leave of it.
        """
        disclosure = self._disclosure
        whole = shape_of(measurement, tuple(tags), tuple(fields))
        origin = series_text(whole, tags)
        if not disclosure.knows(measurement):
            return _WITHHELD
        slots = []
        for key, prefix, called in whole.fields:
            writer = disclosure.writer(measurement, key, called)
            if writer is not None:
                slots.append((key, prefix[1:], writer))
        if not slots:
            return _WITHHELD
        series = None
        if not disclosure.is_noisy(measurement):
            series = self._series(measurement, fields, disclosure.tags(measurement, tags, self._chance))
        quick = self._quick(measurement, fields, series, slots)
        written = origin.encode("utf-8")
        return Form(quick, series, written, self._times.of_series(written), tuple(slots))

    def line(
        self,
        form: Form,
        measurement: str,
        fields: Mapping[str, FieldValue],
        tags: Mapping[str, str],
        time_ns: int | None,
    ) -> str | None:
        """The line of a point, or None when nothing of it may leave.

        :param form: its form.
        :param time_ns: nanoseconds since 1970, or None for now.
        :raises PointError: a value cannot be written, or the line is too long.
        """
        if not form.fields:
            return None
        time = self._times.now() if time_ns is None else checked_time(form.given(checked_time(time_ns)))
        if form.quick is not None and (quick := form.quick(fields, time)) is not None:
            return quick
        values = []
        for key, prefix, writer in form.fields:
            text = writer(fields[key])
            if text is None:
                self._hear("field", key)
            else:
                values.append(prefix + text)
        if not values:
            return None
        series = form.series
        if series is None:
            chance = self._chance if time_ns is None else chance_from(b"%b%d %b" % (self._key, time_ns, form.origin))
            series = self._series(measurement, fields, self._disclosure.tags(measurement, tags, chance))
        line = f"{series} {','.join(values)} {time}"
        if len(line) > MAX_LINE_BYTES // 4 and len(line.encode("utf-8")) > MAX_LINE_BYTES:
            raise PointError(f"a point takes more than {MAX_LINE_BYTES} bytes, and a line has no room for it")
        return line

    def _series(self, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str]) -> str:
        return series_text(shape_of(measurement, tuple(tags), tuple(fields)), tags)

    def _quick(
        self,
        measurement: str,
        fields: Mapping[str, FieldValue],
        series: str | None,
        slots: Sequence[tuple[str, str, FieldWriter]],
    ) -> QuickWriter | None:
        if series is None or len(slots) != len(fields):
            return None
        quick = []
        for key, prefix, _ in slots:
            kind = self._disclosure.number(measurement, key, type(fields[key]))
            if kind is None:
                return None
            quick.append((key, prefix, kind))
        names = series + "".join(prefix for _, prefix, _ in quick)
        is_short = len(names) + NUMBER_BYTES * (len(quick) + 1) <= MAX_LINE_BYTES
        return quick_writer(series, quick) if is_short and names.isascii() else None
