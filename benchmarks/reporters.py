"""How many reporters one gateway carries, as far as what a report costs tells. Pure."""

from __future__ import annotations

from attrs import frozen

from benchmarks.figures import number
from torfluxd.onion.torrc import POW_QUEUE_RATE_PER_SECOND

__all__ = ["Cost", "Limit", "limits", "tell"]

CORES = 2
"""Of the machine that the answer is for."""

REPORT_SECONDS = 60
"""Between two reports of one reporter, on average: its default."""

CIRCUIT_SECONDS = 600
"""How long the circuit of a report stays open: a reporter's tor closes it so long after it was used, and the gateway's
tor keeps its end until then (`MaxCircuitDirtiness`, tor(1))."""


@frozen
class Cost:
    """What one report on a fresh circuit costs the vendor's machine: milliseconds of CPU, and memory.

    :ivar tor: the gateway's own.
    :ivar tor_kb: the memory that its tor holds for an open circuit.
    """

    gateway: float
    tor: float
    influxd: float
    tor_kb: float

    @property
    def tor_kb_a_reporter(self) -> float:
        """The memory that the gateway's tor holds for one reporter."""
        return self.tor_kb * CIRCUIT_SECONDS / REPORT_SECONDS


@frozen
class Limit:
    """What holds the number of reporters down.

    :ivar what: for people.
    :ivar reports_per_second: no more than so many.
    """

    what: str
    reports_per_second: float

    @property
    def reporters(self) -> int:
        """How many of them that is, each with a report in `REPORT_SECONDS`; hundreds are all that is known of it."""
        return round(self.reports_per_second * REPORT_SECONDS / 100) * 100


def limits(cost: Cost) -> list[Limit]:
    """What holds the number of reporters down, the lowest first.

    Tor does an onion service's work in one thread, and so does the gateway.
    """
    found = [
        Limit("reporters are asked for proof of work above it", POW_QUEUE_RATE_PER_SECOND),
        Limit("tor has one core for itself, and it is full", 1000 / cost.tor),
        Limit("the gateway has one core for itself, and it is full", 1000 / cost.gateway),
        Limit(
            f"{CORES} cores are full with the gateway, its tor and influxd",
            CORES * 1000 / (cost.gateway + cost.tor + cost.influxd),
        ),
    ]
    return sorted(found, key=lambda limit: limit.reports_per_second)


def tell(cost: Cost) -> list[str]:
    """Say it, as it stands in `docs/performance.rst`."""
    found = limits(cost)
    return [
        f"One report on a fresh circuit: gateway {number(cost.gateway)} ms of CPU, its tor {number(cost.tor)} ms,"
        f" influxd {number(cost.influxd)} ms. With a report a minute each:",
        "",
        *(
            f"* {number(limit.reporters)} reporters, {number(limit.reports_per_second)} reports/s: {limit.what}"
            for limit in found
        ),
        f"* memory: {number(cost.tor_kb)} kB of the gateway's tor for an open circuit, {number(cost.tor_kb_a_reporter)}"
        f" kB for a reporter, {number(cost.tor_kb_a_reporter * found[0].reporters / 1e3)} MB for"
        f" {number(found[0].reporters)}",
        "",
    ]
