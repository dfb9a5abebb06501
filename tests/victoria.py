"""A real VictoriaMetrics for a test: on loopback, with a directory and a port of its own, gone when the test is over.

It keeps milliseconds, and stores a point that is sent twice once, which is what it has its flag for.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

__all__ = ["Victoria"]

START_SECONDS = 30.0
"""How long a start may take: it takes a tenth of a second, more on a machine that does much else."""

STOP_SECONDS = 10.0
REQUEST_SECONDS = 30.0
POLL_SECONDS = 0.02


class Victoria:
    """One VictoriaMetrics. All methods block.

    :param prefix: what stands before all its paths, as in a cluster; begins with a slash.
    :ivar directory: its data and `log`; gone after :meth:`close`.
    :ivar port: where it serves HTTP on 127.0.0.1.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.directory = Path(tempfile.mkdtemp(prefix="victoria-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at the port that it had before, and return when it answers."""
        if shutil.which("victoria-metrics") is None:
            raise AssertionError("this test needs victoria-metrics: apt-get install victoria-metrics")
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        # setpriv: the kernel kills it if this process is killed.
        command = [
            *("setpriv", "--pdeathsig", "KILL", "victoria-metrics", f"-httpListenAddr=127.0.0.1:{self.port}"),
            *(f"-storageDataPath={self.directory}/data", "-retentionPeriod=100y", "-memory.allowedBytes=64MiB"),
            *("-dedup.minScrapeInterval=1ms", f"-http.pathPrefix={self.prefix}"),
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.directory / "log").read_text()
                raise AssertionError(f"victoria-metrics did not start; it logged:\n{log_text}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it, and keep what it has."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Kill it, and remove its directory."""
        try:
            if self._process is not None:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
        finally:
            shutil.rmtree(self.directory)

    def times(self, metric: str) -> list[int]:
        """The times of a metric, `MEASUREMENT_FIELD`, in milliseconds, over all series, in their order."""
        self._get("/internal/force_flush")
        exported = self._get("/api/v1/export?" + urllib.parse.urlencode({"match[]": metric}))
        return sorted(time for line in exported.splitlines() for time in json.loads(line)["timestamps"])

    def _answers(self) -> bool:
        try:
            return self._get("/health") == b"OK"
        except (OSError, HTTPException):
            return False

    def _get(self, target: str) -> bytes:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)) as connection:
            connection.request("GET", self.prefix + target)
            return connection.getresponse().read()
