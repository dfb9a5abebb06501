"""The state directory: one process, one directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import StateDirectoryError
from torfluxd.state import StateDirectory, check_state_directory, default_state_directory, home_directory


class DefaultTests(SynchronousTestCase):
    """Where state belongs when nobody says."""

    def test_systemd_comes_first(self) -> None:
        """The directory that systemd made is used, the first of several."""
        self.assertEqual(
            Path("/run/a"), default_state_directory({"STATE_DIRECTORY": "/run/a:/run/b"}, 0, Path("/root"))
        )

    def test_root_has_its_place(self) -> None:
        """Root's state is in /var/lib."""
        self.assertEqual(Path("/var/lib/torfluxd"), default_state_directory({}, 0, Path("/root")))

    def test_a_user_has_hers(self) -> None:
        """A user's state is where the XDG says; a relative XDG path is passed over, as the XDG wants it."""
        home = Path("/home/u")
        self.assertEqual(home / ".local/state/torfluxd", default_state_directory({}, 1000, home))
        self.assertEqual(Path("/x/torfluxd"), default_state_directory({"XDG_STATE_HOME": "/x"}, 1000, home))
        self.assertEqual(home / ".local/state/torfluxd", default_state_directory({"XDG_STATE_HOME": "x"}, 1000, home))

    def test_a_user_without_a_home(self) -> None:
        """A user who is but a number has no home, and needs none where systemd has made a directory."""
        self.patch(os, "environ", {"STATE_DIRECTORY": "/run/a"})
        self.patch(os, "getuid", lambda: 4_000_000_000)
        self.assertEqual(Path("/nonexistent"), home_directory())
        self.assertEqual(Path("/run/a"), default_state_directory(os.environ, 4_000_000_000, home_directory()))


class ClaimTests(SynchronousTestCase):
    """Having it for ourselves."""

    def setUp(self) -> None:
        """Begin in an empty directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.path = Path(temporary.name) / "some" / "where"

    def test_it_is_made_for_us_alone(self) -> None:
        """A missing directory is made, and nobody else can look into it."""
        StateDirectory.claim(self.path).release()
        self.assertEqual(0o700, self.path.stat().st_mode & 0o777)

    def test_the_second_is_refused_by_name(self) -> None:
        """A directory in use is refused, and the error names the process that uses it."""
        first = StateDirectory.claim(self.path)
        self.addCleanup(first.release)
        error = self.assertRaises(StateDirectoryError, StateDirectory.claim, self.path)
        self.assertIn(f"in use by process {os.getpid()}", str(error))

    def test_the_end_of_a_process_gives_it_back(self) -> None:
        """A process that is killed leaves no lock behind."""
        hold = "import sys, time; from pathlib import Path; from torfluxd.state import StateDirectory;"
        hold += "s = StateDirectory.claim(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", hold, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            self.assertEqual(b"held\n", process.stdout.readline())
            self.assertRaises(StateDirectoryError, StateDirectory.claim, self.path)
            process.kill()
            process.wait()
        StateDirectory.claim(self.path).release()

    def test_a_released_directory_can_be_had_again(self) -> None:
        """What is released can be claimed."""
        StateDirectory.claim(self.path).release()
        StateDirectory.claim(self.path).release()

    def test_what_cannot_be_written_is_refused_with_the_cure(self) -> None:
        """A directory that cannot be made is refused, and the error names the option."""
        self.path.parent.mkdir(parents=True)
        self.path.write_text("a file")
        error = self.assertRaises(StateDirectoryError, StateDirectory.claim, self.path)
        self.assertIn("--state-dir", str(error))

    def test_a_directory_that_others_can_write_is_refused(self) -> None:
        """Where others could put their files in the place of ours, we do not work."""
        self.path.mkdir(parents=True)
        for mode in (0o770, 0o1777):
            self.path.chmod(mode)
            self.assertIn("chmod go-w", str(self.assertRaises(StateDirectoryError, StateDirectory.claim, self.path)))

    def test_it_can_be_looked_at_beforehand(self) -> None:
        """Whether it could be claimed is known without making it, locking it, or asking who holds it."""
        new = self.path / "a" / "b"
        check_state_directory(new)
        self.assertFalse((self.path / "a").exists())
        self.addCleanup(StateDirectory.claim(new).release)
        check_state_directory(new)
        new.chmod(0o777)
        self.assertRaises(StateDirectoryError, check_state_directory, new)
        (self.path / "file").write_text("")
        self.assertRaises(StateDirectoryError, check_state_directory, self.path / "file" / "c")

    def test_a_file_is_written_whole(self) -> None:
        """A file in it appears whole, in the place of what was there before."""
        state = StateDirectory.claim(self.path)
        self.addCleanup(state.release)
        state.write("hostname", "a.onion\n")
        state.write("hostname", "b.onion\n")
        self.assertEqual("b.onion\n", (self.path / "hostname").read_text())
        self.assertEqual({"hostname", "lock"}, {entry.name for entry in self.path.iterdir()})
