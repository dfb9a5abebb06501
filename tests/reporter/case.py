"""A reporter with everything around it in memory, and a clock: what its tests have in common."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.socks_proxy import ONION
from tests.reporter.doubles import FakeGateway, FakeTor
from torfluxd.reporter.privacy import branches
from torfluxd.reporter.reporter import Reporter

URL = f"http://{ONION.hostname}"
NOON = 1_700_000_040_000_000_000
"""A full minute: an interval begins."""

UNAVAILABLE = (503, {"Retry-After": "120"}, b"")
REFUSED = (400, {"X-Influxdb-Error": "partial write"}, b"")


def wait_ten_seconds(attempt: int) -> float:
    """A backoff that is easy to follow."""
    return 10.0


class ReporterCase(SynchronousTestCase):
    """A reporter in memory, with a tor and a gateway in memory, and times that are easy to follow."""

    def setUp(self) -> None:
        """Nothing is started yet."""
        self.clock = Clock()
        self.gateway = FakeGateway()
        self.tor = FakeTor(self.clock, self.gateway)
        self.reporter = self.reporter_for()
        self.moments = next(branches(lambda: 0.5))

    def reporter_for(self, **options: Any) -> Reporter:
        """A reporter that uses the tor, with these options."""
        usual: dict[str, Any] = {
            "socks": self.tor,
            "reactor": self.clock,
            "now_ns": lambda: NOON + int(self.clock.seconds() * 1e9),
            "chance": lambda: 0.5,
            "backoff": wait_ten_seconds,
            "granularity_seconds": 0,
            "empty_reports": False,
            "padding": False,
        }
        return Reporter(URL, "telemetry", **{**usual, **options})

    def record(self, *values: int) -> None:
        """Record one point for each value."""
        for value in values:
            self.reporter.record("m", {"f": value})

    def advance(self, seconds: float) -> None:
        """Time passes, and bytes flow."""
        self.clock.advance(seconds)
        self.tor.pump()

    def depart(self, seconds_before: float = 0) -> None:
        """The interval ends, and the moment of its report comes, or nearly."""
        self.end_interval()
        self.advance(60 * self.moments() - seconds_before)

    def end_interval(self) -> None:
        """The interval ends."""
        self.advance(60.001 - self.clock.seconds() % 60)

    def stop(self, reporter: Reporter | None = None) -> Deferred[None]:
        """Stop it; bytes flow."""
        stopped = (reporter or self.reporter).stopService()
        self.tor.pump()
        return stopped

    def flush(self, deadline_seconds: float = 60) -> Deferred[bool]:
        """Flush; bytes flow."""
        flushed = self.reporter.flush(deadline_seconds)
        self.tor.pump()
        return flushed

    def values_arrived(self) -> list[list[str]]:
        """The field values of each write that was stored."""
        return [[line.split()[1] for line in lines if " " in line] for lines in self.gateway.arrived]

    def values(self) -> list[str]:
        """The same, of all of them together."""
        return [value for values in self.values_arrived() for value in values]

    def new_directory(self) -> Path:
        """A directory that is removed after the test."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        return Path(directory.name)
