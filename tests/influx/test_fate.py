"""An answer to a write means for the lines what it should: what is the vendor's fault is no fault of theirs."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Fate, Header, Reply
from torfluxd.influx.api import Api
from torfluxd.influx.fate import classify, why_all_refused

JSON = ((b"content-type", b"application/json"),)
HTML = ((b"content-type", b"text/html"), (b"server", b"nginx"))

CAUSES = {
    "",
    ": the database does not exist",
    ": the retention policy does not exist",
    ": the bucket does not exist",
    ": the organisation does not exist",
}


def body(**error: object) -> bytes:
    """The body of an error."""
    return json.dumps(error).encode()


class AllRefusedTests(SynchronousTestCase):
    """When it is sure that 1.x refused every point."""

    ERROR = (*JSON, (b"x-influxdb-error", b"partial write"))

    def why(self, text: str, points: int = 2, headers: tuple[Header, ...] = ERROR, status: int = 400) -> str:
        """Why all points of a batch were refused, when this is answered."""
        return why_all_refused(classify(status, headers, body(error=text)), points)

    def test_all(self) -> None:
        """It says so, with as many points dropped as there were."""
        for cause in ("field type conflict", "invalid field name", "invalid tag key"):
            self.assertEqual(self.why(f'partial write: {cause}: input "f"\n dropped=2'), cause)
        text = "partial write: points beyond retention policy dropped=2"
        self.assertEqual(self.why(text), "points beyond retention policy")

    def test_others(self) -> None:
        """It is not when the number is another, when a name out of the batch says it, or for any other cause."""
        for text in (
            "partial write: field type conflict: x dropped=1",
            "partial write: field type conflict: x dropped=02",
            "partial write: field type conflict: x dropped=2 dropped=1",
            "partial write: field type conflict: x dropped=2 ",
            "partial write: max-series-per-database limit exceeded: (1) dropped=2",
            "partial write: unable to parse 'field type conflict: ': missing fields dropped=2",
            "field type conflict",
        ):
            self.assertEqual(self.why(text), "", text)

    def test_no_influxdb(self) -> None:
        """Nor when a proxy says it, or when the answer was too long to be held, and its header was cut."""
        text = "partial write: field type conflict: x dropped=2"
        self.assertEqual(self.why(text, headers=JSON), "")
        self.assertEqual(self.why(text, status=503), "")
        cut = (*JSON, (b"x-influxdb-error", text.encode()))
        self.assertEqual(why_all_refused(classify(400, cut, b""), 2), "")


class EveryApiTests(SynchronousTestCase):
    """What means the same whichever InfluxDB answers."""

    def test_stored(self) -> None:
        """204 means stored, whatever comes with it."""
        for api in Api:
            self.assertEqual(classify(204, JSON, b"", api), Reply(Fate.DELIVERED, status=204))

    def test_too_large(self) -> None:
        """A batch that is too large is refused for its size, whoever in front of InfluxDB says so."""
        for api in Api:
            for headers in ((), JSON, HTML):
                reply = classify(413, headers, b"<html>", api)
                self.assertEqual((reply.fate, reply.status), (Fate.REJECT, 413))

    def test_vendors_faults(self) -> None:
        """Everything else is worth another try, in InfluxDB's words or others'."""
        for api in Api:
            for status in (200, 201, 202, 301, 307, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504, 599, 999):
                for headers, answer in (
                    (JSON, b"{}"),
                    (HTML, b"<html>"),
                    (JSON, body(error="x", code="y", message="z")),
                ):
                    reply = classify(status, headers, answer, api)
                    self.assertEqual(reply.fate, Fate.POSTPONE, (api, status))
                    self.assertTrue(reply.reason.startswith(f"it answered {status}"))

    def test_refused_by_something_else(self) -> None:
        """A 400 by a proxy, or by a TLS port that is spoken to in plain HTTP, is about the vendor's set-up."""
        for api in Api:
            for status in (400, 422):
                for headers in ((), HTML, ((b"content-type", b"text/plain; charset=utf-8"),)):
                    self.assertEqual(classify(status, headers, b"Bad Request", api).fate, Fate.POSTPONE)

    def test_retry_after(self) -> None:
        """Whoever asks us to wait is listened to, up to an hour."""
        for value, expected in ((b"0", 0.0), (b"17", 17.0), (b"86400", 3600.0), (b"9" * 5000, 3600.0)):
            self.assertEqual(classify(503, ((b"retry-after", value),), b"").retry_after_seconds, expected)

    def test_unreadable_retry_after(self) -> None:
        """Dates and nonsense are no wait."""
        for value in (b"", b"-1", b"1.5", b"Wed, 21 Oct 2026 07:28:00 GMT", b"\xb2"):
            self.assertIsNone(classify(503, ((b"retry-after", value),), b"").retry_after_seconds)

    @given(
        st.integers(100, 999),
        st.lists(st.tuples(st.binary(), st.binary())),
        st.binary() | st.fixed_dictionaries({"error": st.text()}).map(lambda error: json.dumps(error).encode()),
        st.sampled_from(Api),
    )
    def test_reason(self, status: int, headers: list[Header], answer: bytes, api: Api) -> None:
        """The reason, which goes to a log, has nothing of the answer; and there is one for everything but success."""
        reply = classify(status, headers, answer, api)
        self.assertEqual(bool(reply.reason), reply.fate is not Fate.DELIVERED)
        self.assertIn(reply.reason.removeprefix(classify(status, (), b"", api).reason), CAUSES)


class V1Tests(SynchronousTestCase):
    """What 1.x answers."""

    def test_refused(self) -> None:
        """A 400 in InfluxDB's own shape is about the lines."""
        for headers in (
            JSON,
            ((b"content-type", b"Application/JSON; charset=utf-8"),),
            ((b"x-influxdb-error", b"unable to parse"),),
        ):
            self.assertEqual(classify(400, headers, b"").fate, Fate.REJECT)

    def test_no_database(self) -> None:
        """A database that does not exist is told apart from a path that does not."""
        for headers, answer in (
            (JSON, body(error='database not found: "t"')),
            (((b"x-influxdb-error", b'database not found: "t"'),), b""),
        ):
            reply = classify(404, headers, answer)
            self.assertEqual(reply.fate, Fate.NO_DESTINATION)
            self.assertEqual(reply.reason, "it answered 404 Not Found: the database does not exist")

    def test_no_retention_policy(self) -> None:
        """So is a retention policy that was asked for by name, though it is a 500."""
        reply = classify(500, ((b"x-influxdb-error", b"retention policy not found: nope"),), b"")
        self.assertEqual(reply.fate, Fate.NO_DESTINATION)
        self.assertTrue(reply.reason.endswith(": the retention policy does not exist"))

    def test_missing_default_retention_policy(self) -> None:
        """A database that lost its default retention policy is the vendor's to mend."""
        error = ((b"x-influxdb-error", b"retention policy not found:"),)
        self.assertEqual(classify(500, error, b"").fate, Fate.POSTPONE)

    def test_unprocessable(self) -> None:
        """422 is nothing that 1.x says."""
        self.assertEqual(classify(422, JSON, body(error="x")).fate, Fate.POSTPONE)


class V2Tests(SynchronousTestCase):
    """What 2.x answers, as it was read in its source."""

    def classify(self, status: int, code: str, message: str) -> Reply:
        """What an error means."""
        headers = ((b"content-type", b"application/json; charset=utf-8"), (b"x-platform-error-code", code.encode()))
        return classify(status, headers, body(code=code, message=message), Api.V2)

    def test_refused(self) -> None:
        """Lines that cannot be read, and points that cannot be stored, are refused."""
        self.assertEqual(self.classify(400, "invalid", "unable to parse 'x': missing fields").fate, Fate.REJECT)
        message = "failure writing points to database: partial write: field type conflict"
        self.assertEqual(self.classify(422, "unprocessable entity", message).fate, Fate.REJECT)

    def test_too_long(self) -> None:
        """So they are when the answer is too long to be held."""
        self.assertEqual(classify(422, ((b"x-platform-error-code", b"x"),), b"", Api.V2).fate, Fate.REJECT)

    def test_no_bucket(self) -> None:
        """A bucket that does not exist is told apart from an organisation that does not."""
        reply = self.classify(404, "not found", 'bucket "t/w" not found')
        self.assertEqual(
            (reply.fate, reply.reason), (Fate.NO_DESTINATION, "it answered 404 Not Found: the bucket does not exist")
        )
        self.assertEqual(self.classify(404, "not found", 'organization name "o" not found').fate, Fate.POSTPONE)

    def test_vendors_faults(self) -> None:
        """A token that is no good, and limits that will be over, are worth another try."""
        for status, code in (
            (401, "unauthorized"),
            (403, "forbidden"),
            (429, "too many requests"),
            (500, "internal error"),
            (503, "unavailable"),
        ):
            self.assertEqual(self.classify(status, code, "why").fate, Fate.POSTPONE)

    def test_in_the_words_of_1_8(self) -> None:
        """1.8 serves the path of 2.x, and answers in its own words."""
        answer = body(error='database not found: "t"')
        self.assertEqual(classify(404, JSON, answer, Api.V2).fate, Fate.NO_DESTINATION)


class V3Tests(SynchronousTestCase):
    """What InfluxDB 3 answers, as it was read in its source: it names no type of its errors."""

    CLUSTER = ((b"cluster-uuid", b"6c3a5f0e"),)

    def test_refused(self) -> None:
        """Lines that were refused, and limits that they hit, are refusals."""
        line = {"original_line": "m f=", "line_number": 1, "error_message": "No fields were provided"}
        for status in (400, 422):
            answer = body(error="partial write of line protocol occurred", data=[line])
            self.assertEqual(classify(status, (), answer, Api.V3).fate, Fate.REJECT)

    def test_too_long(self) -> None:
        """So they are when the answer is too long to be held, or plain text."""
        self.assertEqual(classify(400, self.CLUSTER, b"", Api.V3).fate, Fate.REJECT)
        self.assertEqual(classify(400, self.CLUSTER, b"empty write", Api.V3).fate, Fate.REJECT)

    def test_vendors_faults(self) -> None:
        """Refused tokens, whose answers are empty, and its other faults are worth another try."""
        for status in (401, 403, 404, 405, 500, 503):
            self.assertEqual(classify(status, self.CLUSTER, b"", Api.V3).fate, Fate.POSTPONE)
