"""How the file of a spool is begun and opened: its schema, and what is checked before it is trusted.

SQLite, because what it has committed with `synchronous=FULL` in WAL mode was synced before COMMIT returned. There is
exactly one connection, and `locking_mode=EXCLUSIVE` keeps everybody else out while it is open: SQLite before 3.51.3
can damage a file whose WAL is reset by one of two connections, and Debian 12 has 3.40.1.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from torfluxd.delivery.damage import DamagedFileError
from torfluxd.errors import SpoolVersionError

__all__ = ["SCHEMA", "SPOOL_FILE", "open_file"]

SPOOL_FILE = "spool.db"
"""The name of the gateway's spool in its state directory."""

APPLICATION_ID = int.from_bytes(b"tflx", "big")
"""Written in the header of the file, so that another program's database is never taken for a spool."""

SCHEMA: tuple[str, ...] = (
    # A destination's names are written once, because strangers choose them and how long they are.
    # The index leads to the batches of one destination in the order of their positions: SQLite keeps the INTEGER
    # PRIMARY KEY of each row behind the columns of an index.
    # The number of a dead letter, which a person writes down, is never given to another one (AUTOINCREMENT).
    # `lines` stands last: what is behind a long value in a row is only found by reading all of it.
    """
    CREATE TABLE destination (
        number INTEGER PRIMARY KEY,
        database TEXT NOT NULL,
        retention_policy TEXT
    );
    CREATE INDEX destination_names ON destination (database, retention_policy);
    CREATE TABLE batch (
        position INTEGER PRIMARY KEY,
        destination INTEGER NOT NULL,
        points INTEGER NOT NULL,
        put_at REAL NOT NULL,
        checksum INTEGER NOT NULL,
        lines BLOB NOT NULL
    );
    CREATE INDEX batch_destination ON batch (destination);
    CREATE TABLE dead_letter (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        destination INTEGER NOT NULL,
        points INTEGER NOT NULL,
        put_at REAL NOT NULL,
        checksum INTEGER NOT NULL,
        refused_at REAL NOT NULL,
        reason TEXT NOT NULL,
        lines BLOB NOT NULL
    );
    CREATE INDEX dead_letter_destination ON dead_letter (destination);
    """,
    # Of what older versions kept, and of what a gateway keeps, no one minds the interval.
    "ALTER TABLE batch ADD COLUMN interval INTEGER NOT NULL DEFAULT 0;",
)
"""The scripts that lead to the schema of today, each from one version to the next; the first begins a new file."""

JOURNAL_BYTES = 4 * 1024 * 1024
"""To what the WAL is cut back when it has grown beyond it: SQLite copies it into the file every 1000 pages of 4 KiB
(its default `wal_autocheckpoint`, which is kept), so it is larger only after a large transaction."""

BUSY_SECONDS = 1.0
"""How long to wait for somebody else who holds the file, against all advice: a look with the `sqlite3` shell."""


def open_file(path: Path, schema: Sequence[str] = SCHEMA) -> sqlite3.Connection:
    """Open a file, and begin it where there is none.

    An older schema is brought up to date. The file is for its owner's eyes only.

    :param schema: the scripts that lead to the schema to have.
    :raises DamagedFileError: what is there is not a whole spool. It is left as it is.
    :raises SpoolVersionError: its schema is newer. It is left as it is.
    :raises sqlite3.Error: it cannot be read or written, or it is damaged, see
        :func:`~torfluxd.delivery.damage.is_damage`.
    :raises OSError: the same.
    """
    if not path.exists():
        if path.with_name(f"{path.name}-wal").exists():
            raise DamagedFileError("the file is missing beside its write-ahead log")
        _begin(path, schema)
    if not path.is_file():
        raise DamagedFileError("it is not a file")
    path.chmod(0o600)
    connection = _connect(path)
    try:
        _check(connection, path, len(schema))
        _bring_up_to_date(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    # What is no UTF-8 any more was damaged, which the checksum tells.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    # Before the first access to the WAL, so that SQLite needs no shared memory file beside it.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _check(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Look before anything is written, at the version first: what is newer may look damaged to us."""
    [[application_id]] = connection.execute("PRAGMA application_id")
    if application_id != APPLICATION_ID:
        raise DamagedFileError("it is not a spool of torfluxd")
    [[found]] = connection.execute("PRAGMA user_version")
    if found > version:
        raise SpoolVersionError(
            f"the spool {path} was written by a newer torfluxd (its schema is {found}, ours is {version}): install that"
            " one again, or move the file away to begin a new one"
        )
    [complaint, *_] = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    if complaint != "ok":
        raise DamagedFileError(complaint)


def _bring_up_to_date(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "fullfsync = ON",  # macOS: fsync alone does not reach the platter there; elsewhere it means nothing
        f"journal_size_limit = {JOURNAL_BYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    [[found]] = connection.execute("PRAGMA user_version")
    _run_scripts(connection, schema, found)


def _run_scripts(connection: sqlite3.Connection, schema: Sequence[str], version: int) -> None:
    """Lead the schema from a version to the last one, each step whole or not at all."""
    for number, script in enumerate(schema[version:], version + 1):
        connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def _begin(path: Path, schema: Sequence[str]) -> None:
    """Make a new file under another name and move it into its place, so that a half-made one is never seen there."""
    new = path.with_name(f"{path.name}.new")
    for left_behind in (new, new.with_name(f"{new.name}-journal")):
        left_behind.unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = _connect(new)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _run_scripts(connection, schema, 0)
    finally:
        connection.close()
    new.replace(path)
    if os.name == "posix":
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
