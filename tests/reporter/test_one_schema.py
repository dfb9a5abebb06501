"""One schema for both sides: what a reporter lets out, the vendor's gateway takes as it is."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.errors import PointError
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.screen import Screen
from torfluxd.influx.api import Api
from torfluxd.influx.check import check
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.reporter.padding import padded
from torfluxd.reporter.privacy import PrivacyRules
from torfluxd.reporter.recorder import Recorder
from torfluxd.settings import FieldType, MeasurementSchema

NOON = 1_750_000_000_000_000_000

SCHEMA = {
    "backup run": MeasurementSchema(
        {"os": ("linux", "win, dows", "é"), "lang=": "free", "host": "drop", "kind": ("full", "part")},
        {
            "seconds": FieldType("float"),
            "files": FieldType("integer"),
            "bytes": FieldType("unsigned"),
            "ok": FieldType("boolean"),
            "a,b": FieldType("string"),
            "short": FieldType("string", 3),
            "load": FieldType("float", round=0.1),
            "tens": FieldType("integer", round=10),
            "hundreds": FieldType("unsigned", round=100),
        },
        epsilons={"kind": 0.5},
    ),
    "loose": MeasurementSchema({"os": ("linux",)}, {"v": FieldType("float")}, "drop"),
}

TAGS = st.dictionaries(
    st.sampled_from(["os", "lang=", "host", "kind", "new"]),
    st.sampled_from(["linux", "win, dows", "other", "é", "x", "full", "", "a=b"]),
)
VALUES = (
    st.booleans()
    | st.integers()
    | st.sampled_from([2**63 - 1, -(2**63), 2**64 - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('a"\\ é,=', max_size=5)
)
FIELDS = st.dictionaries(st.sampled_from([*SCHEMA["backup run"].fields, "v", "new"]), VALUES, min_size=1, max_size=4)
POINTS = st.tuples(st.sampled_from(["backup run", "loose", "new"]), TAGS, FIELDS, st.none() | st.just(NOON))


class OneSchemaTests(SynchronousTestCase):
    """A reporter and a gateway with the same file."""

    @settings(max_examples=200)
    @given(st.lists(POINTS, min_size=1, max_size=5))
    def test_nothing_is_refused_or_changed(
        self, points: list[tuple[str, dict[str, str], dict[str, Any], int | None]]
    ) -> None:
        """Whatever is recorded, recorded as a point or as a line: what is reported keeps to the schema already, and
        what it says of chance and rounding the gateway ignores.
        """
        recorder = Recorder(
            PrivacyRules(schema=SCHEMA), lambda: NOON, Random(1).random, lambda: None, 1 << 22, Destination("d")
        )
        for _ in range(3):  # the third time it is done the quick way
            for measurement, tags, fields, time_ns in points:
                try:
                    recorder.record(measurement, fields, tags, time_ns)
                except PointError:
                    continue
        taken = [each.batch.lines for each in recorder.take()]
        for lines in taken:
            recorder.record_lines(lines)
        taken += [each.batch.lines for each in recorder.take()]
        screen = Screen(LineRules(schema=SCHEMA), GRAMMARS[Api.V2], lambda: NOON)
        for lines in taken:
            checked = check(padded(lines), grammar=GRAMMARS[Api.V2])
            self.assertEqual((checked.lines, checked.bad), (lines, ()))
            screened = screen.screen(checked.lines, "ns", "a writer")
            self.assertEqual((screened.lines, list(screened.refused)), (lines, []))
