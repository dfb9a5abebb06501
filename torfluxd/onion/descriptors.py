"""When an onion service is published: tor's descriptor events, read. Pure but for one Deferred.

`HS_DESC` events are those of control-spec section 4.1.25: `UPLOADED <address> UNKNOWN <directory> ...`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

__all__ = ["DescriptorWatch"]


class DescriptorWatch:
    """Counts what becomes of one onion service's descriptors.

    :ivar uploaded: descriptors taken by a directory so far.
    :ivar failed: uploads refused by a directory so far.
    """

    def __init__(self, service_name: str) -> None:
        """:param service_name: the address without `.onion`, as in tor's events."""
        self._name = service_name
        self.uploaded = 0
        self.failed = 0
        self._waiting: list[Deferred[None]] = []

    def take(self, event: str) -> None:
        """Take the text of one `HS_DESC` event; events of other onion services are passed over."""
        words = event.split()
        if len(words) < 2 or words[1] != self._name:
            return
        if words[0] == "UPLOADED":
            self.uploaded += 1
            waiting, self._waiting = self._waiting, []
            for published in waiting:
                published.callback(None)
        elif words[0] == "FAILED":
            self.failed += 1

    def when_published(self) -> Deferred[None]:
        """Fire when the first directory has taken a descriptor: from then on clients find the onion service.

        Fails only with CancelledError, when it is cancelled.
        """
        published: Deferred[None] = Deferred(self._forget)
        if self.uploaded:
            published.callback(None)
        else:
            self._waiting.append(published)
        return published

    def _forget(self, published: Deferred[None]) -> None:
        self._waiting.remove(published)
