"""Where strangers come in: sockets and endpoints, opened with clear errors and removed without traces."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from attrs import frozen
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamClientEndpoint, IStreamServerEndpoint

from torfluxd.errors import ListenError, SettingsError

__all__ = ["Door", "client_endpoint", "server_endpoint"]


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
            reason = getattr(error, "socketError", None) or error
            raise ListenError(f"cannot listen on {self.name}: {reason}") from None

    def remove(self) -> None:
        """Remove the socket's file."""
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)


def server_endpoint(reactor: object, text: str, option: str = "--listen") -> IStreamServerEndpoint:
    """Read what an option names.

    :raises SettingsError: it is no endpoint.
    """
    try:
        return cast(IStreamServerEndpoint, serverFromString(reactor, text))
    except Exception as error:  # whatever the parser of a plug-in raises
        if text.startswith("systemd:") and isinstance(error, LookupError):
            raise SettingsError(
                f"{option}: systemd has handed us no such socket as {text!r}; is torfluxd.socket enabled, and were we"
                " started by it (systemctl status torfluxd.socket)?"
            ) from None
        raise SettingsError(
            f"{option}: {text!r} is not a Twisted server endpoint ({_brief(error)}); see --help"
        ) from None


def client_endpoint(reactor: object, text: str) -> IStreamClientEndpoint:
    """Read what `--tor` names.

    :raises SettingsError: it is no endpoint.
    """
    try:
        return cast(IStreamClientEndpoint, clientFromString(reactor, text))
    except Exception as error:  # whatever the parser of a plug-in raises
        raise SettingsError(
            f"--tor: {text!r} is neither launch nor none nor a Twisted client endpoint ({_brief(error)})"
        ) from None


def _brief(error: Exception) -> str:
    """An error in a few words."""
    return " ".join(str(error).split())[:100] or type(error).__name__
