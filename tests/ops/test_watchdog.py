"""The watchdog is fed as long as the spool and the reactor work, and no longer. A day passes in a moment here."""

from __future__ import annotations

from itertools import pairwise

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SpoolBrokenError
from torfluxd.ops.watchdog import Watchdog

PATIENCE_SECONDS = 30.0
DAY_SECONDS = 86_400


class WatchdogTests(SynchronousTestCase):
    """A watchdog that waits for thirty seconds, and a spool that does what the test says."""

    def setUp(self) -> None:
        """Start it."""
        self.clock = Clock()
        self.fed: list[float] = []
        self.asked: list[Deferred[None]] = []
        self.takes_seconds = 0.0
        self.watchdog = Watchdog(self.clock, PATIENCE_SECONDS, self.prove, self.feed)
        self.addCleanup(self.watchdog.stop)

    def prove(self) -> Deferred[None]:
        """The spool answers, after a while."""
        answer: Deferred[None] = Deferred()
        self.asked.append(answer)
        if self.takes_seconds != float("inf"):
            self.clock.callLater(self.takes_seconds, answer.callback, None)
        return answer

    def feed(self) -> None:
        """It is fed."""
        self.fed.append(self.clock.seconds())

    def pass_time(self, seconds: int) -> None:
        """Let time pass, second by second."""
        self.clock.pump([1.0] * seconds)

    def longest_wait(self) -> float:
        """The longest time between two meals, and since the last one."""
        times = [0.0, *self.fed, self.clock.seconds()]
        return max(later - earlier for earlier, later in pairwise(times))

    def test_a_day(self) -> None:
        """Over a day it is never left alone for as long as it waits, and is not fed more than it needs."""
        self.watchdog.start()
        self.pass_time(DAY_SECONDS)
        self.assertLess(self.longest_wait(), PATIENCE_SECONDS)
        self.assertEqual(DAY_SECONDS / (PATIENCE_SECONDS / 2) + 1, len(self.fed))

    def test_a_slow_disk(self) -> None:
        """Over a day on a disk that takes ten seconds to sync anything, it is fed in time, and the disk asked once."""
        self.takes_seconds = 10.0
        self.watchdog.start()
        self.pass_time(DAY_SECONDS)
        self.assertLess(self.longest_wait(), PATIENCE_SECONDS)
        self.assertLessEqual(len(self.asked), len(self.fed) + 1)

    def test_a_spool_that_hangs(self) -> None:
        """A spool that hangs in the middle of the day feeds it no more; systemd restarts us."""
        self.watchdog.start()
        self.pass_time(DAY_SECONDS // 2)
        self.takes_seconds = float("inf")
        self.pass_time(DAY_SECONDS // 2)
        self.assertGreater(self.longest_wait(), PATIENCE_SECONDS)
        self.assertLess(max(self.fed), DAY_SECONDS // 2 + PATIENCE_SECONDS)

    def test_it_goes_on(self) -> None:
        """A spool that hung for a while, and answers before systemd loses patience, feeds it again."""
        self.watchdog.start()
        self.pass_time(60)
        self.takes_seconds = float("inf")
        self.pass_time(20)
        self.takes_seconds = 0.0
        self.asked[-1].callback(None)
        self.pass_time(60)
        self.assertLess(self.longest_wait(), PATIENCE_SECONDS + 1)

    def test_a_full_disk(self) -> None:
        """A disk that is full or fails is told by the spool, in time: a restart would mend nothing, so it is fed."""
        watchdog = Watchdog(self.clock, PATIENCE_SECONDS, lambda: fail(SpoolBrokenError("the disk is full")), self.feed)
        watchdog.start()
        self.addCleanup(watchdog.stop)
        self.pass_time(3600)
        self.assertLess(self.longest_wait(), PATIENCE_SECONDS)

    def test_a_fault_of_our_own(self) -> None:
        """When our own code fails, it is fed no more, and the log says why."""
        watchdog = Watchdog(self.clock, PATIENCE_SECONDS, lambda: fail(KeyError("ours")), self.feed)
        watchdog.start()
        self.pass_time(3600)
        self.assertEqual([], self.fed)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_a_reactor_that_hangs(self) -> None:
        """While the reactor hangs nothing is fed, and there is no burst of it afterwards."""
        watchdog = Watchdog(self.clock, PATIENCE_SECONDS, lambda: succeed(None), self.feed)
        watchdog.start()
        self.addCleanup(watchdog.stop)
        self.clock.advance(3600)
        self.assertEqual([0.0, 3600.0], self.fed)

    def test_the_end(self) -> None:
        """After the end nothing is fed, not even by what was under way."""
        self.takes_seconds = 5.0
        self.watchdog.start()
        self.watchdog.stop()
        self.pass_time(3600)
        self.assertEqual([], self.fed)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_clock_that_is_set_back(self) -> None:
        """A clock that is set back by an hour does not make it wait for an hour."""
        self.watchdog.start()
        self.pass_time(20)
        self.takes_seconds = float("inf")
        self.pass_time(10)
        self.clock.rightNow -= 3600
        self.takes_seconds = 0.0
        self.asked[-1].callback(None)
        (call,) = self.clock.getDelayedCalls()
        self.assertLessEqual(call.getTime() - self.clock.seconds(), PATIENCE_SECONDS / 2)
