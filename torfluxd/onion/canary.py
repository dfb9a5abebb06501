"""The canary: a request to ourselves, as a stranger would make it. Only that shows that strangers can reach us.

Tor can host an onion service that is published and yet out of reach: its introduction points have forgotten it, a relay
on the way drops what is ours, the clock jumped. It tells nobody. So from time to time, at a moment that nobody can
foresee, we ask for something through a fresh circuit, with a fresh descriptor where the tor is ours; and where that
fails several times in a row, something is done about it, the gentlest thing first.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol as TypingProtocol
from typing import cast

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from torfluxd.errors import (
    OnionUnreachableError,
    SocksAuthenticationError,
    SocksError,
    SocksProtocolError,
    SocksProxyUnreachableError,
    TorError,
)
from torfluxd.onion.address import OnionAddress
from torfluxd.onion.onion_agent import OnionAgent

__all__ = ["Ask", "Canary", "Mendable", "ask_onion"]

FIRST_SECONDS = (2.0, 10.0)
"""When the first one flies, once we are up: soon, so that an operator sees soon that all is well."""

CALM_SECONDS = (300.0, 900.0)
"""Between one that came back and the next, at random: an outage is noticed within a quarter of an hour, and the network
bears no more from a gateway than from one client that has hardly anything to say."""

DOUBT_SECONDS = (30.0, 90.0)
"""Between one that failed and the next."""

WOKEN_SECONDS = 15.0
"""When one flies after this machine has slept: a network needs some seconds to be there again."""

DEADLINE_SECONDS = 150.0
"""From the beginning of one to its answer: tor gives up on a stream after two minutes, and says why."""

MEND_AFTER = 3
"""So many failures in a row, and the descriptor is published anew, which disturbs nobody."""

RESTART_AFTER = 6
"""So many, and tor is let go, and begun with anew. That cuts off those who did get through, so the next time twice as
many are waited for."""

RESTART_AFTER_AT_MOST = 96
"""So many at most: some two hours."""

_ANSWERED = 204

_log = Logger()

Ask = Callable[[IStreamClientEndpoint], Deferred[None]]
"""Reaches the onion service through a SOCKS port. Fires when it has; fails with what was in the way."""


class Mendable(TypingProtocol):
    """A tor whose onion service is asked for."""

    async def socks(self) -> IStreamClientEndpoint | None:
        """A SOCKS port through which the onion service may be tried, or None where there is none for that."""

    async def mend(self) -> None:
        """Do what can be done without cutting anybody off."""


@define
class Canary:
    """Asks for our own onion service, and remembers what came of it, however many tors come and go.

    :ivar succeeded_at: when it last succeeded, in the clock's seconds; None before.
    :ivar failures: how often it has failed since.

    :param ask: makes one attempt.
    :param strangers: how many circuits of strangers there have been, where that is known. That there are new ones shows
        that it is the canary that fails, and not the onion service.
    :param chance: a number between two.
    """

    clock: IReactorTime
    ask: Ask
    strangers: Callable[[], int] = lambda: 0
    chance: Callable[[float, float], float] = random.SystemRandom().uniform

    succeeded_at: float | None = None
    failures: int = 0
    _restarts: int = 0
    _resting: tuple[IDelayedCall, Deferred[None]] | None = field(default=None, repr=False)

    def hurry(self) -> None:
        """Try soon: something has happened that may have cut us off."""
        if self._resting is not None and self._resting[0].active():
            timer = self._resting[0]
            timer.reset(min(WOKEN_SECONDS, timer.getTime() - self.clock.seconds()))

    async def keep_asking(self, tor: Mendable, tell: Callable[[bool], None]) -> None:
        """Ask from time to time, and mend what can be mended.

        Returns where there is no SOCKS port to ask through; else it ends by being cancelled.

        :param tell: called with what came of each attempt.
        :raises OnionUnreachableError: mending did not help: this tor is to be let go.
        :raises TorError: tor does not do what is asked of it.
        """
        socks = await tor.socks()
        if socks is None:
            return
        in_a_row, strangers = 0, self.strangers()
        await self._rest(FIRST_SECONDS)
        while True:
            try:
                await self._attempt(socks)
            except (SocksProxyUnreachableError, SocksProtocolError, SocksAuthenticationError) as error:
                _log.warn("whether the onion service can be reached is not tried: {why}", why=str(error))
                return
            except OnionUnreachableError as error:
                in_a_row += 1
                self.failures += 1
                tell(False)
                if self.strangers() != strangers:
                    in_a_row, strangers = 0, self.strangers()
                await self._despair(tor, in_a_row, error)
                await self._rest(DOUBT_SECONDS)
            else:
                in_a_row, strangers = 0, self.strangers()
                tell(True)
                await self._rest(CALM_SECONDS)

    async def _attempt(self, socks: IStreamClientEndpoint) -> None:
        """Try once.

        :raises OnionUnreachableError: it cannot be reached.
        :raises SocksError: there is nobody to try through.
        """
        try:
            await self.ask(socks).addTimeout(DEADLINE_SECONDS, self.clock)
        except (CancelledError, SocksProxyUnreachableError, SocksProtocolError, SocksAuthenticationError):
            raise
        except defer.TimeoutError:
            raise OnionUnreachableError(f"there was no answer within {DEADLINE_SECONDS:.0f} s") from None
        except (SocksError, TorError) as error:
            raise OnionUnreachableError(str(error)) from None
        except Exception as error:  # whatever Twisted's HTTP client makes of a connection that breaks
            raise OnionUnreachableError(f"the connection broke ({type(error).__name__})") from None
        if self.failures >= MEND_AFTER:  # that of fewer nobody was told
            _log.info("the onion service can be reached again, after {count} failures", count=self.failures)
        self.succeeded_at = self.clock.seconds()
        self.failures = self._restarts = 0

    async def _despair(self, tor: Mendable, in_a_row: int, error: OnionUnreachableError) -> None:
        """Do what so many failures in a row ask for."""
        if in_a_row == MEND_AFTER:
            _log.warn(
                "the onion service is published, but we cannot reach it ({count} times now: {why}); publishing it anew",
                count=in_a_row,
                why=str(error),
            )
            await tor.mend()
        if in_a_row >= min(RESTART_AFTER << self._restarts, RESTART_AFTER_AT_MOST):
            self._restarts += 1
            raise OnionUnreachableError(
                f"the onion service is published, but we could not reach it {in_a_row} times in a row ({error});"
                " beginning anew"
            )

    async def _rest(self, between: tuple[float, float]) -> None:
        rested: Deferred[None] = Deferred()
        timer = self.clock.callLater(self.chance(*between), rested.callback, None)
        self._resting = timer, rested
        try:
            await rested
        finally:
            self._resting = None
            if timer.active():
                timer.cancel()


def ask_onion(reactor: IReactorTime, address: OnionAddress, target: str) -> Ask:
    """Make what asks an onion service for a target, over HTTP, through a circuit of its own.

    :param target: what to ask for: `/ping`, for instance. Whatever answers 204 to it is there.
    """
    url = f"http://{address.hostname}{target}".encode("ascii")

    def ask(socks: IStreamClientEndpoint) -> Deferred[None]:
        asked = OnionAgent(reactor, socks).request(b"GET", url)
        return asked.addCallback(_check)

    return ask


def _check(response: IResponse) -> Deferred[None]:
    if response.code != _ANSWERED:
        raise OnionUnreachableError(f"it answered {response.code}")
    ignored = _Ignored()
    response.deliverBody(ignored)
    return ignored.ended


class _Ignored(Protocol):
    """The body of an answer, which concerns nobody: where it answers 204, there is none.

    :ivar ended: fires when it has been read. Cancelling it closes the connection.
    """

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: cast(IPushProducer, self.transport).stopProducing())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has been read, or broken off, which is the same to us."""
        if not self.ended.called:
            self.ended.callback(None)
