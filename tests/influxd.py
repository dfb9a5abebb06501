"""A real influxd for a test: on loopback, with a directory and ports of its own, gone when the test is over."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.parse
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from attrs import frozen

from torfluxd.demo_influxd import influxd_config

__all__ = ["Answer", "Influxd", "quoted", "start_influxd"]

START_SECONDS = 30.0
"""How long a start may take: it takes half a second, more on a machine that does much else."""

STOP_SECONDS = 10.0
"""How long influxd may take to end after a signal."""

REQUEST_SECONDS = 30.0
"""How long one answer may take."""

POLL_SECONDS = 0.02

# What would drop or make shards on its own is off.
_FURTHER = """\
[retention]
enabled = false

[shard-precreation]
enabled = false
"""

_LISTENING = re.compile(r'msg="Listening on HTTP" .*addr=127\.0\.0\.1:(\d+) ')


@frozen
class Answer:
    """What influxd said to one request.

    :ivar status: the HTTP status.
    :ivar headers: names in lower case.
    :ivar body: the body.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class Influxd:
    """One influxd, its port and its data, which outlive :meth:`stop`, :meth:`kill` and :meth:`restart`.

    All methods block. An answer that a test did not count on is an AssertionError with influxd's own words.

    :ivar directory: its configuration, data and `log`; gone after :meth:`close`.
    :ivar port: where it serves HTTP on 127.0.0.1; the same after a restart.
    :ivar login: with which requests are made from then on: the name of a user, and the password.
    """

    def __init__(self, http_options: str = "", data_options: str = "", *, log_enabled: bool = True) -> None:
        self._log_enabled = log_enabled
        self.directory = Path(tempfile.mkdtemp(prefix="influxd-"))
        self.port = 0
        self.login: tuple[str, str] | None = None
        self._options = {"http_options": http_options, "data_options": data_options}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that it has logged, over all its lives."""
        return (self.directory / "log").read_text("utf-8", "replace")

    @property
    def accesses(self) -> list[str]:
        """The lines of its log about requests: `POST /write?db=telemetry HTTP/1.1` and what else it says of each."""
        return [line for line in self.log.splitlines() if line.startswith("[httpd] ")]

    def resident_bytes(self) -> int:
        """How much memory it holds now."""
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # Its life.

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._process is None, "this influxd runs already"
        if shutil.which("influxd") is None:
            raise AssertionError("this test needs influxd, which is not installed: apt-get install influxdb")
        config = self.directory / "influxdb.conf"
        text = influxd_config(
            self.directory, self.port, log_enabled=self._log_enabled, further=_FURTHER, **self._options
        )
        config.write_text(text, "utf-8")
        with (self.directory / "log").open("ab") as log:
            # setpriv: the kernel kills it if this process is killed.
            command = ["setpriv", "--pdeathsig", "KILL", "influxd", "-config", str(config)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"influxd did not start; it logged:\n{self.log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it as an operator would (SIGTERM), and wait until it has ended."""
        if self._process is not None:
            self._process.terminate()
            self._wait()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._wait()

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): connections are still accepted, by the kernel, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after :meth:`freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it if it runs, and start it again with the same data, on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it, and remove its directory."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.directory)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(STOP_SECONDS)
        self._process = None

    def _answers(self) -> bool:
        if not self.port:
            found = _LISTENING.search(self.log)
            if found is None:
                return False
            self.port = int(found[1])
        try:
            return self.request("GET", "/ping").status == 204
        except (OSError, HTTPException):
            return False

    # What one says to it.

    def request(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """One HTTP request, of any kind."""
        login = {}
        if self.login is not None:
            login["Authorization"] = f"Basic {b64encode(':'.join(self.login).encode()).decode()}"
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)) as connection:
            connection.request(method, target, body, {**login, **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())

    def write(self, db: str, lines: bytes) -> Answer:
        """Write lines, with times in nanoseconds; the answer may be a refusal."""
        return self.request("POST", "/write?" + urllib.parse.urlencode({"db": db, "precision": "ns"}), lines)

    def query(self, q: str, db: str = "") -> list[dict[str, Any]]:
        """Ask in InfluxQL.

        :returns: the series of all statements, each with `name`, `tags`, `columns` and `values` as the JSON of
            `/query` has them, times in nanoseconds.
        """
        body = urllib.parse.urlencode({"q": q, "db": db, "epoch": "ns"}).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = json.loads(self.request("POST", "/query", body, form).body, parse_int=_integer)
        statements = answer.get("results", [answer])
        for statement in statements:
            assert "error" not in statement, f"influxd answered {q!r} with: {statement['error']}"
        return [series for statement in statements for series in statement.get("series", [])]

    def create_database(self, name: str) -> None:
        """Create a database, which may exist."""
        self.query(f"CREATE DATABASE {quoted(name)}")

    def count(self, db: str, measurement: str) -> int:
        """How many points a measurement has: those that have the field which most of them have."""
        series = self.query(f"SELECT count(*) FROM {quoted(measurement)}", db)
        return max(series[0]["values"][0][1:]) if series else 0


def start_influxd(
    case: unittest.TestCase, http_options: str = "", data_options: str = "", *, log_enabled: bool = True
) -> Influxd:
    """Start an influxd that ends, and leaves nothing behind, when the test does, however it ends.

    :param case: the test.
    :param http_options: further lines for the `[http]` section of its configuration.
    :param data_options: the same for its `[data]` section.
    :param log_enabled: whether it logs each request.
    """
    influxd = Influxd(http_options, data_options, log_enabled=log_enabled)
    case.addCleanup(influxd.close)
    influxd.start()
    return influxd


def quoted(identifier: str) -> str:
    """A name as it stands in InfluxQL."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _integer(text: str) -> int | float:
    """JSON has one kind of number: influxd writes the float -0.0 as `-0`, which would lose its sign as an int."""
    return -0.0 if text == "-0" else int(text)
