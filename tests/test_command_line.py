"""What an operator meets on the command line: one line that says what is wrong and how to mend it."""

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
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import StateDirectoryError
from torfluxd.onion.key import OnionKey
from torfluxd.state import StateDirectory

BIN = Path(sys.executable).parent
WAYS = {
    "serve": [str(BIN / "torfluxd"), "serve"],
    "twistd": [str(BIN / "twistd"), "-n", "--pidfile=", "torfluxd"],
    "twist": [str(BIN / "twist"), "--log-format=text", "torfluxd"],
}
"""The ways to run the gateway in the foreground."""

DEADLINE_SECONDS = 30


class CommandCase(SynchronousTestCase):
    """An empty directory, and programs run in it."""

    def setUp(self) -> None:
        """Begin in an empty directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.state = self.directory / "state"

    def run_command(
        self, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; one that does not end is a failure."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("TORFLUX", "STATE_DIR"))}
        return subprocess.run(
            command,
            cwd=self.directory,
            env={**clean, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )

    def assert_refused(
        self, *arguments: str, saying: str, way: str = "serve", environment: dict[str, str] | None = None
    ) -> str:
        """The gateway ends with one line that says so, a code that is not 0, and no traceback."""
        ended = self.run_command([*WAYS[way], "--state-dir", str(self.state), *arguments], environment)
        said = ended.stdout + ended.stderr
        self.assertNotEqual(0, ended.returncode, said)
        self.assertNotIn("Traceback", said)
        self.assertEqual(1, sum(saying in line for line in said.splitlines()), said)
        return said


class RefusedBeforeStartTests(CommandCase):
    """What is known to be wrong before anything begins: one line on standard error, and nothing else."""

    def assert_refused(
        self, *arguments: str, saying: str, way: str = "serve", environment: dict[str, str] | None = None
    ) -> str:
        """As above, and there is not a second line."""
        said = super().assert_refused(*arguments, saying=saying, way=way, environment=environment)
        self.assertEqual(1, len(said.splitlines()), said)
        return said

    def test_every_way_to_run_it_refuses_alike(self) -> None:
        """`torfluxd serve`, `twistd -n torfluxd` and `twist torfluxd` refuse with the same line."""
        said = {self.assert_refused("--timeout", "banana", saying="--timeout: expected", way=way) for way in WAYS}
        self.assertEqual(1, len(said))

    def test_an_unknown_option(self) -> None:
        """An unknown option is refused, with the one that was probably meant."""
        self.assert_refused("--influxbd", "x", saying="no option --influxbd; did you mean --influxdb?")

    def test_an_argument_that_is_no_option(self) -> None:
        """An argument in the place of an option is refused."""
        self.assert_refused("influxdb", saying="unexpected argument 'influxdb'")

    def test_an_influxdb_that_cannot_be_read(self) -> None:
        """An address of InfluxDB that is none is refused, and a password in it is not repeated."""
        self.assert_refused("--influxdb", "ftp://x", saying="--influxdb: ")
        self.assertNotIn("hunter2", self.assert_refused("--influxdb", "http://u:hunter2@x", saying="--influxdb: "))

    def test_a_malformed_key(self) -> None:
        """A key that is none is refused, and its text is not repeated."""
        key = self.directory / "key"
        key.write_text("seventeen wombats")
        key.chmod(0o600)
        self.assertNotIn("wombats", self.assert_refused("--onion-key", str(key), saying=str(key)))
        self.assertNotIn(
            "wombats", self.assert_refused(saying="TORFLUXDB_ONIONKEY: ", environment={"TORFLUXDB_ONIONKEY": "wombats"})
        )

    def test_a_key_that_others_can_read(self) -> None:
        """A key that others can read is refused with the command that mends it."""
        key = self.directory / "key"
        key.write_text(OnionKey.generate().hex())
        key.chmod(0o644)
        self.assert_refused("--onion-key", str(key), saying="chmod 600")

    def test_a_missing_key(self) -> None:
        """A key file that is not there is refused with the command that makes one."""
        self.assert_refused("--onion-key", str(self.directory / "none"), saying="torfluxd key new")

    def test_a_state_directory_that_cannot_be_written(self) -> None:
        """A state directory that cannot be made is refused."""
        self.state.write_text("a file")
        self.assert_refused(saying="--state-dir")

    def test_a_state_directory_in_use(self) -> None:
        """A state directory that another process uses is refused by that process's id."""
        held = StateDirectory.claim(self.state)
        self.addCleanup(held.release)
        for way in WAYS:
            self.assert_refused(saying=f"in use by process {os.getpid()}", way=way)

    def test_a_state_directory_whose_path_is_too_long(self) -> None:
        """A state directory in which no socket fits is refused before anything starts."""
        self.state = self.directory / ("x" * 100)
        self.assert_refused(saying="choose a shorter --state-dir")

    def test_a_missing_tor(self) -> None:
        """A tor that is not there is refused with the command that installs one."""
        self.assert_refused("--tor-binary", "/nowhere/tor", saying="apt-get install tor")

    def test_endpoints_that_are_none(self) -> None:
        """A --listen or --tor that is no endpoint is refused."""
        self.assert_refused("--listen", "nonsense:1", saying="--listen: 'nonsense:1'")
        self.assert_refused("--tor", "nonsense", saying="--tor: 'nonsense'")

    def test_a_daemon_refuses_before_it_forks(self) -> None:
        """A daemonising twistd ends with a code that is not 0 for what can be known before it forks."""
        ended = self.run_command([str(BIN / "twistd"), "torfluxd", "--state-dir", str(self.state), "--expose", "some"])
        self.assertNotEqual(0, ended.returncode)
        self.assertIn("--expose: expected write or all, got 'some'", ended.stderr)
        self.assertFalse((self.directory / "twistd.pid").exists())


class RefusedAtStartTests(CommandCase):
    """What is found to be wrong while it starts: one line in the log, a code that is not 0, nothing left running."""

    def test_a_port_in_use(self) -> None:
        """A port that is in use ends the gateway, whichever way it was run."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for way in WAYS:
                self.assert_refused(
                    "--tor=none", f"--listen=tcp:{port}:interface=127.0.0.1", saying="cannot listen on", way=way
                )

    def test_a_control_port_that_refuses(self) -> None:
        """A control port where nothing listens ends the gateway, with the cure."""
        for way in WAYS:
            self.assert_refused("--tor", f"unix:{self.directory}/control", saying="is tor running", way=way)

    def test_a_control_port_that_is_not_tors(self) -> None:
        """A port where something else than tor listens ends the gateway."""
        web = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.BaseHTTPRequestHandler)"
        web += "; print(s.server_port, flush=True); s.serve_forever()"
        with subprocess.Popen([sys.executable, "-c", web], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            self.addCleanup(server.wait)
            self.addCleanup(server.kill)
            assert server.stdout is not None
            port = int(server.stdout.readline())
            try:
                self.assert_refused("--tor", f"tcp:127.0.0.1:{port}", saying="is it tor's control port?")
            finally:
                server.kill()

    def test_a_tor_that_refuses_its_configuration(self) -> None:
        """A --tor-option that tor does not know ends the gateway in tor's own words, and leaves no tor."""
        self.assert_refused("--tor-option", "NoSuchOption 1", saying="torfluxd cannot start")
        self.assertFalse((self.state / "onion.sock").exists())

    def test_a_tor_that_cannot_reach_its_network(self) -> None:
        """A tor that cannot join its network ends the gateway after --timeout, with the likely cause."""
        offline = ["--tor-option", "DisableNetwork 1", "--timeout", "2s"]
        for way in WAYS:
            self.assert_refused(*offline, saying="within 2 s (--timeout)", way=way)
        said = self.assert_refused(*offline, saying="is this machine online")
        self.assertIn("0 %", said)


class DaemonTests(CommandCase):
    """`twistd torfluxd`, which forks."""

    def daemon(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Start it."""
        self.addCleanup(self.end_daemon)
        return self.run_command([str(BIN / "twistd"), "torfluxd", "--state-dir", str(self.state), *arguments])

    @property
    def pid_file(self) -> Path:
        """Where twistd keeps its process id."""
        return self.directory / "twistd.pid"

    @property
    def log(self) -> str:
        """What it says when nobody is there."""
        return (self.directory / "twistd.log").read_text()

    def end_daemon(self) -> None:
        """End it, should it run."""
        if self.pid_file.exists():
            os.kill(int(self.pid_file.read_text()), signal.SIGKILL)

    def test_it_runs_until_it_is_told_to_end(self) -> None:
        """It goes on after the command has ended, serves, keeps its state directory, and ends on SIGTERM."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        started = self.daemon("--tor=none", f"--listen=tcp:{port}:interface=127.0.0.1")
        self.assertEqual(0, started.returncode, started.stderr)
        self.wait_until(lambda: "serving on" in self.log)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=DEADLINE_SECONDS) as answer:
            self.assertEqual(204, answer.status)
        pid = int(self.pid_file.read_text())
        error = self.assertRaises(StateDirectoryError, StateDirectory.claim, self.state)
        self.assertIn(f"in use by process {pid}", str(error))
        os.kill(pid, signal.SIGTERM)
        self.wait_until(lambda: not self.pid_file.exists())
        StateDirectory.claim(self.state).release()

    def test_a_later_failure_is_in_the_log(self) -> None:
        """What goes wrong after it forked is in its log, and its process id is not left behind."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.daemon("--tor=none", f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1")
            self.wait_until(lambda: "torfluxd cannot start: cannot listen on" in self.log)
            self.wait_until(lambda: not self.pid_file.exists())
        self.assertNotIn("Traceback", self.log)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.log)
            time.sleep(0.05)


class HelpTests(CommandCase):
    """Asking for help."""

    def test_help_teaches(self) -> None:
        """`--help` names every option with its default, whichever way it was asked for."""
        for command in WAYS.values():
            ended = self.run_command([*command, "--help"])
            self.assertEqual(0, ended.returncode)
            for words in (
                "--influxdb",
                "http://127.0.0.1:8086",
                "--timeout",
                "[default: 3m]",
                "--listen",
                "repeatable",
            ):
                self.assertIn(words, ended.stdout)

    def test_the_version_is_ours(self) -> None:
        """`--version` names torfluxd's version, and Twisted's and Python's for a bug report."""
        for command in ([str(BIN / "torfluxd"), "--version"], [*WAYS["serve"], "--version"]):
            self.assertRegex(self.run_command(command).stdout, r"^torfluxd \S+ \(Twisted \S+, Python \S+\)$")

    def test_no_command_shows_the_commands(self) -> None:
        """`torfluxd` alone shows its commands, and an unknown one is refused with them."""
        self.assertIn("testnet", self.run_command([str(BIN / "torfluxd")]).stdout)
        ended = self.run_command([str(BIN / "torfluxd"), "sevre"])
        self.assertEqual((64, 1), (ended.returncode, len(ended.stderr.splitlines())))


class ConfigurationTests(CommandCase):
    """`--config`, `--check` and `--sample-config`."""

    def serve(self, *arguments: str, way: str = "serve", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the gateway, which ends by itself."""
        return self.run_command([*WAYS[way], *arguments], environment)

    def written(self, name: str, text: str, mode: int = 0o600) -> str:
        """A file."""
        path = self.directory / name
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def assert_all_is_well(self, *arguments: str, way: str = "serve", **environment: str) -> str:
        """`--check` says so, and changes nothing."""
        before = sorted(self.directory.rglob("*"))
        ended = self.serve("--check", *arguments, way=way, **environment)
        self.assertEqual((0, ""), (ended.returncode, ended.stderr))
        self.assertTrue(ended.stdout.startswith("# All is well."), ended.stdout)
        self.assertEqual(sorted(self.directory.rglob("*")), before)
        return ended.stdout

    def assert_problems(self, *arguments: str, saying: list[str]) -> None:
        """`--check` ends with exit code 64 and one line for each problem, and changes nothing."""
        before = sorted(self.directory.rglob("*"))
        ended = self.serve("--check", *arguments)
        self.assertEqual((64, ""), (ended.returncode, ended.stdout))
        self.assertEqual(len(saying), len(ended.stderr.splitlines()), ended.stderr)
        for words, line in zip(saying, ended.stderr.splitlines(), strict=True):
            self.assertIn(words, line)
        self.assertEqual(sorted(self.directory.rglob("*")), before)

    def test_the_sample_is_right(self) -> None:
        """The sample is printed, whichever way it was asked for, and --check accepts it as it is."""
        samples = {self.serve("--sample-config", way=way).stdout for way in WAYS}
        self.assertEqual(1, len(samples))
        self.assert_all_is_well("--state-dir", str(self.state), "--config", self.written("sample", samples.pop()))

    def test_check_shows_what_holds(self) -> None:
        """--check says that all is well, with the settings that hold and where each was given, and makes nothing."""
        config = self.written("f.toml", '[gateway]\ntimeout = "1m"\nexpose = "all"\n[schema.a]\nfields.f = "float"\n')
        for way in WAYS:
            said = self.assert_all_is_well(
                "--state-dir", str(self.state), "--timeout=2m", way=way, TORFLUXD_CONFIG=config, TORFLUXD_EXPOSE="write"
            )
            for line in ('timeout = "2m"  # --timeout', 'expose = "write"  # TORFLUXD_EXPOSE', "[schema.a]"):
                self.assertIn(line, said.splitlines())
        self.assertFalse(self.state.exists())

    def test_check_beside_a_gateway(self) -> None:
        """--check works beside a gateway that runs, before it is restarted."""
        held = StateDirectory.claim(self.state)
        self.addCleanup(held.release)
        self.assert_all_is_well("--state-dir", str(self.state))

    def test_check_shows_no_secrets(self) -> None:
        """A key and a token are looked at, and nothing of them is shown."""
        key = OnionKey.generate().hex()
        said = self.assert_all_is_well(
            f"--state-dir={self.state}",
            f"--onion-key={self.written('key', key)}",
            f"--influxdb-token-file={self.written('token', 'hunter2')}",
            "--tor-option=HTTPSProxyAuthenticator u:hunter2",
        )
        self.assertNotIn("hunter2", said)
        self.assertNotIn(key[:16], said)

    def test_check_tells_all_that_is_wrong(self) -> None:
        """All that would keep the gateway from coming up is told at once, as far as it can be known."""
        self.assert_problems(
            f"--state-dir={self.written('file', '')}",
            f"--onion-key={self.written('key', OnionKey.generate().hex(), 0o644)}",
            f"--influxdb-token-file={self.directory}/none",
            "--listen=nonsense:1",
            "--tor-binary=/nowhere/tor",
            f"--authorized-clients={self.directory}/nobody",
            saying=[
                "Not a directory; choose another with --state-dir",
                "--influxdb-token-file: ",
                "--listen: 'nonsense:1'",
                "chmod 600",
                "apt-get install tor",
                "--authorized-clients: ",
            ],
        )
        self.assert_problems(
            "--timeout=x",
            f"--config={self.written('f.toml', '[gateway]' + chr(10) + 'max_body_bytes = ' + repr('lots'))}",
            saying=["gateway.max_body_bytes: expected a number of bytes, got 'lots'", "--timeout: expected a duration"],
        )

    def test_check_opens_no_endpoint(self) -> None:
        """An endpoint that would connect to a tor when it is read is left alone."""
        with socket.create_server(("127.0.0.1", 0)) as control:
            port = control.getsockname()[1]
            self.assert_all_is_well(f"--state-dir={self.state}", f"--listen=onion:80:controlPort={port}")
            control.setblocking(False)
            self.assertRaises(BlockingIOError, control.accept)

    def test_a_gateway_with_a_file(self) -> None:
        """A file that is wrong keeps every way to run the gateway from starting, with one line."""
        config = self.written("f.toml", "[gateway]\ntimeot = 1")
        for way in WAYS:
            ended = self.serve("--config", config, way=way)
            self.assertEqual(64, ended.returncode)
            self.assertEqual(
                f"torfluxd: {config}: gateway.timeot: there is no such key; did you mean gateway.timeout?\n",
                ended.stderr,
            )

    def test_an_empty_value(self) -> None:
        """An option with nothing in it is an error, not the default."""
        self.assert_problems("--timeout", "", saying=["--timeout: expected a duration"])


class SchemaCommandTests(CommandCase):
    """`torfluxd schema suggest`."""

    def suggest(self, *arguments: str, sample: bytes = b"") -> tuple[int, str, str]:
        """Run it; its exit code, what it proposed, and what it told."""
        command = [str(BIN / "torfluxd"), "schema", "suggest", *arguments]
        ended = subprocess.run(command, input=sample, capture_output=True, check=False, timeout=DEADLINE_SECONDS)
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    def test_what_it_proposes_can_be_used(self) -> None:
        """A sample in a file or on standard input becomes tables that --check accepts; what is unreadable is told."""
        sample = b"backup,os=linux,host=pc1 seconds=12.8,files=3000i 1700000000\ngar\x1bbage\n"
        (self.directory / "sample").write_bytes(sample)
        code, proposed, told = self.suggest(str(self.directory / "sample"))
        self.assertEqual((code, proposed, told), self.suggest(sample=sample))
        self.assertEqual((0, "torfluxd: line 2 cannot be read: missing fields\n"), (code, told))
        self.assertIn("[schema.backup.tags]", proposed)
        (self.directory / "f.toml").write_text(proposed)
        ended = self.run_command([*WAYS["serve"], "--check", f"--state-dir={self.state}", "--config=f.toml"])
        self.assertEqual(0, ended.returncode, ended.stderr)
        self.assertIn('host = "drop"', ended.stdout)

    def test_many_bad_lines(self) -> None:
        """Of many lines that cannot be read, the first are told, and how many others there are."""
        told = self.suggest(sample=b"bad\n" * 50 + b"m f=1")[2].splitlines()
        self.assertEqual((11, "torfluxd: so are 40 others"), (len(told), told[-1]))

    def test_what_it_cannot_do_is_one_line(self) -> None:
        """A missing file, a sample of something else and a wrong word are each refused in one line."""
        self.assertEqual(1, len(self.suggest(str(self.directory / "none"))[2].splitlines()))
        code, proposed, told = self.suggest(sample=b"")
        self.assertEqual(
            (1, "", "torfluxd: schema suggest: there is no line protocol in the sample\n"), (code, proposed, told)
        )
        for arguments in (["suggest", "a", "b"], ["sugest"]):
            ended = self.run_command([str(BIN / "torfluxd"), "schema", *arguments])
            self.assertEqual((64, 1), (ended.returncode, len(ended.stderr.splitlines())))


class KeyCommandTests(CommandCase):
    """`torfluxd key`."""

    def key(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return self.run_command([str(BIN / "torfluxd"), "key", *arguments])

    def test_a_key_is_made_and_read(self) -> None:
        """A new key's address is printed, and the same address and the key are read back from its file."""
        path = str(self.directory / "onion.key")
        address = self.key("new", path).stdout
        self.assertRegex(address, r"^[a-z2-7]{56}\.onion$")
        self.assertEqual(address, self.key("address", path).stdout)
        self.assertRegex(self.key("show", path).stdout, r"^[0-9a-f]{128}$")
        self.assertEqual(0o600, Path(path).stat().st_mode & 0o777)

    def test_a_key_is_never_overwritten(self) -> None:
        """A second `new` on the same file is refused, and the first key stays."""
        path = str(self.directory / "onion.key")
        address = self.key("new", path).stdout
        self.assertEqual(1, self.key("new", path).returncode)
        self.assertEqual(address, self.key("address", path).stdout)

    def test_what_it_cannot_do_is_one_line(self) -> None:
        """A missing file, an unknown action and a missing name are each refused in one line."""
        for arguments in (("address", "none"), ("frobnicate",), ("show",), ("new", "a", "b")):
            ended = self.key(*arguments)
            self.assertNotEqual(0, ended.returncode)
            self.assertEqual(1, len(ended.stderr.splitlines()), ended.stderr)


class ClientKeyCommandTests(CommandCase):
    """`torfluxd key client`."""

    def client(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return self.run_command([str(BIN / "torfluxd"), "key", "client", *arguments])

    def test_a_key_is_made_and_shown(self) -> None:
        """A new key's public line is printed alone, fit for NAME.auth, and read back; the private one is not shown."""
        address = OnionKey.generate().address
        made = self.client("new", "alice", address.hostname)
        self.assertRegex(made.stdout, r"^descriptor:x25519:[A-Z2-7]{52}\n$")
        self.assertEqual(1, len(made.stderr.splitlines()))
        path = self.directory / "alice.auth_private"
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        secret = path.read_text().strip().rpartition(":")[2]
        for name in ("alice", "alice.auth_private", str(path)):
            shown = self.client("show", name)
            self.assertEqual((made.stdout, ""), (shown.stdout, shown.stderr))
            self.assertNotIn(secret, shown.stdout)

    def test_what_it_cannot_do_is_one_line(self) -> None:
        """A missing name, a wrong address, a file that is there already and one that is none are each one line."""
        address = OnionKey.generate().address.hostname
        self.client("new", "there", address)
        for code, arguments in (
            *((64, ()), (64, ("frobnicate",)), (64, ("new", "a")), (64, ("show",)), (64, ("show", "a", "b"))),
            *((1, ("new", "a", "example.org")), (1, ("new", "there", address)), (1, ("show", "none"))),
        ):
            ended = self.client(*arguments)
            self.assertEqual((code, 1, ""), (ended.returncode, len(ended.stderr.splitlines()), ended.stdout), arguments)

    def test_the_gateway_refuses_a_wrong_directory(self) -> None:
        """A directory of clients that would let in nobody, or everybody, or that holds a private key, is refused."""
        clients = self.directory / "clients"
        options = ("--authorized-clients", str(clients))
        self.assert_refused(*options, saying="--authorized-clients: ")
        clients.mkdir()
        self.assert_refused(*options, saying="has no file NAME.auth")
        self.client("new", "alice", OnionKey.generate().address.hostname)
        (self.directory / "alice.auth_private").rename(clients / "alice.auth")
        self.assert_refused(*options, saying="alice.auth: this is a client's private key")
        self.assert_refused(*options, "--tor", "none", "--listen", "tcp:0", saying="with --tor none there is none")
