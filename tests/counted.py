"""An upstream that counts what is sent."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from torfluxd.boundaries import Batch, Reply, Upstream

__all__ = ["Counted"]


class Counted:
    """An upstream before another one, that counts."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.sends = 0

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Count it, and send it on."""
        self.sends += 1
        return self.upstream.send(batch)
