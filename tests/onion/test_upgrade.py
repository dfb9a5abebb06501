"""The program of our own tor is replaced while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import TorError, TorMissingError
from torfluxd.onion.torrc import TorAbilities
from torfluxd.onion.upgrade import LOOK_SECONDS, stamp_of, until_replaced


class ReplacedTests(SynchronousTestCase):
    """An upgrade, step by step."""

    def setUp(self) -> None:
        """A tor was started."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.binary = Path(temporary.name) / "tor"
        self.install("old")
        self.clock = Clock()
        self.said: list[str] = []
        self.runs = True
        self.replaced = Deferred.fromCoroutine(
            until_replaced(self.clock, self.binary, stamp_of(self.binary), self.probe, self.said.append)
        )

    def install(self, text: str) -> None:
        """Put another program in its place, as a package manager does."""
        new = self.binary.with_name("tor.new")
        new.write_text(text)
        os.replace(new, self.binary)

    def probe(self) -> Deferred[TorAbilities]:
        """What the program on the disk says that it is."""
        return succeed(TorAbilities((0, 4, 9, 99), True)) if self.runs else fail(TorMissingError("no library"))

    def look(self) -> None:
        """Let a minute pass."""
        self.clock.advance(LOOK_SECONDS)

    def test_the_new_one_is_started(self) -> None:
        """A new program is started in its place, once it has stayed the same for a minute."""
        self.look()
        self.install("new")
        self.look()
        self.assertNoResult(self.replaced)
        self.look()
        self.assertIn("tor 0.4.9.99", str(self.failureResultOf(self.replaced, TorError).value))

    def test_not_in_the_middle(self) -> None:
        """While it is being replaced, and while there is none, the old one goes on."""
        for step in range(3):
            self.install(f"half {'.' * step}")
            self.look()
        self.binary.unlink()
        self.look()
        self.look()
        self.assertNoResult(self.replaced)
        self.install("whole")
        self.look()
        self.look()
        self.failureResultOf(self.replaced, TorError)

    def test_one_that_does_not_run_is_not_started(self) -> None:
        """A new program that does not run is told of, once, and the old one goes on, until there is one that does."""
        self.runs = False
        self.install("broken")
        for _ in range(5):
            self.look()
        self.assertNoResult(self.replaced)
        self.assertEqual(1, len(self.said))
        self.assertIn("the old one goes on", self.said[0])
        self.runs = True
        self.install("mended it")
        self.look()
        self.look()
        self.failureResultOf(self.replaced, TorError)

    def test_the_same_one_is_left_alone(self) -> None:
        """As long as nobody replaces it, nothing happens."""
        for _ in range(60):
            self.look()
        self.assertNoResult(self.replaced)
        self.replaced.cancel()
        self.failureResultOf(self.replaced)
        self.assertEqual([], self.clock.getDelayedCalls())
