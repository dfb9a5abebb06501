"""Hostile replies of a control port, in numbers: no hang, no crash, no key in what is said of them."""

from __future__ import annotations

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.under_fire.server import say
from tests.onion.hostile_replies import HostileTor

REPORTED_REPLIES = 100_000
"""After how many replies a long run says how far it is."""


class HostileRepliesTests(SynchronousTestCase):
    """Whatever a control port says, every command ends by its deadline, as it may end."""

    def test_thousands(self) -> None:
        """Four thousand hostile replies make no command hang, and no traceback; none of them brings the key out."""
        self.hold(HostileTor(1), 4_000)

    @pytest.mark.torture
    def test_a_million(self) -> None:
        """Nor does a million."""
        self.hold(HostileTor(2), 1_000_000)

    def hold(self, tor: HostileTor, replies: int) -> None:
        """Bear so many; some connections get through the greeting, or nothing would be tested behind it."""
        goals = iter(range(REPORTED_REPLIES, replies + 1, REPORTED_REPLIES))
        goal = next(goals, None)

        def progress(given: int) -> None:
            nonlocal goal
            if goal is not None and given >= goal:
                say(f"{given} hostile replies, {tor.connected} connections, {tor.settled} commands ended")
                goal = next(goals, None)

        tor.run(replies, progress)
        self.assertGreater(tor.connected, replies // 100)
