"""Lines of one form: the same measurement, tags and names of fields, and other values. Pure.

A program records at some places, again and again. What is the same each time is checked, decided and escaped once: for
the names alone, of which a program has few; and for names and tags, as long as those come again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from attrs import define, frozen

from torfluxd.errors import PointError
from torfluxd.influx.line import FieldValue, Shape, checked_time, series_text, shape_of
from torfluxd.reporter.chance import Chance, chance_from
from torfluxd.reporter.disclosure import Disclosure, FieldWriter, Hear
from torfluxd.reporter.quick import QuickField, QuickWriter, quick_writer
from torfluxd.reporter.times import Given, Times

__all__ = ["MAX_LINE_BYTES", "FormKey", "Forms"]

MAX_LINE_BYTES: Final = 60 * 1024
"""The longest line: less than InfluxDB takes for one key or one string, and than a gateway takes for a line."""

FORMS_KEPT: Final = 1024
MAX_FORM_CHARACTERS: Final = 1024
"""How many forms are remembered, and how long their names and tags are at most: values are people's data, which should
not stay in memory, and too many. A program has tens of forms, times the values of its tags."""

PLANS_KEPT: Final = 256
"""How many sets of names are remembered. A program has tens; one that makes up names without end does not grow."""

LESSONS: Final = 3
"""How often a form learns that its values have other types than before, such as a gauge that began with 0 and went on
with 0.5. One that changes all the time takes the long way."""

FormKey = tuple[str | tuple[str, str], ...]
"""What tells a form from others: the measurement, the tags, the names of the fields."""

_Slot = tuple[str, str, FieldWriter]
_T = TypeVar("_T")


@frozen
class _Plan:
    """What the names of a point tell.

    :ivar whole: of the point as it was given.
    :ivar slots: of each field that may leave, the key, what stands before the value, and what writes that. None where
        nothing of such points may leave.
    :ivar has_all_tags: whether the series leaves as it was given.
    """

    whole: Shape
    slots: tuple[_Slot, ...]
    has_all_tags: bool


@define
class _Form:
    """What the lines of some points have in common.

    :ivar plan: what their names tell.
    :ivar origin: measurement and tags as they were given, which tells the series from others.
    :ivar series: how the lines begin; None where chance has a part in it.
    :ivar given: the times of points whose time was given; None for a form that has not come again yet.
    :ivar types: of the values for which there is a quick way, or was none to be found.
    :ivar lessons: how often another one may still be looked for.
    """

    plan: _Plan
    origin: str
    series: str | None
    given: Given | None = None
    types: tuple[type, ...] = ()
    lessons: int = LESSONS


class Forms:
    """Finds the form of a point, and writes its line.

    :param disclosure: what may leave.
    :param times: the times that points are written with.
    :param chance: for tags that are answered at random.
    :param key: for such tags of points whose time was given: as in :class:`~torfluxd.reporter.times.CoarseTimes`, so
        that the same point is the same again.
    :param hear: hears what stays here for its value.
    :ivar quick: for forms that came more than once, what writes the lines of most of their points, and their times.
    """

    def __init__(self, disclosure: Disclosure, times: Times, chance: Chance, key: bytes, hear: Hear) -> None:
        self._disclosure = disclosure
        self._times = times
        self._chance = chance
        self._key = key
        self._hear = hear
        self._plans: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Plan] = {}
        self._known: dict[FormKey, _Form] = {}
        self._seen: set[int] = set()
        self.quick: dict[FormKey, tuple[QuickWriter, Given]] = {}

    def forget(self) -> None:
        """Forget all values of tags."""
        self._known.clear()
        self._seen.clear()
        self.quick.clear()

    def line(
        self, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str], time_ns: int | None
    ) -> str | None:
        """The line of a point, or None when nothing of it may leave.

        :param time_ns: nanoseconds since 1970, or None for now.
        :raises PointError: there can be no such point, whatever may leave of it; or its line is too long.
        :raises TypeError: `fields` or `tags` is no mapping.
        """
        try:
            form = self._known.get((measurement, *tags.items(), *fields))
        except (TypeError, AttributeError):  # something is not what it should be, which is told when it is looked at
            form = None
        if form is None:
            fields, tags = _copied("fields", fields), _copied("tags", tags)
            form = self._new_form(measurement, fields, tags)
        elif form.lessons and (*map(type, fields.values()),) != form.types:
            self._learn_quick(form, measurement, fields, tags)
        values = self._values(form.plan, fields)
        if not values:
            return None
        chance = self._chance
        if time_ns is None:
            time = self._times.now()
        else:
            time_ns = checked_time(time_ns)
            given = form.given or self._times.of_series(form.origin.encode("utf-8"))
            time = checked_time(given(time_ns))
            if form.series is None:
                chance = chance_from(b"%b%d %b" % (self._key, time_ns, form.origin.encode("utf-8")))
        series = self._series(measurement, form.plan, tags, chance) if form.series is None else form.series
        line = f"{series} {','.join(values)} {time}"
        if len(line) > MAX_LINE_BYTES // 4 and len(line.encode("utf-8")) > MAX_LINE_BYTES:
            raise PointError(f"a point takes more than {MAX_LINE_BYTES} bytes, and a line has no room for it")
        return line

    def _values(self, plan: _Plan, fields: Mapping[str, FieldValue]) -> list[str]:
        """The fields that leave."""
        values = []
        for key, prefix, writer in plan.slots:
            text = writer(fields[key])
            if text is None:
                self._hear("field", key)
            else:
                values.append(prefix + text)
        return values

    def _series(self, measurement: str, plan: _Plan, tags: Mapping[str, str], chance: Chance) -> str:
        """Measurement and tags as they leave."""
        kept = self._disclosure.tags(measurement, tags, chance)
        return series_text(shape_of(measurement, tuple(kept), tuple(key for key, _, _ in plan.slots)), kept)

    def _plan(self, measurement: str, tags: Mapping[str, str], fields: Mapping[str, FieldValue]) -> _Plan:
        names = (measurement, tuple(tags), tuple(fields))
        plan = self._plans.get(names)
        if plan is None:
            whole = shape_of(*names)
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            plan = self._plans[names] = _Plan(
                whole, self._slots(measurement, whole), self._disclosure.passes_all_tags(tags)
            )
        return plan

    def _slots(self, measurement: str, whole: Shape) -> tuple[_Slot, ...]:
        if not self._disclosure.knows(measurement):
            return ()
        writers = [
            (key, prefix[1:], self._disclosure.writer(measurement, key, called)) for key, prefix, called in whole.fields
        ]
        return tuple((key, prefix, writer) for key, prefix, writer in writers if writer is not None)

    def _new_form(self, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str]) -> _Form:
        plan = self._plan(measurement, tags, fields)
        origin = series_text(plan.whole, tags)
        series = None
        if plan.has_all_tags or not plan.slots:
            series = origin
        elif not self._disclosure.is_noisy(measurement):
            series = self._series(measurement, plan, tags, self._chance)
        form = _Form(plan, origin, series)
        key: FormKey = (measurement, *tags.items(), *fields)
        seen = self._seen
        number = len(seen)
        if number >= FORMS_KEPT:
            seen.clear()
        seen.add(hash(key))
        if len(seen) == number:
            self._learn(key, form, measurement, fields, tags)
        return form

    def _learn(
        self, key: FormKey, form: _Form, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str]
    ) -> None:
        """Remember a form that has come again."""
        if len(form.origin) + sum(map(len, fields)) > MAX_FORM_CHARACTERS:
            return
        if len(self._known) >= FORMS_KEPT:
            self.forget()
        self._known[key] = form
        form.given = self._times.of_series(form.origin.encode("utf-8"))
        self._learn_quick(form, measurement, fields, tags)

    def _learn_quick(
        self, form: _Form, measurement: str, fields: Mapping[str, FieldValue], tags: Mapping[str, str]
    ) -> None:
        """Look for a quick way for values of such types."""
        form.lessons -= 1
        form.types = (*map(type, fields.values()),)
        write = self._quick_writer(form, measurement, fields)
        if write is not None and form.given is not None:
            self.quick[(measurement, *tags.items(), *fields)] = (write, form.given)

    def _quick_writer(self, form: _Form, measurement: str, fields: Mapping[str, FieldValue]) -> QuickWriter | None:
        slots = form.plan.slots
        if form.series is None or not slots or len(slots) != len(fields):
            return None
        quick: list[QuickField] = []
        for key, prefix, _ in slots:
            bounds = self._disclosure.quick_bounds(measurement, key, type(fields[key]))
            if bounds is None:
                return None
            quick.append((key, prefix, *bounds))
        return quick_writer(form.series, quick, MAX_LINE_BYTES)


def _copied(what: str, mapping: Mapping[str, _T]) -> Mapping[str, _T]:
    if type(mapping) is not dict and not isinstance(mapping, Mapping):
        raise TypeError(f"{what}: expected a mapping, got {type(mapping).__name__}")
    return dict(mapping)
