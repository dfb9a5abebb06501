"""One batch, one POST, one reply.

The gateway writes to its InfluxDB with this, the reporter to a gateway through Tor.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Fate, Header, Refusal, Reply, Upstream
from torfluxd.errors import UpstreamError
from torfluxd.influx.account import Account, cure
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.fate import classify, why_all_refused
from torfluxd.influx.post import Posted, Poster
from torfluxd.influx.settle import settle

__all__ = ["HttpUpstream"]

ANSWER_SECONDS = 30.0
"""How long InfluxDB may take for a write, from the first attempt to connect to the last byte of the answer: three times
as long as influxd itself gives a write (`write-timeout` in `[coordinator]`, 10 s)."""

_REFUSED_CREDENTIAL = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class HttpUpstream:
    """Sends batches to an InfluxDB, or to a gateway, over HTTP. It sends each once, and follows no redirect.

    :param poster: carries the requests to where they go.
    :param clock: measures the deadline.
    :param timeout_seconds: from the call to the last byte of the answer.
    :param account: the vendor's, with its InfluxDB: which API it is spoken to in, and with which credential. Without
        one it is spoken to as 1.x, by nobody.
    """

    def __init__(
        self,
        poster: Poster,
        clock: IReactorTime,
        timeout_seconds: float = ANSWER_SECONDS,
        account: Account | None = None,
    ) -> None:
        self._poster = poster
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._account = account
        self._api = Api.V1 if account is None else account.api
        self._organisation = "" if account is None else account.organisation

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send one batch, once; see :meth:`torfluxd.boundaries.Upstream.send`.

        Where 1.x says that it refused every point, so does the reply, in
        :attr:`~torfluxd.boundaries.Reply.refused`; which of them it refused otherwise, InfluxDB does not tell.
        """
        target = write_target(self._api, batch.destination, self._organisation)
        sent = self.post_write(target, batch.lines)
        return sent.addCallback(_with_refused, batch) if self._api is Api.V1 else sent

    def post_write(self, target: bytes, lines: bytes) -> Deferred[Reply]:
        """Send lines to a request target, once.

        :param target: path and query of the write below the prefix of the URL.
        :returns: a Deferred that ends as that of :meth:`send` does.
        """
        headers: Sequence[Header] = () if self._account is None else self._account.credential.headers
        exchange = self._poster.post(target, headers, lines)
        return settle(exchange, self._clock, self._timeout_seconds).addCallbacks(self._classified, _postpone)

    def _classified(self, posted: Posted) -> Reply:
        reply = classify(posted.status, posted.headers, posted.body, self._api)
        if reply.fate is Fate.DELIVERED or self._account is None:
            return reply
        advice = cure(reply, self._account)
        if reply.status in _REFUSED_CREDENTIAL:
            self._account.credential.refused()
        return evolve(reply, reason=f"{reply.reason}: {advice}") if advice else reply


def _with_refused(reply: Reply, batch: Batch) -> Reply:
    """The reply, with the whole batch as refused if all of it is."""
    if reply.fate is not Fate.REJECT:
        return reply
    cause = why_all_refused(reply, batch.points)
    return evolve(reply, refused=(Refusal(batch.lines, batch.points, cause),)) if cause else reply


def _postpone(failure: Failure) -> Reply:
    """No answer says nothing against the lines."""
    failure.trap(UpstreamError)
    return Reply(Fate.POSTPONE, reason=failure.getErrorMessage())


_: type[Upstream] = HttpUpstream
