"""The file of a spool, when it is open: what is read from it and written to it, in SQL.

Pages that deliveries free are used again, and the file never shrinks: it stays within about twice the limit of its
spool, the worst case being batches a little larger than half a page of 4 KiB, which take one each.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.lending import BATCH_OVERHEAD_BYTES, DeadLetter, Kept
from torfluxd.delivery.schema import SCHEMA, open_file

__all__ = ["Buried", "Row", "Store", "Sums"]

_SELECT_KEPT = "SELECT position, database, retention_policy, points, checksum, lines FROM batch"


@frozen(eq=False)
class Row:
    """A batch as it was read.

    :ivar kept: the batch.
    :ivar sound: whether it is what was written.
    """

    kept: Kept
    sound: bool


@frozen
class Sums:
    """What a table holds.

    :ivar batches: how many batches.
    :ivar points: how many points those hold.
    :ivar size_bytes: what those count for against a limit.
    """

    batches: int = 0
    points: int = 0
    size_bytes: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.batches + other.batches, self.points + other.points, self.size_bytes + other.size_bytes)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.batches - other.batches, self.points - other.points, self.size_bytes - other.size_bytes)


@frozen
class Buried:
    """A dead letter in a file.

    :ivar number: by which an operator names it.
    :ivar refused_at: when it was refused, in seconds since 1970.
    :ivar letter: the batch and the reason.
    """

    number: int
    refused_at: float
    letter: DeadLetter


class Store:
    """An open file. Each of its methods may raise :class:`sqlite3.Error`.

    :param connection: the only one.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path, schema: Sequence[str] = SCHEMA) -> Store:
        """Open a file, see :func:`~torfluxd.delivery.schema.open_file`, which has the errors too."""
        return cls(open_file(path, schema))

    def close(self) -> None:
        """Copy the WAL into the file, as SQLite does with the last connection, and close it."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; when it is left without an error, everything is synced to the disk."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite may have rolled back itself
                self._connection.execute("ROLLBACK")
            raise

    @property
    def changes(self) -> int:
        """How many rows were ever written or deleted through this connection."""
        return self._connection.total_changes

    # Batches.

    def insert(self, kept: Kept, put_at: float) -> None:
        """Write a batch that was put at that time, in seconds since 1970."""
        batch = kept.batch
        where = batch.destination
        self._connection.execute(
            "INSERT INTO batch (position, database, retention_policy, points, put_at, checksum, lines)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                kept.position,
                where.database,
                where.retention_policy,
                batch.points,
                put_at,
                _checksum(batch),
                batch.lines,
            ),
        )

    def fetch(self, position: int) -> Row | None:
        """Read a batch, or None when it is not there."""
        return self._row(_SELECT_KEPT + " WHERE position = ?", position)

    def fetch_after(self, position: int) -> Row | None:
        """Read the oldest batch behind a position, or None."""
        return self._row(_SELECT_KEPT + " WHERE position > ? ORDER BY position LIMIT 1", position)

    def put_at(self, position: int) -> float | None:
        """When the oldest batch at or behind a position was put, in seconds since 1970, or None."""
        query = "SELECT put_at FROM batch WHERE position >= ? ORDER BY position LIMIT 1"
        row = self._connection.execute(query, (position,)).fetchone()
        return None if row is None else float(row[0])

    def delete(self, position: int) -> None:
        """Forget a batch."""
        self._connection.execute("DELETE FROM batch WHERE position = ?", (position,))

    def newest(self) -> int:
        """The greatest position, or 0."""
        [position] = self._connection.execute("SELECT coalesce(max(position), 0) FROM batch").fetchone()
        return int(position)

    def batch_sums(self) -> Sums:
        """What the batches sum up to; reads the whole table."""
        return self._sums("batch")

    # Dead letters.

    def bury(self, position: int, reason: str, refused_at: float) -> None:
        """Move a batch to the dead letters."""
        self._connection.execute(
            "INSERT INTO dead_letter (database, retention_policy, points, put_at, checksum, lines, reason, refused_at)"
            " SELECT database, retention_policy, points, put_at, checksum, lines, ?, ? FROM batch WHERE position = ?",
            (reason, refused_at, position),
        )
        self.delete(position)

    def forget_oldest_letter(self) -> Sums:
        """Delete the oldest dead letter, of which there must be one.

        :returns: what was deleted.
        """
        number, points, lines_bytes = self._connection.execute(
            "SELECT number, points, length(lines) FROM dead_letter ORDER BY number LIMIT 1"
        ).fetchone()
        self.forget_letter(number)
        return Sums(1, points, lines_bytes + BATCH_OVERHEAD_BYTES)

    def letter_sums(self) -> Sums:
        """What the dead letters sum up to; reads the whole table."""
        return self._sums("dead_letter")

    def letters(self) -> list[Buried]:
        """The dead letters, oldest first."""
        rows = self._connection.execute(
            "SELECT number, refused_at, database, retention_policy, lines, points, reason FROM dead_letter"
            " ORDER BY number"
        )
        return [
            Buried(number, refused_at, DeadLetter(Batch(Destination(database, policy), lines, points), reason))
            for number, refused_at, database, policy, lines, points, reason in rows
        ]

    def exhume(self, number: int) -> None:
        """Put the batch of a dead letter again, behind all others."""
        self._connection.execute(
            "INSERT INTO batch (database, retention_policy, points, put_at, checksum, lines)"
            " SELECT database, retention_policy, points, put_at, checksum, lines FROM dead_letter WHERE number = ?",
            (number,),
        )
        self.forget_letter(number)

    def forget_letter(self, number: int) -> None:
        """Delete a dead letter."""
        self._connection.execute("DELETE FROM dead_letter WHERE number = ?", (number,))

    def _row(self, query: str, position: int) -> Row | None:
        row = self._connection.execute(query, (position,)).fetchone()
        if row is None:
            return None
        position, database, policy, points, checksum, lines = row
        batch = Batch(Destination(database, policy), lines, points)
        return Row(Kept(position, batch), sound=_checksum(batch) == checksum)

    def _sums(self, table: str) -> Sums:
        batches, points, lines_bytes = self._connection.execute(
            f"SELECT count(*), coalesce(sum(points), 0), coalesce(sum(length(lines)), 0) FROM {table}"  # noqa: S608 - ours
        ).fetchone()
        return Sums(batches, points, lines_bytes + batches * BATCH_OVERHEAD_BYTES)


def _checksum(batch: Batch) -> int:
    """Over all that is sent: `quick_check` sees damage to SQLite's structures, not to what is stored in them."""
    where = batch.destination
    return zlib.crc32(batch.lines, zlib.crc32(f"{where.database}\0{where.retention_policy}".encode()))
