"""What workers cost, and bring: the gateway in one process, and in two, under the same load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import evolve

from benchmarks.figures import Spread, Threshold, number, ratios, spread, table
from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.loopback import LOADS, Run, compared, take_turns
from benchmarks.outcome import Outcome, Plan
from benchmarks.peers import launch_gateway

__all__ = ["SCENARIOS", "judge", "measure", "tabulate"]

SCENARIOS = {f"workers-{load.points}-{load.connections}": load for load in LOADS}

ONE: Final = "1 worker"
TWO: Final = "2 workers"

CPU_AT_MOST: Final = 1.1
"""Times the CPU of one worker for each write."""


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
    return [*table(head, _rows(runs)), ""]


def _rows(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for scenario in dict.fromkeys(run.scenario for run in runs):
        one, two = (_of(runs, scenario, name) for name in (ONE, TWO))
        yield (
            str(SCENARIOS[scenario]),
            *(str(spread(run.writes_per_second for run in mine)) for mine in (one, two)),
            str(compared(runs, scenario, TWO, ONE)),
            *(number(spread(run.p99_ms for run in mine).median) for mine in (one, two)),
            *(number(spread(run.cpu_us["peer"] for run in mine).median) for mine in (one, two)),
            str(_cpu(runs, scenario)),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    return [
        Threshold(f"{SCENARIOS[name]}: CPU, {TWO} / {ONE}", _cpu(runs, name).median, CPU_AT_MOST, at_most=True)
        for name in dict.fromkeys(run.scenario for run in runs)
    ]


def _cpu(runs: Sequence[Run], scenario: str) -> Spread:
    return ratios(*([run.cpu_us["peer"] for run in _of(runs, scenario, name)] for name in (TWO, ONE)))


def _of(runs: Sequence[Run], scenario: str, peer: str) -> list[Run]:
    return [run for run in runs if (run.scenario, run.peer) == (scenario, peer)]
