"""A gateway under systemd, as far as a gateway can tell: its notify socket, its signals, its socket activation."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, Program, curl, temporary_directory, wait_until
from torfluxd.onion.key import OnionKey

PATIENCE_SECONDS = 30.0
"""How long something may take on a busy machine."""

HANGS_MICROSECONDS = 3_600_000_000
"""How long the disk hangs: until somebody ends the process."""

SYNCS = 24
"""After so many syncs the disk hangs. To open a spool that is there takes a few, and each word to the watchdog one."""

WATCHED_SECONDS = 4.0
"""How long nothing is heard when the watchdog starves: several times as long as it waits."""

NOBODY = "http://127.0.0.1:9"
"""Where no InfluxDB is: what is written is kept."""


class Manager:
    """What systemd is to a gateway: a notify socket, and all that was heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE_SECONDS)
        self.heard: list[str] = []

    def wait_for(self, words: str) -> str:
        """Hear until that is heard, and return it."""
        while True:
            told = self._socket.recv(4096).decode()
            self.heard.append(told)
            if words in told:
                return told

    def hears(self, words: str, seconds: float) -> bool:
        """Whether that is heard within so long."""
        deadline = time.monotonic() + seconds
        try:
            while (rest := deadline - time.monotonic()) > 0:
                self._socket.settimeout(rest)
                self.heard.append(self._socket.recv(4096).decode())
                if words in self.heard[-1]:
                    return True
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(PATIENCE_SECONDS)
        return False

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


class SystemdCase(SynchronousTestCase):
    """An empty directory, and a systemd."""

    def setUp(self) -> None:
        """Listen."""
        self.directory = temporary_directory(self.addCleanup)
        self.manager = Manager(self.directory / "notify")
        self.addCleanup(self.manager.close)
        self.door = self.directory / "door"

    def start(
        self,
        *options: str,
        way: str = "serve",
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> Program:
        """Start a gateway, in one of the ways."""
        begin = {
            "serve": [BIN / "torfluxd", "serve"],
            "twistd": [BIN / "twistd", "-n", "--pidfile=", "--logger", "torfluxd.ops.logs.json_lines", "torfluxd"],
        }[way]
        state = ["--state-dir", str(self.directory / "state"), "--influxdb", NOBODY]
        log = self.directory / f"{way}.log"
        notify = {"NOTIFY_SOCKET": str(self.manager.path), **(environment or {})}
        return Program(self.addCleanup, [*wrapper, *begin, *state, *options], log, notify)

    def start_local(self, *options: str, **more: dict[str, str] | str | Sequence[str]) -> Program:
        """Start a gateway without an onion service."""
        return self.start("--tor", "none", "--listen", f"unix:{self.door}", *options, **more)  # type: ignore[arg-type]

    def connect(self) -> http.client.HTTPConnection:
        """Come in."""
        connection = http.client.HTTPConnection("a.onion", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(PATIENCE_SECONDS)
        connection.sock.connect(str(self.door))
        self.addCleanup(connection.close)
        return connection


def write(connection: http.client.HTTPConnection, database: str) -> int:
    """Write a point."""
    connection.request("POST", f"/write?db={database}", b"m v=1 %d" % time.time_ns())
    answer = connection.getresponse()
    answer.read()
    return answer.status


class NotifyTests(SystemdCase):
    """What systemd hears."""

    def test_ready_before_tor(self) -> None:
        """We are ready when spool and socket are open, long before Tor; the status says what tor does meanwhile."""
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(silent.close)
        silent.bind(str(self.directory / "control"))
        silent.listen()
        self.start("--tor", f"unix:{self.directory / 'control'}")
        self.manager.wait_for("READY=1")
        self.assertTrue((self.directory / "state" / "onion.sock").exists())
        self.assertTrue((self.directory / "state" / "spool.db").exists())
        self.assertRegex(self.manager.wait_for("tor is being started"), r"STATUS=.* at http://[a-z2-7]{56}\.onion")
        ready = self.status("--ready")
        self.assertEqual((1, True), (ready[0], "the onion service is not published" in ready[1]))
        self.assertEqual((0, "ok\n"), self.status("--health"))

    def status(self, *options: str) -> tuple[int, str]:
        """What `torfluxd status` says, and its exit code."""
        program = Program(
            self.addCleanup,
            [BIN / "torfluxd", "status", "--state-dir", self.directory / "state", *options],
            self.directory / "status.log",
        )
        code = program.process.wait(PATIENCE_SECONDS)
        return code, program.log

    def test_a_whole_life(self) -> None:
        """Ready, alive again and again, and about to end: in this order."""
        gateway = self.start_local(environment={"WATCHDOG_USEC": "500000"})
        self.manager.wait_for("READY=1")
        for _ in range(3):
            self.manager.wait_for("WATCHDOG=1")
        self.assertEqual(204, write(self.connect(), "telemetry"))
        self.manager.wait_for("1 points wait in the spool")
        gateway.process.terminate()
        self.manager.wait_for("STOPPING=1")
        self.assertEqual(-signal.SIGTERM, gateway.process.wait(PATIENCE_SECONDS))
        self.assertLess(self.manager.heard.index("READY=1"), self.manager.heard.index("WATCHDOG=1"))
        self.assertNotIn("Traceback", gateway.log)

    def test_the_variable_is_ours_alone(self) -> None:
        """No child of ours could tell systemd anything: the variable is not in what it would inherit."""
        gateway = self.start_local()
        self.manager.wait_for("READY=1")
        self.assertNotIn("systemd cannot be told", gateway.log)


class Disk:
    """The disk under a program that `strace` runs, which lets it hang by holding whoever waits for it."""

    def __init__(self, program: Program) -> None:
        self._process = Path(f"/proc/{program.process.pid}/status")

    def go_on(self) -> None:
        """Answer again: `strace` ends, and lets everybody go."""
        with contextlib.suppress(OSError):  # the program has ended, and `strace` with it
            found = re.search(r"^TracerPid:\s+([1-9]\d*)$", self._process.read_text(), re.MULTILINE)
            if found is not None:
                os.kill(int(found[1]), signal.SIGKILL)


class HangingDiskTests(SystemdCase):
    """A disk that takes what it is given, and then never answers again."""

    def test_the_watchdog_starves(self) -> None:
        """Systemd hears no more of us while the disk under the spool hangs, though the process answers everybody else;
        when the disk goes on, it does again.
        """
        place = str(self.directory / "state" / "admin.sock")
        self.starve(
            self.start_local,
            lambda: self.assertIn("ok", curl("--unix-socket", place, "http://localhost/health")),
        )

    def test_the_watchdog_of_an_agent_starves(self) -> None:
        """So it is with an agent."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        begin = [BIN / "torfluxd", "agent", "--tor", f"socks:unix:{self.directory / 'nobody'}"]
        where = ["--state-dir", self.directory / "state", "--listen", f"tcp:{port}:interface=127.0.0.1"]

        def start(environment: dict[str, str] | None = None, wrapper: Sequence[str] = ()) -> Program:
            command = [*wrapper, *begin, *where, "--onion", OnionKey.generate().address.hostname]
            notify = {"NOTIFY_SOCKET": str(self.manager.path), **(environment or {})}
            return Program(self.addCleanup, command, self.directory / "agent.log", notify)

        self.starve(start, lambda: self.assertIn("HTTP/1.1 2", curl(f"http://127.0.0.1:{port}/ping")))

    def starve(self, start: Callable[..., Program], ask: Callable[[], None]) -> None:
        """Let the disk hang under whatever is started, and ask it something meanwhile."""
        before = start()  # to begin a spool takes a number of syncs that varies
        self.manager.wait_for("READY=1")
        before.stop()
        hang = ["-e", "trace=fdatasync", "-e", f"inject=fdatasync:delay_enter={HANGS_MICROSECONDS}:when={SYNCS}+"]
        strace = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", str(self.directory / "trace"), *hang]
        program = start(environment={"WATCHDOG_USEC": "1000000"}, wrapper=strace)
        disk = Disk(program)
        self.addCleanup(disk.go_on)  # a process of which one thread hangs cannot end
        self.manager.wait_for("WATCHDOG=1")
        while self.manager.hears("WATCHDOG=1", WATCHED_SECONDS):
            self.assertLess(self.manager.heard.count("WATCHDOG=1"), SYNCS)
        ask()
        disk.go_on()
        self.manager.wait_for("WATCHDOG=1")
        program.stop()


class ReloadTests(SystemdCase):
    """SIGHUP, as `systemctl reload` sends it."""

    def setUp(self) -> None:
        """Start a gateway with a configuration."""
        super().setUp()
        self.config = self.directory / "config.toml"
        self.config.write_text('[gateway]\ndatabase = ["one"]\n')

    def reload(self, gateway: Program, text: str) -> None:
        """Change the configuration, and have it read."""
        self.config.write_text(text)
        gateway.process.send_signal(signal.SIGHUP)
        self.assertIn("MONOTONIC_USEC=", self.manager.wait_for("RELOADING=1"))
        self.manager.wait_for("READY=1")

    def statuses(self) -> tuple[int, int]:
        """What two strangers hear who write to one database, and to the other."""
        return write(self.connect(), "one"), write(self.connect(), "two")

    def test_rules_change_under_a_connection(self) -> None:
        """What strangers may write changes at once, and the connection of one who is there stays."""
        for way in ("serve", "twistd"):
            with self.subTest(way):
                self.config.write_text('[gateway]\ndatabase = ["both", "one"]\n')
                gateway = self.start_local("--config", str(self.config), way=way)
                self.manager.wait_for("READY=1")
                stranger = self.connect()
                self.assertEqual((204, (204, 404)), (write(stranger, "both"), self.statuses()))
                self.reload(gateway, '[gateway]\ndatabase = ["both", "two"]\nspool_limit = "20MiB"\n')
                self.assertEqual((204, (404, 204)), (write(stranger, "both"), self.statuses()))
                self.assertIn("used after a restart alone: --spool-limit", gateway.log)
                gateway.stop()

    def test_a_bad_configuration(self) -> None:
        """A configuration that cannot be used is told, with all that is wrong, and the old one holds."""
        gateway = self.start_local("--config", str(self.config))
        self.manager.wait_for("READY=1")
        self.reload(gateway, '[gateway]\ndatabase = ["two"]\nspool_limit = "1"\n[schemo]\n')
        self.assertEqual((204, 404), self.statuses())
        self.assertIn("spool_limit: expected at least 16MiB", gateway.log)
        self.assertIn("schemo", gateway.log)
        self.reload(gateway, '[gateway]\ndatabase = ["two"]\n')
        self.assertEqual((404, 204), self.statuses())

    def test_a_credential(self) -> None:
        """A token that was exchanged for one that is none is told, and the old one stays."""
        token = self.directory / "token"
        token.write_text("a-token")
        token.chmod(0o600)
        self.config.write_text(f'[gateway]\ninfluxdb_token_file = "{token}"\n')
        gateway = self.start_local("--config", str(self.config))
        self.manager.wait_for("READY=1")
        token.write_text("plantedtoken two words")
        self.reload(gateway, self.config.read_text())
        self.assertIn("holds no token", gateway.log)
        self.assertNotIn("plantedtoken", gateway.log)


class SocketActivationTests(SystemdCase):
    """`--listen systemd:...`, under `systemd-socket-activate`."""

    def test_a_socket_of_systemd(self) -> None:
        """A socket that systemd has opened is served, and the first connection, which woke us, is not lost."""
        serve = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", "systemd:domain=UNIX:index=0"]
        command = ["systemd-socket-activate", "--fdname=door", "-l", self.door, *serve, "--influxdb", NOBODY]
        log = self.directory / "log"
        gateway = Program(self.addCleanup, [*command, "--state-dir", self.directory / "state"], log)
        wait_until(self.door.exists, lambda: f"the socket; {gateway.log}")
        for _ in range(2):
            answer = curl("--unix-socket", str(self.door), "--data-binary", "m v=1", "http://a.onion/write?db=x")
            self.assertTrue(answer.startswith("HTTP/1.1 204"), answer)
        self.assertIn("serving on systemd:", gateway.log)

    def test_the_socket_stays_as_it_is(self) -> None:
        """Served by one process or by two workers, the socket keeps its mode and its file, which are systemd's."""
        for number, options in enumerate(((), ("--workers", "2"))):
            with self.subTest(options):
                door, state = Path(f"{self.door}-{number}"), self.directory / f"state-{number}"
                serve = [
                    BIN / "torfluxd",
                    "serve",
                    "--tor",
                    "none",
                    "--listen",
                    "systemd:domain=UNIX:index=0",
                    *options,
                ]
                command = ["systemd-socket-activate", "--fdname=door", "-l", door, *serve, "--influxdb", NOBODY]
                gateway = Program(self.addCleanup, [*command, "--state-dir", state], self.directory / "log")
                wait_until(door.exists, lambda gateway=gateway: gateway.log)
                door.chmod(0o620)
                answer = curl("--unix-socket", str(door), "--data-binary", "m v=1", "http://a.onion/write?db=x")
                self.assertTrue(answer.startswith("HTTP/1.1 204"), answer)
                gateway.stop()
                self.assertEqual((True, 0o620), (door.is_socket(), door.stat().st_mode & 0o777))

    def test_the_status_page(self) -> None:
        """The status page may be a socket of systemd's; one that other machines reach is refused, before it is read."""
        for where, begins in (("127.0.0.1", True), ("0.0.0.0", False)):
            with self.subTest(where), socket.create_server((where, 0)) as free:
                port = free.getsockname()[1]
                free.close()
                serve = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", f"unix:{self.door}"]
                admin = ["--admin", "systemd:domain=INET:index=0", "--state-dir", self.directory / "state"]
                command = [
                    "systemd-socket-activate",
                    "--fdname=door",
                    "-l",
                    f"{where}:{port}",
                    *serve,
                    *admin,
                    "--influxdb",
                    NOBODY,
                ]
                program = Program(self.addCleanup, command, self.directory / "log")
                program.wait_for("Listening on")
                with socket.create_connection(("127.0.0.1", port)):
                    if begins:
                        program.wait_for("serving on")
                        self.assertIn("ready", curl(f"http://127.0.0.1:{port}/ready"))
                        program.stop()
                    else:
                        self.assertEqual(1, program.process.wait(PATIENCE_SECONDS))
                        self.assertIn("--admin-allow-remote", program.log)

    def test_the_status_page_on_a_unix_socket(self) -> None:
        """So may it be a unix socket of systemd's, which keeps the mode that its unit gives it, and its file."""
        page = self.directory / "page"
        serve = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", f"unix:{self.door}", "--influxdb", NOBODY]
        admin = ["--admin", "systemd:domain=UNIX:index=0", "--state-dir", self.directory / "state"]
        command = ["systemd-socket-activate", "--fdname=page", "-l", page, *serve, *admin]
        gateway = Program(self.addCleanup, command, self.directory / "log")
        wait_until(page.exists, lambda: gateway.log)
        page.chmod(0o620)
        answer = curl("--unix-socket", str(page), "http://localhost/health")
        self.assertTrue(answer.startswith("HTTP/1.1 200"), answer)
        gateway.wait_for("serving on")
        gateway.stop()
        self.assertEqual((True, 0o620), (page.is_socket(), page.stat().st_mode & 0o777))


class FullSpoolTests(SystemdCase):
    """A spool that fills up, because there is no InfluxDB."""

    def test_on_the_way_and_in_the_end(self) -> None:
        """The log tells of half, 80 % and 95 %, once each; what is taken is ready; what is turned away is not."""
        gateway = self.start_local("--spool-limit", "16MiB")
        self.manager.wait_for("READY=1")
        place = str(self.directory / "state" / "admin.sock")
        line = b"m,t=%b v=1 %%d" % (b"x" * 500)
        statuses = []
        while 503 not in statuses and len(statuses) < 100:
            now = time.time_ns()
            connection = self.connect()
            connection.request("POST", "/write?db=x", b"\n".join(line % (now + number) for number in range(1000)))
            statuses.append(connection.getresponse().status)
            if len(statuses) == 1:
                self.assertIn("HTTP/1.1 200", curl("--unix-socket", place, "http://localhost/ready"))
        self.assertEqual([204] * (len(statuses) - 1) + [503], statuses)
        answer = curl("--unix-socket", place, "http://localhost/ready")
        self.assertIn("HTTP/1.1 503", answer)
        self.assertIn("the spool does not take them either", answer)
        self.assertIn('{verdict="postponed"} 1.0', curl("--unix-socket", place, "http://localhost/metrics"))
        said = [line for line in gateway.log.splitlines() if "% full" in line]
        self.assertEqual(3, len(said), gateway.log)
        for mark, line_of_log in zip((50, 80, 95), said, strict=True):
            found = re.search(r"the spool is (\d+) % full", line_of_log)
            assert found is not None
            self.assertIn(int(found[1]) - mark, range(10))


class AdminSocketTests(SystemdCase):
    """`--admin unix:PATH`."""

    def test_what_a_kill_left_behind(self) -> None:
        """After a kill -9 the next gateway has the same sockets again."""
        place = self.directory / "admin"
        for _ in range(2):
            gateway = self.start_local("--admin", f"unix:{place}")
            self.manager.wait_for("READY=1")
            for path in (place, self.directory / "state" / "admin.sock"):
                self.assertIn("ready", curl("--unix-socket", str(path), "http://localhost/ready"))
            gateway.kill()
        self.assertEqual(0o660, place.stat().st_mode & 0o777)
        self.assertEqual(0o600, (self.directory / "state" / "admin.sock").stat().st_mode & 0o777)

    def test_a_file_of_somebody_else(self) -> None:
        """A file that lies there, by a mistake in the path, is not touched; the gateway says so and ends."""
        place = self.directory / "precious"
        place.write_text("data")
        gateway = self.start_local("--admin", f"unix:{place}")
        self.assertEqual(1, gateway.process.wait(PATIENCE_SECONDS))
        self.assertEqual("data", place.read_text())
        self.assertIn(f"cannot listen on unix:{place}", gateway.log)


class LogTests(SystemdCase):
    """The log of a gateway that runs."""

    def test_json(self) -> None:
        """Each line is one JSON object, whichever way it runs, from the first to the last."""
        for way, options in (("serve", ["--log-format", "json"]), ("twistd", [])):
            with self.subTest(way):
                gateway = self.start_local(*options, way=way)
                self.manager.wait_for("READY=1")
                write(self.connect(), "x")
                gateway.stop()
                entries = [json.loads(line) for line in gateway.log.splitlines()]
                self.assertGreaterEqual(len(entries), 3)
                self.assertEqual({"torfluxd"}, {entry["logger"].partition(".")[0] for entry in entries})

    def test_quiet(self) -> None:
        """A start, an outage and an end are three lines, none of them a stranger's or Twisted's own."""
        gateway = self.start_local()
        self.manager.wait_for("READY=1")
        for _ in range(20):
            write(self.connect(), "x")
        gateway.stop()
        self.assertEqual(3, len(gateway.log.splitlines()), gateway.log)

    def test_level(self) -> None:
        """`--log-level error` says nothing when all is well."""
        gateway = self.start_local("--log-level", "error")
        self.manager.wait_for("READY=1")
        gateway.stop()
        self.assertEqual("", gateway.log)

    def test_secrets_of_the_process(self) -> None:
        """Of a key in a credential there is nothing in the environment, the arguments or the log."""
        key = OnionKey.generate()
        credentials = self.directory / "credentials"
        credentials.mkdir()
        (credentials / "onion-key").write_text(key.hex())
        gateway = self.start(
            "--tor", f"unix:{self.directory / 'nowhere'}", environment={"CREDENTIALS_DIRECTORY": str(credentials)}
        )
        self.manager.wait_for("READY=1")
        process = Path(f"/proc/{gateway.process.pid}")
        for text in (process.joinpath("environ").read_bytes(), process.joinpath("cmdline").read_bytes()):
            self.assertNotIn(key.hex().encode(), text)
        gateway.wait_for(key.address.hostname)
        self.assertNotIn(key.hex(), gateway.log)
        self.assertNotIn(os.fsencode(key.control_blob()), gateway.log.encode())
