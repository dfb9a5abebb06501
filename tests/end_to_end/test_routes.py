"""What exists at the gateway, over a real onion: of all that InfluxDB ever had, only what writes."""

from __future__ import annotations

import socks
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.attacks.routes import ALLOWED, METHODS, PATHS
from tests.end_to_end.programs import client_tor, start_gateway, temporary_directory
from tests.gateway.strangers import parse_answers
from tests.influxd import start_influxd

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

ANSWER_SECONDS = 60.0


class RoutesTests(SynchronousTestCase):
    """A gateway in the private network."""

    def setUp(self) -> None:
        """Start it, and a client's tor."""
        directory = temporary_directory(self.addCleanup)
        self.influxd = start_influxd(self)
        self.influxd.create_database("telemetry")
        self.gateway = start_gateway(self.addCleanup, directory / "state", self.influxd.url)
        self.tor = client_tor(self.addCleanup, directory)
        self.connection = socks.socksocket()
        self.addCleanup(self.connection.close)
        self.connection.set_proxy(socks.SOCKS5, "127.0.0.1", self.tor.port, rdns=True)
        self.connection.settimeout(ANSWER_SECONDS)
        self.connection.connect((self.gateway.hostname, 80))

    def ask(self, *requests: tuple[str, str]) -> None:
        """Send requests, one behind the other."""
        self.connection.sendall(
            b"".join(f"{method} {target} HTTP/1.1\r\nHost: a.onion\r\n\r\n".encode() for method, target in requests)
        )

    def read(self, size: int) -> bytes:
        """Read so many bytes of the answers."""
        data = b""
        while len(data) < size and (piece := self.connection.recv(size - len(data))):
            data += piece
        return data

    def test_only_what_writes_exists(self) -> None:
        """Of every route of 1.x, 2.x and 3.x, by every method, only the writes and what is asked before them exist."""
        before = self.influxd.accesses
        forbidden = [(method, path) for path in PATHS for method in METHODS if (method, path) not in ALLOWED]
        self.assertGreater(len(forbidden), 1000)
        for start in range(0, len(forbidden), len(METHODS)):
            asked = forbidden[start : start + len(METHODS)]
            self.ask(*asked)
            self.assertEqual(NOT_FOUND * len(asked), self.read(len(NOT_FOUND) * len(asked)), asked)
        self.assertEqual(before, self.influxd.accesses)

    def test_what_writes_exists(self) -> None:
        """The writes, `/ping` and `/health` are there, and answer without a word to influxd when nothing is written."""
        before = self.influxd.accesses
        for (method, path), status in ALLOWED.items():
            self.ask((method, path))
            received = b""
            while b"\r\n\r\n" not in received:
                received += self.connection.recv(65_536)
            (answer,) = parse_answers(received, method)
            self.assertEqual(status, answer.status, (method, path))
            self.assertNotEqual(NOT_FOUND, received)
        self.assertEqual(before, self.influxd.accesses)
