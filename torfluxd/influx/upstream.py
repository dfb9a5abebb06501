"""One batch, one POST, one reply.

The gateway writes to its InfluxDB with this, the reporter to a gateway through Tor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Fate, Header, Refusal, Reply, Upstream
from torfluxd.errors import UpstreamError
from torfluxd.influx.account import Account, cure
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.fate import classify, why_all_refused
from torfluxd.influx.post import Posted, Poster

__all__ = ["HttpUpstream"]

ANSWER_SECONDS = 30.0
"""How long InfluxDB may take for a write, from the first attempt to connect to the last byte of the answer: three times
as long as influxd itself gives a write (`write-timeout` in `[coordinator]`, 10 s)."""

REMEMBERED_TARGETS = 1024
"""For how many destinations the request target is remembered: for all that a vendor has."""

_REFUSED_CREDENTIAL = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class HttpUpstream:
    """Sends batches to an InfluxDB, or to a gateway, over HTTP. It sends each once, and follows no redirect.

    :param poster: carries the requests to where they go.
    :param timeout_seconds: for each, see :meth:`torfluxd.influx.post.Poster.post`.
    :param account: the vendor's, with its InfluxDB: which API it is spoken to in, and with which credential. Without
        one it is spoken to as 1.x, by nobody.
    """

    def __init__(self, poster: Poster, timeout_seconds: float = ANSWER_SECONDS, account: Account | None = None) -> None:
        self._poster = poster
        self._timeout_seconds = timeout_seconds
        self._account = account
        self._api = Api.V1 if account is None else account.api
        organisation = "" if account is None else account.organisation
        self._target = lru_cache(REMEMBERED_TARGETS)(
            lambda destination: write_target(self._api, destination, organisation)
        )

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send one batch, once; see :meth:`torfluxd.boundaries.Upstream.send`.

        Where 1.x says that it refused every point, so does the reply, in
        :attr:`~torfluxd.boundaries.Reply.refused`; which of them it refused otherwise, InfluxDB does not tell.
        """
        headers: Sequence[Header] = () if self._account is None else self._account.credential.headers
        posted = self._poster.post(self._target(batch.destination), headers, batch.lines, self._timeout_seconds)
        return posted.addCallbacks(self._classified, _postpone, (batch,))

    def _classified(self, posted: Posted, batch: Batch) -> Reply:
        reply = classify(posted.status, posted.headers, posted.body, self._api)
        if reply.fate is Fate.DELIVERED:
            return reply
        if reply.fate is Fate.REJECT and self._api is Api.V1:
            return _with_refused(reply, batch)
        return reply if self._account is None else self._with_cure(reply, self._account)

    def _with_cure(self, reply: Reply, account: Account) -> Reply:
        advice = cure(reply, account)
        if reply.status in _REFUSED_CREDENTIAL:
            account.credential.refused()
        return evolve(reply, reason=f"{reply.reason}: {advice}") if advice else reply


def _with_refused(reply: Reply, batch: Batch) -> Reply:
    """The reply, with the whole batch as refused if all of it is."""
    cause = why_all_refused(reply, batch.points)
    return evolve(reply, refused=(Refusal(batch.lines, batch.points, cause),)) if cause else reply


def _postpone(failure: Failure) -> Reply:
    """No answer says nothing against the lines."""
    failure.trap(UpstreamError)
    return Reply(Fate.POSTPONE, reason=failure.getErrorMessage())


_: type[Upstream] = HttpUpstream
