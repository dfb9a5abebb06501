"""What a spool on disk does in its own thread: groups of steps, each group one transaction.

Which batches are lent is known in memory only (see `book`), so that after a restart everything that was not delivered
is there again. Everything else is in the file, and a tally of it in memory, so that nothing is summed up while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen

from torfluxd.boundaries import Batch, Destination, Fate
from torfluxd.delivery.book import Book, Place
from torfluxd.delivery.damage import explain, is_damage, is_full, set_aside
from torfluxd.delivery.lending import DeadLetter, Kept, joined, letters_for, size_bytes
from torfluxd.delivery.reserve import Reserve
from torfluxd.delivery.schema import SCHEMA
from torfluxd.delivery.steps import Bounds, GiveBack, Lend, Prove, Put, Report, Result, Step
from torfluxd.delivery.store import Row, Span, Store, Sums
from torfluxd.errors import SpoolBrokenError, SpoolFullError, SpoolVersionError

__all__ = ["RETRY_SECONDS", "Ledger"]

RETRY_SECONDS = 5.0
"""How long a disk that failed is left alone: a try may read the whole file, and room is made by people."""


class Ledger:
    """A spool on disk, without thread and reactor. It belongs to one thread at a time.

    Trouble with the file fails the steps of that group, and all puts for the next :data:`RETRY_SECONDS`; then they
    are tried again. A damaged file is set aside, and a new one begun. On a full disk what is delivered can still be
    deleted, see :mod:`~torfluxd.delivery.reserve`.

    :param path: the file, in a directory of ours.
    :param bounds: how much it holds.
    :param schema: see :func:`~torfluxd.delivery.schema.open_file`.
    """

    def __init__(self, path: Path, bounds: Bounds, schema: Sequence[str] = SCHEMA) -> None:
        self._path = path
        self._bounds = bounds
        self._schema = schema
        self._reserve = Reserve(path.with_name(f"{path.name}.reserve"), bounds.reserve_bytes)
        self._store: Store | None = None
        self._book = Book()
        self._changed: set[Destination] = set()
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
            self._reserve.hold()
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
        self._hold_reserve(store, now)
        refusing_puts = self._refuses_puts(now)
        self._book.mark()
        try:
            results = self._do(store, steps, now)
        except Exception as error:
            self._book.revert()
            broken = self._fail(error, now)
            makes_room = is_full(error) and not all(isinstance(step, Put | Prove) for step in steps)
            if makes_room and (not refusing_puts or self._reserve.give_up()):
                return self.do(steps, now)  # without the puts; and if that was not enough, with the reserve
            return self._failed(steps, broken)
        self._changed.update(self._book.places.changed)
        return self._report(results)

    # Steps.

    def _do(self, store: Store, steps: Sequence[Step], now: float) -> list[Result]:
        changes = store.changes
        with store.transaction():
            self._drop_aged(store, now)
            results = [self._step(store, step, now) for step in steps]
            self._book.oldest_put_at = store.put_at(0)
        if store.changes > changes and self._reserve.held:
            self._trouble = ""
        return results

    def _step(self, store: Store, step: Step, now: float) -> Result:
        if isinstance(step, Lend):
            return self._lend(store, step, now)
        if isinstance(step, GiveBack):
            self._take_back(store, step, now)
        elif self._refuses_puts(now):
            return SpoolBrokenError(self._trouble)
        elif isinstance(step, Prove):
            store.touch()
        else:
            try:
                self._put(store, step.batch, now)
            except (SpoolFullError, ValueError) as error:  # ValueError: a name that is no Unicode cannot be stored
                return error
        return None

    def _refuses_puts(self, now: float) -> bool:
        return bool(self._trouble) and (now < self._retry_at or not self._reserve.held)

    def _put(self, store: Store, batch: Batch, now: float) -> None:
        book = self._book
        if self._bounds.drop_oldest and not self._make_room(store, batch, now):
            book.tally.add(batch)
            book.tally.dropped(Kept(book.tally.newest, batch))
            return
        if self._exceeded_with(batch):
            raise SpoolFullError(
                f"the spool {self._path} is full, it holds {book.tally.points} points in {book.tally.size_bytes} bytes:"
                " raise its limit, or see why it is not emptied"
            )
        place = book.places.get(batch.destination)
        if place is None:
            if len(book.places.items()) >= self._bounds.limit_destinations:
                raise SpoolFullError(
                    f"the spool {self._path} holds something for {self._bounds.limit_destinations} destinations, and"
                    " takes nothing for another one before one of them is empty"
                )
            place = Place(store.destination_number(batch.destination), cursor=book.tally.newest)
        store.insert(book.tally.newest + 1, place.number, batch, now)
        book.add(place, batch)

    def _exceeded_with(self, batch: Batch) -> bool:
        tally = self._book.tally
        return self._bounds.exceeded(tally.points + batch.points, tally.size_bytes + size_bytes(batch))

    def _make_room(self, store: Store, batch: Batch, now: float) -> bool:
        """Drop as few of the oldest batches as a new one needs.

        :returns: False when not even all would be enough; nothing is dropped then.
        """
        lent = self._book.lent_sums
        if self._bounds.exceeded(lent.points + batch.points, lent.size_bytes + size_bytes(batch)):
            return False
        while self._exceeded_with(batch) and self._drop_oldest(store, now):
            pass
        return True

    def _lend(self, store: Store, step: Lend, now: float) -> Kept | None:
        kept = self._take_oldest(store, step, self._bounds, now)
        if kept is not None:
            self._book.lend(kept)
        return kept

    def _take_back(self, store: Store, step: GiveBack, now: float) -> None:
        book = self._book
        kept = book.end_loan(step.kept.position)
        if kept is None:
            return
        if step.fate is Fate.DELIVERED:
            self._delete(store, kept)
            book.tally.delivered(kept)
        elif step.fate is Fate.REJECT:
            letters = letters_for(kept, step.reason, step.refused)
            for letter in letters:
                store.bury(book.place_of(kept).number, letter, kept.first, now)
            self._delete(store, kept)
            book.tally.rejected(kept, sum(letter.batch.points for letter in letters))
            self._count_letters(store, letters)
        else:
            book.put_back(kept)

    def _failed(self, steps: Sequence[Step], error: SpoolBrokenError) -> Report:
        """Fail a group. A lease whose way back failed is as if it had been put back."""
        for step in steps:
            if isinstance(step, GiveBack) and (kept := self._book.end_loan(step.kept.position)) is not None:
                self._book.put_back(kept)
        return self._report([error] * len(steps))

    # Oldest first.

    def _take_oldest(self, store: Store, wanted: Lend, bounds: Bounds, now: float) -> Kept | None:
        """The oldest of what is not lent, which is the caller's now; what cannot be sent is buried on the way.

        :param wanted: out of which batches.
        :param bounds: how much is taken as one.
        """
        for destination in self._by_age(store) if wanted.destination is None else [wanted.destination]:
            kept = self._take(store, destination, wanted.up_to, bounds, now)
            if kept is not None:
                return kept
        return None

    def _take(self, store: Store, destination: Destination, up_to: int, bounds: Bounds, now: float) -> Kept | None:
        places = self._book.places
        limit = bounds.lend_points if bounds.lend_bytes else 0
        while (place := places.get(destination)) is not None and place.waits:
            ahead = place.ahead.up_to(up_to)
            run = _Run.of(store.read(place.number, destination, ahead, max(1, limit)), bounds)
            if run.last is None and ahead != place.ahead:
                return None  # what waits there is behind that position
            places.put(destination, place.passed(run.last))
            for kept in run.damaged:
                self._bury_damaged(store, kept, now)
            if run.sound:
                return joined(run.sound)
            if run.last is None and not place.returned:
                return None
        return None

    def _by_age(self, store: Store) -> list[Destination]:
        """The destinations for which something waits, the longest first. A look for each, when there are several."""
        waiting = [(destination, place) for destination, place in self._book.places.items() if place.waits]
        if len(waiting) > 1:
            found = [(store.next_position(place.number, place.ahead.first), where) for where, place in waiting]
            return [where for position, where in sorted(found, key=lambda one: one[0] or 0) if position is not None]
        return [destination for destination, _ in waiting]

    def _drop_oldest(self, store: Store, now: float) -> bool:
        """Drop the oldest batch that is not lent.

        :returns: False when there was none; then some may have been damaged, and buried.
        """
        kept = self._take_oldest(store, _ANY, _ONE_BY_ONE, now)
        if kept is None:
            return False
        self._delete(store, kept)
        self._book.tally.dropped(kept)
        return True

    def _drop_aged(self, store: Store, now: float) -> None:
        limit = self._bounds.limit_age_seconds
        if limit is None:
            return
        while (put_at := self._oldest_unlent_put_at(store)) is not None and put_at < now - limit:
            self._drop_oldest(store, now)

    def _oldest_unlent_put_at(self, store: Store) -> float | None:
        for destination in self._by_age(store):
            place = self._book.places.get(destination)
            position = place and store.next_position(place.number, place.ahead.first)
            if position:
                return store.put_at(position)
        return None

    def _delete(self, store: Store, kept: Kept) -> None:
        """Take it out of the file and out of the book."""
        store.delete(self._book.place_of(kept).number, Span(kept.first, kept.position))
        self._removed(store, kept)

    def _removed(self, store: Store, kept: Kept) -> None:
        given_up = self._book.remove(kept)
        if given_up is not None:
            store.forget_destination(given_up.number)

    def _bury_damaged(self, store: Store, kept: Kept, now: float) -> None:
        self._news.append(f"a batch of {kept.batch.points} points was damaged on the disk of {self._path}")
        store.bury_row(kept.position, "damaged on the disk", now)
        self._removed(store, kept)
        self._book.tally.rejected(kept)
        self._count_letters(store, [DeadLetter(kept.batch, "")])

    def _count_letters(self, store: Store, letters: Iterable[DeadLetter]) -> None:
        """Count new letters, and forget the oldest when there are too many."""
        book = self._book
        for letter in letters:
            book.letters += Sums(1, letter.batch.points, size_bytes(letter.batch))
        while book.letters.size_bytes > self._bounds.dead_letter_limit_bytes:
            forgotten = store.forget_oldest_letter()
            book.letters -= forgotten
            book.forgotten_points += forgotten.points

    # The file.

    def _hold_reserve(self, store: Store, now: float) -> None:
        """Take the room again that was given up on a full disk, if it is there by now."""
        if self._reserve.held or now < self._retry_at:
            return
        try:
            if not self._book.tally.batches:
                store.shrink()  # what was in it was delivered: the room that it took is the first that can be had
            self._reserve.hold()
        except Exception as error:
            self._fail(error, now)

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
        self._changed.update(destination for destination, _ in self._book.places.items())
        self._book = Book(self._book.tally, self._book.forgotten_points)
        store = self._count(Store.open(self._path, self._schema))
        self._trouble = ""
        return store

    def _count(self, store: Store) -> Store:
        """Make the book say what the file holds."""
        book = self._book
        try:
            total = Sums()
            found = {shelf.destination: shelf for shelf in store.shelves()}
            known = [destination for destination, _ in book.places.items()]
            self._changed.update(known, found)
            for destination in known:
                if destination not in found:
                    book.give_up(destination)
            for destination, shelf in found.items():
                place = book.places.get(destination) or Place(shelf.number)
                book.places.put(destination, evolve(place, number=shelf.number, sums=shelf.sums))
                total += shelf.sums
            book.tally.batches, book.tally.points, book.tally.size_bytes = total.batches, total.points, total.size_bytes
            book.tally.newest = max(book.tally.newest, store.newest())
            book.letters = store.letter_sums()
            book.oldest_put_at = store.put_at(0)
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
        changed, self._changed = self._changed, set()
        book = self._book
        return Report(
            results=results,
            counts=book.tally.counts(),
            destinations={destination: _kept_for(book.places.get(destination)) for destination in changed},
            oldest_put_at=book.oldest_put_at,
            dead_letters=book.letters,
            forgotten_points=book.forgotten_points,
            trouble=self._trouble,
            news=news,
        )


@frozen
class _Run:
    """What was read in a row.

    :ivar sound: what can be lent as one.
    :ivar damaged: what is not what was written.
    :ivar last: the position up to which these are all there was, or None when there was nothing.
    """

    sound: Sequence[Kept]
    damaged: Sequence[Kept]
    last: int | None

    @classmethod
    def of(cls, rows: Iterable[Row], bounds: Bounds) -> _Run:
        """Read on until one more would be too much."""
        sound: list[Kept] = []
        damaged: list[Kept] = []
        last: int | None = None
        points = bytes_ = 0
        for row in rows:
            kept = row.kept
            points += kept.batch.points
            bytes_ += len(kept.batch.lines) + 1
            if sound and (points > bounds.lend_points or bytes_ > bounds.lend_bytes + 1):
                break
            if sound and kept.batch.interval != sound[0].batch.interval:
                break
            (sound if row.sound else damaged).append(kept)
            last = kept.position
        return cls(sound, damaged, last)


_ANY = Lend()

_ONE_BY_ONE = Bounds()
"""Bounds of which only matters that nothing is joined."""


def _kept_for(place: Place | None) -> Sums:
    return Sums() if place is None else place.sums
