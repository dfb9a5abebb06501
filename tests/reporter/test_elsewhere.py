"""The reporter runs where its applications do, also where there is little of a Unix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.reporter import elsewhere
from tests.reporter.raw_socks import RawSocks

LIMIT_SECONDS = 120


class ElsewhereTests(SynchronousTestCase):
    """Without unix sockets, `fcntl`, `pwd` and `fork`."""

    def run_elsewhere(self, *arguments: str) -> str:
        """Run the program there; what it says."""
        command = [sys.executable, "-m", elsewhere.__name__, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
        self.assertEqual((ended.returncode, ended.stderr), (0, ""), ended.stdout)
        return ended.stdout

    def test_reports(self) -> None:
        """A reporter imports, records, keeps its points and reports them on a platform that has none of these."""
        socks = RawSocks(self.addCleanup)
        state = Path(self.enterContext(TemporaryDirectory())) / "state"
        self.assertEqual(self.run_elsewhere(socks.description, str(state)), "flushed\n")
        bodies = [request.partition(b"\r\n\r\n")[2] for request in socks.requests]
        lines = [line for body in bodies for line in body.split(b"\n") if line and not line.startswith(b"#")]
        self.assertEqual([line.split()[1] for line in lines], [b"f=1i", b"f=2i"])
