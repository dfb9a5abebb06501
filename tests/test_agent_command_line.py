"""What an operator of the agent meets on the command line: one line that says what is wrong and how to mend it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.test_command_line import BIN, DEADLINE_SECONDS, CommandCase
from torfluxd.errors import StateDirectoryError
from torfluxd.state import StateDirectory

ONION = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
NO_ENDPOINT = "tcp:nonsense:interface=127.0.0.1"
AGENTS = {
    "agent": [str(BIN / "torfluxd"), "agent"],
    "twistd": [str(BIN / "twistd"), "-n", "--pidfile=", "torfluxd-agent"],
    "twist": [str(BIN / "twist"), "--log-format=text", "torfluxd-agent"],
}
"""The ways to run the agent in the foreground."""


class AgentCommandCase(CommandCase):
    """The agent, run in an empty directory, with an address that nobody has the key of."""

    def agent(self, *arguments: str, way: str = "agent", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the agent, which ends by itself."""
        options = ["--onion", ONION, "--state-dir", str(self.state), *arguments]
        return self.run_command([*AGENTS[way], *options], environment)

    def assert_not_run(self, *arguments: str, saying: str, way: str = "agent", **environment: str) -> str:
        """It ends with one line that says so, a code that is not 0, and nothing else."""
        ended = self.agent(*arguments, way=way, **environment)
        said = ended.stdout + ended.stderr
        self.assertNotEqual(0, ended.returncode, said)
        self.assertEqual(1, len(said.splitlines()), said)
        self.assertIn(saying, said)
        return said


class RefusedTests(AgentCommandCase):
    """What is known to be wrong before anything begins."""

    def test_every_way_to_run_it_refuses_alike(self) -> None:
        """`torfluxd agent`, `twistd -n torfluxd-agent` and `twist torfluxd-agent` refuse with the same line."""
        said = {self.assert_not_run("--interval", "banana", saying="--interval: expected", way=way) for way in AGENTS}
        self.assertEqual(1, len(said))

    def test_no_address(self) -> None:
        """Without the vendor's address it says how to give it."""
        ended = self.run_command(AGENTS["agent"])
        self.assertEqual((64, 1), (ended.returncode, len(ended.stderr.splitlines())))
        self.assertIn("--onion ADDRESS", ended.stderr)

    def test_an_address_that_is_none(self) -> None:
        """An address with a wrong letter is refused by its checksum, and one that is no onion address, too."""
        for address in (f"k{ONION[1:]}", "example.com"):
            self.assert_not_run("--onion", address, saying="--onion: ")

    def test_an_unknown_option(self) -> None:
        """An unknown option is refused, with the one that was probably meant."""
        self.assert_not_run("--granularty", "x", saying="no option --granularty; did you mean --granularity?")

    def test_a_door_that_others_reach(self) -> None:
        """A door that other machines can reach is refused, with the two cures."""
        said = self.assert_not_run("--listen", "tcp:8086", saying="interface=127.0.0.1")
        self.assertIn("--listen-allow-remote", said)

    def test_endpoints_that_are_none(self) -> None:
        """A --listen or --tor that is no endpoint is refused."""
        self.assert_not_run("--listen", NO_ENDPOINT, saying=f"--listen: {NO_ENDPOINT!r}")
        self.assert_not_run("--tor", "socks:nonsense", saying="nonsense")

    def test_a_state_directory_in_use(self) -> None:
        """A state directory that another process uses is refused by that process's id."""
        held = StateDirectory.claim(self.state)
        self.addCleanup(held.release)
        self.assert_not_run(saying=f"in use by process {os.getpid()}")

    def test_a_missing_tor(self) -> None:
        """A tor that is not there is refused with the command that installs one."""
        self.assert_not_run("--tor", "launch", "--tor-binary", "/nowhere/tor", saying="apt-get install tor")

    def test_a_schema_that_is_none(self) -> None:
        """A schema that cannot be read is refused by its name."""
        self.assert_not_run("--schema", "/nowhere/schema.toml", saying="--schema: /nowhere/schema.toml")

    def test_a_port_in_use(self) -> None:
        """A port that is in use ends the agent, and the state directory is free again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ended = self.agent("--listen", f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
        said = ended.stdout + ended.stderr
        self.assertNotEqual(0, ended.returncode, said)
        self.assertIn("cannot listen on", said)
        self.assertNotIn("Traceback", said)
        StateDirectory.claim(self.state).release()

    def test_without_the_extra(self) -> None:
        """Where google-re2 is missing it says what to install."""
        program = (
            "import sys; sys.modules['re2'] = None\n"
            "from torfluxd.cli import main\n"
            f"main(['agent', '--onion', {ONION!r}, '--state-dir', {str(self.state)!r}])"
        )
        ended = self.run_command([sys.executable, "-c", program])
        self.assertNotEqual(0, ended.returncode)
        self.assertIn("pip install 'torfluxd[agent]'", ended.stderr)


class DaemonTests(AgentCommandCase):
    """`twistd torfluxd-agent`, which forks."""

    def test_it_runs_until_it_is_told_to_end(self) -> None:
        """It goes on after the command has ended, keeps points on the disk, and ends on SIGTERM."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        pid_file = self.directory / "twistd.pid"
        self.addCleanup(self.end, pid_file)
        listen = f"tcp:{port}:interface=127.0.0.1"
        command = [str(BIN / "twistd"), "torfluxd-agent", "--onion", ONION, "--state-dir", str(self.state)]
        started = self.run_command([*command, "--listen", listen, "--tor", "socks:tcp:127.0.0.1:1"])
        self.assertEqual(0, started.returncode, started.stderr)
        self.wait_until(lambda: "serving on" in self.log)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/write?db=d", b"m v=1", method="POST")
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            self.assertEqual(204, answer.status)
        pid = int(pid_file.read_text())
        error = self.assertRaises(StateDirectoryError, StateDirectory.claim, self.state)
        self.assertIn(f"in use by process {pid}", str(error))
        os.kill(pid, signal.SIGTERM)
        self.wait_until(lambda: not pid_file.exists())
        self.assertIn("Points that could not be reported before the reporter stopped: 1.", self.log)
        self.assertNotIn("Traceback", self.log)
        StateDirectory.claim(self.state).release()

    @property
    def log(self) -> str:
        """What it says when nobody is there."""
        log = self.directory / "twistd.log"
        return log.read_text() if log.exists() else ""

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log)
            time.sleep(0.05)

    def end(self, pid_file: Path) -> None:
        """End it, should it run."""
        if pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


class QuestionTests(AgentCommandCase):
    """`--help`, `--sample-config` and `--check`."""

    def test_help(self) -> None:
        """`--help` names the options with their defaults, whichever way it was asked for; so do the programs' own."""
        for command in AGENTS.values():
            ended = self.run_command([*command, "--help"])
            self.assertEqual(0, ended.returncode)
            for words in ("--onion", "--statsd", "--granularity", "[default: 1m]", "--allow-host", "repeatable"):
                self.assertIn(words, ended.stdout)
        self.assertIn("torfluxd-agent", self.run_command([str(BIN / "twistd"), "--help"]).stdout)
        self.assertIn("agent ", self.run_command([str(BIN / "torfluxd"), "--help"]).stdout)

    def test_the_sample_is_right(self) -> None:
        """The sample is printed without asking for an address, and --check accepts it with one."""
        samples = {self.run_command([*command, "--sample-config"]).stdout for command in AGENTS.values()}
        self.assertEqual(1, len(samples))
        sample = self.directory / "sample"
        sample.write_text(samples.pop())
        ended = self.agent("--check", "--config", str(sample))
        self.assertEqual((0, ""), (ended.returncode, ended.stderr))

    def test_check(self) -> None:
        """--check says that all is well, with what holds and where it was given, and makes nothing."""
        for way in AGENTS:
            ended = self.agent("--check", "--statsd", "udp", way=way, TORFLUXD_DATABASE="d")
            self.assertEqual((0, ""), (ended.returncode, ended.stderr))
            self.assertTrue(ended.stdout.startswith("# All is well."))
            self.assertIn('database = "d"  # TORFLUXD_DATABASE', ended.stdout)
        self.assertFalse(self.state.exists())

    def test_check_tells_all(self) -> None:
        """--check tells all that is wrong, one line each."""
        ended = self.agent(
            "--check", "--listen", NO_ENDPOINT, "--schema", "/nowhere", "--tor=launch", "--tor-binary=/no"
        )
        self.assertEqual((64, ""), (ended.returncode, ended.stdout))
        self.assertEqual(3, len(ended.stderr.splitlines()), ended.stderr)
