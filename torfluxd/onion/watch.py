"""Watches over a tor, so that what is wrong with it is noticed: everything that it does not tell by itself.

Its pulse is felt as long as there is one. While it is up, its descriptors must stay fresh, and the canary must come
back. The end of a process, and of a control connection, is noticed elsewhere: these tell by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torfluxd.errors import TorError
from torfluxd.onion.canary import Canary
from torfluxd.onion.descriptors import DescriptorWatch
from torfluxd.onion.sources import OpenTor
from torfluxd.onion.together import all_of

__all__ = ["HEARTBEAT_SECONDS", "JUMP_SECONDS", "STALE_SECONDS", "Watch"]

HEARTBEAT_SECONDS = 30.0
"""How often tor is asked whether it is there: one that hangs is noticed within this and the deadline of a command."""

JUMP_SECONDS = 60.0
"""A heartbeat that is so late, or a date that has moved by so much against the clock, means that this machine has slept
or that somebody has set its clock. A machine that is merely busy is not so late."""

STALE_SECONDS = 150 * 60.0
"""Tor publishes the descriptors anew every 60 to 120 minutes, and directories drop them after 180 (rend-spec, section
2.2.1): without a word of it for so long something is wrong, and there is half an hour left to mend it."""

STALE_GRACE_SECONDS = 120.0
"""What tor gets to publish by itself when a descriptor is found to be old, after this machine has slept; and again once
it was told to."""


@define
class Watch:
    """Watches over one tor after the other.

    :ivar wall: the date, in seconds since 1970.
    :ivar say: takes each line for the operator.
    :ivar canary: tries whether the onion service can be reached; None where that is not tried.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    say: Callable[[str], None]
    canary: Canary | None = None

    def feel_pulse(self, tor: OpenTor) -> Deferred[None]:
        """Ask tor, from time to time, whether it is there.

        :returns: a Deferred that fails with :class:`~torfluxd.errors.TorError` when it is not; else it ends by being
            cancelled.
        """
        return Deferred.fromCoroutine(self._beat(tor))

    def watch_over(self, tor: OpenTor, tell: Callable[[bool], None]) -> Deferred[None]:
        """Watch over a tor that is up.

        :param tell: called with whether the onion service could be reached, each time that this was tried.
        :returns: a Deferred that fails with :class:`~torfluxd.errors.TorError` when tor is to be let go, because what
            is wrong with it cannot be mended otherwise; else it ends by being cancelled.
        """
        duties: list[Coroutine[Any, Any, None]] = [tor.keep()]
        if tor.descriptors is not None:
            duties.append(self._keep_fresh(tor, tor.descriptors))
        if self.canary is not None:
            duties.append(self.canary.keep_asking(tor, tell))
        return all_of(duties)

    async def _beat(self, tor: OpenTor) -> NoReturn:
        beat_at, date = self.clock.seconds(), self.wall()
        while True:
            await deferLater(self.clock, HEARTBEAT_SECONDS)
            passed, moved = self.clock.seconds() - beat_at, self.wall() - date
            beat_at, date = self.clock.seconds(), self.wall()
            jump = max(passed - HEARTBEAT_SECONDS, moved - passed, passed - moved)
            if jump > JUMP_SECONDS:
                self._jumped(jump)
            await tor.check()

    def _jumped(self, seconds: float) -> None:
        self.say(f"this machine slept, or its clock was set: {seconds:.0f} s; making sure that all is well")
        if self.canary is not None:
            self.canary.hurry()

    async def _keep_fresh(self, tor: OpenTor, descriptors: DescriptorWatch) -> NoReturn:
        """Have descriptors published anew that tor has forgotten.

        :raises TorError: it does not do so.
        """

        def is_stale() -> bool:
            return self._age(descriptors) >= STALE_SECONDS

        while True:
            await deferLater(self.clock, max(0.0, STALE_SECONDS - self._age(descriptors)))
            if is_stale():
                await deferLater(self.clock, STALE_GRACE_SECONDS)
            if is_stale():
                self.say("tor has not published the onion service for two and a half hours: telling it to")
                await tor.mend()
                await deferLater(self.clock, STALE_GRACE_SECONDS)
            if is_stale():
                raise TorError("tor does not publish the onion service any more; beginning anew")

    def _age(self, descriptors: DescriptorWatch) -> float:
        """Seconds since a directory last took one."""
        assert descriptors.uploaded_at is not None, "it is published"
        return self.clock.seconds() - descriptors.uploaded_at
