"""What gateway and agent have in common: a state directory, a start that may fail, and an end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import TorfluxdError
from torfluxd.state import StateDirectory

__all__ = ["Daemon"]

_log = Logger()


class Daemon(Service):
    """A Twisted service with a state directory of its own, which comes up when the reactor runs.

    :ivar _state: the state directory, from `prepare` until it has gone down.

    :param called: what the log calls it.
    :param reactor: to run on.
    :param give_up: called once, with the error, when it cannot come up; the error has been logged.
    """

    _state: StateDirectory | None = None
    _coming_up: Deferred[None] | None = None

    def __init__(self, called: str, reactor: IReactorCore, give_up: Callable[[TorfluxdError], None]) -> None:
        self._called = called
        self._runs_on = reactor
        self._give_up = give_up

    @abstractmethod
    def prepare(self) -> None:
        """Claim the state directory, and find all that is needed.

        :raises TorfluxdError: something of it is not to be had; the state directory is free again.
        """

    @abstractmethod
    async def _come_up(self) -> None:
        """Open everything.

        :raises TorfluxdError: something cannot be opened.
        """

    def startService(self) -> None:
        """Come up.

        :raises TorfluxdError: as :meth:`prepare`, where that has not been called.
        """
        if self._state is None:
            self.prepare()
        Service.startService(self)
        # Not before the reactor runs: only then is there a log, and a reactor that can be stopped.
        self._runs_on.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self.running:
            self._coming_up = Deferred.fromCoroutine(self._take_over()).addErrback(self._not_up)

    async def _take_over(self) -> None:
        assert self._state is not None
        self._state.name_holder()  # it was claimed before a daemon forked
        await self._come_up()

    def _not_up(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return  # stopped on the way
        problem = failure.getErrorMessage()
        if failure.check(TorfluxdError) is None:
            _log.failure(
                "{called} cannot start, for a fault of its own; please report what follows",
                failure,
                called=self._called,
            )
        else:
            _log.critical("{called} cannot start: {problem}", called=self._called, problem=problem)
        self._give_up(TorfluxdError(problem))

    def _stop_coming_up(self) -> None:
        if self._coming_up is not None:
            self._coming_up.cancel()

    def _release(self) -> None:
        """Let others have the state directory."""
        if self._state is not None:
            self._state.release()
            self._state = None
