"""A client endpoint for streams through tor's SOCKS port: isolated, to onion services only, leaving nothing behind.

What is said to the proxy stands in :mod:`~torfluxd.onion.socks_dialogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from torfluxd.errors import SocksClosedError, SocksError, SocksProxyUnreachableError, SocksTimeoutError
from torfluxd.onion.address import OnionAddress
from torfluxd.onion.socks_dialogue import Isolation, socks_dialogue

__all__ = ["OPEN_TIMEOUT_SECONDS", "Isolation", "SocksEndpoint"]

OPEN_TIMEOUT_SECONDS = 130.0
"""From the connection to the proxy to an open stream. Tor gives up on a stream after its `SocksTimeout`, 2 minutes; the
rest is for tor's own answer, which names the cause, to arrive first."""

_Dialogue = Generator[bytes, bytes, bytes]


@implementer(IStreamClientEndpoint)
class SocksEndpoint:
    """A port of an onion service, reached through a SOCKS port of tor.

    :param clock: for the deadline.
    :param proxy: where the SOCKS port is: any client endpoint, over TCP or a unix socket.
    :param address: the onion service; that it is one, checksum and all, was verified when it was parsed.
    :param port: 1 to 65535.
    :param isolation: decides what the stream may share a circuit with.
    :param timeout_seconds: the time allowed until the stream is open, all steps together.
    :raises ValueError: there is no such port.
    """

    # Without a repr of its own: Twisted logs the repr of endpoints, and where somebody goes is nothing for a log.

    def __init__(
        self,
        clock: IReactorTime,
        proxy: IStreamClientEndpoint,
        address: OnionAddress,
        port: int,
        isolation: Isolation,
        *,
        timeout_seconds: float = OPEN_TIMEOUT_SECONDS,
    ) -> None:
        if not 1 <= port <= 65535:
            raise ValueError("a port is 1 to 65535")
        self._clock = clock
        self._proxy = proxy
        self._dialogue = partial(socks_dialogue, address, port, isolation)
        self._timeout_seconds = timeout_seconds

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Open a stream, and connect a protocol to it.

        The protocol gets the transport itself. It is built as soon as there is a connection to the proxy, because the
        transport asks then whether it wants to hear of half-closed connections; it is connected when the stream is
        open, and hears of nothing that comes before.

        :returns: a Deferred that fires with the protocol. It fails with

            * :class:`SocksProxyUnreachableError`: there is no connection to the proxy;
            * :class:`SocksTimeoutError`: the stream was not open in time;
            * :class:`SocksClosedError`: the proxy closed the connection before the stream was open;
            * another :class:`SocksError`: see :func:`~torfluxd.onion.socks_dialogue.socks_dialogue`;
            * :class:`~twisted.internet.defer.CancelledError`: it was cancelled;
            * what the factory or its protocol raised; :class:`~twisted.internet.error.NoProtocol` if it built none.

            No connection is left behind by any of these. Cancelling it after it has fired does nothing.
        """
        stream = Deferred.fromCoroutine(self._open(protocolFactory))
        return stream.addTimeout(self._timeout_seconds, self._clock, _timed_out)

    async def _open(self, application: IProtocolFactory) -> IProtocol:
        openings = _OpeningFactory(application, self._dialogue)
        try:
            opening = cast(_Opening, await self._proxy.connect(openings))
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, OSError) as error:
            raise SocksProxyUnreachableError(
                f"tor's SOCKS port cannot be reached ({str(error).rstrip('.')});"
                " is tor running, and is its SocksPort there?"
            ) from None
        finally:
            openings.is_over = True
        return await opening.opened


def _timed_out(_: object, seconds: float) -> Failure:
    return Failure(
        SocksTimeoutError(f"the stream was not open within {seconds:g} s; is this tor's SOCKS port, and is tor online?")
    )


@implementer(IProtocolFactory)
class _OpeningFactory:
    """Makes the proxy's connection one on which a stream is opened for the application.

    :ivar is_over: nobody waits any more. A connection that is made nevertheless, because the proxy's endpoint could
        not be cancelled, is dropped by having no protocol.
    """

    is_over = False

    def __init__(self, application: IProtocolFactory, dialogue: Callable[[], _Dialogue]) -> None:
        self._application = application
        self._dialogue = dialogue

    def doStart(self) -> None:
        self._application.doStart()

    def doStop(self) -> None:
        self._application.doStop()

    def buildProtocol(self, addr: IAddress) -> Protocol | None:
        protocol = None if self.is_over else self._application.buildProtocol(addr)
        return None if protocol is None else _Opening(protocol, self._dialogue())


class _Opening(Protocol):
    """Speaks SOCKS until the stream is open; from then on it only passes on what the transport says.

    Passing on costs one call for each segment, nothing for each byte, and nothing for what is written. Twisted has no
    public way by which a transport changes its protocol.

    :ivar opened: fires with the application's protocol, already connected. Cancelling it aborts the connection.
    """

    transport: ITCPTransport  # Over a unix socket too: what counts is that it can be aborted.

    def __init__(self, application: IProtocol, dialogue: _Dialogue) -> None:
        self._application = application
        self._dialogue = dialogue
        self._is_open = False
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._fail(CancelledError()))
        if IHalfCloseableProtocol.providedBy(application):
            alsoProvides(self, IHalfCloseableProtocol)

    def connectionMade(self) -> None:
        self.transport.write(next(self._dialogue))

    def dataReceived(self, data: bytes) -> None:
        if self._is_open:
            self._application.dataReceived(data)
        elif not self.opened.called:
            self._converse(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_open:
            self._application.connectionLost(reason)
        elif not self.opened.called:
            self._fail(_closed())

    def readConnectionLost(self) -> None:
        if self._is_open:
            cast(IHalfCloseableProtocol, self._application).readConnectionLost()
        elif not self.opened.called:
            self._fail(_closed())

    def writeConnectionLost(self) -> None:
        # Only the application closes its half.
        cast(IHalfCloseableProtocol, self._application).writeConnectionLost()

    def _converse(self, received: bytes) -> None:
        try:
            self.transport.write(self._dialogue.send(received))
        except StopIteration as end:
            self._hand_over(end.value)
        except SocksError as error:
            self._fail(error)

    def _hand_over(self, early: bytes) -> None:
        self._is_open = True
        try:
            self._application.makeConnection(self.transport)
        except Exception as error:  # whatever an application may raise: its caller sees it
            self._fail(error)
            return
        self.opened.callback(self._application)
        if early:
            self._application.dataReceived(early)

    def _fail(self, error: Exception) -> None:
        self.opened.errback(error)
        self.transport.abortConnection()


def _closed() -> SocksClosedError:
    return SocksClosedError("the proxy closed the connection before the stream was open; is tor shutting down?")
