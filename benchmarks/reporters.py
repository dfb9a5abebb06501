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


@frozen
class Cost:
    """What one report on a fresh circuit costs the vendor's machine, in milliseconds of CPU.

    :ivar tor: the gateway's own.
    """

    gateway: float
    tor: float
    influxd: float


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
    return [
        f"One report on a fresh circuit: gateway {number(cost.gateway)} ms of CPU, its tor {number(cost.tor)} ms,"
        f" influxd {number(cost.influxd)} ms. With a report a minute each:",
        "",
        *(
            f"* {number(limit.reporters)} reporters, {number(limit.reports_per_second)} reports/s: {limit.what}"
            for limit in limits(cost)
        ),
        "",
    ]
