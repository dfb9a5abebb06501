"""Spools that nobody puts anything into any more: of workers that are no more, or of the gateway before it had any.

With `--workers N` each of N processes has a spool of its own, in `worker-1` to `worker-N` of the state directory; with
one worker, it is in that directory itself. When the number changes, what the others have kept is delivered as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.boundaries import Destination
from torfluxd.delivery.couriers import Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.spools import OWN, find_spools, worker_of

__all__ = ["Orphan", "find_orphans"]

_BESIDE = ("", "-wal", "-shm")
"""The endings of the files that SQLite has for one spool."""

END_SECONDS = 1.0
"""What couriers get to see that nothing is left."""

_log = Logger()


def find_orphans(state: Path, workers: int) -> list[Path]:
    """The spools of nobody, when there are so many workers.

    :param state: the gateway's state directory, which is ours.
    """
    used = {OWN} if workers == 1 else range(1, workers + 1)
    return [path for number, path in find_spools(state).items() if number not in used]


class Orphan:
    """One such spool.

    :param path: its file.
    :ivar spool: it, open.
    :param done: called with this when it is empty and closed.
    """

    def __init__(self, path: Path, spool: DiskSpool, clock: IReactorTime, done: Callable[[Orphan], None]) -> None:
        self.spool = spool
        self._clock = clock
        self._path = path
        self._done = done
        self._couriers: Couriers | None = None
        self._closing: Deferred[None] | None = None

    def deliver(
        self,
        send_for: Callable[[Callable[[Destination], None]], Couriers],
        arrived: Callable[[Destination], None],
    ) -> None:
        """Have it emptied.

        :param send_for: gives the couriers, which call what it is given for each batch that arrived.
        :param arrived: called for each batch that arrived.
        """
        if self.spool.counts.batches:
            _log.info(
                "{points} points wait in the spool of a worker that is no more: they are delivered",
                points=self.spool.counts.points,
            )

        def one_arrived(destination: Destination) -> None:
            arrived(destination)
            self._look()

        self._couriers = send_for(one_arrived)
        self._couriers.start()
        self._look()

    def _look(self) -> None:
        if not self.spool.counts.batches and not self.spool.trouble:
            self._clock.callLater(0, self._finish)  # not within the call by which the last batch is given back

    def _finish(self) -> None:
        if self._closing is None:
            Deferred.fromCoroutine(self._end()).addErrback(
                lambda failure: _log.failure("while an empty spool was removed", failure)
            )

    async def _end(self) -> None:
        await self.close(END_SECONDS)
        if not self.spool.dead_letters.batches:
            for ending in _BESIDE:
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
            if worker_of(self._path.parent) != OWN:
                self._path.with_name("lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # there is something in it that was set aside
                    self._path.parent.rmdir()

    def close(self, deadline_seconds: float) -> Deferred[None]:
        """Deliver nothing more.

        :param deadline_seconds: what a batch that is under way gets.
        :returns: a Deferred that fires when the file is closed. It never fails.
        """
        if self._closing is None:
            self._closing = Deferred.fromCoroutine(self._close(deadline_seconds))
        closed: Deferred[None] = Deferred()
        self._closing.addCallback(lambda _: closed.callback(None))
        return closed

    async def _close(self, deadline_seconds: float) -> None:
        if self._couriers is not None:
            await self._couriers.stop(deadline_seconds)
        await self.spool.close()
        self._done(self)
