"""Where blocking work is done: in a thread of its own, or, for tests with a clock, at once."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

__all__ = ["AtOnce", "Executor", "OneThread"]

T = TypeVar("T")


class Executor(Protocol):
    """Does work in the order in which it is given, one piece at a time."""

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Do it, and then call `done`, in the reactor, with its result or its failure."""

    def stop(self) -> None:
        """End, after all that was given; called once, when nothing is under way."""


class OneThread:
    """One thread, always the same: SQLite's connection is used there, and nowhere else.

    It is not of the reactor's thread pool, where name look-ups may keep all threads for minutes. It does not keep the
    process alive: what was not acknowledged may be lost.

    :param reactor: where `done` is called.
    :param name: of the thread, for whoever looks at the process.
    """

    def __init__(self, reactor: IReactorFromThreads, name: str = "spool") -> None:
        self._reactor = reactor
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Do it in the thread."""
        self._work.put(lambda: self._reactor.callFromThread(done, _outcome(work)))

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


class AtOnce:
    """No thread: all is done before `run` returns."""

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Do it now."""
        done(_outcome(work))

    def stop(self) -> None:
        """Nothing is to be ended."""


def _outcome(work: Callable[[], T]) -> T | Failure:
    try:
        return work()
    except BaseException:
        return Failure()


_executor_types: tuple[type[Executor], ...] = (OneThread, AtOnce)
