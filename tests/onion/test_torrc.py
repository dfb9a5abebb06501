"""The torrc of our own tor: every line that a defence hangs on."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError, SocketPathError
from torfluxd.onion.process import find_tor
from torfluxd.onion.torrc import (
    LONGEST_SOCKET_PATH_BYTES,
    OnionLines,
    TorAbilities,
    check_socket_path,
    read_modules,
    read_version,
    takes_socks,
    torrc,
)

MODERN = TorAbilities(version=(0, 4, 9, 11), pow=True)


def written(directory: Path = Path("/state"), abilities: TorAbilities = MODERN, options: tuple[str, ...] = ()) -> str:
    """A torrc with everything in it."""
    return torrc(
        data_directory=directory / "tor",
        control_socket=directory / "tor" / "control.sock",
        owner_pid=42,
        abilities=abilities,
        socks_socket=directory / "tor" / "socks.sock",
        onion=OnionLines(directory / "tor" / "onion", directory / "onion.sock"),
        options=options,
    )


class TorrcTests(SynchronousTestCase):
    """What is written."""

    def test_the_onion_service_has_its_defences(self) -> None:
        """Circuit ids, a limit of streams and proof of work are all there, and strangers lead to our socket alone."""
        lines = written().splitlines()
        for line in (
            'HiddenServicePort 80 unix:"/state/onion.sock"',
            "HiddenServiceExportCircuitID haproxy",
            "HiddenServiceMaxStreams 256",
            "HiddenServicePoWDefensesEnabled 1",
        ):
            self.assertIn(line, lines)

    def test_workers(self) -> None:
        """Each worker has a socket to which strangers lead, all at the same port."""
        onion = OnionLines(Path("/state/tor/onion"), Path("/state/onion.sock"), (Path("/state/onion-2.sock"),))
        text = torrc(data_directory=Path("/d"), control_socket=Path("/d/c"), owner_pid=1, abilities=MODERN, onion=onion)
        ports = [line for line in text.splitlines() if line.startswith("HiddenServicePort")]
        self.assertEqual(
            ports,
            ['HiddenServicePort 80 unix:"/state/onion.sock"', 'HiddenServicePort 80 unix:"/state/onion-2.sock"'],
        )
        self.assertNotIn("OnionBalance", text)

    def test_onionbalance(self) -> None:
        """One that is behind an address of Onionbalance's says so."""
        onion = OnionLines(Path("/state/tor/onion"), Path("/state/onion.sock"), is_instance=True)
        text = torrc(data_directory=Path("/d"), control_socket=Path("/d/c"), owner_pid=1, abilities=MODERN, onion=onion)
        self.assertIn("HiddenServiceOnionBalanceInstance 1", text.splitlines())

    def test_proof_of_work_only_where_it_is_safe(self) -> None:
        """A tor without the module, or one that proof of work can crash, goes without it."""
        for abilities in (TorAbilities((0, 4, 9, 11), pow=False), TorAbilities((0, 4, 9, 8), pow=True)):
            self.assertNotIn("PoW", written(abilities=abilities))

    def test_where_a_socks_port_cannot_be_there_is_none(self) -> None:
        """An onion service that does not hide where it is has no SOCKS port beside it, nor has one that must not."""
        for line in ("HiddenServiceNonAnonymousMode 1", "hiddenservicenonanonymousmode  1", "SocksPort 0"):
            self.assertFalse(takes_socks(("UseBridges 1", line)), line)
        self.assertTrue(takes_socks(("SocksPort 9050", "HiddenServiceNonAnonymousMode 0", "", "SafeLogging")))

    def test_tor_ends_with_us(self) -> None:
        """Tor watches the process that owns it."""
        self.assertIn("__OwningControllerProcess 42", written().splitlines())

    def test_streams_are_isolated(self) -> None:
        """The SOCKS port is a unix socket that never puts two user names on one circuit, and that explains failures."""
        self.assertIn(
            'SocksPort unix:"/state/tor/socks.sock" IsolateSOCKSAuth KeepAliveIsolateSOCKSAuth ExtendedErrors',
            written().splitlines(),
        )

    def test_a_gateway_has_no_socks_port(self) -> None:
        """Without a SOCKS socket there is no SOCKS port at all."""
        text = torrc(data_directory=Path("/d"), control_socket=Path("/d/c"), owner_pid=1, abilities=MODERN)
        self.assertIn("SocksPort 0", text.splitlines())
        self.assertNotIn("HiddenService", text)

    def test_further_lines_come_last(self) -> None:
        """What the operator adds comes last, so that it wins; a line break cannot smuggle in another line."""
        self.assertEqual("UseBridges 1", written(options=("UseBridges 1",)).splitlines()[-1])
        self.assertRaises(SettingsError, written, options=("UseBridges 1\nSocksPort 9050",))

    def test_a_path_that_tor_cannot_hold_is_refused(self) -> None:
        """A path with a character that ends or breaks a line of a torrc is refused."""
        for name in ('a"b', "a#b", "a\\b", "a\nb"):
            self.assertRaises(SettingsError, written, Path("/state") / name)

    def test_a_real_tor_takes_it(self) -> None:
        """The installed tor accepts every line, in a directory with a space in its name too."""
        with TemporaryDirectory(prefix="torrc ") as name:
            path = Path(name) / "torrc"
            path.write_text(written(Path(name)))
            checked = subprocess.run(
                [find_tor(None), "--verify-config", "-f", path], capture_output=True, text=True, check=False
            )
        self.assertEqual(0, checked.returncode, checked.stdout)
        self.assertNotIn("[warn]", checked.stdout.replace("running Tor as root", "").replace("[warn] You are ", ""))


class AbilitiesTests(SynchronousTestCase):
    """What a tor says of itself."""

    def test_versions_are_read(self) -> None:
        """The numbers of a version are read out of what tor prints, and compared as numbers."""
        self.assertEqual((0, 4, 9, 11), read_version("Tor version 0.4.9.11.\nThis build ..."))
        self.assertEqual((0, 4, 8, 9), read_version("0.4.8.9 (git-abc)"))
        self.assertEqual((), read_version("no version"))
        self.assertGreater(read_version("0.4.10.1"), read_version("0.4.9.11"))

    def test_modules_are_read(self) -> None:
        """Only the modules that are built in count."""
        self.assertEqual({"relay", "pow"}, read_modules("relay: yes\ndirauth: no\npow: yes\n"))


class SocketPathTests(SynchronousTestCase):
    """Paths of unix sockets."""

    def test_a_path_is_refused_where_the_system_would(self) -> None:
        """The longest path that a socket can have is taken, and one byte more is refused with the cure."""
        longest = Path("/" + "é" * 53)
        self.assertEqual(LONGEST_SOCKET_PATH_BYTES, len(str(longest).encode()))
        check_socket_path(longest)
        error = self.assertRaises(SocketPathError, check_socket_path, Path(str(longest) + "x"))
        self.assertIn("--state-dir", str(error))
