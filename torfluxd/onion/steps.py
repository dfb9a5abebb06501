"""What a tor is taken through on its way up, one step after the other, and what is asked of it beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.errors import ControlError, ControlReplyError, TorError
from torfluxd.onion.control import ControlConnection
from torfluxd.onion.sources import OpenTor

__all__ = ["JOIN_SECONDS", "PUBLISH_SECONDS", "UPLOADS_SECONDS", "close_circuit", "join", "publish"]

JOIN_SECONDS = 1800.0
"""How long a tor that comes back may take to join its network, before another attempt is made. While this machine is
offline no attempt is any better; once it is online, tor needs a minute at most, or something is wrong with it."""

PUBLISH_SECONDS = 600.0
"""How long it may then take until a directory has the descriptor: seconds as a rule, minutes where circuits fail."""

UPLOADS_SECONDS = 10.0
"""How long directories may take once the first has taken a descriptor: those that then have not are rarely asked."""

UNKNOWN_CIRCUIT = 552
"""Tor's answer when it has no such circuit (control-spec section 3.16)."""

_log = Logger()


async def join(tor: OpenTor, hear: Callable[[str], bool]) -> None:
    """Return when tor has joined its network.

    :param hear: takes each status; returns whether tor has joined.
    :raises TorError: it does not tell.
    """
    joined: Deferred[None] = Deferred()

    def take(event: str) -> None:
        if hear(event) and not joined.called:
            joined.callback(None)

    await tor.control.listen("STATUS_CLIENT", take)
    await tor.control.listen("STATUS_GENERAL", take)
    take(await tor.control.command("GETINFO status/bootstrap-phase"))
    await joined


async def publish(tor: OpenTor, clock: IReactorTime) -> None:
    """Return when the onion service can be found; at once when there is none.

    :raises TorError: tor does not host it.
    """
    await tor.host()
    if tor.descriptors is not None:
        await tor.descriptors.when_first_uploaded()
        with contextlib.suppress(defer.TimeoutError):
            await tor.descriptors.when_all_answered().addTimeout(UPLOADS_SECONDS, clock)


def within(seconds: float, clock: IReactorTime, step: Deferred[None], what: str) -> Deferred[None]:
    """Give a step a deadline.

    :param what: what has not happened when it passes, a whole sentence for the operator.
    :returns: the step; it fails with :class:`~torfluxd.errors.TorError` at the deadline.
    """

    def late(_result: object, _seconds: float) -> None:
        raise TorError(what) from None

    return step.addTimeout(seconds, clock, onTimeoutCancel=late)


async def close_circuit(control: ControlConnection, circuit: int) -> None:
    """Return when tor has closed a circuit, does not know it any more, or is not there to be asked."""
    try:
        await control.command(f"CLOSECIRCUIT {circuit}", secrets=(str(circuit),))
    except ControlReplyError as error:
        if error.code != UNKNOWN_CIRCUIT:
            _log.warn("tor refused to close a circuit: {code}", code=error.code)
    except ControlError as error:
        _log.debug("a circuit was not closed: {problem}", problem=str(error))
