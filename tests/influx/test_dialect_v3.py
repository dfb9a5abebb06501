"""What clients of InfluxDB 3 ask is understood, and answered as 3.x answers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Destination, Fate, Reply
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.dialect import BadLine, Precision, Write
from torfluxd.influx.dialect_v3 import V3

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63)  # of up to 4 bytes each

BAD = (BadLine(2, b"garbage that is very, very long", "missing fields"), BadLine(4, b"m f=", "missing field value"))


def told(answer: Answer) -> tuple[int, str, Any]:
    """Status, error and data of an answer."""
    assert dict(answer.headers)[b"Content-Type"] == b"application/json"
    error = json.loads(answer.body)
    assert set(error) == {"error", "data"}
    return answer.status, error["error"], error["data"]


class ReadWriteTests(SynchronousTestCase):
    """The query of a write of 3.x is read once."""

    def write(self, query: bytes) -> Write:
        """The write that a query asks for."""
        asked = V3.read_write(query)
        assert isinstance(asked, Write), asked
        return asked

    def refusal(self, query: bytes) -> str:
        """The text by which a query is refused."""
        answer = V3.read_write(query)
        assert isinstance(answer, Answer), answer
        status, error, data = told(answer)
        self.assertEqual((status, data), (400, None))
        return error

    def test_path(self) -> None:
        """3.x writes to `/api/v3/write_lp`."""
        self.assertEqual(V3.path, b"/api/v3/write_lp")

    def test_database(self) -> None:
        """A database is enough; then good lines are kept, and each time tells its unit by its size."""
        self.assertEqual(self.write(b"db=t"), Write(V3, Destination("t"), "auto"))
        self.assertEqual(self.write(b"db=t%2Fw").destination, Destination("t", "w"))

    def test_no_database(self) -> None:
        """Without a database there is no write."""
        for query in (b"", b"db=", b"bucket=t"):
            self.assertEqual(self.refusal(query), "missing field `db`")
        for query in (b"db=%FF", b"db=/w", b"db=" + b"n" * 256, b"db=t/" + b"n" * 256):
            self.assertEqual(self.refusal(query), "invalid database name")

    def test_precisions(self) -> None:
        """Every precision of 3.x is understood, by every name that it has there."""
        expected: dict[Precision, str] = {
            "auto": " auto",
            "ns": "n ns nanosecond",
            "u": "u us microsecond",
            "ms": "ms millisecond",
            "s": "s second",
        }
        for precision, words in expected.items():
            for word in words.split(" "):
                self.assertEqual(self.write(f"db=t&precision={word}".encode()).precision, precision)

    def test_unknown_precision(self) -> None:
        """Any other precision is refused, minutes and hours of 1.x too."""
        for word in (b"m", b"h", b"Second", b"%FF"):
            self.assertIn("expected one of auto, nanosecond, ", self.refusal(b"db=t&precision=" + word))

    def test_flags(self) -> None:
        """A client may want all or nothing; whether it wants to wait for the disk makes no difference here."""
        self.assertTrue(self.write(b"db=t&accept_partial=false").is_whole)
        self.assertFalse(self.write(b"db=t&accept_partial=true&no_sync=true").is_whole)
        for query in (b"accept_partial=", b"accept_partial=1", b"no_sync=False"):
            self.assertIn("true or false", self.refusal(b"db=t&" + query))

    @given(names.filter(lambda name: "/" not in name), names | st.none())
    def test_round_trip(self, database: str, policy: str | None) -> None:
        """Every destination can be asked for, and is understood as it was meant."""
        path, _, query = write_target(Api.V3, Destination(database, policy)).partition(b"?")
        self.assertEqual(path, V3.path)
        self.assertEqual(self.write(query), Write(V3, Destination(database, policy), "ns"))


class RefuseTests(SynchronousTestCase):
    """Refusals have the shape that the clients of 3.x read."""

    def test_shape(self) -> None:
        """The text stands in a JSON object, without anything about lines."""
        answer = V3.refuse(503, "later", 30)
        self.assertEqual(told(answer), (503, "later", None))
        self.assertIn((b"Retry-After", b"30"), answer.headers)

    def test_some_bad_lines(self) -> None:
        """Where good lines are welcome, each bad one is named, with its number and its first 20 characters."""
        lines = [
            {"original_line": "garbage that is very", "line_number": 2, "error_message": "missing fields"},
            {"original_line": "m f=", "line_number": 4, "error_message": "missing field value"},
        ]
        for kept in (True, False):
            self.assertEqual(
                told(V3.refuse_lines(BAD, is_whole=False, kept=kept)),
                (400, "partial write of line protocol occurred", lines),
            )

    def test_all_or_nothing(self) -> None:
        """Of a body that is refused whole, the first bad line is named."""
        line = {"original_line": "garbage that is very", "line_number": 2, "error_message": "missing fields"}
        self.assertEqual(
            told(V3.refuse_lines(BAD, is_whole=True, kept=False)), (400, "parsing failed for write_lp endpoint", line)
        )


class RetellTests(SynchronousTestCase):
    """What InfluxDB says of lines is told as 3.x tells it."""

    def retold(self, status: int, error: object, fate: Fate = Fate.REJECT) -> tuple[int, str, Any]:
        """What a client of 3.x hears."""
        return told(V3.retell(Reply(fate, "", status, (), json.dumps(error).encode())))

    def test_conflict(self) -> None:
        """Points that were refused while others are stored are a partial write, of a line that is not known."""
        line = {"original_line": "", "line_number": 0, "error_message": "field type conflict dropped=1"}
        expected = (400, "partial write of line protocol occurred", [line])
        text = "partial write: field type conflict dropped=1"
        self.assertEqual(self.retold(400, {"error": text}), expected)
        message = f"failure writing points to database: {text}"
        self.assertEqual(self.retold(422, {"code": "unprocessable entity", "message": message}), expected)

    def test_from_v3(self) -> None:
        """The lines that 3.x names are named, but for their numbers, which count what was sent on."""
        line = {"original_line": "m f=", "line_number": 7, "error_message": "why"}
        self.assertEqual(
            self.retold(400, {"error": "partial write of line protocol occurred", "data": [line]})[2],
            [line | {"line_number": 0}],
        )

    def test_refused(self) -> None:
        """Other refusals have their text."""
        self.assertEqual(self.retold(400, {"error": "why"}), (400, "why", None))
        self.assertEqual(self.retold(400, {"error": "x", "data": {"error_message": "why"}}), (400, "why", None))
        self.assertEqual(self.retold(400, "x"), (400, "refused", None))
        error = {"error": "retention policy not found: w"}
        self.assertEqual(self.retold(500, error, Fate.NO_DESTINATION), (404, "retention policy not found: w", None))
