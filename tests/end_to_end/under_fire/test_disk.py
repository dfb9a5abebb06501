"""The disk of the spool is full, or what is on it is damaged, while InfluxDB is away."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from tests.end_to_end.programs import wait_until
from tests.end_to_end.under_fire.crowd import Crowd
from tests.end_to_end.under_fire.server import FireCase

DISK = "20m"
BALLAST_BYTES = 7 * 1024 * 1024
"""What lies on the disk beside the spool, and is taken away to make room."""

RECOVER_SECONDS = 20.0
"""How long it may take until the gateway finds that there is room again: it looks every five seconds."""


class FullDiskTests(FireCase):
    """A disk of a few megabytes, which the spool fills."""

    def setUp(self) -> None:
        """Give the gateway such a disk, with something else on it."""
        super().setUp()
        state = self.server.state
        state.mkdir(mode=0o700)
        namespace = ["unshare", "--user", "--map-root-user", "--mount"]
        mount = [sys.executable, str(Path(__file__).with_name("on_a_small_disk.py")), str(state), DISK]
        self.server.wrapper = [*namespace, *mount]
        self.server.start()
        self.ballast = Path(f"/proc/{self.server.program.process.pid}/root{state}/ballast")  # only it sees the disk
        self.ballast.write_bytes(bytes(BALLAST_BYTES))
        self.introduce()

    def fill(self) -> None:
        """Write in an outage until strangers are turned away, and look at what they hear, and at what the log says."""
        self.influxd.stop()
        with self.big_crowd() as crowd:
            wait_until(lambda: crowd.answers["503"] > 50, lambda: f"503: {crowd.answers}")
        self.assert_only(crowd, "204", "503")
        self.assertGreater(crowd.acknowledged, 20)
        told = self.writer().write(b"m v=1")
        self.assertEqual(503, told.status)
        self.assertGreater(int(told.headers["retry-after"]), 0)
        self.assertNotIn(b"disk", told.body)
        self.assert_alarm("is full: make room there")

    def big_crowd(self) -> Crowd:
        """Strangers who write much at a time."""
        return self.crowd(writers=5, points=200, pause_seconds=0.01)

    def test_room_is_made(self) -> None:
        """Strangers hear 503 and when to come back, the log says why; when room is made 204 again; nothing is lost."""
        self.fill()
        self.ballast.unlink()
        wait_until(lambda: self.writer().write(b"m v=1").status == 204, lambda: self.server.log, RECOVER_SECONDS)
        with self.crowd(writers=5) as crowd:
            self.wait_acknowledged(crowd, 50)
        self.assert_only(crowd, "204")
        self.influxd.start()
        self.wait_all_found()
        self.assertEqual(1, self.server.log.count("torfluxd 0."), "it was started once, and never ended")

    def test_influxdb_comes_back(self) -> None:
        """Nobody makes room, and InfluxDB comes back: live writes are stored at once, and the spool is emptied."""
        self.fill()
        self.influxd.start()
        with self.crowd(writers=5) as crowd:
            wait_until(lambda: crowd.acknowledged > 200, lambda: f"204: {crowd.answers}")
        self.wait_all_found()
        self.influxd.stop()
        # What it held is gone from it, so there is room for another outage.
        time.sleep(1)
        wait_until(lambda: self.writer().write(b"m v=1").status == 204, lambda: self.server.log, RECOVER_SECONDS)


class FullSpoolTests(FireCase):
    """A spool that holds as much as it may."""

    gateway_options = ("--spool-limit", "16MiB")

    def test_full(self) -> None:
        """Strangers hear 503 and when to come back, and 204 as soon as InfluxDB is back; nothing is lost."""
        self.server.start()
        self.introduce()
        self.influxd.stop()
        with self.crowd(writers=5, pause_seconds=0.01) as crowd:
            self.wait_acknowledged(crowd, 50)
            while (told := self.writer().write(_fat_lines())).status == 204:
                pass
            self.assertEqual(503, told.status)
            self.assertGreater(int(told.headers["retry-after"]), 0)
            self.assert_alarm("is full, it holds")
            self.influxd.start()
            self.wait_acknowledged(crowd, 200)
        self.assert_only(crowd, "204", "503")
        self.settle()


class DamagedSpoolTests(FireCase):
    """The file of the spool is not what it was when the gateway starts."""

    def spool_something(self) -> None:
        """Have an outage, and leave something in the spool."""
        self.server.start()
        self.introduce()
        self.influxd.stop()
        with self.crowd(writers=5) as crowd:
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204")

    def assert_clean_start(self) -> None:
        """It starts, says what it did, keeps what strangers write, and brings that to InfluxDB; also the next time."""
        self.register.forget_up_to(self.register.new_ids(1)[0])  # what was in the file is the operator's now
        self.server.start()
        self.assertIn("set aside", self.server.program.log)
        with self.crowd(writers=5) as crowd:
            self.wait_acknowledged(crowd, 50)
        self.assert_only(crowd, "204")
        self.server.stop()
        self.server.start()
        self.assertNotIn("set aside", self.server.program.log)
        self.influxd.start()
        self.settle()
        self.assertEqual(1, len([path for path in self.server.state.glob("spool.db.damaged-*") if path.suffix != ""]))

    def test_overwritten(self) -> None:
        """A file of nonsense is set aside, which the log says, and the gateway begins a new one."""
        self.spool_something()
        self.server.stop()
        self.server.spool.write_bytes(random.Random(1).randbytes(50_000))
        self.assert_clean_start()

    def test_torn(self) -> None:
        """So is a file of which the end is missing."""
        self.spool_something()
        self.server.stop()
        os.truncate(self.server.spool, self.server.spool.stat().st_size // 2)
        self.assert_clean_start()

    def test_torn_log(self) -> None:
        """What a power cut tore at the end of the write-ahead log was never acknowledged: nothing else is lost."""
        self.spool_something()
        self.server.kill()
        with self.server.spool.with_name("spool.db-wal").open("ab") as log:
            log.write(random.Random(1).randbytes(3000))
        self.server.start()
        self.assertNotIn("set aside", self.server.log)
        self.influxd.start()
        self.settle()


def _fat_lines() -> bytes:
    """Points of a megabyte together."""
    now = time.time_ns()
    return b"\n".join(b'fat text="%s" %d' % (b"x" * 62_500, now + number) for number in range(16))
