"""Which process may launch a tor with a state: one at a time.

Tor has a lock of its own on its data directory, but takes it after it has put its sockets in the place of another's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # where there is none, there are no unix sockets either, and no tor is launched
    fcntl = None  # type: ignore[assignment]

__all__ = ["LaunchLock"]

_holders: dict[Path, int] = {}
"""The locks of this process, and its id: a record lock keeps out other processes, not other reporters of the same; and
a child inherits this, but not the locks."""


class LaunchLock:
    """The right to launch, until it is released or the process ends. Made by :meth:`take`."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file
        self._process = os.getpid()

    @classmethod
    def take(cls, path: Path) -> LaunchLock | None:
        """Take it, or None where another has it.

        :param path: the file of the lock; its directory is created, for this user alone, where it is missing.
        :raises OSError: it cannot be written.
        """
        path = path.absolute()
        if _holders.get(path) == os.getpid():
            return None
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("a")
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        _holders[path] = os.getpid()
        return cls(path, file)

    @property
    def is_ours(self) -> bool:
        """Whether this process took it. A child of that one has no part in what was launched."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Let others launch. In a child of the process that took it this changes nothing for that."""
        if self.is_ours:
            _holders.pop(self._path, None)
        self._file.close()
