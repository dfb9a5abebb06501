"""One process at a time launches a tor with one state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.launch_lock import LaunchLock

TAKES = (
    "import sys\nfrom pathlib import Path\nfrom torfluxd.reporter.launch_lock import LaunchLock\n"
    "print(LaunchLock.take(Path(sys.argv[1])) is not None)\n"
)

FORKS = """
import os, sys
from pathlib import Path
from torfluxd.reporter.launch_lock import LaunchLock

path = Path(sys.argv[1])
lock = LaunchLock.take(path)
child = os.fork()
if child == 0:
    wrong = lock.is_ours or LaunchLock.take(path) is not None
    lock.release()
    os._exit(wrong)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lock.is_ours, flush=True)
sys.stdin.readline()
"""
"""Takes it, has a child that wants it and gives it back in vain, and keeps it until it is told."""


class LaunchLockTests(SynchronousTestCase):
    """The right to launch."""

    def setUp(self) -> None:
        """Have a place for it, that is not there yet."""
        self.path = Path(self.enterContext(TemporaryDirectory())) / "state" / "tor.lock"

    def take(self) -> LaunchLock:
        """Take it."""
        lock = LaunchLock.take(self.path)
        assert lock is not None
        self.addCleanup(lock.release)
        return lock

    def another_process_gets_it(self) -> bool:
        """Whether another process would; it ends then, and so gives it back."""
        command = [sys.executable, "-c", TAKES, self.path]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return ended.stdout == "True\n"

    def test_one_at_a_time(self) -> None:
        """Neither another process nor another reporter of this one gets it, before it is released."""
        lock = self.take()
        self.assertIsNone(LaunchLock.take(self.path))
        self.assertFalse(self.another_process_gets_it())
        lock.release()
        self.assertTrue(self.another_process_gets_it())
        self.take()

    def test_a_child(self) -> None:
        """A child of the process that has it has no part in it: it does not keep it, give it back, or have it."""
        forking = subprocess.Popen(
            [sys.executable, "-c", FORKS, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with forking:
            assert forking.stdout is not None
            self.assertEqual(forking.stdout.readline(), "0 True\n")
            self.assertFalse(self.another_process_gets_it())
            forking.communicate("end\n")
        self.assertTrue(self.another_process_gets_it())

    def test_nobody_may_write(self) -> None:
        """A place that cannot be written is an error, and not a lock."""
        self.path.parent.touch()
        self.assertRaises(OSError, LaunchLock.take, self.path)
