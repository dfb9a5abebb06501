"""Is there a tor at this port? Asked without telling it, or anybody, anything."""

from __future__ import annotations

from typing import Final, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from torfluxd.errors import SocksClosedError, SocksError
from torfluxd.onion.socks_dialogue import Isolation, tor_dialogue

__all__ = ["PROBE_SECONDS", "is_tor"]

PROBE_SECONDS: Final = 2.0
"""How long a tor on this machine may take to say that it is one: some milliseconds on an idle one."""


async def is_tor(place: IStreamClientEndpoint, clock: IReactorTime) -> bool:
    """Ask what listens at a place of this machine, within :data:`PROBE_SECONDS`, whether it is a tor.

    No connection is left behind, also when this is cancelled. See
    :func:`~torfluxd.onion.socks_dialogue.tor_dialogue` for what is said.

    :returns: False also where nobody listens, nothing answers, or what answers speaks something else.
    """
    asked = Deferred.fromCoroutine(_ask(place)).addTimeout(PROBE_SECONDS, clock)
    try:
        return await asked
    except (SocksError, ConnectError, OSError, defer.TimeoutError):
        return False


async def _ask(place: IStreamClientEndpoint) -> bool:
    return await cast(_Question, await place.connect(_Questions())).answered


class _Questions(Factory):
    """Makes the protocol of one connection."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> _Question:
        """Make it."""
        return _Question()


class _Question(Protocol):
    """Asks, and hangs up.

    :ivar answered: fires with whether it is a tor; fails with a :class:`SocksError`. Cancelling it hangs up.
    """

    transport: ITCPTransport  # or another that can be aborted

    def __init__(self) -> None:
        self._dialogue = tor_dialogue(Isolation.fresh())
        self.answered: Deferred[bool] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        """Greet."""
        self.transport.write(next(self._dialogue))

    def dataReceived(self, data: bytes) -> None:
        """Converse."""
        if self.answered.called:
            return
        try:
            self.transport.write(self._dialogue.send(data))
        except StopIteration as end:
            self._end(end.value)
        except SocksError:
            self._end(Failure())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever it was hung up."""
        if not self.answered.called:
            self._end(Failure(SocksClosedError("the proxy closed the connection")))

    def _end(self, outcome: bool | Failure) -> None:
        self.transport.abortConnection()
        self.answered.callback(outcome)
