"""The file of a spool, when it is open: what is read from it and written to it, in SQL.

Pages that deliveries free are used again, and the file shrinks only after the disk was full: it stays within about
twice the limit of its spool, the worst case being batches a little larger than half a page of 4 KiB, which take one
each.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from attrs import frozen

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.damage import DamagedFileError
from torfluxd.delivery.lending import BATCH_OVERHEAD_BYTES, DeadLetter, Kept
from torfluxd.delivery.schema import SCHEMA, open_file

__all__ = ["Buried", "Row", "Shelf", "Span", "Store", "Sums"]

_SUMS = "count(*), coalesce(sum(points), 0), coalesce(sum(length(lines)), 0)"


class Span(NamedTuple):
    """From one position to another, both included."""

    first: int
    last: int

    def up_to(self, position: int) -> Span:
        """What of it is not behind a position, which may be nothing."""
        return Span(self.first, min(self.last, position))


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


@frozen
class Shelf:
    """What waits for one destination in a file.

    :ivar number: of the destination, in this file.
    :ivar sums: what its batches sum up to.
    :ivar oldest_put_at: when the oldest of them was put, in seconds since 1970.
    """

    number: int
    destination: Destination
    sums: Sums
    oldest_put_at: float


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

    def touch(self) -> None:
        """Write what is there already, so that the transaction has something to sync."""
        [[version]] = self._connection.execute("PRAGMA user_version")
        self._connection.execute(f"PRAGMA user_version = {version}")

    def shrink(self) -> None:
        """Give pages that were freed back to the disk. To be called when little is left, all of which is copied."""
        for step in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            self._connection.execute(step).fetchall()

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

    # Destinations.

    def destination_number(self, destination: Destination) -> int:
        """The number of a destination, which is written down when it is new.

        :raises ValueError: it is no Unicode.
        """
        names = (destination.database, destination.retention_policy)
        query = "SELECT number FROM destination WHERE database = ? AND retention_policy IS ?"
        row = self._connection.execute(query, names).fetchone()
        if row is None:
            insert = "INSERT INTO destination (database, retention_policy) VALUES (?, ?) RETURNING number"
            [row] = self._connection.execute(insert, names).fetchall()
        return int(row[0])

    def forget_destination(self, number: int) -> None:
        """Delete a destination, if there is neither a batch nor a dead letter of it."""
        self._connection.execute(
            "DELETE FROM destination WHERE number = ?1"
            " AND NOT EXISTS (SELECT 1 FROM batch WHERE destination = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE destination = ?1)",
            (number,),
        )

    # Batches.

    def insert(self, position: int, number: int, batch: Batch, put_at: float) -> None:
        """Write a batch that was put at that time, in seconds since 1970, for the destination of that number."""
        self._connection.execute(
            "INSERT INTO batch (position, destination, points, put_at, checksum, lines, interval)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (position, number, batch.points, put_at, _checksum(batch), batch.lines, batch.interval),
        )

    def read(self, number: int, destination: Destination, span: Span, limit: int) -> Iterator[Row]:
        """Read batches of a destination, oldest first; nothing may be written before the last one was read."""
        rows = self._connection.execute(
            "SELECT position, points, checksum, lines, interval FROM batch INDEXED BY batch_destination"
            " WHERE destination = ? AND position BETWEEN ? AND ? ORDER BY position LIMIT ?",
            (number, span.first, span.last, limit),
        )
        of_names = _names_checksum(destination)
        for position, points, checksum, lines, interval in rows:
            sound = zlib.crc32(lines, of_names) == checksum
            yield Row(Kept(position, Batch(destination, lines, points, interval)), sound)

    def next_position(self, number: int, position: int) -> int | None:
        """Where the oldest batch of a destination at or behind a position is, or None."""
        query = "SELECT min(position) FROM batch INDEXED BY batch_destination WHERE destination = ? AND position >= ?"
        [found] = self._connection.execute(query, (number, position)).fetchone()
        return None if found is None else int(found)

    def put_at(self, position: int) -> float | None:
        """When the oldest batch at or behind a position was put, in seconds since 1970, or None."""
        query = "SELECT put_at FROM batch WHERE position >= ? ORDER BY position LIMIT 1"
        row = self._connection.execute(query, (position,)).fetchone()
        return None if row is None else float(row[0])

    def delete(self, number: int, span: Span) -> None:
        """Forget batches of a destination."""
        self._connection.execute(
            "DELETE FROM batch INDEXED BY batch_destination WHERE destination = ? AND position BETWEEN ? AND ?",
            (number, *span),
        )

    def newest(self) -> int:
        """The greatest position, or 0."""
        [position] = self._connection.execute("SELECT coalesce(max(position), 0) FROM batch").fetchone()
        return int(position)

    def shelves(self) -> list[Shelf]:
        """What waits for each destination, the longest first; reads the whole table.

        :raises DamagedFileError: there are batches of which nobody knows where to.
        """
        rows = self._connection.execute(
            f"SELECT destination, database, retention_policy, min(position), put_at, {_SUMS}"  # noqa: S608 - ours
            " FROM batch LEFT JOIN destination ON number = destination GROUP BY destination ORDER BY min(position)"
        ).fetchall()
        if any(database is None for _, database, *_ in rows):
            raise DamagedFileError("it does not say where all that it holds shall go")
        # SQLite takes put_at from the row of the minimum (https://sqlite.org/lang_select.html#bareagg).
        return [
            Shelf(number, Destination(database, policy), _sums(*sums), put_at)
            for number, database, policy, _, put_at, *sums in rows
        ]

    # Dead letters.

    def bury_row(self, position: int, reason: str, refused_at: float) -> None:
        """Move a batch to the dead letters, as it is in the file."""
        self._connection.execute(
            "INSERT INTO dead_letter (destination, points, put_at, checksum, lines, reason, refused_at)"
            " SELECT destination, points, put_at, checksum, lines, ?, ? FROM batch WHERE position = ?",
            (reason, refused_at, position),
        )
        self._connection.execute("DELETE FROM batch WHERE position = ?", (position,))

    def bury(self, number: int, letter: DeadLetter, position: int, refused_at: float) -> None:
        """Write a dead letter, of lines that were put with the batch at a position."""
        batch = letter.batch
        self._connection.execute(
            "INSERT INTO dead_letter (destination, points, put_at, checksum, lines, reason, refused_at)"
            " VALUES (?1, ?2, coalesce((SELECT put_at FROM batch WHERE position = ?3), ?4), ?5, ?6, ?7, ?4)",
            (number, batch.points, position, refused_at, _checksum(batch), batch.lines, letter.reason),
        )

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
        return _sums(*self._connection.execute(f"SELECT {_SUMS} FROM dead_letter").fetchone())  # noqa: S608 - ours

    def letter_numbers(self) -> list[int]:
        """The numbers of the dead letters, oldest first."""
        return [number for [number] in self._connection.execute("SELECT number FROM dead_letter ORDER BY number")]

    def letters(self) -> list[Buried]:
        """The dead letters, oldest first."""
        rows = self._connection.execute(
            "SELECT dead_letter.number, refused_at, database, retention_policy, lines, points, reason"
            " FROM dead_letter LEFT JOIN destination ON destination.number = destination ORDER BY dead_letter.number"
        )
        return [
            Buried(number, refused_at, DeadLetter(Batch(Destination(database or "?", policy), lines, points), reason))
            for number, refused_at, database, policy, lines, points, reason in rows
        ]

    def exhume(self, number: int) -> None:
        """Put the batch of a dead letter again, behind all others."""
        self._connection.execute(
            "INSERT INTO batch (destination, points, put_at, checksum, lines)"
            " SELECT destination, points, put_at, checksum, lines FROM dead_letter WHERE number = ?",
            (number,),
        )
        self.forget_letter(number)

    def forget_letter(self, number: int) -> None:
        """Delete a dead letter."""
        deleted = self._connection.execute("DELETE FROM dead_letter WHERE number = ? RETURNING destination", (number,))
        for [destination] in deleted.fetchall():
            self.forget_destination(destination)


def _sums(batches: int, points: int, lines_bytes: int) -> Sums:
    return Sums(batches, points, lines_bytes + batches * BATCH_OVERHEAD_BYTES)


def _checksum(batch: Batch) -> int:
    """Over all that is sent: `quick_check` sees damage to SQLite's structures, not to what is stored in them."""
    return zlib.crc32(batch.lines, _names_checksum(batch.destination))


@lru_cache(maxsize=64)
def _names_checksum(where: Destination) -> int:
    return zlib.crc32(f"{where.database}\0{where.retention_policy}".encode())
