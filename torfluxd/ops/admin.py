"""The status page: what an operator, Prometheus and a load balancer ask a gateway. Never for strangers.

`/` for people, `/health` (the process answers), `/ready` (strangers can reach us, and what they write is taken),
`/status.json`, `/figures.json` and `/metrics` for Prometheus. Nothing can be changed here.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from torfluxd.ops.exposition import CONTENT_TYPE, exposition
from torfluxd.ops.status import Status, told
from torfluxd.quiet_web import QuietSite, WebBounds

__all__ = ["AdminSite", "View", "is_no_name"]

TEXT: Final = b"text/plain; charset=utf-8"
JSON: Final = b"application/json"

IDLE_SECONDS: Final = 30
"""How long a connection is kept that asks nothing. Prometheus asks every 15 s or 60 s, and opens another at worst."""

BODY_BYTES: Final = 64 * 1024
"""Of a request. Nobody who asks for a page sends any; who does hears all the same that nothing can be changed here."""

_HEADERS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'"),
)

View = Callable[[], Deferred[Status]]
_Page = Callable[[Status], tuple[HTTPStatus, bytes, bytes]]

_log = Logger()


class AdminSite(QuietSite):
    """A twisted.web server of the status pages.

    :param view: fires with how the gateway is.
    :param clock: the reactor; tells the time of day.
    :param any_host: whether any `Host` is served. Otherwise a name is served to nobody who comes over TCP, but
        `localhost`: a page on the web that gives its own name our address (DNS rebinding) reads nothing.
    """

    def __init__(self, view: View, clock: IReactorTime, *, any_host: bool = False) -> None:
        bounds = WebBounds(body_bytes=BODY_BYTES, idle_seconds=IDLE_SECONDS)
        QuietSite.__init__(self, _Pages(view, clock, any_host=any_host), bounds, clock)


class _Pages(Resource):
    isLeaf = True

    def __init__(self, view: View, clock: IReactorTime, *, any_host: bool) -> None:
        Resource.__init__(self)
        self._view = view
        self._clock = clock
        self._any_host = any_host
        self._pages: dict[bytes, _Page] = {
            b"/": lambda status: (HTTPStatus.OK, TEXT, told(status, clock.seconds()).encode()),
            b"/ready": _ready,
            b"/status.json": lambda status: (HTTPStatus.OK, JSON, status.to_json().encode()),
            b"/figures.json": lambda status: (HTTPStatus.OK, JSON, status.figures.to_json().encode()),
            b"/metrics": lambda status: (HTTPStatus.OK, CONTENT_TYPE, exposition(status.figures, status.version)),
        }

    def render(self, request: Request) -> int | bytes:
        """Answer a request."""
        path = request.uri.partition(b"?")[0]
        if not (self._any_host or _is_of_this_machine(request)):
            return _answer(request, HTTPStatus.MISDIRECTED_REQUEST, TEXT, b"ask for localhost, or an IP address\n")
        if request.method not in (b"GET", b"HEAD"):
            return _answer(request, HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"nothing can be changed here\n")
        if path == b"/health":
            return _answer(request, HTTPStatus.OK, TEXT, b"ok\n")
        page = self._pages.get(path)
        if page is None:
            known = b" ".join([*self._pages, b"/health"])
            return _answer(request, HTTPStatus.NOT_FOUND, TEXT, b"there are " + known + b"\n")
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        self._view().addCallback(page).addCallbacks(
            lambda answer: None if gone else _finish(request, *answer),
            lambda failure: _fail(request, failure, gone),
        )
        return NOT_DONE_YET


def _ready(status: Status) -> tuple[HTTPStatus, bytes, bytes]:
    if status.is_ready:
        return HTTPStatus.OK, TEXT, b"ready\n"
    return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, "".join(f"{problem}\n" for problem in status.problems).encode()


def _answer(request: Request, status: HTTPStatus, kind: bytes, body: bytes) -> bytes:
    request.setResponseCode(status, status.phrase.encode())
    request.responseHeaders.removeHeader(b"Server")
    request.setHeader(b"Content-Type", kind)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    for name, value in _HEADERS:
        request.setHeader(name, value)
    return b"" if request.method == b"HEAD" else body


def _finish(request: Request, status: HTTPStatus, kind: bytes, body: bytes) -> None:
    request.write(_answer(request, status, kind, body))
    request.finish()


def _fail(request: Request, failure: Failure, gone: list[Failure]) -> None:
    """A fault of our own."""
    _log.failure("the status page failed, for a fault of its own", failure)
    if not gone:
        _finish(request, HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, b"the log says what failed\n")


def _is_of_this_machine(request: Request) -> bool:
    """Whether whoever asks knows us by no name that somebody else could have given us."""
    if isinstance(request.getHost(), UNIXAddress):  # which no browser reaches
        return True
    return is_no_name(request.getHeader(b"host") or b"")


def is_no_name(host: bytes) -> bool:
    """Whether a `Host` is an IP address or `localhost`, with a port or without.

    A name would do for DNS rebinding: whoever it belongs to can make it lead here, after his page was loaded from it.
    """
    text = host.decode("latin-1")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if bracket else "no port"
    else:
        text, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdecimal()):
        return False
    try:
        ip_address(text)
    except ValueError:
        return text.lower() == "localhost"
    return True
