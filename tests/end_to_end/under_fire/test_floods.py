"""One stranger floods, another writes: on the socket that tor connects strangers to, with PROXY lines of our own."""

from __future__ import annotations

import re
import resource
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import Program, temporary_directory, wait_until
from tests.end_to_end.under_fire.flooder import connect_unix
from tests.end_to_end.under_fire.honest import HonestWriter
from tests.end_to_end.under_fire.server import say
from tests.influxd import start_influxd
from torfluxd.gateway.bounds import HEAD_SECONDS
from torfluxd.gateway.front import SWEEP_SECONDS

HONEST = 7
"""The circuit of the honest writer."""

FLOOD_SECONDS = 25.0
"""Long enough that a flooder is slowed for ten seconds, refused for ten, and has his first circuit closed."""

ATTEMPTS = 3
"""What else the machine does can only add to a latency: the best of so many counts."""

HALF_OPEN = 10_000
SPARE_FILES = 500
"""What a process needs besides so many connections."""

KIB = 1024


class FloodCase(SynchronousTestCase):
    """An influxd, and a door as it stands behind a tor of our own."""

    def setUp(self) -> None:
        """Start them."""
        self.directory = temporary_directory(self.addCleanup)
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        self.path = self.directory / "door"
        self.door = self.run_module("circuit_door", str(self.path), influxd.url)
        self.door.wait_for("open")
        self.honest = HonestWriter(lambda: connect_unix(str(self.path), HONEST))
        self.addCleanup(self.honest.close)
        self.honest.measure(1)  # what comes first takes longer

    def run_module(self, name: str, *arguments: str) -> Program:
        """Run one of our programs."""
        command = [sys.executable, "-m", f"tests.end_to_end.under_fire.{name}", *arguments]
        return Program(self.addCleanup, command, self.directory / f"{name}.log")


class FloodTests(FloodCase):
    """One circuit floods as fast as it can."""

    def test_an_honest_writer_hardly_notices(self) -> None:
        """While another circuit floods, an honest writer has 99 % of his writes stored, in twice the time at most, and
        the flooder's circuit is closed.
        """
        slower = []
        for attempt in range(ATTEMPTS):
            alone = self.honest.measure(3)
            flooder = self.run_module("flooder", "flood", str(self.path), str(1000 * attempt))
            flooder.wait_for("answered")
            under_fire = self.honest.measure(FLOOD_SECONDS)
            flooder.stop()
            slower.append(under_fire.median / alone.median)
            say(f"alone: {alone}; beside a flood: {under_fire}; the flooder: {flooder.log.splitlines()[-1]}")
            self.assertGreaterEqual(under_fire.success, 0.99)
            if slower[-1] <= 2:
                break
        self.assertLessEqual(min(slower), 2)
        self.assertIn("closed a circuit", self.door.log)
        self.assertNotIn("Traceback", self.door.log)


class HalfOpenTests(FloodCase):
    """Connections that send half a head and no more."""

    def test_ten_thousand_of_them(self) -> None:
        """10 000 half-open connections take 6 KB each at most, an honest writer's 99th percentile stays below 50 ms,
        and all of them are closed at their deadline.
        """
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        connections = min(HALF_OPEN, most - SPARE_FILES)
        if connections < HALF_OPEN:
            say(f"only {connections} connections: the hard limit of open files is {most} (ulimit -Hn)")
        before = self.door.resident_bytes()
        holder = self.run_module("flooder", "hold", str(self.path), str(connections))
        holder.wait_for("holding")
        while_held = self.honest.measure(4)
        each = (self.door.resident_bytes() - before) / connections
        wait_until(lambda: "all closed" in holder.log, lambda: holder.log, 2 * HEAD_SECONDS)
        say(f"{connections} half-open: {each / KIB:.1f} KiB each; beside them: {while_held}; {holder.log.split()}")
        self.assertLessEqual(each, 6000)
        self.assertEqual(1.0, while_held.success)
        self.assertLess(while_held.p99, 0.05)
        opened, closed = (float(found) for found in re.findall(r"after ([\d.]+) s", holder.log))
        self.assertLess(closed, opened + HEAD_SECONDS + SWEEP_SECONDS + 2)
