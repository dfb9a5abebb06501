"""Where the status page is: read out of an endpoint, and known to be this machine's alone, or not."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.places import read_place, unix_place

NONE = ("", "unix", "unix:", "tcp", "tcp:", "tcp:0", "tcp:99999", "tcp:http", "tcp:\u0661", "ssl:443", "x", "unix:a\\")


class PlaceTests(SynchronousTestCase):
    """The text of `--admin`."""

    def test_this_machine_alone(self) -> None:
        """A unix socket and a loopback address are this machine's alone."""
        for text in (
            "unix:/run/torfluxd/admin.sock",
            "unix:address=/run/a",
            "tcp:9273:interface=127.0.0.1",
            "tcp:port=9273:interface=127.1.2.3",
            r"tcp:9273:interface=\:\:1",
            "systemd:domain=UNIX:index=0",
        ):
            self.assertTrue(read_place(text).is_local, text)

    def test_others(self) -> None:
        """All addresses, or another one, are not."""
        for text in ("tcp:9273", "tcp:9273:interface=0.0.0.0", r"tcp:9273:interface=\:\:", "tcp:1:interface=10.0.0.1"):
            self.assertFalse(read_place(text).is_local, text)

    def test_a_unix_socket_is_not_for_everybody(self) -> None:
        """A unix socket is for its owner and his group, where nothing else is said; Twisted's default is everybody."""
        self.assertEqual("unix:/run/a:mode=660", read_place("unix:/run/a").text)
        self.assertEqual("unix:/run/a:mode=600", read_place("unix:/run/a:mode=600").text)

    def test_twisted_reads_the_same(self) -> None:
        """The text leads Twisted to the same path, whatever is in it."""
        path = Path(r"/tmp/a:b=c\d e")
        place = unix_place(path, 0o600)
        self.assertEqual(path, place.socket)
        self.assertEqual(path, read_place(place.text).socket)
        endpoint = serverFromString(reactor, place.text)
        self.assertEqual(str(path), endpoint._address)

    def test_what_is_none(self) -> None:
        """What cannot be such a place is refused in one sentence."""
        for text in NONE:
            with self.subTest(text):
                self.assertIn("expected unix:PATH", str(self.assertRaises(SettingsError, read_place, text)))
