"""A reporter tells its vendor what was recorded, and nobody anything else: not on any way that a report can fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.end_to_end import witnessed
from tests.end_to_end.onion_door import open_door
from tests.end_to_end.programs import temporary_directory
from tests.onion.socks_proxy import ONION
from tests.private_network import private_network
from tests.reporter.raw_socks import Manner, RawSocks, answers, closes, cuts, drips, endless, refuses, stores
from torfluxd.reporter.ladder import TorLadder
from torfluxd.reporter.reporter import Reporter

LIMIT_SECONDS = 240.0
"""For all error paths side by side, the slowest of which takes 30 seconds."""

LOOKING_SECONDS = 3.0
APPEARS_SECONDS = 2.0
HUNDRED_MB = 100 * 1024 * 1024

READ_AHEAD_BYTES = 2 * 1024 * 1024
"""What the kernel and a reactor take off a socket before anybody has looked at it; a tenth of that, usually."""

GROWTH_BYTES = 64 * 1024 * 1024
"""For more than thirty reporters at once, each with a thread and a database, which take 20 MB; an answer of 100 MB
would be more, if it were held."""

REPORTS = 50

TIMES = re.compile(rb" [0-9]{19}$", re.MULTILINE)

ALICE = {
    "USER": "alice",
    "LOGNAME": "alice",
    "HOME": "/home/alice",
    "LC_ALL": "C.UTF-8",
    "LANG": "de_DE.UTF-8",
    "TZ": "Asia/Kathmandu",
    "PYTHONHASHSEED": "1",
    "PYTHONUTF8": "1",
    "http_proxy": "http://10.0.0.1:3128",
}
BOB = {
    "USER": "bob",
    "LOGNAME": "bob",
    "HOME": "/",
    "LC_ALL": "POSIX",
    "LANG": "",
    "TZ": "America/New_York",
    "PYTHONHASHSEED": "2",
    "PYTHONUTF8": "0",
    "ALL_PROXY": "socks5://10.0.0.2",
}

AWAY = b"Location: http://elsewhere.example.com/\r\nContent-Length: 0\r\n"
COOKIE = b"Set-Cookie: id=1; Path=/; Domain=example.com\r\nContent-Length: 0\r\n"


def status(line: bytes, headers: bytes = b"Content-Length: 0\r\n") -> Manner:
    """A gateway that answers so."""
    return answers(b"HTTP/1.1 " + line + b"\r\n" + headers + b"\r\n")


URL = f"http://{ONION}"

MANNERS: dict[str, Manner] = {
    **{f"reply{code:x}": refuses(code) for code in (*range(0x01, 0x09), 0x2A, *range(0xF0, 0xF8))},
    **{f"s{code}": status(b"%d Away" % code, AWAY) for code in (301, 302, 303, 307, 308)},
    "cookie": status(b"503 Unavailable", COOKIE),
    "s401": status(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n'),
    "s407": status(b"407 Proxy Authentication Required", b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n"),
    "s500": status(b"500 Internal Server Error"),
    "upgrade": status(b"101 Switching Protocols", b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    "altsvc": status(b"503 Unavailable", b'Alt-Svc: h2="elsewhere.example.com:443"\r\nContent-Length: 0\r\n'),
    "nonsense": answers(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "endless": endless(HUNDRED_MB),
    "drips": drips(5),
    "closes": closes,
    "cuts": cuts,
}
"""Each way in which a report fails. What ends an answer that comes byte by byte, and a 101, which is none, is time."""


NOTHING: Mapping[str, str] = {}


def in_namespaces(
    told: dict[str, Any], trace: Path, *namespaces: str, environ: Mapping[str, str] = NOTHING
) -> dict[str, Any]:
    """Run the witnessed program in namespaces of its own; a network namespace has no way out, not even loopback.

    :param trace: where the system calls of the network go.
    :param environ: what its environment has beside or in place of ours.
    :returns: what it says.
    """
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    command = [
        *("setpriv", "--pdeathsig", "KILL", "unshare", *as_root, *(f"--{name}" for name in namespaces), "--"),
        # Nothing of the tor that this machine may have is there, should anybody look for it.
        *(("sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh") if "mount" in namespaces else ()),
        *("strace", "-f", "-qq", "-o", str(trace), "-e", "trace=%network"),
        *(sys.executable, "-m", witnessed.__name__, json.dumps(told)),
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS, env={**os.environ, **environ}
    )
    if ended.returncode != 0 or ended.stderr:
        raise AssertionError(
            f"it ended with {ended.returncode} and said: {ended.stderr}\n"
            "(it needs namespaces and strace: root, or user namespaces that the kernel allows)"
        )
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def connected(trace: Path) -> set[str]:
    """Whom a program has connected to, or sent to, or asked for a way to, as its system calls show."""
    calls = trace.read_text()
    families = set(re.findall(r"socket(?:pair)?\(AF_(\w+)", calls)) - {"UNIX"}
    addresses = re.findall(r"(?:connect|bind|sendto|sendmsg|sendmmsg)\(.*?\{sa_family=AF_(\w+), ([^}]*)\}", calls)
    return {*families, *(f"{family} {address}" for family, address in addresses)}


class ErrorPathTests(SynchronousTestCase):
    """Every way in which a report can fail."""

    def test_nobody_else_is_asked(self) -> None:
        """However a report fails, no name is looked up and nothing but tor's SOCKS port is connected to; nothing is
        followed, kept or waited for, and the next report is the same bytes and arrives.
        """
        directory = temporary_directory(self.addCleanup)
        far_sides = {
            name: RawSocks(self.addCleanup, directory / name, manner, stores) for name, manner in MANNERS.items()
        }
        late: list[RawSocks] = []
        appears = threading.Timer(
            APPEARS_SECONDS, lambda: late.append(RawSocks(self.addCleanup, directory / "missing", stores))
        )
        appears.start()
        self.addCleanup(appears.join)
        paths = {name: f"unix:{directory / name}" for name in (*far_sides, "missing")}
        trace = directory / "trace"
        said = in_namespaces({"url": URL, "ways": paths}, trace, "net")

        sockets = {str(directory / name) for name in paths}
        self.assertEqual(
            {(event, where) for event, where in said["seen"]} - {("socket.connect", s) for s in sockets}, set()
        )
        self.assertEqual(connected(trace), {f'UNIX sun_path="{socket}"' for socket in sockets})
        self.assertEqual(said["refused"], {url: ["reporter", "agent"] for url in witnessed.NO_ONIONS})
        self.assertEqual(said["flushed"], dict.fromkeys(paths, True))
        self.assertLess(said["grown_bytes"], GROWTH_BYTES)
        for name, far_side in [*far_sides.items(), ("missing", late[0])]:
            self.assert_same_requests(name, far_side)
        self.assertLess(far_sides["endless"].heard[0].wrote, READ_AHEAD_BYTES)
        self.assertLess(far_sides["drips"].heard[0].wrote, 20)

    def assert_same_requests(self, name: str, far_side: RawSocks) -> None:
        """The report went out again, in the same bytes, on another circuit."""
        self.assertEqual(len(far_side.heard), 1 if name == "missing" else 2, name)
        self.assertEqual(len({heard.credentials for heard in far_side.heard}), len(far_side.heard), name)
        self.assertEqual(len({heard.dialogue for heard in far_side.heard}), 1, name)
        self.assertEqual(len(set(far_side.requests)), 1, name)
        self.assertNotIn(b"Cookie", far_side.requests[0])

    def test_looking_for_tor(self) -> None:
        """A reporter that has to look for tor, in vain, asks at tor's own ports of this machine and nowhere else."""
        directory = temporary_directory(self.addCleanup)
        told = {"url": URL, "ways": {"found": None}, "seconds": LOOKING_SECONDS}
        said = in_namespaces(told, directory / "trace", "net", "mount")
        asked = {
            ("socket.connect", str(where)) for where in ("/run/tor/socks", ("127.0.0.1", 9050), ("127.0.0.1", 9150))
        }
        self.assertEqual(said["flushed"], {"found": False})
        self.assertEqual({(event, where) for event, where in said["seen"]} - asked, set())

    def test_the_witnesses_see(self) -> None:
        """Both witnesses of these tests see a name that is looked up, and a connection that is tried."""
        directory = temporary_directory(self.addCleanup)
        told = {"url": URL, "ways": {"name": "tcp:tor.example.com:9050"}, "seconds": LOOKING_SECONDS}
        said = in_namespaces(told, directory / "trace", "net")
        self.assertIn("socket.getaddrinfo", {event for event, _ in said["seen"]})
        self.assertNotEqual({what for what in connected(directory / "trace") if not what.startswith("UNIX")}, set())


class SameBytesTests(SynchronousTestCase):
    """Two hosts, two users, two languages."""

    def sent_by(self, hostname: str, environ: dict[str, str]) -> tuple[bytes, int, bytes]:
        """All that one host says: to tor, and to the vendor."""
        directory = temporary_directory(self.addCleanup)
        far_side = RawSocks(self.addCleanup, directory / "socks")
        told = {"url": URL, "ways": {"it": far_side.description}, "hostname": hostname}
        said = in_namespaces(told, directory / "trace", "net", "uts", environ=environ)
        self.assertEqual(said["flushed"], {"it": True})
        (heard,) = far_side.heard
        return heard.dialogue, len(heard.credentials), TIMES.sub(b" T", heard.request)

    def test_same_bytes(self) -> None:
        """Hosts with other names, users, languages, time zones, environments and Pythons send the same bytes."""
        alice = self.sent_by("alices-laptop", ALICE)
        self.assertEqual(alice, self.sent_by("bobs-mainframe.example.com", BOB))
        for name in (b"alice", b"bob", b"Python", b"Twisted"):
            self.assertNotIn(name, alice[2])


class CircuitTests(TestCase):
    """A real tor on both sides."""

    timeout = 300

    async def test_a_circuit_for_each_report(self) -> None:
        """Fifty reports come through fifty circuits, as the gateway's own tor sees them."""
        directory = temporary_directory(self.addCleanup)
        door = await open_door(self.addCleanup, directory)
        tor = private_network().tor_binary
        ladder = TorLadder(directory, environ={}, places=(), find_program=lambda: tor)
        reporter = Reporter(
            *(door.url, "telemetry"),
            socks=ladder,
            reactor=reactor,
            backoff=lambda _: witnessed.RETRY_SECONDS,
            interval_seconds=witnessed.NEVER_SECONDS,
        )
        reporter.startService()
        self.addCleanup(reporter.stopService)
        for value in range(REPORTS):
            reporter.record("m", {"f": value})
            self.assertTrue(await reporter.flush())
        self.assertGreaterEqual(len(door.circuits), REPORTS)
        self.assertEqual(len(door.circuits), len(set(door.circuits)))
        self.assertEqual(reporter.stats.delivered, REPORTS)
