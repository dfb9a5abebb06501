"""What an application has recorded arrives, whatever happens to it, to Tor and to the gateway: each point once."""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.end_to_end.programs import (
    Cleanup,
    LocalGateway,
    Program,
    client_tor,
    free_port,
    start_gateway,
    temporary_directory,
    wait_until,
)
from tests.end_to_end.troubled import TroubledWay
from tests.influxd import Influxd
from tests.private_network import private_network

ROOT = Path(__file__).parents[2]
POINTS = 10_000
KILLS = 3
MANY = 1_000_000
"""More than one life comes to."""

SEND_SECONDS = 240.0
"""How long it may take until all is sent: some 20 reports, each over a circuit of its own, on a busy machine."""


class Application:
    """Lives of an application that records, one after the other.

    :ivar kept: the numbers of the points that were confirmed.
    """

    def __init__(self, cleanup: Cleanup, directory: Path, onion: str, socks: str) -> None:
        self._cleanup = cleanup
        self._directory = directory
        self._arguments = [onion, str(directory / "app"), socks]
        self.kept: set[int] = set()

    def live(self, count: int) -> Program:
        """Begin a life, in which so many points are recorded."""
        first = max(self.kept, default=-1) + 2000  # what the last one recorded, and did not hear of, was less
        command = [sys.executable, "-m", "tests.end_to_end.recording", *self._arguments, str(first)]
        return Program(self._cleanup, [*command, str(count)], self._directory / f"app-{first}.log")

    def last_life(self) -> Program:
        """Begin the last, in which what is still wanted is recorded, and not nothing."""
        return self.live(max(1000, POINTS - len(self.kept)))

    def die(self, life: Program, chance: random.Random, upto: int) -> None:
        """Kill it at a random moment after it has had so many points confirmed in all."""
        wait_until(lambda: len(self.kept | self.confirmed(life)) >= upto, lambda: life.log[-2000:])
        time.sleep(chance.uniform(0, 1.5))
        life.kill()
        self.kept |= self.confirmed(life)

    def said(self) -> str:
        """What else its lives said, for who wonders why a test fails."""
        logs = [path.read_text() for path in sorted(self._directory.glob("app-*.log"))]
        return "\n".join(line for log in logs for line in log.splitlines() if not line.startswith("kept "))

    def confirmed(self, life: Program) -> set[int]:
        """What it was told."""
        return {int(number) for number in re.findall(r"^kept (\d+)$", life.log, re.M)}


class KeptCase(TestCase):
    """An influxd."""

    def setUp(self) -> None:
        """Start it."""
        self.directory = temporary_directory(self.addCleanup)
        self.influxd = Influxd()
        self.addCleanup(self.influxd.close)
        self.influxd.start()
        self.influxd.create_database("telemetry")

    def kill_three_times(self, application: Application) -> None:
        """Three lives, each of which is killed when it has had another quarter of all points confirmed, or more."""
        chance = random.Random(POINTS)
        for number in range(1, KILLS + 1):
            application.die(application.live(MANY), chance, number * POINTS // (KILLS + 1))

    def assert_stored(self, application: Application) -> None:
        """All that was confirmed is stored, and no point twice."""
        self.assertGreaterEqual(len(application.kept), POINTS)
        found = self.influxd.query("SELECT n FROM kept", "telemetry")
        self.assertTrue(found, application.said())
        numbers = [number for _, number in found[0]["values"]]
        self.assertEqual(len(numbers), len(set(numbers)))
        self.assertEqual(application.kept - set(numbers), set())


class TorTests(KeptCase):
    """Tor is down."""

    def test_killed_while_tor_is_down(self) -> None:
        """10 000 points whose commit was confirmed, over three kill -9 of the application while tor is down: when tor
        comes up, all of them are stored, each once.
        """
        gateway = start_gateway(self.addCleanup, self.directory / "state", self.influxd.url)
        port = free_port()
        application = Application(self.addCleanup, self.directory, gateway.url, f"tcp:127.0.0.1:{port}")
        self.kill_three_times(application)
        life = application.last_life()
        life.wait_for("all kept")
        application.kept |= application.confirmed(life)
        self.assertFalse(self.influxd.query("SELECT count(n) FROM kept", "telemetry"))
        client_tor(self.addCleanup, self.directory, f"127.0.0.1:{port}")
        wait_until(lambda: "all sent" in life.log, lambda: life.log[-2000:], SEND_SECONDS)
        self.assert_stored(application)


class TroubledTests(KeptCase):
    """The gateway is there, and hardly to be had."""

    async def test_killed_while_the_gateway_is_in_trouble(self) -> None:
        """10 000 points whose commit was confirmed, over three kill -9 of the application, for a gateway which answers
        503, cuts connections and loses answers, three times of four: all are stored, each once.
        """
        gateway = LocalGateway(self.addCleanup, self.directory / "state", self.influxd.url)
        way = TroubledWay(gateway.port)
        listening = reactor.listenTCP(0, way, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        onion = await deferToThread(self.onion_for, listening.getHost().port)
        tor = await deferToThread(client_tor, self.addCleanup, self.directory)
        application = Application(self.addCleanup, self.directory, onion, tor.endpoint)
        await deferToThread(self.kill_three_times, application)
        life = application.last_life()
        await deferToThread(wait_until, lambda: "all sent" in life.log, lambda: life.log[-2000:], SEND_SECONDS)
        application.kept |= application.confirmed(life)
        self.assert_stored(application)
        self.assertGreater(min(way.seen[fate] for fate in ("503", "cut", "answer lost", "well")), 2, way.seen)

    def onion_for(self, port: int) -> str:
        """Host an onion service that leads to a port of this machine.

        :returns: its URL.
        """
        home = self.directory / "host"
        home.mkdir(mode=0o700)
        torrc = home / "torrc"
        torrc.write_text(
            f"DataDirectory {home}/data\nSocksPort 0\nHiddenServiceDir {home}/onion\n"
            f"HiddenServicePort 80 127.0.0.1:{port}\nLog notice stdout\n"
        )
        host = Program(self.addCleanup, [private_network().tor_binary, "-f", torrc], self.directory / "host.log")
        host.wait_for("Bootstrapped 100%")
        return f"http://{(home / 'onion' / 'hostname').read_text().strip()}"
