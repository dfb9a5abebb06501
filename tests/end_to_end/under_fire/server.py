"""A gateway without tor, as an operator runs it, and the case that all tests under fire share."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, Cleanup, Program, curl, temporary_directory, wait_until
from tests.end_to_end.under_fire.crowd import Crowd, Writer
from tests.end_to_end.under_fire.points import DATABASE, MEASUREMENT, Census, Register, take_census
from tests.influxd import Influxd, start_influxd
from torfluxd.delivery.spools import find_spools

__all__ = ["FireCase", "Server", "say"]

DRAIN_SECONDS = 60.0
"""How long the spool may take to be empty after the last cure: the longest wait of the courier, and the way itself."""

POLL_SECONDS = 0.25


def say(text: str) -> None:
    """Show how a long run gets on (`pytest -s` shows it at once)."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Server:
    """One gateway, its port and its state directory, which outlive its processes.

    :param cleanup: `addCleanup` of the test.
    :param directory: where its state and its logs are.
    :param influxdb: the URL of InfluxDB.
    :param options: further options.
    :ivar port: where it serves on 127.0.0.1.
    :ivar wrapper: what stands before the command, such as `strace`.
    """

    def __init__(self, cleanup: Cleanup, directory: Path, influxdb: str, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.state = directory / "state"
        self.wrapper: list[str] = []
        self._cleanup = cleanup
        self._directory = directory
        self._influxdb = influxdb
        self.set_options(*options)
        self._lives: list[Program] = []

    def set_options(self, *options: str) -> None:
        """Begin with these from the next start on."""
        self._options = ["--influxdb", self._influxdb, *options]

    @property
    def program(self) -> Program:
        """The process that runs, or ran last."""
        return self._lives[-1]

    @property
    def log(self) -> str:
        """All that it has said, over all its lives."""
        return "".join(life.log for life in self._lives)

    @property
    def spool(self) -> Path:
        """The file of its spool."""
        return self.state / "spool.db"

    def start(self) -> Server:
        """Start it, and return when it serves."""
        where = f"tcp:{self.port}:interface=127.0.0.1"
        command = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", where, "--state-dir", self.state]
        log = self._directory / f"gateway-{len(self._lives)}.log"
        self._lives.append(Program(self._cleanup, [*self.wrapper, *command, *self._options], log))
        self.program.wait_for("serving on ")
        return self

    def stop(self) -> None:
        """End it as an operator would (SIGTERM); that it ends badly is a failure."""
        ended = self.program.stop()
        # Twisted's runner ends by the signal that it was sent, once all is done.
        assert ended in (0, -signal.SIGTERM), f"it ended with {ended}:\n{self.program.log}"

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self.program.kill()

    def wait_for(self, words: str) -> None:
        """Wait until the process that runs has said so."""
        self.program.wait_for(words)

    def points_in_spool(self, table: str = "batch") -> int:
        """How many points are in a table of its file, or of all its workers', read while nobody else has it open."""
        found = 0
        for spool in find_spools(self.state).values():
            with closing(sqlite3.connect(spool)) as connection:
                found += connection.execute(f"SELECT coalesce(sum(points), 0) FROM {table}").fetchone()[0]
        return found

    def points_in_spool_now(self) -> int:
        """How many points the running gateway says are in its spool; those of workers are told every few seconds."""
        pages = self.state / "admin.sock"
        told = curl("--unix-socket", str(pages), "http://localhost/status.json").partition("\r\n\r\n")[2]
        return int(json.loads(told)["figures"]["spool_points"])

    def workers(self) -> list[int]:
        """The process ids of its workers, in the order in which they were started."""
        pid = self.program.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"torfluxd.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


class FireCase(SynchronousTestCase):
    """An influxd with a database, a gateway in front of it, and a register of points."""

    http_options = ""
    gateway_options: tuple[str, ...] = ()

    def setUp(self) -> None:
        """Start influxd; the gateway is started by the test."""
        self.directory = temporary_directory(self.addCleanup)
        self.register = Register()
        self.influxd: Influxd = start_influxd(self, self.http_options)
        self.prepare_influxd()
        self.server = Server(self.addCleanup, self.directory, self.influxd.url, *self.gateway_options)

    def prepare_influxd(self) -> None:
        """Make what the vendor has in InfluxDB."""
        self.influxd.create_database(DATABASE)

    def crowd(self, writers: int = 20, points: int = 5, pause_seconds: float = 0.0) -> Crowd:
        """Strangers who write to this gateway."""
        return Crowd(self.server.port, self.register, writers, points, pause_seconds)

    def writer(self) -> Writer:
        """One stranger, who hangs up when the test is over."""
        writer = Writer(self.server.port)
        self.addCleanup(writer.close)
        return writer

    def introduce(self) -> None:
        """Let one write be stored, by which the gateway learns that the database is the vendor's."""
        self.assertEqual(204, self.writer().write(b"hello v=1 %d" % time.time_ns()).status)

    def wait_acknowledged(self, crowd: Crowd, more: int, seconds: float = 30.0) -> None:
        """Wait until so many further writes were answered 204."""
        goal = crowd.acknowledged + more
        wait_until(lambda: crowd.acknowledged >= goal, lambda: f"{goal} writes answered 204: {crowd.answers}", seconds)

    def assert_only(self, crowd: Crowd, *answers: str) -> None:
        """No stranger heard anything but these."""
        self.assertEqual(set(), set(crowd.answers) - set(answers), crowd.answers)

    def wait_all_found(self, seconds: float = DRAIN_SECONDS) -> Census:
        """Wait until every acknowledged point is in InfluxDB."""
        deadline = time.monotonic() + seconds
        while (census := take_census(self.influxd, self.register)).missing and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self.assertEqual((0, 0, 0), census.faults, f"{census}; the gateway logged:\n{self.server.log[-8000:]}")
        return census

    def wait_all_delivered(self, seconds: float = DRAIN_SECONDS) -> Census:
        """Wait until every acknowledged point is in InfluxDB, and the gateway knows that it is."""
        census = self.wait_all_found(seconds)
        wait_until(
            lambda: not self.server.points_in_spool_now(),
            lambda: f"an empty spool; the gateway logged:\n{self.server.log[-8000:]}",
            seconds,
        )
        return census

    def settle(self, seconds: float = DRAIN_SECONDS) -> Census:
        """Wait for everything to arrive, stop the gateway, and look again: all is there once, and nothing is left.

        :returns: how it went.
        """
        self.wait_all_delivered(seconds)
        self.server.stop()
        census = take_census(self.influxd, self.register)
        self.assertEqual((0, 0, 0), census.faults, str(census))
        self.assertEqual((0, 0), (self.server.points_in_spool(), self.server.points_in_spool("dead_letter")))
        self.assert_discreet()
        return census

    def wait_alarm(self, words: str) -> None:
        """Wait until the log names the cause."""
        wait_until(lambda: words in self.server.log, lambda: f"{words!r} in\n{self.server.log[-4000:]}")

    def assert_alarm(self, words: str) -> None:
        """The log names the cause: at least once, and not once for each stranger."""
        lines = [line for line in self.server.log.splitlines() if words in line]
        self.assertIn(len(lines), range(1, 4), self.server.log[-4000:])

    def assert_discreet(self) -> None:
        """The log has no traceback, and nothing of what strangers sent."""
        log = self.server.log
        self.assertEqual([], re.findall(rf"Traceback|Unhandled|{MEASUREMENT},writer|id=\d+i", log), log[-8000:])
        self.assertNotIn(f"{os.sep}site-packages{os.sep}", log)
