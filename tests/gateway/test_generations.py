"""Clients of every generation of InfluxDB hear what they understand."""

from __future__ import annotations

import gzip
import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.influx.far_side import FarSide
from torfluxd.boundaries import Answer, Destination
from torfluxd.gateway.rules import MAX_BODY_BYTES
from torfluxd.gateway.writes import Writes
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream

JSON = b"Content-Type: application/json"


class GenerationsTests(SynchronousTestCase):
    """A client of 2.x or 3.x is answered as it expects, while InfluxDB is 1.x."""

    CONFLICT = 'partial write: field type conflict: input field "f" on measurement "m" is type string dropped=1'

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide()
        upstream = HttpUpstream(AgentPoster(self.far.agent, self.far.url, self.far.reactor))
        self.writes = Writes(upstream, self.far.reactor)

    def begin(self, write: Write, body: bytes) -> Deferred[Answer]:
        """Write as such a client does."""
        return self.writes.write(write, body, None, "a writer")

    def told(self, write: Write, status: int, error: str) -> tuple[int, dict[str, object]]:
        """What such a client hears when InfluxDB answers like this."""
        answer = self.begin(write, b"m f=1 1")
        body = json.dumps({"error": error}).encode()
        self.far.accept().respond(status, [JSON, b"X-Influxdb-Error: " + error.encode(), b"Connection: close"], body)
        said = self.successResultOf(answer)
        return said.status, json.loads(said.body)

    def test_v2_refuses_whole(self) -> None:
        """For 2.x one bad line makes a body bad: all bad ones are named, and InfluxDB never hears of the others."""
        answer = self.successResultOf(self.begin(Write(V2, Destination("t"), is_whole=True), b"m f=1 1\ngarbage\n"))
        self.assertEqual((answer.status, self.far.waiting), (400, 0))
        self.assertEqual(
            json.loads(answer.body), {"code": "invalid", "message": "unable to parse 'garbage': missing fields"}
        )

    def test_v3_keeps_the_good(self) -> None:
        """For 3.x good lines are stored, and each bad one is named with its number."""
        answer = self.begin(Write(V3, Destination("t"), "auto"), b"# a comment\ngarbage\nm f=1 1700000000\n")
        connection = self.far.accept()
        self.assertTrue(connection.received().endswith(b"\r\n\r\nm f=1 1700000000000000000"))
        connection.respond(204)
        told = self.successResultOf(answer)
        line = {"original_line": "garbage", "line_number": 2, "error_message": "missing fields"}
        self.assertEqual(
            (told.status, json.loads(told.body)),
            (400, {"error": "partial write of line protocol occurred", "data": [line]}),
        )

    def test_v3_all_or_nothing(self) -> None:
        """Unless the client wants all or nothing: then nothing is stored."""
        whole = Write(V3, Destination("t"), is_whole=True)
        answer = self.successResultOf(self.begin(whole, b"m f=1 1\ngarbage\nm f=\n"))
        self.assertEqual((answer.status, self.far.waiting), (400, 0))
        line = {"original_line": "garbage", "line_number": 2, "error_message": "missing fields"}
        self.assertEqual(json.loads(answer.body), {"error": "parsing failed for write_lp endpoint", "data": line})

    def test_whole_and_good(self) -> None:
        """A body without a bad line is stored, and that is all that is said."""
        for write in (Write(V2, Destination("t"), is_whole=True), Write(V3, Destination("t"), is_whole=True)):
            answer = self.begin(write, b"m f=1 1")
            self.far.accept().respond(204, [b"Connection: close"])
            self.assertEqual(self.successResultOf(answer), Answer(204))

    def test_conflict(self) -> None:
        """A field that has another type already is told in the shape and with the status of each."""
        message = f"failure writing points to database: {self.CONFLICT}"
        self.assertEqual(
            self.told(Write(V2, Destination("t")), 400, self.CONFLICT),
            (422, {"code": "unprocessable entity", "message": message}),
        )
        line = {"original_line": "", "line_number": 0, "error_message": self.CONFLICT.removeprefix("partial write: ")}
        self.assertEqual(
            self.told(Write(V3, Destination("t")), 400, self.CONFLICT),
            (400, {"error": "partial write of line protocol occurred", "data": [line]}),
        )

    def test_unknown_retention_policy(self) -> None:
        """A retention policy that does not exist is 404 for both."""
        error = "retention policy not found: w"
        self.assertEqual(
            self.told(Write(V2, Destination("t", "w")), 500, error), (404, {"code": "not found", "message": error})
        )
        self.assertEqual(self.told(Write(V3, Destination("t", "w")), 500, error), (404, {"error": error, "data": None}))

    def test_come_back(self) -> None:
        """The vendor's troubles are 503 with a time to come back, never 429, for every generation."""
        text = "the database takes no writes at the moment"
        for dialect, expected in (
            (V2, {"code": "unavailable", "message": text}),
            (V3, {"error": text, "data": None}),
        ):
            answer = self.begin(Write(dialect, Destination("t")), b"m f=1 1")
            self.far.accept().respond(429, [b"Connection: close"])
            told = self.successResultOf(answer)
            self.assertEqual((told.status, json.loads(told.body)), (503, expected))
            self.assertIn((b"Retry-After", b"30"), told.headers)

    def test_too_large(self) -> None:
        """So is a body that is too large."""
        for dialect in (V2, V3):
            body = gzip.compress(b"#" * (MAX_BODY_BYTES + 1))
            answer = self.successResultOf(self.writes.write(Write(dialect, Destination("t")), body, b"gzip", "a"))
            self.assertEqual(answer.status, 413)
            self.assertIn(b"Request Entity Too Large", answer.body)

    def test_many_zeros(self) -> None:
        """A time with thousands of zeros before it is a time like another."""
        self.begin(Write(V3, Destination("t"), "auto"), b"m f=1 " + b"0" * 5000 + b"7")
        self.assertTrue(self.far.accept().received().endswith(b"m f=1 7000000000"))
