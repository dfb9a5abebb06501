"""Writes that break the vendor's rules: each writer hears of his own lines, as the clients of his generation expect."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Batch, Destination, Fate, Reply, Upstream
from torfluxd.gateway.bodies import Bodies, Body
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.screen import Screen
from torfluxd.gateway.writes import Writes
from torfluxd.influx.answers import WRITTEN, too_large
from torfluxd.influx.api import Api
from torfluxd.influx.check import MAX_BAD_LINES
from torfluxd.influx.dialect import Dialect, Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.influx.stamp import Stamper
from torfluxd.settings import FieldType, MeasurementSchema

STAMP = 1 << 60
OUTSIDE = "time outside the window: at most 2208 hours old, 25 hours ahead"


@define
class Taker:
    """An upstream that takes everything."""

    lines: list[bytes] = field(factory=list)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Take a batch."""
        self.lines += batch.lines.split(b"\n")
        return succeed(Reply(Fate.DELIVERED, status=204))


_: type[Upstream] = Taker


class RuledCase(SynchronousTestCase):
    """Writes under rules."""

    def setUp(self) -> None:
        """Begin with the defaults."""
        self.now = time.time_ns()
        self.taker = Taker()
        self.use(LineRules())

    def use(self, rules: LineRules) -> None:
        """Have other rules."""
        self.writes = Writes(self.taker, Clock(), Stamper(0, lambda: STAMP), rules=rules)

    def write(self, body: bytes, dialect: Dialect = V1, encoding: bytes | None = None) -> Answer:
        """What a writer hears."""
        write = Write(dialect, Destination("t"), "ns", is_whole=dialect is V2)
        return self.successResultOf(self.writes.write(write, body, encoding, 1))

    def said(self, answer: Answer) -> Any:
        """The body of an answer."""
        return json.loads(answer.body)


class DialectTests(RuledCase):
    """The same fault in three dialects."""

    def setUp(self) -> None:
        """One line of three is too old; the first is a comment."""
        super().setUp()
        self.good = [b"m v=1 %d" % self.now, b"m v=3 %d" % self.now]
        self.body = b"# three lines\n%b\nm v=2 1\n\n %b" % (self.good[0], self.good[1])

    def test_v1(self) -> None:
        """A client of 1.x is told of the bad one, and the good ones are stored."""
        answer = self.write(self.body)
        self.assertEqual(400, answer.status)
        self.assertEqual(f"partial write: unable to parse 'm v=2 1': {OUTSIDE} dropped=0", self.said(answer)["error"])
        self.assertEqual(self.good, self.taker.lines)

    def test_v2(self) -> None:
        """A client of 2.x is told of it, and nothing is stored."""
        answer = self.write(self.body, V2)
        self.assertEqual(400, answer.status)
        self.assertEqual(f"unable to parse 'm v=2 1': {OUTSIDE}", self.said(answer)["message"])
        self.assertEqual([], self.taker.lines)

    def test_v3(self) -> None:
        """A client of 3.x is told which line of its body it was, and the good ones are stored."""
        answer = self.write(self.body, V3)
        self.assertEqual(
            [{"original_line": "m v=2 1", "line_number": 3, "error_message": OUTSIDE}], self.said(answer)["data"]
        )
        self.assertEqual(self.good, self.taker.lines)

    def test_in_a_large_body(self) -> None:
        """In a large body, too, each is found, and the others are stored in their order."""
        lines = [b"m v=%d %d" % (number, self.now if number % 97 else 1) for number in range(500)]
        answer = self.write(b"\n".join(lines), V3)
        told = [line["line_number"] for line in self.said(answer)["data"]]
        self.assertEqual([number + 1 for number in range(0, 500, 97)], told)
        self.assertEqual([line for number, line in enumerate(lines) if number % 97], self.taker.lines)

    def test_beside_other_faults(self) -> None:
        """Lines that break a rule and lines that are none are told in their order."""
        answer = self.write(b"garbage\nm v=2 1\nrubbish\nm v=2 2\nm v=3 %d" % self.now, V3)
        self.assertEqual([1, 2, 3, 4], [line["line_number"] for line in self.said(answer)["data"]])

    def test_named_up_to_a_limit(self) -> None:
        """Of very many only so many are named; the good ones after them are stored all the same."""
        answer = self.write(b"m v=1 1\n" * (2 * MAX_BAD_LINES) + self.good[0], V3)
        self.assertEqual(MAX_BAD_LINES, len(self.said(answer)["data"]))
        self.assertEqual(self.good[:1], self.taker.lines)


class SizeTests(RuledCase):
    """How much may come at once."""

    def test_lines(self) -> None:
        """A body has so many lines at most."""
        self.use(LineRules(max_lines=3))
        lines = [b"m v=%d %d" % (number, self.now) for number in range(4)]
        self.assertEqual(WRITTEN, self.write(b"\n".join(lines[:3])))
        self.assertEqual(too_large(V1), self.write(b"\n".join(lines)))
        self.assertEqual(3, len(self.taker.lines))

    def test_inflated(self) -> None:
        """And so many bytes, when gzip is taken off."""
        self.use(LineRules(max_body_bytes=50, max_inflated_bytes=100))
        self.assertEqual(50, self.writes.max_body_bytes)
        body = b"m v=1"
        for size, answer in ((100, WRITTEN), (101, too_large(V1))):
            self.assertEqual(answer, self.write(gzip.compress(body.ljust(size, b"\n")), encoding=b"gzip"))


class SchemaTests(RuledCase):
    """Lines that a schema changes."""

    def setUp(self) -> None:
        """What is unknown is dropped."""
        super().setUp()
        measurement = MeasurementSchema({"os": ("linux",)}, {"v": FieldType("float")}, "drop")
        self.use(LineRules(schema={"m": measurement}, unknown="drop"))

    def test_folded(self) -> None:
        """What is not listed becomes `other`; the writer hears that all is well, and a line without a time gets one."""
        self.assertEqual(WRITTEN, self.write(b"m,host=x,os=plan9 v=1,w=2"))
        self.assertEqual([b"m,os=other v=1 %d" % STAMP], self.taker.lines)

    def test_dropped(self) -> None:
        """What is dropped is not spoken of, if nothing is left neither."""
        self.assertEqual(WRITTEN, self.write(b"m w=2\nnew v=1"))
        self.assertEqual([], self.taker.lines)

    def test_wrong_type(self) -> None:
        """A field of another type is refused whatever else is dropped."""
        self.assertEqual(400, self.write(b"m v=1i,w=2").status)
        self.assertEqual([], self.taker.lines)


class SuspectTests(RuledCase):
    """Whoever breaks a rule is treated like one who sends garbage."""

    def test_told_apart(self) -> None:
        """A body with a line that is refused is not all good; one that is only folded is."""
        screen = Screen(LineRules(max_tag_values=1), GRAMMARS[Api.V1])
        bodies = Bodies(Stamper(), screen=screen)
        lines = (b"m,t=1 v=1", b"m,t=2 v=1", b"m v=1 1")
        verdicts = [bodies.read(Body(raw, Write(V1, Destination("t")), 1)) for raw in lines]
        self.assertEqual([True, True, False], verdicts)
