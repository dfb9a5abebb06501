"""What `pip install` brings: the package, the plugin that makes `twistd torfluxd` exist, and what an operator needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution, entry_points
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from twisted.trial.unittest import SynchronousTestCase

CHECKOUT = Path(__file__).parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
BUILD_REQUIREMENTS = ("hatchling", "editables")
"""What pip would fetch to build a wheel, and to install the checkout editable."""

LISTED = "    torfluxd         "
"""How `twistd --help` and `twist --help` begin the line of a plugin of this name."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed; its output."""
    ended = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if ended.returncode != 0:
        raise AssertionError(f"{command} ended with {ended.returncode}:\n{ended.stdout}")
    return ended.stdout


def copy_checkout(target: Path) -> None:
    """Copy what a clone would hold, and then what work in it leaves behind."""
    made = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "dropin.cache", "_trial_temp*")
    shutil.copytree(CHECKOUT, target, ignore=shutil.ignore_patterns(*made))
    for folder in ("torfluxd", "torfluxd/onion", "twisted_plugins"):
        (target / folder / "__pycache__").mkdir()
        (target / folder / "__pycache__/left.cpython-311.pyc").touch()
        (target / folder / "dropin.cache").touch()


def needed(requirements: Iterable[str]) -> Iterator[Distribution]:
    """The distributions that requirements bring, with all that those bring, as they are installed here.

    One comes again when it is asked for with other extras.
    """
    ahead = [Requirement(line) for line in requirements]
    seen = set()
    while ahead:
        requirement = ahead.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        found = distribution(requirement.name)
        yield found
        ahead += [
            further
            for further in map(Requirement, found.requires or ())
            if further.marker is None
            or any(further.marker.evaluate({"extra": extra}) for extra in requirement.extras or [""])
        ]


class Environment:
    """A virtual environment of its own, that holds what requirements bring and nothing else."""

    def __init__(self, path: Path, requirements: Iterable[str]) -> None:
        run(sys.executable, "-m", "venv", "--without-pip", path)
        self.bin = path / "bin"
        (self.packages,) = path.glob("lib/python*/site-packages")
        for found in {found.name: found for found in needed(requirements)}.values():
            self._take_over(found)

    def _take_over(self, found: Distribution) -> None:
        """Link a distribution that is installed here into the environment, file by file."""
        for file in found.files or ():
            is_script = ".." in file.parts  # it names the Python of here
            if is_script or "test" in file.parts:
                continue
            target = self.packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(found.locate_file(file))))

    def pip(self, *arguments: str | Path) -> str:
        """Run our pip for it."""
        return run(sys.executable, "-m", "pip", "--python", self.bin / "python", *arguments)

    def python(self, program: str, *arguments: str) -> str:
        """Run a Python program there."""
        return run(self.bin / "python", "-I", "-c", program, *arguments)

    def help_of(self, program: str) -> str:
        """What `twistd --help` or `twist --help` says there."""
        (script,) = (script for script in entry_points(group="console_scripts") if script.name == program)
        return self.python(f"from {script.module} import {script.attr.partition('.')[0]}; {script.attr}()", "--help")

    @property
    def files(self) -> set[str]:
        """What is installed there, but for what Python and Twisted cache."""
        return {
            str(path.relative_to(self.bin.parent))
            for path in self.bin.parent.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != "dropin.cache"
        }


class PackagingTests(SynchronousTestCase):
    """The sdist, the wheel, and what they are once installed."""

    place: Path
    source: Path
    wheel: Path
    sdist: Path
    environment: Environment

    @classmethod
    def setUpClass(cls) -> None:
        """Build once, from a checkout in which somebody has worked, and make an environment to install into."""
        cls.place = Path(tempfile.mkdtemp(prefix="torfluxd packaging "))
        cls.addClassCleanup(shutil.rmtree, cls.place)
        cls.source = cls.place / "check out"
        copy_checkout(cls.source)
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", cls.place / "dist", cls.source)
        (cls.wheel,) = (cls.place / "dist").glob("*.whl")
        (cls.sdist,) = (cls.place / "dist").glob("*.tar.gz")
        cls.environment = Environment(cls.place / "venv", [*PROJECT["dependencies"], *BUILD_REQUIREMENTS])

    def install(self, *what: str | Path) -> None:
        """Install into the environment, for one test."""
        self.environment.pip("install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", *what)
        self.addCleanup(self.environment.pip, "uninstall", "--quiet", "--yes", "torfluxd")

    def test_wheel(self) -> None:
        """The wheel holds the package, its types, its licence, the plugins, and what goes elsewhere; nothing more."""
        names = ZipFile(self.wheel).namelist()
        (metadata,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        wanted = {f"{metadata}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
        wanted |= {f"{metadata}/licenses/LICENSE", "torfluxd/py.typed"}
        wanted |= {f"twisted/plugins/{name}_plugin.py" for name in ("torfluxd", "torfluxd_agent")}
        wanted |= {str(path.relative_to(self.source)) for path in (self.source / "torfluxd").rglob("*.py")}
        data = metadata.replace(".dist-info", ".data/data/")
        self.assertEqual(sorted(name for name in names if not name.startswith(data)), sorted(wanted))
        self.assertEqual(sorted(name.removeprefix(data) for name in names if name.startswith(data)), self.elsewhere())

    def elsewhere(self) -> list[str]:
        """What is to be installed outside of the package: units, manual pages and completions, each of them."""
        pages = [f"share/man/{page.parent.name}/{page.name}" for page in (self.source / "docs/man").glob("man?/*")]
        systemd = self.source / "systemd"
        units = [
            f"lib/systemd/system/{unit.name}" for kind in ("service", "socket") for unit in systemd.glob(f"*.{kind}")
        ]
        shared = [
            f"share/torfluxd/{file.relative_to(systemd)}"
            for folder in ("apparmor.d", "drop-ins")
            for file in (systemd / folder).rglob("*")
            if file.is_file()
        ]
        shells = ["share/bash-completion/completions/torfluxd", "share/zsh/site-functions/_torfluxd"]
        self.assertGreater(len(pages), 10)
        return sorted(
            [*pages, *units, *shared, *shells, "lib/sysusers.d/torfluxd.conf", "share/torfluxd/torfluxd.rules.yml"]
        )

    def test_sdist(self) -> None:
        """The sdist holds what building and testing take, and nothing that was lying around."""
        with tarfile.open(self.sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        wanted = {"LICENSE", "Makefile", "README.rst", "CONTRIBUTING.rst", "pyproject.toml", "scripts/setup"}
        for folder in (
            "benchmarks",
            "completions",
            "docs",
            "manuals",
            "systemd",
            "tests",
            "torfluxd",
            "twisted_plugins",
        ):
            files = [path.relative_to(self.source) for path in (self.source / folder).rglob("*") if path.is_file()]
            wanted |= {str(path) for path in files if "__pycache__" not in path.parts and path.name != "dropin.cache"}
        self.assertEqual(wanted - names, set())
        self.assertEqual([name for name in names if "dropin.cache" in name or "__pycache__" in name], [])

    def test_wheel_from_the_checkout(self) -> None:
        """A wheel built from the checkout is the wheel built from the sdist, byte for byte."""
        run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", self.place / "direct", self.source)
        (direct,) = (self.place / "direct").glob("*.whl")
        self.assertEqual(direct.name, self.wheel.name)
        self.assertEqual(direct.read_bytes(), self.wheel.read_bytes())

    def test_installed(self) -> None:
        """`pip install torfluxd` makes `twistd torfluxd` and `twist torfluxd` exist, and is enough for a reporter."""
        self.assertNotIn(LISTED, self.environment.help_of("twistd"))
        self.install(self.wheel)
        self.assertIn(LISTED, self.environment.help_of("twistd"))
        self.assertIn(LISTED, self.environment.help_of("twist"))
        self.environment.python("import torfluxd; torfluxd.Reporter")
        prefix = self.environment.bin.parent
        for name in self.elsewhere():
            self.assertTrue((prefix / name).is_file(), name)
        self.assertIn(
            "Commands:", run(self.environment.bin / "python", "-I", self.environment.bin / "torfluxd", "--help")
        )
        self.assertIn(
            "torfluxd 0.", run(self.environment.bin / "python", "-I", self.environment.bin / "torfluxd", "--version")
        )

    def test_with_tor(self) -> None:
        """`pip install 'torfluxd[tor]'` brings the tor that a vendor has packed, and a reporter would launch it."""
        dist = self.place / "dist with tor"
        run(sys.executable, CHECKOUT / "scripts/tor_wheel/build.py", dist)
        shutil.copy(self.wheel, dist)
        self.environment.pip("install", "--quiet", "--no-index", "--find-links", dist, "torfluxd[tor]")
        self.addCleanup(self.environment.pip, "uninstall", "--quiet", "--yes", "torfluxd", "torfluxd-tor")
        found = self.environment.python(
            "from torfluxd.errors import TorMissingError\n"
            "from torfluxd.reporter.ladder import program_of_this_machine\n"
            "def no_tor_in_path(_): raise TorMissingError\n"
            "print(program_of_this_machine(no_tor_in_path))\n"
        )
        self.assertEqual(found.strip(), str(self.environment.packages / "torfluxd_tor/tor"))
        self.assertTrue(run(found.strip(), "--version").startswith("Tor version "))

    def test_uninstalled(self) -> None:
        """`pip uninstall torfluxd` takes what was brought, and leaves Twisted whole."""
        before = self.environment.files
        self.install(self.wheel)
        self.assertGreater(len(self.environment.files), len(before) + 30)
        self.doCleanups()
        self.assertEqual(self.environment.files, before)
        self.assertNotIn(LISTED, self.environment.help_of("twistd"))

    def test_editable(self) -> None:
        """`pip install -e .` makes `twistd torfluxd` and `twist torfluxd` exist, with the code of the checkout."""
        self.install("--editable", self.source)
        self.assertIn(LISTED, self.environment.help_of("twistd"))
        self.assertIn(LISTED, self.environment.help_of("twist"))
        where = self.environment.python("import torfluxd.tap; print(torfluxd.tap.__file__)")
        self.assertEqual(where.strip(), str(self.source / "torfluxd/tap.py"))
