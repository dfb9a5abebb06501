"""Points of others, kept by a reporter."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.errors import SpoolBrokenError, SpoolFullError
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.keeping import HELD_BYTES, PART_BYTES, ReporterKeep

HERE = Destination("telemetry")
LINE = b"m v=%d 1600000000000000000"


class KeepingTests(SynchronousTestCase):
    """What a reporter is handed, and what is heard of it."""

    def setUp(self) -> None:
        """A reporter that commits when the test says so."""
        self.clock = Clock()
        self.handed: list[tuple[bytes, Destination]] = []
        self.commits: list[Commit] = []
        self.withheld = 0
        self.keep = ReporterKeep(self.record_lines, self.clock)

    def record_lines(self, lines: bytes, destination: Destination) -> Commit:
        """Take lines; each call is a commit of its own."""
        self.handed.append((lines, destination))
        if self.withheld:
            self.withheld -= 1
            return Commit.resolved(False)
        commit = Commit()
        self.commits.append(commit)
        return commit

    def resolve(self, outcome: bool | SpoolBrokenError = True) -> None:
        """Commit what was handed over."""
        commits, self.commits = self.commits, []
        for commit in commits:
            commit.resolve(outcome)

    def kept(self, lines: bytes) -> Deferred[bool]:
        """Have lines kept, with all turns that it takes."""
        kept = self.keep.keep(lines, HERE)
        self.clock.pump([0] * 300)
        return kept

    def test_when_it_is_on_disk(self) -> None:
        """It is kept when it is on the disk, and not earlier."""
        kept = self.kept(LINE % 1)
        self.assertNoResult(kept)
        self.resolve()
        self.assertTrue(self.successResultOf(kept))
        self.assertEqual(self.handed, [(LINE % 1, HERE)])

    def test_not_taken(self) -> None:
        """When the rules leave nothing of it, that is said; when they leave some, the rest is kept."""
        self.withheld = 1
        self.assertFalse(self.successResultOf(self.kept(LINE % 1)))
        many = b"\n".join(LINE % number for number in range(PART_BYTES // 20))
        self.withheld = 1
        kept = self.kept(many)
        self.resolve()
        self.assertTrue(self.successResultOf(kept))

    def test_no_room(self) -> None:
        """When it was taken, and then there was no room for it, it is not kept, and may be sent again."""
        kept = self.kept(LINE % 1)
        self.resolve(False)
        self.failureResultOf(kept, SpoolFullError)

    def test_broken(self) -> None:
        """When the disk fails, so does it, whichever part that was."""
        many = b"\n".join(LINE % number for number in range(PART_BYTES // 20))
        kept = self.kept(many)
        self.assertEqual(len(self.commits), 2)
        self.commits.pop(0).resolve(True)
        self.resolve(SpoolBrokenError("the disk is full"))
        self.failureResultOf(kept, SpoolBrokenError)

    def test_parts(self) -> None:
        """Many lines are handed over in parts of whole lines, and others have their turn between them."""
        lines = [LINE % number for number in range(20_000)]
        kept = self.keep.keep(b"\n".join(lines), HERE)
        self.assertEqual(len(self.handed), 1)
        self.clock.pump([0] * 300)
        self.resolve()
        self.assertTrue(self.successResultOf(kept))
        self.assertGreater(len(self.handed), 5)
        self.assertLessEqual(max(len(part) for part, _ in self.handed), PART_BYTES)
        self.assertEqual([line for part, _ in self.handed for line in part.split(b"\n")], lines)

    def test_a_long_line(self) -> None:
        """A line that is longer than a part is a part."""
        long = b'm s="%b" 5' % (b"x" * PART_BYTES)
        for lines in ([long], [LINE % 1, long], [long, LINE % 1], [LINE % 1, long, LINE % 2]):
            self.handed.clear()
            kept = self.kept(b"\n".join(lines))
            self.resolve()
            self.assertTrue(self.successResultOf(kept))
            self.assertEqual([line for part, _ in self.handed for line in part.split(b"\n")], lines)

    def test_room(self) -> None:
        """No more is handed over than a reporter can hold; the rest follows when that is on the disk."""
        body = b"\n".join(LINE % number for number in range(2 * HELD_BYTES // 28))
        kept = self.kept(body)
        handed = sum(len(part) for part, _ in self.handed)
        self.assertLessEqual(handed, HELD_BYTES)
        self.assertGreater(handed, HELD_BYTES - 2 * PART_BYTES)
        other = self.kept(LINE % 1)
        for _ in range(4):
            self.resolve()
            self.clock.pump([0] * 300)
        self.assertTrue(self.successResultOf(kept))
        self.resolve()
        self.assertTrue(self.successResultOf(other))
        self.assertEqual(self.handed[-1], (LINE % 1, HERE))

    def test_cancelled(self) -> None:
        """Who does not wait any longer keeps nobody else waiting."""
        body = b"\n".join(LINE % number for number in range(2 * HELD_BYTES // 28))
        kept = self.kept(body)
        kept.addErrback(lambda failure: None)
        kept.cancel()
        other = self.kept(LINE % 1)
        self.resolve()
        self.clock.pump([0] * 300)
        self.resolve()
        self.assertTrue(self.successResultOf(other))
