"""Accepts connections at a listening socket that others hold as well, and that stays open when we no longer do.

Twisted's own way to take over such a socket (`adoptStreamPort`) is not meant for that: a unix socket becomes open to
everybody, its backlog shrinks to 50, and whoever stops listening removes its file under the others (26.10, tried).
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocolFactory,
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
    IReadDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Acceptor", "AcceptorReactor"]

ACCEPTS_IN_ONE_TURN: Final = 16
"""How many connections are accepted before others have their turn: those of this process, and those that listen to the
same socket. A burst is shared by them, and is still accepted a hundred times as fast as tor brings it."""

PAUSE_SECONDS: Final = 1.0
"""How long nothing is accepted when the process has as many descriptors as it may. Who connects waits meanwhile."""

SILENT_SECONDS: Final = 60.0
"""How long the log is silent about that after it was told."""

_NO_MORE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_log = Logger()


class AcceptorReactor(IReactorFDSet, IReactorSocket, IReactorTime):
    """The kind of reactor that accepting needs."""


@implementer(IReadDescriptor)
class Acceptor:
    """Accepts connections.

    :param listening: the socket, which listens and does not block. It is never closed here.
    :param factory: whose protocols serve the connections.
    """

    def __init__(self, reactor: AcceptorReactor, listening: socket.socket, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._listening = listening
        self._factory: Any = factory  # IReactorSocket is typed for Twisted's own factories alone
        self._is_wanted = False
        self._pause: IDelayedCall | None = None
        self._silent_until = float("-inf")

    def accept(self, wanted: bool = True) -> None:
        """Begin to accept, or do so no more. What was accepted goes on either way."""
        if wanted == self._is_wanted:
            return
        self._is_wanted = wanted
        if wanted:
            self._reactor.addReader(self)
        elif self._pause is None:
            self._reactor.removeReader(self)
        else:
            self._pause.cancel()
            self._pause = None

    def doRead(self) -> None:  # noqa: N802  # Twisted's name
        """Somebody connects."""
        for _ in range(ACCEPTS_IN_ONE_TURN):
            try:
                connection, _address = self._listening.accept()
            except OSError as error:
                if error.errno in _NO_MORE:
                    self._wait(error)
                return  # there is nobody any more, or who was there has gone
            with connection:
                connection.setblocking(False)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            # The reactor has a descriptor of its own for it.
            self._reactor.adoptStreamConnection(connection.fileno(), connection.family, self._factory)
        except OSError as error:
            if error.errno in _NO_MORE:
                self._wait(error)  # the others wait, and this one has lost his turn

    def _wait(self, error: OSError) -> None:
        if self._pause is not None:
            return
        self._reactor.removeReader(self)
        self._pause = self._reactor.callLater(PAUSE_SECONDS, self._go_on)
        now = self._reactor.seconds()
        if now >= self._silent_until:
            self._silent_until = now + SILENT_SECONDS
            _log.warn(
                "no more connections can be accepted ({reason}), so who connects waits: raise LimitNOFILE of the unit,"
                " or ulimit -n",
                reason=error.strerror,
            )

    def _go_on(self) -> None:
        self._pause = None
        self._reactor.addReader(self)

    def fileno(self) -> int:
        """The socket's."""
        return self._listening.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has given us up; nobody connects here any more."""
        _log.failure("a listening socket was lost", reason)

    def logPrefix(self) -> str:  # noqa: N802  # Twisted's name
        """For Twisted's own messages."""
        return "Acceptor"
