"""A tor process of our own, run for real."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from torfluxd.errors import BootstrapTimeoutError, TorMissingError, TorStoppedError
from torfluxd.onion.key import OnionKey
from torfluxd.onion.process import find_tor, probe_tor
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor, OpenTor
from torfluxd.onion.torrc import POW_SAFE_SINCE

OFFLINE = ("DisableNetwork 1",)
"""A tor that does everything but connect."""


def script(directory: Path, text: str) -> Path:
    """A program that stands for tor."""
    path = directory / "tor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


class FindTorTests(SynchronousTestCase):
    """The tor to launch."""

    def test_a_missing_tor_names_the_cure(self) -> None:
        """A tor that is not there is an error which says how to install one."""
        error = self.assertRaises(TorMissingError, find_tor, "/nowhere/tor")
        self.assertIn("/nowhere/tor", str(error))
        self.assertIn("apt-get install tor", str(error))

    def test_the_installed_tor_is_found(self) -> None:
        """The tor that the package manager installed is found."""
        self.assertTrue(os.access(find_tor(None), os.X_OK))


class LaunchCase(TestCase):
    """A state directory, and what tor says."""

    def setUp(self) -> None:
        """Begin in an empty directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.heard: list[str] = []

    def source(self, binary: Path | None = None, key: OnionKey | None = None) -> LaunchedTor:
        """A tor that is launched here, and stays offline."""
        return LaunchedTor(
            reactor,
            self.directory / "tor",
            binary or find_tor(None),
            onion=(key, self.directory / "onion.sock") if key else None,
            options=OFFLINE,
            hear=self.heard.append,
        )

    async def opened(self, source: LaunchedTor) -> OpenTor:
        """Open it, and close it at the end, whatever happens."""
        tor = await source.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(tor.close()))
        return tor


class LaunchTests(LaunchCase):
    """Launching, for real."""

    async def test_the_installed_tor_says_what_it_can_do(self) -> None:
        """The installed tor's version and modules are read."""
        abilities = await probe_tor(reactor, find_tor(None))
        self.assertGreaterEqual(abilities.version, POW_SAFE_SINCE)
        self.assertTrue(abilities.defends_with_pow)

    async def test_what_is_no_tor_is_not_left_behind(self) -> None:
        """A program that answers nothing, or without end, is no tor, and is ended when nobody waits for it any more."""
        pid = self.directory / "pid"
        silent = script(self.directory, f"echo $$ >{pid}\nexec sleep 1000")
        probing = Deferred.fromCoroutine(probe_tor(reactor, silent))
        while not pid.exists() or not pid.read_text().strip():
            await deferLater(reactor, 0.01)
        probing.cancel()
        await self.assertFailure(probing, CancelledError)
        await self.until_gone(int(pid.read_text()))

        endless = script(self.directory, f"echo $$ >{pid}\nexec yes")
        error = await self.assertFailure(Deferred.fromCoroutine(probe_tor(reactor, endless)), TorMissingError)
        self.assertIn("does not seem to be tor", str(error))
        await self.until_gone(int(pid.read_text()))

    async def until_gone(self, pid: int) -> None:
        """Wait until there is no such process; for as long as a test may take."""
        while Path(f"/proc/{pid}").exists():
            await deferLater(reactor, 0.01)

    async def test_it_is_ours(self) -> None:
        """A launched tor lets us in through a socket that is ours alone, and belongs to us."""
        tor = await self.opened(self.source())
        self.assertIn(str(os.getpid()), await tor.control.command("GETCONF __OwningControllerProcess"))
        self.assertEqual(0o700, (self.directory / "tor").stat().st_mode & 0o777)
        self.assertEqual(0o600, (self.directory / "tor" / "torrc").stat().st_mode & 0o777)

    async def test_it_hosts_our_key(self) -> None:
        """The onion service has the address that we computed offline, and its key is readable by us alone."""
        key = OnionKey.generate()
        await self.opened(self.source(key=key))
        onion = self.directory / "tor" / "onion"
        self.assertEqual(key.address.hostname, (onion / "hostname").read_text().strip())
        self.assertEqual(0o600, (onion / "hs_ed25519_secret_key").stat().st_mode & 0o777)

    async def test_another_key_takes_the_place_of_the_first(self) -> None:
        """A state directory whose key is changed hosts the new address."""
        for key in (OnionKey.generate(), OnionKey.generate()):
            tor = await self.source(key=key).open()
            await tor.close()
            hostname = (self.directory / "tor" / "onion" / "hostname").read_text().strip()
            self.assertEqual(key.address.hostname, hostname)

    async def test_closing_it_leaves_no_process(self) -> None:
        """Closing ends the process, and tells those who wait for its loss."""
        tor = await self.source().open()
        pid = int((await tor.control.command("GETINFO process/pid")).strip().partition("=")[2])
        lost = tor.when_lost()
        await tor.close()
        await lost
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    async def test_a_tor_that_ends_says_why(self) -> None:
        """A tor that refuses its configuration is an error in tor's own words."""
        source = LaunchedTor(
            reactor, self.directory / "tor", find_tor(None), options=("NoSuchOption 1",), hear=self.heard.append
        )
        error = await self.assertFailure(Deferred.fromCoroutine(source.open()), TorStoppedError)
        self.assertIn("NoSuchOption", str(error))

    async def test_what_is_not_tor_is_refused(self) -> None:
        """A program that is not tor, or cannot be run, is an error which names it."""
        for text in ("echo I am a teapot", "exit 1"):
            path = script(self.directory, text)
            error = await self.assertFailure(Deferred.fromCoroutine(self.source(path).open()), TorMissingError)
            self.assertIn(str(path), str(error))

    async def test_it_can_be_stopped_before_it_has_joined(self) -> None:
        """A tor that joins no network can be stopped at any time, and says what keeps it."""
        service = TorService(self.source(), reactor, say=self.heard.append)
        up = service.when_up()
        service.startService()
        up.addTimeout(1, reactor, onTimeoutCancel=lambda _, __: self._timed_out(service))
        error = await self.assertFailure(up, BootstrapTimeoutError)
        self.assertIn("0 %", str(error))
        await service.stopService()

    def _timed_out(self, service: TorService) -> None:
        raise BootstrapTimeoutError(service.likely_cause)
