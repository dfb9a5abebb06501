"""What strangers make up is bounded, and what was there before them goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway import budget as module
from torfluxd.gateway.budget import (
    LONG_NAME,
    MANY_FIELDS,
    MANY_MEASUREMENTS,
    MANY_SERIES,
    MANY_TAGS,
    MAX_NAME_BYTES,
    RESERVED_PART,
    Budget,
)
from torfluxd.gateway.rules import LineRules
from torfluxd.influx.pieces import take_series

SMALL = LineRules(max_tag_values=2, max_series=8, max_measurements=3, max_tag_keys=2, max_field_names=3)


def admit(budget: Budget, series: bytes, listed: tuple[bytes, ...] = ()) -> str | bytes:
    """What becomes of a series: itself, or another, or why it is refused."""
    pieces = take_series(series)
    return budget.admit_series(pieces, listed) or pieces.series


class SeriesTests(SynchronousTestCase):
    """Measurements, tags and their values."""

    def setUp(self) -> None:
        """A small budget."""
        self.budget = Budget(SMALL)

    def admit(self, *series: bytes) -> list[str | bytes]:
        """What becomes of these."""
        return [admit(self.budget, each) for each in series]

    def test_values(self) -> None:
        """A tag has as many values as it may; any other is `other`, and those that were there stay."""
        self.assertEqual(
            [b"m,t=1", b"m,t=2", b"m,t=other", b"m,t=other", b"m,t=1", b"n,t=3"],
            self.admit(b"m,t=1", b"m,t=2", b"m,t=3", b"m,t=4", b"m,t=1", b"n,t=3"),
        )

    def test_listed_values(self) -> None:
        """Values that a schema lists are not counted."""
        for number in range(5):
            self.assertEqual(b"m,t=%d" % number, admit(self.budget, b"m,t=%d" % number, (b"t",)))

    def test_measurements(self) -> None:
        """There are as many measurements as there may be."""
        self.assertEqual([b"a", b"b", b"c", MANY_MEASUREMENTS, b"a,t=1"], self.admit(b"a", b"b", b"c", b"d", b"a,t=1"))

    def test_tag_keys(self) -> None:
        """A measurement has as many tags as it may, whichever lines they are in."""
        self.assertEqual(
            [b"m,t=1", b"m,u=1", MANY_TAGS, b"m,t=1,u=1", MANY_TAGS],
            self.admit(b"m,t=1", b"m,u=1", b"m,v=1", b"m,t=1,u=1", b"n,a=1,b=1,c=1"),
        )

    def test_series(self) -> None:
        """When there are too many series, the tags of a new one are all `other`, for which there is room; then no
        more come, and those that were there stay.
        """
        budget = Budget(LineRules(max_series=RESERVED_PART, max_tag_values=100))
        first = [b"m,t=%d" % number for number in range(RESERVED_PART)]
        self.assertEqual(first, [admit(budget, each) for each in first])
        self.assertEqual(b"m,t=other", admit(budget, b"m,t=new"))
        self.assertEqual(MANY_SERIES, admit(budget, b"m,u=new"))
        self.assertEqual(first, [admit(budget, each) for each in first])

    def test_long_names(self) -> None:
        """Names have a bound; values need none, and long ones are counted as well."""
        long = b"x" * (MAX_NAME_BYTES + 1)
        self.assertEqual([LONG_NAME, LONG_NAME], self.admit(long, b"m,%b=1" % long))
        self.assertEqual(
            [b"m,t=1" + long, b"m,t=2" + long, b"m,t=other", b"m,t=1" + long],
            self.admit(*(b"m,t=%d" % number + long for number in (1, 2, 3, 1))),
        )

    def test_refused_series_cost_nothing(self) -> None:
        """What is refused leaves no names behind."""
        self.admit(b"m,a=1,b=1,c=1", b"n,a=1,b=1,c=1")
        self.assertEqual([b"a", b"b", b"c"], self.admit(b"a", b"b", b"c"))

    def test_all_values_together(self) -> None:
        """All values together have a bound, too: it is the memory that they take."""
        self.patch(module, "MAX_VALUES", 3)
        self.assertEqual([b"m,t=1", b"m,t=2,u=1", b"n,t=other"], self.admit(b"m,t=1", b"m,t=2,u=1", b"n,t=1"))

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.dictionaries(st.sampled_from("tuv"), st.integers(0, 4)))))
    def test_never_more(self, series: list[tuple[str, dict[str, int]]]) -> None:
        """Whatever comes, no bound is exceeded; and what came out once comes out the same again."""
        budget = Budget(SMALL)
        kept: set[bytes] = set()
        for name, tags in series:
            line = ",".join([name, *(f"{key}={value}" for key, value in sorted(tags.items()))]).encode()
            became = admit(budget, line)
            if isinstance(became, bytes):
                kept.add(became)
                self.assertEqual(became, admit(budget, became))
        pieces = [take_series(each) for each in kept]
        self.assertLessEqual(len(kept), 9)
        self.assertLessEqual(len({each.measurement for each in pieces}), 3)
        for name in {each.measurement for each in pieces}:
            tags_of = [tag for each in pieces if each.measurement == name for tag in each.tags]
            self.assertLessEqual(len({key for key, _ in tags_of}), 2)
            for key in {key for key, _ in tags_of}:
                self.assertLessEqual(len({value for each, value in tags_of if each == key} - {b"other"}), 2)


class FieldTests(SynchronousTestCase):
    """Names of fields."""

    def test_names(self) -> None:
        """There are as many as there may be; a line with one too many adds none."""
        budget = Budget(SMALL)
        self.assertIsNone(budget.admit_fields([b"a", b"b", b"a"]))
        self.assertEqual(MANY_FIELDS, budget.admit_fields([b"c", b"d"]))
        self.assertIsNone(budget.admit_fields([b"a", b"c"]))
        self.assertEqual(MANY_FIELDS, budget.admit_fields([b"d"]))
        self.assertEqual(LONG_NAME, budget.admit_fields([b"x" * (MAX_NAME_BYTES + 1)]))
