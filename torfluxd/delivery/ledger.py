"""What a spool on disk does in its own thread: groups of steps, each group one transaction.

Which batches are lent is known in memory only, so that after a restart everything that was not delivered is there
again. Everything else is in the file, and a tally of it in memory, so that nothing is summed up while it runs.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, evolve, field

from torfluxd.boundaries import Batch, Fate
from torfluxd.delivery.damage import explain, is_damage, is_full, set_aside
from torfluxd.delivery.lending import Kept, Tally, size_bytes
from torfluxd.delivery.schema import SCHEMA
from torfluxd.delivery.steps import Bounds, GiveBack, Lend, Report, Result, Step
from torfluxd.delivery.store import Store, Sums
from torfluxd.errors import SpoolBrokenError, SpoolFullError, SpoolVersionError

__all__ = ["RETRY_SECONDS", "Ledger"]

RETRY_SECONDS = 5.0
"""How long a disk that failed is left alone: a try may read the whole file, and room is made by people."""


@define
class _Book:
    """What is known in memory, and is as it was before when a transaction fails.

    :ivar lent: the batches that are lent, by position.
    :ivar returned: the positions of batches that were lent and put back, in order; all of them are up to `cursor`.
    :ivar cursor: no batch behind this position was lent yet.
    """

    tally: Tally = field(factory=Tally)
    lent: dict[int, Batch] = field(factory=dict)
    returned: list[int] = field(factory=list)
    cursor: int = 0
    letters: Sums = field(factory=Sums)
    forgotten_points: int = 0
    oldest_put_at: float | None = None

    def copy(self) -> _Book:
        return evolve(self, tally=evolve(self.tally), lent=dict(self.lent), returned=list(self.returned))

    def lent_and(self, batch: Batch) -> tuple[int, int]:
        """The points and the size in bytes of what is lent, and of one batch more."""
        batches = [*self.lent.values(), batch]
        return sum(each.points for each in batches), sum(size_bytes(each) for each in batches)


class Ledger:
    """A spool on disk, without thread and reactor. It belongs to one thread at a time.

    Trouble with the file fails the steps of that group, and all puts for the next :data:`RETRY_SECONDS`; then they
    are tried again. A damaged file is set aside, and a new one begun.

    :param path: the file, in a directory of ours.
    :param bounds: how much it holds.
    :param schema: see :func:`~torfluxd.delivery.schema.open_file`.
    """

    def __init__(self, path: Path, bounds: Bounds, schema: Sequence[str] = SCHEMA) -> None:
        self._path = path
        self._bounds = bounds
        self._schema = schema
        self._store: Store | None = None
        self._book = _Book()
        self._damage = ""
        self._trouble = ""
        self._retry_at = 0.0
        self._news: list[str] = []

    def open(self, now: float) -> Report:
        """Open the file for the first time. If that fails, it is tried again by the first step after a while.

        :param now: in seconds since 1970, like all times here.
        :raises SpoolVersionError: the file is of a newer schema.
        """
        try:
            self._open(now)
        except SpoolVersionError:
            raise
        except Exception as error:
            self._fail(error, now)
        return self._report([])

    def close(self) -> None:
        """Close the file."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def do(self, steps: Sequence[Step], now: float) -> Report:
        """Do a group of steps in one transaction, in their order.

        :returns: how they ended. When it says so, all that was done is synced to the disk.
        """
        try:
            store = self._usable_store(now)
        except Exception as error:
            return self._failed(steps, self._fail(error, now))
        before = self._book.copy()
        try:
            return self._report(self._do(store, steps, now))
        except Exception as error:
            self._book = before
            return self._failed(steps, self._fail(error, now))

    # Steps.

    def _do(self, store: Store, steps: Sequence[Step], now: float) -> list[Result]:
        changes = store.changes
        with store.transaction():
            self._drop_aged(store, now)
            results = [self._step(store, step, now) for step in steps]
            self._book.oldest_put_at = store.put_at(0)
        if store.changes > changes:
            self._trouble = ""
        return results

    def _step(self, store: Store, step: Step, now: float) -> Result:
        if isinstance(step, Lend):
            return self._lend(store, now)
        if isinstance(step, GiveBack):
            self._take_back(store, step, now)
        elif self._trouble and now < self._retry_at:
            return SpoolBrokenError(self._trouble)
        else:
            try:
                self._put(store, step.batch, now)
            except (SpoolFullError, ValueError) as error:  # ValueError: a name that is no Unicode cannot be stored
                return error
        return None

    def _put(self, store: Store, batch: Batch, now: float) -> None:
        book = self._book
        tally = book.tally
        if not self._bounds.drop_oldest:
            if self._bounds.exceeded(tally.points + batch.points, tally.size_bytes + size_bytes(batch)):
                raise SpoolFullError(
                    f"the spool {self._path} is full, it holds {tally.points} points in {tally.size_bytes} bytes: raise"
                    " its limit, or see why it is not emptied"
                )
        elif self._bounds.exceeded(*book.lent_and(batch)):
            tally.newest += 1
            tally.add(batch)
            tally.dropped(batch)
            return
        while self._bounds.exceeded(tally.points + batch.points, tally.size_bytes + size_bytes(batch)):
            self._drop_oldest(store, now)
        kept = Kept(tally.newest + 1, batch)
        store.insert(kept, now)
        tally.newest += 1
        tally.add(batch)

    def _lend(self, store: Store, now: float) -> Kept | None:
        kept = self._take_oldest(store, now)
        if kept is not None:
            self._book.lent[kept.position] = kept.batch
        return kept

    def _take_back(self, store: Store, step: GiveBack, now: float) -> None:
        book, kept = self._book, step.kept
        if book.lent.pop(kept.position, None) is None:
            return  # its file was damaged, and set aside meanwhile
        if step.fate is Fate.DELIVERED:
            store.delete(kept.position)
            book.tally.delivered(kept.batch)
        elif step.fate is Fate.REJECT:
            self._bury(store, kept, step.reason, now)
        else:
            insort(book.returned, kept.position)

    def _failed(self, steps: Sequence[Step], error: SpoolBrokenError) -> Report:
        """Fail a group. A lease whose way back failed is as if it had been put back."""
        for step in steps:
            if isinstance(step, GiveBack) and self._book.lent.pop(step.kept.position, None) is not None:
                insort(self._book.returned, step.kept.position)
        return self._report([error] * len(steps))

    # Oldest first.

    def _take_oldest(self, store: Store, now: float) -> Kept | None:
        """The oldest batch that is not lent, which is the caller's now; what cannot be sent is buried on the way."""
        for kept, sound in self._oldest(store):
            if sound:
                return kept
            self._news.append(f"a batch of {kept.batch.points} points was damaged on the disk of {self._path}")
            self._bury(store, kept, "damaged on the disk", now)
        return None

    def _oldest(self, store: Store) -> Iterator[tuple[Kept, bool]]:
        book = self._book
        while book.returned:
            row = store.fetch(book.returned.pop(0))
            if row is not None:  # else its delivery was written although the disk failed to say so
                yield row.kept, row.sound
        while (row := store.fetch_after(book.cursor)) is not None:
            book.cursor = row.kept.position
            yield row.kept, row.sound

    def _drop_oldest(self, store: Store, now: float) -> None:
        kept = self._take_oldest(store, now)
        if kept is not None:  # else all of them were damaged, and buried
            store.delete(kept.position)
            self._book.tally.dropped(kept.batch)

    def _drop_aged(self, store: Store, now: float) -> None:
        limit = self._bounds.limit_age_seconds
        if limit is None:
            return
        while (put_at := self._oldest_unlent_put_at(store)) is not None and put_at < now - limit:
            self._drop_oldest(store, now)

    def _oldest_unlent_put_at(self, store: Store) -> float | None:
        return store.put_at(self._book.returned[0] if self._book.returned else self._book.cursor + 1)

    def _bury(self, store: Store, kept: Kept, reason: str, now: float) -> None:
        book = self._book
        store.bury(kept.position, reason, now)
        book.tally.rejected(kept.batch)
        book.letters += _sums(kept)
        while book.letters.size_bytes > self._bounds.dead_letter_limit_bytes:
            forgotten = store.forget_oldest_letter()
            book.letters -= forgotten
            book.forgotten_points += forgotten.points

    # The file.

    def _usable_store(self, now: float) -> Store:
        if self._store is None:
            if now < self._retry_at:
                raise SpoolBrokenError(self._trouble)
            return self._open(now)
        return self._store

    def _open(self, now: float) -> Store:
        """Open the file; what is damaged is set aside first."""
        if not self._damage:
            try:
                return self._count(Store.open(self._path, self._schema))
            except Exception as error:
                if not is_damage(error):
                    raise
                self._damage = explain(error, self._path)
        aside = set_aside(self._path, now)
        self._news.append(f"{self._damage}; it was set aside as {aside.name}, with all it holds, and a new one begun")
        self._damage = ""
        tally = self._book.tally
        self._book = _Book(tally, cursor=tally.newest, forgotten_points=self._book.forgotten_points)
        store = self._count(Store.open(self._path, self._schema))
        self._trouble = ""
        return store

    def _count(self, store: Store) -> Store:
        """Make the tally say what the file holds."""
        try:
            tally, sums = self._book.tally, store.batch_sums()
            tally.batches, tally.points, tally.size_bytes = sums.batches, sums.points, sums.size_bytes
            tally.newest = max(tally.newest, store.newest())
            self._book.letters = store.letter_sums()
            self._book.oldest_put_at = store.put_at(0)
        except BaseException:
            store.close()
            raise
        self._store = store
        return store

    def _fail(self, error: Exception, now: float) -> SpoolBrokenError:
        """Something went wrong with the file: remember it, and leave the disk alone for a while.

        :returns: the error for everyone who waits.
        """
        if isinstance(error, SpoolBrokenError):
            return error
        trouble = explain(error, self._path)
        if trouble != self._trouble:
            self._news.append(trouble)
        self._trouble = trouble
        self._retry_at = now + RETRY_SECONDS
        if is_damage(error):
            self._damage = trouble
            self._retry_at = now
        if not is_full(error):
            self.close()
        broken = SpoolBrokenError(trouble)
        broken.__cause__ = error
        return broken

    def _report(self, results: Sequence[Result]) -> Report:
        news, self._news = self._news, []
        book = self._book
        return Report(
            results=results,
            counts=book.tally.counts(),
            oldest_put_at=book.oldest_put_at,
            dead_letters=book.letters,
            forgotten_points=book.forgotten_points,
            trouble=self._trouble,
            news=news,
        )


def _sums(kept: Kept) -> Sums:
    return Sums(1, kept.batch.points, kept.size_bytes)
