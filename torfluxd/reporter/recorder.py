"""Recording: from what an application says, in any thread, to lines that wait for the disk.

It is what an application pays for its telemetry, so it is made to cost little: no reactor, no Deferred, no disk. Lines
gather in groups; a group is sealed when it is large enough, and all are taken away when the time has come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from random import SystemRandom
from threading import RLock
from typing import Final, TypeVar

from attrs import define, field, frozen
from twisted.logger import Logger

from torfluxd.boundaries import Batch, Destination
from torfluxd.influx.line import MAX_TIME_NS, FieldValue, Point, encode_point
from torfluxd.reporter.chance import Chance
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.disclosure import Disclosure, plain_personal_name
from torfluxd.reporter.forms import Forms
from torfluxd.reporter.lines import GivenLines
from torfluxd.reporter.privacy import MAX_GRANULARITY_NS, PrivacyRules

__all__ = ["GROUP_BYTES", "Recorder", "RecorderCounts", "Taken"]

GROUP_BYTES: Final = 64 * 1024
"""When a group is sealed: to join its lines takes some 50 microseconds, in which nobody else runs. It is some 700
points, and never more than 3000."""

HURRY_BYTES: Final = 4 * GROUP_BYTES
"""How much is held before it is to be taken at once: at 100 000 points a second forty times in it, each of which costs
the thread that takes less than half a millisecond. What waited for a second would cost it many at once."""

FORMS_KEPT: Final = 1024
MAX_FORM_CHARACTERS: Final = 1024
"""How many forms are remembered, and how long their names and tags are at most. A program has tens of them, times the
values of its tags; one that makes up values without end is slower for it, and does not grow."""

ASIDE_POINTS: Final = 1000
"""How many points are put aside until the next time that lines are taken: a second's worth of signals."""

SURE_TIME_NS: Final = MAX_TIME_NS - MAX_GRANULARITY_NS
"""Earlier times are such that InfluxDB can store, and are so when they have been made coarse."""

NAMES_WARNED_OF: Final = 100
"""After so many names that stayed here the log has said enough."""

_T = TypeVar("_T")
_Key = tuple[str | tuple[str, str], ...]
"""What tells the form of a point: the measurement, the tags, the names of the fields."""

_NO_TAGS: Final[Mapping[str, str]] = {}

_log = Logger()


@frozen
class Taken:
    """Lines to be put on disk.

    :ivar batch: the lines, at most `GROUP_BYTES`; hardly more when many threads record at once.
    :ivar commit: to be resolved when that is done, or has failed. Until then they count as held in memory.
    """

    batch: Batch
    commit: Commit


@frozen
class RecorderCounts:
    """How many points there were.

    :ivar recorded: lines made, and kept at first.
    :ivar withheld: of which nothing might leave, by the schema or for their names.
    :ivar dropped: of those recorded, given up before they were taken, because memory was full.
    """

    recorded: int = 0
    withheld: int = 0
    dropped: int = 0


@define(eq=False)
class _Group:
    """Lines that go to disk together.

    :ivar room_bytes: for how much there still is room. For none as long as nobody was called to take it.
    :ivar sealed_points: how many lines were in it when it was sealed. What came later is not in it.
    """

    destination: Destination
    commit: Commit
    room_bytes: int = 0
    lines: list[str] = field(factory=list)
    sealed_points: int | None = None


class Recorder:
    """Makes lines of points, and holds them until they are taken to the disk.

    All but :meth:`take` and the setter of :attr:`allowed` may be called from any thread, and :meth:`record` also from
    one that was interrupted in the middle of it, as by a signal handler.

    :param rules: what points may tell.
    :param now_ns: the wall clock: nanoseconds since 1970.
    :param chance: a number from 0 to 1, evenly spread. It is asked under a lock, and need not be safe by itself.
    :param wake: called when there is a first line to take. From any thread.
    :param limit_bytes: how much line protocol is held, taken but not yet committed lines among it; more than twice
        `GROUP_BYTES`. What is above it is dropped, the oldest first.
    :param destination: where recorded points go.
    :param hurry: called when `HURRY_BYTES` are held, or half the limit: to wait any longer would make one commit too
        much work, or cost points. From any thread.
    """

    def __init__(
        self,
        rules: PrivacyRules,
        now_ns: Callable[[], int],
        chance: Chance,
        wake: Callable[[], None],
        limit_bytes: int,
        destination: Destination,
        hurry: Callable[[], None] = lambda: None,
    ) -> None:
        self._rules = rules
        self._now_ns = now_ns
        self._chance = chance
        self._wake = wake
        self._limit_bytes = limit_bytes
        self._hurry_bytes = min(limit_bytes // 2, HURRY_BYTES)
        self._destination = destination
        self._hurry = hurry
        self._allowed = True
        self._withheld = Commit.resolved(False)
        self._warned: set[tuple[str, str]] = set()
        self._begin()

    def _begin(self) -> None:
        self._lock = RLock()
        self._busy = False
        rules = self._rules
        self._times = rules.times(self._now_ns, self._chance)
        self._quick_now = self._times.quick_now
        disclosure = Disclosure(rules.schema, rules.declared_tags, self._stays)
        self._forms = Forms(disclosure, self._times, self._chance, rules.key, self._stays)
        self._quick = self._forms.quick
        given = Disclosure(rules.schema, rules.declared_tags, self._given_stays)
        self._given = GivenLines(given, self._times, self._chance, rules.key)
        self._recorded = self._withheld_points = self._dropped = 0
        self._due: deque[Callable[[], object]] = deque()
        self._hold_nothing()

    def _hold_nothing(self) -> None:
        self._forms.forget()
        self._group = self._new_group(self._destination)  # where recorded points go
        self._others: dict[Destination, _Group] = {}
        self._others_bytes = 0
        self._sealed: deque[Taken] = deque()
        self._given_up: list[Commit] = []
        self._sizes: dict[Commit, int] = {}
        self._held_bytes = 0
        self._is_awake = self._is_hurried = False
        self._aside: deque[tuple[Point, Commit]] = deque()

    def _new_group(self, destination: Destination, room_bytes: int = 0) -> _Group:
        return _Group(destination, Commit(self._committed), room_bytes)

    def record(
        self,
        measurement: str,
        fields: Mapping[str, FieldValue],
        tags: Mapping[str, str] | None = None,
        time_ns: int | None = None,
    ) -> Commit:
        """Record a point. Returns at once.

        :param measurement: what was measured.
        :param fields: the values, at least one.
        :param tags: what the point is found by.
        :param time_ns: nanoseconds since 1970, or None for now. Either is made coarse.
        :returns: what becomes of it.
        :raises PointError: this point could never be written, wherever and whenever: a mistake in the program.
        :raises TypeError: `fields` or `tags` is no mapping: the same.
        """
        # Every recording comes along here: measure what you change. It takes no lock, which would cost a tenth. Other
        # threads, and signal handlers, come in at any place; what is in a group is there before the group is changed.
        group = line = None
        try:
            write, given = self._quick[(measurement, *tags.items(), *fields) if tags else (measurement, *fields)]
            if time_ns is None or _is_sure_time(time_ns):
                line = write(fields, self._quick_now() if time_ns is None else given(time_ns))
                group = self._group
                if line is not None and (room := group.room_bytes - len(line) - 1) >= 0:
                    group.room_bytes = room
                    group.lines.append(line)
                    if group is self._group:
                        return group.commit
                else:
                    group = None
        except (KeyError, TypeError, AttributeError, IndexError):
            pass  # and nothing else is done in here: the error holds values, and no other is to lead to it
        if group is not None and line is not None and self._is_in(group, line):
            return group.commit
        return self._record_otherwise(measurement, fields, tags, time_ns)

    def record_lines(self, lines: bytes, destination: Destination | None = None) -> Commit:
        """Record lines that somebody else has written.

        Nothing that is in them gets into a log or an error.

        :param lines: line protocol that a gateway would take (:mod:`torfluxd.influx.check`), with times in nanoseconds
            or without. Those without share one time, as they do in InfluxDB, which is nobody else's.
        :param destination: where they go; None for where recorded points go.
        :returns: what becomes of them all: True when all that may leave are on disk. It is resolved with False at once
            when nothing of them may leave.
        """
        destination = destination or self._destination
        commits: dict[Commit, None] = {}
        with self._alone():
            now_ns = self._times.now()
        for line in filter(None, lines.split(b"\n")):
            with self._alone():
                if not self._allowed:
                    return self._withheld
                settled = self._given.settle(line, now_ns)
                if settled is None:
                    self._withheld_points += 1
                else:
                    commits[self._add_given(settled.decode("utf-8"), destination)] = None
        self._call_due()
        return Commit.of_all(commits) if commits else self._withheld

    def take(self) -> list[Taken]:
        """Take everything away. In the reactor's thread.

        :returns: in the order in which it was recorded, to be put on disk; their commits are to be resolved then.
        """
        with self._alone():
            self._record_aside()
            self._seal_all()
            taken = list(self._sealed)
            self._sealed.clear()
            given_up, self._given_up = self._given_up, []
            self._is_awake = self._is_hurried = False
        for commit in given_up:
            commit.resolve(False)
        self._call_due()
        return taken

    @property
    def counts(self) -> RecorderCounts:
        """The counts at this moment."""
        with self._lock:
            held = len(self._group.lines) + sum(len(group.lines) for group in self._others.values())
            return RecorderCounts(self._recorded + held, self._withheld_points, self._dropped)

    @property
    def held_bytes(self) -> int:
        """The bytes of lines that are not committed yet."""
        with self._lock:
            return self._held_bytes + sum(len(line) + 1 for line in self._group.lines) + self._others_bytes

    @property
    def allowed(self) -> bool:
        """Whether anything is recorded. While it is not, nothing is kept, and nothing counted.

        To set it to False, in the reactor's thread, forgets what is held; it is counted as dropped.
        """
        return self._allowed

    @allowed.setter
    def allowed(self, allowed: bool) -> None:
        with self._alone():
            self._allowed = allowed
            if allowed:
                return
            self._seal_all()
            while self._sealed:
                self._drop(self._sealed.popleft())
            given_up = [*self._given_up, *(commit for _, commit in self._aside)]
            self._hold_nothing()
        for commit in given_up:
            commit.resolve(False)

    def reset_after_fork(self) -> None:
        """Begin anew, in a child process, before anything is recorded there.

        What is held is the parent's, and stays with it. Threads that held the lock are not here to give it back. And
        the child's chance is its own: else it would give its points the times of the parent's.
        """
        self._chance = SystemRandom().random
        self._begin()

    def _record_otherwise(
        self,
        measurement: str,
        fields: Mapping[str, FieldValue],
        tags: Mapping[str, str] | None,
        time_ns: int | None,
    ) -> Commit:
        """Record what takes more than a few values of a known form, and room in the group."""
        with self._lock:
            if not self._allowed:
                return self._withheld
            if self._busy:
                commit = self._put_aside(Point(measurement, fields, tags or _NO_TAGS, time_ns))
            else:
                self._busy = True
                try:
                    line = self._forms.line(measurement, fields, tags or _NO_TAGS, time_ns)
                    if line is None:
                        self._withheld_points += 1
                        commit = self._withheld
                    else:
                        commit = self._add(line)
                finally:
                    self._busy = False
        self._call_due()
        return commit

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The lock, when no recording in this very thread was interrupted in the middle of it."""
        with self._lock:
            assert not self._busy, "taking, and recording lines, is not for signal handlers"
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _put_aside(self, point: Point) -> Commit:
        """Remember a point that was recorded while this thread was recording another one, or taking: by a signal
        handler, or when an object was destroyed. Nothing else may be touched now.
        """
        encode_point(point)  # says what cannot be written
        commit = Commit()
        if len(self._aside) < ASIDE_POINTS:
            self._aside.append((point, commit))
            self._due.append(self._wake)  # once too often, perhaps; that is harmless
        else:
            self._given_up.append(commit)
        return commit

    def _record_aside(self) -> None:
        while self._aside:
            point, commit = self._aside.popleft()
            line = self._forms.line(point.measurement, point.fields, point.tags, point.time_ns)
            if line is None:
                self._withheld_points += 1
                self._given_up.append(commit)
            else:
                self._add(line).when_resolved(commit.resolve)

    def _add(self, line: str) -> Commit:
        """Add a line to those that were recorded here. Under the lock."""
        size = len(line.encode("utf-8")) + 1
        group = self._group
        if group.room_bytes < size:
            self._group = self._new_group(self._destination, GROUP_BYTES)
            self._seal(group)
            group = self._group
        return self._add_to(group, line, size)

    def _add_given(self, line: str, destination: Destination) -> Commit:
        if destination == self._destination:
            return self._add(line)
        size = len(line.encode("utf-8")) + 1
        if self._others_bytes + size > GROUP_BYTES:
            # All others together are as large as one: nobody fills the memory by making destinations up.
            self._seal_others()
        group = self._others.setdefault(destination, self._new_group(destination))
        self._others_bytes += size
        return self._add_to(group, line, size)

    def _add_to(self, group: _Group, line: str, size: int) -> Commit:
        group.room_bytes -= size
        group.lines.append(line)
        if not self._is_awake:
            self._is_awake = True
            self._due.append(self._wake)
        return group.commit

    def _is_in(self, group: _Group, line: str) -> bool:
        """Whether a line that was added to a group just when that was sealed is still in it."""
        with self._lock:
            return any(each is line for each in group.lines[: group.sealed_points])

    def _seal_all(self) -> None:
        group, self._group = self._group, self._new_group(self._destination)
        self._seal(group)
        self._seal_others()

    def _seal_others(self) -> None:
        others, self._others = self._others, {}
        self._others_bytes = 0
        for group in others.values():
            self._seal(group)

    def _seal(self, group: _Group) -> None:
        """Make a batch of a group into which nobody puts any more lines. Under the lock."""
        points = group.sealed_points = len(group.lines)
        if not points:
            return
        lines = "\n".join(group.lines[:points]).encode("utf-8")
        taken = Taken(Batch(group.destination, lines, points), group.commit)
        self._sealed.append(taken)
        self._sizes[taken.commit] = len(lines)
        self._held_bytes += len(lines)
        self._recorded += points
        while self._held_bytes > self._limit_bytes and self._sealed:
            self._drop(self._sealed.popleft())
        if self._held_bytes > self._hurry_bytes and not self._is_hurried:
            self._is_hurried = True
            self._due.append(self._hurry)

    def _drop(self, taken: Taken) -> None:
        self._held_bytes -= self._sizes.pop(taken.commit)
        self._dropped += taken.batch.points
        self._given_up.append(taken.commit)

    def _committed(self, commit: Commit) -> None:
        with self._alone():
            self._held_bytes -= self._sizes.pop(commit, 0)

    def _call_due(self) -> None:
        if not self._due:
            return
        while self._due:
            try:
                call = self._due.popleft()
            except IndexError:  # another thread was faster
                return
            call()

    def _stays(self, what: str, name: str) -> None:
        """Say once of each name that it stays here. It is the application's own."""
        if (what, name) in self._warned or len(self._warned) >= NAMES_WARNED_OF:
            return
        self._warned.add((what, name))
        if self._rules.schema is None:
            why = "because it tells who somebody is; name it in declare_tags if it is to leave"
        else:
            why = "because the schema has no place for it"
        # Not under the lock: nobody knows what those do who read the log.
        self._due.append(
            partial(_log.warn, "The {what} {name!r} stays on this machine, {why}.", what=what, name=name, why=why)
        )

    def _given_stays(self, what: str, name: str) -> None:
        """The same for names that are somebody else's: only those are told that we know by name."""
        if self._rules.schema is None:
            self._stays(what, plain_personal_name(name))


def _is_sure_time(time_ns: object) -> bool:
    return type(time_ns) is int and 0 <= time_ns < SURE_TIME_NS
