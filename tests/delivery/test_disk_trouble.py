"""Tests for what `torfluxd.delivery.disk` does when its disk is full or fails, or its file is damaged."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.delivery.disk_case import DiskCase
from tests.delivery.spool_suite import batch
from torfluxd.boundaries import Batch, Destination, SpoolCounts
from torfluxd.delivery.letters import look
from torfluxd.delivery.steps import Bounds
from torfluxd.errors import SpoolBrokenError

PAGE_BYTES = 4096


class DamagedFileTests(DiskCase):
    """A file that is damaged, found at the start."""

    def setUp(self) -> None:
        """A spool of many pages, closed."""
        super().setUp()
        spool = self.open()
        self.put(spool, *(batch(f"{number}" * 300) for number in range(9)))
        self.successResultOf(spool.close())

    def assert_set_aside(self) -> None:
        """The file was kept under another name, the operator told, and a new spool works, now and after a restart."""
        damaged = self.path.read_bytes() if self.path.is_file() else None
        spool = self.open()
        [sentence] = self.told
        self.assertIn("damaged", sentence)
        [aside] = [file for file in self.directory.iterdir() if ".damaged-2027" in file.name]
        self.assertIn(aside.name, sentence)
        self.assertEqual(aside.read_bytes() if aside.is_file() else None, damaged)
        self.assertEqual((spool.counts, spool.trouble), (SpoolCounts(), ""))
        self.put(spool, batch("new"))
        self.successResultOf(spool.close())
        self.assertEqual(self.lines(self.open()), [b"new"])
        self.assertEqual(len(self.told), 1)

    def test_truncated(self) -> None:
        """A file of which the end is missing is set aside."""
        os.truncate(self.path, self.path.stat().st_size - PAGE_BYTES)
        self.assert_set_aside()

    def test_empty(self) -> None:
        """A file of which everything is missing is set aside."""
        os.truncate(self.path, 0)
        self.assert_set_aside()

    def test_random(self) -> None:
        """A file that is no database at all is set aside."""
        self.path.write_bytes(random.Random(1).randbytes(50_000))
        self.assert_set_aside()

    def test_page(self) -> None:
        """A file in which one page was overwritten is set aside."""
        with self.path.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(random.Random(2).randbytes(PAGE_BYTES))
        self.assert_set_aside()

    def test_directory(self) -> None:
        """A directory in the place of the file is set aside."""
        self.path.unlink()
        self.path.mkdir()
        self.assert_set_aside()

    def test_of_another_program(self) -> None:
        """A database of another program is set aside, not written to."""
        self.path.unlink()
        connection = sqlite3.connect(self.path)
        connection.execute("CREATE TABLE batch (position)")
        connection.close()
        self.assert_set_aside()

    def test_log_without_file(self) -> None:
        """A write-ahead log whose file is missing is set aside, and never taken for that of a new file."""
        self.path.rename(self.directory / "spool.db-wal")
        self.open()
        self.assertEqual(len(self.told), 1)
        self.assertEqual(sorted(file.name[:24] for file in self.directory.iterdir())[-1], "spool.db.damaged-2027011")

    def test_twice(self) -> None:
        """Two damaged files of one second are both kept."""
        for _ in range(2):
            self.path.write_bytes(b"nonsense" * 1000)
            self.successResultOf(self.open().close())
        self.assertEqual(len([file for file in self.directory.iterdir() if "damaged" in file.name]), 2)

    def test_letters(self) -> None:
        """An operator who looks at the dead letters of a damaged file is told, and the file is left alone."""
        self.path.write_bytes(b"nonsense" * 1000)
        self.assertIn("damaged", str(self.assertRaises(SpoolBrokenError, look, self.path)))
        self.assertEqual(self.path.read_bytes(), b"nonsense" * 1000)

    def test_lines(self) -> None:
        """A batch whose lines changed on the disk is never sent: it becomes a dead letter, and the next is lent."""
        written = self.path.read_bytes()
        self.path.write_bytes(written.replace(b"0" * 300, b"0" * 200 + b"1" + b"0" * 99))
        spool = self.open()
        self.assertEqual(self.lend(spool).batch, batch("1" * 300))
        [letter] = self.dead_letters(spool)
        self.assertEqual(letter.reason, "damaged on the disk")
        self.assertEqual((spool.counts.points, spool.counts.rejected_points, len(self.told)), (8, 1, 1))


class DamagedWhileOpenTests(DiskCase):
    """A file that is damaged while it is open."""

    def test_set_aside(self) -> None:
        """Those who wait are told, the file is set aside, and puts are kept in a new one; old leases end well."""
        spool = self.open(Bounds())
        self.put(spool, *(Batch(Destination("telemetry"), b"x" * 100_000, 1) for _ in range(50)))
        self.successResultOf(spool.close())
        spool = self.open(Bounds())
        lease = self.lend(spool)
        self.path.write_bytes(random.Random(3).randbytes(self.path.stat().st_size))
        loans = [spool.lend().addErrback(lambda failure: failure.trap(SpoolBrokenError)) for _ in range(50)]
        results = [self.successResultOf(loan) for loan in loans]  # the first few may still be in SQLite's cache
        self.assertEqual((results.count(SpoolBrokenError), results[-1]), (1, None))
        self.successResultOf(lease.delivered())
        self.put(spool, batch("new"))
        self.assertEqual((spool.trouble, spool.counts.batches, spool.counts.points), ("", 1, 1))
        self.assertEqual(self.lend(spool).batch, batch("new"))
        self.assertIn("set aside", self.told[-1])


class SmallDiskTests(DiskCase):
    """A disk that is full, or can only be read: a real one, of one megabyte."""

    def on_a_small_disk(self, what: str) -> dict[str, Any]:
        """Run `small_disk.py`, with a disk that only it can see, and that is gone with it."""
        command = [sys.executable, "-m", "tests.delivery.small_disk", what, str(self.directory)]
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", *command],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, f"needs user namespaces (util-linux' unshare): {done.stderr}")
        how: dict[str, Any] = json.loads(done.stdout)
        return how

    def test_full(self) -> None:
        """When the disk is full puts fail, the operator is told once, all that was kept is there; room cures it."""
        how = self.on_a_small_disk("fill")
        self.assertGreater(how["kept"], 20)
        self.assertEqual(how["counted"], how["kept"])
        self.assertEqual(set(how["failed"]), {"SpoolBrokenError"})
        self.assertEqual((how["trouble"], how["afterwards"]), ([True, False], None))
        self.assertEqual(how["numbers"], list(range(how["kept"] + 1)))
        [sentence] = how["told"]
        self.assertIn("is full", sentence)

    def test_emptied(self) -> None:
        """A spool can be emptied although its disk is full to the last page; that makes room for what is put next."""
        how = self.on_a_small_disk("empty")
        self.assertGreater(how["kept"], 500)
        self.assertEqual(how["delivered"], how["kept"])
        self.assertEqual(set(how["failed"]), {"SpoolBrokenError"})
        self.assertEqual((how["trouble"], how["afterwards"], how["numbers"]), (False, None, [how["kept"]]))
        [sentence] = how["told"]
        self.assertIn("is full", sentence)

    def test_read_only(self) -> None:
        """A disk that can only be read keeps nobody from starting: puts fail until it can be written again."""
        how = self.on_a_small_disk("read_only")
        self.assertEqual(how["failed"], ["SpoolBrokenError"])
        self.assertEqual((how["trouble"], how["afterwards"], how["numbers"]), ([True, False], None, [0, 1]))
        [sentence] = how["told"]
        self.assertIn("cannot be read or written", sentence)
