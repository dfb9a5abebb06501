"""What a reporter costs the application that it is in: CPU for each point, delays of the reactor, and memory.

Tor is down, and the state directory is on a disk: as it is on a computer that has been offline for a while.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import frozen
from influxdb.line_protocol import make_lines
from influxdb_client import Point
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread

from benchmarks.figures import Threshold, number, spread, table
from benchmarks.house import BenchError, House
from benchmarks.outcome import Outcome, Plan
from benchmarks.processes import resident_bytes
from torfluxd.onion.key import OnionKey
from torfluxd.reporter.dispatch import COMMIT_SECONDS
from torfluxd.reporter.reporter import Reporter

__all__ = [
    "SCENARIOS",
    "SHAPES",
    "CpuRun",
    "DelayRun",
    "MemoryRun",
    "Shape",
    "judge",
    "measure",
    "percentile",
    "tabulate",
]

CPU, DELAY, MEMORY = "reporter-cpu", "reporter-delay", "reporter-memory"
SCENARIOS = (CPU, DELAY, MEMORY)

TIME_NS = 1_800_000_000_000_000_000

SLICE_POINTS = 500
SLICES = 20
"""What is timed at once, and how often in a round, with the peers in turn: so short that whatever else the machine does
falls upon all of them, or upon slices that the median leaves out."""

RATE_PER_SECOND = 100_000
"""How many points are recorded while delays of the reactor are measured."""

TICK_SECONDS = 0.001
"""How often the reactor is to be on time: it has something to do as often in a busy server."""

MOST_AT_ONCE = 200
"""How many points are recorded in one go to make up for what was late: half a millisecond's work. More would have the
load itself, and not the reporter, hold up the reactor."""

DELAY_LONGER = 2
"""How many times as long delays are measured as other things: of a thousand, the worst one counts."""

KEEP_BYTES = 2**30
"""Room for all that is recorded, so that each point can be looked for afterwards."""

MEMORY_LIMIT_BYTES = 8 * 2**20
FLOOD_POINTS = 1_000_000
"""Ten times what the limit holds."""

CPU_AT_MOST = 0.4
"""Of the CPU of the faster of the two others."""

DELAY_AT_MOST_MS = 5.0
"""How late the reactor may be, in 999 of 1000 cases."""

MEMORY_AT_MOST = 2.0
"""Times the limit: lines in memory, and all that Python needs to hold and to make them."""

OURS, CLIENT, ENCODER = "torfluxd", "influxdb-client", "influxdb"
PEERS = (OURS, CLIENT, ENCODER)

Fields = Mapping[str, float | int | str | bool]
Tags = Mapping[str, str]


@frozen
class Shape:
    """What kind of point is recorded.

    :ivar what: for people.
    :ivar judged: whether it is held against `CPU_AT_MOST`: what programs record most.
    :ivar timed: whether the application tells the time.
    :ivar point: the fields and the tags of a point, the same for all peers, other values in each.
    """

    what: str
    judged: bool
    timed: bool
    point: Callable[[int], tuple[Fields, Tags]]


def _value(number: int) -> float:
    return number * 0.37 + 0.013


SHAPES = (
    Shape(
        "2 tags, 2 numbers",
        True,
        False,
        lambda n: ({"duration_seconds": _value(n), "files": n}, {"version": "2.1", "os": "linux"}),
    ),
    Shape(
        "2 tags, a number, a truth, a text",
        True,
        False,
        lambda n: ({"seconds": _value(n), "ok": True, "error": "disk full"}, {"version": "2.1", "os": "linux"}),
    ),
    Shape(
        "3 tags, 10 numbers",
        True,
        False,
        lambda n: (
            {f"field_{place}": _value(n + place) for place in range(10)},
            {"version": "2.1", "os": "linux", "kind": "full"},
        ),
    ),
    Shape("1 number, no tag", False, False, lambda n: ({"duration_seconds": _value(n)}, {})),
    Shape(
        "2 tags, 2 numbers, a time of its own",
        False,
        True,
        lambda n: ({"duration_seconds": _value(n), "files": n}, {"version": "2.1", "os": "linux"}),
    ),
    Shape(
        "2 tags, one never seen before, 2 numbers",
        False,
        False,
        lambda n: ({"duration_seconds": _value(n), "files": n}, {"version": "2.1", "job": f"{time.monotonic_ns()}"}),
    ),
)


@frozen
class CpuRun:
    """One round of one shape.

    :ivar cpu_us: microseconds of CPU for each point, by the name of the peer.
    """

    shape: str
    round: int
    cpu_us: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Ours, times the faster of the others."""
        return self.cpu_us[OURS] / min(self.cpu_us[CLIENT], self.cpu_us[ENCODER])


@frozen
class DelayRun:
    """How late the reactor was, in one round.

    :ivar load: what was recorded, and where.
    :ivar points_per_second: that were recorded.
    :ivar p50_ms: the middle delay; and so on.
    """

    load: str
    round: int
    points_per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float


@frozen
class MemoryRun:
    """What memory grew by, in one round.

    :ivar limit_bytes: what the reporter was told to hold at most.
    :ivar grown_bytes: by how much the memory of the process grew.
    :ivar recorded: how many points were recorded.
    :ivar dropped: how many of them were dropped.
    """

    round: int
    limit_bytes: int
    grown_bytes: int
    recorded: int
    dropped: int


Run = CpuRun | DelayRun | MemoryRun

QUIET, IN_REACTOR, IN_THREAD = "nothing", "in the reactor's thread", "in another thread"
LOADS = (QUIET, IN_REACTOR, IN_THREAD)


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`.

    :raises BenchError: a point was lost.
    """
    runs: list[Run] = []
    for round_number in range(plan.rounds):
        bench = _Bench(house, plan, round_number)
        if plan.wants(MEMORY):
            runs.append(await bench.memory())
        if plan.wants(CPU):
            runs += [await bench.cpu(shape) for shape in SHAPES]
        if plan.wants(DELAY):
            runs += [await bench.delay(load) for load in LOADS]
        house.say(f"{round_number + 1}/{plan.rounds} reporter")
    return Outcome("reporter", {"recording": tabulate(runs)}, judge(runs), runs)


@frozen
class _Bench:
    house: House
    plan: Plan
    round: int

    def _reporter(self, name: str, *, on_disk: bool = True) -> Reporter:
        """A reporter whose tor is down."""
        directory = self.house.directory / f"{name}-{self.round}"
        return Reporter(
            f"http://{OnionKey.generate().address.hostname}",
            "bench",
            state_dir=directory if on_disk else None,
            socks=f"unix:{directory / 'no-socks'}",
            memory_limit_bytes=MEMORY_LIMIT_BYTES,
            keep_bytes=KEEP_BYTES if on_disk else MEMORY_LIMIT_BYTES,
            reactor=self.house.reactor,
            stop_seconds=0,
        )

    async def cpu(self, shape: Shape) -> CpuRun:
        """Record, and encode, points of one shape; the peers in turn."""
        slices: dict[str, list[float]] = {peer: [] for peer in PEERS}
        reporter = self._reporter(f"cpu-{SHAPES.index(shape)}")
        async with reporter:
            work = {OURS: _record(reporter, shape), CLIENT: _client(shape), ENCODER: _encoder(shape)}
            for _ in range(SLICES):
                for peer in PEERS:
                    slices[peer].append(work[peer]())
                    await self.house.pause(0)
            if reporter.stats.recorded != SLICES * SLICE_POINTS or reporter.stats.dropped:
                raise BenchError(f"of {SLICES * SLICE_POINTS} points not all were recorded")
        return CpuRun(shape.what, self.round, {peer: median(slices[peer]) for peer in PEERS})

    async def delay(self, load: str) -> DelayRun:
        """See how late the reactor is while points are recorded.

        What is on the heap before is left out of Python's collections: how long a full one takes is the affair of the
        application, whose heap it is. Ours here has two other clients on it, and takes 65 ms.
        """
        gc.collect()
        gc.freeze()
        try:
            return await self._delay(load)
        finally:
            gc.unfreeze()

    async def _delay(self, load: str) -> DelayRun:
        async with self._reporter(f"delay-{LOADS.index(load)}") as reporter:
            source = _Source(reporter)
            if load == IN_THREAD:
                recording = deferToThread(source.run)
            elif load == IN_REACTOR:
                recording = Deferred.fromCoroutine(source.run_in_reactor(self.house))
            else:
                recording = succeed(None)
            late, began = [], time.perf_counter()
            while (now := time.perf_counter()) < began + self.plan.seconds * DELAY_LONGER:
                await self.house.pause(TICK_SECONDS)
                late.append((time.perf_counter() - now - TICK_SECONDS) * 1e3)
            source.is_over = True
            rate = source.recorded / (time.perf_counter() - began)
            await recording
            await self.house.pause(2 * COMMIT_SECONDS)
            if reporter.stats.pending != source.recorded:
                raise BenchError(f"of {source.recorded} points not all were recorded")
        return DelayRun(load, self.round, rate, *(percentile(late, share) for share in (0.5, 0.99, 0.999, 1.0)))

    async def memory(self) -> MemoryRun:
        """Record ten times what there is room for, without a disk."""
        reporter = self._reporter("memory", on_disk=False)
        async with reporter:
            before = resident_bytes(os.getpid())
            for first in range(0, FLOOD_POINTS, SLICE_POINTS):
                for n in range(first, first + SLICE_POINTS):
                    reporter.record("backup_run", {"duration_seconds": _value(n), "files": n}, {"version": "2.1"})
                await self.house.pause(0)
            grown = resident_bytes(os.getpid()) - before
            stats = reporter.stats
        if stats.recorded != FLOOD_POINTS or stats.pending + stats.dropped != FLOOD_POINTS:
            raise BenchError(f"of {FLOOD_POINTS} points {stats.pending} are kept, and {stats.dropped} were dropped")
        return MemoryRun(self.round, MEMORY_LIMIT_BYTES, grown, stats.recorded, stats.dropped)


class _Source:
    """Records at a steady rate until it is over, and makes up for what is late."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._began = time.perf_counter()
        self.recorded = 0
        self.is_over = False

    def catch_up(self) -> None:
        """Record what is due."""
        due = int((time.perf_counter() - self._began) * RATE_PER_SECOND) - self.recorded
        record = self._reporter.record
        for n in range(min(due, MOST_AT_ONCE)):
            record("backup_run", {"duration_seconds": _value(n), "files": n}, {"version": "2.1", "os": "linux"})
            self.recorded += 1

    def run(self) -> None:
        """Do so in a thread."""
        while not self.is_over:
            self.catch_up()
            time.sleep(TICK_SECONDS)

    async def run_in_reactor(self, house: House) -> None:
        """Do so in the reactor's thread, between all else."""
        while not self.is_over:
            self.catch_up()
            await house.pause(TICK_SECONDS)


def _timed(work: Callable[[], None]) -> float:
    """The microseconds of CPU for each point of a slice, in this thread."""
    began = time.thread_time()
    work()
    return (time.thread_time() - began) / SLICE_POINTS * 1e6


def _points(shape: Shape) -> list[tuple[Fields, Tags]]:
    return [shape.point(n) for n in range(SLICE_POINTS)]


def _record(reporter: Reporter, shape: Shape) -> Callable[[], float]:
    def work() -> float:
        points, record = _points(shape), reporter.record
        time_ns = TIME_NS if shape.timed else None

        def run() -> None:
            for fields, tags in points:
                record("backup_run", fields, tags, time_ns)

        return _timed(run)

    return work


def _client(shape: Shape) -> Callable[[], float]:
    """As its documentation shows it, without a client."""

    def work() -> float:
        points = _points(shape)

        def run() -> None:
            for fields, tags in points:
                point: Any = Point("backup_run")
                for key, tag in tags.items():
                    point.tag(key, tag)
                for key, field in fields.items():
                    point.field(key, field)
                point.time(TIME_NS).to_line_protocol()

        return _timed(run)

    return work


def _encoder(shape: Shape) -> Callable[[], float]:
    """All of a slice in one call, as `write_points` does."""

    def work() -> float:
        points = _points(shape)

        def run() -> None:
            make_lines(
                {
                    "points": [
                        {"measurement": "backup_run", "tags": tags, "fields": fields, "time": TIME_NS}
                        for fields, tags in points
                    ]
                }
            )

        return _timed(run)

    return work


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all values does not exceed.

    :param values: at least one.
    :param share: from 0 to 1.
    """
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured."""
    lines: list[str] = []
    cpu, delay, memory = _parted(runs)
    if cpu:
        head = ["microseconds of CPU a point", OURS, CLIENT, ENCODER, "x the faster"]
        lines += ["What it costs to record a point:", "", *table(head, _cpu_rows(cpu)), ""]
    if delay:
        head = ["100 000 points/s recorded", "points/s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"]
        lines += ["How late the reactor is meanwhile:", "", *table(head, _delay_rows(delay)), ""]
    if memory:
        grown = spread(run.grown_bytes / 2**20 for run in memory)
        lines += [
            f"Memory, with a limit of {number(memory[0].limit_bytes / 2**20)} MiB and without a disk: grown by {grown}"
            f" MiB when {number(memory[0].recorded)} points were recorded.",
            "",
        ]
    return lines


def _parted(runs: Sequence[Run]) -> tuple[list[CpuRun], list[DelayRun], list[MemoryRun]]:
    return (
        [run for run in runs if isinstance(run, CpuRun)],
        [run for run in runs if isinstance(run, DelayRun)],
        [run for run in runs if isinstance(run, MemoryRun)],
    )


def _cpu_rows(runs: Sequence[CpuRun]) -> Iterator[tuple[str, ...]]:
    for shape in dict.fromkeys(run.shape for run in runs):
        mine = [run for run in runs if run.shape == shape]
        figures = [str(spread(run.cpu_us[peer] for run in mine)) for peer in PEERS]
        yield (shape, *figures, str(spread(run.ratio for run in mine)))


def _delay_rows(runs: Sequence[DelayRun]) -> Iterator[tuple[str, ...]]:
    for load in dict.fromkeys(run.load for run in runs):
        mine = [run for run in runs if run.load == load]
        yield (
            load,
            str(spread(run.points_per_second for run in mine)),
            str(spread(run.p50_ms for run in mine)),
            str(spread(run.p99_ms for run in mine)),
            str(spread(run.p999_ms for run in mine)),
            str(spread(run.longest_ms for run in mine)),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    cpu, delay, memory = _parted(runs)
    found = []
    for shape in SHAPES:
        measured = [run.ratio for run in cpu if run.shape == shape.what]
        if shape.judged and measured:
            what = f"recording {shape.what}: CPU / the faster encoder"
            found.append(Threshold(what, median(measured), CPU_AT_MOST, at_most=True))
    for load in LOADS[1:]:
        late = [run.p999_ms for run in delay if run.load == load]
        if late:
            what = f"100 000 points/s {load}: ms that 999 of 1000 calls are late"
            found.append(Threshold(what, median(late), DELAY_AT_MOST_MS, at_most=True))
    if memory:
        grown = median(run.grown_bytes / run.limit_bytes for run in memory)
        found.append(Threshold("memory with Tor down / limit", grown, MEMORY_AT_MOST, at_most=True))
    return found
