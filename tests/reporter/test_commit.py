"""What becomes of points, for those who wait to hear it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SpoolBrokenError
from torfluxd.reporter.commit import Commit

_T = TypeVar("_T")

BROKEN = SpoolBrokenError("the disk is full")


async def outcome_of(commit: Commit) -> bool:
    """Await it, as an application does."""
    return await commit


def run_in_asyncio(make: Callable[[], Awaitable[_T]]) -> _T:
    """Run a coroutine in a loop of its own."""

    async def run() -> _T:
        return await make()

    return asyncio.run(run())


class TwistedTests(SynchronousTestCase):
    """In coroutines of Twisted."""

    def test_awaited(self) -> None:
        """Whoever awaits hears when it is known, and whoever comes later hears at once; any number of them."""
        for outcome in (True, False):
            commit = Commit()
            waiting = [Deferred.fromCoroutine(outcome_of(commit)) for _ in range(2)] + [commit.as_deferred()]
            self.assertIsNone(commit.outcome)
            for each in waiting:
                self.assertNoResult(each)
            commit.resolve(outcome)
            waiting.append(Deferred.fromCoroutine(outcome_of(commit)))
            self.assertEqual([self.successResultOf(each) for each in waiting], [outcome] * 4)
            self.assertIs(commit.outcome, outcome)

    def test_broken(self) -> None:
        """When the disk failed, whoever awaits gets that error; when nobody does, nobody is bothered."""
        commit = Commit()
        waiting = Deferred.fromCoroutine(outcome_of(commit))
        commit.resolve(BROKEN)
        self.assertIs(self.failureResultOf(waiting, SpoolBrokenError).value, BROKEN)
        self.failureResultOf(Deferred.fromCoroutine(outcome_of(commit)), SpoolBrokenError)
        Commit().resolve(BROKEN)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_once(self) -> None:
        """What is known does not change, and who made it hears once that it is."""
        heard: list[Commit] = []
        commit = Commit(heard.append)
        commit.resolve(True)
        commit.resolve(False)
        self.assertEqual((commit.outcome, heard), (True, [commit]))

    def test_cancelled(self) -> None:
        """Who does not want to wait any longer changes nothing for the others."""
        commit = Commit()
        tired, patient = commit.as_deferred(), commit.as_deferred()
        tired.cancel()
        self.failureResultOf(tired, CancelledError)
        commit.resolve(True)
        self.assertIs(self.successResultOf(patient), True)

    def test_all_of_several(self) -> None:
        """Of several it is an error if there is one, else False if there is one, and known when all are."""
        for outcomes, expected in (
            ([True], True),
            ([True, True], True),
            ([True, False, True], False),
            ([False, BROKEN, True], BROKEN),
        ):
            commits = [Commit() for _ in outcomes]
            both = Commit.of_all(commits)
            for commit, outcome in zip(commits, outcomes, strict=True):
                self.assertIsNone(both.outcome)
                commit.resolve(outcome)
            self.assertIs(both.outcome, expected)


class AsyncioTests(SynchronousTestCase):
    """In coroutines of asyncio."""

    def test_awaited(self) -> None:
        """Tasks await it as they await anything else."""

        async def story() -> tuple[bool, bool, bool]:
            commit = Commit()
            waiting = [asyncio.create_task(outcome_of(commit)) for _ in range(2)]
            await asyncio.sleep(0)
            self.assertFalse(waiting[0].done())
            asyncio.get_running_loop().call_soon(commit.resolve, True)
            return await waiting[0], await waiting[1], await commit

        self.assertEqual(run_in_asyncio(story), (True, True, True))

    def test_broken(self) -> None:
        """The error of the disk arrives."""

        async def story() -> bool:
            commit = Commit()
            asyncio.get_running_loop().call_soon(commit.resolve, BROKEN)
            return await commit

        self.assertRaises(SpoolBrokenError, run_in_asyncio, story)

    def test_resolved_in_another_thread(self) -> None:
        """A loop in a thread of its own hears it, too."""

        async def story() -> bool:
            commit = Commit()
            resolving = threading.Timer(0.01, commit.resolve, [False])
            resolving.start()
            try:
                return await asyncio.wait_for(commit, 30)
            finally:
                resolving.join()

        self.assertIs(run_in_asyncio(story), False)

    def test_cancelled(self) -> None:
        """A task that is cancelled, or whose time is up, ends, and the commit does not mind."""

        async def story() -> Commit:
            commit = Commit()
            waiting = asyncio.create_task(outcome_of(commit))
            await asyncio.sleep(0)
            waiting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await waiting
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(outcome_of(commit), 0.01)
            commit.resolve(True)
            return commit

        self.assertIs(run_in_asyncio(story).outcome, True)

    def test_twisted_within_a_task(self) -> None:
        """A coroutine that Twisted runs, begun by a task of asyncio, awaits as it does elsewhere."""

        async def story() -> bool:
            commit = Commit()
            waiting = Deferred.fromCoroutine(outcome_of(commit))
            self.assertNoResult(waiting)
            commit.resolve(True)
            return self.successResultOf(waiting)

        self.assertIs(run_in_asyncio(story), True)
