"""The reactor's clock, when somebody sets the date."""

from __future__ import annotations

import time

from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.ops.steady import elapsed_seconds, keep_steady


class SteadyTests(SynchronousTestCase):
    """A reactor of its own, whose date and whose time are ours to set."""

    def setUp(self) -> None:
        """Begin some day."""
        self.date, self.elapsed = 1_700_000_000.0, 5.0
        self.reactor = SelectReactor()
        self.addCleanup(self._close)
        keep_steady(self.reactor, lambda: self.date, lambda: self.elapsed)

    def _close(self) -> None:
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)  # the pipe that wakes it

    def test_it_begins_with_the_date(self) -> None:
        """It tells the date, as long as nobody sets that."""
        self.assertEqual(1_700_000_000.0, self.reactor.seconds())

    def test_timers_wait_as_long_as_they_should(self) -> None:
        """A timer waits for so many seconds, though the date is set back by a day, or forward by one."""
        for jump in (-86400, 86400):
            rung: list[float] = []
            self.reactor.callLater(30, rung.append, 1)
            self.date += jump
            self.elapsed += 29
            self.reactor.runUntilCurrent()
            self.assertEqual([], rung)
            self.elapsed += 1
            self.reactor.runUntilCurrent()
            self.assertEqual([1], rung)

    def test_time_in_which_the_machine_slept_counts(self) -> None:
        """What is elapsed is counted on also while the machine sleeps, where the system tells that."""
        self.assertGreaterEqual(elapsed_seconds(), time.monotonic() - 1)
