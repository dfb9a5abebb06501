"""Where a reporter keeps its spool: a part of a state directory that it may share with other processes.

Each process claims a part of its own, see :mod:`~torfluxd.reporter.claims`. What the process before it left in that
part is its own now. What others left that have ended, it adopts: that is put behind all that it keeps itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import Executor
from torfluxd.delivery.letters import look
from torfluxd.delivery.steps import Bounds
from torfluxd.errors import SpoolBrokenError, SpoolError, SpoolVersionError
from torfluxd.reporter.claims import MAX_SUB_SPOOLS, Claim, claim_free, claim_orphan
from torfluxd.reporter.forks import keep_for_ever
from torfluxd.reporter.secret import KEY_FILE

__all__ = ["Home"]

T = TypeVar("T")

_log = Logger()


@define(eq=False)
class Home:
    """A part of a state directory. It is moved into, and out of, by one after the other.

    :param state_directory: the directory; created, for this user alone, where it is missing.
    :param clock: the reactor.
    :param bounds: how much the spool holds.
    :param make_executor: makes a thread for a spool.
    """

    _state_directory: Path
    _clock: IReactorTime
    _bounds: Bounds
    _make_executor: Callable[[], Executor]
    _claim: Claim | None = field(default=None, init=False)
    _spool: DiskSpool | None = field(default=None, init=False)
    _executor: Executor | None = field(default=None, init=False)
    _adopting: DeferredLock = field(factory=DeferredLock, init=False)
    _strange: set[Path] = field(factory=set, init=False)
    _told: str = field(default="", init=False)

    async def move_in(self) -> DiskSpool:
        """Claim a part, and open the spool in it. A spool that a newer torfluxd wrote is left as it is, for another.

        :raises SpoolBrokenError: the state directory cannot be used now.
        """
        while True:
            executor = self._make_executor()
            try:
                claim = await self._claim_free(executor)
            except SpoolBrokenError:
                executor.stop()
                raise
            try:
                spool = await DiskSpool.open(claim.spool_file, self._clock, executor, _tell, self._bounds)
            except SpoolVersionError as error:
                claim.release()
                self._pass_over(claim, error)
                continue
            self._claim, self._spool, self._executor = claim, spool, executor
            return spool

    async def move_out(self) -> None:
        """Close the spool, and let others have it."""
        spool, claim = await self._leave()
        if spool is not None:
            await spool.close()
        if claim is not None:
            claim.release()

    async def adopt(self) -> None:
        """Take over what processes that have ended left behind. Needs a spool that is open.

        It is put before it is deleted there. Whoever is killed meanwhile leaves some of it twice, which InfluxDB stores
        once. Its age is counted from now on.
        """
        await self._adopting.acquire()
        try:
            await self._adopt()
        finally:
            self._adopting.release()

    async def _adopt(self) -> None:
        mine, passed_over = self._spool, set(self._strange)
        while mine is not None and mine is self._spool and (claim := await self._claim_orphan(passed_over)) is not None:
            passed_over.add(claim.directory)
            try:
                await self._empty(claim, mine)
            except SpoolVersionError as error:
                self._pass_over(claim, error)
            except (SpoolError, OSError) as error:
                if mine is self._spool:
                    _tell(f"what another process left in {claim.directory} cannot be taken over now: {error}")
            finally:
                claim.release()

    async def wipe(self) -> int:
        """Delete the spool, and those that processes which have ended left behind, and move out. And the key of times.

        The files are deleted, not written over: on the disks of today that would change nothing.

        :returns: how many points were in them.
        """
        spool, claim = await self._leave()
        executor = self._make_executor()
        points = 0
        try:
            if spool is not None:
                points += spool.counts.points
                await spool.close()
            if claim is not None:
                await _run(executor, claim.delete_spool)
                claim.release()
            (self._state_directory / KEY_FILE).unlink(missing_ok=True)
            while (orphan := await _run(executor, lambda: claim_orphan(self._state_directory))) is not None:
                points += await _run(executor, partial(_delete, orphan))
        except (OSError, sqlite3.Error) as error:
            raise SpoolBrokenError(f"the spool in {self._state_directory} cannot be deleted: {error}") from error
        finally:
            executor.stop()
        return points

    def leave_to_the_parent(self) -> None:
        """Have no part in what is open: it is the parent's of this process."""
        keep_for_ever((self._spool, self._claim, self._executor))
        self._claim = self._spool = self._executor = None

    async def _leave(self) -> tuple[DiskSpool | None, Claim | None]:
        """Use the spool no longer, when what is under way for an adoption has ended."""
        left = self._spool, self._claim
        self._claim = self._spool = self._executor = None
        await self._adopting.acquire()
        self._adopting.release()
        return left

    # Claims.

    async def _claim_free(self, executor: Executor) -> Claim:
        try:
            claim = await _run(executor, lambda: claim_free(self._state_directory, self._strange))
        except (OSError, sqlite3.Error) as error:
            raise self._told_once(f"the state directory {self._state_directory} cannot be used: {error}") from error
        if claim is None:
            raise self._told_once(f"{MAX_SUB_SPOOLS} processes use the state directory {self._state_directory}")
        self._told = ""
        return claim

    async def _claim_orphan(self, passed_over: set[Path]) -> Claim | None:
        if self._executor is None:
            return None
        try:
            return await _run(self._executor, lambda: claim_orphan(self._state_directory, passed_over))
        except (OSError, sqlite3.Error):
            return None  # what is wrong with the directory is told by whoever writes there

    async def _empty(self, claim: Claim, mine: DiskSpool) -> None:
        """Take over what is in a part, and delete it there."""
        bounds = evolve(self._bounds, limit_age_seconds=None, drop_oldest=False)
        theirs = await DiskSpool.open(claim.spool_file, self._clock, self._make_executor(), _tell, bounds)
        try:
            if theirs.trouble:
                raise SpoolBrokenError(theirs.trouble)
            while mine is self._spool and await _move(theirs, mine.put):
                pass
            empty = theirs.counts.batches == 0
        finally:
            await theirs.close()
        if empty:
            claim.delete_spool()

    def _pass_over(self, claim: Claim, error: Exception) -> None:
        self._strange.add(claim.directory)
        _tell(str(error))

    def _told_once(self, sentence: str) -> SpoolBrokenError:
        """Tell what is wrong, unless it was told last, and make an error of it."""
        if sentence != self._told:
            self._told = sentence
            _tell(sentence)
        return SpoolBrokenError(sentence)


async def _move(spool: DiskSpool, put: Callable[[Batch], Awaitable[None]]) -> bool:
    """Move what a spool lends next.

    :returns: False when there is no more.
    """
    lease = await spool.lend()
    if lease is None:
        return False
    try:
        await put(lease.batch)
    except SpoolError:
        await lease.put_back()
        raise
    await lease.delivered()
    return True


def _delete(claim: Claim) -> int:
    try:
        points = sum(shelf.sums.points for shelf in look(claim.spool_file).waiting)
    except SpoolError:  # nobody can say how many those were
        points = 0
    claim.delete_spool()
    claim.release()
    return points


def _run(executor: Executor, work: Callable[[], T]) -> Deferred[T]:
    done: Deferred[T] = Deferred()

    def tell(outcome: T | Failure) -> None:
        if isinstance(outcome, Failure):
            done.errback(outcome)
        else:
            done.callback(outcome)

    executor.run(work, tell)
    return done


def _tell(sentence: str) -> None:
    _log.warn("{sentence}", sentence=sentence)
