"""What hostile people send: the named cases, one by one and, in hundreds of ways, broken further."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzzing.allowed import faults_of
from tests.fuzzing.arena import Arena, Door, Said, targets
from tests.fuzzing.corpus import CASES, DICTIONARY
from tests.fuzzing.mutations import encoded, visit

LONGEST_BYTES = 4096
"""Cases that are longer are about their length, which mutations leave as it is, at some cost."""

_SHORT = [encoded(case)[2:] for case in CASES if len(case.data) < LONGEST_BYTES]


class ArenaCase(SynchronousTestCase):
    """A gateway in memory."""

    def setUp(self) -> None:
        """Begin with a new one."""
        self.arena = Arena()
        self.addCleanup(self.arena.close)


class CasesTests(ArenaCase):
    """The named cases."""

    def test_there_are_many(self) -> None:
        """There are sixty of them at least, each with a name of its own."""
        self.assertGreaterEqual(len({case.name for case in CASES}), 60)
        self.assertEqual(len(CASES), len({case.name for case in CASES}))

    def test_each_is_answered(self) -> None:
        """Each is answered as it deserves, and InfluxDB sees of it what is named, and nothing else."""
        for case in CASES:
            outcome = self.arena.send(case.data, case.door)
            self.assertEqual(
                ([*case.statuses], [*case.lines], []), (outcome.statuses, outcome.lines, outcome.broken), case.name
            )

    def test_each_in_pieces(self) -> None:
        """Each is answered the same however the network cuts it."""
        for case in CASES:
            if len(case.data) < LONGEST_BYTES:
                for piece in (1, 7):
                    outcome = self.arena.send(case.data, case.door, piece=piece)
                    self.assertEqual(([*case.statuses], []), (outcome.statuses, outcome.broken), (case.name, piece))

    def test_whatever_influxdb_says(self) -> None:
        """Whatever InfluxDB answers, none of them makes a traceback, and InfluxDB sees nothing else of them."""
        for case in CASES:
            for said in Said:
                outcome = self.arena.send(case.data, case.door, said)
                self.assertEqual([], outcome.broken, (case.name, said))
                self.assertEqual({*case.lines}, {*outcome.lines}, (case.name, said))

    def test_a_flood_is_limited_here_too(self) -> None:
        """Whoever floods, visit after visit, is slowed, refused and closed: the limits are in the way of mutations."""
        flood = b"PROXY TCP6 fc00:dead:beef:4dad::0:1c ::1 28 80\r\n" + b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n" * 120
        visits = [self.arena.send(flood, Door.CIRCUIT) for _ in range(12)]
        self.assertEqual([], [visit.broken for visit in visits if visit.broken])
        self.assertEqual({204}, set(visits[0].statuses))
        self.assertIn(503, {status for visit in visits for status in visit.statuses})
        self.assertIn([28], [visit.circuits_closed for visit in visits])


class MutationTests(ArenaCase):
    """The named cases, broken further."""

    @settings(max_examples=700)
    @given(
        base=st.sampled_from(_SHORT),
        edits=st.lists(
            st.tuples(
                st.integers(0, LONGEST_BYTES),
                st.integers(0, 40),
                st.one_of(st.sampled_from(DICTIONARY), st.binary(max_size=12), st.sampled_from(_SHORT)),
            ),
            min_size=1,
            max_size=5,
        ),
        choice=st.integers(0, 3 * len(Said) - 1),
        how=st.integers(0, 255),
    )
    def test_requests(self, base: bytes, edits: list[tuple[int, int, bytes]], choice: int, how: int) -> None:
        """However a case is broken, nothing reaches InfluxDB that may not, and there is no traceback."""
        for place, removed, inserted in edits:
            at = place % (len(base) + 1)
            base = base[:at] + inserted + base[at + removed :]
        visit(self.arena, bytes((choice, how)) + base)

    @settings(max_examples=700)
    @given(
        pieces=st.lists(
            st.one_of(
                st.sampled_from([b"m", b",", b"=", b" ", b'"', b"\\", b"\n", b"1", b"1i", b"t", b"#", b"time", b"\t"]),
                st.sampled_from([b"m v=1 1\n", b'm v="a" 1\n', b",a=b", b" v=1", b"\xc3\xa9", b"\xc3", b"\x00", b"\r"]),
            ),
            max_size=30,
        ),
        at=st.integers(0, len(targets) - 1),
    )
    def test_lines(self, pieces: list[bytes], at: int) -> None:
        """Whatever is made of the pieces of line protocol, only points with a time reach InfluxDB."""
        outcome = self.arena.send(b"".join(pieces), Door.LINES, at=at)
        self.assertEqual([], outcome.broken)
        self.assertIn(outcome.statuses, [[204], [400]])


class AllowedTests(SynchronousTestCase):
    """What the tests themselves allow to reach InfluxDB."""

    HEAD = b"POST /write?db=a&precision=ns HTTP/1.1\r\nHost: 127.0.0.1:8086\r\nContent-Length: %d\r\n\r\n%b"

    def test_good(self) -> None:
        """A write of ours is allowed."""
        for line in (b"m v=1 1", b'm,a=b,c=d\\ e v=1.5e3,w=-2i,x="a \\" b",y=true -1', b"m\\,n \tv=1 \t1"):
            self.assertEqual([], faults_of(self.HEAD % (len(line), line)), line)

    def test_bad(self) -> None:
        """Anything else is told: another request, a wrong length, and each kind of bad line."""
        for line in (
            *(b"", b"m v=1", b"m v=1 x", b"m v=1 9223372036854775807", b"m v=9223372036854775808i 1", b"m v=1e999 1"),
            *(b"m v=NaN 1", b'm v="a 1', b'm v="a"b 1', b"m\x00 v=1 1", b"m\xff v=1 1", b"m v=1 1\r", b"#m v=1 1"),
            *(b"m\\\\,a=b v=1 1", b'm a="",c,b="x=t 1', b"m v=1 1\n", b"m v=1 1\n\nn v=1 1", b" m v=1 1", b"m v=+1 1"),
        ):
            self.assertNotEqual([], faults_of(self.HEAD % (len(line), line)), line)
        for request in (
            b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1:8086\r\n\r\n",
            self.HEAD % (8, b"m v=1 1"),
            (self.HEAD % (7, b"m v=1 1")).replace(b"db=a", b"db=a b"),
            (self.HEAD % (7, b"m v=1 1")).replace(b"\r\n\r\n", b"\r\nCookie: a\r\n\r\n"),
        ):
            self.assertNotEqual([], faults_of(request), request)
