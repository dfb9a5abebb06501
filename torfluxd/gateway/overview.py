"""One gateway at a glance: what its parts count, and how they are, put together when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torfluxd
from torfluxd.onion.status import TorStatus
from torfluxd.ops.figures import Figures
from torfluxd.ops.status import Status

__all__ = ["onion_figures", "onion_problems", "overview"]


def overview(
    figures: Figures, problems: Sequence[str], tor: TorStatus | None, hostname: str, started_at: float, now: float
) -> Status:
    """How a gateway is.

    :param figures: of those who serve strangers.
    :param problems: why what strangers write is not taken.
    :param tor: how tor is; None where there is no onion service.
    :param hostname: of the onion service.
    :param started_at: when the gateway was started, in seconds since 1970.
    :param now: the same of this moment.
    """
    if tor is not None:
        figures += onion_figures(tor, now)
        problems = (*onion_problems(tor), *problems)
    figures += Figures(ready=float(not problems), start_time_seconds=started_at)
    return Status(
        version=torfluxd.__version__,
        onion=f"http://{hostname}" if tor is not None else "",
        state=", ".join(_state(figures, tor)),
        problems=tuple(problems),
        figures=figures,
    )


def onion_figures(tor: TorStatus, now: float) -> Figures:
    """How tor and the onion service are, in numbers."""

    def age(at: float | None) -> float | None:
        return None if at is None else max(0.0, now - at)

    return Figures(
        onion_published=float(tor.is_published),
        onion_descriptor_age_seconds=age(tor.descriptor_uploaded_at),
        onion_canary_age_seconds=age(tor.canary_succeeded_at),
        onion_canary_failures=float(tor.canary_failures),
        tor_bootstrap_percent=tor.bootstrap_percent,
        tor_losses=tor.losses,
    )


def onion_problems(tor: TorStatus) -> Sequence[str]:
    """Why strangers cannot reach us, as far as we know."""
    if tor.is_published:
        return ()
    return (f"the onion service is not published: {_tor_does(tor)}",)


_DOES = {
    "stopped": "tor is not started yet",
    "opening": "tor is being started",
    "publishing": "the directories are told of it",
    "closing": "tor was lost, and comes back by itself",
    "waiting": "tor was lost, and comes back by itself",
    "stopping": "tor is being stopped",
    "restarting": "tor is being started again",
}


def _tor_does(tor: TorStatus) -> str:
    if tor.state == "joining":
        how_far = "" if tor.bootstrap_percent is None else f", {tor.bootstrap_percent} %"
        return f"tor joins its network{how_far}"
    return _DOES.get(tor.state, tor.state)


def _state(figures: Figures, tor: TorStatus | None) -> Iterator[str]:
    if tor is None:
        yield "serving"
    elif tor.is_published:
        yield "published" if tor.state != "doubtful" else "published, but not reached by ourselves"
    else:
        yield _tor_does(tor)
    if figures.influxdb_up == 0:
        yield "InfluxDB takes no writes"
    if figures.spool_points:
        yield f"{figures.spool_points} points wait in the spool"
