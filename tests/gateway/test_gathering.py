"""A write waits for company where there is some, and never for long."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.gathering import ENOUGH_BODIES, GATHER_SECONDS, Gathering

SOON = GATHER_SECONDS / 8


class GatheringTests(SynchronousTestCase):
    """One lane's next write."""

    def setUp(self) -> None:
        """Begin idle."""
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.went_on: list[float] = []
        self.gathering = Gathering(
            self.clock, GATHER_SECONDS, lambda: self.went_on.append(self.clock.seconds() - self.begun)
        )

    def see(self, *writers: str) -> None:
        """Let these write together for a while, until a write of theirs has just left."""
        for _ in range(2):
            self.clock.advance(GATHER_SECONDS)
            self.gathering.sent(writers)
        self.begun = self.clock.seconds()

    def test_who_comes_to_an_idle_lane_does_not_wait(self) -> None:
        """The first write of all, and one long after others, leave at once."""
        self.assertFalse(self.gathering.hold(1))
        self.see("a", "b", "c")
        self.clock.advance(GATHER_SECONDS)
        self.assertFalse(self.gathering.hold(1))
        self.assertFalse(self.gathering.holds)

    def test_who_writes_alone_never_waits(self) -> None:
        """One writer, one body after the other, as fast as he likes."""
        for _ in range(100):
            self.clock.advance(SOON)
            self.assertFalse(self.gathering.hold(1))
            self.gathering.sent(["a"])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_one_waits_for_as_many_as_there_were(self) -> None:
        """Of three who write, the first two wait for the third, and leave as soon as he is there."""
        self.see("a", "b", "c")
        self.clock.advance(SOON)
        self.assertEqual([True, True, False], [self.gathering.hold(bodies) for bodies in (1, 2, 3)])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nobody_waits_for_long(self) -> None:
        """Who waits in vain leaves when so long has passed since the last write, however late he himself came."""
        self.see("a", "b", "c")
        self.clock.advance(GATHER_SECONDS - SOON)
        self.assertTrue(self.gathering.hold(1))
        self.clock.advance(SOON)
        self.assertEqual(1, len(self.went_on))
        self.assertAlmostEqual(GATHER_SECONDS, self.went_on[0])
        self.assertFalse(self.gathering.hold(1))

    def test_those_who_have_left_are_soon_forgotten(self) -> None:
        """Who stays behind alone waits for the others once or twice, and never again."""
        self.see("a", "b", "c")
        waits = 0
        for _ in range(100):
            self.clock.advance(SOON)
            if self.gathering.hold(1):
                waits += 1
                self.clock.advance(GATHER_SECONDS)
                self.assertFalse(self.gathering.hold(1))
            self.gathering.sent(["a"])
        self.assertIn(waits, (1, 2))

    def test_a_crowd_does_not_wait_to_be_complete(self) -> None:
        """Of hundreds of writers, a few are company enough."""
        self.see(*map(str, range(500)))
        self.assertTrue(self.gathering.hold(ENOUGH_BODIES - 1))
        self.assertFalse(self.gathering.hold(ENOUGH_BODIES))

    def test_one_writer_with_many_streams_is_one(self) -> None:
        """He who sends several bodies together need not wait for as many again."""
        self.see("a", "a", "a")
        self.assertFalse(self.gathering.hold(1))

    def test_a_clock_that_jumps_back_costs_nothing(self) -> None:
        """Whatever the clock says, a wait is no longer than it may be at most."""
        self.see("a", "b")
        self.clock.rightNow -= 3600.0
        self.begun = self.clock.seconds()
        self.assertTrue(self.gathering.hold(1))
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(1, len(self.went_on))
