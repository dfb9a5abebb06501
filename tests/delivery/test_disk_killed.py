"""Tests for what `torfluxd.delivery.disk` keeps when its process is killed, with real processes and a real disk."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.delivery.disk_case import DiskCase
from tests.delivery.spool_suite import batch
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import OneThread
from torfluxd.delivery.steps import Bounds

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
STRACE = "/usr/bin/strace"
MANY = 10_000_000
"""More batches than one process puts before it is killed."""


def program(path: Path, first: int, count: int, together: int, delivered_of_ten: int) -> list[str]:
    """The command that runs `spooling.py`."""
    numbers = (str(number) for number in (first, count, together, delivered_of_ten))
    return [sys.executable, "-m", "tests.delivery.spooling", str(path), *numbers]


class KilledTests(DiskCase):
    """A process is killed with SIGKILL while it puts and delivers, again and again, with the same file."""

    def test_killed(self) -> None:
        """Over five kills nothing acknowledged is missing, nothing delivered comes back, nothing is there twice."""
        self.kill_often(5)

    @pytest.mark.torture
    def test_killed_often(self) -> None:
        """Nor over two hundred."""
        self.kill_often(200)

    def kill_often(self, cycles: int) -> None:
        """Kill it at random moments, and compare what it said with what is there."""
        chance = random.Random(cycles)
        self.first = 0
        acked = 0
        expected: set[int] = set()
        gone: set[int] = set()
        for _ in range(cycles):
            said = self.run_and_kill(chance)
            acked += len(said["acked"])
            expected |= said["acked"]
            gone |= said["gone"]
            there = self.numbers_in_a_copy()
            self.assertEqual(there, sorted(set(there)))
            self.assertEqual(expected - set(there) - said["giving"], set())
            self.assertEqual(gone & set(there), set())
            expected = set(there)
        self.assertEqual(self.told, [])
        self.assertGreater(acked, cycles * 20)

    def run_and_kill(self, chance: random.Random) -> dict[str, set[int]]:
        """Run it from where the last one was killed, until it is killed."""
        command = program(self.path, self.first, MANY, chance.choice([1, 7, 50]), chance.choice([0, 7, 15, 30]))
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        output = child.stdout.readline()  # it is at work
        time.sleep(chance.uniform(0, 0.3))
        child.kill()
        output += child.stdout.read()
        child.stdout.close()
        child.wait()
        said: dict[str, set[int]] = {"acked": set(), "giving": set(), "gone": set()}
        for word, number in re.findall(rb"^(acked|giving|gone) (\d+)\n", output, re.M):
            said[word.decode()].add(int(number))
        self.first = max(said["acked"] | {self.first}) + 1000  # what it had put, and not said, was less
        return said

    def numbers_in_a_copy(self) -> list[int]:
        """What is in the files, in order; the files themselves stay as the kill left them."""
        spool = self.open(Bounds(), path=self.copy())
        numbers = [int(lines.split()[0]) for lines in self.lines(spool)]
        self.successResultOf(spool.close())
        return numbers


class SyncTests(DiskCase):
    """The order of system calls, as strace sees it."""

    def test_sync_before_the_acknowledgement(self) -> None:
        """Each put is written to the write-ahead log and synced to the disk before it is acknowledged."""
        self.assertTrue(Path(STRACE).exists(), "strace is missing: apt-get install strace")
        trace = self.directory / "trace"
        calls = "trace=write,pwrite64,pwritev,fsync,fdatasync"
        command = [STRACE, "-f", "-y", "-e", calls, "-o", str(trace), *program(self.path, 0, 100, 1, 0)]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True, timeout=60)
        patterns = (
            ("written", r"pwrite64\(\d+<[^>]*/spool\.db-wal>"),
            ("synced", r"(fdatasync|fsync)\(\d+<[^>]*/spool\.db-wal>\) += 0|<\.\.\. (fdatasync|fsync) resumed>\) += 0"),
            ("acked", r'write\(1<[^>]*>, "acked '),
        )
        seen = [
            name for line in trace.read_text().splitlines() for name, pattern in patterns if re.search(pattern, line)
        ]
        each_put = re.findall(r"((?:written )+(?:synced )+)acked ", " ".join(seen) + " ")
        self.assertEqual((len(each_put), seen.count("acked")), (100, 100))


class ThreadTests(TestCase):
    """A spool with its thread, in a running reactor."""

    async def test_groups(self) -> None:
        """A hundred puts at once are kept in order, by far fewer transactions than puts."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        directory = Path(temporary.name)
        groups: list[int] = []
        told: list[str] = []

        class Counting(OneThread):
            def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
                groups.append(1)
                super().run(work, done)

        executor = Counting(reactor, "a spool under test")
        spool = await DiskSpool.open(directory / "spool.db", reactor, executor, told.append)
        await gatherResults([spool.put(batch(str(number))) for number in range(100)])
        self.assertEqual((len(groups), told), (3, []))  # opened, the first put, all others
        numbers = []
        while (lease := await spool.lend()) is not None:
            numbers.append(int(lease.batch.lines))
        self.assertEqual(numbers, list(range(100)))
        await spool.close()
        self.assertNotIn("a spool under test", [thread.name for thread in threading.enumerate()])
