"""The state directory: one process, one directory.

Created 0700. Held by a lock on the file `lock` for as long as the process lives (an advisory `flock`, which the kernel
gives back when the process ends, however it ends, and which a daemonising fork hands on to the child).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from torfluxd.errors import StateDirectoryError

try:
    import fcntl
except ImportError:  # Windows: there is no flock, and only the reporter runs there
    fcntl = None  # type: ignore[assignment]

__all__ = ["StateDirectory", "check_state_directory", "default_state_directory", "home_directory"]


def default_state_directory(environment: Mapping[str, str], user_id: int, home: Path, name: str = "torfluxd") -> Path:
    """Where state belongs when nobody says: systemd's word first, then root's place, then the user's (XDG).

    :param environment: `os.environ`.
    :param user_id: the effective one; 0 is root.
    :param home: the user's home directory.
    :param name: of the program.
    """
    given = environment.get("STATE_DIRECTORY", "")
    if given:
        return Path(given.split(":")[0])  # systemd.exec(5): several are separated by colons
    if user_id == 0:
        return Path("/var/lib") / name
    base = environment.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else home / ".local" / "state") / name


def check_state_directory(path: Path) -> None:
    """See whether a state directory could be claimed by nobody's leave but the file system's; make and lock nothing.

    :raises StateDirectoryError: it could not.
    """
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = "Permission denied" if there.is_dir() else "Not a directory"
        raise _unwritable(path, reason)
    if there == path.absolute():
        _check_private(there)


def _unwritable(path: Path, reason: str | None) -> StateDirectoryError:
    return StateDirectoryError(
        f"the state directory {path} cannot be written: {reason}; choose another with --state-dir, or give it to this"
        " user"
    )


def home_directory() -> Path:
    """The user's home directory.

    Where there is none, because the user is but a number (one that systemd or a container made up, without
    libnss-systemd), it is Debian's name for that, which nobody can write to.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


class StateDirectory:
    """A state directory that is ours alone.

    :ivar path: absolute.
    """

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, path: Path) -> StateDirectory:
        """Create the directory where it is missing, and lock it.

        :raises StateDirectoryError: it cannot be created or written, or another process holds it.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (path / "lock").open("a+")
        except OSError as error:
            raise _unwritable(path, error.strerror) from None
        try:
            _check_private(path)
            _take(lock, path)
        except BaseException:
            lock.close()
            raise
        state = cls(path, lock)
        state.name_holder()
        return state

    def name_holder(self) -> None:
        """Write down who holds it, for whoever is refused: this process; to be called again after a fork."""
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def release(self) -> None:
        """Let others have it."""
        self._lock.close()

    def read(self, name: str) -> str:
        """What :meth:`write` wrote under this name; empty where there is nothing."""
        try:
            return (self.path / name).read_text()
        except FileNotFoundError:
            return ""

    def write(self, name: str, text: str) -> None:
        """Write a small file that anyone who may enter the directory may read, whole or not at all."""
        new = self.path / f"{name}.new"
        new.write_text(text)
        new.replace(self.path / name)


def _check_private(path: Path) -> None:
    """Refuse a directory in which others could put a key or a socket of theirs in the place of ours."""
    if os.name == "posix" and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateDirectoryError(f"others may write into the state directory {path}: chmod go-w {path}")


def _take(lock: IO[str], path: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read(20).strip()
            by = f" by process {holder}" if holder.isdecimal() else ""
            raise StateDirectoryError(
                f"the state directory {path} is in use{by}; stop that one first, or choose another with --state-dir"
            ) from None
