"""The way to InfluxDB: one endpoint, a pool of connections to it, and Twisted's HTTP client on top.

Nothing here knows what is asked; see `upstream.py` and `passthrough.py`.
"""

from __future__ import annotations

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    UNIXClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.web.client import HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from torfluxd.influx.url import InfluxdbUrl

__all__ = ["InfluxdbAgent", "InfluxdbReactor", "influxdb_agent", "influxdb_endpoint"]

CONNECT_SECONDS = 5.0
"""How long a connection may take to open. InfluxDB stands beside us or in the next rack: a SYN that is lost once or
twice, and which Linux repeats after 1 and 3 s, still gets there."""

IDLE_CONNECTIONS = 16
"""How many connections without work are kept for the next request: as many as the gateway writes at once. One costs
InfluxDB a goroutine and us a file descriptor; opening one costs more than a small write."""

IDLE_SECONDS = 55
"""How long an idle connection is kept. influxd never closes one; proxies in front do after 60 s (HAProxy's and AWS's
default) or 75 s (nginx's): we go first, so that no write meets a connection that is closing."""


class InfluxdbReactor(IReactorTCP, IReactorTime, IReactorUNIX, IReactorPluggableNameResolver):
    """The kind of reactor that reaching InfluxDB needs."""


@implementer(IStreamClientEndpoint)
class _QuietEndpoint:
    """An endpoint whose connections do not say "Starting factory" and "Stopping factory" in the log."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        protocolFactory.noisy = False  # type: ignore[attr-defined]  # of every twisted.internet.protocol.Factory
        return self._endpoint.connect(protocolFactory)


@implementer(IAgent)
class InfluxdbAgent:
    """An :class:`~twisted.web.iweb.IAgent` for one InfluxDB, whatever host a URI names.

    Path and query go out byte for byte. :class:`~twisted.web.client.Agent` takes a URI apart and puts it together
    again, which loses an empty query and turns `//x` into `////x` (tried). The one agent of Twisted that leaves a
    target alone is :class:`~twisted.web.client.ProxyAgent`, which is meant for a fixed endpoint, as here.
    """

    def __init__(
        self, reactor: IReactorTime, endpoint: IStreamClientEndpoint, pool: HTTPConnectionPool, host: bytes
    ) -> None:
        self._pool = pool
        self._host = host
        self._agent = ProxyAgent(_QuietEndpoint(endpoint), reactor, pool)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Ask InfluxDB; the `Host` header is always its own.

        :raises ValueError: when the method or the URI is nothing that HTTP can carry.
        """
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Host", [self._host])
        answered: Deferred[IResponse] = self._agent.request(method, _target(uri), headers, bodyProducer)
        return answered

    def close(self) -> Deferred[None]:
        """Close the connections that have no work. To be called when nothing is asked any more.

        :returns: a Deferred that fires when they are closed, and never fails.
        """
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


def influxdb_agent(
    reactor: InfluxdbReactor,
    url: InfluxdbUrl,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    idle_connections: int = IDLE_CONNECTIONS,
    trust_root: Certificate | None = None,
) -> InfluxdbAgent:
    """The agent for the InfluxDB at `url`; nothing is opened before the first request.

    :param connect_seconds: how long a connection may take to open.
    :param idle_connections: how many connections without work are kept.
    :param trust_root: the authority that vouches for InfluxDB's certificate; those of the platform by default.
    """
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = idle_connections
    pool.cachedConnectionTimeout = IDLE_SECONDS
    pool.retryAutomatically = False  # whether a request may be sent twice is for its sender to say
    return InfluxdbAgent(reactor, influxdb_endpoint(reactor, url, connect_seconds, trust_root), pool, url.authority)


def influxdb_endpoint(
    reactor: InfluxdbReactor,
    url: InfluxdbUrl,
    connect_seconds: float = CONNECT_SECONDS,
    trust_root: Certificate | None = None,
) -> IStreamClientEndpoint:
    """Where to connect to; see :func:`influxdb_agent` for the parameters."""
    if url.socket_path is not None:
        return UNIXClientEndpoint(reactor, url.socket_path, timeout=connect_seconds)
    endpoint = _tcp_endpoint(url.host)(reactor, url.host, url.port, timeout=connect_seconds)
    if not url.tls:
        return endpoint
    name = url.host.partition("%")[0]
    return wrapClientTLS(optionsForClientTLS(name, trustRoot=trust_root), endpoint)


def _tcp_endpoint(host: str) -> type[TCP4ClientEndpoint | TCP6ClientEndpoint | HostnameEndpoint]:
    """The endpoint for a host. One for names would do for addresses, but tells of a refusal 0.3 s later (tried)."""
    if isIPAddress(host):
        return TCP4ClientEndpoint
    return TCP6ClientEndpoint if isIPv6Address(host) else HostnameEndpoint


def _target(uri: bytes) -> bytes:
    """What follows scheme and authority in an absolute URI, as it is."""
    start = uri.find(b"/", uri.find(b"://") + len(b"://"))
    return b"/" if start < 0 else uri[start:]
