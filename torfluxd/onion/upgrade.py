"""When the program of our own tor is replaced, by an upgrade for instance: the new one is started in its place.

Nobody else does so: a distribution restarts the tor that it started itself, and ours would run on with the faults that
the upgrade mends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torfluxd.errors import TorError, TorMissingError
from torfluxd.onion.torrc import TorAbilities

__all__ = ["LOOK_SECONDS", "Stamp", "stamp_of", "until_replaced"]

LOOK_SECONDS = 60.0
"""How often the program is looked at, and for how long a new one must have stayed the same: whoever replaces it is done
with the libraries that it needs by then."""

Stamp = tuple[int, int, int] | None
"""What tells one program from another: its inode, its time and its size; None when there is none."""


def stamp_of(binary: Path) -> Stamp:
    """The stamp of a program."""
    try:
        found = binary.stat()
    except OSError:  # in the middle of being replaced, or taken away
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


async def until_replaced(
    clock: IReactorTime,
    binary: Path,
    started: Stamp,
    probe: Callable[[], Awaitable[TorAbilities]],
    hear: Callable[[str], None],
) -> None:
    """Wait until there is another program than the one that was started, and it runs.

    :param started: the stamp of that one.
    :param probe: asks the program on the disk what it is.
    :param hear: called with each warning: that the new one does not run, once for each.
    :raises TorError: there is one; it says which.
    """
    last = refused = started
    while True:
        await deferLater(clock, LOOK_SECONDS)
        latest = stamp_of(binary)
        if latest == last and latest not in (started, refused, None):
            try:
                abilities = await probe()
            except TorMissingError as error:
                hear(f"{binary} was replaced, and what is there now does not run: {error}; the old one goes on")
                refused = latest
            else:
                raise TorError(
                    f"{binary} was replaced: beginning anew with tor {'.'.join(map(str, abilities.version))}"
                )
        last = latest
