"""Child processes and temporary directories that never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from torfluxd.children import Child, Keeper
from torfluxd.errors import ChildError

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]
PARENT = """
import sys
from pathlib import Path
from twisted.internet import reactor
from torfluxd.children import Keeper

keeper = Keeper()

def hold():
    pass

async def main():
    keeper.start(reactor)
    hold()
    directory = keeper.directory("children-test-")
    (directory / "file").touch()
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    children = [await keeper.spawn(str(number), sleep, directory / "log") for number in range(3)]
    print(directory, keeper.transport.pid, *[child.pid for child in children], flush=True)

from twisted.internet.defer import Deferred
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.addSystemEventTrigger("before", "shutdown", lambda: keeper.stop())
reactor.run()
"""
"""A program that starts three children and waits."""

HOLDING_PARENT = PARENT.replace(
    "    pass\n",
    """
    import os, time
    directory = keeper.directory("held-")
    if os.fork() == 0:
        os.close(1)
        give_up = time.monotonic() + 30
        while directory.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        os._exit(0)
""",
)
"""It has another child, not of the keeper's, that holds its pipes open until everything is gone."""

GONE_SECONDS = 10.0


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def comes_to_pass(condition: Callable[[], bool]) -> bool:
    """Whether something that the kernel does comes to pass."""
    deadline = time.monotonic() + GONE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class KeeperCase(TestCase):
    """A keeper, and a directory for logs."""

    def setUp(self) -> None:
        """Start it."""
        self.keeper = Keeper()
        self.keeper.start(reactor)
        self.addCleanup(self.keeper.stop)
        self.directory = self.keeper.directory("children-test-")

    async def spawned(self, name: str, argv: list[str]) -> Child:
        """A child."""
        return await self.keeper.spawn(name, argv, self.directory / name)


class KeeperTests(KeeperCase):
    """In good order."""

    async def test_stopping_ends_children_and_removes_directories(self) -> None:
        """After a stop no child and no directory is left."""
        children = [await self.spawned(str(number), SLEEP) for number in range(5)]
        await self.keeper.stop()
        self.assertEqual([False] * 5, [is_running(child.pid) for child in children])
        self.assertFalse(self.directory.exists())
        self.assertEqual([-signal.SIGTERM] * 5, [await child.when_ended() for child in children])

    async def test_a_child_that_does_not_want_to_end_is_killed(self) -> None:
        """A child that ignores SIGTERM is killed after its grace."""
        child = await self.spawned("stubborn", STUBBORN)
        self.assertTrue(comes_to_pass(lambda: bool((self.directory / "stubborn").read_text())))  # it ignores the signal
        begun = time.monotonic()
        await self.keeper.stop()
        self.assertLess(time.monotonic() - begun, GONE_SECONDS)
        self.assertFalse(is_running(child.pid))

    async def test_what_a_child_started_ends_as_well(self) -> None:
        """A child's own children end with it."""
        shell = await self.spawned("shell", ["sh", "-c", "sleep 600 & echo $!; wait"])
        log = self.directory / "shell"
        self.assertTrue(comes_to_pass(lambda: bool(log.read_text().strip())))
        grandchild = int(log.read_text())
        await self.keeper.stop()
        self.assertEqual([False, False], [is_running(shell.pid), is_running(grandchild)])

    async def test_the_end_of_a_child_is_told(self) -> None:
        """Whoever waits for a child hears its exit code; its output is in its log."""
        child = await self.spawned("child", [sys.executable, "-c", "print('hello'); raise SystemExit(7)"])
        self.assertEqual(7, await child.when_ended())
        self.assertEqual(7, child.exit_code)
        self.assertEqual("hello\n", (self.directory / "child").read_text())

    async def test_a_child_can_be_sent_a_signal(self) -> None:
        """A child gets the signal that it is sent; one that has ended gets none."""
        child = await self.spawned("child", ["sleep", "600"])  # a Python may still be starting, and end by itself
        child.signal(signal.SIGINT)
        self.assertEqual(-signal.SIGINT, await child.when_ended())
        child.signal(signal.SIGINT)

    async def test_a_program_that_is_not_there_is_an_error(self) -> None:
        """What cannot be started is an error that says why."""
        error = await self.assertFailure(self.keeper.spawn("x", ["/nowhere"], self.directory / "x"), ChildError)
        self.assertIn("No such file", str(error))

    async def test_many_children_are_no_trouble(self) -> None:
        """Dozens of children, some of which end by themselves, are all told of, and none is left."""
        quick = [await self.spawned(f"quick{number}", ["true"]) for number in range(20)]
        slow = [await self.spawned(f"slow{number}", ["sleep", "600"]) for number in range(20)]
        self.assertEqual([0] * 20, [await child.when_ended() for child in quick])
        await self.keeper.stop()
        self.assertEqual([-signal.SIGTERM] * 20, [await child.when_ended() for child in slow])

    async def test_what_a_child_leaves_behind_when_it_ends_is_ended(self) -> None:
        """When a child ends by itself, what it started and left running ends too."""
        shell = await self.spawned("shell", ["sh", "-c", "sleep 600 & echo $!"])
        self.assertEqual(0, await shell.when_ended())
        left = int((self.directory / "shell").read_text())
        self.assertTrue(comes_to_pass(lambda: not is_running(left)))

    async def test_a_child_has_nothing_of_ours(self) -> None:
        """A child's input is empty, its environment is what it is given, and no file of ours is open in it."""
        show = "import os; print(os.read(0, 1), os.environ.get('WORD'), sorted(os.listdir('/proc/self/fd')))"
        env = {**os.environ, "WORD": "given"}
        child = await self.keeper.spawn("child", [sys.executable, "-c", show], self.directory / "child", env)
        await child.when_ended()
        # 3 is the listing's own.
        self.assertEqual("b'' given ['0', '1', '2', '3']\n", (self.directory / "child").read_text())

    async def test_a_directory_is_private(self) -> None:
        """A temporary directory is for its owner alone, and each call makes another."""
        other = self.keeper.directory("children-test-")
        self.assertNotEqual(self.directory, other)
        self.assertEqual([0o700] * 2, [path.stat().st_mode & 0o777 for path in (other, other.parent)])

    async def test_stopping_twice_is_stopping_once(self) -> None:
        """A second stop, during the first and after it, does no harm; nothing starts any more."""
        child = await self.spawned("child", SLEEP)
        first, second = self.keeper.stop(), self.keeper.stop()
        late = self.spawned("late", SLEEP)
        await self.assertFailure(Deferred.fromCoroutine(late), ChildError)
        await first
        await second
        await self.keeper.stop()
        self.assertFalse(is_running(child.pid))

    async def test_a_killed_keeper_takes_its_children_along(self) -> None:
        """Should the keeper itself be killed, the kernel ends its children, and their end is told."""
        child = await self.spawned("child", SLEEP)
        assert self.keeper.transport is not None
        os.kill(self.keeper.transport.pid, signal.SIGKILL)
        await child.when_ended()
        self.assertTrue(comes_to_pass(lambda: not is_running(child.pid)))
        late = self.keeper.spawn("late", SLEEP, self.directory / "late")
        error = await self.assertFailure(late, ChildError)
        self.assertIn("has ended", str(error))
        await self.keeper.stop()
        self.assertFalse(self.directory.exists())


class ParentTests(TestCase):
    """However the parent ends."""

    def ended_by(
        self, number: signal.Signals, program: str = PARENT, cwd: Path | None = None, whole_group: bool = False
    ) -> None:
        """The parent, or its whole process group, gets this signal; then nothing of it is left."""
        command = [sys.executable, "-P", "-c", program]
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd, start_new_session=True)
        self.addCleanup(parent.communicate)
        self.addCleanup(parent.kill)
        assert parent.stdout is not None
        directory, *pids = parent.stdout.readline().split()
        self.assertTrue(all(is_running(int(pid)) for pid in pids))
        self.assertNotIn(parent.pid, [os.getsid(int(pid)) for pid in pids])  # Ctrl-C is for the parent alone
        if whole_group:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        parent.wait(GONE_SECONDS)
        self.assertTrue(comes_to_pass(lambda: not any(is_running(int(pid)) for pid in pids)))
        self.assertTrue(comes_to_pass(lambda: not Path(directory).exists()))

    def test_a_kill_of_the_parent_leaves_nothing(self) -> None:
        """Kill -9 of the parent leaves no process and no directory."""
        self.ended_by(signal.SIGKILL)

    def test_ctrl_c_leaves_nothing(self) -> None:
        """Ctrl-C, which a terminal sends to all that it sees, leaves no process and no directory."""
        self.ended_by(signal.SIGINT, whole_group=True)

    def test_sigterm_leaves_nothing(self) -> None:
        """SIGTERM leaves no process and no directory."""
        self.ended_by(signal.SIGTERM)

    def test_a_kill_leaves_nothing_even_when_the_pipe_stays_open(self) -> None:
        """Kill -9 of a parent whose other child holds the pipe to the keeper open leaves nothing as well."""
        self.ended_by(signal.SIGKILL, program=HOLDING_PARENT)

    def test_what_lies_in_the_working_directory_is_not_run(self) -> None:
        """A Python file in the directory where we are started, whatever its name, is not taken for the keeper's own."""
        with tempfile.TemporaryDirectory() as name:
            Path(name, "json.py").write_text("raise SystemExit('this was not to be run')")
            self.ended_by(signal.SIGTERM, cwd=Path(name))
