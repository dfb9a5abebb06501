"""Where a reporter finds tor, and how it speaks through it."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from torfluxd.errors import SettingsError
from torfluxd.onion.address import OnionAddress
from torfluxd.onion.client_key import PrivateLine
from torfluxd.onion.socks import Isolation, SocksEndpoint

__all__ = ["GivenSocks", "OnionStreams", "SocksSource", "check_description"]


class SocksSource(Protocol):
    """A way to have a SOCKS port of tor. It starts and stops with the reporter, and may do so again."""

    def start(self, reactor: IReactorTime) -> None:
        """The reporter starts: begin what takes its time. Never raises: what fails is told by `socks_endpoint`.

        It may come when the source has started already: a reporter can be started again before it has stopped.
        """

    def hold_key(self, client_auth: PrivateLine) -> None:
        """The onion service is private: have tor hold this key for it. Called before the first start, if at all.

        :raises SettingsError: nobody can hand this tor a key; the text says what to do instead.
        """

    def socks_endpoint(self) -> Deferred[IStreamClientEndpoint]:
        """Where the SOCKS port is. Asked again for each report, so that a tor may come back elsewhere.

        :returns: a Deferred that fires when that tor can be used. It fails with
            :class:`~torfluxd.errors.TorError` when there is none now, and with
            :class:`~twisted.internet.defer.CancelledError` when it is cancelled, which changes nothing for others.
        """

    def stop(self) -> Deferred[None]:
        """The reporter has stopped. Fires when everything that was started has ended; never fails."""


class GivenSocks:
    """A SOCKS port that is there, or not: nothing is started and nothing is looked for.

    :param where: an endpoint, or the description of one: `unix:/run/tor/socks`, `tcp:127.0.0.1:9050`.
    :raises SettingsError: the description is neither.
    """

    def __init__(self, where: IStreamClientEndpoint | str) -> None:
        if isinstance(where, str):
            check_description("socks", where)
        self._where = where
        self._endpoint: IStreamClientEndpoint | None = None

    def hold_key(self, client_auth: PrivateLine) -> None:
        """Refuse: a SOCKS port takes no keys.

        :raises SettingsError: always.
        """
        raise SettingsError(
            "client_key: a SOCKS port takes no keys; put the file NAME.auth_private into a directory, which torrc names"
            " in a line ClientOnionAuthDir DIR, and leave client_key out; or let socks be a TorSocks"
        )

    def start(self, reactor: IReactorTime) -> None:
        """Make the endpoint; nothing is opened."""
        self._endpoint = clientFromString(reactor, self._where) if isinstance(self._where, str) else self._where

    def socks_endpoint(self) -> Deferred[IStreamClientEndpoint]:
        """The endpoint, at once."""
        assert self._endpoint is not None, "it is asked for after the start"
        return succeed(self._endpoint)

    def stop(self) -> Deferred[None]:
        """Nothing was started."""
        return succeed(None)


def check_description(name: str, description: str) -> None:
    """Find a mistake where it was made, and not when the reporter starts.

    :param name: of the parameter, for the error.
    :raises SettingsError: it is not the description of a unix socket or a TCP port.
    """
    try:
        if description.partition(":")[0].lower() not in ("tcp", "unix"):
            raise ValueError("tor listens on unix sockets and TCP ports only")
        clientFromString(None, description)  # only reads: no reactor is needed before it connects
    except (TypeError, ValueError, LookupError) as error:
        raise SettingsError(
            f"{name}: expected unix:/run/tor/{name} or tcp:127.0.0.1:9050, for example, got {description!r}"
        ) from error


@implementer(IStreamClientEndpoint)
class OnionStreams:
    """Streams to one onion service, through the SOCKS port that a source has at that moment: each on a circuit of its
    own.

    :param reactor: for deadlines.
    :param address: the onion service.
    :param port: 1 to 65535.
    """

    def __init__(self, reactor: IReactorTime, source: SocksSource, address: OnionAddress, port: int) -> None:
        self._reactor = reactor
        self._source = source
        self._address = address
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """As :meth:`SocksEndpoint.connect`; it fails also as :meth:`SocksSource.socks_endpoint` does."""

        def open_stream(socks: IStreamClientEndpoint) -> Deferred[IProtocol]:
            stream = SocksEndpoint(self._reactor, socks, self._address, self._port, Isolation.fresh())
            return stream.connect(protocolFactory)

        return self._source.socks_endpoint().addCallback(open_stream)


_: type[SocksSource] = GivenSocks
