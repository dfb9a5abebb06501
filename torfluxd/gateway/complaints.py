"""What is wrong with InfluxDB, for the operator: said in the log, though not for each stranger who finds out."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

__all__ = ["Complaints"]

SILENT_SECONDS = 60.0
"""How long the log is silent after a complaint: strangers can cause one with each request."""

_log = Logger()


class Complaints:
    """Says in the log why InfluxDB did not do what a stranger asked.

    :param clock: measures the silence.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._silent_until = clock.seconds()

    def note(self, reason: str) -> None:
        """Say it, unless something was said a moment ago.

        :param reason: a sentence that holds nothing of what a stranger sent.
        """
        now = self._clock.seconds()
        if now >= self._silent_until:
            self._silent_until = now + SILENT_SECONDS
            _log.warn("InfluxDB did not serve a stranger, who was told to come back: {reason}", reason=reason)
