"""Which process has which part of a state directory: `spool-0/`, `spool-1/` and so on, each locked by one.

The lock is a transaction that is never ended, of an SQLite database in which nothing is ever written: a lock that the
system takes back when the process ends, however it ends, and that there is wherever there is a spool. It stands beside
the spool, so that the spool's own file can be deleted under it. A directory that was begun is never deleted: whoever
would do so could not know that nobody begins to use it at that moment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from attrs import frozen

from torfluxd.delivery.schema import SPOOL_FILE

__all__ = ["MAX_SUB_SPOOLS", "Claim", "claim_free", "claim_orphan"]

MAX_SUB_SPOOLS = 1000
"""How many processes may report from one state directory at a time. Each has a thread, files and a share of the disk; a
large prefork server has a hundred."""

_LOCK_FILE = "lock.db"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


@frozen(eq=False)
class Claim:
    """A part of a state directory that is ours until it is released, or the process ends.

    :ivar directory: it.
    """

    directory: Path
    _connection: sqlite3.Connection

    @property
    def spool_file(self) -> Path:
        """Where its spool is, or will be."""
        return self.directory / SPOOL_FILE

    def delete_spool(self) -> None:
        """Delete everything in it, what was damaged and set aside, too. Nobody may have it open.

        :raises OSError: it cannot be deleted.
        """
        for path in self.directory.iterdir():
            if not path.name.startswith(_LOCK_FILE):
                path.unlink()

    def release(self) -> None:
        """Let others have it."""
        self._connection.close()


def claim_free(state_directory: Path, passed_over: Collection[Path] = ()) -> Claim | None:
    """Claim the first part that nobody has, with all that is in it; it is begun where there is none.

    :param state_directory: created, for this user alone, where it is missing.
    :param passed_over: directories that are not wanted.
    :returns: None when there are too many.
    :raises OSError: it cannot be created or written.
    :raises sqlite3.Error: the same.
    """
    state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in (state_directory / f"spool-{number}" for number in range(MAX_SUB_SPOOLS)):
        if directory not in passed_over:
            directory.mkdir(mode=0o700, exist_ok=True)
            if (claim := _claim(directory)) is not None:
                return claim
    return None


def claim_orphan(state_directory: Path, passed_over: Collection[Path] = ()) -> Claim | None:
    """Claim a part in which there is a spool, and that nobody has: the process that had it has ended.

    :param passed_over: directories that are not wanted.
    :returns: None when there is none.
    :raises OSError: the directory cannot be read.
    :raises sqlite3.Error: the same.
    """
    for directory in _parts(state_directory):
        if directory not in passed_over and (directory / SPOOL_FILE).exists():
            claim = _claim(directory)
            if claim is not None and claim.spool_file.exists():  # and nobody was quicker
                return claim
            if claim is not None:
                claim.release()
    return None


def _parts(state_directory: Path) -> Iterator[Path]:
    return iter(sorted(state_directory.glob("spool-*")))


def _claim(directory: Path) -> Claim | None:
    # Whoever claims it is in a thread, and whoever releases it in another, later.
    connection = sqlite3.connect(directory / _LOCK_FILE, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
            return None
        raise
    return Claim(directory, connection)
