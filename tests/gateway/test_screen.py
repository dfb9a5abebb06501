"""The rules on lines hold, whichever way a line comes, alone or with others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.lines import RandomLines
from torfluxd.gateway import screen as module
from torfluxd.gateway.budget import MANY_FIELDS as MANY_NAMES
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.screen import (
    LEARN_NS,
    LONG_LINE,
    MANY_DAYS,
    MANY_DAYS_OF_WRITER,
    MANY_FIELDS,
    MANY_TAGS,
    MAX_WRITERS,
    Screen,
)
from torfluxd.influx.api import Api
from torfluxd.influx.check import check
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.influx.stamp import Timestamps
from torfluxd.influx.window import DAY_NS, SURE_NS

NOW_NS = 1_750_000_000_123_456_789
YEARS = 10 * 365 * 86400.0


class ScreenCase(SynchronousTestCase):
    """A screen, and a clock that is ours."""

    def setUp(self) -> None:
        """Begin with the defaults."""
        self.now = NOW_NS
        self.screen = self.make(LineRules())

    def make(self, rules: LineRules) -> Screen:
        """A screen with other rules."""
        return Screen(rules, GRAMMARS[Api.V1], lambda: self.now)

    def reasons(self, screen: Screen, lines: bytes, writer: object = 1) -> list[str]:
        """Why lines are refused."""
        return [reason for _, reason in screen.screen(lines, "ns", writer).refused]


class TimeTests(ScreenCase):
    """The window, and the days."""

    def test_outside(self) -> None:
        """A point outside the window is refused, by name and never moved; those beside it are kept."""
        for offset in (-93 * DAY_NS, 2 * DAY_NS, -NOW_NS, 2**62 - NOW_NS):
            lines = b"m v=1 %d\nm v=2 %d" % (NOW_NS + offset, NOW_NS)
            self.assertFalse(self.screen.passes(lines, "ns"))
            screened = self.screen.screen(lines, "ns", 1)
            self.assertEqual((b"m v=2 %d" % NOW_NS, 1), (screened.lines, screened.points))
            [(number, reason)] = screened.refused
            self.assertEqual(0, number)
            self.assertEqual("time outside the window: at most 2208 hours old, 25 hours ahead", reason)

    def test_in_every_unit(self) -> None:
        """It is so in every unit."""
        for precision, unit in (("u", 10**3), ("ms", 10**6), ("s", 10**9), ("auto", 10**9), ("auto", 1)):
            for offset, inside in ((-91 * DAY_NS, True), (0, True), (-93 * DAY_NS, False), (2 * DAY_NS, False)):
                line = b"m v=1 %d" % ((NOW_NS + offset) // unit)
                self.assertEqual(inside, self.screen.passes(line, precision))  # type: ignore[arg-type]
                self.assertEqual(inside, bool(self.screen.screen(line, precision, 1).points))  # type: ignore[arg-type]

    def test_the_window_moves(self) -> None:
        """What is young enough now is not for ever, and what is too early now comes to be in time."""
        young, early = b"m v=1 %d" % NOW_NS, b"m v=1 %d" % (NOW_NS + 30 * DAY_NS)
        self.assertEqual((True, False), (self.screen.passes(young, "ns"), self.screen.passes(early, "ns")))
        self.now += 30 * DAY_NS
        self.assertEqual((True, True), (self.screen.passes(young, "ns"), self.screen.passes(early, "ns")))
        self.now += 63 * DAY_NS
        self.assertEqual((False, True), (self.screen.passes(young, "ns"), self.screen.passes(early, "ns")))
        self.assertEqual(1, len(self.reasons(self.screen, young)))

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back makes early what was in time."""
        line = b"m v=1 %d" % NOW_NS
        self.assertTrue(self.screen.passes(line, "ns"))
        self.now -= 10 * DAY_NS
        self.assertFalse(self.screen.passes(line, "ns"))
        self.assertEqual(1, len(self.reasons(self.screen, line)))

    def weeks(self, number: int, field: int = 0) -> bytes:
        """Points a week apart, the latest now."""
        return b"\n".join(b"m v%d=1 %d" % (field, NOW_NS - week * 7 * DAY_NS) for week in range(number))

    def test_400_weeks(self) -> None:
        """Where old points are welcome, one body brings points of so many old days, and the rest is refused."""
        screen = self.make(LineRules(max_age_seconds=YEARS, max_shard_days_per_writer=200))
        self.assertFalse(screen.passes(self.weeks(400), "ns"))
        screened = screen.screen(self.weeks(400), "ns", 1)
        recent = 100 // 7 + 1
        self.assertEqual(recent + 100, screened.points)
        self.assertEqual({MANY_DAYS}, {reason for _, reason in screened.refused})

    def test_many_bodies_of_one_writer(self) -> None:
        """And one writer as many, however many bodies he sends; another one as many again."""
        screen = self.make(LineRules(max_age_seconds=YEARS))
        kept = []
        for writer in (1, 2):
            lines = self.weeks(400).split(b"\n")
            kept.append(sum(screen.screen(line, "ns", writer).points for line in lines))
            self.assertEqual([MANY_DAYS_OF_WRITER], self.reasons(screen, lines[-1], writer))
            self.assertEqual([], self.reasons(screen, lines[20], writer))
        self.assertEqual([115, 115], kept)

    def test_writers_are_bounded(self) -> None:
        """Only so many writers are remembered, and none who sends what is recent."""
        screen = self.make(LineRules(max_age_seconds=YEARS))
        for writer in range(MAX_WRITERS + 10):
            screen.screen(b"m v=1 %d" % (NOW_NS - 300 * DAY_NS), "ns", writer)
        screen.screen(b"m v=1 %d" % NOW_NS, "ns", "recent")
        self.assertEqual(MAX_WRITERS, len(screen._days))
        self.assertNotIn("recent", screen._days)


class SizeTests(ScreenCase):
    """Lines, tags and fields."""

    def test_sizes(self) -> None:
        """A line has a length, a number of tags and one of fields that it may have, and no more."""
        screen = self.make(LineRules(max_line_bytes=100, max_tags=2, max_fields=3, max_tag_keys=9))
        for line, reason in (
            (b'm s="%b"' % (b"x" * 90), None),
            (b'm s="%b"' % (b"x" * 95), LONG_LINE),
            (b"m,a=1,b=2 v=1", None),
            (b"m,a=1,b=2,c=3 v=1", MANY_TAGS),
            (b"m a=1,b=2,c=3", None),
            (b"m a=1,b=2,c=3,d=4", MANY_FIELDS),
        ):
            screened = self.reasons(screen, line)
            self.assertEqual([] if reason is None else [reason], screened, line)
            self.assertFalse(screen.passes(line, None) and reason)

    def test_names(self) -> None:
        """Fields are counted by name, over all lines."""
        screen = self.make(LineRules(max_field_names=2))
        self.assertTrue(screen.passes(b"m a=1\nn b=1", None))
        self.assertFalse(screen.passes(b"m a=1\nn c=1", None))
        self.assertEqual([MANY_NAMES], self.reasons(screen, b"m a=1\nn c=1"))


class LearningTests(ScreenCase):
    """What is usual becomes cheap, and stays as strict."""

    def test_new_names(self) -> None:
        """New names of fields are learnt, but not at every line; each passes at any time."""
        for number in range(20):
            self.assertTrue(self.screen.passes(b"m f%d=1" % number, None))
            self.now += LEARN_NS // 3
        self.assertTrue(15 <= self.screen._learnt <= 20)

    def test_made_up_names(self) -> None:
        """Whoever makes up names does not take the place of those that came first."""
        self.patch(module, "MAX_FAMILIAR", 3)
        for number in range(5):
            self.assertTrue(self.screen.passes(b"m f%d=1" % number, None))
            self.now += LEARN_NS
        self.assertEqual(3, self.screen._learnt)
        self.assertTrue(self.screen._familiar[None].fullmatch(b"m f0=1,f2=1"))
        self.assertFalse(self.screen._familiar[None].fullmatch(b"m f3=1"))

    def test_learnt_lines_are_held_to_the_window(self) -> None:
        """A line that is well known is refused like another when its time is."""
        line = b"m v=1 %d" % NOW_NS
        self.assertTrue(self.screen.passes(line, "ns") and self.screen.passes(line, "ns"))
        self.assertFalse(self.screen.passes(b"m v=1 1", "ns"))
        self.now += 100 * DAY_NS + SURE_NS
        self.assertFalse(self.screen.passes(line, "ns"))

    def test_learnt_names_make_no_series_known(self) -> None:
        """A line with known fields and a series that is none is refused."""
        self.assertTrue(self.screen.passes(b"m v=1", None))
        for series in (b"m,t", b"m,t=", b"m,t=1,t=2", b"m,time=1", b"#m", b"", b"m,t=\xff", b"m,t=a\\\\"):
            self.assertFalse(self.screen.passes(series + b" v=1", None), series)


PIECES = st.sampled_from(
    [
        *[b"m v=1", b"m,a=1 v=1", b"m,a=2 v=2,w=1i", b"m,a=3 v=1"],
        *[b"m,b=1,c=1 v=1", b"n x=t", b"o v=1", b"m,b=1,a=1 v=1"],
        *[b'm s="a b",v=1', b'm,a="x s="a b=" ,v=1', b'm,a="x s="a b="', b'm,t=" v="x y"', b'm "="', b'q"="x y",v=1'],
        *[b"m,a=x\\ y v=1", b"m\\,a v=1", b"m v\\=1=1", b"m a\\,v=1", b'm s="\\"",v=1'],
        *[b"m,a=v\\=1 v=1", b"m,u=\xc3\xa9 v=1"],
        *[b"m p1=1", b"m p2=1", b"m p3=1,p4=2"],
    ]
)
TIMES = st.sampled_from([NOW_NS, NOW_NS - DAY_NS, NOW_NS - 91 * DAY_NS, NOW_NS - 93 * DAY_NS, 0, NOW_NS + 2 * DAY_NS])
BODIES = st.lists(st.lists(st.tuples(PIECES, TIMES), min_size=1, max_size=3), min_size=1, max_size=6)


class TogetherTests(ScreenCase):
    """Whether lines are looked at together or one by one makes no difference."""

    @given(BODIES, st.booleans(), st.booleans())
    def test_together_as_one_by_one(self, bodies: list[list[tuple[bytes, int]]], small: bool, prepared: bool) -> None:
        """What passes together is what every line alone is left as; with bounds that are near, and with others'
        lines before.
        """
        self.now = NOW_NS
        narrow = LineRules(max_tag_values=2, max_series=5, max_field_names=4, max_measurements=2)
        rules = narrow if small else LineRules()
        lines = b"\n".join(b"%b %d" % each for body in bodies for each in body)
        together, alone = self.make(rules), self.make(rules)
        if prepared:
            for each in (together, alone):
                each.passes(b"m v=1,w=2 %d\nm,a=1 v=1 %d" % (NOW_NS, NOW_NS), "ns")
        if check(lines).bad or check(lines).timestamps is not Timestamps.ALL:
            self.assertFalse(together.passes(lines, "ns"))
            return
        passes = together.passes(lines, "ns")
        kept = [alone.screen(line, "ns", 1).lines for line in lines.split(b"\n")]
        if passes:
            self.assertEqual(lines, b"\n".join(kept))
            self.assertEqual(together._budget.series, alone._budget.series)
            self.assertEqual(set(together._budget.fields), set(alone._budget.fields))
        elif lines == b"\n".join(kept) and check(lines).lines == lines:
            # All is in order: at the second time all names are known.
            self.assertTrue(alone.passes(lines, "ns"))

    @given(st.integers())
    def test_any_lines(self, seed: int) -> None:
        """Whatever comes, what passes is good, and the slow way leaves it as it is."""
        self.now = NOW_NS
        random = RandomLines(seed)
        for _ in range(10):
            line = random.line()
            for precision in (None, "ns"):
                for _ in range(2):
                    if self.screen.passes(line, precision):  # type: ignore[arg-type]
                        self.assertEqual(((), line), (check(line).bad, check(line).lines))
                        self.assertEqual(line, self.make(LineRules()).screen(line, "ns", 1).lines)
