"""From the head of a request to what is done with it: the policy's verdicts, carried out.

This is the site behind every door of the gateway, :class:`~torfluxd.gateway.exchange.Site`.
"""

from __future__ import annotations

import secrets
from collections.abc import Hashable
from functools import lru_cache

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer, IResponse

from torfluxd.boundaries import Answer
from torfluxd.errors import UpstreamError
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.exchange import CANARY_PONG, Collect, Head, PassThrough, Plan, Site
from torfluxd.gateway.heads import REMEMBERED_HEADS
from torfluxd.gateway.policy import Accept, HearStatement, Policy, Say
from torfluxd.gateway.tally import Tally
from torfluxd.gateway.writes import Writes
from torfluxd.influx.answers import too_large, unavailable
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.greetings import NOT_FOUND, answer_statement
from torfluxd.influx.passthrough import HttpPassThrough

__all__ = ["Routes", "make_canary_target"]

MAX_STATEMENT_BYTES = 4096
"""The most that is read of a statement. `CREATE DATABASE` with a name of 64 bytes and a retention policy has 200."""

_BAD_REQUEST = Answer(400)


def make_canary_target() -> bytes:
    """What our own canary asks for: `/ping`, with a word that nobody else knows, so that it is told from strangers."""
    return b"/ping?" + secrets.token_hex(16).encode("ascii")


class Routes:
    """Decides on every request.

    :param policy: what strangers may do.
    :param writes: takes the writes.
    :param pass_through: takes what goes to InfluxDB as it is.
    :param complaints: told why something could not be passed on.
    :param tally: counts what is answered here, or passed on.
    :param canary_target: what our own canary asks for; by default there is none.
    """

    def __init__(
        self,
        policy: Policy,
        writes: Writes,
        pass_through: HttpPassThrough,
        complaints: Complaints,
        tally: Tally | None = None,
        canary_target: bytes | None = None,
    ) -> None:
        self._canary_target = canary_target
        self.use(policy)
        self._tally = tally or Tally()
        self._writes = writes
        self._pass_through = pass_through
        self._complaints = complaints

    def use(self, policy: Policy) -> None:
        """Judge by this from now on."""
        self._judge = policy.judge
        self._plan_once = lru_cache(REMEMBERED_HEADS)(self._plan)

    def plan(self, head: Head) -> Plan:
        """Decide from the head alone; see :meth:`torfluxd.gateway.exchange.Site.plan`."""
        return self._plan_once(head) if head.is_remembered else self._plan(head)

    def _plan(self, head: Head) -> Plan:
        if head.target == self._canary_target:
            return CANARY_PONG
        verdict = self._judge(head.method, head.target)
        if isinstance(verdict, Accept):
            return self._take_write(verdict.write, head)
        if isinstance(verdict, Say):
            return verdict.answer
        if isinstance(verdict, HearStatement):
            return self._hear_statement(verdict.query, head)
        return self._forward(head)

    def _take_write(self, write: Write, head: Head) -> Collect:
        """The body is lines, for this destination."""

        def complete(body: bytes, writer: Hashable) -> Deferred[Answer]:
            return self._writes.write(write, body, content_encoding, writer)

        content_encoding = head.header(b"content-encoding")
        return Collect(self._writes.max_body_bytes, too_large(write.dialect), complete)

    def _hear_statement(self, query: bytes, head: Head) -> Collect:
        """The body may be a form, and the form a statement."""

        def complete(body: bytes, writer: Hashable) -> Deferred[Answer]:
            self._tally.answered += 1
            return succeed(answer_statement(query, body if is_form else b""))

        content_type = head.header(b"content-type") or b""
        is_form = content_type.partition(b";")[0].strip().lower() == b"application/x-www-form-urlencoded"
        return Collect(MAX_STATEMENT_BYTES, NOT_FOUND, complete)

    def _forward(self, head: Head) -> PassThrough:
        """The request goes on to InfluxDB, and the answer comes back."""

        def open_stream(body: IBodyProducer) -> Deferred[IResponse | Answer]:
            self._tally.forwarded += 1
            return self._pass_through.open(head.method, head.target, head.headers, body).addErrback(self._no_response)

        return PassThrough(open_stream)

    def _no_response(self, failure: Failure) -> Answer:
        """What a stranger hears when his request cannot be passed on, or InfluxDB does not answer."""
        if failure.check(ValueError):
            return _BAD_REQUEST
        failure.trap(UpstreamError)
        self._complaints.note(failure.getErrorMessage())
        return unavailable(V1)


_: type[Site] = Routes
