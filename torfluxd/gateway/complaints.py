"""What is wrong with InfluxDB, for the operator: said in the log, though not for each stranger who finds out."""

from __future__ import annotations

from collections.abc import Container

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import Destination, SpoolCounts
from torfluxd.gateway.high_water import HighWater

__all__ = ["Complaints"]

SILENT_SECONDS = 60.0
"""How long the log is silent after a complaint: strangers can cause one with each request."""

MAX_REASONS = 64
"""How many reasons are remembered as said. There are a handful; one with a number in it could come in many forms."""

_log = Logger()


class Complaints:
    """Says in the log why InfluxDB did not do what a stranger asked, and what became of that.

    Of an outage it tells the beginning, with the cause, and once a minute that it goes on; the end, when no destination
    is left of which nothing gets through; and when the spool is empty. No reason that it is given holds anything of
    what a stranger sent, and no destination is named: a stranger may have thought of it.

    :ivar outages: how many have begun.

    :param clock: measures the silence.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._silent_until: dict[tuple[str, str], float] = {}
        self._away: set[Destination] = set()
        self.outages = 0
        self._high_water: HighWater | None = None
        self._filled: SpoolCounts | None = None  # the counts when the spool was last empty, or just after

    @property
    def is_outage(self) -> bool:
        """Whether there is a destination of which nothing gets through."""
        return bool(self._away)

    def note(self, reason: str) -> None:
        """A stranger was told to come back, for this reason."""
        if self._may_speak("note", reason):
            _log.warn(
                "InfluxDB did not serve a stranger, who was told to come back: {reason}; {next}",
                reason=_phrase(reason),
                next=next_command(reason),
            )

    def found(self, counts: SpoolCounts, limit_bytes: int) -> None:
        """There is a spool, which may hold something from before.

        :param limit_bytes: how much it holds at most.
        """
        self._high_water = HighWater(limit_bytes)
        if counts.points:
            self._filled = counts
            _log.info("the spool holds {points} points from before, for InfluxDB", points=counts.points)
        self._high_water.see(counts.size_bytes)

    def kept(self, destination: Destination, reason: str, counts: SpoolCounts) -> None:
        """A write is kept in the spool, or stays there, for this reason."""
        self.outages += not self._away
        self._away.add(destination)
        if self._filled is None:
            self._filled = counts
        if self._may_speak("kept", reason):
            _log.warn(
                "InfluxDB takes no writes: {reason}; they are kept in the spool, which holds {points} points; {next}",
                reason=_phrase(reason),
                next=next_command(reason),
                points=counts.points,
            )
        self._see(counts)

    def arrived(self, destination: Destination, counts: SpoolCounts, waiting: Container[Destination]) -> None:
        """InfluxDB took a write out of the spool, or refused it for what is in it.

        :param counts: what the spool holds after that.
        :param waiting: the destinations of that.
        """
        if destination in self._away:
            self._away.remove(destination)
            self._away = {other for other in self._away if other in waiting}
            if not self._away:
                self._silent_until.clear()
                _log.info("InfluxDB takes writes again; {points} points wait in the spool", points=counts.points)
        if self._filled is not None and not counts.points:
            _log.info(
                "the spool is empty again: {delivered} points delivered, {refused} refused for what is in them",
                delivered=counts.delivered_points - self._filled.delivered_points,
                refused=counts.rejected_points - self._filled.rejected_points,
            )
            self._filled = None
        self._see(counts)

    def _see(self, counts: SpoolCounts) -> None:
        if self._high_water is not None:
            self._high_water.see(counts.size_bytes)

    def _may_speak(self, what: str, reason: str) -> bool:
        """Whether nothing of the kind was said a moment ago, for the same reason: a new one is news at once."""
        now = self._clock.seconds()
        said = what, reason.partition(";")[0]  # what follows may hold numbers that change
        if now < self._silent_until.get(said, now):
            return False
        if len(self._silent_until) >= MAX_REASONS:
            self._silent_until.clear()
        self._silent_until[said] = now + SILENT_SECONDS
        return True


def _phrase(reason: str) -> str:
    """A reason within a sentence: those that come from the operating system end with a full stop."""
    return reason.rstrip(".")


def next_command(reason: str) -> str:
    """What an operator does next, given why InfluxDB did not take a write."""
    if reason.startswith("there was no answer"):
        return "see whether it runs (systemctl status influxdb), and whether --influxdb leads to it"
    return "see its own log (journalctl -u influxdb)"
