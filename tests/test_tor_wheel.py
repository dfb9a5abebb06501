"""The wheel into which a vendor packs Debian's tor."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from packaging.utils import parse_wheel_filename
from twisted.trial.unittest import SynchronousTestCase

BUILD = Path(__file__).parent.parent / "scripts/tor_wheel/build.py"


def run(*command: str | Path, **environ: str) -> str:
    """Run a command that must succeed, with almost no environment; its output."""
    kept = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=kept).stdout


class TorWheelTests(SynchronousTestCase):
    """What is in it, and what it is once it is installed."""

    place: Path
    wheel: Path

    @classmethod
    def setUpClass(cls) -> None:
        """Build one, and unpack it as pip does."""
        cls.place = Path(tempfile.mkdtemp(prefix="torfluxd tor wheel "))
        cls.addClassCleanup(shutil.rmtree, cls.place)
        cls.wheel = Path(run(sys.executable, BUILD, cls.place / "dist").strip())
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--no-index", "--target", cls.place / "installed", cls.wheel)

    @property
    def package(self) -> Path:
        """The installed module."""
        return self.place / "installed/torfluxd_tor"

    def test_runs(self) -> None:
        """Python finds the program in it, and that is the tor of this machine."""
        program = "import torfluxd_tor; print(torfluxd_tor.binary())"
        found = run(sys.executable, "-c", program, PYTHONPATH=str(self.place / "installed")).strip()
        self.assertEqual(found, str(self.package / "tor"))
        self.assertEqual(run(found, "--version"), run("tor", "--version"))

    def test_brings_its_libraries(self) -> None:
        """Nothing but libc is taken from the machine on which it runs."""
        linked = run("ldd", self.package / "bin/tor", LD_LIBRARY_PATH=str(self.package / "lib"))
        paths = dict(re.findall(r"^\s*(\S+) => (/.*) \(", linked, re.MULTILINE))
        elsewhere = {name for name, path in paths.items() if Path(path).parent != self.package / "lib"}
        self.assertEqual({name.partition(".")[0] for name in elsewhere} - {"libc", "libm"}, set())
        self.assertEqual({name for name in paths if name.startswith("libcrypto")}, {"libcrypto.so.3"})

    def test_licences(self) -> None:
        """The licence of each program and library is in it, and where its source is."""
        (info,) = self.package.parent.glob("*.dist-info")
        licences = info / "licenses"
        sources = (licences / "SOURCES").read_text().splitlines()
        packages = {line.partition(":")[0] for line in sources}
        self.assertIn("tor", packages)
        self.assertGreater(len(packages), 5)
        for package in packages:
            self.assertIn("opyright", (licences / package / "copyright").read_text("utf-8", "replace"))
        self.assertIn("GNU LESSER GENERAL PUBLIC LICENSE", (licences / "common-licenses/LGPL-2.1").read_text())

    def test_name(self) -> None:
        """Its name says for which machines it is, and which tor it holds."""
        name, version, _, tags = parse_wheel_filename(self.wheel.name)
        self.assertEqual(name, "torfluxd-tor")
        self.assertIn(f"Tor version {version.public}.", run("tor", "--version"))
        self.assertTrue(all(re.fullmatch(r"manylinux_2_\d+_\w+", tag.platform) for tag in tags), tags)

    def test_record(self) -> None:
        """What it says of its files is so, and two runs give the same bytes."""
        with ZipFile(self.wheel) as archive:
            (record,) = (name for name in archive.namelist() if name.endswith("/RECORD"))
            rows = list(csv.reader(archive.read(record).decode().splitlines()))
            self.assertEqual(sorted(row[0] for row in rows), sorted(archive.namelist()))
            for name, digest, size in rows:
                if digest:
                    data = archive.read(name)
                    sha256 = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                    self.assertEqual((digest, size), (f"sha256={sha256}", str(len(data))), name)
        again = Path(run(sys.executable, BUILD, self.place / "again").strip())
        self.assertEqual(again.read_bytes(), self.wheel.read_bytes())
