"""Watches over a tor, so that what is wrong with it is noticed: everything that it does not tell by itself."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torfluxd.onion.sources import OpenTor

__all__ = ["Watch"]


@define
class Watch:
    """Watches over a tor."""

    clock: IReactorTime

    def feel_pulse(self, tor: OpenTor) -> Deferred[None]:
        """Fails when tor does not answer; else it ends by being cancelled."""
        return Deferred()

    def watch_over(self, tor: OpenTor, tell: Callable[[bool], None]) -> Deferred[None]:
        """Fails when tor is to be let go; else it ends by being cancelled."""
        return Deferred.fromCoroutine(tor.keep())
