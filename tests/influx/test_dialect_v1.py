"""What clients of InfluxDB 1.x ask is understood as InfluxDB understands it, and answered as InfluxDB answers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Destination, Fate, Header, Reply
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.dialect import BadLine, Precision, Write
from torfluxd.influx.dialect_v1 import V1

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63)  # of up to 4 bytes each


class ReadWriteTests(SynchronousTestCase):
    """The query of a write of 1.x is read once."""

    def write(self, query: bytes) -> Write:
        """The write that a query asks for."""
        asked = V1.read_write(query)
        assert isinstance(asked, Write), asked
        return asked

    def refusal(self, query: bytes) -> str:
        """The text by which a query is refused, with InfluxDB's status, in InfluxDB's shape."""
        answer = V1.read_write(query)
        assert isinstance(answer, Answer), answer
        self.assertEqual(answer.status, 400)
        headers = dict(answer.headers)
        self.assertEqual(set(headers), {b"Content-Type", b"X-Influxdb-Error"})
        self.assertEqual(headers[b"Content-Type"], b"application/json")
        text: str = json.loads(answer.body)["error"]
        self.assertTrue(text.encode().startswith(headers[b"X-Influxdb-Error"]))
        return text

    def test_path(self) -> None:
        """1.x writes to `/write`."""
        self.assertEqual(V1.path, b"/write")

    def test_database(self) -> None:
        """A database is enough; then the timestamps are nanoseconds."""
        self.assertEqual(self.write(b"db=telemetry"), Write(V1, Destination("telemetry"), "ns"))

    def test_all_parameters(self) -> None:
        """Retention policy and precision are understood, and a consistency level that exists is no mistake."""
        self.assertEqual(
            self.write(b"precision=ms&rp=week&consistency=ALL&db=t"), Write(V1, Destination("t", "week"), "ms")
        )

    def test_no_database(self) -> None:
        """Without a database there is no write, in InfluxDB's words."""
        for query in (b"", b"db=", b"db", b"DB=x", b"rp=x", b"db=&db=x"):
            self.assertEqual(self.refusal(query), "database is required")

    def test_first_value_wins(self) -> None:
        """Of repeated parameters the first one counts."""
        self.assertEqual(self.write(b"db=a&db=b&rp=&rp=c").destination, Destination("a"))

    def test_semicolon(self) -> None:
        """A semicolon does not separate, and makes its pair void, as in the Go of Debian's influxd."""
        self.assertEqual(self.refusal(b"db=a;db=b"), "database is required")
        self.assertEqual(self.write(b"db=a&rp=x;y").destination, Destination("a"))

    def test_broken_escapes(self) -> None:
        """A broken escape makes its pair void."""
        self.assertEqual(self.write(b"db=%zz&db=%41%2f+%C3%BC&rp=%").destination, Destination("A/ ü"))

    def test_not_utf8(self) -> None:
        """A name that is not UTF-8 is no name of any database."""
        self.assertIn("UTF-8", self.refusal(b"db=%FF"))
        self.assertIn("UTF-8", self.refusal(b"db=a&rp=%C3"))

    def test_names_too_long(self) -> None:
        """A database, or a retention policy, that is nowhere because its name is too long is not found."""
        for name in ("d" * 255, "é" * 127):
            self.assertEqual(self.write(f"db={name}&rp={name}".encode()).destination, Destination(name, name))
        for name in ("d" * 256, "é" * 128):
            for query, status, text in (
                (f"db={name}&rp={name}", 404, f'database not found: "{name}"'),
                (f"db=a&rp={name}", 500, f"retention policy not found: {name}"),
            ):
                self.assertEqual(V1.read_write(query.encode()), V1.refuse(status, text))

    def test_precisions(self) -> None:
        """Every precision of 1.8 is understood; `n` and none are nanoseconds."""
        expected: dict[bytes, Precision] = {b"n": "ns", b"ns": "ns", b"": "ns", b"u": "u", b"ms": "ms", b"s": "s"}
        for word, precision in (*expected.items(), (b"m", "m"), (b"h", "h")):
            self.assertEqual(self.write(b"db=a&precision=" + word).precision, precision)

    def test_unknown_precision(self) -> None:
        """Any other precision, which 1.6 would take for nanoseconds, is refused in the words of 1.8."""
        self.assertEqual(self.refusal(b"db=a&precision=us"), 'invalid precision "us" (use n, u, ms, s, m or h)')
        for word in (b"NS", b"d", b"%00", b"%FF%0D%0A", b'%22%22"', b"x" * 5000):
            self.refusal(b"db=a&precision=" + word)

    def test_unknown_consistency(self) -> None:
        """An unknown consistency level is refused in InfluxDB's words."""
        for word in (b"huh", b"%FF", b"one+"):
            self.assertEqual(self.refusal(b"db=a&consistency=" + word), "invalid consistency level")

    def test_credentials_are_left_behind(self) -> None:
        """What a stranger sends as credentials goes nowhere."""
        write = self.write(b"u=w&p=pw&db=a&q=DROP&epoch=1")
        self.assertEqual(write_target(Api.V1, write.destination), b"/write?db=a&precision=ns")

    @given(names, names | st.none())
    def test_round_trip(self, database: str, policy: str | None) -> None:
        """Every destination can be asked for, and is understood as it was meant."""
        destination = Destination(database, policy)
        path, _, query = write_target(Api.V1, destination).partition(b"?")
        self.assertEqual(path, b"/write")
        self.assertEqual(self.write(query), Write(V1, destination))

    @given(st.binary() | st.text("db=&;%+rp/#").map(str.encode))
    def test_anything(self, query: bytes) -> None:
        """Whatever the query, it is refused or can be asked for again in plain characters."""
        asked = V1.read_write(query)
        if isinstance(asked, Write):
            self.assertRegex(write_target(Api.V1, asked.destination), rb"\A/write\?db=[!-~]+\Z")
        else:
            for _name, value in asked.headers:
                self.assertRegex(value, rb"\A[ -~]*\Z")


class RefuseTests(SynchronousTestCase):
    """Refusals have the shape that stock clients read."""

    def test_shape(self) -> None:
        """The text stands in a JSON object and in a header."""
        self.assertEqual(
            V1.refuse(413, "Request Entity Too Large"),
            Answer(
                413,
                (
                    (b"Content-Type", b"application/json"),
                    (b"X-Influxdb-Error", b"Request Entity Too Large"),
                ),
                b'{"error":"Request Entity Too Large"}\n',
            ),
        )

    def test_retry_after(self) -> None:
        """A refusal may say when to come back."""
        self.assertIn((b"Retry-After", b"30"), V1.refuse(503, "later", 30).headers)

    def test_long_text(self) -> None:
        """The header is cut where InfluxDB cuts it; the body is whole."""
        answer = V1.refuse(400, "x" * 3000)
        self.assertEqual(dict(answer.headers)[b"X-Influxdb-Error"], b"x" * 1024)
        self.assertEqual(json.loads(answer.body), {"error": "x" * 3000})

    def test_bad_lines(self) -> None:
        """Bad lines are named as influxd names them, whether others are stored or not."""
        bad = (BadLine(2, b"garbage", "missing fields"), BadLine(4, b"m f=", "missing field value"))
        told = "unable to parse 'garbage': missing fields\nunable to parse 'm f=': missing field value"
        alone = V1.refuse_lines(bad, is_whole=False, kept=False)
        self.assertEqual((alone.status, json.loads(alone.body)), (400, {"error": told}))
        partial = V1.refuse_lines(bad, is_whole=False, kept=True)
        self.assertEqual(
            (partial.status, json.loads(partial.body)), (400, {"error": f"partial write: {told} dropped=0"})
        )


class RetellTests(SynchronousTestCase):
    """What InfluxDB says of lines is told as 1.x tells it."""

    CONFLICT = 'partial write: field type conflict: input field "f" on measurement "m" is type string dropped=1'

    def retold(self, status: int, body: bytes, *headers: Header, fate: Fate = Fate.REJECT) -> Answer:
        """What a client of 1.x hears."""
        return V1.retell(Reply(fate, "", status, headers, body))

    def assert_told(self, answer: Answer, status: int, error: str) -> None:
        """The answer has this status, and this text in its body and its header."""
        self.assertEqual((answer.status, json.loads(answer.body)), (status, {"error": error}))
        self.assertEqual(dict(answer.headers)[b"X-Influxdb-Error"].decode(), error.replace("\n", " "))

    def test_from_v1(self) -> None:
        """An answer of 1.x's is passed on byte for byte."""
        body = json.dumps({"error": self.CONFLICT}).encode()
        header = (b"X-Influxdb-Error", self.CONFLICT.encode())
        for status in (400, 500):
            self.assertEqual(self.retold(status, body, header), Answer(status, (header,), body))

    def test_from_v2(self) -> None:
        """A conflict that 2.x answers with 422 is a 400, as in 1.x, without 2.x's preamble."""
        message = f"failure writing points to database: {self.CONFLICT}"
        body = json.dumps({"code": "unprocessable entity", "message": message}).encode()
        self.assert_told(self.retold(422, body), 400, self.CONFLICT)

    def test_from_v3(self) -> None:
        """The lines that 3.x names are named, with their reasons alone."""
        lines = [{"original_line": "m f=", "line_number": n, "error_message": f"why {n}"} for n in (1, 2)]
        body = json.dumps({"error": "partial write of line protocol occurred", "data": lines}).encode()
        self.assert_told(self.retold(400, body), 400, "partial write: why 1\nwhy 2")

    def test_no_destination(self) -> None:
        """What does not exist is 404."""
        body = b'{"code":"not found","message":"bucket \\"t/w\\" not found"}'
        self.assert_told(self.retold(404, body, fate=Fate.NO_DESTINATION), 404, 'bucket "t/w" not found')

    def test_too_long(self) -> None:
        """An answer that was too long to be held is told as far as its header goes; or that there was one."""
        self.assert_told(self.retold(400, b"", (b"X-Influxdb-Error", b"why")), 400, "why")
        self.assert_told(self.retold(400, b""), 400, "refused")
