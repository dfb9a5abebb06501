"""What a spool on disk knows in memory beside its file, and how that is taken back when a transaction fails."""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, KeysView
from typing import Final, Generic, TypeVar

from attrs import evolve, frozen

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.lending import LAST_POSITION, Kept, Tally
from torfluxd.delivery.store import Span, Sums

__all__ = ["Book", "Place", "Remembered"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_NOTHING: Final = Sums()


class Remembered(Generic[_K, _V]):
    """A mapping that can be taken back to what it was at a mark; what that costs grows with what was changed alone."""

    def __init__(self) -> None:
        self._now: dict[_K, _V] = {}
        self._before: dict[_K, _V | None] = {}

    def get(self, key: _K) -> _V | None:
        """What stands there, or None."""
        return self._now.get(key)

    def put(self, key: _K, value: _V | None) -> None:
        """Write something there; None takes away what is there."""
        self._before.setdefault(key, self._now.get(key))
        if value is None:
            self._now.pop(key, None)
        else:
            self._now[key] = value

    def items(self) -> ItemsView[_K, _V]:
        """What stands where."""
        return self._now.items()

    @property
    def changed(self) -> KeysView[_K]:
        """Where something was written since the mark."""
        return self._before.keys()

    def mark(self) -> None:
        """What is now is what :meth:`revert` leads back to."""
        self._before = {}

    def revert(self) -> None:
        """Be as at the last mark."""
        for key, value in list(self._before.items()):
            self.put(key, value)
        self.mark()


@frozen
class Place:
    """How far one destination has come.

    :ivar number: of the destination, in the file.
    :ivar sums: what is kept for it, the lent batches among that.
    :ivar lent: what of that is lent.
    :ivar cursor: no batch behind this position was lent yet.
    :ivar returned: from where to where batches were lent and put back, in order; all of it is up to the cursor.
    """

    number: int
    sums: Sums = _NOTHING
    lent: Sums = _NOTHING
    cursor: int = 0
    returned: tuple[Span, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether anything is there that is not lent."""
        return self.sums.batches > self.lent.batches

    @property
    def ahead(self) -> Span:
        """Where the oldest batch that is not lent is looked for."""
        return self.returned[0] if self.returned else Span(self.cursor + 1, LAST_POSITION)

    def passed(self, position: int | None) -> Place:
        """Everything :attr:`ahead` up to a position has been looked at; None when nothing was found there."""
        if not self.returned:
            return self if position is None else evolve(self, cursor=position)
        first, *others = self.returned
        left = () if position is None or position >= first.last else (Span(position + 1, first.last),)
        return evolve(self, returned=(*left, *others))

    def put_back(self, span: Span) -> Place:
        """What was lent is there again."""
        return evolve(self, returned=tuple(sorted((*self.returned, span))))


class Book:
    """What is known in memory.

    :ivar tally: the counts.
    :ivar places: where something is kept for a destination.
    :ivar lent: what is lent, by position.
    :ivar lent_sums: what all of that sums up to.
    :ivar letters: what the dead letters in the file sum up to.
    :ivar forgotten_points: points whose dead letters were deleted for want of room.
    :ivar oldest_put_at: when the oldest batch was put, in seconds since 1970, or None.
    """

    def __init__(self, tally: Tally | None = None, forgotten_points: int = 0) -> None:
        self.tally = tally or Tally()
        self.places = Remembered[Destination, Place]()
        self.lent = Remembered[int, Kept]()
        self.lent_sums = _NOTHING
        self.letters = _NOTHING
        self.forgotten_points = forgotten_points
        self.oldest_put_at: float | None = None
        self.mark()

    def mark(self) -> None:
        """A transaction begins."""
        self.places.mark()
        self.lent.mark()
        self._before = (evolve(self.tally), self.lent_sums, self.letters, self.forgotten_points, self.oldest_put_at)

    def revert(self) -> None:
        """The transaction failed: nothing of it has happened."""
        self.places.revert()
        self.lent.revert()
        self.tally, self.lent_sums, self.letters, self.forgotten_points, self.oldest_put_at = self._before
        self.mark()

    def add(self, place: Place, batch: Batch) -> Kept:
        """A batch came in behind all others."""
        self.tally.add(batch)
        kept = Kept(self.tally.newest, batch)
        self.places.put(batch.destination, evolve(place, sums=place.sums + kept_sums(kept)))
        return kept

    def lend(self, kept: Kept) -> None:
        """Batches of a destination are lent as one."""
        place, sums = self.place_of(kept), kept_sums(kept)
        self.lent.put(kept.position, kept)
        self.lent_sums += sums
        self.places.put(kept.batch.destination, evolve(place, lent=place.lent + sums))

    def end_loan(self, position: int) -> Kept | None:
        """They came back, whatever for.

        :returns: what was lent, or None when the file in which it was has been set aside meanwhile.
        """
        kept = self.lent.get(position)
        if kept is not None:
            place, sums = self.place_of(kept), kept_sums(kept)
            self.lent.put(position, None)
            self.lent_sums -= sums
            self.places.put(kept.batch.destination, evolve(place, lent=place.lent - sums))
        return kept

    def put_back(self, kept: Kept) -> None:
        """They are the first to be lent again."""
        self.places.put(kept.batch.destination, self.place_of(kept).put_back(Span(kept.first, kept.position)))

    def remove(self, kept: Kept) -> Place | None:
        """They are no longer kept; the tally is told by the caller, who knows why.

        :returns: the place of their destination when nothing is kept for it any more, and it was given up.
        """
        place = self.place_of(kept)
        left = evolve(place, sums=place.sums - kept_sums(kept))
        self.places.put(kept.batch.destination, left if left.sums.batches else None)
        return None if left.sums.batches else left

    def give_up(self, destination: Destination) -> None:
        """Nothing is kept for a destination any more, whatever was lent of it."""
        for position in [at for at, kept in self.lent.items() if kept.batch.destination == destination]:
            self.end_loan(position)
        self.places.put(destination, None)

    def place_of(self, kept: Kept) -> Place:
        """Where it is kept."""
        place = self.places.get(kept.batch.destination)
        assert place is not None, "what is kept has a place"
        return place


def kept_sums(kept: Kept) -> Sums:
    """What it counts for."""
    return Sums(kept.batches, kept.batch.points, kept.size_bytes)
