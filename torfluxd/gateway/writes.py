"""Strangers' writes on their way to InfluxDB, each told its own truth.

Bad lines never leave here; the good ones each have a time, and travel with others' (see `lanes`). A writer hears
InfluxDB's own answer about his lines. He never hears of a fault that is the vendor's.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Answer, Upstream
from torfluxd.gateway.bodies import Bodies, Body
from torfluxd.gateway.gathering import GATHER_SECONDS
from torfluxd.gateway.held import Held
from torfluxd.gateway.lanes import Lanes
from torfluxd.gateway.limiter import Share
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.screen import Screen
from torfluxd.gateway.tally import Tally
from torfluxd.influx.answers import WRITTEN, plain_body, too_large, unavailable
from torfluxd.influx.api import Api
from torfluxd.influx.dialect import Write
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.influx.stamp import Stamper

__all__ = ["Writes"]


class Writes:
    """Takes the body of each write, and brings the answer.

    :param upstream: where the lines go.
    :param clock: measures for how long writers who were refused are batched apart, and what waits for company.
    :param stamper: gives lines without a time theirs.
    :param api: in which InfluxDB is spoken to: what is a good line follows it.
    :param rules: what strangers may write; None for any lines, in bodies of the usual size.
    :param held: what is held for strangers; what waits here is part of it.
    :param tally: counts what becomes of them.
    :param gather_seconds: for how long after a write the next one may wait for company.
    """

    def __init__(
        self,
        upstream: Upstream,
        clock: IReactorTime,
        stamper: Stamper | None = None,
        api: Api = Api.V1,
        rules: LineRules | None = None,
        held: Held | None = None,
        tally: Tally | None = None,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        grammar = GRAMMARS[api]
        self._screen = None if rules is None else Screen(rules, grammar)
        self._rules = rules or LineRules()
        self._held = Held() if held is None else held
        self._tally = tally or Tally()
        self._bodies = Bodies(stamper or Stamper(), grammar, self._screen)
        self._lanes = Lanes(upstream, clock, self._bodies, _count_refused, self._done, self._tally, gather_seconds)

    @property
    def max_body_bytes(self) -> int:
        """How large a body may be, as it comes over the wire."""
        return self._rules.max_body_bytes

    def use(self, rules: LineRules) -> None:
        """Hold what is read from now on to these rules. What was counted (names, days) goes on to count.

        To be called only where there were rules from the start.
        """
        assert self._screen is not None
        self._rules = rules
        self._screen = self._bodies.screen = self._screen.under(rules)

    def write(self, write: Write, body: bytes, content_encoding: bytes | None, writer: Hashable) -> Deferred[Answer]:
        """Write the lines of one body.

        :param write: where to, and how they are meant.
        :param body: as it came over the wire.
        :param content_encoding: how it was encoded, or None. Only gzip is known; for InfluxDB, whatever else it says,
            the body is lines.
        :param writer: whose lines these are.
        :returns: a Deferred that fires with the answer. To cancel it, which is the one way in which it can fail, is to
            say that the writer has gone; his lines are written as if he were there.
        """
        if content_encoding is not None:
            plain = plain_body(write, body, content_encoding, self._rules.max_inflated_bytes)
            if isinstance(plain, Answer):
                return self._refused(plain)
            if isinstance(writer, Share):
                writer.spend(0, max(0, len(plain) - len(body)))
            body = plain
        raw = body.rstrip(b"\n")
        if not raw:
            self._tally.written += 1
            return succeed(WRITTEN)
        max_lines = self._rules.max_lines
        if len(raw) > max_lines and raw.count(b"\n") >= max_lines:
            return self._refused(too_large(write.dialect))
        if not self._held.may_wait(len(raw)):
            self._tally.postponed += 1
            return succeed(unavailable(write.dialect))
        self._held.waiting_bytes += len(raw)
        return self._lanes.take(Body(raw, write, writer))

    def _refused(self, answer: Answer) -> Deferred[Answer]:
        self._tally.refused += 1
        return succeed(answer)

    def _done(self, bodies: Sequence[Body]) -> None:
        self._held.waiting_bytes -= sum([len(body.raw) for body in bodies])


def _count_refused(writer: Hashable, lines: int) -> None:
    if isinstance(writer, Share):
        writer.spend_refused(lines)
