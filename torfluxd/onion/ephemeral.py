"""`ADD_ONION`: the commands by which a running tor hosts our onion service. Pure.

Syntax: control-spec section 3.27; `PoWDefensesEnabled` since tor 0.4.9.2, whose predecessors answer 512 to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from torfluxd.errors import SocketPathError
from torfluxd.onion.key import OnionKey
from torfluxd.onion.torrc import (
    MAX_STREAMS_PER_CIRCUIT,
    ONION_PORT,
    POW_QUEUE_BURST,
    POW_QUEUE_RATE_PER_SECOND,
    POW_SAFE_SINCE,
    check_socket_path,
)

__all__ = ["AddOnion", "add_onion_commands", "check_target"]


@frozen
class AddOnion:
    """One `ADD_ONION` command.

    :ivar text: the command.
    :ivar secrets: the parts of it that nothing may repeat.
    :ivar offers: what it asks for beyond the bare onion service, in words.
    """

    text: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    offers: str


def add_onion_commands(
    key: OnionKey,
    target: Path,
    version: tuple[int, ...],
    clients: Sequence[str] = (),
    further_targets: Sequence[Path] = (),
) -> list[AddOnion]:
    """Build the commands to try, best first: should tor answer 512 to one, the next asks for less.

    :param target: the unix socket to which the onion service leads; checked by :func:`check_target`.
    :param version: the running tor's. Proof of work is not asked of one that is unsafe with it.
    :param clients: the public keys of those who alone may reach the onion service; none for everybody. No command asks
        for less than that.
    :param further_targets: others; for each stream tor takes one of them all by chance.
    """
    blob = key.control_blob()
    # The key never comes back (DiscardPK), and the onion service ends with our control connection (no Detach).
    # A circuit with more streams than allowed is closed: its client loses what was under way on it, and builds another
    # at once. Were it kept, his further streams would hang; and nothing else closes a flooder's circuit at a tor that
    # does not tell us of circuits.
    base = f"ADD_ONION {blob} Flags=DiscardPK,MaxStreamsCloseCircuit{',V3Auth' if clients else ''}"
    ports = (f"Port={ONION_PORT},unix:{path}" for path in (target, *further_targets))
    port = " ".join((*ports, *(f"ClientAuthV3={public}" for public in clients)))
    streams = f"MaxStreams={MAX_STREAMS_PER_CIRCUIT}"
    work = (
        f"PoWDefensesEnabled=1 PoWQueueRate={POW_QUEUE_RATE_PER_SECOND} PoWQueueBurst={POW_QUEUE_BURST}"
        if version >= POW_SAFE_SINCE
        else ""
    )
    secrets = (blob, blob.partition(":")[2])
    plain = AddOnion(f"{base} {streams} {port}", secrets, "stream limits")
    if not work:
        return [plain]
    return [AddOnion(f"{base} {streams} {work} {port}", secrets, "proof of work"), plain]


def check_target(path: Path) -> None:
    """Refuse a path that `ADD_ONION` cannot hold: tor 0.4.9 answers 512 to a quoted one.

    :raises SocketPathError: it has white space in it, or is too long for a unix socket.
    """
    check_socket_path(path)
    if any(character.isspace() for character in str(path)):
        raise SocketPathError(f"{path} has white space in it, which tor's ADD_ONION cannot hold: use --onion-socket")
