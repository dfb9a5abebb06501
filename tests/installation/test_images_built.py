"""The images, built and run with Debian's buildah, on a base that debootstrap makes; Docker is not needed."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import Program, wait_until
from tests.installation.booted import CERTIFICATES, MIRROR, SUITE, run
from tests.readme import CHECKOUT
from torfluxd.onion.network import free_ports


class Builder:
    """buildah, with a storage of its own.

    :param place: an empty directory.
    """

    def __init__(self, place: Path) -> None:
        self.command = ["buildah", "--root", str(place / "storage"), "--runroot", str(place / "run")]
        base = place / "base"
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(base), MIRROR)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(base), "/")
        self("commit", "--quiet", container, "debian-base")

    def __call__(self, *arguments: str) -> str:
        """Run it to its end; the last line of what it said, if it said anything."""
        return "".join(run(*self.command, *arguments).splitlines()[-1:])

    def build(self, name: str, argument: str) -> None:
        """Build an image as its Dockerfile says, with one argument."""
        mine = ["--volume", f"{CERTIFICATES.parent}:{CERTIFICATES.parent}:ro"]  # who stands before the package index
        file = ["--file", f"{CHECKOUT}/images/{name}/Dockerfile", "--tag", name, str(CHECKOUT)]
        self("build", "--format", "docker", "--isolation", "chroot", "--build-arg", argument, *mine, *file)


@pytest.mark.torture
class BuiltTests(SynchronousTestCase):
    """Both images."""

    builder: Builder
    place: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Build them."""
        cls.place = Path(tempfile.mkdtemp(prefix="images-", dir="/var/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.place)
        cls.builder = Builder(cls.place)
        cls.addClassCleanup(run, *cls.builder.command, "rm", "--all")  # unmounts what is mounted
        cls.builder.build("torfluxd", "BASE=localhost/debian-base")
        cls.builder.build("torfluxd-influxdb", "GATEWAY=localhost/torfluxd")

    def in_container(self, container: str, *command: str) -> list[str]:
        """The command that runs another one in a container, as its user, and ends it when it ends."""
        run_there = ["run", "--isolation", "chroot", "--user", "torfluxd", container, "--"]
        return [*self.builder.command, *run_there, "setpriv", "--pdeathsig", "TERM", *command]

    def test_gateway(self) -> None:
        """The gateway's has what it needs, and its configuration holds, for a user who is not root."""
        container = self.builder("from", "localhost/torfluxd")
        self.assertIn("# All is well.", run(*self.in_container(container, "torfluxd", "serve", "--check")))
        self.assertEqual("987\n", run(*self.in_container(container, "id", "--user")))

    def test_configuration(self) -> None:
        """Whoever runs them finds a user, a health check and volumes."""
        for name, volumes in (
            ("torfluxd", {"/var/lib/torfluxd"}),
            ("torfluxd-influxdb", {"/var/lib/torfluxd", "/var/lib/influxdb"}),
        ):
            config = json.loads(run(*self.builder.command, "inspect", "--type", "image", name))["Docker"]["config"]
            self.assertEqual("torfluxd", config["User"])
            self.assertEqual(["CMD", "torfluxd", "status", "--health"], config["Healthcheck"]["Test"])
            self.assertEqual(volumes, set(config["Volumes"]))

    def test_with_influxdb(self) -> None:
        """The other one comes up, is well, stores what is written to it, and ends when it is told to."""
        container = self.builder("from", "localhost/torfluxd-influxdb")
        influxdb, gateway = free_ports(2)
        variables = [f"INFLUXDB_HTTP_BIND_ADDRESS=127.0.0.1:{influxdb}", "INFLUXDB_BIND_ADDRESS=127.0.0.1:0"]
        options = ["--tor", "none", "--listen", f"tcp:{gateway}:interface=127.0.0.1"]
        command = ["env", "INFLUXDB_DB=telemetry", *variables, "torfluxd-influxdb", *options]
        program = Program(self.addCleanup, self.in_container(container, *command), self.place / "log")
        program.wait_for("serving on ")
        self.assertEqual("ok\n", run(*self.in_container(container, "torfluxd", "status", "--health")))
        write = urllib.request.Request(f"http://127.0.0.1:{gateway}/write?db=telemetry", b"m f=12.5", method="POST")
        query = f"http://127.0.0.1:{influxdb}/query?db=telemetry&q=select+f+from+m"
        with urllib.request.urlopen(write) as answer:
            self.assertEqual(204, answer.status)
        with urllib.request.urlopen(query) as answer:
            self.assertIn(b",12.5]]", answer.read())
        program.process.terminate()
        wait_until(lambda: "Closing retention policy" in program.log, lambda: program.log)
        program.stop()
