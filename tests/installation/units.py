"""The systemd units that come with torfluxd, read for tests, and laid out as an operator installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.readme import CHECKOUT

__all__ = ["INSTALLED", "UNITS", "Layout", "environment_of", "settings_of"]

UNITS = CHECKOUT / "systemd"

INSTALLED = "/opt/torfluxd/bin/torfluxd"
"""Where the units and the README expect the program."""

PROGRAM = Path(sys.executable).parent / "torfluxd"


def settings_of(text: str) -> list[tuple[str, str]]:
    """The settings of a unit, as they stand there, one after the other."""
    lines = (line.partition("=") for line in text.splitlines() if line and line[0] not in "#[")
    return [(name, value) for name, _, value in lines]


def environment_of(text: str) -> dict[str, str]:
    """The environment variables that a unit gives."""
    pairs = (value.partition("=") for name, value in settings_of(text) if name == "Environment")
    return {variable: value for variable, _, value in pairs}


class Layout:
    """The units in a directory of their own, with the program that is installed here, and drop-ins.

    :param drop_ins: the name of a unit to those of its drop-ins.
    """

    def __init__(self, directory: Path, drop_ins: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.directory = directory
        for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
            (directory / unit.name).write_text(unit.read_text().replace(INSTALLED, str(PROGRAM)))
        for unit_name, names in (drop_ins or {}).items():
            (directory / f"{unit_name}.d").mkdir()
            for name in names:
                shutil.copy(UNITS / "drop-ins" / name, directory / f"{unit_name}.d")

    def analyze(self, *arguments: str, manuals: Path) -> tuple[int, str, str]:
        """Run systemd-analyze, which looks for units here and in the system, and for manual pages in one place.

        :returns: its exit code, what it printed, and what it remarked.
        """
        ended = subprocess.run(
            ["systemd-analyze", *arguments],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{self.directory}:", "MANPATH": str(manuals), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout, ended.stderr
