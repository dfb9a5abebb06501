"""The gateway's routes inside an application's own web server, in front of a real influxd."""

from __future__ import annotations

import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.resource import Resource
from twisted.web.server import Site as WebSite

from tests.influxd import start_influxd
from torfluxd import GatewayResource, SettingsError


class EmbeddingTests(TestCase):
    """`GatewayResource.for_influxdb`."""

    async def test_writes_below_a_path(self) -> None:
        """Below the place where it is put, writes reach InfluxDB, and nothing else exists."""
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        root = Resource()
        resource = GatewayResource.for_influxdb(reactor, influxd.url)
        self.addCleanup(resource.close)
        root.putChild(b"influx", resource)
        port = reactor.listenTCP(0, WebSite(root), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = HTTPClient(Agent(reactor))
        statuses = []
        for target, lines in (("write?db=telemetry", b"m v=1"), ("query?q=SHOW%20DATABASES", b""), ("", b"m v=2")):
            url = f"http://127.0.0.1:{port.getHost().port}/influx/{target}"
            response = await client.post(url, data=lines, reactor=reactor)
            await treq.content(response)
            statuses.append(response.code)
        self.assertEqual([204, 404, 404], statuses)
        self.assertEqual(1, influxd.count("telemetry", "m"))

    def test_a_place_that_is_none(self) -> None:
        """What is no place of an InfluxDB is refused when the resource is made."""
        self.assertRaises(SettingsError, GatewayResource.for_influxdb, reactor, "ftp://x")
