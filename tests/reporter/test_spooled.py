"""Tests for what a reporter keeps on disk: `torfluxd.reporter.home`, `claims`, `stock`."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs

from tests.reporter.case import REFUSED, UNAVAILABLE, ReporterCase
from tests.reporter.doubles import cut, keep_waiting
from torfluxd.delivery.schema import SCHEMA, SPOOL_FILE, open_file
from torfluxd.delivery.steps import RESERVE_BYTES
from torfluxd.errors import SpoolBrokenError
from torfluxd.reporter.claims import claim_free
from torfluxd.reporter.dispatch import COMMIT_SECONDS
from torfluxd.reporter.reporter import MAX_REPORT_BYTES, Reporter

DAY = 24 * 3600.0


class SpooledCase(ReporterCase):
    """Each reporter has the same state directory."""

    def setUp(self) -> None:
        """Tor is down."""
        self.state = self.new_directory() / "state"
        super().setUp()
        self.tor.is_up = False

    def reporter_for(self, **options: Any) -> Reporter:
        """A reporter with the state directory; it is killed after the test, unless it was before."""
        reporter = super().reporter_for(**{"state_dir": self.state, **options})
        self.addCleanup(self.kill, reporter)
        return reporter

    def kill(self, reporter: Reporter) -> None:
        """Its process ends, as if by `kill -9`: nothing of it happens any more, and the system takes back its locks."""
        home, dispatch = reporter._home, reporter._dispatch
        if dispatch is not None:
            dispatch.abandon()
        if home is not None and home._claim is not None and home._spool is not None:
            self.close_files(reporter)
            home._claim.release()
            home._claim = home._spool = None

    def close_files(self, reporter: Reporter) -> None:
        """Close the file of its spool, behind its back."""
        store = reporter._home._spool._ledger._store  # type: ignore[union-attr]
        if store is not None:
            store.close()

    def again(self) -> Reporter:
        """Another process begins, with tor up."""
        self.tor.is_up = True
        reporter = self.reporter_for()
        reporter.startService()
        return reporter

    def parts(self) -> list[str]:
        """The spools in the state directory."""
        return sorted(path.parent.name for path in self.state.glob(f"*/{SPOOL_FILE}"))

    def minutes(self, count: int) -> None:
        """Minutes pass, second by second."""
        for _ in range(count * 60):
            self.advance(1)


class SpooledTests(SpooledCase):
    """What is recorded survives."""

    def test_commit(self) -> None:
        """Within the commit interval a point is on disk, which whoever awaits it hears, and no earlier."""
        self.reporter.startService()
        commit = self.reporter.record("m", {"f": 1}).as_deferred()
        self.advance(COMMIT_SECONDS / 2)
        self.assertNoResult(commit)
        self.advance(COMMIT_SECONDS / 2)
        self.assertTrue(self.successResultOf(commit))
        self.kill(self.reporter)
        self.again()
        self.minutes(3)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_before_the_start(self) -> None:
        """What is recorded before the start is on disk soon after it."""
        commit = self.reporter.record("m", {"f": 1}).as_deferred()
        self.advance(10)
        self.assertNoResult(commit)
        self.reporter.startService()
        self.advance(COMMIT_SECONDS)
        self.assertTrue(self.successResultOf(commit))

    def test_three_kills(self) -> None:
        """Over three kills nothing is lost that was confirmed, and nothing comes twice."""
        for life in range(3):
            reporter = self.reporter_for()
            reporter.startService()
            for value in range(100):
                reporter.record("m", {"f": 100 * life + value})
            self.advance(COMMIT_SECONDS)
            reporter.record("m", {"f": -1})  # not confirmed, and lost
            self.kill(reporter)
        reporter = self.again()
        self.assertEqual(reporter.stats.pending, 300)
        self.minutes(5)
        values = sorted(int(value[2:-1]) for values in self.values_arrived() for value in values)
        self.assertEqual(values, list(range(300)))
        self.assertEqual((reporter.stats.pending, reporter.stats.delivered), (0, 300))

    def test_stop_and_restart(self) -> None:
        """What could not be sent before a stop is sent after the next start, of the same reporter or of another."""
        self.reporter.startService()
        self.record(1)
        with capturedLogs() as events:
            self.successResultOf(self.stop())
        self.assertEqual([event["points"] for event in events if "points" in event], [1])
        self.assertEqual(self.reporter.stats.pending, 1)
        self.reporter.startService()
        self.record(2)
        self.successResultOf(self.stop())
        stats = self.reporter.stats
        self.assertEqual((stats.recorded, stats.pending), (2, 2))
        self.again()
        self.minutes(3)
        self.assertEqual(sorted(self.values()), ["f=1i", "f=2i"])

    def test_stopped_at_once(self) -> None:
        """A program that records, and ends before the reporter has come to anything, loses nothing."""
        self.record(1)
        self.reporter.startService()
        self.successResultOf(self.stop())
        self.again()
        self.minutes(3)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_intervals_survive(self) -> None:
        """Also after a restart one report carries one interval."""
        self.reporter.startService()
        for value in range(3):
            self.record(value)
            self.end_interval()
        self.kill(self.reporter)
        self.again()
        self.minutes(4)
        self.assertEqual(self.values_arrived(), [["f=0i"], ["f=1i"], ["f=2i"]])

    def test_private(self) -> None:
        """Nobody but this user can look into the state directory."""
        self.reporter.startService()
        self.record(1)
        self.advance(1)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (self.state, *self.state.glob("spool-*"))}
        self.assertEqual(modes, {0o700})

    def test_reserve(self) -> None:
        """Room is reserved, so that what is kept can be sent, and forgotten, also when somebody else fills the disk."""
        self.reporter.startService()
        [reserve] = self.state.glob("*/*.reserve")
        self.assertEqual(reserve.stat().st_size, RESERVE_BYTES)

    def test_refused(self) -> None:
        """What InfluxDB refuses is set aside, and does not block what comes after it."""
        self.gateway.answers = [REFUSED]
        reporter = self.again()
        reporter.record("m", {"f": 1})
        self.minutes(2)
        reporter.record("m", {"f": 2})
        self.minutes(2)
        self.assertEqual((reporter.stats.rejected, reporter.stats.delivered), (1, 1))


class BoundsTests(SpooledCase):
    """The spool is bounded, oldest first."""

    def test_bytes(self) -> None:
        """In bytes."""
        self.reporter = self.reporter_for(keep_bytes=2 * MAX_REPORT_BYTES)
        self.reporter.startService()
        for value in range(1000):
            self.reporter.record("m", {"f": "x" * 1000, "n": value})
            self.advance(1)
        stats = self.reporter.stats
        self.assertEqual(stats.pending + stats.dropped, 1000)
        self.assertGreater(stats.pending, 300)
        self.assertLess(stats.pending * 1000, 2 * MAX_REPORT_BYTES)

    def test_points(self) -> None:
        """In points."""
        self.reporter = self.reporter_for(keep_points=10)
        self.reporter.startService()
        for value in range(15):
            self.record(value)
            self.advance(1)
        stats = self.reporter.stats
        self.assertEqual((stats.pending, stats.dropped), (10, 5))
        self.successResultOf(self.stop())
        self.again()
        self.minutes(3)
        self.assertEqual(sorted(self.values()), sorted(f"f={value}i" for value in range(5, 15)))

    def test_age(self) -> None:
        """In days, also when the application did not run meanwhile."""
        self.reporter.startService()
        self.record(1)
        self.advance(1)
        self.successResultOf(self.stop())
        self.clock.advance(61 * DAY)
        reporter = self.again()
        reporter.record("m", {"f": 2})
        self.minutes(3)
        self.assertEqual(self.values_arrived(), [["f=2i"]])
        self.assertEqual(reporter.stats.dropped, 1)


class SharedTests(SpooledCase):
    """Several processes have one state directory."""

    def test_parts(self) -> None:
        """Each has a part of its own, and neither waits for the other."""
        others = [self.reporter_for() for _ in range(3)]
        for value, reporter in enumerate(others):
            reporter.startService()
            reporter.record("m", {"f": value})
        self.advance(1)
        self.assertEqual(self.parts(), ["spool-0", "spool-1", "spool-2"])
        self.assertEqual([reporter.stats.pending for reporter in others], [1, 1, 1])

    def test_adopted(self) -> None:
        """What a process left that was killed, another one reports, which goes on or begins later, and once."""
        first, second = self.reporter_for(), self.reporter_for()
        for value, reporter in enumerate((first, second)):
            reporter.startService()
            reporter.record("m", {"f": value})
        self.advance(1)
        self.kill(second)
        self.tor.is_up = True
        self.minutes(4)
        self.assertEqual(sorted(self.values()), ["f=0i", "f=1i"])
        self.assertEqual(first.stats.delivered, 2)
        self.assertEqual(self.parts(), ["spool-0"])

    def test_adopted_from_those_that_stopped(self) -> None:
        """So it is with what a process left that ended in peace."""
        first, second = self.reporter_for(), self.reporter_for()
        for value, reporter in enumerate((first, second)):
            reporter.startService()
            reporter.record("m", {"f": value})
        self.successResultOf(self.stop(second))
        self.tor.is_up = True
        self.minutes(4)
        self.assertEqual(sorted(self.values()), ["f=0i", "f=1i"])

    def test_left_alone(self) -> None:
        """What a newer torfluxd wrote is left as it is; the reporter has another part, and says so."""
        claim = claim_free(self.state)
        assert claim is not None
        open_file(claim.spool_file, (*SCHEMA, "ALTER TABLE batch ADD COLUMN colour TEXT;")).close()
        claim.release()
        before = claim.spool_file.read_bytes()
        with capturedLogs() as events:
            self.reporter.startService()
        self.assertTrue(any("newer torfluxd" in event.get("sentence", "") for event in events))
        self.record(1)
        self.minutes(3)
        self.assertEqual(claim.spool_file.read_bytes(), before)
        self.assertEqual(self.parts(), ["spool-0", "spool-1"])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(min_value=1, max_value=5)),
        st.tuples(st.sampled_from(["flush", "advance"]), st.sampled_from([0.0, 1.0, 10.0, 60.0])),
        st.tuples(st.just("answer"), st.sampled_from([UNAVAILABLE, cut, keep_waiting])),
        st.tuples(st.sampled_from(["kill", "stop", "one more", "tor up", "tor down"]), st.none()),
    ),
    max_size=25,
)


class RandomLifeTests(SpooledCase):
    """Processes to which anything may happen, with one state directory."""

    def step(self, name: str, value: Any) -> None:
        """Do one thing."""
        reporter = self.lives[-1]
        if name == "record":
            for _ in range(value):
                self.number += 1
                commit = reporter.record("m", {"f": self.number})
                commit.as_deferred().addCallback(self.note, f"f={self.number}i")
        elif name == "advance":
            self.advance(value)
        elif name == "answer":
            self.gateway.answers.append(value)
        elif name.startswith("tor"):
            self.tor.is_up = name == "tor up"
        elif name == "flush":
            reporter.flush(value).addErrback(lambda failure: failure.trap(CancelledError))
            self.tor.pump()
        else:
            self.end(name, reporter)

    def note(self, kept: bool, value: str) -> None:
        """A commit is confirmed."""
        if kept:
            self.kept.append(value)

    def end(self, how: str, reporter: Reporter) -> None:
        """A process ends, or goes on beside the next."""
        if how == "kill":
            self.kill(reporter)
        elif how == "stop":
            self.stop(reporter)
            self.advance(6)
        self.lives.append(self.reporter_for())
        self.lives[-1].startService()

    @settings(deadline=None, max_examples=30)
    @given(steps=STEPS)
    def test_random_life(self, steps: list[tuple[str, Any]]) -> None:
        """Whatever happens, in the end everything arrived that was confirmed, and nothing with two times."""
        self.setUp()
        self.number = 0
        self.kept: list[str] = []
        self.lives = [self.reporter_for()]
        self.lives[0].startService()
        for name, value in steps:
            self.step(name, value)
        self.tor.is_up = True
        self.gateway.answers.clear()
        for _ in range(80):
            self.advance(10)
        self.assertEqual(self.lives[-1].stats.pending, 0)
        arrived = {line for lines in self.gateway.arrived for line in lines}
        values = [line.split()[1] for line in arrived]
        self.assertEqual(len(values), len(set(values)))
        self.assertEqual(set(self.kept) - set(values), set())
        for reporter in self.lives:
            self.kill(reporter)
        self.flushLoggedErrors(SpoolBrokenError)  # of those that were killed: here, they cannot be so at once


class TroubleTests(SpooledCase):
    """The disk is not there."""

    def setUp(self) -> None:
        """Where the state directory should be is a file."""
        super().setUp()
        shutil.rmtree(self.state)
        self.state.write_text("in the way")

    def test_in_memory(self) -> None:
        """Points are kept in memory and delivered; whoever awaits one hears that it is not on disk; the log says so
        once.
        """
        with capturedLogs() as events:
            reporter = self.again()
            commit = reporter.record("m", {"f": 1}).as_deferred()
            self.advance(1)
            self.failureResultOf(commit, SpoolBrokenError)
            self.assertEqual(reporter.stats.pending, 1)
            self.minutes(5)
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        told = [event["sentence"] for event in events if "sentence" in event]
        self.assertEqual(len(told), 1)
        self.assertIn(str(self.state), told[0])

    def test_it_comes_back(self) -> None:
        """When the directory can be used again, it is."""
        reporter = self.again()
        self.state.unlink()
        self.minutes(1)
        commit = reporter.record("m", {"f": 1}).as_deferred()
        self.advance(1)
        self.assertTrue(self.successResultOf(commit))

    def test_broken(self) -> None:
        """While the disk fails a flush does not say that all is delivered, and `trouble` says why; what was on disk is
        reported when it works again.
        """
        self.state.unlink()
        self.reporter.startService()
        self.record(1)
        self.advance(1)
        self.close_files(self.reporter)
        [path] = self.state.glob(f"*/{SPOOL_FILE}")
        with closing(sqlite3.connect(path, isolation_level=None)) as somebody_else:
            somebody_else.execute("PRAGMA locking_mode = EXCLUSIVE")
            somebody_else.execute("BEGIN EXCLUSIVE")
            self.tor.is_up = True
            flushed = self.flush(8)
            self.advance(8)
            self.assertFalse(self.successResultOf(flushed))
            self.assertIn("cannot be read or written", self.reporter.trouble)
            self.assertEqual(self.gateway.requests, [])
        self.minutes(1)
        self.assertEqual(self.values(), ["f=1i"])
        self.assertEqual(self.reporter.trouble, "")
        self.flushLoggedErrors(SpoolBrokenError)

    def test_damaged(self) -> None:
        """A damaged spool is set aside, and a new one begun."""
        self.state.unlink()
        self.reporter.startService()
        self.record(1)
        self.advance(1)
        self.successResultOf(self.stop())
        [path] = self.state.glob(f"*/{SPOOL_FILE}")
        path.write_bytes(b"no database" * 100)
        reporter = self.again()
        reporter.record("m", {"f": 2})
        self.minutes(3)
        self.assertEqual(self.values_arrived(), [["f=2i"]])
        self.assertTrue(list(Path(path.parent).glob("*.damaged-*")))
