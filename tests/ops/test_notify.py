"""systemd hears how we are, over the socket that it names."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.ops.notify import MAX_STATUS_CHARACTERS, Notifier, watchdog_seconds


class NotifyCase(SynchronousTestCase):
    """A socket such as systemd's."""

    def listen(self, address: str) -> socket.socket:
        """Be systemd, at this address."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(5)
        return listener

    def path(self) -> str:
        """A path for a socket."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        return str(Path(temporary.name) / "notify")


class NotifierTests(NotifyCase):
    """What is told."""

    def test_a_path_and_an_abstract_socket(self) -> None:
        """Systemd hears us at a path, and in containers and tests at an abstract socket."""
        for address in (self.path(), f"@torfluxd-test-{os.getpid()}"):
            listener = self.listen(address)
            Notifier(address).ready()
            self.assertEqual(b"READY=1", listener.recv(1000))

    def test_a_reload(self) -> None:
        """A reload begins with the time, which systemd wants with it, and ends when we are ready again."""
        address = self.path()
        listener = self.listen(address)
        notifier = Notifier(address)
        notifier.reloading()
        self.assertRegex(listener.recv(1000), rb"\ARELOADING=1\nMONOTONIC_USEC=[0-9]+\Z")
        notifier.ready()
        self.assertEqual(b"READY=1", listener.recv(1000))

    def test_a_status(self) -> None:
        """A status is one short line, told when it has changed."""
        address = self.path()
        listener = self.listen(address)
        notifier = Notifier(address)
        for text in ("a\nb", "a b", "x" * 1000):
            notifier.status(text)
        notifier.stopping()
        self.assertEqual(b"STATUS=a b", listener.recv(1000))
        self.assertEqual(b"STATUS=" + b"x" * MAX_STATUS_CHARACTERS, listener.recv(1000))
        self.assertEqual(b"STOPPING=1", listener.recv(1000))

    def test_nobody_asked(self) -> None:
        """Outside of systemd nobody is told anything, and nothing fails."""
        notifier = Notifier.from_environment({})
        self.assertFalse(notifier.is_heard)
        for tell in (notifier.ready, notifier.reloading, notifier.stopping, notifier.alive):
            tell()
        notifier.status("well")

    def test_no_child_speaks_for_us(self) -> None:
        """The variable is taken out of the environment, so that tor does not tell systemd that *it* is ready."""
        environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "PATH": "/bin"}
        self.assertTrue(Notifier.from_environment(environment).is_heard)
        self.assertEqual({"PATH": "/bin"}, environment)

    def test_nobody_is_there(self) -> None:
        """A socket at which nobody listens is told in the log, once, and harms nothing; when somebody is, he hears."""
        address = self.path()
        notifier = Notifier(address)
        with capturedLogs() as events:
            notifier.alive()
            notifier.alive()
        (event,) = events
        self.assertIn("NotifyAccess=", event["log_format"])
        listener = self.listen(address)
        notifier.alive()
        self.assertEqual(b"WATCHDOG=1", listener.recv(1000))


class WatchdogSecondsTests(SynchronousTestCase):
    """How often systemd wants to hear of us."""

    def test_it_is_for_us(self) -> None:
        """What it says to us holds, and what it says to another process does not."""
        own = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
        self.assertEqual(30.0, watchdog_seconds(own))
        self.assertEqual(30.0, watchdog_seconds({"WATCHDOG_USEC": "30000000"}))
        self.assertIsNone(watchdog_seconds({**own, "WATCHDOG_PID": "1"}))

    def test_there_is_none(self) -> None:
        """Where there is no watchdog, or what is said is no number, there is none."""
        for text in ("", "0", "soon", "-1"):
            self.assertIsNone(watchdog_seconds({"WATCHDOG_USEC": text}))
        self.assertIsNone(watchdog_seconds({}))
