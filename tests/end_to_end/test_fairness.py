"""One stranger floods the onion service, another writes: through a real Tor network."""

from __future__ import annotations

import re
import sys

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.end_to_end.programs import (
    ClientTor,
    Program,
    client_tor,
    start_gateway,
    temporary_directory,
)
from tests.end_to_end.under_fire.flooder import connect_socks
from tests.end_to_end.under_fire.honest import HonestWriter, Measured
from tests.end_to_end.under_fire.server import say
from tests.influxd import start_influxd
from torfluxd.onion.control import ControlConnection, connect_control

FLOOD_SECONDS = 30.0
"""A flooder is slowed for ten seconds, then refused for ten, then closed. The rest is for the time
that his streams need through a network of which all nodes share two cores with him."""

CLOSE_SECONDS = 60.0
"""How long the flood may go on until its circuit is closed."""

CLOSED_AT_OUR_WISH = re.compile(r"^(\d+) CLOSED .*PURPOSE=HS_SERVICE_REND.* REASON=REQUESTED")
"""An event of a circuit of the onion service that was closed because a controller asked for it."""


class FairnessCase(TestCase):
    """An influxd, and one tor each for an honest client and for a flooder."""

    timeout = 300

    def setUp(self) -> None:
        """Start them."""
        self.directory = temporary_directory(self.addCleanup)
        self.influxd = start_influxd(self)
        self.influxd.create_database("telemetry")
        self.honest_tor = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
        self.hostile_tor = client_tor(self.addCleanup, temporary_directory(self.addCleanup))

    def honest(self, hostname: str) -> HonestWriter:
        """An honest writer, on a warm circuit of his own."""
        writer = HonestWriter(lambda: connect_socks(self.honest_tor.port, hostname, b"honest"), hostname)
        self.addCleanup(writer.close)
        return writer

    def flood(self, hostname: str) -> Program:
        """Begin to flood."""
        module = "tests.end_to_end.under_fire.flooder"
        command = [sys.executable, "-m", module, "flood", f"tor:{self.hostile_tor.port}", hostname]
        return Program(self.addCleanup, command, self.directory / "flooder.log")

    def in_thread(self, writer: HonestWriter, seconds: float) -> Deferred[Measured]:
        """Let an honest writer write for so long."""
        return deferToThread(writer.measure, seconds)

    async def control_of(self, tor: ClientTor) -> ControlConnection:
        """The control port of a tor."""
        control = await connect_control(UNIXClientEndpoint(reactor, str(tor.control)), reactor, "a tor")
        self.addCleanup(control.close)
        return control


class FairnessTests(FairnessCase):
    """A gateway with a tor of its own."""

    async def test_a_flooder_loses_his_circuit_and_nobody_else_a_write(self) -> None:
        """While one client floods, another has 99 % of his writes stored at least; and tor closes the circuit of the
        first.
        """
        gateway = start_gateway(self.addCleanup, self.directory / "state", self.influxd.url)
        endpoint = UNIXClientEndpoint(reactor, str(gateway.state / "tor" / "control.sock"))
        control = await connect_control(endpoint, reactor, "the gateway's tor")
        self.addCleanup(control.close)
        honest = self.honest(gateway.hostname)
        await self.in_thread(honest, 2)
        alone = await self.in_thread(honest, 5)
        closed: list[str] = []
        await control.listen("CIRC", lambda event: closed.extend(CLOSED_AT_OUR_WISH.findall(event)))
        flooder = self.flood(gateway.hostname)
        await deferToThread(flooder.wait_for, "answered")
        under_fire = await self.in_thread(honest, FLOOD_SECONDS)
        for _ in range(round(CLOSE_SECONDS)):
            if closed:
                break
            await deferLater(reactor, 1)
        flooder.stop()
        say(f"alone: {alone}; beside a flood: {under_fire}; the flooder: {flooder.log.splitlines()[-1]}")
        self.assertTrue(closed)
        self.assertIn("tor closes their circuits", gateway.log)
        self.assertGreaterEqual(under_fire.success, 0.99)
        for words in ("Traceback", "CLOSECIRCUIT", "fc00:dead", *(f"circuit {circuit}" for circuit in closed)):
            self.assertNotIn(words, gateway.log)


@pytest.mark.torture
class BareOnionTests(FairnessCase):
    """An onion service that leads to influxd straight away, for comparison."""

    async def test_the_same_flood_at_a_bare_onion(self) -> None:
        """What the same flood does to an honest client of a bare onion is reported; nothing is promised about it."""
        service = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
        control = await self.control_of(service)
        port = self.influxd.url.rpartition(":")[2]
        reply = await control.command(f"ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=80,127.0.0.1:{port}")
        hostname = re.search(r"ServiceID=(\w+)", reply)[1] + ".onion"  # type: ignore[index]  # it is in the reply
        honest = self.honest(hostname)
        for _ in range(60):
            if (await self.in_thread(honest, 1)).latencies:
                break
        alone = await self.in_thread(honest, 5)
        flooder = self.flood(hostname)
        await deferToThread(flooder.wait_for, "answered")
        under_fire = await self.in_thread(honest, FLOOD_SECONDS)
        flooder.stop()
        say(f"bare onion, alone: {alone}; beside a flood: {under_fire}; {flooder.log.splitlines()[-1]}")
        self.assertTrue(alone.latencies)
