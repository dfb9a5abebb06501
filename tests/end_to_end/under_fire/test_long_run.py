"""An hour of everyday life: strangers come, write well and badly, and go; InfluxDB is away now and then.

What the gateway holds afterwards, memory and file descriptors, is what it held when it was warm.
"""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import statistics
import threading
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from attrs import define, field

from tests.end_to_end.under_fire.points import DATABASE
from tests.end_to_end.under_fire.server import FireCase, say

HOUR_SECONDS = 3600.0
DURATION_VARIABLE = "LONG_RUN_SECONDS"
"""How long the long run takes, if not an hour."""

WARM_PART = 0.2
"""The part of the run in which the gateway gets warm: pools fill, names are learned, Python's heap finds its size."""

GROWTH = 0.05
"""By how much memory may have grown from the first part after that to the last."""

SPARE_DESCRIPTORS = 3
"""How many file descriptors may be open in the end beside those of the beginning: somebody is just being served."""

WRITERS = 8
PAUSE_SECONDS = 0.02
WRITES_OF_A_CONNECTION = 50
SAMPLE_SECONDS = 2.0
OUTAGES = 20
"""How often InfluxDB is away, so that the first outages are over when the gateway counts as warm."""

OUTAGE_SECONDS = 3.0
BODY_LINES = 20
DAY_SECONDS = 86_400
ROUND = 500
"""After so many writes a stranger writes the same points again, so that InfluxDB beside us does not grow."""


@define(eq=False)
class EverydayLife:
    """Strangers and a Prometheus, until they are told to stop."""

    port: int
    admin: Path
    since: int = field(factory=lambda: int(time.time()) - DAY_SECONDS)
    written: int = 0
    others: int = 0
    scrapes: int = 0
    faults: list[BaseException] = field(factory=list)
    _ended: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def __enter__(self) -> EverydayLife:
        tasks = [(self._write, number) for number in range(WRITERS)] + [(self._scrape, 0)]
        self._threads = [threading.Thread(target=self._run, args=task, daemon=True) for task in tasks]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        if self.faults:
            raise self.faults[0]

    def _run(self, task: object, number: int) -> None:
        try:
            task(number)  # type: ignore[operator]
        except BaseException as error:
            self.faults.append(error)

    def _write(self, number: int) -> None:
        turn = 0
        while not self._ended.is_set():
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                for _ in range(WRITES_OF_A_CONNECTION):
                    if self._ended.wait(PAUSE_SECONDS):
                        return
                    turn += 1
                    try:
                        self._one(connection, number, turn)
                    except (OSError, HTTPException):
                        break

    def _one(self, connection: HTTPConnection, number: int, turn: int) -> None:
        start = self.since + (turn % ROUND) * BODY_LINES
        lines = [b"life,writer=%d v=%di %d" % (number, turn, at) for at in range(start, start + BODY_LINES)]
        headers: dict[str, str] = {"User-Agent": f"life/{turn % 100}"}
        if turn % 5 == 0:
            lines[3] = b"no line"
        body = b"\n".join(lines)
        if turn % 3 == 0:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        connection.request("POST", f"/write?db={DATABASE}&precision=s", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 204:
            self.written += 1
        else:
            self.others += 1

    def _scrape(self, _: int) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            for path in ("/metrics", "/status.json", "/"):
                connection = http.client.HTTPConnection("localhost", timeout=60)
                connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.sock.connect(str(self.admin))
                with closing(connection):
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    assert answer.read(), path
                    assert answer.status == 200, path
                self.scrapes += 1


class LongRunTests(FireCase):
    """Memory and file descriptors over time."""

    def test_a_while(self) -> None:
        """After some seconds of everyday life, no file descriptor is left over."""
        self.live(12.0)

    @pytest.mark.torture
    def test_an_hour(self) -> None:
        """After an hour memory is within five percent of what it was when the gateway was warm, and nothing is left."""
        memory = self.live(float(os.environ.get(DURATION_VARIABLE, HOUR_SECONDS)), outages=True)
        first, last = memory
        self.assertLess(last / first - 1, GROWTH, f"{first / 1e6:.1f} MB grew to {last / 1e6:.1f} MB")

    def live(self, seconds: float, outages: bool = False) -> tuple[float, float]:
        """Let it live for so long.

        :returns: the memory that it held, in bytes, in the first quarter after it was warm and in the last.
        """
        self.server.start()
        process = Path(f"/proc/{self.server.program.process.pid}")
        memory: list[int] = []
        begun = time.monotonic()
        pause = seconds / OUTAGES
        next_outage = begun + (pause if outages else seconds + 1)
        with EverydayLife(self.server.port, self.server.state / "admin.sock") as life:
            open_before = 0
            while (now := time.monotonic()) < begun + seconds:
                time.sleep(SAMPLE_SECONDS)
                if now > next_outage:
                    next_outage = now + pause
                    self.influxd.stop()
                    time.sleep(OUTAGE_SECONDS)
                    self.influxd.start()
                if now - begun < WARM_PART * seconds:
                    continue
                memory.append(self.server.program.resident_bytes())
                open_before = open_before or len(list((process / "fd").iterdir()))
                if outages and len(memory) % 30 == 0:
                    say(f"{now - begun:.0f} s: {memory[-1] / 1e6:.1f} MB, {life.written} writes")
            open_after = len(list((process / "fd").iterdir()))
        quarter = max(1, len(memory) // 4)
        first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
        say(
            f"{seconds:.0f} s of everyday life: {life.written} writes taken, {life.others} told of bad lines,"
            f" {life.scrapes} pages; memory {first / 1e6:.1f} MB, then {last / 1e6:.1f} MB;"
            f" descriptors {open_before}, then {open_after}"
        )
        self.assertGreater(life.written, seconds)
        self.assertLessEqual(open_after, open_before + SPARE_DESCRIPTORS)
        self.server.stop()
        self.assert_discreet()
        return first, last
