"""What local clients write, on its way into the reporter: read, checked, kept, and only then answered."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.boundaries import Answer, Destination
from torfluxd.errors import TorfluxdError
from torfluxd.influx.answers import WRITTEN, plain_body, told_of_bad_lines, unavailable
from torfluxd.influx.api import Api
from torfluxd.influx.check import Checked, check, merged, named
from torfluxd.influx.dialect import Write
from torfluxd.influx.grammar import GRAMMARS, Grammar
from torfluxd.influx.stamp import stamp_lines
from torfluxd.reporter.forms import MAX_LINE_BYTES as REPORTED_LINE_BYTES

__all__ = ["KEEP_SECONDS", "LONG_LINE", "MAX_LINE_BYTES", "Intake", "Keep"]

KEEP_SECONDS: Final = 20.0
"""How long it may take to keep points: what a commit takes, a second, and what a disk that is busy with something else
may take. Clients give up after 5 s (Telegraf) to a minute, and come back."""

MAX_LINE_BYTES: Final = REPORTED_LINE_BYTES - 64
"""A reporter takes no longer lines, once they have their coarse times. A gateway takes some 4 KiB more by default."""

LONG_LINE: Final = "line is too long"


class Keep(Protocol):
    """Keeps points until they are reported."""

    def keep(self, lines: bytes, destination: Destination) -> Deferred[bool]:
        """Keep points.

        :param lines: good line protocol, one point a line, each with its time in nanoseconds, or without one: then it
            is for the keeper to give it one.
        :returns: a Deferred that fires with True when they are on the disk; with False when the reporter's rules leave
            nothing of them, so that they are not to be had. It fails with :class:`~torfluxd.errors.TorfluxdError` when
            they are not kept, and may be sent again; and with :class:`~twisted.internet.defer.CancelledError` when it
            is cancelled, which changes nothing for the points.
        """


class Intake:
    """Takes the bodies of writes.

    :param keep: keeps their lines.
    :param clock: measures how long that takes.
    :param limit_bytes: how large a body may be, as it comes and inflated.
    :param pinned: where all points go, whatever clients ask for; None for where they ask.
    :param api: of the vendor's InfluxDB: what is a good line follows it.
    """

    _log = Logger()

    def __init__(
        self,
        keep: Keep,
        clock: IReactorTime,
        limit_bytes: int,
        *,
        pinned: Destination | None = None,
        api: Api = Api.V1,
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._pinned = pinned
        self._grammar: Grammar = GRAMMARS[api]
        self._is_in_trouble = False

    def take(self, write: Write, body: bytes, content_encoding: bytes | None) -> Deferred[Answer]:
        """Take the body of one write.

        :param write: where to, and how the lines are meant.
        :param body: as it came.
        :param content_encoding: how it is encoded, or None. Only gzip is known, as to InfluxDB.
        :returns: a Deferred that fires with what the client hears when its good lines are kept, or cannot be. It never
            fails.
        """
        if content_encoding is not None:
            plain = plain_body(write, body, content_encoding, self._limit_bytes)
            if isinstance(plain, Answer):
                return succeed(plain)
            body = plain
        checked = _without_long_lines(check(body, write.precision, self._grammar), body)
        told = told_of_bad_lines(write, checked) if checked.bad else WRITTEN
        if not checked.points or (checked.bad and write.is_whole):
            return succeed(told)
        lines = stamp_lines(checked.lines, None, write.precision, checked.timestamps)
        kept = self._keep.keep(lines, self._pinned or write.destination)
        kept.addTimeout(KEEP_SECONDS, self._clock, onTimeoutCancel=_too_slow)
        return kept.addCallbacks(self._kept, self._not_kept, callbackArgs=(told,), errbackArgs=(write,))

    def _kept(self, _taken: bool, told: Answer) -> Answer:
        if self._is_in_trouble:
            self._is_in_trouble = False
            self._log.info("What clients write is kept again.")
        return told

    def _not_kept(self, failure: Failure, write: Write) -> Answer:
        if failure.check(TorfluxdError) is None:
            self._log.failure("What a client wrote could not be kept, for a fault of ours", failure)
        elif not self._is_in_trouble:
            self._is_in_trouble = True
            self._log.error(
                "What clients write cannot be kept, and they are told to come back: {why}",
                why=failure.getErrorMessage(),
            )
        return unavailable(write.dialect)


def _too_slow(_result: object, seconds: float) -> bool:
    raise TorfluxdError(f"the disk took more than {seconds:.0f} s") from None


def _without_long_lines(checked: Checked, body: bytes) -> Checked:
    """What is left when lines are refused that no gateway takes."""
    if len(checked.lines) <= MAX_LINE_BYTES:
        return checked
    lines = checked.lines.split(b"\n")
    long = [(number, LONG_LINE) for number, line in enumerate(lines) if len(line) > MAX_LINE_BYTES]
    if not long:
        return checked
    good = [line for line in lines if len(line) <= MAX_LINE_BYTES]
    bad = merged(checked.bad, named(body, checked.lines, long))
    return Checked(b"\n".join(good), len(good), checked.timestamps, bad)
