"""Where strangers come in: sockets and endpoints, opened with clear errors and removed without traces."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from torfluxd import endpoints

__all__ = ["Door", "server_endpoint"]


@frozen
class Door:
    """One place where strangers come in.

    :ivar name: the endpoint as a person wrote it.
    :ivar socket: the unix socket that is ours to make and to remove, or None.
    """

    name: str
    endpoint: IStreamServerEndpoint
    factory: IProtocolFactory
    socket: Path | None = None

    async def open(self) -> IListeningPort:
        """Listen.

        :raises ListenError: it cannot be listened on.
        """
        self.remove()  # the state directory is ours, so a socket in it is one that a kill left behind
        try:
            return await self.endpoint.listen(self.factory)
        except (CannotListenError, OSError) as error:
            raise endpoints.cannot_listen(self.name, error) from None

    def remove(self) -> None:
        """Remove the socket's file."""
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)


def server_endpoint(reactor: object, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    """Read what an option names; see :func:`torfluxd.endpoints.server_endpoint`."""
    return endpoints.server_endpoint(reactor, text, option, "torfluxd.socket")
