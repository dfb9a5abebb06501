"""How a tor and its onion service are now, as a value: for whoever shows it to an operator. Pure."""

from __future__ import annotations

from attrs import frozen

__all__ = ["TorStatus"]

_PUBLISHED = frozenset({"published", "reachable", "doubtful"})
_THERE = _PUBLISHED | {"joining", "publishing"}


@frozen
class TorStatus:
    """How a tor is at one moment. Times are those of the service's clock: of a reactor, seconds since 1970.

    :ivar state: the state of its lifecycle: `stopped`, `opening`, `joining`, `publishing`, `published` (up, and nobody
        has tried yet whether it can be reached), `reachable` (we have reached it ourselves), `doubtful` (the last
        attempt to reach it failed), `closing`, `waiting`, `stopping` or `restarting`.
    :ivar bootstrap_percent: how far tor has joined its network; None while there is no tor that has told.
    :ivar descriptor_uploaded_at: when a directory last took a descriptor of the onion service; None before the first,
        and without an onion service.
    :ivar canary_succeeded_at: when we last reached ourselves; None before the first time, and where that is not tried.
    :ivar canary_failures: how many attempts since then have failed.
    :ivar losses: how often a tor that had been up was lost, or let go to be mended.
    :ivar circuits: how many circuits of strangers have a connection now; None where that is not known.
    """

    state: str = "stopped"
    bootstrap_percent: int | None = None
    descriptor_uploaded_at: float | None = None
    canary_succeeded_at: float | None = None
    canary_failures: int = 0
    losses: int = 0
    circuits: int | None = None

    @property
    def is_published(self) -> bool:
        """Whether tor has joined its network, and the onion service, if there is one, is published."""
        return self.state in _PUBLISHED

    @property
    def is_there(self) -> bool:
        """Whether there is a tor that lets us in."""
        return self.state in _THERE
