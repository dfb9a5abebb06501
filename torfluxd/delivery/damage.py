"""What an error of a spool's file means, and what is done with a file that is damaged: it is kept, out of the way."""

from __future__ import annotations

import errno
import sqlite3
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

__all__ = ["DamagedFileError", "explain", "is_damage", "is_full", "set_aside"]

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite may have beside its file, under the same name and these endings; the file itself goes first."""


class DamagedFileError(Exception):
    """The file is not a whole spool; the text says why."""


def is_damage(error: Exception) -> bool:
    """Whether the file itself is damaged, and not only out of reach for now."""
    return isinstance(error, DamagedFileError) or _primary_code(error) in _DAMAGE


def is_full(error: Exception) -> bool:
    """Whether the disk has no room left. The connection stays usable."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return _primary_code(error) == sqlite3.SQLITE_FULL


def explain(error: Exception, path: Path) -> str:
    """What an error means for the operator: one sentence, with the cure, and with nothing out of a batch."""
    if is_full(error):
        return (
            f"the disk of the spool {path} is full: make room there; what the spool holds is safe, and it goes on by"
            " itself"
        )
    if is_damage(error):
        return f"the spool {path} is damaged: {error}; see how the disk is (dmesg, smartctl)"
    return (
        f"the spool {path} cannot be read or written: {error}; see whose it is, and how the disk is (ls -l, dmesg); it"
        " is tried again from time to time"
    )


def set_aside(path: Path, now_seconds: float) -> Path:
    """Rename a file, and what SQLite has beside it, to a name with a time stamp, so that both can still be opened.

    :param now_seconds: since 1970.
    :returns: the new name.
    :raises OSError: it cannot be renamed.
    """
    stamp = datetime.fromtimestamp(now_seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (path.with_name(f"{path.name}.damaged-{stamp}{f'-{again}' if again else ''}") for again in count())
    aside = next(name for name in names if not any(_beside(name, ending).exists() for ending in _BESIDE))
    for ending in _BESIDE:
        if _beside(path, ending).exists():
            _beside(path, ending).rename(_beside(aside, ending))
    return aside


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _primary_code(error: Exception) -> int | None:
    """SQLite's primary result code, the low byte of the extended one (https://sqlite.org/rescode.html)."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
