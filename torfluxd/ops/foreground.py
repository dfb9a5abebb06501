"""Run one coroutine in the foreground: until it ends, or until Ctrl-C or SIGTERM, and always through its clean-up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python.failure import Failure

from torfluxd.errors import TorfluxdError
from torfluxd.ops.ending import EXIT_FAILED, refuse

__all__ = ["EXIT_INTERRUPTED", "run_in_foreground"]

EXIT_INTERRUPTED = 130
"""Ended by Ctrl-C or SIGTERM before it was done: 128 and SIGINT, as shells have it."""


def run_in_foreground(reactor: IReactorCore, main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until `main` has ended.

    On Ctrl-C and SIGTERM the coroutine is cancelled where it awaits, and the reactor runs on until its `finally`
    clauses have ended as well.

    :returns: what `main` returned; `EXIT_INTERRUPTED` when it was interrupted and did not return anything itself.
    :raises SystemExit: `main` failed; one line on standard error has said why.
    """
    outcome: list[int | Failure] = []
    ended: Deferred[None] = Deferred()
    running: list[Deferred[int]] = []

    def finish(result: int | Failure) -> None:
        outcome.append(result)
        ended.callback(None)

    def begin() -> None:
        running.append(Deferred.fromCoroutine(main()))
        running[0].addBoth(finish)
        ended.addCallback(lambda _: None if interrupted else reactor.stop())

    interrupted: list[bool] = []

    def interrupt() -> Deferred[None] | None:
        interrupted.append(True)
        if not running or outcome:
            return None
        running[0].cancel()
        return ended

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    return _exit_code(outcome[0] if outcome else Failure(CancelledError()))


def _exit_code(outcome: int | Failure) -> int:
    if isinstance(outcome, int):
        return outcome
    if outcome.check(TorfluxdError):
        refuse(outcome.getErrorMessage(), EXIT_FAILED)
    if not outcome.check(CancelledError):
        outcome.raiseException()
    return EXIT_INTERRUPTED
