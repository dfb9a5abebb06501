"""How a running tor is made to host our onion service, also where it does so already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torfluxd.errors import ControlReplyError, TorError
from torfluxd.onion.control import ControlConnection
from torfluxd.onion.ephemeral import AddOnion, add_onion_commands
from torfluxd.onion.key import OnionKey
from torfluxd.onion.torrc import read_version

__all__ = ["add_onion", "check_hosted", "take_away"]

COLLISION = 550
"""Tor's answer when it hosts that onion service already (control-spec section 3.27)."""

UNKNOWN_KEYWORD = 512
"""Its answer to a part of `ADD_ONION` that it does not know."""

UNKNOWN_ONION = 552
"""Its answer to a `DEL_ONION` of what it does not host for us (control-spec section 3.28)."""


async def add_onion(
    control: ControlConnection,
    key: OnionKey,
    target: Path,
    clients: Sequence[str],
    hear: Callable[[str], None],
    further_targets: Sequence[Path] = (),
) -> None:
    """Have tor host the onion service as long as the control connection lives.

    One of the same address that nobody holds any more, because whoever added it had it outlive him (`Flags=Detach`), or
    that this very connection holds, has its place taken. One that another connection holds is left alone: it is gone as
    soon as that connection is, which may be our own of a moment ago.

    :param clients: who alone may reach it; none for everybody.
    :param hear: called with each warning.
    :param further_targets: other sockets to which it leads: for each stream tor takes one of them all by chance.
    :raises ControlReplyError: tor refuses it.
    :raises ControlError: as :meth:`ControlConnection.command`.
    """
    commands = add_onion_commands(key, target, read_version(control.tor_version), clients, further_targets)
    try:
        await _add(control, commands, hear)
    except ControlReplyError as error:
        if error.code != COLLISION:
            raise
        if not await _is_ours(control, key):
            raise ControlReplyError(
                f"this tor already hosts {key.address.hostname} for another program: is a second gateway running with"
                " the same key?",
                error.code,
            ) from None
        hear("this tor hosted the onion service already, for nobody; it does so for this gateway now")
        await take_away(control, key)
        await _add(control, commands, hear)


async def _add(control: ControlConnection, commands: Sequence[AddOnion], hear: Callable[[str], None]) -> None:
    for command in commands:
        try:
            await control.command(command.text, secrets=command.secrets)
        except ControlReplyError as error:
            if error.code != UNKNOWN_KEYWORD or command is commands[-1]:
                raise
            hear(f"this tor ({control.tor_version}) does not know {command.offers}: doing without")
        else:
            return


async def _is_ours(control: ControlConnection, key: OnionKey) -> bool:
    """Whether the onion service that tor hosts belongs to this connection, or to nobody."""
    for kind in ("current", "detached"):
        if key.address.name in await _names(control, kind):
            return True
    return False


async def _names(control: ControlConnection, kind: str) -> frozenset[str]:
    """The names of the onion services of this connection, or of those that outlived theirs."""
    try:
        text = await control.command(f"GETINFO onions/{kind}")
    except ControlReplyError:  # control-spec section 3.9: tors before 0.4.1 say so when there is none
        return frozenset()
    return frozenset(text.replace("=", " ").split())


async def take_away(control: ControlConnection, key: OnionKey) -> None:
    """Have tor host it no more. Its circuits, and the streams on them, stay.

    :raises ControlError: as :meth:`ControlConnection.command`.
    """
    try:
        await control.command(f"DEL_ONION {key.address.name}")
    except ControlReplyError as error:
        if error.code != UNKNOWN_ONION:
            raise


async def check_hosted(control: ControlConnection, key: OnionKey) -> None:
    """Make sure that tor still hosts it for us.

    :raises TorError: it does not.
    :raises ControlError: as :meth:`ControlConnection.command`.
    """
    if key.address.name not in await _names(control, "current"):
        raise TorError("tor does not host the onion service any more; somebody has taken it away")
