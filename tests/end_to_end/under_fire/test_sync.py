"""What the kernel sees: lines are on the disk before their writer hears 204."""

from __future__ import annotations

import re
from pathlib import Path

from tests.end_to_end.under_fire.server import FireCase

WRITES = 100

CALLS = "trace=pwrite64,pwritev,write,writev,sendto,sendmsg,fsync,fdatasync"

SHOWN_BYTES = 8192
"""How much of each call strace shows: more than a page of SQLite, in which the lines are looked for."""


class SyncTests(FireCase):
    """The order of system calls, as strace sees it, while InfluxDB is away."""

    def test_sync_before_the_answer(self) -> None:
        """Each of 100 writes: the log of the spool with the line is synced, and only then its writer hears 204."""
        self.assertTrue(Path("/usr/bin/strace").exists(), "strace is missing: apt-get install strace")
        trace = self.directory / "trace"
        strace = ["strace", "-I2", "-f", "-y", "-s", str(SHOWN_BYTES), "-e", CALLS, "-o", str(trace)]
        self.server.wrapper = [*strace, "setpriv", "--pdeathsig", "KILL"]
        self.server.start()
        self.introduce()
        self.influxd.stop()
        writer = self.writer()
        for number in range(WRITES):
            self.assertEqual(204, writer.write(b"m v=1,marker=%d00%di" % (number + 1000, number + 1000)).status)
        self.server.stop()  # strace, which then has written all it saw; the kernel ends the gateway with it
        lines = trace.read_text().splitlines()
        self.assertEqual(WRITES, sum(_in_order(lines, number) for number in range(WRITES)))


def _in_order(lines: list[str], number: int) -> bool:
    """Whether the line of one write was written to the log, the log synced, and then 204 sent, as the next thing."""
    marker = f"marker={number + 1000}00{number + 1000}i"
    steps = (
        rf"pwrite(64|v)\(\d+<[^>]*/spool\.db-wal>.*{marker}",
        r"(fdatasync|fsync)\(\d+<[^>]*/spool\.db-wal>\) += 0|<\.\.\. (fdatasync|fsync) resumed>\) += 0",
        r'(write|writev|sendto|sendmsg)\(\d+<(TCP|socket):.*"HTTP/1\.1 204 ',
    )
    at = 0
    places = []
    for step in steps:
        found = next((place for place in range(at, len(lines)) if re.search(step, lines[place])), None)
        if found is None:
            return False
        places.append(found)
        at = found + 1
    written, _, answered = places
    return not any(re.search(steps[2], line) for line in lines[written:answered])
