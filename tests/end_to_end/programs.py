"""The programs of an end-to-end test, each run for real: the gateway, a tor for clients, curl."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.private_network import JoinableNetwork, private_network

__all__ = [
    "BIN",
    "Cleanup",
    "Gateway",
    "LocalAgent",
    "LocalGateway",
    "Program",
    "client_tor",
    "curl",
    "free_port",
    "start_gateway",
    "temporary_directory",
    "wait_until",
]

START_SECONDS = 60.0
"""How long a program may take to come up: a few seconds on an idle machine."""

STOP_SECONDS = 15.0
POLL_SECONDS = 0.05

BIN = Path(sys.executable).parent

Cleanup = Callable[[Callable[[], object]], object]
"""`addCleanup` of a test, or `addClassCleanup` of a class of tests: called with what must happen at the end."""


def wait_until(condition: Callable[[], bool], otherwise: Callable[[], str], seconds: float = START_SECONDS) -> None:
    """Wait for something that another process does; that it does not come is a failure which says why."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {otherwise()}")
        time.sleep(POLL_SECONDS)


def temporary_directory(cleanup: Cleanup) -> Path:
    """An empty directory with a short path, gone when the test is over."""
    temporary = tempfile.TemporaryDirectory(prefix="e2e-")
    cleanup(temporary.cleanup)
    return Path(temporary.name)


class Program:
    """A program that runs, what it says, and its end; the kernel ends it, should this process be killed."""

    def __init__(
        self, cleanup: Cleanup, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log_path = log
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TORFLUX")}
        with log.open("wb") as file:  # what one before it said is no news
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**clean, **(environment or {})},
            )
        cleanup(self.stop)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self.log_path.read_text("utf-8", "replace")

    def wait_for(self, words: str) -> None:
        """Wait until it says so."""

        def said() -> bool:
            ended = self.process.poll() is not None
            if words in self.log:  # read after that, or its last words would be missed
                return True
            if ended:
                raise AssertionError(
                    f"it ended with {self.process.returncode} instead of saying {words!r}:\n{self.log}"
                )
            return False

        wait_until(said, lambda: f"{words!r} in\n{self.log}")

    def stop(self) -> int:
        """End it as an operator would; that it does not end is a failure."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {STOP_SECONDS:.0f} s of SIGTERM:\n{self.log}") from None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def resident_bytes(self) -> int:
        """How much memory it holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class Gateway(Program):
    """A gateway in the private network, with a tor of its own."""

    def __init__(self, cleanup: Cleanup, state: Path, influxdb: str, *options: str) -> None:
        self.state = state
        # The real plugin, as twistd and twist find it.
        command = [
            BIN / "twist",
            "--log-level=debug",
            "--log-format=text",
            "torfluxd",
            "--state-dir",
            state,
            "--influxdb",
            influxdb,
        ]
        super().__init__(cleanup, [*command, *options], state.with_name(f"{state.name}.log"))

    @property
    def hostname(self) -> str:
        """Its onion address."""
        return (self.state / "hostname").read_text().strip()

    @property
    def url(self) -> str:
        """Where reporters find it."""
        return f"http://{self.hostname}"

    def wait_published(self) -> Gateway:
        """Wait until clients can find it."""
        self.wait_for("published: http://")
        return self


def start_gateway(cleanup: Cleanup, state: Path, influxdb: str, *options: str) -> Gateway:
    """Start a gateway with a tor of its own, and wait until it is published."""
    tor = ("--tor-binary", str(private_network().tor_binary))
    return Gateway(cleanup, state, influxdb, *tor, *options).wait_published()


class LocalGateway(Program):
    """A gateway on a TCP port of this machine, without tor.

    :ivar port: on 127.0.0.1.
    """

    def __init__(self, cleanup: Cleanup, state: Path, influxdb: str, *options: str) -> None:
        self.port = free_port()
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        command = [BIN / "torfluxd", "serve", "--tor", "none", "--listen", listen, "--influxdb", influxdb]
        super().__init__(cleanup, [*command, "--state-dir", state, *options], state.with_name(f"{state.name}.log"))
        self.wait_for("serving on ")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


class LocalAgent(Program):
    """An agent on a TCP port of this machine.

    :ivar port: on 127.0.0.1.
    """

    def __init__(self, cleanup: Cleanup, state: Path, onion: str, *options: str, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        listen = f"tcp:{self.port}:interface=127.0.0.1"
        command = [BIN / "torfluxd", "agent", "--onion", onion, "--listen", listen, "--state-dir", state]
        super().__init__(cleanup, [*command, *options], state.with_name(f"{state.name}.log"))
        self.wait_for("serving on ")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


class ClientTor(Program):
    """A tor for clients.

    :param socks: a further SOCKS port, as torrc takes it.
    :ivar port: of its SOCKS port on 127.0.0.1.
    :ivar control: its control socket.
    """

    def __init__(
        self, cleanup: Cleanup, directory: Path, socks: str | None = None, network: JoinableNetwork | None = None
    ) -> None:
        self.port = free_port()
        data = directory / "client-tor"
        data.mkdir(mode=0o700)
        self.control = data / "control"
        torrc = data / "torrc"
        torrc.write_text(
            f"DataDirectory {data}\nSocksPort 127.0.0.1:{self.port} ExtendedErrors\nClientOnly 1\n"
            f"ControlPort unix:{self.control}\nCookieAuthentication 1\nLog notice stdout\n"
            + (f"SocksPort {socks}\n" if socks else "")
        )
        binary = (network or private_network()).tor_binary
        super().__init__(cleanup, [binary, "-f", torrc], directory / "client-tor.log")

    @property
    def proxy(self) -> str:
        """As curl and requests take it."""
        return f"socks5h://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """As Twisted takes it."""
        return f"tcp:127.0.0.1:{self.port}"


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def client_tor(
    cleanup: Cleanup, directory: Path, socks: str | None = None, network: JoinableNetwork | None = None
) -> ClientTor:
    """Start a tor for clients, and wait until it has joined the private network, or another one."""
    tor = ClientTor(cleanup, directory, socks, network)
    tor.wait_for("Bootstrapped 100%")
    return tor


def curl(*arguments: str) -> str:
    """Run curl; that it fails is a failure of the test, in curl's own words."""
    ended = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--max-time", "60", *arguments],
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()  # with its line endings as they are
