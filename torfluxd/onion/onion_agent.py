"""An HTTP client for onion services: one of Twisted's `IAgent`, for `treq` and for whatever else takes one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import cast

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.errors import OnionAddressError
from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.socks import OPEN_TIMEOUT_SECONDS, Isolation, SocksEndpoint

__all__ = ["OnionAgent"]

_KEPT_CONNECTIONS = 64
"""To each onion service, when all requests share their circuit: as many as a busy program has requests under way, and a
quarter of the streams that our gateway allows on one circuit. (Twisted keeps 2.)"""

_KEPT_SECONDS = 60
"""Without a request. Our gateway closes a connection after 75 idle seconds; a request that crosses that is lost."""

_KNOWN_ADDRESSES = 16
"""Verifying an address takes 2 ms, much of what a request costs. A program speaks to a handful of onion services."""

_verified = lru_cache(_KNOWN_ADDRESSES)(parse_onion_address)

_URL = re.compile(rb"(?i:http)://([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?([/?#][\x21-\x7e]*)?")
"""Host, port and the rest. No user, no brackets, no blank: nothing that two readers could understand in two ways."""


@implementer(IAgent)
class OnionAgent:
    """Speaks HTTP to v3 onion services, through a SOCKS port of tor, or to nobody.

    A request to anything but `http://<56 characters>.onion[:port]` fails before a byte is sent, and before the SOCKS
    port is connected to. There is no DNS, no redirect, no cookie, no proxy out of the environment. The request has the
    headers that HTTP needs (`Host`, `Connection`, the length of the body) and those given to :meth:`request`; there
    is no `User-Agent`.

    What its requests have in common for the onion service is chosen here:

    * by default nothing: **each request has a circuit and a connection of its own**, so that the onion service cannot
      tell two requests of one program from those of two. A new circuit takes from a fraction of a second to several.
    * with `shared_isolation`, **all requests share it**: they use one circuit for each onion service, and connections
      are kept for the next request. That is fast (tens of milliseconds), and the onion service can tell that they
      belong together. Call :meth:`close` when done.

    `treq` takes it, and must be told to follow no redirects and to keep no cookies, which would tell the onion service
    what belongs together::

        forgetful = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        client = treq.client.HTTPClient(OnionAgent(reactor, UNIXClientEndpoint(reactor, "/run/tor/socks")), forgetful)
        response = await client.get(f"http://{onion}/ping", allow_redirects=False, reactor=reactor)

    :param reactor: for deadlines, and the time that connections are kept.
    :param socks: where tor's SOCKS port is: any client endpoint. Use `ExtendedErrors` on it, for errors that say more.
    :param shared_isolation: what all requests share: `Isolation.fresh()` for a new circuit; None for one per request.
    :param timeout_seconds: the time allowed to open a stream. What comes after has no deadline: cancel the Deferred.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        socks: IStreamClientEndpoint,
        *,
        shared_isolation: Isolation | None = None,
        timeout_seconds: float = OPEN_TIMEOUT_SECONDS,
    ) -> None:
        self._pool = HTTPConnectionPool(reactor, persistent=shared_isolation is not None)
        self._pool.maxPersistentPerHost = _KEPT_CONNECTIONS
        self._pool.cachedConnectionTimeout = _KEPT_SECONDS
        endpoints = _OnionEndpoints(reactor, socks, shared_isolation, timeout_seconds)
        self._agent = Agent.usingEndpointFactory(reactor, endpoints, self._pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send one request.

        :param uri: `http://NAME.onion/...`; labels before the 56 characters are only for the `Host` header, which is
            sent in lower case. `https` is refused: a v3 address is the key of the onion service, so the stream is
            encrypted and authenticated already, while a certificate is beyond what most onion services can have.
        :returns: a Deferred that fires with the response once its headers are here. It fails with

            * :class:`OnionAddressError`: this is not a URL of an onion service;
            * :class:`SocksError`: no stream could be opened, see :meth:`SocksEndpoint.connect`;
            * what Twisted's `Agent` fails with once it is open: `ResponseNeverReceived` and its like.

            Cancelling it ends the attempt, or the connection; it fails then with
            :class:`~twisted.internet.defer.CancelledError`, or one of Twisted's errors that holds it.
        """
        try:
            target = _normal(uri)
        except OnionAddressError:
            return fail()
        response: Deferred[IResponse] = self._agent.request(method, target, headers, bodyProducer)
        return response

    def close(self) -> Deferred[None]:
        """Close the connections that are kept for later requests. Fires when they are closed."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


def _normal(uri: bytes) -> bytes:
    """Write a URL of an onion service in one form only: neither capitals nor a needless port tell who wrote it.

    :raises OnionAddressError: it is none.
    """
    parts = _URL.fullmatch(uri)
    if parts is None:
        raise OnionAddressError(
            "a URL of an onion service is http://, 56 characters, .onion, perhaps a port, and a path;"
            " this is something else, or it is https, or it has a user in it"
        )
    host, port, rest = parts[1].lower(), int(parts[2] or 80), parts[3] or b""
    _verified(host.decode("ascii"))
    if not 1 <= port <= 65535:
        raise OnionAddressError("the port in a URL of an onion service is 1 to 65535; this is not")
    slash = b"" if rest.startswith(b"/") else b"/"
    return b"http://%b:%d%b%b" % (host, port, slash, rest)


@implementer(IAgentEndpointFactory)
@frozen
class _OnionEndpoints:
    """Where the connections of an :class:`OnionAgent` come from."""

    reactor: IReactorTime
    socks: IStreamClientEndpoint
    shared_isolation: Isolation | None
    timeout_seconds: float

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return _QuietEndpoint(
            self.reactor,
            self.socks,
            _verified(uri.host.decode("ascii")),
            uri.port,
            self.shared_isolation or Isolation.fresh(),
            timeout_seconds=self.timeout_seconds,
        )


class _QuietEndpoint(SocksEndpoint):
    """Leaves no line in the log for the start and the stop of a factory: here, a request has one of its own."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        cast(Factory, protocolFactory).noisy = False
        return super().connect(protocolFactory)
