"""Batches reach a real VictoriaMetrics by the paths of 1.x and of 2.x, both of which it serves."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.victoria import Victoria
from torfluxd.boundaries import Batch, Destination, Reply
from torfluxd.influx.account import Account
from torfluxd.influx.agent import influxdb_agent
from torfluxd.influx.api import Api
from torfluxd.influx.credential import Credential, CredentialOptions
from torfluxd.influx.fate import classify
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import parse_influxdb_url


class VictoriaTests(TestCase):
    """A VictoriaMetrics that runs with `-dedup.minScrapeInterval=1ms`."""

    def setUp(self) -> None:
        """Start it."""
        self.victoria = Victoria()
        self.addCleanup(self.victoria.close)
        self.victoria.start()

    async def send(self, api: Api, lines: bytes) -> Reply:
        """The reply to a batch."""
        url = parse_influxdb_url(self.victoria.url)
        agent = influxdb_agent(reactor, url)
        self.addCleanup(agent.close)
        account = Account(Credential(CredentialOptions(), api, {}, Clock()), api, "vendor" if api is Api.V2 else "")
        upstream = HttpUpstream(AgentPoster(agent, url, reactor), account=account)
        return await upstream.send(Batch(Destination("telemetry"), lines, 1))

    async def test_stored(self) -> None:
        """A batch is stored, to the millisecond, and once when it is sent twice."""
        for api, name in ((Api.V1, "one"), (Api.V2, "two")):
            for _ in range(2):
                reply = await self.send(api, f"{name} v=1.5 1700000000123456789".encode())
                self.assertEqual(reply, classify(204, (), b""))
            self.assertEqual(self.victoria.times(f"{name}_v"), [1700000000123])
