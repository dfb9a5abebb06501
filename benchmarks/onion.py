"""Through Tor: an onion service straight to InfluxDB, and the gateway's, over a private Tor network on this machine.

*Warm*: each connection has a circuit of its own, and stays open; what a stock client does that writes all the time.
*Fresh*: each write has a new circuit; what our reporter does, with and without the onion service's proof of work.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import asdict, field, frozen

from benchmarks.figures import Threshold, number, ratios, spread, table
from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.onion_load import POINTS, Job, Report, parse_report
from benchmarks.onion_peers import OnionPeer, bare_onion, client_tor, gateway_onion, start_network
from benchmarks.outcome import Outcome, Plan
from benchmarks.reporters import Cost, tell
from benchmarks.wrk import FIRST_SECOND, ROOM_SECONDS

__all__ = ["SCENARIOS", "Run", "Way", "count_reporters", "judge", "measure", "tabulate"]

BARE, GATEWAY = "bare onion", "torfluxd"

FRESH_LONGER = 2
"""Timed parts with fresh circuits are so many times longer: there are 20 reports a second, not hundreds of writes."""

RATE_AT_LEAST = 0.95
LATENCY_AT_MOST = 1.15
GATEWAY_CPU_AT_MOST = 0.5
"""Times what the bare onion has on warm circuits; and, of the CPU time of its own tor, with fresh ones."""


@frozen
class Way:
    """How writes come.

    :ivar fresh: each on a circuit of its own.
    :ivar pow_defends: whether the onion services have proof of work. On warm circuits the gateway has its defaults,
        and the bare onion has tor's.
    :ivar connections: writes in flight at once.
    """

    fresh: bool
    pow_defends: bool
    connections: int

    def __str__(self) -> str:
        if not self.fresh:
            return f"warm circuits, {self.connections} connection{'s' if self.connections > 1 else ''}"
        return f"a fresh circuit for each report, {'with' if self.pow_defends else 'without'} proof of work"


SCENARIOS = {
    "onion-warm-1": Way(fresh=False, pow_defends=False, connections=1),
    "onion-warm-32": Way(fresh=False, pow_defends=False, connections=32),
    "onion-fresh": Way(fresh=True, pow_defends=False, connections=32),
    "onion-fresh-pow": Way(fresh=True, pow_defends=True, connections=32),
}

FRESH_AS_IT_COMES = "onion-fresh-pow"
"""What a gateway with its defaults has to do for reporters with theirs."""


@frozen
class Run:
    """One timed part.

    :ivar failed: streams that tor did not open, or lost; each is tried anew by a reporter.
    :ivar cpu_ms: milliseconds of CPU for each write: `gateway`, `tor` (its own, or the bare onion's), `client tor`,
        `influxd`, `load`.
    :ivar tor_kb: by how many kB the memory of the same tor grew for each write.
    """

    scenario: str
    round: int
    peer: str
    writes_per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_ms: dict[str, float]
    tor_kb: float


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`: both peers in turn, round after round.

    :raises BenchError: a write was refused, or a point is not in InfluxDB.
    :raises TorfluxdError: the Tor network or an onion service does not come up.
    """
    tor = await start_network(house)
    influxd = await BenchInfluxd.launch(house, "influxd-onion")
    socks, client = await client_tor(house, tor)
    scenarios = [name for name in SCENARIOS if plan.wants(name)]
    peers = await _launch(house, tor, influxd, scenarios)
    bench = _Bench(house, plan, influxd, str(socks), {"client tor": client, "influxd": influxd.pid})
    todo = [(number, name, peer) for number in range(plan.rounds) for name in scenarios for peer in peers[name]]
    runs = []
    for done, (round_number, scenario, peer) in enumerate(todo, 1):
        run = await bench.run(round_number, scenario, peer)
        runs.append(run)
        house.say(
            f"{done}/{len(todo)} {SCENARIOS[scenario]}: {peer.name} {number(run.writes_per_second)} writes/s,"
            f" p50 {number(run.p50_ms)} ms"
        )
    await influxd.close()
    figures = {"onion": tabulate(runs)}
    if FRESH_AS_IT_COMES in scenarios:
        figures["reporters"] = count_reporters(runs)
    return Outcome("onion", figures, judge(runs), runs)


async def _launch(
    house: House, tor: Path, influxd: BenchInfluxd, scenarios: Sequence[str]
) -> dict[str, tuple[OnionPeer, OnionPeer]]:
    """Start what the scenarios need: both peers without proof of work, and with it."""
    house.say("starting the onion services")
    bare = {defends: await bare_onion(house, tor, influxd, f"bare-{defends}", defends) for defends in (False, True)}
    ours = {defends: await gateway_onion(house, tor, influxd, f"gate-{defends}", defends) for defends in (False, True)}
    return {
        name: (bare[SCENARIOS[name].pow_defends], ours[SCENARIOS[name].pow_defends or not SCENARIOS[name].fresh])
        for name in scenarios
    }


@frozen
class _Bench:
    house: House
    plan: Plan
    influxd: BenchInfluxd
    socks: str
    processes: dict[str, int]
    _numbers: Iterator[int] = field(factory=itertools.count)

    async def run(self, round_number: int, scenario: str, peer: OnionPeer) -> Run:
        """Measure one peer once, with a database of its own."""
        way, number_of_run = SCENARIOS[scenario], next(self._numbers)
        job = Job(
            socks=self.socks,
            hostname=peer.hostname,
            database=f"bench_{number_of_run}",
            connections=way.connections,
            fresh=way.fresh,
            seconds=self.plan.seconds * (FRESH_LONGER if way.fresh else 1),
            first_second=FIRST_SECOND + number_of_run * ROOM_SECONDS,
            processes=self.processes | peer.processes,
        )
        await self.influxd.create(job.database)
        report = await self._put_load(job)
        # The points of a write that failed may be there.
        await self.influxd.expect(job.database, POINTS * report.acknowledged, POINTS * report.failed)
        await self.influxd.drop(job.database)
        return Run(
            scenario,
            round_number,
            peer.name,
            report.writes / report.seconds,
            report.p50_ms,
            report.p99_ms,
            report.failed,
            {name: 1e3 * seconds / report.writes for name, seconds in report.cpu_seconds.items()},
            report.grown_bytes["tor"] / report.acknowledged / 1e3,
        )

    async def _put_load(self, job: Job) -> Report:
        log = self.house.directory / f"{job.database}.log"
        argv = [sys.executable, "-m", "benchmarks.onion_load", json.dumps(asdict(job))]
        await self.house.finish("the load generator", argv, log)
        return parse_report(log.read_text("utf-8", "replace"))


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured: a table for each way."""
    lines = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        lines += [f"{SCENARIOS[scenario]}, {POINTS} points a write:", ""]
        head = ("peer", "writes/s", "p50 ms", "p99 ms", "failed", "CPU ms: gateway", "its tor", "client tor", "influxd")
        lines += [*table(head, _rows(runs, scenario)), ""]
    return lines


def count_reporters(runs: Sequence[Run]) -> list[str]:
    """Tell how many reporters one gateway carries, from the runs of `FRESH_AS_IT_COMES`."""
    mine = _of(runs, FRESH_AS_IT_COMES, GATEWAY)
    gateway, tor, influxd = (spread(run.cpu_ms[name] for run in mine).median for name in ("gateway", "tor", "influxd"))
    # Memory that tor has freed it uses again, so the run that began with the least tells most.
    return tell(Cost(gateway=gateway, tor=tor, influxd=influxd, tor_kb=max(run.tor_kb for run in mine)))


def _rows(runs: Sequence[Run], scenario: str) -> Iterator[tuple[str, ...]]:
    for peer in (BARE, GATEWAY):
        mine = _of(runs, scenario, peer)
        cpu = (
            spread(run.cpu_ms.get(name, 0.0) for run in mine) for name in ("gateway", "tor", "client tor", "influxd")
        )
        yield (
            peer,
            str(spread(run.writes_per_second for run in mine)),
            str(spread(run.p50_ms for run in mine)),
            str(spread(run.p99_ms for run in mine)),
            str(sum(run.failed for run in mine)),
            *(number(each.median) for each in cpu),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    found = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        way = SCENARIOS[scenario]
        bare, ours = _of(runs, scenario, BARE), _of(runs, scenario, GATEWAY)
        if way.fresh:
            share = ratios([run.cpu_ms["gateway"] for run in ours], [run.cpu_ms["tor"] for run in ours])
            found.append(Threshold(f"{way}: CPU, gateway / its tor", share.median, GATEWAY_CPU_AT_MOST, at_most=True))
        else:
            rate = ratios([run.writes_per_second for run in ours], [run.writes_per_second for run in bare])
            latency = ratios([run.p50_ms for run in ours], [run.p50_ms for run in bare])
            found.append(Threshold(f"{way}: rate, torfluxd / bare onion", rate.median, RATE_AT_LEAST))
            found.append(Threshold(f"{way}: p50, torfluxd / bare onion", latency.median, LATENCY_AT_MOST, at_most=True))
    return found


def _of(runs: Sequence[Run], scenario: str, peer: str) -> list[Run]:
    return [run for run in runs if (run.scenario, run.peer) == (scenario, peer)]
