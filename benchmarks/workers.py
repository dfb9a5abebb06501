"""What workers cost, and bring: the gateway in one process, and in two, under the same load and under twice as much.

What a second worker costs is seen when each has as much to do as one had, and the machine has room for both: so there
are loads with pauses between the writes of a connection. Without pauses two workers, InfluxDB and the load want more
than two cores, and what is seen of a second worker then is mostly that they are in each other's way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import evolve

from benchmarks.figures import Spread, Threshold, number, ratios, spread, table
from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.loopback import Run, compared, take_turns
from benchmarks.outcome import Outcome, Plan
from benchmarks.peers import launch_gateway
from benchmarks.wrk import Load

__all__ = ["ONE", "SCENARIOS", "TWO", "judge", "measure", "tabulate"]

PAUSES: Final = {1: 20, 100: 100}
"""Milliseconds between the writes of a connection, for points in each write: with 128 connections two cores are half
busy."""

LOADS = (
    *(Load(points, connections, pause) for points, pause in PAUSES.items() for connections in (64, 128)),
    *(Load(points, connections) for points in PAUSES for connections in (64, 128)),
)
SCENARIOS = {
    f"workers-{load.points}-{load.connections}" + (f"-{load.pause_ms}ms" if load.pause_ms else ""): load
    for load in LOADS
}

ONE: Final = "1 worker"
TWO: Final = "2 workers"

CPU_AT_MOST: Final = 1.1
"""Times the CPU of one worker for each write, with as many connections for each worker."""


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`.

    :raises BenchError: a write was refused, or a point is not in InfluxDB.
    :raises ChildError: a program is missing.
    """
    influxd = await BenchInfluxd.launch(house)
    peers = [
        evolve(await launch_gateway(house, influxd, "--workers", workers), name=name)
        for name, workers in ((ONE, "1"), (TWO, "2"))
    ]
    runs = await take_turns(house, plan, influxd, SCENARIOS, peers)
    await influxd.close()
    return Outcome("workers", {"workers": tabulate(runs)}, judge(runs), runs)


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured."""
    head = ("load", "writes/s", TWO, "x 1 worker", "p99 ms", TWO, "CPU us", TWO, "x 1 worker")
    lines = [*table(head, _rows(runs)), ""]
    for scenario, twice in _doubled(runs):
        lines.append(f"* {SCENARIOS[scenario]} for each worker: {_cpu(runs, twice, scenario)} times one worker's CPU")
    return [*lines, ""]


def _rows(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for scenario in dict.fromkeys(run.scenario for run in runs):
        one, two = (_of(runs, scenario, name) for name in (ONE, TWO))
        yield (
            str(SCENARIOS[scenario]),
            *(str(spread(run.writes_per_second for run in mine)) for mine in (one, two)),
            str(compared(runs, scenario, TWO, ONE)),
            *(number(spread(run.p99_ms for run in mine).median) for mine in (one, two)),
            *(number(spread(run.cpu_us["peer"] for run in mine).median) for mine in (one, two)),
            str(_cpu(runs, scenario, scenario)),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show: two workers with twice the connections that one has, where there is room."""
    found = []
    for scenario, twice in _doubled(runs):
        load = SCENARIOS[scenario]
        if load.pause_ms:
            what = f"{load} for each worker: CPU, {TWO} / {ONE}"
            found.append(Threshold(what, _cpu(runs, twice, scenario).median, CPU_AT_MOST, at_most=True))
    return found


def _doubled(runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """The scenarios that were measured, each with the one that has twice its connections."""
    names = {SCENARIOS[run.scenario]: run.scenario for run in runs}
    for load, name in names.items():
        twice = names.get(evolve(load, connections=2 * load.connections))
        if twice is not None:
            yield name, twice


def _cpu(runs: Sequence[Run], scenario: str, reference: str) -> Spread:
    """What two workers take for a write in one scenario, and one in another."""
    two, one = (
        [run.cpu_us["peer"] for run in _of(runs, name, peer)] for name, peer in ((scenario, TWO), (reference, ONE))
    )
    return ratios(two, one)


def _of(runs: Sequence[Run], scenario: str, peer: str) -> list[Run]:
    return [run for run in runs if (run.scenario, run.peer) == (scenario, peer)]
