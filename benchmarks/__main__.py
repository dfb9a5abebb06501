"""`python -m benchmarks`: measure the gateway side by side with its peers, and say whether it is fast enough."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Awaitable, Callable, Iterable
from os import cpu_count
from pathlib import Path
from typing import cast

from attrs import asdict, frozen
from twisted.internet import reactor
from twisted.python import usage

from benchmarks import loopback, onion, outage, recording, schema, workers
from benchmarks.document import fill
from benchmarks.house import House
from benchmarks.outcome import Outcome, Plan
from torfluxd.children import Keeper
from torfluxd.errors import TorfluxdError
from torfluxd.gateway.service import GatewayReactor
from torfluxd.ops.ending import refuse
from torfluxd.ops.foreground import run_in_foreground

ROUNDS, QUICK_ROUNDS = 5, 1
SECONDS, QUICK_SECONDS = 4, 3

Measure = Callable[[House, Plan], Awaitable[Outcome]]

MODULES: tuple[tuple[Iterable[str], Measure], ...] = (
    (loopback.SCENARIOS, loopback.measure),
    (schema.SCENARIOS, schema.measure),
    (workers.SCENARIOS, workers.measure),
    (outage.SCENARIOS, outage.measure),
    (recording.SCENARIOS, recording.measure),
    (onion.SCENARIOS, onion.measure),
)
"""The names of the scenarios of each module, and who measures them."""


class BenchOptions(usage.Options):
    """The options of `make bench ARGS='...'`."""

    optFlags = [
        ["quick", None, f"{QUICK_ROUNDS} round of {QUICK_SECONDS} s: to see that it runs, not to quote."],
        ["check", None, "Exit code 1 when something is slower than it must be."],
    ]
    optParameters = [
        ["rounds", None, None, f"How often each peer is measured. [default: {ROUNDS}]", int],
        ["seconds", None, None, f"How long each timed part is. [default: {SECONDS}]", int],
        ["json", None, None, "A file for every single measurement."],
        ["document", None, None, "Put the tables into this file, docs/performance.rst."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self.only: list[str] = []

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: make bench ARGS='[options]'"

    def opt_only(self, name: str) -> None:
        """The beginning of the names of the scenarios to measure, such as loopback-1 (repeatable)."""
        if not any(scenario.startswith(name) for scenario in _scenarios()):
            raise usage.UsageError(f"--only: no scenario begins with {name!r}; there are {', '.join(_scenarios())}")
        self.only.append(name)

    @property
    def plan(self) -> Plan:
        """What is to be measured."""
        quick = self["quick"]
        return Plan(
            self["rounds"] or (QUICK_ROUNDS if quick else ROUNDS),
            self["seconds"] or (QUICK_SECONDS if quick else SECONDS),
            tuple(self.only),
        )


def _scenarios() -> list[str]:
    return [name for names, _ in MODULES for name in names]


@frozen
class Bench:
    """One run of the benchmark."""

    reactor: GatewayReactor
    options: BenchOptions

    async def run(self) -> int:
        """Run it, and print what came of it.

        :returns: the exit code.
        """
        plan = self.options.plan
        wanted = [(names, measure) for names, measure in MODULES if any(map(plan.wants, names))]
        return self._tell([await self._measure(names, measure) for names, measure in wanted])

    async def _measure(self, names: Iterable[str], measure: Measure) -> Outcome:
        """Measure with processes that nobody else's measurements meet."""
        keeper = Keeper()
        keeper.start(self.reactor)
        house = House(self.reactor, keeper, keeper.directory("bench-"))
        try:
            return await measure(house, self.options.plan)
        except TorfluxdError as error:  # what the others measure counts all the same
            house.say(f"FAILED: {error}")
            return Outcome(", ".join(names), {}, [], [], str(error))
        finally:
            await keeper.stop()

    def _tell(self, outcomes: list[Outcome]) -> int:
        """Print everything, put it where it was asked for, and say whether it is good enough."""
        figures = {name: [*lines] for outcome in outcomes for name, lines in outcome.figures.items()}
        thresholds = [threshold for outcome in outcomes for threshold in outcome.thresholds]
        print(f"\n{_circumstances(self.options.plan)}")
        for lines in figures.values():
            print("", *lines, sep="\n", end="")
        print("", *thresholds, *(f"FAILED: {each.name}: {each.failure}" for each in outcomes if each.failure), sep="\n")
        if self.options["json"]:
            self._write_json(Path(self.options["json"]), outcomes)
        if self.options["document"]:
            document = Path(self.options["document"])
            circumstances = [_circumstances(self.options.plan), ""]
            rooms = {name: circumstances + lines for name, lines in figures.items()}
            document.write_text(fill(document.read_text(), rooms))
        too_slow = self.options["check"] and not all(threshold.is_met for threshold in thresholds)
        return int(too_slow or any(outcome.failure for outcome in outcomes))

    def _write_json(self, path: Path, outcomes: list[Outcome]) -> None:
        told = {
            "circumstances": _circumstances(self.options.plan),
            "runs": {each.name: [asdict(run) for run in each.runs] for each in outcomes},
            "thresholds": [
                {**asdict(threshold), "is_met": threshold.is_met} for each in outcomes for threshold in each.thresholds
            ],
            "failures": {each.name: each.failure for each in outcomes if each.failure},
        }
        path.write_text(json.dumps(told, indent=1) + "\n")


def _circumstances(plan: Plan) -> str:
    return (
        f"{plan.rounds} rounds of {plan.seconds:g} s, on {cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" with Python {platform.python_version()}; medians (lowest..highest)."
    )


def main() -> int:
    """Run the benchmark; the exit code."""
    options = BenchOptions()
    try:
        usage.Options.parseOptions(options)
    except usage.UsageError as error:
        refuse(f"bench: {error}")
    bench = Bench(cast(GatewayReactor, reactor), options)
    return run_in_foreground(bench.reactor, bench.run)


if __name__ == "__main__":
    sys.exit(main())
