"""A gateway of several workers, some of which are killed while strangers write: nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from pathlib import Path

import pytest

from tests.end_to_end.programs import wait_until
from tests.end_to_end.under_fire.crowd import LOST
from tests.end_to_end.under_fire.server import FireCase, say
from torfluxd.delivery.spools import find_spools

LONG_PAUSE_SECONDS = 0.1
"""How long strangers pause between writes in a long run, whose points must fit into the memory of a small machine."""

STOP_SECONDS = 6.0
"""How long a stop may take: five seconds, and one for a slow machine."""


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class WorkersCase(FireCase):
    """A gateway with two workers."""

    gateway_options = ("--workers", "2")

    def wait_all_serve(self, times: int) -> None:
        """Wait until so often a worker was said to serve again."""
        wait_until(lambda: self.server.log.count("serves again") >= times, lambda: self.server.log)


class WorkerKilledTests(WorkersCase):
    """kill -9 of one worker."""

    def test_killed(self) -> None:
        """Three times a worker is killed while strangers write: nothing is lost or twice, and the others go on."""
        self.kill_often(3)

    @pytest.mark.torture
    def test_killed_often(self) -> None:
        """And so fifty times."""
        self.kill_often(50)

    def kill_often(self, cycles: int) -> None:
        """Kill one at random moments, and measure how long it takes until he is back, and whom it hurts."""
        chance = random.Random(cycles)
        back = []
        self.server.start()
        self.introduce()
        with self.crowd(pause_seconds=LONG_PAUSE_SECONDS if cycles > 5 else 0.0) as crowd:
            for cycle in range(1, cycles + 1):
                self.wait_acknowledged(crowd, 200)
                time.sleep(chance.uniform(0, 0.3))
                begun = time.monotonic()
                os.kill(chance.choice(self.server.workers()), signal.SIGKILL)
                self.wait_all_serve(cycle)
                back.append(time.monotonic() - begun)
        self.assert_only(crowd, "204", LOST)
        lost, all_of_them = crowd.answers[LOST], crowd.answers.total()
        # A stranger has one write in flight, and a killed worker had half of them.
        self.assertLessEqual(lost, cycles * crowd.writers)
        census = self.settle()
        say(
            f"kill -9 of one of two workers, {cycles} times: {census}; {lost} of {all_of_them} writes had no answer"
            f" ({lost / all_of_them:.2%}; {lost / cycles:.1f} for each kill); the worker was back after"
            f" {statistics.median(back):.2f} s (median; at most {max(back):.2f} s); the slowest answer meanwhile took"
            f" {crowd.slowest_seconds:.2f} s"
        )

    def test_killed_in_an_outage(self) -> None:
        """What a killed worker has kept while InfluxDB was away is delivered by the one who takes its place."""
        self.server.start()
        self.introduce()
        with self.crowd() as crowd:
            self.influxd.stop()
            for cycle in range(1, 4):
                self.wait_acknowledged(crowd, 100)
                os.kill(self.server.workers()[0], signal.SIGKILL)
                self.wait_all_serve(cycle)
        self.assert_only(crowd, "204", LOST)
        self.influxd.start()
        self.settle()

    def test_all_killed(self) -> None:
        """When all are killed at once, who connects waits, and is served as soon as one of them is back."""
        self.server.start()
        self.introduce()
        for pid in self.server.workers():
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(204, self.writer().write(b"hello v=1").status)
        self.wait_all_serve(2)


class GatewayEndsTests(WorkersCase):
    """The end of the gateway is the end of its workers."""

    def test_killed(self) -> None:
        """When the gateway is killed no worker is left, and what was acknowledged is there after the next start."""
        self.server.start()
        self.introduce()
        with self.crowd() as crowd:
            for _ in range(3):
                self.wait_acknowledged(crowd, 100)
                workers = self.server.workers()
                self.assertEqual(2, len(workers))
                self.server.kill()
                wait_until(lambda workers=workers: not any(map(is_there, workers)), lambda: "a worker is left")
                self.server.start()
        self.assert_only(crowd, "204", LOST)
        self.settle()

    def test_stopped(self) -> None:
        """Ctrl-C and SIGTERM end all of them in five seconds, and nobody who was served hears anything untrue."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.server.start()
            self.introduce()
            with self.crowd() as crowd:
                self.wait_acknowledged(crowd, 100)
                workers = self.server.workers()
                begun = time.monotonic()
                self.server.program.process.send_signal(number)
                self.server.program.process.wait(STOP_SECONDS)
                self.assertLess(time.monotonic() - begun, STOP_SECONDS)
            self.assertFalse(any(map(is_there, workers)))
            self.assert_only(crowd, "204", LOST)
            self.assertNotIn("serve for it meanwhile", self.server.program.log)
        self.server.start()
        self.settle()

    def test_one_worker_is_stopped(self) -> None:
        """A worker that an operator ends finishes what is in flight, and is replaced."""
        self.server.start()
        self.introduce()
        with self.crowd() as crowd:
            self.wait_acknowledged(crowd, 100)
            os.kill(self.server.workers()[1], signal.SIGTERM)
            self.wait_all_serve(1)
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204", LOST)
        self.settle()


class FewerWorkersTests(FireCase):
    """The number of workers changes between two runs, while InfluxDB is away."""

    def test_nobody_is_forgotten(self) -> None:
        """What was kept by workers that are no more is delivered, whatever their number was and is."""
        self.server.start()
        self.introduce()
        self.influxd.stop()
        for workers in ("1", "3", "2", "1"):
            if self.server.program.process.poll() is None:
                self.server.stop()
            self.server.set_options("--workers", workers)
            self.server.start()
            with self.crowd(writers=10) as crowd:
                self.wait_acknowledged(crowd, 100)
            self.assert_only(crowd, "204")
        self.assertEqual([0, 1, 2, 3], list(find_spools(self.server.state)))
        self.server.stop()
        self.server.set_options("--workers", "2")
        self.server.start()
        self.influxd.start()
        self.settle()
        self.assertEqual([1, 2], list(find_spools(self.server.state)))


class BadBeginningTests(WorkersCase):
    """Workers that cannot begin."""

    def test_told(self) -> None:
        """When a worker cannot use its spool the gateway says why, and ends with 1."""
        state = self.server.state / "worker-2"
        state.mkdir(parents=True, mode=0o700)
        self.server.state.chmod(0o700)
        state.chmod(0o777)
        with self.assertRaises(AssertionError):
            self.server.start()
        self.assertEqual(1, self.server.program.process.wait(STOP_SECONDS))
        self.assertIn("torfluxd cannot start: others may write into the state directory", self.server.log)
        self.assertNotIn("Traceback", self.server.log)
