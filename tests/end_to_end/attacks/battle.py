"""What the attacks share: the same bytes for influxd and for the gateway before it, and influxd as the witness."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import LocalGateway, temporary_directory
from tests.gateway.strangers import Received, parse_answers
from tests.influxd import Influxd, start_influxd

__all__ = ["DATABASE", "AttackCase", "request", "write"]

DATABASE = "telemetry"

_TODAY_NS = time.time_ns() - 3600 * 10**9
_SHORT_TIME = re.compile(rb"(?<= )[0-9]$", re.MULTILINE)

ANSWER_SECONDS = 120.0
"""How long a stranger waits for the end of his answers: influxd reads a bomb for some seconds, and ours are busy."""


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """One request, after which the connection closes; `_` in the name of a header stands for `-`."""
    lines = [f"{method} {target} HTTP/1.1", "Host: a.onion", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def write(lines: bytes, query: str = f"db={DATABASE}", **headers: str) -> bytes:
    """A write as a client of 1.x asks for it. Times of one digit stand for so many seconds of this day."""
    timely = _SHORT_TIME.sub(lambda found: b"%d" % (_TODAY_NS + int(found[0]) * 10**9), lines)
    return request("POST", f"/write?{query}", timely, **headers)


class AttackCase(SynchronousTestCase):
    """An influxd with a database, a gateway before it, and a stranger who can reach either."""

    http_options = ""
    data_options = ""
    gateway_options: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Start both."""
        self.directory = temporary_directory(self.addCleanup)
        self.influxd: Influxd = start_influxd(self, self.http_options, self.data_options)
        self.prepare_influxd()
        self.gateway = LocalGateway(
            self.addCleanup, self.directory / "state", self.influxd.url, *self.prepare_gateway(), *self.gateway_options
        )
        self.addCleanup(self.assert_calm)

    def assert_calm(self) -> None:
        """Whatever was done to it, the gateway has no traceback in its log."""
        self.assertNotRegex(self.gateway.log, "Traceback|Unhandled|critical")

    def prepare_influxd(self) -> None:
        """Make what the vendor has in InfluxDB."""
        self.influxd.create_database(DATABASE)

    def prepare_gateway(self) -> tuple[str, ...]:
        """Make what the vendor gives the gateway; the options that name it."""
        return ()

    # What a stranger does.

    def send(self, port: int, data: bytes) -> bytes:
        """Send bytes, and read until the other side closes."""
        received = bytearray()
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
            try:
                connection.sendall(data)
                while piece := connection.recv(65_536):
                    received += piece
            except ConnectionError:  # closed with something of ours unread
                pass
        return bytes(received)

    def directly(self, data: bytes) -> list[Received]:
        """The answers of influxd itself."""
        return parse_answers(self.send(self.influxd.port, data))

    def through_gateway(self, data: bytes) -> list[Received]:
        """The answers of the gateway."""
        return parse_answers(self.send(self.gateway.port, data))

    def one_directly(self, data: bytes) -> Received:
        """The only answer of influxd itself."""
        (answer,) = self.directly(data)
        return answer

    def one_through_gateway(self, data: bytes) -> Received:
        """The only answer of the gateway."""
        (answer,) = self.through_gateway(data)
        return answer

    # What the witness says.

    def reached(self, attack: Callable[[], object]) -> list[str]:
        """Do something, and tell which requests reached influxd meanwhile, each with all that its log says of it."""
        before = len(self.influxd.accesses)
        attack()
        return self.influxd.accesses[before:]

    def assert_refused(self, data: bytes, status: int) -> Received:
        """The gateway refuses it, with this status, and influxd never hears of it."""
        answers: list[Received] = []
        reached = self.reached(lambda: answers.extend(self.through_gateway(data)))
        self.assertEqual([status], [answer.status for answer in answers])
        self.assertEqual([], reached)
        return answers[0]

    def databases(self) -> list[str]:
        """The databases that influxd has."""
        return [name for (name,) in self.influxd.query("SHOW DATABASES")[0].get("values", [])]

    def measurements(self) -> list[str]:
        """The measurements of the database."""
        series = self.influxd.query("SHOW MEASUREMENTS", DATABASE)
        return [name for (name,) in series[0]["values"]] if series else []

    def counters(self) -> dict[str, Any]:
        """Influxd's own counters."""
        found: dict[str, Any] = json.loads(self.influxd.request("GET", "/debug/vars").body)
        return found

    def shards(self) -> int:
        """How many shards influxd has."""
        return sum(name.startswith("shard:") for name in self.counters())

    def series(self) -> int:
        """How many series the database has."""
        found = self.influxd.query("SHOW SERIES", DATABASE)
        return len(found[0]["values"]) if found else 0

    def gateway_peak_bytes(self) -> int:
        """The most memory that the gateway ever held."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024
