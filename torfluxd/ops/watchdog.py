"""Tells systemd that we are alive, as long as we are: the reactor turns, and the spool brings things to the disk.

A process that hangs is restarted by systemd when it has not heard of it for `WatchdogSec=`. So what is told must be
worth something: before each word the spool is asked to sync something to the disk, in its own thread, behind all that
waits there. While that does not answer, nothing is told.

A disk that is full, or fails, is another thing: the spool says so, in time. A restart would mend nothing, and would cut
off strangers whose writes InfluxDB takes; so we are alive then, and the log, `/ready` and the alerts tell the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import SpoolError
from torfluxd.ops.notify import watchdog_seconds

__all__ = ["FEEDS_IN_TIME", "Watchdog", "start_watchdog"]

FEEDS_IN_TIME: Final = 2
"""How often it is fed in the time that it waits, as sd_watchdog_enabled(3) advises."""

_log = Logger()


def start_watchdog(
    environment: Mapping[str, str], clock: IReactorTime, prove: Callable[[], Deferred[None]], feed: Callable[[], None]
) -> Watchdog | None:
    """Feed the watchdog that systemd has set, if it has set one. The parameters are those of :class:`Watchdog`.

    :param environment: `os.environ`, in which systemd says so.
    """
    patience_seconds = watchdog_seconds(environment)
    if patience_seconds is None:
        return None
    watchdog = Watchdog(clock, patience_seconds, prove, feed)
    watchdog.start()
    return watchdog


class Watchdog:
    """Feeds one watchdog.

    :param clock: the reactor.
    :param patience_seconds: how long it waits.
    :param prove: fires when the spool works, or fails with :class:`~torfluxd.errors.SpoolError` when it does not, but
        answers.
    :param feed: called each time that it may be told.
    """

    def __init__(
        self,
        clock: IReactorTime,
        patience_seconds: float,
        prove: Callable[[], Deferred[None]],
        feed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._pause_seconds = patience_seconds / FEEDS_IN_TIME
        self._prove = prove
        self._feed = feed
        self._next: IDelayedCall | None = None
        self._stopped = True

    def start(self) -> None:
        """Begin, with the first word as soon as it is true."""
        self._stopped = False
        self._look()

    def stop(self) -> None:
        """End. What is under way feeds nobody any more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        begun = self._clock.seconds()
        self._next = None
        self._prove().addErrback(_is_told).addCallbacks(self._proved, self._failed, (begun,))

    def _proved(self, _: None, begun: float) -> None:
        if self._stopped:
            return
        self._feed()
        passed = max(0.0, self._clock.seconds() - begun)
        self._next = self._clock.callLater(max(0.0, self._pause_seconds - passed), self._look)

    def _failed(self, failure: Failure) -> None:
        """A fault of our own: we do not know that we are alive, so let systemd restart us."""
        _log.failure("the spool could not be asked whether it works; systemd's watchdog is fed no more", failure)


def _is_told(failure: Failure) -> None:
    """The spool answers, and its trouble has been told."""
    failure.trap(SpoolError)
