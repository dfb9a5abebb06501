"""Several things at once, of which the first that fails ends the others."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

__all__ = ["all_of"]


def all_of(coroutines: Sequence[Coroutine[Any, Any, None]]) -> Deferred[None]:
    """Run all of them.

    :returns: a Deferred that fires when all have ended. It fails with what the first of them fails with, and the others
        are cancelled; to cancel it cancels all.
    """
    running = [Deferred.fromCoroutine(coroutine) for coroutine in coroutines]

    def end(failure: Failure) -> Failure:
        for one in running:
            one.cancel()
        assert isinstance(failure.value, FirstError)
        return failure.value.subFailure

    return gatherResults(running, consumeErrors=True).addCallbacks(lambda _: None, end)
