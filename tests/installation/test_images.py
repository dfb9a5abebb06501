"""The images: what is in them, who runs there, and that the two programs of one of them come and go together."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, Program, temporary_directory, wait_until
from tests.readme import CHECKOUT
from torfluxd.onion.network import free_ports

IMAGES = CHECKOUT / "images"
NAMES = ("torfluxd", "torfluxd-influxdb")


def steps(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile."""
    text = re.sub(r"\\\n\s*", "", (IMAGES / name / "Dockerfile").read_text())
    lines = [line.partition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in lines]


def context() -> Iterator[Path]:
    """What gets to the builder: what .dockerignore lets through, which begins with nothing."""
    first, *lines = [
        line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert first == "*"
    for line in lines:
        if line.startswith("!"):
            yield CHECKOUT / line[1:]


class DockerfileTests(SynchronousTestCase):
    """What the Dockerfiles say."""

    def test_user(self) -> None:
        """Nothing runs as root."""
        for name in NAMES:
            self.assertEqual([rest for word, rest in steps(name) if word == "USER"][-1], "torfluxd", name)

    def test_health(self) -> None:
        """An orchestrator can see whether the gateway answers; the second image is made of the first."""
        (check,) = (rest for word, rest in steps("torfluxd") if word == "HEALTHCHECK")
        self.assertIn('"torfluxd", "status", "--health"', check)
        self.assertIn(("FROM", "${GATEWAY}"), steps("torfluxd-influxdb"))

    def test_state(self) -> None:
        """What must outlive a container is in volumes: the key and the spool, and InfluxDB's data."""
        self.assertIn(("VOLUME", "/var/lib/torfluxd"), steps("torfluxd"))
        self.assertIn(("VOLUME", "/var/lib/influxdb"), steps("torfluxd-influxdb"))

    def test_secrets(self) -> None:
        """No secret can end in a layer: none is an argument or a variable of a build, and it is sent sources alone."""
        for name in NAMES:
            for word, rest in steps(name):
                if word in ("ARG", "ENV"):
                    self.assertNotRegex(rest, r"(?i)key|token|password|secret")
        allowed = {path.name for path in context()}
        self.assertEqual(
            allowed,
            {"LICENSE", "README.rst", "pyproject.toml", "completions", "man", "images", "systemd", "torfluxd"}
            | {"twisted_plugins"},
        )

    def test_context(self) -> None:
        """What is sent to the builder is enough to build the package of."""
        place = temporary_directory(self.addCleanup)
        for path in context():
            target = place / path.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", place / "dist", place]
        subprocess.run(command, check=True, capture_output=True)

    def test_nightly(self) -> None:
        """They are built anew each night, from Dockerfiles that exist."""
        workflow = (CHECKOUT / ".github/workflows/images.yml").read_text()
        self.assertIn("  schedule:\n", workflow)
        built = re.findall(r"-f (\S+) -t", workflow)
        self.assertEqual([(CHECKOUT / path).is_file() for path in built], [True, True])


class RunTests(SynchronousTestCase):
    """What the image with InfluxDB runs."""

    def setUp(self) -> None:
        """Have it run here, with directories and ports of its own."""
        self.place = temporary_directory(self.addCleanup)
        self.influxdb, self.gateway = free_ports(2)
        variables = {
            "INFLUXDB_DB": "tele metry",
            "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{self.influxdb}",
            "INFLUXDB_BIND_ADDRESS": "127.0.0.1:0",
            "INFLUXDB_META_DIR": self.place / "meta",
            "INFLUXDB_DATA_DIR": self.place / "data",
            "INFLUXDB_DATA_WAL_DIR": self.place / "wal",
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        options = ["--state-dir", self.place / "state", "--listen", f"tcp:{self.gateway}:interface=127.0.0.1"]
        run = IMAGES / "torfluxd-influxdb/run"
        given = [f"{name}={value}" for name, value in variables.items()]
        self.program = Program(
            self.addCleanup, ["env", *given, run, "--tor", "none", *options], self.place / "container.log"
        )
        self.program.wait_for("serving on ")

    def children(self) -> list[int]:
        """The processes of influxd and of the gateway."""
        path = Path(f"/proc/{self.program.process.pid}/task/{self.program.process.pid}/children")
        return [int(child) for child in path.read_text().split()]

    def test_database(self) -> None:
        """The database that was named is there, and what is written through the gateway arrives."""
        name = urllib.parse.quote("tele metry")
        write = urllib.request.Request(f"http://127.0.0.1:{self.gateway}/write?db={name}", b"m f=12.5", method="POST")
        query = f"http://127.0.0.1:{self.influxdb}/query?db={name}&q=select+f+from+m"
        with urllib.request.urlopen(write) as answer:
            self.assertEqual(204, answer.status)
        with urllib.request.urlopen(query) as answer:
            self.assertIn(b",12.5]]", answer.read())

    def test_end(self) -> None:
        """SIGTERM ends both in good order, and the exit code is 0."""
        both = self.children()
        self.assertEqual(2, len(both))
        self.assertEqual(0, self.program.stop())
        self.assertEqual([], [process for process in both if Path(f"/proc/{process}").exists()])

    def test_failure(self) -> None:
        """When one of them is killed, the other ends too, and the exit code says so."""
        victim, other = self.children()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: self.program.process.poll() is not None, lambda: self.program.log)
        self.assertNotEqual(0, self.program.process.returncode)
        self.assertFalse(Path(f"/proc/{other}").exists())
