"""InfluxDB goes away and comes back: what the gateway acknowledges meanwhile, and how fast that arrives afterwards.

While InfluxDB is away, a write is acknowledged when it is on the gateway's disk, with fsync. When InfluxDB is back,
what was kept is delivered, while new writes go on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from attrs import field, frozen
from twisted.internet.defer import Deferred

from benchmarks.figures import Threshold, number, ratios, spread, table
from benchmarks.house import BenchError, House
from benchmarks.influxd import BenchInfluxd
from benchmarks.outcome import Outcome, Plan
from benchmarks.peers import Peer, launch_gateway
from benchmarks.wrk import ROOM_SECONDS, Load, Report, Wrk

__all__ = ["SCENARIOS", "Drain", "Run", "judge", "measure", "tabulate"]

LOADS = (Load(1, 64), Load(1, 256))
SCENARIOS = {f"outage-{load.connections}": load for load in LOADS}

LIVE = Load(1, 16)
"""What goes on while the spool drains: a busy day, not a flood."""

LIVE_SECONDS = 1
WARM_UP_SECONDS = 1

DRAIN_SECONDS = 120.0
"""When we give up waiting for what was acknowledged: twenty times what it should take."""

_LOOK_SECONDS = 0.1

RATE_AT_LEAST = 0.5
"""Acknowledged writes during the outage, times those before it."""

DRAIN_AT_LEAST = 20_000
"""Points a second."""


@frozen
class Drain:
    """How the spool drained.

    :ivar points: that were acknowledged during the outage.
    :ivar waited_seconds: from InfluxDB's return to the last moment at which none of them was there.
    :ivar points_per_second: from then on until all were.
    """

    points: int
    waited_seconds: float
    points_per_second: float


@frozen
class Run:
    """One outage.

    :ivar before: acknowledged writes a second while InfluxDB was there.
    :ivar during: while it was away.
    :ivar during_p50_ms: median latency of the latter.
    :ivar live: acknowledged writes a second while the spool drained.
    """

    scenario: str
    round: int
    before: float
    during: float
    during_p50_ms: float
    live: float
    drain: Drain


async def measure(house: House, plan: Plan) -> Outcome:
    """Measure what the plan has of `SCENARIOS`, round after round.

    :raises BenchError: a write was refused, or what was acknowledged does not arrive.
    """
    influxd = await BenchInfluxd.launch(house, "influxd-outage")
    gateway = await launch_gateway(house, influxd)
    bench = _Bench(house, plan, influxd, gateway, Wrk(house))
    scenarios = [name for name in SCENARIOS if plan.wants(name)]
    todo = list(itertools.product(range(plan.rounds), scenarios))
    runs = []
    for done, (round_number, scenario) in enumerate(todo, 1):
        run = await bench.run(round_number, scenario)
        runs.append(run)
        house.say(
            f"{done}/{len(todo)} outage, {SCENARIOS[scenario]}: {number(run.before)} writes/s before,"
            f" {number(run.during)} during it; {run.drain.points} points drained at"
            f" {number(run.drain.points_per_second)} points/s"
        )
    await influxd.close()
    return Outcome("outage", {"outage": tabulate(runs)}, judge(runs), runs)


@frozen
class _Bench:
    house: House
    plan: Plan
    influxd: BenchInfluxd
    gateway: Peer
    wrk: Wrk
    _databases: Iterator[int] = field(factory=itertools.count)

    async def run(self, round_number: int, scenario: str) -> Run:
        """Have one outage."""
        database = f"outage_{next(self._databases)}"
        load, seconds = SCENARIOS[scenario], self.plan.seconds
        await self.influxd.create(database)
        before = [await self._put(database, load, WARM_UP_SECONDS), await self._put(database, load, seconds)]
        await self.influxd.stop()
        during = [await self._put(database, load, WARM_UP_SECONDS), await self._put(database, load, seconds)]
        await self.influxd.start()
        returned = self.house.reactor.seconds()
        drained: list[Drain] = []
        live_load = Deferred.fromCoroutine(self._live(database, drained))
        try:
            drained.append(await self._drain(database, during, returned))
        except BaseException:
            live_load.addErrback(lambda _: None)  # why the drain ended is what is told
            live_load.cancel()
            raise
        live = await live_load
        reports = [*before, *during, *live]
        acknowledged = sum(report.requests for report in reports)
        in_flight = max(load.connections for load in LOADS) * len(reports)
        # What strangers wrote before InfluxDB's return was noticed was kept as well, behind what is drained by now.
        await self.influxd.expect(database, acknowledged, in_flight, DRAIN_SECONDS)
        await self.influxd.drop(database)
        rate = sum(report.requests for report in live) / sum(report.seconds for report in live)
        return Run(
            scenario,
            round_number,
            before[1].writes_per_second,
            during[1].writes_per_second,
            during[1].p50_ms,
            rate,
            drained[0],
        )

    async def _put(self, database: str, load: Load, seconds: int) -> Report:
        return await self.wrk.run(self.gateway.port, database, load, seconds)

    async def _live(self, database: str, drained: Sequence[Drain]) -> list[Report]:
        reports = []
        while not drained:
            reports.append(await self._put(database, LIVE, LIVE_SECONDS))
        return reports

    async def _drain(self, database: str, kept: Sequence[Report], returned: float) -> Drain:
        """Watch InfluxDB until it has what was acknowledged without it."""
        acknowledged = sum(report.requests for report in kept)
        room = kept[-1].first_second + ROOM_SECONDS - kept[0].first_second
        clock = self.house.reactor
        none_there = returned
        while (found := await self.influxd.count(database, kept[0].first_second, room)) < acknowledged:
            if clock.seconds() > returned + DRAIN_SECONDS:
                raise BenchError(f"of {acknowledged} points acknowledged during an outage {found} arrived")
            if not found:
                none_there = clock.seconds()
            await self.house.pause(_LOOK_SECONDS)
        return Drain(acknowledged, none_there - returned, acknowledged / (clock.seconds() - none_there))


def tabulate(runs: Sequence[Run]) -> list[str]:
    """Lay out what was measured."""
    head = (
        "1 point a write",
        "writes/s",
        "during outage",
        "ratio",
        "p50 ms",
        "drain points/s",
        "after s",
        "live writes/s",
    )
    return ["An outage of InfluxDB:", "", *table(head, _rows(runs)), ""]


def _rows(runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    for scenario in dict.fromkeys(run.scenario for run in runs):
        mine = [run for run in runs if run.scenario == scenario]
        yield (
            f"{SCENARIOS[scenario].connections} connections",
            str(spread(run.before for run in mine)),
            str(spread(run.during for run in mine)),
            str(ratios([run.during for run in mine], [run.before for run in mine])),
            str(spread(run.during_p50_ms for run in mine)),
            str(spread(run.drain.points_per_second for run in mine)),
            str(spread(run.drain.waited_seconds for run in mine)),
            str(spread(run.live for run in mine)),
        )


def judge(runs: Sequence[Run]) -> list[Threshold]:
    """Hold it against what it must show."""
    found = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        mine = [run for run in runs if run.scenario == scenario]
        what = f"outage, {SCENARIOS[scenario]}"
        rate = ratios([run.during for run in mine], [run.before for run in mine]).median
        drain = spread(run.drain.points_per_second for run in mine).median
        found.append(Threshold(f"{what}: acknowledged during / before", rate, RATE_AT_LEAST))
        found.append(Threshold(f"{what}: points/s drained, live writes going on", drain, DRAIN_AT_LEAST))
    return found
