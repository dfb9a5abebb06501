"""When an onion service is published: tor's descriptor events, read. Pure but for one Deferred.

`HS_DESC` events are those of control-spec section 4.1.25: `UPLOAD <address> UNKNOWN <directory> ...` when an upload
begins, then `UPLOADED <address> UNKNOWN <directory>` or `FAILED ...`.

An onion service has two descriptors, for the present and the next period of time, each with several directories. A
client asks some of these. So the first upload may still be of no use to anybody, and after a restart clients are
given the old descriptor by those directories that do not have the new one: an onion service is published when all
uploads that were begun are answered.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["DescriptorWatch"]


class DescriptorWatch:
    """Counts what becomes of one onion service's descriptors.

    :ivar begun: uploads begun so far.
    :ivar uploaded: descriptors taken by a directory so far.
    :ivar failed: uploads refused by a directory so far.
    :ivar uploaded_at: when a directory last took one, in the clock's seconds; None before the first.
    """

    def __init__(self, service_name: str, clock: IReactorTime) -> None:
        """:param service_name: the address without `.onion`, as in tor's events."""
        self._name = service_name
        self._clock = clock
        self.uploaded_at: float | None = None
        self.begun = 0
        self.uploaded = 0
        self.failed = 0
        self._waiting_for_first: list[Deferred[None]] = []
        self._waiting_for_all: list[Deferred[None]] = []

    def take(self, event: str) -> None:
        """Take the text of one `HS_DESC` event; events of other onion services are passed over."""
        words = event.split()
        if len(words) < 2 or words[1] != self._name:
            return
        if words[0] == "UPLOAD":
            self.begun += 1
        elif words[0] == "UPLOADED":
            self.uploaded += 1
            self.uploaded_at = self._clock.seconds()
        elif words[0] == "FAILED" and words[2:3] == ["UNKNOWN"]:  # of a client that asks for one, tor knows the kind
            self.failed += 1
        if self.uploaded:
            _fire(self._waiting_for_first)
        if self._all_answered:
            _fire(self._waiting_for_all)

    @property
    def _all_answered(self) -> bool:
        return self.uploaded > 0 and self.uploaded + self.failed >= self.begun

    def when_first_uploaded(self) -> Deferred[None]:
        """Fire when a directory has taken a descriptor. Fails only with CancelledError, when it is cancelled."""
        return _wait(self._waiting_for_first, now=self.uploaded > 0)

    def when_all_answered(self) -> Deferred[None]:
        """Fire when every upload that was begun is answered, and one at least was taken.

        Fails only with CancelledError, when it is cancelled.
        """
        return _wait(self._waiting_for_all, now=self._all_answered)


def _wait(waiting: list[Deferred[None]], *, now: bool) -> Deferred[None]:
    fired: Deferred[None] = Deferred(waiting.remove)
    if now:
        fired.callback(None)
    else:
        waiting.append(fired)
    return fired


def _fire(waiting: list[Deferred[None]]) -> None:
    while waiting:
        waiting.pop().callback(None)
