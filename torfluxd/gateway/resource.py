"""The gateway's site as a twisted.web resource, for applications that are a web server already.

The plans are the same as at the strangers' door (`front`), its bounds are not: twisted.web reads a body whole before a
resource sees the request. So :attr:`~torfluxd.gateway.exchange.Collect.limit_bytes` is applied late here, and a body
that is passed through is held. :func:`gateway_site` bounds what is held, and keeps twisted.web from logging strangers
and from adding headers. What hostile strangers can reach is better served by `front`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from torfluxd.gateway.exchange import Answer, Collect, Head, Plan, Site
from torfluxd.gateway.faults import log_fault
from torfluxd.gateway.site import InfluxdbSite, SiteReactor
from torfluxd.gateway.streams import Stream
from torfluxd.gateway.wire import (
    INTERNAL_ERROR,
    frame_response,
    has_no_body,
    response_headers,
    told_length,
)
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.quiet_web import QuietSite, WebBounds, abort

__all__ = ["GatewayResource", "gateway_site"]

BODY_BYTES: Final = 25_000_000
"""The longest body that :func:`gateway_site` holds: influxd's own default (`max-body-size` of `[http]`)."""


class GatewayResource(Resource):
    """Serves a site, for requests of any method and path below where it is put.

    In front of an InfluxDB, below `/influx` of an application's own web server::

        root.putChild(b"influx", GatewayResource.for_influxdb(reactor, "http://127.0.0.1:8086"))

    :param site: decides on every request; it sees the target below where the resource is put.
    """

    isLeaf = True

    def __init__(self, site: Site) -> None:
        Resource.__init__(self)
        self._site = site
        self._close: Callable[[], Deferred[None]] = lambda: succeed(None)

    @classmethod
    def for_influxdb(cls, reactor: IReactorTime, influxdb: str) -> GatewayResource:
        """What the gateway's onion service serves: writes alone reach InfluxDB.

        :param reactor: Twisted's own, or another that connects, and looks up names where `influxdb` is one.
        :param influxdb: as `--influxdb` takes it.
        :raises SettingsError: that is no place of an InfluxDB.
        """
        site = InfluxdbSite(cast(SiteReactor, reactor), parse_influxdb_url(influxdb))
        resource = cls(site)
        resource._close = lambda: Deferred.fromCoroutine(site.close())
        return resource

    def close(self) -> Deferred[None]:
        """Close what was opened for InfluxDB and has no work. Fires when that is done; never fails."""
        return self._close()

    def render(self, request: Request) -> int:
        """Answer a request."""
        head = Head(
            method=request.method,
            target=_target_below(request.uri, len(request.prepath or ())),
            headers=[
                (name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
            ],
        )
        exchange = _Exchange(request)
        request.notifyFinish().addErrback(lambda _: exchange.gone())
        try:
            exchange.carry_out(self._site.plan(head))
        except Exception:
            exchange.failed(Failure())
        return NOT_DONE_YET


def _target_below(uri: bytes, segments: int) -> bytes:
    """A request target without its first segments, otherwise byte for byte."""
    path, question, query = uri.partition(b"?")
    return b"/" + b"/".join(path.split(b"/")[1 + segments :]) + question + query


@implementer(IPushProducer)
class _Exchange:
    """Carries out the plan for one request; the :class:`~torfluxd.gateway.streams.Requester` of its stream."""

    _log = Logger()

    def __init__(self, request: Request) -> None:
        self._request = request
        assert request.content is not None
        self._body: bytes = request.content.read()
        self._stream: Stream | None = None
        self._waiting: Deferred[Answer] | Deferred[IResponse | Answer] | None = None
        self._over = False
        request.defaultContentType = None
        request.responseHeaders.removeHeader(b"Server")
        request.responseHeaders.removeHeader(b"Date")

    def carry_out(self, plan: Plan) -> None:
        """Begin."""
        if isinstance(plan, Answer):
            self._answer(plan)
        elif not isinstance(plan, Collect):
            self._stream = Stream(self, len(self._body))
            self._wait_for(plan.open(self._stream.body))
        elif len(self._body) > plan.limit_bytes:
            self._answer(plan.too_large)
        else:
            self._wait_for(plan.complete(self._body, self._request.channel))

    def _wait_for(self, result: Deferred[Answer] | Deferred[IResponse | Answer]) -> None:
        self._waiting = result
        result.addCallback(self._answered).addErrback(self.failed)

    def _answered(self, result: Answer | IResponse) -> None:
        self._waiting = None
        if isinstance(result, Answer):
            self._answer(result)
        else:
            self._respond(result)

    def failed(self, failure: Failure) -> None:
        """Our own code failed, or was cancelled because the stranger has gone."""
        if not self._over:
            log_fault(self._log, failure)
            self._answer(INTERNAL_ERROR)

    def _answer(self, answer: Answer) -> None:
        request = self._request
        request.setResponseCode(answer.status)
        for name, value in answer.headers:
            request.responseHeaders.addRawHeader(name, value)
        if not has_no_body(answer.status):
            request.responseHeaders.setRawHeaders(b"Content-Length", [b"%d" % len(answer.body)])
            request.write(answer.body)
        request.finish()

    def _respond(self, response: IResponse) -> None:
        request = self._request
        assert self._stream is not None
        framing = frame_response(response, to_head=request.method == b"HEAD", http11=False)  # Chunks are Twisted's.
        request.setResponseCode(response.code)
        for name, value in response_headers(response):
            request.responseHeaders.addRawHeader(name, value)
        length = told_length(response, framing)
        if length is not None:
            request.responseHeaders.setRawHeaders(b"Content-Length", [length])
        request.registerProducer(self, True)
        self._stream.deliver(response, framing)

    def gone(self) -> None:
        """The stranger has gone."""
        self._over = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._stream is not None:
            self._stream.abandon()

    # What the stream calls, see `streams.Requester`.

    def body_is_wanted(self, *, first: bool) -> None:
        """Send on the request's body, which is all here."""
        assert self._stream is not None
        body, self._body = self._body, b""
        if body:
            self._stream.body.take(body)
            self._stream.body.end()

    def write_response(self, data: bytes) -> None:
        """Send a piece of the response."""
        if not self._over:
            self._request.write(data)

    def response_ended(self) -> None:
        """The response is whole."""
        if not self._over:
            self._request.unregisterProducer()
            self._request.finish()

    def response_was_cut(self) -> None:
        """Reset the connection, so that the stranger does not take what he has for the whole."""
        if not self._over:
            abort(self._request.transport)

    # What the request calls, for the response.

    def pauseProducing(self) -> None:
        """The stranger's output is full."""
        if self._stream is not None:
            self._stream.pause()

    def resumeProducing(self) -> None:
        """The stranger's output is empty."""
        if self._stream is not None:
            self._stream.resume()

    def stopProducing(self) -> None:
        """The stranger has gone; :meth:`gone` is called as well."""


def gateway_site(site: Site, reactor: IReactorTime) -> QuietSite:
    """Make a whole twisted.web server of a site: bounded bodies, no access log, no `Server`, no `Date`.

    :param site: decides on every request.
    :param reactor: the reactor.
    """
    return QuietSite(GatewayResource(site), WebBounds(body_bytes=BODY_BYTES), reactor)
