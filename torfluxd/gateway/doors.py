"""Where strangers come in: sockets and endpoints, opened with clear errors and removed without traces."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from torfluxd import endpoints

__all__ = ["Door", "server_endpoint"]


@define(eq=False)
class Door:
    """One place where strangers come in.

    :ivar name: the endpoint as a person wrote it.
    :ivar socket: the unix socket that is ours to make and to remove, or None.
    """

    name: str
    endpoint: IStreamServerEndpoint
    factory: IProtocolFactory
    socket: Path | None = None
    _port: IListeningPort | None = field(default=None, init=False)

    @property
    def hosts(self) -> list[str]:
        """The IP addresses that it listens at, once it is open; none for a unix socket."""
        host = None if self._port is None else getattr(self._port.getHost(), "host", None)
        return [] if host is None else [host]

    async def open(self) -> None:
        """Listen.

        :raises ListenError: it cannot be listened on.
        """
        self.close()  # the state directory is ours, so a socket in it is one that a kill left behind
        try:
            self._port = await self.endpoint.listen(self.factory)
        except (CannotListenError, OSError) as error:
            raise endpoints.cannot_listen(self.name, error) from None

    async def stop(self) -> None:
        """Let nobody in any more."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def close(self) -> None:
        """Remove the socket's file."""
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)


def server_endpoint(reactor: object, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    """Read what an option names; see :func:`torfluxd.endpoints.server_endpoint`."""
    return endpoints.server_endpoint(reactor, text, option, "torfluxd.socket")
