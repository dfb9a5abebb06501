"""How a tor is told who may reach a private onion service, and given the key to reach one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import ControlLostError, TorStoppedError
from torfluxd.onion.authorized import AuthorizedClients
from torfluxd.onion.client_key import PrivateLine, auth_line
from torfluxd.onion.control import ControlConnection
from torfluxd.onion.private_files import private_directory, write_private

__all__ = ["OwnAuthorization", "hand_over", "hold_key", "write_authorized_clients"]

_TOR_NAME = "authorized_clients"
"""In the `HiddenServiceDir`; tor reads it when it starts, and on SIGNAL RELOAD."""

_log = Logger()


def write_authorized_clients(onion_directory: Path, clients: AuthorizedClients | None) -> None:
    """Write for tor who may reach the onion service: the clients, and we ourselves.

    :param onion_directory: its HiddenServiceDir.
    :param clients: None for everybody; what was written before is then taken away.
    :raises OSError: it cannot be written.
    """
    directory = onion_directory / _TOR_NAME
    if clients is None:
        if directory.exists():
            shutil.rmtree(directory)
        return
    private_directory(directory)
    written = {f"{number}.auth": auth_line(key) for number, key in enumerate(clients.keys_and_own)}
    for name, line in written.items():
        write_private(directory / name, f"{line}\n".encode("ascii"))
    for path in directory.iterdir():
        if path.name not in written:
            path.unlink()


class OwnAuthorization:
    """Who may reach the onion service of a tor of our own, while it runs.

    :ivar clients: who they are.

    :param control: that tor's.
    :param onion_directory: its HiddenServiceDir.
    :param hear: called with each warning.
    """

    def __init__(
        self,
        control: ControlConnection,
        onion_directory: Path,
        clients: AuthorizedClients,
        hear: Callable[[str], None],
    ) -> None:
        self.clients = clients
        self._control = control
        self._onion_directory = onion_directory
        self._hear = hear
        self._let_in = frozenset(clients.keys)

    async def renew(self) -> None:
        """Tell tor that they are others now.

        It publishes a new descriptor at once, with the introduction points that it has, and touches no circuit: those
        who may still come in notice nothing. Who was revoked cannot read the new descriptor; but with the introduction
        points out of the old one a tor that has read it still comes in, until tor gives these up, after 18 to 24 hours
        (`INTRO_POINT_LIFETIME_MIN_SECONDS`, `..._MAX_SECONDS`). Only a restart chooses new ones at once: to close their
        circuits does not, before tor has tried each three times more, and it allows itself 28 such circuits in five
        minutes, then none. (Tried on tor 0.4.9.11.)

        :raises TorError: tor was not told.
        """
        try:
            write_authorized_clients(self._onion_directory, self.clients)
        except OSError as error:
            raise TorStoppedError(
                f"tor's files in {self._onion_directory} cannot be written: {error.strerror}"
            ) from None
        await self._control.command("SIGNAL RELOAD")
        before, self._let_in = self._let_in, frozenset(self.clients.keys)
        if before - self._let_in:
            self._hear(
                "a client was revoked: it finds the onion service no more, but a tor that has found it before may still"
                " come in, for a day at most; restart torfluxd to end that now"
            )


async def hold_key(control: ControlConnection, client_auth: PrivateLine) -> None:
    """Have a tor hold the key that opens a private onion service, as long as the control connection lives.

    Tor keeps it in memory, and forgets it at SIGNAL NEWNYM (tried on tor 0.4.9.11), which any of its controllers may
    give; it is then handed over again.

    :raises ControlError: as :meth:`ControlConnection.command`.
    """

    def failed(failure: Failure) -> None:
        if failure.check(ControlLostError, CancelledError) is None:  # who lost the connection is told so elsewhere
            _log.failure("tor did not take the key for a private onion service again", failure)

    def take(event: str) -> None:
        if event.split()[:1] == ["NEWNYM"]:
            Deferred.fromCoroutine(hand_over(control, client_auth)).addErrback(failed)

    await control.listen("SIGNAL", take)
    await hand_over(control, client_auth)


async def hand_over(control: ControlConnection, client_auth: PrivateLine) -> None:
    """Give a tor the key that opens a private onion service, once.

    :raises ControlError: as :meth:`ControlConnection.command`.
    """
    blob = client_auth.key.control_blob()
    await control.command(
        f"ONION_CLIENT_AUTH_ADD {client_auth.address.name} {blob}", secrets=(blob, blob.partition(":")[2])
    )
