"""Unmodified clients write to the agent while there is no Tor; when it comes, all of it arrives, each point once."""

from __future__ import annotations

import asyncio
import http.client
import os
import shlex
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import ClassVar

import influxdb
from influxdb_client import InfluxDBClient, Point
from influxdb_client import WriteOptions as BatchOptions
from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client_3 import InfluxDBClient3, WriteOptions, write_client_options
from influxdb_client_3.write_client.client.write_api import WriteType
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import (
    Gateway,
    LocalAgent,
    client_tor,
    curl,
    free_port,
    start_gateway,
    temporary_directory,
    wait_until,
)
from tests.end_to_end.telegraf import Telegraf
from tests.influxd import Influxd
from tests.private_network import private_network
from tests.readme import EXAMPLE_ADDRESS, the_block
from torfluxd.onion.client_key import auth_line
from torfluxd.onion.client_keyfile import new_client_key_file
from torfluxd.onion.key import OnionKey
from torfluxd.onion.keyfile import write_key_file

POINTS = 20
"""How many points each client writes. Each has a number of its own as its value: so it can be seen whether one is
missing, or there twice."""

KILLS = 3
KILLED_BATCHES = 200
"""How many batches are written over so many kills of the agent."""

ARRIVAL_SECONDS = 120.0
"""How long the reports may take when tor is there: a circuit takes seconds, and after failures the reporter waits."""

STOP_SECONDS = 5.0
GO_SOURCE = Path(__file__).with_name("writer.go")


class AgentCase(SynchronousTestCase):
    """An influxd and a gateway in the private network, which the tests of a class share."""

    influxd: ClassVar[Influxd]
    gateway: ClassVar[Gateway]

    @classmethod
    def setUpClass(cls) -> None:
        """Start them."""
        super().setUpClass()
        directory = temporary_directory(cls.addClassCleanup)
        cls.influxd = Influxd()
        cls.addClassCleanup(cls.influxd.close)
        cls.influxd.start()
        cls.influxd.create_database("telemetry")
        options = cls.gateway_options(directory)
        cls.gateway = start_gateway(cls.addClassCleanup, directory / "state", cls.influxd.url, *options)

    @classmethod
    def gateway_options(cls, directory: Path) -> tuple[str, ...]:
        """What is special about the gateway."""
        return ()

    def setUp(self) -> None:
        """Start an agent, whose tor is not there yet."""
        self.directory = temporary_directory(self.addCleanup)
        self.socks = free_port()
        self.time_ns = time.time_ns() // 10**9 * 10**9
        self.numbers = count()
        self.expected: list[int] = []
        self.start_agent()

    def start_agent(self, *options: str, port: int | None = None, tor: str = "") -> None:
        """Start it, or start it again."""
        self.agent = LocalAgent(
            self.addCleanup,
            self.directory / "agent",
            self.gateway.hostname,
            *("--tor", tor or f"socks:tcp:127.0.0.1:{self.socks}", "--interval", "1s", *options),
            port=port,
        )

    def bring_tor(self) -> None:
        """Start the tor that the agent has been told of."""
        client_tor(self.addCleanup, self.directory, self.socks)

    def number(self) -> int:
        """A number that no other point has, and that is expected to be stored."""
        number = next(self.numbers)
        self.expected.append(number)
        return number

    def line(self, measurement: str = "clients") -> str:
        """A point with such a number, and a time of its own."""
        number = self.number()
        return f"{measurement} v={number}i {self.time_ns + number}"

    def stored(self, measurement: str = "clients") -> list[int]:
        """The numbers that are stored, each as often as it is."""
        series = self.influxd.query(f'SELECT v FROM "{measurement}"', "telemetry")
        return sorted(row[1] for row in series[0]["values"]) if series else []

    def assert_all_arrive(self, measurement: str = "clients") -> None:
        """Each point arrives, and is stored once."""
        expected = sorted(self.expected)
        wait_until(
            lambda: len(self.stored(measurement)) >= len(expected),
            lambda: f"{len(self.stored(measurement))} of {len(expected)} have arrived:\n{self.agent.log}",
            ARRIVAL_SECONDS,
        )
        self.assertEqual(self.stored(measurement), expected)


class StockClientTests(AgentCase):
    """Every client, as its users have it."""

    def test_clients(self) -> None:
        """Each client writes while there is no Tor, the agent is killed in between, and all arrives when Tor comes."""
        for write in (
            self.write_v1,
            self.write_v2,
            self.write_v2_async,
            self.write_v2_batching,
            self.write_v3,
            self.write_with_curl,
            self.write_with_go,
            self.write_as_telegraf,
        ):
            write()
        self.agent.kill()
        self.start_agent(port=self.agent.port)
        self.write_v1()
        self.assertEqual(self.stored(), [])
        self.bring_tor()
        self.assert_all_arrive()

    def write_v1(self) -> None:
        """`influxdb` 5.x, gzipped or not, in objects and in lines, after its first words; and with a proxy."""
        for gzip in (False, True):
            client = influxdb.InfluxDBClient("127.0.0.1", self.agent.port, "user", "secret", "telemetry", gzip=gzip)
            self.addCleanup(client.close)
            self.assertEqual(client.ping(), "1.8.10")
            client.create_database("telemetry")
            for _ in range(POINTS // 2):
                number = self.number()
                point = {"measurement": "clients", "fields": {"v": number}, "time": self.time_ns + number}
                client.write_points([point], time_precision="n")
            client.write_points([self.line() for _ in range(POINTS // 2)], protocol="line")
        proxy = {"http": self.agent.url}
        client = influxdb.InfluxDBClient(self.gateway.hostname, 80, database="telemetry", proxies=proxy)
        self.addCleanup(client.close)
        client.write_points([self.line()], protocol="line")

    def write_v2(self) -> None:
        """`influxdb-client`, synchronous."""
        with InfluxDBClient(self.agent.url, token="anything", org="any") as client:
            self.assertTrue(client.ping())
            with client.write_api(SYNCHRONOUS) as api:
                for _ in range(POINTS):
                    number = self.number()
                    api.write("telemetry", record=Point("clients").field("v", number).time(self.time_ns + number))

    def write_v2_async(self) -> None:
        """`influxdb-client`, asynchronous."""

        async def write() -> None:
            async with InfluxDBClientAsync(self.agent.url, token="anything", org="any", enable_gzip=True) as client:
                lines = [self.line() for _ in range(POINTS)]
                writes = [client.write_api().write("telemetry", record=line) for line in lines]
                self.assertTrue(all(await asyncio.gather(*writes)))

        asyncio.run(write())

    def write_v2_batching(self) -> None:
        """`influxdb-client`, in batches, by a thread of its own."""
        with (
            InfluxDBClient(self.agent.url, token="anything", org="any") as client,
            client.write_api(BatchOptions(batch_size=7, flush_interval=100)) as api,
        ):
            for _ in range(POINTS):
                api.write("telemetry", record=self.line())

    def write_v3(self) -> None:
        """`influxdb3-python`, as it comes, and told to use the path of 3.x, and that of 2.x."""
        with InfluxDBClient3(host=self.agent.url, token="anything", database="telemetry") as client:
            client.write([self.line() for _ in range(POINTS // 2)])
        for v2 in (False, True):
            options = WriteOptions(write_type=WriteType.synchronous, use_v2_api=v2)
            with InfluxDBClient3(
                host=self.agent.url,
                token="anything",
                database="telemetry",
                write_client_options=write_client_options(write_options=options),
            ) as client:
                for _ in range(POINTS // 2):
                    client.write(self.line(), write_precision="ns")

    def write_with_curl(self) -> None:
        """curl, without times; and as one that takes the agent for its proxy."""
        onion = f"http://{self.gateway.hostname}/write?db=telemetry"
        for _ in range(3):
            for where in ((f"{self.agent.url}/write?db=telemetry",), ("--proxy", self.agent.url, onion)):
                answer = curl("--data-binary", f"clients v={self.number()}i", *where)
                self.assertTrue(answer.startswith("HTTP/1.1 204 "), answer)

    def write_with_go(self) -> None:
        """A Go program that has nothing but its standard library; and the same behind a proxy."""
        writer = go_program(self.directory)
        onion = f"http://{self.gateway.hostname}/write?db=telemetry"
        for where, *proxy in ((f"{self.agent.url}/write?db=telemetry",), (onion, self.agent.url)):
            numbers = [self.number() for _ in range(POINTS)]
            command = [writer, where, str(numbers[0]), str(POINTS), str(self.time_ns), *proxy]
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))

    def write_as_telegraf(self) -> None:
        """Telegraf's rules, of 1.x and of 2.x, in batches."""
        for v2 in (False, True):
            telegraf = Telegraf(self.agent.port, v2=v2)
            telegraf.start()
            self.assertEqual(telegraf.created, 200)
            telegraf.write("\n".join(self.line() for _ in range(POINTS)).encode())
            self.assertEqual(telegraf.dropped, [])


class TroubleTests(AgentCase):
    """What happens to clients and to the agent, while they write."""

    def test_lost_answers(self) -> None:
        """Clients that lose every third answer, and send again, have each point stored once."""
        attempts = count(1)
        for v2 in (False, True):
            telegraf = Telegraf(self.agent.port, v2=v2, loses=lambda: next(attempts) % 3 == 0)
            for _ in range(POINTS):
                telegraf.write(self.line("lost").encode())
        self.bring_tor()
        self.assert_all_arrive("lost")
        self.assertGreater(next(attempts), 2 * POINTS + 10)

    def test_killed_agent(self) -> None:
        """A client writes on through three kills of the agent; nothing is lost, and nothing is there twice."""
        telegraf = Telegraf(self.agent.port)

        def write() -> int:
            for _ in range(KILLED_BATCHES):
                telegraf.write("\n".join(self.line("killed") for _ in range(5)).encode())
            return len(telegraf.dropped)

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            for mark in range(KILLS):
                begun = (mark + 1) * KILLED_BATCHES // (KILLS + 1) * 5
                wait_until(lambda begun=begun: len(self.expected) > begun, lambda: self.agent.log)
                self.agent.kill()
                self.start_agent(port=self.agent.port)
            self.assertEqual(writing.result(60), 0)
        self.bring_tor()
        self.assert_all_arrive("killed")

    def test_end(self) -> None:
        """It ends within five seconds of SIGTERM, Tor or no Tor, and what was written is sent after the next start."""
        telegraf = Telegraf(self.agent.port)
        telegraf.write(self.line("ended").encode())
        began = time.monotonic()
        self.agent.stop()
        self.assertLess(time.monotonic() - began, STOP_SECONDS + 1)  # a second for Python itself
        self.bring_tor()
        self.start_agent(port=self.agent.port)
        self.assert_all_arrive("ended")

    def test_own_tor(self) -> None:
        """With a tor of its own it needs no other, and ends in five seconds all the same, with that tor."""
        self.agent.stop()
        binary = str(private_network().tor_binary)
        self.start_agent("--tor-binary", binary, port=self.agent.port, tor="launch")
        telegraf = Telegraf(self.agent.port)
        for _ in range(POINTS):
            telegraf.write(self.line("own").encode())
        self.assert_all_arrive("own")
        began = time.monotonic()
        self.agent.stop()
        self.assertLess(time.monotonic() - began, STOP_SECONDS + 1)

    def test_statsd(self) -> None:
        """A statsd client's counter arrives as what was counted."""
        self.agent.stop()
        port = free_port()
        self.start_agent("--statsd", f"udp:{port}", "--database", "telemetry")
        self.bring_tor()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(10):
                client.sendto(b"counted:3|c|#version:2\nunread", ("127.0.0.1", port))

        def total() -> float:
            series = self.influxd.query("SELECT sum(count) FROM \"counted\" WHERE version = '2'", "telemetry")
            return float(series[0]["values"][0][1]) if series else 0.0

        wait_until(lambda: total() >= 30, lambda: f"{total()} of 30 have arrived:\n{self.agent.log}", ARRIVAL_SECONDS)
        self.assertEqual(total(), 30)

    def test_readme(self) -> None:
        """The commands of the README do what it says, but for the onion address, the port and the tor of a test."""
        commands = the_block("sh", "torfluxd agent").replace("\\\n", " ").splitlines()
        _, agent, client = (shlex.split(command) for command in commands)
        self.assertEqual((agent[:2], client[0]), (["torfluxd", "agent"], "curl"))
        options = [self.gateway.hostname if option == EXAMPLE_ADDRESS else option for option in agent[2:]]
        options[options.index("udp")] = f"udp:{free_port()}"
        self.agent.stop()
        self.start_agent(*options, port=self.agent.port)
        self.bring_tor()
        curl(*(word.replace("127.0.0.1:8086", f"127.0.0.1:{self.agent.port}") for word in client[1:]))

        def stored() -> list[object]:
            series = self.influxd.query("SELECT seconds FROM \"backup\" WHERE version = '2.1'", "telemetry")
            return [row[1] for row in series[0]["values"]] if series else []

        wait_until(lambda: bool(stored()), lambda: f"nothing has arrived:\n{self.agent.log}", ARRIVAL_SECONDS)
        self.assertEqual(stored(), [12.8])

    def test_a_page(self) -> None:
        """What a browser would send for a page is refused, and nothing of it is stored."""
        page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
        for headers in (page, {"Host": "evil.example"}):
            connection = http.client.HTTPConnection("127.0.0.1", self.agent.port, timeout=10)
            self.addCleanup(connection.close)
            connection.request("POST", "/write?db=telemetry", b"page v=1i 5", headers)
            self.assertEqual(connection.getresponse().status, 403)


class PrivateGatewayTests(AgentCase):
    """A gateway that only its clients can reach."""

    key_file: ClassVar[Path]

    @classmethod
    def gateway_options(cls, directory: Path) -> tuple[str, ...]:
        """Let one client in."""
        key = OnionKey.generate()
        write_key_file(directory / "onion.key", key)
        cls.key_file = directory / "app.auth_private"
        client = new_client_key_file(cls.key_file, key.address)
        clients = directory / "clients"
        clients.mkdir()
        (clients / "app.auth").write_text(auth_line(client.public))
        return ("--onion-key", str(directory / "onion.key"), "--authorized-clients", str(clients))

    def test_let_in(self) -> None:
        """With the key that its owner lets in, the agent reports to a private gateway."""
        self.agent.stop()
        own_tor = ("--tor-binary", str(private_network().tor_binary), "--client-key", str(self.key_file))
        self.start_agent(*own_tor, port=self.agent.port, tor="launch")
        Telegraf(self.agent.port).write(self.line("private").encode())
        self.assert_all_arrive("private")


def go_program(directory: Path) -> Path:
    """The Go program, built with Debian's Go."""
    go = shutil.which("go")
    if go is None:
        raise AssertionError("this test needs go: apt-get install golang-go")
    binary = directory / "writer"
    places = {"GOCACHE": str(directory / "go-cache"), "GOPATH": str(directory / "go")}
    settings = {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "", **places}
    subprocess.run([go, "build", "-o", binary, GO_SOURCE], check=True, env={**os.environ, **settings})
    return binary
