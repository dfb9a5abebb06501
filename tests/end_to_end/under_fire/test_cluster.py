"""A clustered engine behind the gateway: two VictoriaMetrics behind vmauth, of which one is away for a while."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import Program, temporary_directory, wait_until
from tests.end_to_end.under_fire.crowd import Writer
from tests.end_to_end.under_fire.server import Server
from tests.victoria import Victoria

PREFIX = "/insert/0/influx"
"""Where a cluster of VictoriaMetrics takes what is written to InfluxDB, for its tenant 0."""

FIRST_MS = (int(time.time()) - 3600) * 1000
WRITES = 40


class Vmauth(Program):
    """The router in front of a cluster: round after round, and only for who has a password."""

    def __init__(self, case: SynchronousTestCase, directory: Path, backends: list[Victoria]) -> None:
        assert shutil.which("vmauth"), "this test needs vmauth: apt-get install victoria-metrics"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        config = directory / "vmauth.yml"
        urls = [backend.url for backend in backends]
        config.write_text(json.dumps({"users": [{"username": "gateway", "password": "word", "url_prefix": urls}]}))
        command = ["vmauth", f"-auth.config={config}", f"-httpListenAddr=127.0.0.1:{self.port}"]
        super().__init__(case.addCleanup, command, directory / "vmauth.log")
        wait_until(lambda: "started vmauth" in self.log, lambda: self.log)


class ClusterTests(SynchronousTestCase):
    """`--influxdb` with a path."""

    def setUp(self) -> None:
        """Start the cluster, and a gateway in front of it."""
        self.backends = [Victoria(PREFIX), Victoria(PREFIX)]
        for backend in self.backends:
            self.addCleanup(backend.close)
            backend.start()
        directory = temporary_directory(self.addCleanup)
        vmauth = Vmauth(self, directory, self.backends)
        password = directory / "password"
        password.touch(mode=0o600)
        password.write_text("word")
        url = f"http://127.0.0.1:{vmauth.port}{PREFIX}"
        credential = ("--influxdb-user", "gateway", "--influxdb-password-file", str(password))
        self.server = Server(self.addCleanup, directory, url, *credential).start()
        self.writer = Writer(self.server.port)
        self.addCleanup(self.writer.close)
        self.written: list[int] = []

    def write(self) -> None:
        """Write points one after the other, each of which is answered 204."""
        for _ in range(WRITES):
            at_ms = FIRST_MS + 1000 * len(self.written)
            self.assertEqual(204, self.writer.write(b"m v=1 %d000000" % at_ms).status)
            self.written.append(at_ms)

    def found(self) -> list[set[int]]:
        """The times of the points that each of them holds."""
        return [set(backend.times("m_v")) for backend in self.backends]

    def test_one_takes_over(self) -> None:
        """Writes are spread over the cluster; while one of it is away all are taken, and in the end all are there."""
        self.write()
        shares = [len(times) for times in self.found()]
        self.assertEqual((WRITES, True), (sum(shares), min(shares) > 0))
        self.backends[0].stop()
        self.write()
        times = self.backends[1].times
        wait_until(lambda: len(times("m_v")) == shares[1] + WRITES, lambda: self.server.log)
        self.backends[0].start()
        self.write()
        wait_until(lambda: set.union(*self.found()) == set(self.written), lambda: self.server.log)
        self.server.stop()
        self.assertEqual(0, self.server.points_in_spool())
        self.assertNotIn("Traceback", self.server.log)
