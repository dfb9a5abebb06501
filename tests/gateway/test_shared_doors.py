"""Doors that several workers share, on real sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import ListenError, SettingsError
from torfluxd.gateway.shared_doors import Kind, SharedDoor, check_shareable, open_onion_door, open_shared_door

CONNECTIONS = 64


class SharedDoorCase(SynchronousTestCase):
    """An empty directory."""

    def setUp(self) -> None:
        """Make it."""
        directory = tempfile.TemporaryDirectory(prefix="doors-")
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)

    def open(self, text: str, workers: int = 2) -> SharedDoor:
        """Open what `--listen` names."""
        door = open_shared_door(text, workers)
        self.addCleanup(door.close)
        return door

    def connect(self, family: int, address: object) -> socket.socket:
        """A stranger."""
        stranger = socket.socket(family)
        self.addCleanup(stranger.close)
        stranger.settimeout(10)
        stranger.connect(address)  # type: ignore[arg-type]
        return stranger


class ListenTests(SharedDoorCase):
    """`--listen`."""

    def test_tcp(self) -> None:
        """A TCP port has a socket for each worker, and those who connect are spread over them."""
        door = self.open("tcp:0:interface=127.0.0.1", 2)
        ports = {one.getsockname()[1] for one in door.sockets}
        self.assertEqual((len(door.sockets), len(ports), door.kind), (2, 1, Kind.OPEN))
        for _ in range(CONNECTIONS):
            self.connect(socket.AF_INET, ("127.0.0.1", *ports))
        accepted = [0, 0]
        for number, one in enumerate(door.sockets):
            one.settimeout(0.2)
            while True:
                try:
                    one.accept()[0].close()
                except TimeoutError:
                    break
                accepted[number] += 1
        self.assertEqual(sum(accepted), CONNECTIONS)
        self.assertGreater(min(accepted), 0)

    def test_tcp_in_use(self) -> None:
        """A port at which somebody else serves is refused, also when he would share it."""
        first = self.open("tcp:0:interface=127.0.0.1")
        port = first.sockets[0].getsockname()[1]
        error = self.assertRaises(ListenError, open_shared_door, f"tcp:{port}:interface=127.0.0.1", 2)
        self.assertIn("Address already in use", str(error))

    def test_tcp6(self) -> None:
        """IPv6 is fine."""
        door = self.open("tcp6:0:interface=\\:\\:1")
        self.assertEqual(door.sockets[0].family, socket.AF_INET6)

    def test_unix(self) -> None:
        """A unix socket is one for all; one that a kill left behind is in nobody's way, one that is used is."""
        path = self.path / "listen"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
        door = self.open(f"unix:{path}:mode=600", 3)
        self.assertEqual((len(door.sockets), path.stat().st_mode & 0o777), (1, 0o600))
        self.connect(socket.AF_UNIX, str(path))
        self.assertRaises(ListenError, open_shared_door, f"unix:{path}", 2)
        door.close()
        self.assertFalse(path.exists())
        path.write_text("a file of somebody")
        self.assertRaises(ListenError, open_shared_door, f"unix:{path}", 2)
        self.assertEqual(path.read_text(), "a file of somebody")

    def test_systemd(self) -> None:
        """A socket that systemd hands over is one for all."""
        program = (
            "import os, socket\n"
            "given = socket.create_server(('127.0.0.1', 0))\n"
            "given.fileno() == 3 or os.dup2(given.fileno(), 3)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='it')\n"
            "from torfluxd.gateway.shared_doors import open_shared_door\n"
            "door = open_shared_door('systemd:domain=INET:index=0', 2)\n"
            "given.detach()\n"
            "socket.create_connection(door.sockets[0].getsockname())\n"
            "print(len(door.sockets))\n"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual((ended.stdout, ended.stderr, ended.returncode), ("1\n", "", 0))

    def test_what_cannot_be_shared(self) -> None:
        """What only one process can serve, or is no endpoint at all, is refused before anything is started."""
        for text in ("haproxy:tcp:0", "nonsense", "tcp:x"):
            self.assertRaises(SettingsError, check_shareable, text)
            self.assertRaises(SettingsError, open_shared_door, text, 2)
        for text in ("tcp:0", "unix:/x", "systemd:domain=UNIX:index=0"):
            check_shareable(text)


class OnionTests(SharedDoorCase):
    """The onion service's sockets."""

    def test_sockets(self) -> None:
        """Each worker has one, for this user alone from its first moment on; they go when the door is closed."""
        paths = [self.path / "onion.sock", self.path / "onion-2.sock"]
        door = open_onion_door(paths, 0o600, knows_circuits=True)
        self.assertEqual(door.kind, Kind.CIRCUIT)
        self.assertEqual([path.stat().st_mode & 0o777 for path in paths], [0o600, 0o600])
        for path in paths:
            self.connect(socket.AF_UNIX, str(path))
        door.close()
        self.assertEqual(list(self.path.iterdir()), [])

    def test_all_or_none(self) -> None:
        """When one cannot be opened, none is."""
        paths = [self.path / "onion.sock", self.path / "no such directory" / "onion.sock"]
        error = self.assertRaises(ListenError, open_onion_door, paths, 0o600, knows_circuits=False)
        self.assertIn("No such file or directory", str(error))
        self.assertRaises(ConnectionRefusedError, self.connect, socket.AF_UNIX, str(paths[0]))
