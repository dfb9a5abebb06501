"""The gateway is asked to end (SIGTERM) while strangers write: it is gone in five seconds, and nothing is lost."""

from __future__ import annotations

import random
import time

import pytest

from tests.end_to_end.under_fire.crowd import LOST
from tests.end_to_end.under_fire.server import FireCase, say

END_SECONDS = 5.0
"""How long the end may take: `systemctl restart` waits for it, and so do strangers."""

LONG_PAUSE_SECONDS = 0.02
"""How long strangers pause between writes in a long run, whose points must fit into the memory of a small machine."""

REPORTED_CYCLES = 10


class StoppedTests(FireCase):
    """SIGTERM at random moments, InfluxDB there, away, or hanging."""

    def test_stopped(self) -> None:
        """Three times, once in each state of InfluxDB, it ends in five seconds; all that was acknowledged arrives."""
        self.stop_often(3)

    @pytest.mark.torture
    def test_stopped_often(self) -> None:
        """And so fifty times."""
        self.stop_often(50)

    def stop_often(self, cycles: int) -> None:
        """Stop it at random moments; InfluxDB is in each of its states from the beginning on, then as chance has it."""
        chance = random.Random(cycles)
        states = ["up", "frozen", "down"]
        took: list[float] = []
        self.server.start()
        self.introduce()
        with self.crowd(pause_seconds=LONG_PAUSE_SECONDS if cycles > 3 else 0.0) as crowd:
            for cycle in range(cycles):
                state = states[cycle] if cycle < len(states) else chance.choice(states)
                self.leave(state)
                time.sleep(chance.uniform(0.1, 0.7))
                begun = time.monotonic()
                self.server.stop()
                took.append(time.monotonic() - begun)
                self.mend(state)
                self.server.start()
                self.wait_acknowledged(crowd, 20)
                if (cycle + 1) % REPORTED_CYCLES == 0:
                    say(f"SIGTERM, {cycle + 1} of {cycles}: {len(self.register.acknowledged)} points")
        self.assert_only(crowd, "204", "503", LOST)
        census = self.settle()
        took.sort()
        say(f"SIGTERM, {cycles} times: ended after {took[len(took) // 2]:.2f} s, {took[-1]:.2f} s at worst; {census}")
        self.assertLess(took[-1], END_SECONDS)

    def leave(self, state: str) -> None:
        """Have InfluxDB leave its good state for this one."""
        if state == "frozen":
            self.influxd.freeze()
        elif state == "down":
            self.influxd.stop()

    def mend(self, state: str) -> None:
        """Bring it back."""
        if state == "frozen":
            self.influxd.thaw()
        elif state == "down":
            self.influxd.start()
