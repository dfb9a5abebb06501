"""What an operator does with the dead letters of a spool, while nobody else has it open.

The caller holds the lock of the state directory. Each function raises :class:`~torfluxd.errors.SpoolBrokenError` when
the file cannot be used, and :class:`~torfluxd.errors.SpoolVersionError` when a newer torfluxd wrote it. Where there is
no file there are no letters, and none is begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from torfluxd.delivery.damage import DamagedFileError, explain
from torfluxd.delivery.store import Buried, Store
from torfluxd.errors import SpoolBrokenError

__all__ = ["drop_letters", "list_letters", "retry_letters"]


def list_letters(path: Path) -> list[Buried]:
    """The dead letters of a spool, oldest first."""
    if not path.exists():
        return []
    with _opened(path) as store:
        return store.letters()


def retry_letters(path: Path, numbers: Collection[int] | None = None) -> int:
    """Put the batches of dead letters again, behind all that waits, whatever the limit of the spool.

    :param numbers: which; by default all.
    :returns: how many there were.
    """
    return _with_each(path, numbers, Store.exhume)


def drop_letters(path: Path, numbers: Collection[int] | None = None) -> int:
    """Delete dead letters for good.

    :param numbers: which; by default all.
    :returns: how many there were.
    """
    return _with_each(path, numbers, Store.forget_letter)


def _with_each(path: Path, numbers: Collection[int] | None, do: Callable[[Store, int], None]) -> int:
    if not path.exists():
        return 0
    with _opened(path) as store, store.transaction():
        chosen = [letter.number for letter in store.letters() if numbers is None or letter.number in numbers]
        for number in chosen:
            do(store, number)
    return len(chosen)


@contextmanager
def _opened(path: Path) -> Iterator[Store]:
    try:
        with closing(Store.open(path)) as store:
            yield store
    except (DamagedFileError, sqlite3.Error, OSError) as error:
        raise SpoolBrokenError(explain(error, path)) from error
