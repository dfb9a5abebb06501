"""What the process does when it is sent a signal that Twisted leaves alone."""

from __future__ import annotations

import signal
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["on_hangup"]


def on_hangup(reactor: IReactorFromThreads, call: Callable[[], object]) -> None:
    """Call something in the reactor on each SIGHUP from now on, as `systemctl reload` sends it.

    To be called in the main thread, when the reactor runs. Where there is no such signal (Windows), nothing is done.
    """
    number = getattr(signal, "SIGHUP", None)
    if number is not None:
        signal.signal(number, lambda *_: reactor.callFromThread(call))
