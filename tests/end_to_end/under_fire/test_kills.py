"""The gateway and influxd are killed and stopped while strangers write: nothing acknowledged is lost, nothing twice."""

from __future__ import annotations

import random
import time

import pytest

from tests.end_to_end.under_fire.crowd import LOST
from tests.end_to_end.under_fire.server import FireCase, say

LONG_PAUSE_SECONDS = 0.02
"""How long strangers pause between writes in a long run, whose points must fit into the memory of a small machine."""

STOP_SECONDS = 10.0
"""How long a stop may take: five seconds for what is in flight, and something for a slow machine."""

REPORTED_CYCLES = 10
"""After how many cycles a long run says how far it is."""


class GatewayKilledTests(FireCase):
    """kill -9 of the gateway, with outages of InfluxDB in between."""

    def test_killed(self) -> None:
        """Five times the gateway is killed while strangers write, InfluxDB away or not: nothing is lost or twice."""
        self.kill_often(5, at_least=1_000)

    @pytest.mark.torture
    def test_killed_often(self) -> None:
        """Nor is it two hundred times, with a hundred thousand points and more."""
        self.kill_often(200, at_least=100_000)

    def kill_often(self, cycles: int, at_least: int) -> None:
        """Kill it at random moments; InfluxDB goes and comes as chance will have it, and once in any case."""
        chance = random.Random(cycles)
        up = True
        self.server.start()
        self.introduce()
        with self.crowd(pause_seconds=LONG_PAUSE_SECONDS if cycles > 5 else 0.0) as crowd:
            for cycle in range(1, cycles + 1):
                if cycle == 2 or chance.random() < 0.5:
                    up = self.toggle(up)
                time.sleep(chance.uniform(0, 0.6))
                self.server.kill()
                if chance.random() < 0.2:
                    up = self.toggle(up)
                self.server.start()
                self.wait_acknowledged(crowd, 20)
                if cycle % REPORTED_CYCLES == 0:
                    say(f"kill -9 of the gateway, {cycle} of {cycles}: {len(self.register.acknowledged)} points")
            if not up:
                self.toggle(up)
        self.assert_only(crowd, "204", LOST)
        census = self.settle()
        say(f"kill -9 of the gateway, {cycles} times: {census}")
        self.assertGreaterEqual(census.acknowledged, at_least)

    def toggle(self, up: bool) -> bool:
        """Stop InfluxDB, or start it again."""
        if up:
            self.influxd.stop()
        else:
            self.influxd.start()
        return not up


class InfluxdKilledTests(FireCase):
    """kill -9 of influxd."""

    def test_killed(self) -> None:
        """Three times influxd is killed while strangers write: they hear nothing but 204; nothing is lost or twice."""
        self.kill_often(3)

    @pytest.mark.torture
    def test_killed_often(self) -> None:
        """And so fifty times."""
        self.kill_often(50)

    def kill_often(self, cycles: int) -> None:
        """Kill it at random moments."""
        chance = random.Random(cycles)
        self.server.start()
        self.introduce()
        with self.crowd(pause_seconds=LONG_PAUSE_SECONDS if cycles > 5 else 0.0) as crowd:
            for cycle in range(1, cycles + 1):
                time.sleep(chance.uniform(0, 1.0))
                self.influxd.kill()
                time.sleep(chance.uniform(0, 0.5))
                self.influxd.start()
                self.wait_acknowledged(crowd, 20)
                if cycle % REPORTED_CYCLES == 0:
                    say(f"kill -9 of influxd, {cycle} of {cycles}: {len(self.register.acknowledged)} points")
        self.assert_only(crowd, "204")
        say(f"kill -9 of influxd, {cycles} times: {self.settle()}")


class RestartTests(FireCase):
    """The gateway is restarted as an operator does (SIGTERM)."""

    def test_in_an_outage(self) -> None:
        """A restart in the middle of an outage loses nothing of what came before it."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=10) as crowd:
            self.influxd.stop()
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204")
        self.server.stop()
        self.assertGreater(self.server.points_in_spool(), 0)
        self.server.start()
        with self.crowd(writers=10) as crowd:
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204")
        self.influxd.start()
        self.settle()

    def test_while_influxdb_hangs(self) -> None:
        """A restart while InfluxDB hangs takes no longer than any other, and loses nothing that was acknowledged."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=10) as crowd:
            self.wait_acknowledged(crowd, 100)
            self.influxd.freeze()
            time.sleep(0.5)
            begun = time.monotonic()
            self.server.stop()
            self.assertLess(time.monotonic() - begun, STOP_SECONDS)
            self.influxd.thaw()
            self.server.start()
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204", "503", LOST)
        self.settle()

    def test_under_load(self) -> None:
        """Restarts while strangers write, InfluxDB there or not, lose nothing, and none is told anything untrue."""
        self.server.start()
        self.introduce()
        with self.crowd() as crowd:
            for up in (True, False, False, True):
                self.wait_acknowledged(crowd, 100)
                self.server.stop()
                if up:
                    self.influxd.stop()
                self.server.start()
            self.influxd.restart()
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204", LOST)
        self.settle()
