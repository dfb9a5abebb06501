"""Tests for `torfluxd spool`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python import usage

from tests.delivery.disk_case import DiskCase
from tests.delivery.spool_suite import DESTINATION, counting
from torfluxd.boundaries import Batch, Destination, Refusal
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce
from torfluxd.delivery.schema import SPOOL_FILE
from torfluxd.delivery.spool_command import SpoolCommand, SpoolOptions
from torfluxd.errors import SpoolBrokenError, SpoolError, StateDirectoryError
from torfluxd.state import StateDirectory

TORFLUXD = str(Path(sys.executable).parent / "torfluxd")
OTHER = Destination("other", "ten days")


class SpoolCase(DiskCase):
    """A state directory in which a gateway has left a spool."""

    def setUp(self) -> None:
        """For two destinations something waits, of which the oldest since three hours; and there are two letters."""
        super().setUp()
        self.state = self.new_directory()
        now = time.time()
        spool = self.spool_at(now - 3 * 3600 - 12 * 60 - 5)
        self.put(spool, Batch(DESTINATION, b"cpu f=1 1", 1), Batch(DESTINATION, b"cpu f=2 2\ncpu f=3 3", 2))
        self.put(spool, Batch(OTHER, b'\x1b[2Jcpu f="\xc3\xa4\xff" 1\nx', 2))
        lease = self.successResultOf(spool.only(OTHER).lend())
        assert lease is not None
        self.successResultOf(lease.rejected("some", [Refusal(lease.batch.lines, 2, "field type conflict")]))
        self.put(spool, Batch(OTHER, b"y" * 500, 1))
        self.successResultOf(self.lend(spool).rejected("too old"))
        self.successResultOf(spool.close())

    def spool_at(self, seconds: float) -> DiskSpool:
        """The spool, opened at that time."""
        clock = Clock()
        clock.advance(seconds)
        opened: Deferred[DiskSpool] = DiskSpool.open(self.state / SPOOL_FILE, clock, AtOnce(), self.told.append)
        spool = self.successResultOf(opened)
        self.addCleanup(spool.close)
        return spool

    def run_it(self, *arguments: str) -> str:
        """Run the command; what it prints."""
        options = SpoolOptions()
        options.parseOptions([*arguments, "--state-dir", str(self.state)])
        command = SpoolCommand.from_options(options, {})
        out = io.StringIO()
        SpoolCommand(command.action, command.numbers, command.state_directory, command.as_json, out).run()
        return out.getvalue()


class ShowTests(SpoolCase):
    """`torfluxd spool show`."""

    def test_show(self) -> None:
        """She sees what waits for each destination and for how long, and each dead letter with its first line."""
        shown = self.run_it("show")
        self.assertRegex(shown, rf"telemetry +1 +2 +{counting(19)} +3h12m\n")
        self.assertRegex(shown, rf"other\.ten days +1 +1 +{counting(500)} +3h12m\n")
        self.assertRegex(
            shown, r"\n  1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  other\.ten days  2 points: field type conflict\n"
        )
        self.assertRegex(shown, r"\n  2  .* UTC  telemetry  1 point: too old\n      cpu f=1 1\n$")

    def test_harmless(self) -> None:
        """What strangers wrote cannot play with her terminal."""
        self.assertIn('\\x1b[2Jcpu f="ä\\xff" 1\n', self.run_it("show"))

    def test_cut(self) -> None:
        """A long line is cut to the width of the screen."""
        spool = self.spool_at(time.time())
        lease = self.successResultOf(spool.only(OTHER).lend())
        assert lease is not None
        self.successResultOf(lease.rejected("no"))
        self.successResultOf(spool.close())
        environment = {**os.environ, "COLUMNS": "60"}
        ended = self.run_program("show", environment=environment)
        self.assertEqual([len(line) for line in ended.stdout.splitlines() if "yyy" in line], [60])

    def test_json(self) -> None:
        """A script gets the same as one JSON object."""
        shown = json.loads(self.run_it("show", "--json"))
        [telemetry, other] = shown["waiting"]
        self.assertEqual(telemetry.pop("oldest_age_seconds") // 3600, 3)
        self.assertEqual(
            telemetry,
            {"database": "telemetry", "retention_policy": None, "batches": 1, "points": 2, "bytes": counting(19)},
        )
        self.assertEqual(other["retention_policy"], "ten days")
        [first, second] = shown["dead_letters"]
        self.assertEqual((first["number"], first["points"], first["reason"]), (1, 2, "field type conflict"))
        self.assertEqual((second["database"], second["first_line"]), ("telemetry", "cpu f=1 1"))

    def test_nothing_there(self) -> None:
        """Where there is no spool, or no state directory, there is nothing to show, and nothing is made."""
        self.state = self.new_directory()
        self.assertEqual(self.run_it("show"), "Nothing waits for InfluxDB.\n\nThere are no dead letters.\n")
        self.assertEqual(list(self.state.iterdir()), [])
        self.state /= "none"
        self.run_it("show")
        self.run_it("drop", "--all")
        self.assertFalse(self.state.exists())

    def test_damaged(self) -> None:
        """A damaged spool is named as such, and left alone."""
        (self.state / SPOOL_FILE).write_bytes(b"nonsense" * 1000)
        self.assertRaises(SpoolBrokenError, self.run_it, "show")
        self.assertEqual((self.state / SPOOL_FILE).read_bytes(), b"nonsense" * 1000)

    def run_program(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the program itself."""
        command = [TORFLUXD, "spool", *arguments, "--state-dir", str(self.state)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)

    def test_gateway_runs(self) -> None:
        """While the gateway runs the command is refused by its process id, in one line."""
        held = StateDirectory.claim(self.state)
        self.addCleanup(held.release)
        self.assertRaises(StateDirectoryError, self.run_it, "show")
        ended = self.run_program("retry", "1")
        self.assertEqual((ended.returncode, ended.stdout, len(ended.stderr.splitlines())), (1, "", 1))
        self.assertIn(f"in use by process {os.getpid()}", ended.stderr)

    def test_program(self) -> None:
        """The program does what it is told, says what is wrong in one line, and its help teaches."""
        self.assertEqual(self.run_program("drop", "2").stdout, "1 dead letter dropped for good.\n")
        wrong = self.run_program("mend")
        self.assertEqual((wrong.returncode, len(wrong.stderr.splitlines())), (64, 1))
        told = subprocess.run([TORFLUXD, "spool", "--help"], capture_output=True, text=True, check=True, timeout=60)
        for words in ("--all", "--json", "--state-dir", "dead letters", "show|retry|drop"):
            self.assertIn(words, told.stdout)


class LetterTests(SpoolCase):
    """`torfluxd spool retry` and `drop`."""

    def test_retry(self) -> None:
        """She has one sent again, or all: they wait when the gateway is started."""
        self.assertEqual(self.run_it("retry", "2"), "1 dead letter will be sent again when the gateway is started.\n")
        self.assertEqual(
            self.run_it("retry", "--all"), "1 dead letter will be sent again when the gateway is started.\n"
        )
        spool = self.spool_at(time.time())
        self.assertEqual((spool.counts.points, spool.dead_letters.batches), (6, 0))

    def test_drop(self) -> None:
        """She drops one, or all."""
        self.assertEqual(self.run_it("drop", "1"), "1 dead letter dropped for good.\n")
        self.assertEqual(self.run_it("drop", "--all"), "1 dead letter dropped for good.\n")
        self.assertIn("no dead letters", self.run_it("show"))

    def test_no_such_number(self) -> None:
        """A number that is none is named, and the others are dealt with."""
        error = self.assertRaises(SpoolError, self.run_it, "drop", "1", "77")
        self.assertIn("no dead letter 77", str(error))
        self.assertEqual(
            [letter["number"] for letter in json.loads(self.run_it("show", "--json"))["dead_letters"]], [2]
        )

    def test_what_is_meant(self) -> None:
        """What can be misunderstood is refused, and nothing is dropped for want of a number."""
        for arguments in (
            (),
            ("mend",),
            ("drop",),
            ("retry",),
            ("drop", "--all", "1"),
            ("drop", "one"),
            ("drop", "1.5"),
            ("drop", "0/5"),
            ("drop", "2/"),
            ("drop", "1", "--json"),
            ("show", "1"),
            ("show", "--all"),
            ("show", "--everything"),
        ):
            self.assertRaises(usage.UsageError, SpoolOptions().parseOptions, list(arguments))

    def test_workers(self) -> None:
        """With workers she sees what all of them have kept, and each letter has a name of its own."""
        worker = self.state / "worker-2"
        worker.mkdir()
        (self.state / SPOOL_FILE).rename(worker / SPOOL_FILE)
        spool = self.spool_at(time.time())
        self.put(spool, Batch(DESTINATION, b"cpu f=9 9", 4))
        self.successResultOf(spool.close())
        self.assertRegex(self.run_it("show"), r"telemetry +2 +6 +.* +3h12m\n")
        self.assertRegex(self.run_it("show"), r"\n  2/2  .* UTC  telemetry  1 point: too old\n")
        letters = json.loads(self.run_it("show", "--json"))["dead_letters"]
        self.assertEqual([(letter["worker"], letter["number"]) for letter in letters], [(2, 1), (2, 2)])
        error = self.assertRaises(SpoolError, self.run_it, "drop", "2/1", "2")
        self.assertIn("no dead letter 2 (", str(error))
        self.assertEqual(self.run_it("retry", "2/2"), "1 dead letter will be sent again when the gateway is started.\n")
        self.assertIn("no dead letters", self.run_it("show"))

    def test_where(self) -> None:
        """The spool is where the gateway has it: the option, the variable of the gateway, or the gateway's default."""
        options = SpoolOptions()
        options.parseOptions(["show"])
        for environment, expected in (
            ({"TORFLUXD_STATE_DIR": "/a", "STATE_DIRECTORY": "/b"}, "/a"),
            ({"STATE_DIRECTORY": "/b"}, "/b"),
        ):
            self.assertEqual(SpoolCommand.from_options(options, environment).state_directory, Path(expected))
