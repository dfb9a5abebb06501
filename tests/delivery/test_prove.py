"""A spool shows that it works: what it is asked for that is synced to the disk, though nothing is changed."""

from __future__ import annotations

import subprocess
import sys

from tests.delivery.disk_case import DiskCase, HeldWork
from tests.delivery.spool_suite import batch

PROGRAM = """
import sys
from pathlib import Path
from twisted.internet.task import Clock
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce

found = []
DiskSpool.open(Path(sys.argv[1]), Clock(), AtOnce(), print).addCallback(found.append)
sys.stderr.write("begun\\n")
sys.stderr.flush()
found[0].prove()
sys.stderr.write("proved\\n")
sys.stderr.flush()
"""


class ProveTests(DiskCase):
    """A spool on a disk that works, or does not."""

    def test_it_is_synced(self) -> None:
        """To prove is to sync: between the question and its answer something is written, and brought to the disk."""
        path = self.directory / "traced.db"
        command = [
            "strace",
            "-f",
            "-e",
            "trace=fsync,fdatasync,write,pwrite64",
            sys.executable,
            "-c",
            PROGRAM,
            str(path),
        ]
        traced = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stderr
        between = traced.partition("begun")[2].partition("proved")[0]
        self.assertRegex(between, r"pwrite64\(")
        self.assertRegex(between, r"f(data)?sync\(\d+\) += 0")

    def test_nothing_is_changed(self) -> None:
        """What the spool holds, and counts, is what it was."""
        spool = self.open()
        self.put(spool, batch("m v=1 1"))
        before = spool.counts
        self.successResultOf(spool.prove())
        self.assertEqual(before, spool.counts)
        self.assertEqual(self.lines(self.open(path=self.copy())), [b"m v=1 1"])

    def test_a_thread_that_hangs(self) -> None:
        """While the thread hangs there is no answer, and when it goes on there is."""
        executor = HeldWork()
        spool = self.open(executor=executor)
        proved = spool.prove()
        self.assertNoResult(proved)
        executor.go()
        self.successResultOf(proved)
        spool.close()
        executor.go()
