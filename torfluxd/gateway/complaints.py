"""What is wrong with InfluxDB, for the operator: said in the log, though not for each stranger who finds out."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import SpoolCounts

__all__ = ["Complaints"]

SILENT_SECONDS = 60.0
"""How long the log is silent after a complaint: strangers can cause one with each request."""

_log = Logger()


class Complaints:
    """Says in the log why InfluxDB did not do what a stranger asked, and what became of that.

    No reason that it is given holds anything of what a stranger sent.

    :param clock: measures the silence.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._silent_until: dict[str, float] = {}
        self._outage = False

    def note(self, reason: str) -> None:
        """A stranger was told to come back, for this reason."""
        if self._may_speak("note"):
            _log.warn("InfluxDB did not serve a stranger, who was told to come back: {reason}", reason=reason)

    def kept(self, reason: str, counts: SpoolCounts) -> None:
        """A write was kept in the spool, for this reason."""
        self._outage = True
        if self._may_speak("kept"):
            _log.warn(
                "InfluxDB takes no writes: {reason}. They are kept in the spool until it does, which holds {points}"
                " points",
                reason=reason,
                points=counts.points,
            )

    def mended(self, counts: SpoolCounts) -> None:
        """InfluxDB took a write that had been kept."""
        self._silent_until.pop("kept", None)
        if self._outage:
            self._outage = False
            _log.info("InfluxDB takes writes again; the spool holds {points} points for it", points=counts.points)

    def _may_speak(self, what: str) -> bool:
        """Whether nothing of the kind was said a moment ago."""
        now = self._clock.seconds()
        if now < self._silent_until.get(what, now):
            return False
        self._silent_until[what] = now + SILENT_SECONDS
        return True
