"""What a schema costs: the gateway with its defaults, and with a schema of five measurements, under the same load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from benchmarks.figures import Threshold, number, spread, table
from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.loopback import LOADS, Run, compared, take_turns
from benchmarks.outcome import Outcome, Plan
from benchmarks.peers import GATEWAY, launch_gateway

__all__ = ["SCENARIOS", "judge", "measure", "tabulate"]

SCENARIOS = {f"schema-{load.points}-{load.connections}": load for load in LOADS}

STRICT: Final = "with a schema"

WANTED: Final = 0.7
"""At least so many times the rate of the gateway without one."""

_HERE = Path(__file__).parent
_CONFIG = _HERE / "peers" / "schema.toml"


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`.

    :raises BenchError: a write was refused, or a point is not in InfluxDB.
    :raises ChildError: a program is missing.
    """
    influxd = await BenchInfluxd.launch(house)
    peers = [
        await launch_gateway(house, influxd),
        evolve(await launch_gateway(house, influxd, "--config", str(_CONFIG)), name=STRICT),
    ]
    runs = await take_turns(house, plan, influxd, SCENARIOS, peers)
    await influxd.close()
    return Outcome("schema", {"schema": tabulate(runs)}, judge(runs), runs)


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured."""
    head = ("load", "writes/s", STRICT, "x without", "CPU us", STRICT)
    return [*table(head, _rows(runs)), ""]


def _rows(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for scenario in dict.fromkeys(run.scenario for run in runs):
        each = {
            name: [run for run in runs if (run.scenario, run.peer) == (scenario, name)] for name in (GATEWAY, STRICT)
        }
        rates = {name: spread(run.writes_per_second for run in mine) for name, mine in each.items()}
        cpu = {name: spread(run.cpu_us["peer"] for run in mine) for name, mine in each.items()}
        yield (
            str(SCENARIOS[scenario]),
            str(rates[GATEWAY]),
            str(rates[STRICT]),
            str(compared(runs, scenario, STRICT, GATEWAY)),
            number(cpu[GATEWAY].median),
            number(cpu[STRICT].median),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    return [
        Threshold(f"{SCENARIOS[name]}: {STRICT} / {GATEWAY}", compared(runs, name, STRICT, GATEWAY).median, WANTED)
        for name in dict.fromkeys(run.scenario for run in runs)
    ]
