"""The write path over loopback: influxd directly, the gateway, nginx and a Go proxy, under the same load in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from attrs import field, frozen

from benchmarks.figures import Spread, Threshold, number, ratios, spread, table
from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.outcome import Outcome, Plan
from benchmarks.peers import DIRECT, GATEWAY, GO, PEERS, Peer, launch_peers
from benchmarks.processes import cpu_seconds, tree
from benchmarks.wrk import Load, Wrk

__all__ = ["LOADS", "SCENARIOS", "Run", "compared", "judge", "measure", "tabulate", "take_turns"]

LOADS = (Load(1, 64), Load(1, 256), Load(100, 64), Load(100, 256))
SCENARIOS = {f"loopback-{load.points}-{load.connections}": load for load in LOADS}

WARM_UP_SECONDS = 1
"""Before each timed part, and not in it: connections to InfluxDB, the shard, the caches of all processes."""

WANTED = {Load(1, 64): (0.7, 2.2), Load(1, 256): (1.0, 3.0), Load(100, 64): (0.85, 1.15), Load(100, 256): (0.85, 1.15)}
"""At least so many times the rate of influxd alone, and of the Go proxy."""


@frozen
class Run:
    """One timed part.

    :ivar cpu_us: microseconds of CPU for each write, by process: `peer`, `influxd`, `wrk`.
    """

    scenario: str
    round: int
    peer: str
    writes_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: dict[str, float]


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`: all peers in turn, round after round.

    :raises BenchError: a write was refused, or a point is not in InfluxDB.
    :raises ChildError: a program is missing.
    """
    influxd = await BenchInfluxd.launch(house)
    runs = await take_turns(house, plan, influxd, SCENARIOS, await launch_peers(house, influxd))
    await influxd.close()
    return Outcome("loopback", {"loopback": tabulate(runs)}, judge(runs), runs)


async def take_turns(
    house: House, plan: Plan, influxd: BenchInfluxd, scenarios: Mapping[str, Load], peers: Sequence[Peer]
) -> list[Run]:
    """Measure what the plan has of some scenarios: all peers in turn, round after round.

    :raises BenchError: a write was refused, or a point is not in InfluxDB.
    """
    bench = _Bench(house, plan, influxd, Wrk(house))
    wanted = {name: load for name, load in scenarios.items() if plan.wants(name)}
    runs = []
    todo = list(itertools.product(range(plan.rounds), wanted.items(), peers))
    for done, (round_number, (scenario, load), peer) in enumerate(todo, 1):
        run = await bench.run(round_number, scenario, load, peer)
        runs.append(run)
        house.say(
            f"{done}/{len(todo)} {load}: {peer.name} {number(run.writes_per_second)} writes/s,"
            f" p50 {number(run.p50_ms)} ms"
        )
    return runs


@frozen
class _Bench:
    house: House
    plan: Plan
    influxd: BenchInfluxd
    wrk: Wrk
    _databases: Iterator[int] = field(factory=itertools.count)

    async def run(self, round_number: int, scenario: str, load: Load, peer: Peer) -> Run:
        """Measure one peer once, with a database of its own."""
        database = f"bench_{next(self._databases)}"
        await self.influxd.create(database)
        warm_up = await self.wrk.run(peer.port, database, load, WARM_UP_SECONDS)
        before = self._cpu(peer)
        report = await self.wrk.run(peer.port, database, load, self.plan.seconds)
        after = self._cpu(peer)
        acknowledged = load.points * (warm_up.requests + report.requests)
        in_flight = load.points * load.connections * 2  # wrk does not wait for its last answers
        await self.influxd.expect(database, acknowledged, in_flight)
        await self.influxd.drop(database)
        spent = {process: after[process] - before[process] for process in before} | {"wrk": report.cpu_seconds}
        return Run(
            scenario,
            round_number,
            peer.name,
            report.writes_per_second,
            report.p50_ms,
            report.p99_ms,
            {process: 1e6 * seconds / report.requests for process, seconds in spent.items()},
        )

    def _cpu(self, peer: Peer) -> dict[str, float]:
        of_peer = {} if peer.pid is None else {"peer": cpu_seconds(*tree(peer.pid))}
        return of_peer | {"influxd": cpu_seconds(self.influxd.pid)}


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured: a table for each load."""
    lines = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        lines += [f"{SCENARIOS[scenario]}:", ""]
        head = ("peer", "writes/s", "x influxd", "x Go proxy", "p50 ms", "p99 ms", "CPU us: peer", "influxd", "wrk")
        lines += [*table(head, _rows(runs, scenario)), ""]
    return lines


def _rows(runs: Sequence[Run], scenario: str) -> Iterator[tuple[str, ...]]:
    for peer in PEERS:
        mine = _of(runs, scenario, peer)
        cpu = {name: spread(run.cpu_us.get(name, 0.0) for run in mine) for name in ("peer", "influxd", "wrk")}
        yield (
            peer,
            str(spread(run.writes_per_second for run in mine)),
            *(str(compared(runs, scenario, peer, reference)) for reference in (DIRECT, GO)),
            str(spread(run.p50_ms for run in mine)),
            str(spread(run.p99_ms for run in mine)),
            *(number(each.median) for each in cpu.values()),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    found = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        load = SCENARIOS[scenario]
        for reference, bound in zip((DIRECT, GO), WANTED[load], strict=True):
            ratio = compared(runs, scenario, GATEWAY, reference).median
            found.append(Threshold(f"{load}: torfluxd / {reference}", ratio, bound))
    return found


def compared(runs: Sequence[Run], scenario: str, peer: str, reference: str) -> Spread:
    """How many times the rate of the reference a peer has in a scenario, round by round."""
    rates, others = ([run.writes_per_second for run in _of(runs, scenario, name)] for name in (peer, reference))
    return ratios(rates, others)


def _of(runs: Sequence[Run], scenario: str, peer: str) -> list[Run]:
    return [run for run in runs if (run.scenario, run.peer) == (scenario, peer)]
