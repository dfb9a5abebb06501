"""A tor of our own, for real and offline: what is asked of it while it is watched over."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from torfluxd.errors import ControlError
from torfluxd.onion.key import OnionKey
from torfluxd.onion.process import find_tor
from torfluxd.onion.sources import LaunchedTor, OpenTor


class LaunchedTests(TestCase):
    """A tor that was launched, with an onion service and a SOCKS port."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing runs yet."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.home = Path(temporary.name)
        self.heard: list[str] = []

    async def open(self) -> OpenTor:
        """Launch it."""
        source = LaunchedTor(
            reactor,
            self.home / "tor",
            find_tor(None),
            onion=(OnionKey.generate(), self.home / "onion.sock"),
            socks_socket=self.home / "tor" / "socks.sock",
            options=("DisableNetwork 1",),
            hear=self.heard.append,
        )
        tor = await source.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(tor.close()))
        return tor

    async def pid_of(self, tor: OpenTor) -> int:
        """Its process."""
        return int((await tor.control.command("GETINFO process/pid")).partition("=")[2])

    async def test_it_answers(self) -> None:
        """It has a pulse, it can be told to publish anew, and it has a SOCKS port for us; none of it disturbs it."""
        tor = await self.open()
        signals: list[str] = []
        await tor.control.listen("SIGNAL", signals.append)
        await tor.check()
        await tor.mend()
        await tor.check()
        self.assertEqual(["NEWNYM", "RELOAD"], sorted(signals))
        self.assertIsNotNone(await tor.socks())

    async def test_one_that_ended_does_not(self) -> None:
        """One that has ended has no pulse, and is lost; so is one that was told to end."""
        for number in (signal.SIGKILL, signal.SIGTERM):
            tor = await self.open()
            lost = tor.when_lost()
            os.kill(await self.pid_of(tor), number)
            await lost
            await self.assertFailure(Deferred.fromCoroutine(tor.check()), ControlError)
            await tor.close()

    async def test_one_that_hangs_is_ended(self) -> None:
        """One that hangs, and hears no signal, is ended all the same."""
        tor = await self.open()
        pid = await self.pid_of(tor)
        os.kill(pid, signal.SIGSTOP)
        await tor.close()
        self.assertRaises(ProcessLookupError, os.kill, pid, 0)
