"""A stranger's metric reaches InfluxDB: stock clients and ours, through a real onion service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import ClassVar

import influxdb
import pytest
import treq
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString
from twisted.trial.unittest import TestCase

from tests.end_to_end.programs import (
    ClientTor,
    Gateway,
    client_tor,
    curl,
    start_gateway,
    temporary_directory,
)
from tests.influxd import Influxd
from tests.readme import EXAMPLE_ADDRESS, the_block
from torfluxd import OnionAgent, Reporter

TIMEOUT_SECONDS = 60

AFTERWARDS = """
from twisted.internet import reactor
reactor.addSystemEventTrigger("before", "shutdown", reporter.stopService)
reporter.flush().addCallback(print).addBoth(lambda _: reactor.stop())
reactor.run()
"""
"""What an application does beside: it runs, and ends."""


class ThroughTheOnionCase(TestCase):
    """An influxd, a gateway and a client's tor, which the tests of a class share: they take seconds to start."""

    options: ClassVar[tuple[str, ...]] = ()
    influxd: ClassVar[Influxd]
    gateway: ClassVar[Gateway]
    tor: ClassVar[ClientTor]

    @classmethod
    def setUpClass(cls) -> None:
        """Start them."""
        super().setUpClass()
        directory = temporary_directory(cls.addClassCleanup)
        cls.influxd = Influxd()
        cls.addClassCleanup(cls.influxd.close)
        cls.influxd.start()
        cls.influxd.create_database("telemetry")
        cls.tor = client_tor(cls.addClassCleanup, directory)
        cls.gateway = start_gateway(cls.addClassCleanup, directory / "state", cls.influxd.url, *cls.options)

    def stock_client(self) -> influxdb.InfluxDBClient:
        """The Python client of InfluxDB 1.x, as its users have it, behind tor's SOCKS port."""
        client = influxdb.InfluxDBClient(
            host=self.gateway.hostname,
            port=80,
            database="telemetry",
            proxies={"http": self.tor.proxy},
            timeout=TIMEOUT_SECONDS,
        )
        self.addCleanup(client.close)
        return client

    def onion_agent(self) -> OnionAgent:
        """Our own way through the same SOCKS port."""
        return OnionAgent(reactor, clientFromString(reactor, self.tor.endpoint))


class WriteTests(ThroughTheOnionCase):
    """The default exposure: strangers can write, and nothing else."""

    def test_the_stock_python_client(self) -> None:
        """The unmodified client of InfluxDB 1.x pings, creates its database as ever, and writes."""
        client = self.stock_client()
        self.assertTrue(client.ping())
        client.create_database("telemetry")
        now = time.time_ns()
        client.write_points(
            [{"measurement": "stock", "tags": {"a": "b"}, "fields": {"v": n}, "time": now + n} for n in range(9)]
        )
        self.assertEqual(9, self.influxd.count("telemetry", "stock"))

    def test_curl(self) -> None:
        """Curl writes with nothing but a proxy set, and hears what InfluxDB says of a line."""
        target = f"{self.gateway.url}/write?db=telemetry"
        self.assertIn("204", curl("--proxy", self.tor.proxy, target, "--data-binary", "curled v=1i").splitlines()[0])
        self.assertEqual(1, self.influxd.count("telemetry", "curled"))
        self.assertIn(
            "unable to parse 'nonsense'", curl("--proxy", self.tor.proxy, target, "--data-binary", "nonsense")
        )

    async def test_treq(self) -> None:
        """Treq over OnionAgent writes, each request on a circuit of its own."""
        response = await HTTPClient(self.onion_agent()).post(
            f"{self.gateway.url}/write?db=telemetry", data=b"treqed v=1i", allow_redirects=False, reactor=reactor
        )
        await treq.content(response)
        self.assertEqual(204, response.code)
        self.assertEqual(1, self.influxd.count("telemetry", "treqed"))

    async def test_the_reporter(self) -> None:
        """What an application records is stored, each point once, with its types."""
        reporter = Reporter(
            self.gateway.url, "telemetry", socks=self.tor.endpoint, reactor=reactor, granularity_seconds=0
        )
        reporter.startService()
        self.addCleanup(reporter.stopService)
        for number in range(100):
            reporter.record(
                "reported", {"n": number, "x": number / 7, "even": number % 2 == 0, "s": "é"}, {"tag": "a b"}
            )
        self.assertTrue(await reporter.flush())
        self.assertEqual((100, 100, 0), (reporter.stats.recorded, reporter.stats.delivered, reporter.stats.pending))
        (series,) = self.influxd.query("SELECT n, x, even, s FROM reported WHERE \"tag\" = 'a b'", "telemetry")
        self.assertEqual([[n, n / 7, n % 2 == 0, "é"] for n in range(100)], [row[1:] for row in series["values"]])

    def test_the_readme(self) -> None:
        """The lines for an application in the README, as they stand there but for the onion address, report a point."""
        program = the_block("python", "import Reporter").replace(EXAMPLE_ADDRESS, self.gateway.hostname) + AFTERWARDS
        home = temporary_directory(self.addCleanup)
        environment = {**os.environ, "HOME": str(home), "TORFLUXD_SOCKS": self.tor.endpoint}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr), (0, "True\n", ""))
        (series,) = self.influxd.query("SELECT seconds, files FROM backup WHERE version = '2.1'", "telemetry")
        self.assertEqual([[12.8, 3000]], [row[1:] for row in series["values"]])
        self.assertTrue(list(home.glob(".backup/telemetry/spool-0/spool.db")))

    def test_there_is_nothing_else(self) -> None:
        """Every other route, and every other method, is the same bare 404; InfluxDB hears nothing of them."""
        answers = set()
        for route in ("/", "/debug/vars", "/metrics", "/api/v3/configure/token/admin", "//write", "/write/"):
            answers.add(curl("--proxy", self.tor.proxy, self.gateway.url + route, "--path-as-is"))
        answers.add(curl("--proxy", self.tor.proxy, f"{self.gateway.url}/query", "-d", "q=DROP DATABASE telemetry"))
        answers.add(curl("--proxy", self.tor.proxy, f"{self.gateway.url}/query?q=SHOW%20DATABASES"))
        self.assertEqual({"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, answers)
        self.assertIn(["telemetry"], self.influxd.query("SHOW DATABASES")[0]["values"])

    def test_the_log_tells_of_no_stranger(self) -> None:
        """Nothing that a stranger sends is in the gateway's log."""
        curl(
            "--proxy", self.tor.proxy, f"{self.gateway.url}/write?db=s3cr3t", "-A", "s3cr3t", "--data-binary", "s3cr3t"
        )
        self.assertNotIn("s3cr3t", self.gateway.log)


class ExposeAllTests(ThroughTheOnionCase):
    """`--expose all`: go-torfluxdb's behaviour, a transparent proxy."""

    options = ("--expose", "all")

    def test_the_stock_python_client_queries(self) -> None:
        """The unmodified client creates a database, writes, and reads its points back."""
        client = self.stock_client()
        self.assertTrue(client.ping().startswith("1.6.7"))
        client.create_database("other")
        client.write_points([{"measurement": "m", "fields": {"v": 7}, "time": 10**18}], database="other")
        self.assertEqual(
            [{"time": "2001-09-09T01:46:40Z", "v": 7}],
            list(client.query("SELECT v FROM m", database="other").get_points()),
        )

    def test_the_operator_is_warned(self) -> None:
        """The log says what this exposure means."""
        self.assertIn("whoever knows the address can read and delete everything", self.gateway.log)

    async def test_influxdbs_own_headers_come_through(self) -> None:
        """What InfluxDB says of itself and of errors comes through as it is."""
        response = await HTTPClient(self.onion_agent()).get(f"{self.gateway.url}/query", reactor=reactor)
        await treq.content(response)
        self.assertEqual([b'missing required parameter "q"'], response.headers.getRawHeaders(b"X-Influxdb-Error"))
        self.assertIsNotNone(response.headers.getRawHeaders(b"X-Influxdb-Version"))


class LargeAnswerTests(TestCase):
    """Large answers through `--expose all`."""

    GROWTH_BYTES = 30 * 1024 * 1024

    def test_a_large_answer_streams_through(self) -> None:
        """More of an answer than the gateway may grow by, and as much again, reaches a stranger whole."""
        self.stream(2 * self.GROWTH_BYTES)

    @pytest.mark.torture
    def test_a_very_large_answer_streams_through(self) -> None:
        """And so do 200 MB, a minute of them through tor."""
        self.stream(200 * 1024 * 1024)

    def stream(self, size_bytes: int) -> None:
        """Have so much of an answer come through, while the gateway's memory hardly grows."""
        directory = temporary_directory(self.addCleanup)
        serve = (
            "import http.server as h, sys\n"
            "class S(h.BaseHTTPRequestHandler):\n"
            "    protocol_version = 'HTTP/1.1'\n"
            "    def do_GET(self):\n"
            "        self.send_response(200); self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()\n"
            "        for _ in range(int(sys.argv[1]) // 65536):\n"
            "            self.wfile.write(b'10000\\r\\n' + bytes(65536) + b'\\r\\n')\n"
            "        self.wfile.write(b'0\\r\\n\\r\\n')\n"
            "    def log_message(self, *a): pass\n"
            "s = h.HTTPServer(('127.0.0.1', 0), S); print(s.server_port, flush=True); s.serve_forever()\n"
        )
        server = subprocess.Popen([sys.executable, "-c", serve, str(size_bytes)], stdout=subprocess.PIPE)
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        port = int(server.stdout.readline())
        tor = client_tor(self.addCleanup, directory)
        gateway = start_gateway(self.addCleanup, directory / "state", f"127.0.0.1:{port}", "--expose", "all")
        curl("--proxy", tor.proxy, f"{gateway.url}/ping", "--head")
        before = gateway.resident_bytes()
        with subprocess.Popen(
            ["curl", "--silent", "--proxy", tor.proxy, f"{gateway.url}/query?q=x"], stdout=subprocess.PIPE
        ) as client:
            assert client.stdout is not None
            received, most = 0, before
            while data := client.stdout.read(1 << 20):
                received += len(data)
                most = max(most, gateway.resident_bytes())
        self.assertEqual((size_bytes, 0), (received, client.returncode))
        self.assertLess(most - before, self.GROWTH_BYTES)
