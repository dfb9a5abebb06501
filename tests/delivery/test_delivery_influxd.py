"""What is in a spool on disk reaches a real influxd: exactly, whatever is refused, dropped or restarted on the way."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.trial.unittest import TestCase

from tests.counted import Counted
from tests.influxd import Influxd, start_influxd
from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.couriers import Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import OneThread
from torfluxd.delivery.letters import look
from torfluxd.delivery.sieve import Sieve
from torfluxd.delivery.steps import Bounds
from torfluxd.influx.agent import influxdb_agent
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import parse_influxdb_url

TELEMETRY = Destination("telemetry")
DROPPED = Destination("dropped")
TIME_NS = 1_900_000_000_000_000_000
DEADLINE_SECONDS = 60.0


class DeliveryTests(TestCase):
    """A spool, couriers, a sieve, and influxd."""

    async def set_up(self, influxd: Influxd) -> None:
        """Everything but what is in the spool."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "spool.db"
        url = parse_influxdb_url(influxd.url)
        agent = influxdb_agent(reactor, url)
        self.addCleanup(agent.close)
        bounds = Bounds(lend_points=10_000, lend_bytes=1024 * 1024)
        self.spool = await DiskSpool.open(self.path, reactor, OneThread(reactor), self.fail, bounds)
        self.addCleanup(self.spool.close)
        self.upstream = Counted(HttpUpstream(AgentPoster(agent, url, reactor)))
        self.couriers = Couriers(self.spool, Sieve(self.upstream), reactor, lambda _: 0.05, lambda _: None)
        self.addCleanup(self.couriers.stop, 0)

    async def put(self, where: Destination, lines: list[bytes]) -> None:
        """Put each line alone, as strangers do."""
        await gatherResults([self.spool.put(Batch(where, line, 1)) for line in lines])

    async def test_exactly(self) -> None:
        """Of ten thousand small writes InfluxDB stores all but three; these are dead letters, and nobody waits."""
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        await self.set_up(influxd)
        lines = [b"cpu,host=%d load=%d %d" % (number, number, TIME_NS + number) for number in range(10_000)]
        for number in (17, 18, 5000):
            lines[number] = b'cpu,host=%d load="high" %d' % (number, TIME_NS + number)
        await self.put(TELEMETRY, lines)
        self.couriers.start()
        self.assertTrue(await self.couriers.flush(DEADLINE_SECONDS))
        self.assertEqual(influxd.count("telemetry", "cpu"), 9997)
        counts = self.spool.counts
        self.assertEqual((counts.points, counts.delivered_points, counts.rejected_points), (0, 9997, 3))
        self.assertLess(self.upstream.sends, 1 + 3 * 2 * 14)
        await self.couriers.stop(1.0)
        await self.spool.close()
        letters = b"\n".join(buried.letter.batch.lines for buried in look(self.path).letters)
        self.assertEqual(letters.split(b"\n"), [lines[17], lines[18], lines[5000]])

    async def test_nothing_but_refused(self) -> None:
        """When InfluxDB refuses all that waits, one send tells so, and all of it is a dead letter, with the reason."""
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        influxd.write("telemetry", b"cpu load=1 %d" % TIME_NS)
        await self.set_up(influxd)
        lines = [b'cpu,host=%d load="high" %d' % (number, TIME_NS + number) for number in range(1000)]
        await self.put(TELEMETRY, lines)
        self.couriers.start()
        self.assertTrue(await self.couriers.flush(DEADLINE_SECONDS))
        self.assertEqual((self.spool.counts.rejected_points, self.upstream.sends), (1000, 1))
        await self.couriers.stop(1.0)
        await self.spool.close()
        [buried] = look(self.path).letters
        self.assertEqual(buried.letter.batch.lines.split(b"\n"), lines)
        self.assertEqual(buried.letter.reason, "field type conflict")

    async def test_a_dropped_database(self) -> None:
        """What waits for a database that was dropped holds up no other, and is delivered when it is there again, after
        a restart of InfluxDB, too.
        """
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        await self.set_up(influxd)
        for where in (DROPPED, TELEMETRY):
            await self.put(where, [b"cpu load=%d %d" % (number, TIME_NS + number) for number in range(500)])
        self.couriers.start()
        self.assertFalse(await self.couriers.flush(2.0))
        self.assertEqual((influxd.count("telemetry", "cpu"), list(self.spool.destinations)), (500, [DROPPED]))
        influxd.restart()
        influxd.create_database("dropped")
        self.assertTrue(await self.couriers.flush(DEADLINE_SECONDS))
        self.assertEqual((influxd.count("dropped", "cpu"), dict(self.spool.destinations)), (500, {}))
