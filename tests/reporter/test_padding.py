"""The sizes of reports."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.influxd import start_influxd
from torfluxd.gateway.exchange import Collect, Head
from torfluxd.gateway.site import InfluxdbSite
from torfluxd.influx.check import check
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.reporter.padding import COMMENT_BYTES, PADDED_SIZES, padded

KIB = 1024
LINE = b"backup,version=2.1 seconds=12.8 1700000000000000000"


class PaddedTests(SynchronousTestCase):
    """Tests for `padded`."""

    @given(st.integers(min_value=0, max_value=600 * KIB))
    @example(0)
    @example(KIB - 1)
    @example(KIB)
    @example(KIB + 1)
    @example(2 * KIB - 1)
    @example(256 * KIB)
    @example(256 * KIB + 1)
    def test_a_few_sizes(self, size: int) -> None:
        """A body has the smallest of the sizes that it fits into, to the byte, and begins with what it was."""
        body = b"x" * size
        result = padded(body)
        fitting = [one for one in PADDED_SIZES if one >= size]
        self.assertEqual(len(result), fitting[0] if fitting else -(-size // (256 * KIB)) * 256 * KIB)
        self.assertTrue(result.startswith(body))

    @given(st.integers(min_value=1, max_value=100))
    def test_the_lines_are_the_same(self, points: int) -> None:
        """What is added means nothing: the gateway finds the lines that were there, and nothing to refuse."""
        body = b"\n".join([LINE] * points)
        for one in (body, body + b"\n"):
            checked = check(padded(one))
            self.assertEqual((checked.lines, checked.points, checked.bad), (body, points, ()))

    def test_nothing_to_report(self) -> None:
        """A report without points is as large as the smallest with some, and nothing in it is a line."""
        result = padded(b"")
        self.assertEqual(len(result), PADDED_SIZES[0])
        self.assertEqual((check(result).points, check(result).bad), (0, ()))

    def test_no_long_lines(self) -> None:
        """No comment is longer than a reader of lines expects, however much is added."""
        self.assertEqual(max(map(len, padded(LINE * 3000).split(b"\n")[1:])), COMMENT_BYTES - 1)


class PaddedGatewayTests(TestCase):
    """Padded reports, at a real gateway and a real influxd."""

    async def test_taken(self) -> None:
        """Both answer 204 to padded reports and to empty ones, and store the points that are in them."""
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        site = InfluxdbSite(reactor, parse_influxdb_url(influxd.url))  # type: ignore[arg-type]
        self.addCleanup(site.close)
        for points, body in ((0, b""), (1, b"m f=1"), (9, b"\n".join(b"m f=%d" % n for n in range(1, 10)))):
            lines = b"\n".join(b"%b %d" % (line, 10**18 + points * 10 + n) for n, line in enumerate(body.split(b"\n")))
            result = padded(lines if body else b"")
            self.assertEqual(influxd.write("telemetry", result).status, 204)
            plan = site.plan(Head(b"POST", b"/write?db=telemetry&precision=ns", ()))
            assert isinstance(plan, Collect)
            answer = await plan.complete(result, "a writer")
            # Those times are long ago, and refused; the comments are not.
            self.assertEqual(answer.status, 204 if not points else 400)
            self.assertNotIn(b"#", answer.body)
        self.assertEqual(influxd.count("telemetry", "m"), 10)
