"""What clients of InfluxDB 2.x ask is understood, and answered as 2.x answers."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Destination, Fate, Reply
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.dialect import BadLine, Precision, Write
from torfluxd.influx.dialect_v2 import V2

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=63)  # of up to 4 bytes each


def told(answer: Answer) -> tuple[int, str, str]:
    """Status, code and message of an answer, in which all says the same."""
    headers = dict(answer.headers)
    error = json.loads(answer.body)
    assert headers[b"Content-Type"] == b"application/json; charset=utf-8"
    assert headers[b"X-Platform-Error-Code"] == error["code"].encode()
    return answer.status, error["code"], error["message"]


class ReadWriteTests(SynchronousTestCase):
    """The query of a write of 2.x is read once."""

    def write(self, query: bytes) -> Write:
        """The write that a query asks for."""
        asked = V2.read_write(query)
        assert isinstance(asked, Write), asked
        return asked

    def refusal(self, query: bytes) -> tuple[int, str, str]:
        """How a query is refused."""
        answer = V2.read_write(query)
        assert isinstance(answer, Answer), answer
        return told(answer)

    def test_path(self) -> None:
        """2.x writes to `/api/v2/write`."""
        self.assertEqual(V2.path, b"/api/v2/write")

    def test_bucket(self) -> None:
        """A bucket is a database, or a database and a retention policy, as in 1.8."""
        for bucket, destination in (
            (b"t", Destination("t")),
            (b"t%2Fw", Destination("t", "w")),
            (b"t/", Destination("t")),
            (b"t/a/b", Destination("t", "a/b")),
        ):
            self.assertEqual(self.write(b"org=x&bucket=" + bucket), Write(V2, destination, is_whole=True))

    def test_no_bucket(self) -> None:
        """Without a bucket there is no write, in 2.x's words."""
        for query in (b"", b"org=x", b"bucket=", b"bucket=/w", b"bucket=%FF", b"db=t"):
            self.assertEqual(self.refusal(query), (404, "not found", "bucket not found"))

    def test_names_too_long(self) -> None:
        """A bucket that is nowhere because its name, or that of its policy, is too long is not found."""
        name = b"n" * 255
        destination = Destination(name.decode(), name.decode())
        self.assertEqual(self.write(b"bucket=%b/%b" % (name, name)).destination, destination)
        for bucket in (b"n%b" % name, b"n%b/w" % name, b"t/n%b" % name):
            self.assertEqual(self.refusal(b"bucket=" + bucket), (404, "not found", "bucket not found"))

    def test_precisions(self) -> None:
        """Every precision of 2.x is understood; none is nanoseconds."""
        expected: dict[bytes, Precision] = {b"": "ns", b"ns": "ns", b"us": "u", b"ms": "ms", b"s": "s"}
        for word, precision in expected.items():
            self.assertEqual(self.write(b"bucket=t&precision=" + word).precision, precision)

    def test_unknown_precision(self) -> None:
        """Any other precision is refused in 2.x's words, those of 1.x too."""
        message = "invalid precision; valid precision units are ns, us, ms, and s"
        for word in (b"n", b"u", b"m", b"h", b"NS", b"%FF"):
            self.assertEqual(self.refusal(b"bucket=t&precision=" + word), (400, "invalid", message))

    def test_organisation_is_left_behind(self) -> None:
        """What a stranger says of organisations goes nowhere: the vendor's is used."""
        write = self.write(b"org=evil&orgID=1&bucket=t&u=w&p=pw")
        target = write_target(Api.V2, write.destination, "vendor")
        self.assertEqual(target, b"/api/v2/write?org=vendor&bucket=t&precision=ns")

    @given(names.filter(lambda name: "/" not in name), names | st.none())
    def test_round_trip(self, database: str, policy: str | None) -> None:
        """Every destination can be asked for, and is understood as it was meant."""
        path, _, query = write_target(Api.V2, Destination(database, policy), "o").partition(b"?")
        self.assertEqual(path, V2.path)
        self.assertEqual(self.write(query).destination, Destination(database, policy))


class RefuseTests(SynchronousTestCase):
    """Refusals have the shape that the clients of 2.x read."""

    def test_shape(self) -> None:
        """A code and a message stand in a JSON object, the code in a header."""
        self.assertEqual(
            V2.refuse(413, "too <large>"),
            Answer(
                413,
                (
                    (b"Content-Type", b"application/json; charset=utf-8"),
                    (b"X-Platform-Error-Code", b"request too large"),
                ),
                b'{"code":"request too large","message":"too \\u003clarge\\u003e"}',
            ),
        )

    def test_retry_after(self) -> None:
        """A refusal may say when to come back; never with 429."""
        answer = V2.refuse(503, "later", 30)
        self.assertEqual(told(answer), (503, "unavailable", "later"))
        self.assertIn((b"Retry-After", b"30"), answer.headers)

    def test_bad_lines(self) -> None:
        """All bad lines are named; that is 400, and nothing is stored."""
        bad = (BadLine(2, b"garbage", "missing fields"), BadLine(4, b"m f=", "missing field value"))
        self.assertEqual(
            told(V2.refuse_lines(bad, is_whole=True, kept=False)),
            (
                400,
                "invalid",
                "unable to parse 'garbage': missing fields\nunable to parse 'm f=': missing field value",
            ),
        )


class RetellTests(SynchronousTestCase):
    """What InfluxDB says of lines is told as 2.x tells it."""

    CONFLICT = 'partial write: field type conflict: input field "f" on measurement "m" is type string dropped=1'

    def retold(self, status: int, error: object, fate: Fate = Fate.REJECT) -> tuple[int, str, str]:
        """What a client of 2.x hears."""
        return told(V2.retell(Reply(fate, "", status, (), json.dumps(error).encode())))

    def test_conflict(self) -> None:
        """Points that were refused while others are stored are 422, whichever InfluxDB says so."""
        message = f"failure writing points to database: {self.CONFLICT}"
        expected = (422, "unprocessable entity", message)
        self.assertEqual(self.retold(400, {"error": self.CONFLICT}), expected)
        self.assertEqual(self.retold(422, {"code": "unprocessable entity", "message": message}), expected)
        line = {"original_line": "m f=", "line_number": 1, "error_message": "invalid column type"}
        self.assertEqual(
            self.retold(400, {"error": "partial write of line protocol occurred", "data": [line]})[2],
            "failure writing points to database: partial write: invalid column type",
        )

    def test_refused(self) -> None:
        """What InfluxDB refuses whole is 400; or 422, if it says that itself."""
        self.assertEqual(self.retold(400, {"error": "unable to parse 'x'"}), (400, "invalid", "unable to parse 'x'"))
        self.assertEqual(
            self.retold(422, {"code": "conflict", "message": "a limit"}), (422, "unprocessable entity", "a limit")
        )

    def test_no_destination(self) -> None:
        """A retention policy that does not exist, a 500 in 1.x, is 404."""
        error = {"error": "retention policy not found: w"}
        self.assertEqual(
            self.retold(500, error, Fate.NO_DESTINATION), (404, "not found", "retention policy not found: w")
        )

    def test_unreadable(self) -> None:
        """Of a refusal that cannot be read nothing is told but that it was one."""
        self.assertEqual(self.retold(400, ["x"]), (400, "invalid", "refused"))
