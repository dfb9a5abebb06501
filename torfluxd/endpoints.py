"""What a person writes for a place: read as Twisted reads endpoints, with errors that name the option."""

from __future__ import annotations

from typing import cast

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from torfluxd.errors import ListenError, SettingsError

__all__ = ["cannot_listen", "client_endpoint", "server_endpoint"]


def server_endpoint(
    reactor: object, text: str, option: str = "--listen", socket_unit: str | None = None
) -> IStreamServerEndpoint:
    """Read what an option names.

    :param socket_unit: the unit of systemd's that hands us sockets, if there is one.
    :raises SettingsError: it is no endpoint.
    """
    try:
        return cast(IStreamServerEndpoint, serverFromString(reactor, text))
    except Exception as error:  # whatever the parser of a plug-in raises
        if socket_unit is not None and text.startswith("systemd:") and isinstance(error, LookupError):
            raise SettingsError(
                f"{option}: systemd has handed us no such socket as {text!r}; is {socket_unit} enabled, and were we"
                f" started by it (systemctl status {socket_unit})?"
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


def cannot_listen(name: str, error: Exception) -> ListenError:
    """What is said of an endpoint that cannot be opened.

    :param error: what Twisted, or the system, raised.
    """
    reason = getattr(error, "socketError", None) or error
    return ListenError(f"cannot listen on {name}: {reason}")


def _brief(error: Exception) -> str:
    """An error in a few words."""
    return " ".join(str(error).split())[:100] or type(error).__name__
