"""`torfluxd status` against whatever may answer, or not."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError, StatusError
from torfluxd.ops.status import Status
from torfluxd.ops.status_command import StatusCommand, StatusOptions
from torfluxd.places import read_place, unix_place

STATUS = Status("1.2.3", "http://abc.onion", "published")


class Answering:
    """Somebody who answers each connection with these bytes, whatever he is asked."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer = answer
        self.asked = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.asked = connection.recv(65536)
                    connection.sendall(self._answer)

    def close(self) -> None:
        """Answer no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def http(status: int, body: str) -> bytes:
    """An answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()


class CommandTests(SynchronousTestCase):
    """One run of the command."""

    def setUp(self) -> None:
        """Begin with an empty directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "admin.sock"

    def run_command(self, answer: bytes, what: str = "all") -> tuple[int, str]:
        """The exit code, and what is shown."""
        answering = Answering(self.path, answer)
        self.addCleanup(self.path.unlink)
        self.addCleanup(answering.close)
        out = io.StringIO()
        return StatusCommand(unix_place(self.path, 0o600), what, out).run(), out.getvalue()

    def test_ready(self) -> None:
        """A gateway that is ready is shown, with exit code 0."""
        code, shown = self.run_command(http(200, STATUS.to_json()))
        self.assertEqual(0, code)
        self.assertIn("1.2.3, ready", shown)

    def test_not_ready(self) -> None:
        """One that is not is shown with the reason, and exit code 1."""
        code, shown = self.run_command(http(200, Status("1", problems=("the moon is full",)).to_json()))
        self.assertEqual((1, True), (code, "the moon is full" in shown))

    def test_for_programs(self) -> None:
        """With --json it is one object on one line."""
        code, shown = self.run_command(http(200, STATUS.to_json()), "json")
        self.assertEqual((0, STATUS, 1), (code, Status.from_json(shown), shown.count("\n")))

    def test_for_health_checks(self) -> None:
        """--health and --ready show what that page says, and end by its status."""
        self.assertEqual((0, "ok\n"), self.run_command(http(200, "ok\n"), "health"))

    def test_not_ready_for_health_checks(self) -> None:
        """So it is when it is not."""
        self.assertEqual((1, "why\n"), self.run_command(http(503, "why\n"), "ready"))

    def test_somebody_else(self) -> None:
        """What is no gateway is told to be none."""
        for answer in (http(200, "<html>"), http(404, ""), http(200, '{"figures": 3}')):
            answering = Answering(self.path, answer)
            self.assertRaises(StatusError, StatusCommand(unix_place(self.path, 0o600)).run)
            answering.close()
            self.path.unlink()

    def test_nobody(self) -> None:
        """Where nobody answers, or nothing that can be read, the next command is named."""
        place = unix_place(self.path, 0o600)
        self.assertIn("systemctl status", str(self.assertRaises(StatusError, StatusCommand(place).run)))
        answering = Answering(self.path, b"what?\r\n\r\n")
        self.addCleanup(answering.close)
        self.assertIn("systemctl status", str(self.assertRaises(StatusError, StatusCommand(place).run)))


class OptionsTests(SynchronousTestCase):
    """What a person types."""

    def command(self, *arguments: str, **environment: str) -> StatusCommand:
        """The command for that."""
        options = StatusOptions()
        options.parseOptions(list(arguments))
        return StatusCommand.from_options(options, environment)

    def test_where(self) -> None:
        """The place is that of the gateway with the same options and variables."""
        own = unix_place(Path("/x/admin.sock"), 0o600)
        self.assertEqual(own, self.command("--state-dir", "/x").place)
        self.assertEqual(own, self.command(TORFLUXD_STATE_DIR="/x").place)
        self.assertEqual(own, self.command("--state-dir", "/x", TORFLUXD_ADMIN="unix:/y").place)
        self.assertEqual(read_place("unix:/y"), self.command("--admin", "unix:/y", TORFLUXD_STATE_DIR="/x").place)
        self.assertEqual(read_place("unix:/y"), self.command(TORFLUXD_ADMIN="unix:/y", STATE_DIRECTORY="/x").place)

    def test_what_cannot_be_meant(self) -> None:
        """What contradicts itself is refused."""
        for arguments in (("--json", "--health"), ("--admin", "unix:/y", "--state-dir", "/x")):
            self.assertRaises(usage.UsageError, self.command, *arguments)
        self.assertRaises(SettingsError, self.command, "--admin", "banana")
