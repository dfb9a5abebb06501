"""`torfluxd testnet`: a private Tor network for a vendor's own tests."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, client_tor, temporary_directory, wait_until

READY_SECONDS = 60.0
ENDED_SECONDS = 15.0


def processes_in(directory: Path) -> list[str]:
    """The processes that have this directory in their command line."""
    commands = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(directory) in command:
                commands.append(command)
    return commands


class TestnetTests(SynchronousTestCase):
    """From its start to its end."""

    def begin(self, *options: str) -> subprocess.Popen[str]:
        """Start it."""
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", BIN / "torfluxd", "testnet", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ready(self, process: subprocess.Popen[str]) -> dict[str, object]:
        """What it says when it is ready."""
        assert process.stdout is not None
        said: dict[str, object] = json.loads(process.stdout.readline())
        return said

    def assert_nothing_left(self, directory: Path) -> None:
        """No process and no file of it is left."""
        wait_until(lambda: not processes_in(directory), lambda: str(processes_in(directory)), ENDED_SECONDS)
        wait_until(lambda: not directory.exists(), lambda: f"{directory} is still there", ENDED_SECONDS)

    def test_it_is_ready_in_a_minute_and_ctrl_c_leaves_nothing(self) -> None:
        """It is ready within 60 s, listens on 127.0.0.1 alone, and Ctrl-C leaves no process and no file."""
        process = self.begin("--json")
        said = self.ready(process)
        directory = Path(str(said["directory"]))
        self.assertLess(float(str(said["ready_seconds"])), READY_SECONDS)
        self.assertEqual(6, sum("/torrc" in command for command in processes_in(directory)))
        listeners = "".join(path.read_text() for path in directory.glob("*/torrc"))
        self.assertEqual({"127.0.0.1"}, set(re.findall(r"Port (\S+):\d+", listeners)))
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(ENDED_SECONDS))
        self.assert_nothing_left(directory)

    def test_a_kill_leaves_nothing(self) -> None:
        """Kill -9, even before it is ready, leaves no process; a directory that was named keeps its files."""
        directory = temporary_directory(self.addCleanup) / "net"
        process = self.begin("--directory", str(directory))
        wait_until(lambda: len(processes_in(directory / "auth0")) > 0, lambda: "no authority was started")
        process.kill()
        process.wait()
        wait_until(lambda: not processes_in(directory / "auth"), lambda: "a tor is left", ENDED_SECONDS)

    def test_any_tor_joins_it(self) -> None:
        """A tor that is started through its script joins within seconds."""
        self.assertIn("Bootstrapped 100%", client_tor(self.addCleanup, temporary_directory(self.addCleanup)).log)

    def test_what_it_cannot_do_is_one_line(self) -> None:
        """A missing tor and a directory that is not empty are refused in one line."""
        full = temporary_directory(self.addCleanup)
        (full / "file").touch()
        for options in (["--tor-binary", "/nowhere"], ["--directory", str(full)]):
            ended = subprocess.run(
                [BIN / "torfluxd", "testnet", *options], capture_output=True, text=True, check=False, timeout=60
            )
            self.assertEqual((1, 1), (ended.returncode, len(ended.stderr.splitlines())), ended.stderr)
