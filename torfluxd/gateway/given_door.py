"""A place that systemd has opened, and has handed us: it was systemd's before, and is so after us."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.interfaces import IProtocolFactory

from torfluxd.gateway.acceptor import Acceptor, AcceptorReactor
from torfluxd.gateway.doors import Door, server_endpoint
from torfluxd.gateway.shared_doors import is_of_systemd, open_shared_door

__all__ = ["GivenDoor", "make_door"]


class GivenDoor:
    """Serves at a socket of systemd's.

    :ivar name: the endpoint as a person wrote it.

    :param text: the endpoint, `systemd:...`.
    :param factory: whose protocols serve.
    :param option: where it was named.
    :raises SettingsError: systemd has given us no such socket.
    """

    def __init__(
        self, reactor: AcceptorReactor, text: str, factory: IProtocolFactory, option: str = "--listen"
    ) -> None:
        self.name = text
        self._door = open_shared_door(text, 1, option)
        self._acceptors = [Acceptor(reactor, one, factory) for one in self._door.sockets]

    @property
    def hosts(self) -> list[str]:
        """The IP addresses that it is at; none for a unix socket."""
        return [one.getsockname()[0] for one in self._door.sockets if one.family != socket.AF_UNIX]

    async def open(self) -> None:
        """Serve whoever connects, and whoever waits already."""
        for acceptor in self._acceptors:
            acceptor.accept()

    async def stop(self) -> None:
        """Let nobody in any more; who connects waits for whom systemd starts next."""
        for acceptor in self._acceptors:
            acceptor.accept(False)

    def close(self) -> None:
        """Give it up."""
        self._door.close()


def make_door(
    reactor: AcceptorReactor, text: str, factory: IProtocolFactory, option: str = "--listen", ours: Path | None = None
) -> Door | GivenDoor:
    """The door at the place that an option names, still closed.

    :param ours: the unix socket there, where it is ours to make and to remove.
    :raises SettingsError: it is no endpoint, or systemd has given us no such socket.
    """
    if is_of_systemd(text):
        return GivenDoor(reactor, text, factory, option)
    return Door(text, server_endpoint(reactor, text, option), factory, ours)
