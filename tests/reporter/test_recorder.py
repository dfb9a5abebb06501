"""From what an application records, in any thread, to lines for the disk."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogEvent, capturedLogs, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.errors import PointError
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.privacy import PrivacyRules
from torfluxd.reporter.recorder import GROUP_BYTES, NAMES_WARNED_OF, Recorder, RecorderCounts, Taken
from torfluxd.settings import FieldType, MeasurementSchema

NOON = 1_700_000_000_000_000_000
MINUTE = 60 * 10**9
START = NOON - NOON % MINUTE
HERE = Destination("telemetry")
LIMIT_BYTES = 4 * GROUP_BYTES
SCHEMA = {"m": MeasurementSchema({"os": ("linux",)}, {"f": FieldType("integer")})}


class RecorderCase(SynchronousTestCase):
    """A recorder, and what it calls."""

    def setUp(self) -> None:
        """Nothing is recorded yet."""
        self.calls: list[str] = []
        self.recorder = self.recorder_for()

    def recorder_for(self, limit_bytes: int = LIMIT_BYTES, **rules: Any) -> Recorder:
        """A recorder with these rules."""
        return Recorder(
            PrivacyRules(**{"granularity_ns": MINUTE, "key": b"k" * 16, **rules}),
            lambda: NOON,
            Random(1).random,
            lambda: self.calls.append("wake"),
            limit_bytes,
            HERE,
            lambda: self.calls.append("hurry"),
        )

    def taken(self) -> list[bytes]:
        """The lines that are taken, without their times; they are on disk then."""
        lines = []
        for taken in self.recorder.take():
            found = taken.batch.lines.split(b"\n")
            self.assertEqual(taken.batch.points, len(found))
            lines += [line.rpartition(b" ")[0] for line in found]
            taken.commit.resolve(True)
        return lines


class RecordTests(RecorderCase):
    """Points become lines, and wait."""

    def test_recorded(self) -> None:
        """What is recorded can be taken once, in its order, with times of its minute; those who wait hear of it."""
        commits = [self.recorder.record("m", {"f": number}, {"os": "linux"}) for number in range(3)]
        (taken,) = self.recorder.take()
        self.assertEqual((taken.batch.destination, taken.batch.points), (HERE, 3))
        for number, line in enumerate(taken.batch.lines.split(b"\n")):
            text, _, time = line.rpartition(b" ")
            self.assertEqual(text, b"m,os=linux f=%di" % number)
            self.assertTrue(START <= int(time) < START + MINUTE)
        self.assertEqual(self.recorder.take(), [])
        self.assertEqual({commit.outcome for commit in commits}, {None})
        taken.commit.resolve(True)
        self.assertEqual({commit.outcome for commit in commits}, {True})
        self.assertEqual(self.recorder.counts, RecorderCounts(recorded=3))

    def test_woken_once(self) -> None:
        """Whoever takes is called at the first line, and after he has taken at the next first line."""
        for _ in range(5):
            self.recorder.record("m", {"f": 1})
        self.assertEqual(self.calls, ["wake"])
        self.taken()
        self.recorder.record("m", {"f": 1})
        self.assertEqual(self.calls, ["wake", "wake"])

    def test_given_time(self) -> None:
        """A time that is given is made coarse, and the same each time, so that a point recorded twice is one point."""
        for time_ns in (NOON - 7 * MINUTE, 5, -5):
            for _ in range(5):
                self.recorder.record("m", {"f": 1}, {"os": "linux"}, time_ns)
            (taken,) = self.recorder.take()
            (line,) = set(taken.batch.lines.split(b"\n"))
            self.assertEqual(int(line.split(b" ")[-1]) // MINUTE, time_ns // MINUTE)

    def test_a_mistake(self) -> None:
        """A point that could never be written is refused, and leaves nothing behind."""
        for _ in range(3):
            self.recorder.record("m", {"f": 1.5})
            self.assertRaises(PointError, self.recorder.record, "m", {"f": float("nan")})
            self.assertRaises(PointError, self.recorder.record, "m", {"f": 1}, {"t": "a\nb"})
            self.assertRaises(PointError, self.recorder.record, "m", {"f": 1}, None, 2**63)
            self.assertRaises(TypeError, self.recorder.record, "m", [1])
            self.assertRaises(TypeError, self.recorder.record, "m", {"f": 1}, [1])
        self.assertEqual(self.taken(), [b"m f=1.5"] * 3)

    def test_groups(self) -> None:
        """Many points make several batches, none of them large, and none of the points is lost or doubled."""
        self.recorder = self.recorder_for(100 * GROUP_BYTES)
        for number in range(6000):
            self.recorder.record("m", {"f": number, "text": "é" * (number % 50)})
        batches = [taken.batch for taken in self.recorder.take()]
        self.assertGreater(len(batches), 3)
        self.assertTrue(all(len(batch.lines) <= GROUP_BYTES for batch in batches))
        lines = b"\n".join(batch.lines for batch in batches).split(b"\n")
        self.assertEqual([int(line[4 : line.index(b"i")]) for line in lines], list(range(6000)))

    @settings(max_examples=20)
    @given(st.lists(st.sampled_from(["quick", "text", "given", "lines", "take"]), max_size=60))
    def test_every_way_in(self, ways: list[str]) -> None:
        """Whatever way points come, and whenever they are taken: each is there once, and in its order."""
        self.recorder = self.recorder_for()
        expected, found = [], []
        for number, way in enumerate(ways):
            if way == "take":
                found += self.taken()
                continue
            line = b"m f=%di" % number
            if way == "quick":
                self.recorder.record("m", {"f": number})
            elif way == "text":
                self.recorder.record("m", {"f": number, "t": "é"})
                line += ',t="é"'.encode()
            elif way == "given":
                self.recorder.record("m", {"f": number}, None, NOON)
            else:
                self.recorder.record_lines(line)
            expected.append(line)
        self.assertEqual(found + self.taken(), expected)
        self.assertEqual(self.recorder.held_bytes, 0)


class MemoryTests(RecorderCase):
    """What is held is bounded."""

    def fill(self, points: int) -> list[Commit]:
        """Record so many points."""
        return [self.recorder.record("m", {"f": number}) for number in range(points)]

    def test_the_oldest_go_first(self) -> None:
        """When memory is full, the oldest points are dropped and counted, and those who wait for them hear it."""
        points = 20_000
        commits = self.fill(points)
        self.assertLessEqual(self.recorder.held_bytes, LIMIT_BYTES + GROUP_BYTES)
        lines = self.taken()
        counts = self.recorder.counts
        self.assertEqual((counts.recorded, counts.dropped), (points, points - len(lines)))
        self.assertEqual(lines, [b"m f=%di" % number for number in range(points - len(lines), points)])
        self.assertEqual(
            [commit.outcome for commit in commits], [False] * counts.dropped + [True] * (points - counts.dropped)
        )
        self.assertGreater(counts.dropped, 0)

    def test_what_is_on_its_way_counts(self) -> None:
        """Lines that were taken but are not on disk yet are in memory, too, and count."""
        self.fill(6000)
        taken = self.recorder.take()
        held = self.recorder.held_bytes
        self.assertEqual(held, sum(len(each.batch.lines) for each in taken))
        for each in taken:
            each.commit.resolve(True)
        self.assertEqual(self.recorder.held_bytes, 0)

    def test_called_before_it_is_full(self) -> None:
        """Whoever takes is called again when half of it is full, once."""
        self.fill(20_000)
        self.assertEqual(self.calls, ["wake", "hurry"])
        self.recorder.take()
        self.fill(20_000)
        self.assertEqual(self.calls, ["wake", "hurry"] * 2)

    def test_destinations_without_end(self) -> None:
        """Whoever makes up destinations has no more memory than others."""
        for number in range(20_000):
            self.recorder.record_lines(b"m f=1", Destination(f"{number}"))
            self.assertLessEqual(self.recorder.held_bytes, LIMIT_BYTES + 2 * GROUP_BYTES)


class ConsentTests(RecorderCase):
    """Nothing is recorded that is not allowed."""

    def test_not_allowed(self) -> None:
        """Without consent nothing is kept, nothing is counted, and nobody is called."""
        self.recorder.allowed = False
        commits = [self.recorder.record("m", {"f": 1}), self.recorder.record_lines(b"m f=1")]
        self.assertEqual([commit.outcome for commit in commits], [False, False])
        self.assertEqual((self.taken(), self.recorder.counts, self.calls), ([], RecorderCounts(), []))
        self.recorder.allowed = True
        self.recorder.record("m", {"f": 2})
        self.assertEqual(self.taken(), [b"m f=2i"])

    def test_withdrawn(self) -> None:
        """When consent is withdrawn, what is held is gone at once, and those who wait hear that it is."""
        for _ in range(3):
            commit = self.recorder.record("m", {"f": 1}, {"t": "secret"})
        other = self.recorder.record_lines(b"m f=1", Destination("other"))
        self.recorder.allowed = False
        self.assertEqual((commit.outcome, other.outcome, self.recorder.allowed), (False, False, False))
        self.assertEqual(self.recorder.record("m", {"f": 1}, {"t": "secret"}).outcome, False)
        self.recorder.allowed = True
        self.assertEqual((self.taken(), self.recorder.held_bytes), ([], 0))
        self.assertEqual(self.recorder.counts, RecorderCounts(recorded=4, dropped=4))


class WithheldTests(RecorderCase):
    """What may not leave."""

    def test_by_the_schema(self) -> None:
        """A point that the schema has no place for is counted, and whoever waits for it hears so at once."""
        self.recorder = self.recorder_for(schema=SCHEMA)
        with capturedLogs() as logs:
            for _ in range(3):
                self.assertIs(self.recorder.record("x", {"f": 1}).outcome, False)
                self.assertIs(self.recorder.record("m", {"g": 1}).outcome, False)
                self.recorder.record("m", {"f": 1, "g": 2}, {"os": "beos", "host": "a"})
        self.assertEqual(self.recorder.counts, RecorderCounts(recorded=3, withheld=6))
        self.assertEqual(self.taken(), [b"m,os=other f=1i"] * 3)
        told = Counter((event["what"], event["name"]) for event in logs)
        self.assertEqual(told, {("measurement", "x"): 1, ("field", "g"): 1, ("tag", "host"): 1})

    def test_names_of_people(self) -> None:
        """Without a schema the log says once of each name that it stays here, and never what it was."""
        with capturedLogs() as logs:
            for _ in range(3):
                self.recorder.record("m", {"f": 1}, {"host": "secret", "os": "linux"})
                self.recorder.record_lines(b"m,Host-Name=secret,user=secret f=1")
        self.assertEqual(self.taken(), [b"m,os=linux f=1i", b"m f=1"] * 3)
        self.assertEqual([event["name"] for event in logs], ["host", "hostname", "user"])
        self.assertNotIn("secret", repr(logs))

    def test_who_reads_the_log_may_record(self) -> None:
        """Whoever reads the log may record, and may wait for another thread that does."""

        def read(event: LogEvent) -> None:
            recording = threading.Thread(target=self.recorder.record, args=("log", {"lines": 1}))
            recording.start()
            recording.join(30)
            self.assertFalse(recording.is_alive())

        globalLogPublisher.addObserver(read)
        try:
            self.recorder.record("m", {"f": 1}, {"host": "a"})
        finally:
            globalLogPublisher.removeObserver(read)
        self.assertEqual(self.taken(), [b"m f=1i", b"log lines=1i"])

    def test_names_of_others(self) -> None:
        """Names that others made up, and that the schema does not know, are not in the log."""
        self.recorder = self.recorder_for(schema=SCHEMA)
        with capturedLogs() as logs:
            self.recorder.record_lines(b"secret f=1\nm,secret=1 f=1i,secret=2")
        self.assertEqual((self.taken(), list(logs)), ([b"m f=1i"], []))

    def test_names_without_end(self) -> None:
        """The log does not grow with the names that a program makes up."""
        self.recorder = self.recorder_for(schema=SCHEMA)
        with capturedLogs() as logs:
            for number in range(3 * NAMES_WARNED_OF):
                self.recorder.record(f"m{number}", {"f": 1})
        self.assertEqual(len(logs), NAMES_WARNED_OF)


class LinesTests(RecorderCase):
    """Lines that others wrote."""

    def times(self, taken: list[Taken]) -> list[int]:
        """The times of all lines."""
        return [int(line.split(b" ")[-1]) for each in taken for line in each.batch.lines.split(b"\n")]

    def test_one_time_for_one_write(self) -> None:
        """Lines without a time share one, as InfluxDB gives it, and no two writes have the same."""
        for _ in range(3):
            self.recorder.record_lines(b"m a=1\nm b=2")
        found = self.times(self.recorder.take())
        self.assertEqual(found[::2], found[1::2])
        self.assertEqual(len(set(found)), 3)

    def test_sent_again(self) -> None:
        """A client that sends its lines again because it heard nothing has them stored once."""
        for _ in range(2):
            self.recorder.record_lines(b"m,a=b f=1 %d\nm,a=c f=1 %d" % (NOON, NOON))
        (taken,) = self.recorder.take()
        lines = taken.batch.lines.split(b"\n")
        self.assertEqual(lines[:2], lines[2:])
        self.assertNotIn(b"%d" % NOON, taken.batch.lines)

    def test_who_is_dropped_does_not_collide(self) -> None:
        """Points that differed only in a name that stays here are still two points."""
        self.recorder.record_lines(b"m,host=a f=1 %d\nm,host=b f=1 %d" % (NOON, NOON))
        self.assertEqual(len(set(self.times(self.recorder.take()))), 2)

    def test_destinations(self) -> None:
        """Lines go where their writer wants them to, and each batch to one place."""
        there = Destination("there", "week")
        self.recorder.record("m", {"f": 1})
        self.recorder.record_lines(b"m f=2", there)
        self.recorder.record_lines(b"m f=3", HERE)
        self.recorder.record_lines(b"m f=4", there)
        found = {taken.batch.destination: taken.batch.points for taken in self.recorder.take()}
        self.assertEqual(found, {HERE: 2, there: 2})

    def test_blank_lines(self) -> None:
        """Where there is no line there is no point."""
        self.assertIs(self.recorder.record_lines(b"").outcome, False)
        self.recorder.record_lines(b"m f=1\n\nm f=2\n")
        self.assertEqual((self.taken(), self.recorder.counts), ([b"m f=1", b"m f=2"], RecorderCounts(recorded=2)))

    def test_a_large_write(self) -> None:
        """A write that fills several batches is on disk when all of them are."""
        commit = self.recorder.record_lines(b"\n".join(b"m f=%d" % number for number in range(7000)))
        first, *others = self.recorder.take()
        self.assertGreater(len(others), 0)
        for each in others:
            each.commit.resolve(True)
        self.assertIsNone(commit.outcome)
        first.commit.resolve(True)
        self.assertIs(commit.outcome, True)


class ThreadsTests(RecorderCase):
    """Many threads, and whoever interrupts them."""

    def test_eight_threads(self) -> None:
        """Eight threads record while a ninth takes: each point is there once, with a time of its own."""
        points, threads = 3000, 8
        self.recorder = self.recorder_for(1 << 30)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)  # so that they meet everywhere
        self.addCleanup(sys.setswitchinterval, interval)
        commits: dict[int, list[Commit]] = {thread: [] for thread in range(threads)}

        def work(thread: int) -> None:
            for number in range(points):
                fields: dict[str, Any] = {"f": number} if number % 10 else {"f": number, "t": "é"}
                tags = {"thread": f"{thread}"}
                commits[thread].append(self.recorder.record("m", fields, tags, None if number % 7 else NOON + number))

        working = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
        for each in working:
            each.start()
        taken: list[Taken] = []
        while any(each.is_alive() for each in working):
            taken += self.recorder.take()
        for each in working:
            each.join()
        taken += self.recorder.take()
        for one in taken:
            one.commit.resolve(True)
        lines = [line for one in taken for line in one.batch.lines.split(b"\n")]
        found = Counter(line.rpartition(b" ")[0].split(b",t=")[0] for line in lines)
        self.assertEqual(
            found,
            {b"m,thread=%d f=%di" % (thread, number): 1 for thread in range(threads) for number in range(points)},
        )
        self.assertEqual(len({line.rpartition(b" ")[2] for line in lines}), threads * points)
        self.assertEqual({commit.outcome for each in commits.values() for commit in each}, {True})
        self.assertEqual(self.recorder.counts, RecorderCounts(recorded=threads * points))

    def test_sealed_meanwhile(self) -> None:
        """When lines are taken in the very moment in which one is added, it is in them, or in the next ones."""
        recorder = self.recorder
        taken: list[Taken] = []

        class Lines(list[str]):
            """Lines of a group that is sealed before or after one is added."""

            def __init__(self, lines: list[str], before: bool) -> None:
                super().__init__(lines)
                self.before = before

            def append(self, line: str) -> None:
                """Add a line."""
                if self.before:
                    taken.extend(recorder.take())
                    super().append(line)
                else:
                    super().append(line)
                    taken.extend(recorder.take())

        for _ in range(3):
            recorder.record("m", {"f": 0})
        recorder.take()
        for number, before in enumerate((True, False, True, False)):
            recorder.record("m", {"f": 10 + number})
            recorder._group.lines = Lines(recorder._group.lines, before)
            commit = recorder.record("m", {"f": 20 + number})
            taken += recorder.take()
            found = {each.commit: each.batch.lines for each in taken[-2:]}
            self.assertIn(b"f=%di" % (20 + number), found[commit])
        lines = Counter(line.split(b" ")[1] for each in taken for line in each.batch.lines.split(b"\n"))
        self.assertEqual(lines, Counter(b"f=%di" % number for number in (10, 11, 12, 13, 20, 21, 22, 23)))

    def test_a_signal_handler(self) -> None:
        """A handler of a signal may record, also when it interrupts a recording in the same thread."""
        recorder = self.recorder
        self.addCleanup(signal.signal, signal.SIGALRM, signal.getsignal(signal.SIGALRM))
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        handled = 0

        def handle(number: int, frame: object) -> None:
            nonlocal handled
            handled += 1
            recorder.record("handler", {"f": handled})

        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        lines, recorded = [], 0
        while handled < 20:
            recorder.record("m", {"f": recorded})
            recorded += 1
            if recorded % 500 == 0:
                lines += self.taken()
        signal.setitimer(signal.ITIMER_REAL, 0)
        lines += self.taken()
        self.assertEqual(
            Counter(lines),
            Counter([b"m f=%di" % n for n in range(recorded)] + [b"handler f=%di" % (n + 1) for n in range(handled)]),
        )

    def test_a_fork(self) -> None:
        """A child begins with nothing, whoever held the lock in the parent, and with times of its own."""
        for _ in range(3):
            self.recorder.record("m", {"f": 1})
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with self.recorder._lock:
                held.set()
                done.wait(30)

        holding = threading.Thread(target=hold)
        holding.start()
        held.wait(30)
        try:
            self.recorder.reset_after_fork()
            self.assertEqual((self.recorder.counts, self.recorder.held_bytes), (RecorderCounts(), 0))
            for _ in range(50):
                self.recorder.record("m", {"f": 2})
        finally:
            done.set()
            holding.join()
        parent = self.recorder_for()
        for _ in range(50):
            parent.record("m", {"f": 2})
        times = [
            {line.split(b" ")[-1] for line in r.take()[0].batch.lines.split(b"\n")} for r in (self.recorder, parent)
        ]
        self.assertEqual(times[0] & times[1], set())
