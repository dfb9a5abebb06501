"""Room on the disk that is kept for the end of an outage.

What is delivered is deleted, and SQLite writes down what it deletes before it has room for other things again. On a
disk that is full to the last page a spool could therefore never be emptied: each batch would be sent and not be
forgotten. So a file that holds nothing takes some room while there is any. When the disk is full it is given up, what
is delivered then is deleted, and nothing is put before the room can be taken again.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Reserve"]


class Reserve:
    """Takes room on a disk, and gives it up.

    :param path: the file that takes it, in a directory of ours.
    :param size_bytes: how much; 0 for none, then it is always held and never given up.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._held = size_bytes == 0

    @property
    def held(self) -> bool:
        """Whether the room is there when it is needed."""
        return self._held

    def hold(self) -> None:
        """Take it, if it is not held. What an earlier process took is enlarged or kept.

        :raises OSError: there is not so much room, or the disk fails; nothing is taken then.
        """
        if self._held:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(file, self._size_bytes)
            finally:
                os.close(file)
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        self._held = True

    def give_up(self) -> bool:
        """Make room.

        :returns: whether there was any to give.
        :raises OSError: the disk fails.
        """
        if not self._held or not self._size_bytes:
            return False
        self._path.unlink(missing_ok=True)
        self._held = False
        return True


def _allocate(file: int, size_bytes: int) -> None:
    """Have the blocks of a file, where the system can say so (macOS cannot); else write them."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size_bytes)
    else:
        os.pwrite(file, bytes(size_bytes), 0)
