"""What an operator sees of a spool, and does with its dead letters, while nobody else has it open.

The caller holds the lock of the state directory. Each function raises :class:`~torfluxd.errors.SpoolBrokenError` when
the file cannot be used, and :class:`~torfluxd.errors.SpoolVersionError` when a newer torfluxd wrote it. Where there is
no file there are no letters, and none is begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import frozen

from torfluxd.delivery.damage import DamagedFileError, explain
from torfluxd.delivery.store import Buried, Shelf, Store
from torfluxd.errors import SpoolBrokenError

__all__ = ["Contents", "drop_letters", "look", "retry_letters"]


@frozen
class Contents:
    """What is in a spool.

    :ivar waiting: what waits for each destination, the longest first.
    :ivar letters: the dead letters, oldest first.
    """

    waiting: Sequence[Shelf] = ()
    letters: Sequence[Buried] = ()


def look(path: Path) -> Contents:
    """What is in a spool."""
    if not path.exists():
        return Contents()
    with _opened(path) as store:
        return Contents(store.shelves(), store.letters())


def retry_letters(path: Path, numbers: Collection[int] | None = None) -> list[int]:
    """Put the batches of dead letters again, behind all that waits, whatever the limit of the spool.

    :param numbers: which; by default all.
    :returns: those of the numbers that were there.
    """
    return _with_each(path, numbers, Store.exhume)


def drop_letters(path: Path, numbers: Collection[int] | None = None) -> list[int]:
    """Delete dead letters for good.

    :param numbers: which; by default all.
    :returns: those of the numbers that were there.
    """
    return _with_each(path, numbers, Store.forget_letter)


def _with_each(path: Path, numbers: Collection[int] | None, do: Callable[[Store, int], None]) -> list[int]:
    if not path.exists():
        return []
    with _opened(path) as store, store.transaction():
        chosen = [number for number in store.letter_numbers() if numbers is None or number in numbers]
        for number in chosen:
            do(store, number)
    return chosen


@contextmanager
def _opened(path: Path) -> Iterator[Store]:
    try:
        with closing(Store.open(path)) as store:
            yield store
    except (DamagedFileError, sqlite3.Error, OSError) as error:
        raise SpoolBrokenError(explain(error, path)) from error
