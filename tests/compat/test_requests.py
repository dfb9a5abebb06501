"""Reporters of every release ever published are taken by this gateway, and this reporter sends what it always sent."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import torfluxd
from tests.fuzzing.arena import Arena
from tests.onion.socks_proxy import ONION, MemoryProxy
from torfluxd.reporter.reporter import Reporter

RECORDED = sorted(Path(__file__).parent.glob("*/*.http"))

ANY_LENGTH = re.compile(rb"(?<=\r\nContent-Length: )[0-9]+(?=\r\n)")

TIME_NS = 1_700_000_000_000_000_000


def head_of(request: bytes) -> bytes:
    """All that comes before the points, but for how long they are."""
    return ANY_LENGTH.sub(b"N", request.partition(b"\r\n\r\n")[0] + b"\r\n")


def report(retention_policy: str | None) -> bytes:
    """What a reporter of this version sends through the SOCKS port, once the stream is open."""
    proxy = MemoryProxy()
    reporter = Reporter(
        f"http://{ONION}", "telemetry", retention_policy=retention_policy, socks=proxy.endpoint, reactor=proxy.reactor
    )
    reporter.startService()
    reporter.record("app", {"starts": 1}, {"version": "1.0"}, time_ns=TIME_NS)
    reporter.flush()
    connection = proxy.accept()
    connection.open()
    said = connection.sent()
    return said[said.index(b"POST ") :]


class CompatibilityTests(SynchronousTestCase):
    """Recorded requests, byte for byte."""

    def test_gateway_takes_them(self) -> None:
        """The gateway takes each request that a reporter of any release sends, and InfluxDB gets its points."""
        arena = Arena()
        self.addCleanup(arena.close)
        self.assertNotEqual(RECORDED, [])
        for path in RECORDED:
            request = path.read_bytes()
            outcome = arena.send(request)
            lines = [line for line in request.partition(b"\r\n\r\n")[2].split(b"\n") if line and line[:1] != b"#"]
            self.assertEqual((outcome.statuses, list(outcome.broken)), ([204], []), path)
            self.assertEqual(outcome.lines, [line.rpartition(b" ")[0] for line in lines], path)

    def test_reporter_sends_them(self) -> None:
        """Method, path, headers, their order and their case are those of the first release that sent them so.

        Should this fail, every reporter that is out there can be told from those of this version: is that worth it?
        Then record what it sends now in a folder for the new release, and leave the older ones.
        """
        newest = RECORDED[-1].parent
        self.assertLessEqual(newest.name, torfluxd.__version__)
        for name, policy in (("report", None), ("report-with-policy", "a week")):
            recorded = (newest / f"{name}.http").read_bytes()
            self.assertEqual(head_of(report(policy)), head_of(recorded))
