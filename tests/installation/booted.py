"""A small Debian, installed in a directory and booted as a container: systemd runs there as it does on a machine.

It has no network but its own loopback, so neither its tor nor anything else in it reaches anybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.installation.units import UNITS
from tests.readme import CHECKOUT

__all__ = ["CERTIFICATES", "MIRROR", "SUITE", "Machine", "run"]

PACKAGES = ("systemd", "systemd-sysv", "dbus", "tor", "influxdb", "python3-venv", "curl", "procps", "ca-certificates")
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"

BUILD_SECONDS = 1200
BOOT_SECONDS = 300
"""How long it may be up: the longest of what is tried waits for the watchdog, a minute."""

ENDS_WITH_US = ("unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc")
"""Before systemd-nspawn, which leaves the machine running when it is killed: this way the kernel ends all of it."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_UNIT = """
[Unit]
After=dbus.service
[Service]
ExecStart=/bin/bash /root/steps
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""

_SCRIPT = """
exec 2>/root/trace
set -x
step() { "$1" >"/root/said/$1"; echo $? >"/root/code/$1"; }
mkdir -p /root/said /root/code
"""


class Machine:
    """The machine, as an operator has set it up by docs/operations.rst, with both gateways' units.

    :param cleanup: called with what must happen in the end.
    """

    def __init__(self, cleanup: Callable[..., object]) -> None:
        if os.geteuid() != 0:
            raise AssertionError("only root can make and boot a machine in a directory")
        self.root = Path(tempfile.mkdtemp(prefix="booted-", dir="/var/tmp")) / "root"
        cleanup(shutil.rmtree, self.root.parent)
        include = f"--include={','.join(PACKAGES)}"
        run("debootstrap", "--variant=minbase", include, SUITE, str(self.root), MIRROR)
        self._install_torfluxd()
        self._install_units()

    def run(self, steps: Sequence[tuple[str, str]]) -> None:
        """Boot it, do all this, and have it power off.

        :param steps: a name for each, and shell commands; what they said is to be had from :meth:`said`.
        """
        script = _SCRIPT
        for name, commands in steps:
            script += f"{name}() {{\n{commands}\n}}\nstep {name}\n"
        (self.root / "root/steps").write_text(script)
        unit = self.root / "etc/systemd/system/steps.service"
        unit.write_text(_UNIT)
        wanted = self.root / "etc/systemd/system/multi-user.target.wants"
        wanted.mkdir(exist_ok=True)
        (wanted / "steps.service").symlink_to("/etc/systemd/system/steps.service")
        boot = ("systemd-nspawn", "-D", str(self.root), "--register=no", "--keep-unit", "--private-network")
        try:
            run(*ENDS_WITH_US, *boot, "--console=pipe", "--boot", seconds=BOOT_SECONDS, may_fail=True)
        except subprocess.TimeoutExpired:
            trace = (self.root / "root/trace").read_text()[-4000:]
            raise AssertionError(f"it is still up after {BOOT_SECONDS} s:\n{trace}") from None

    def said(self, step: str) -> str:
        """What a step said, without the last end of line."""
        path = self.root / "root/said" / step
        if not path.exists():
            raise AssertionError(f"it did not come to {step}:\n{(self.root / 'root/trace').read_text()}")
        return path.read_text().rstrip("\n")

    def code(self, step: str) -> int:
        """The exit code of a step."""
        self.said(step)
        return int((self.root / "root/code" / step).read_text())

    def _install_torfluxd(self) -> None:
        """As the README says, out of this checkout."""
        kept = shutil.ignore_patterns(".git", ".venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(CHECKOUT, self.root / "root/checkout", ignore=kept)
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        if CERTIFICATES.exists():  # this machine's: somebody may stand between it and the package index
            shutil.copy(CERTIFICATES, self.root / CERTIFICATES.relative_to("/"))
        run("chroot", str(self.root), "python3", "-m", "venv", "/opt/torfluxd")
        pip = ("/opt/torfluxd/bin/pip", "install", "--quiet", "/root/checkout[gateway]")
        run("chroot", str(self.root), *pip)

    def _install_units(self) -> None:
        """As docs/operations.rst says."""
        installed, system = self.root / "opt/torfluxd", self.root / "etc/systemd/system"
        for unit in (installed / "lib/systemd/system").iterdir():
            shutil.copy(unit, system)
        run("chroot", str(self.root), "systemd-sysusers", "/opt/torfluxd/lib/sysusers.d/torfluxd.conf")
        (system / "influxdb.service.d").mkdir()
        shutil.copy(UNITS / "drop-ins/influxdb-socket.conf", system / "influxdb.service.d")


def run(*command: str, seconds: float = BUILD_SECONDS, may_fail: bool = False) -> str:
    """Run a command to its end; what it said, which is told if it fails."""
    ended = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
    )
    if ended.returncode and not may_fail:
        raise AssertionError(f"{command} ended with {ended.returncode}:\n{ended.stdout[-4000:]}")
    return ended.stdout
