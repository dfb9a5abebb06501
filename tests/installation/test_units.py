"""systemd trusts torfluxd: its units are right, what they run is shut in, and secrets are where nobody looks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, Program, wait_until
from tests.influxd import start_influxd
from tests.installation.units import INSTALLED, UNITS, Layout, environment_of, settings_of
from tests.readme import CHECKOUT
from torfluxd.gateway.identity import CREDENTIAL, KEY_VARIABLE
from torfluxd.onion.key import OnionKey
from torfluxd.onion.network import free_ports
from torfluxd.ops.ending import EXIT_USAGE
from torfluxd.settings import CONFIG_OPTIONS, GATEWAY_OPTIONS, read_gateway_settings

MOST_EXPOSED = {"torfluxd": 0.3, "torfluxd-own-tor": 1.0, "torfluxd-agent": 1.0}
"""How exposed each service may be, by `systemd-analyze security`: 0 is best, 10 worst. That of systemd 252 says 0.2,
1.0 and 0.9; later ones may weigh differently."""

MOST_EXPOSED_ON_LOOPBACK = 1.0
"""How exposed the gateway may be when InfluxDB is on a loopback port."""

PORT, DOOR, PROMETHEUS = "torfluxd-influxdb-port.conf", "torfluxd-door.conf", "torfluxd-prometheus.conf"
GATEWAYS = ("torfluxd", "torfluxd-own-tor")
SERVICES = (*GATEWAYS, "torfluxd-agent")


class UnitCase(SynchronousTestCase):
    """Units in a directory of their own."""

    def setUp(self) -> None:
        """Begin with an empty directory."""
        temporary = TemporaryDirectory(prefix="units-")
        self.addCleanup(temporary.cleanup)
        self.place = Path(temporary.name)

    def layout(self, **drop_ins: tuple[str, ...]) -> Layout:
        """The units, with drop-ins of the gateways."""
        directory = self.place / f"units-{len(list(self.place.iterdir()))}"
        directory.mkdir()
        return Layout(directory, {f"{unit.replace('_', '-')}.service": names for unit, names in drop_ins.items()})

    def exposure(self, layout: Layout, unit: str) -> float:
        """What `systemd-analyze security` says of a service."""
        path = str(layout.directory / f"{unit}.service")
        _, said, _ = layout.analyze("security", "--offline=true", "--no-pager", path, manuals=CHECKOUT / "docs/man")
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+) ", said)
        assert found, said
        return float(found[1])


class VerifiedTests(UnitCase):
    """`systemd-analyze`."""

    def test_verify(self) -> None:
        """It has nothing to remark about any unit, with drop-ins and without: not a key that it does not know."""
        names = [f"{unit}.service" for unit in SERVICES] + ["torfluxd.socket", "torfluxd-admin.socket"]
        for drop_ins in ({}, {"torfluxd": (PORT, DOOR, PROMETHEUS)}):
            layout = self.layout(**drop_ins)
            paths = [str(layout.directory / name) for name in names]
            self.assertEqual((0, "", ""), layout.analyze("verify", *paths, manuals=CHECKOUT / "docs/man"))

    def test_exposure(self) -> None:
        """What a service that was broken into can reach and do is as little as it is said to be."""
        layout = self.layout()
        for unit in SERVICES:
            self.assertLessEqual(self.exposure(layout, unit), MOST_EXPOSED[unit], unit)

    def test_exposure_on_loopback(self) -> None:
        """With InfluxDB on a loopback port it is hardly more."""
        layout = self.layout(torfluxd=(PORT,))
        self.assertLessEqual(self.exposure(layout, "torfluxd"), MOST_EXPOSED_ON_LOOPBACK)

    def test_apparmor(self) -> None:
        """The line for AppArmor fits into the profile of Debian's tor."""
        profiles = self.place / "apparmor.d"
        shutil.copytree("/etc/apparmor.d", profiles)
        parser = shutil.which("apparmor_parser", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert parser is not None, "this test needs apparmor_parser: apt-get install apparmor"

        def compiled() -> bytes:
            options = ["--skip-kernel-load", "--skip-cache", "--base", str(profiles), "--stdout"]
            return subprocess.run([parser, *options, profiles / "system_tor"], capture_output=True, check=True).stdout

        (profiles / "local/system_tor").write_text("")
        before = compiled()
        shutil.copy(UNITS / "apparmor.d/local/system_tor", profiles / "local/system_tor")
        self.assertNotEqual(before, compiled())

    def test_user(self) -> None:
        """The gateway's user can be made, and no other."""
        made = subprocess.run(
            ["systemd-sysusers", "--dry-run", f"--root={self.place}", str(UNITS / "sysusers.d/torfluxd.conf")],
            capture_output=True,
            text=True,
            check=False,
        )
        said = made.stdout + made.stderr
        self.assertEqual((0, ["torfluxd"]), (made.returncode, re.findall(r"Creating user '(\S+)'", said)), said)


class MeaningTests(SynchronousTestCase):
    """What stands in the units means something to torfluxd."""

    def texts(self) -> dict[str, str]:
        """All units and drop-ins of the gateways, by their names."""
        paths = [*(UNITS / f"{unit}.service" for unit in GATEWAYS), *(UNITS / "drop-ins").glob("torfluxd-*.conf")]
        return {path.name: path.read_text() for path in paths}

    def test_environment(self) -> None:
        """Every variable that a unit gives is an option's, and holds what the option takes."""
        variables = {option.variable for option in (*GATEWAY_OPTIONS, *CONFIG_OPTIONS)}
        for name, text in self.texts().items():
            environment = environment_of(text)
            self.assertLessEqual(set(environment), variables, name)
            read_gateway_settings({}, environment)

    def test_credentials(self) -> None:
        """Credentials have the names under which the gateway looks for them, and none needs to be there."""
        for unit in GATEWAYS:
            text = (UNITS / f"{unit}.service").read_text()
            loaded = [value.split(":") for name, value in settings_of(text) if name == "LoadCredential"]
            self.assertEqual([CREDENTIAL, "influxdb-token", "influxdb-password"], [name for name, _ in loaded])
            for name, source in loaded:
                self.assertEqual(f"torfluxd.{name}", source)

    def test_one_gateway(self) -> None:
        """The two gateways share what they keep, so that one can take the other's place, and only one of them runs."""
        shared, own = (dict(settings_of((UNITS / f"{unit}.service").read_text())) for unit in GATEWAYS)
        self.assertEqual(own["StateDirectory"], shared["StateDirectory"])
        self.assertEqual(own["User"], shared["User"])
        self.assertEqual(("torfluxd.service", "torfluxd-own-tor.service"), (own["Conflicts"], shared["Conflicts"]))

    def test_restart(self) -> None:
        """What ends is started anew, for ever, unless it cannot be right before somebody mends it."""
        for unit in SERVICES:
            settings = dict(settings_of((UNITS / f"{unit}.service").read_text()))
            self.assertEqual("on-failure", settings["Restart"])
            self.assertEqual(str(EXIT_USAGE), settings["RestartPreventExitStatus"])
            self.assertGreater(
                int(settings["RestartSec"]) * 5, 10
            )  # systemd gives up at five starts within ten seconds

    def test_apparmor_socket(self) -> None:
        """The line for a confined tor is about the socket that the gateway has it connect to."""
        environment = environment_of((UNITS / "torfluxd.service").read_text())
        line = (UNITS / "apparmor.d/local/system_tor").read_text().splitlines()[-1]
        pattern, rights = line.rstrip(",").split(" ")
        regex = pattern.replace("{,var/}", "(var/)?").replace("*", "[^/]*").replace(".", r"\.")
        self.assertRegex(environment["TORFLUXD_ONION_SOCKET"], f"^{regex}$")
        self.assertEqual("rw", rights)

    def test_program(self) -> None:
        """They run the program where the README installs it."""
        folder = INSTALLED.removesuffix("/bin/torfluxd")
        self.assertIn(f"python3 -m venv {folder}\n", (CHECKOUT / "README.rst").read_text())
        for unit in SERVICES:
            commands = dict(settings_of((UNITS / f"{unit}.service").read_text()))
            self.assertEqual(INSTALLED, commands["ExecStart"].split()[0])


class DoorTests(UnitCase):
    """The door that systemd opens."""

    def test_door(self) -> None:
        """What the unit and its drop-in say to each other works: a write through systemd's socket arrives."""
        socket = dict(settings_of((UNITS / "torfluxd.socket").read_text()))
        listen = environment_of((UNITS / "drop-ins" / DOOR).read_text())["TORFLUXD_LISTEN"]
        address, _, _ = socket["ListenStream"].partition(":")
        (port,) = free_ports(1)
        activate = ["systemd-socket-activate", "-l", f"{address}:{port}", f"--fdname={socket['FileDescriptorName']}"]
        gateway = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", listen, "--state-dir", self.place / "state"]
        influxd = start_influxd(self)
        influxd.create_database("telemetry")
        program = Program(self.addCleanup, [*activate, *gateway, "--influxdb", influxd.url], self.place / "log")
        program.wait_for("Listening on ")
        write = urllib.request.Request(f"http://{address}:{port}/write?db=telemetry", b"m f=12.5", method="POST")
        with urllib.request.urlopen(write, timeout=60) as answer:
            self.assertEqual(204, answer.status)
        self.assertEqual(1, influxd.count("telemetry", "m"))


class SecretsTests(UnitCase):
    """A gateway as systemd runs it."""

    key = OnionKey.generate()

    def start(self, *variables: str) -> list[tuple[bytes, bytes]]:
        """Run a gateway whose tor reaches nobody.

        :returns: the arguments and the environment of the gateway, and of its tor.
        """
        command = [BIN / "torfluxd", "serve", "--state-dir", self.place / "state", "--tor-option", "DisableNetwork 1"]
        gateway = Program(self.addCleanup, ["env", *variables, *command], self.place / "log")
        gateway.wait_for("joining the Tor network")
        wait_until(lambda: bool(tors(gateway.process.pid)), lambda: gateway.log)
        self.assertEqual(f"{self.key.address.hostname}\n", (self.place / "state/hostname").read_text())
        processes = [Path(f"/proc/{each}") for each in (gateway.process.pid, *tors(gateway.process.pid))]
        return [((each / "cmdline").read_bytes(), (each / "environ").read_bytes()) for each in processes]

    def assert_no_secret(self, text: bytes) -> None:
        """Neither the key, in any form, nor the token is in it."""
        self.assertNotEqual(b"", text)
        for secret in (self.key.hex(), self.key.control_blob().partition(":")[2], "hunter2"):
            self.assertNotIn(secret.encode(), text)

    def test_credentials(self) -> None:
        """A key and a token from systemd are in nobody's environment or arguments: not the gateway's, not its tor's."""
        credentials = self.place / "credentials"
        credentials.mkdir()
        (credentials / CREDENTIAL).write_text(self.key.hex())
        (credentials / "influxdb-token").write_text("hunter2")
        for arguments, environment in self.start(f"CREDENTIALS_DIRECTORY={credentials}"):
            self.assert_no_secret(arguments)
            self.assert_no_secret(environment)

    def test_variable(self) -> None:
        """A key that comes in go-torfluxdb's variable goes no further: the gateway's tor does not inherit it."""
        gateway, *others = self.start(f"{KEY_VARIABLE}={self.key.hex()}")
        self.assert_no_secret(gateway[0])
        for arguments, environment in others:
            self.assert_no_secret(arguments)
            self.assert_no_secret(environment)


def tors(process: int) -> list[int]:
    """The tor that a process runs; it also starts some that say what they can do, and end at once."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children if b"torrc" in arguments_of(child)]


def arguments_of(process: str) -> bytes:
    """What a process was started with; nothing of one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
