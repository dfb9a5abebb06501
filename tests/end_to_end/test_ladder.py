"""A reporter that has to find its tor by itself, with real ones."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from twisted.internet import reactor
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from tests.end_to_end.onion_door import OnionDoor, open_door
from tests.end_to_end.programs import client_tor, temporary_directory
from tests.private_network import private_network
from tests.reporter.test_ladder import no_tor_in_path
from tests.test_tor_wheel import BUILD
from torfluxd.reporter.ladder import SOCKS_VARIABLE, TorLadder, program_of_this_machine
from torfluxd.reporter.reporter import Reporter


def no_program() -> Path | None:
    """Looks for a tor to launch, in vain."""
    return None


class LadderTests(TestCase):
    """Reporters of one state directory, and an onion service."""

    timeout = 300

    async def open(self) -> OnionDoor:
        """Open the onion service."""
        self.directory = temporary_directory(self.addCleanup)
        self.state = temporary_directory(self.addCleanup)
        return await open_door(self.addCleanup, self.directory)

    def reporter(self, door: OnionDoor, ladder: TorLadder) -> Reporter:
        """One that looks for its tor so, and has started."""
        reporter = Reporter(door.url, "telemetry", socks=ladder, reactor=reactor, backoff=lambda _: 0.5)
        reporter.startService()
        self.addCleanup(reporter.stopService)
        return reporter

    def launching(self, program: Path | None = None) -> TorLadder:
        """A ladder that finds no tor that runs, but can launch one."""
        found = program or private_network().tor_binary
        return TorLadder(self.state, environ={}, places=(), find_program=lambda: found)

    def tor_processes(self) -> list[int]:
        """Those that were launched in the state directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    if f"{self.state}/tor/torrc".encode() in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    async def report(self, reporter: Reporter) -> None:
        """Have a point arrive."""
        reporter.record("m", {"f": 1})
        self.assertTrue(await reporter.flush(120))

    async def test_two_reporters_share_a_tor(self) -> None:
        """Of two reporters with one state directory the first launches a tor, and the second uses that; when the first
        ends, its tor does, and the second launches its own, with the same guards.
        """
        door = await self.open()
        first, second = self.reporter(door, self.launching()), self.reporter(door, self.launching())
        await self.report(first)
        launched = self.tor_processes()
        await self.report(second)
        self.assertEqual((len(launched), self.tor_processes()), (1, launched))
        await first.stopService()
        self.assertEqual(self.tor_processes(), [])
        await self.report(second)
        self.assertEqual(len(self.tor_processes()), 1)
        await second.stopService()
        self.assertEqual(self.tor_processes(), [])
        self.assertTrue((self.state / "tor/state").exists())

    async def test_at_once(self) -> None:
        """Two that begin at the same moment both report in the end: the state has room for one tor, which is enough."""
        door = await self.open()
        reporters = [self.reporter(door, self.launching()) for _ in range(2)]
        for reporter in reporters:
            reporter.record("m", {"f": 1})
        for flushed in [reporter.flush(120) for reporter in reporters]:
            self.assertTrue(await flushed)

    async def test_a_tor_that_appears(self) -> None:
        """An application without tor records on; the log says once how to install one, and when one runs, the points
        arrive.
        """
        door = await self.open()
        socket = self.directory / "socks"
        ladder = TorLadder(None, environ={}, places=(f"unix:{socket}",), find_program=no_program)
        reporter = self.reporter(door, ladder)
        with capturedLogs() as events:
            for value in range(3):
                reporter.record("m", {"f": value})
                self.assertFalse(await reporter.flush(1))
        (warning,) = (event for event in events if event["log_level"] is LogLevel.warn)
        self.assertIn("apt-get install tor", warning["reason"])
        tor = client_tor(self.addCleanup, self.directory, f"unix:{socket}")
        self.assertTrue(await reporter.flush(120))
        self.assertEqual(reporter.stats.delivered, 3)
        tor.stop()

    async def test_a_child(self) -> None:
        """A child that the application forks leaves its parent's tor alone when it stops, and when it ends."""
        door = await self.open()
        ladder = self.launching()
        reporter = self.reporter(door, ladder)
        await self.report(reporter)
        before = self.tor_processes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # there are threads; the child does not need them
            child = os.fork()
        if child == 0:
            try:
                ladder.stop()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        await self.report(reporter)
        self.assertEqual((len(before), self.tor_processes()), (1, before))

    async def test_the_user_says_where(self) -> None:
        """A reporter made in one line reports through the tor that its user names in the environment."""
        door = await self.open()
        tor = client_tor(self.addCleanup, self.directory)
        self.patch(os, "environ", {**os.environ, SOCKS_VARIABLE: tor.endpoint})
        reporter = Reporter(door.url, "telemetry", state_dir=self.state)
        reporter.startService()
        self.addCleanup(reporter.stopService)
        await self.report(reporter)
        self.assertEqual(self.tor_processes(), [])

    async def test_own_tor_is_killed(self) -> None:
        """When somebody kills the reporter's tor, it comes back, and so do the reports."""
        door = await self.open()
        reporter = self.reporter(door, self.launching())
        await self.report(reporter)
        (before,) = self.tor_processes()
        os.kill(before, signal.SIGKILL)
        await self.report(reporter)
        self.assertNotEqual(self.tor_processes(), [before])

    async def test_wheel(self) -> None:
        """The tor out of a vendor's wheel is launched, and reports go through it."""
        door = await self.open()
        dist, site = self.directory / "dist", self.directory / "site"
        built = subprocess.run([sys.executable, BUILD, dist], capture_output=True, text=True, check=True).stdout.strip()
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        subprocess.run([*pip, "--target", site, built], check=True)
        self.patch(sys, "path", [*sys.path, str(site)])
        self.addCleanup(sys.modules.pop, "torfluxd_tor", None)
        importlib.invalidate_caches()
        packed = program_of_this_machine(no_tor_in_path)
        assert packed is not None
        self.assertTrue(packed.is_relative_to(site))
        joining = self.directory / "tor"
        defaults = shlex.quote(str(private_network().defaults_torrc))
        joining.write_text(f'#!/bin/sh\nexec {shlex.quote(str(packed))} --defaults-torrc {defaults} "$@"\n')
        joining.chmod(0o755)
        await self.report(self.reporter(door, self.launching(joining)))
