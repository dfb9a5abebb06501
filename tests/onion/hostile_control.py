"""A control port in our hands: it speaks tor's control protocol for real, and can be as hostile as a test wants."""

from __future__ import annotations

import errno
from collections.abc import Callable

from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

OK = b"250 OK\r\n"

GREETING: dict[str, bytes] = {
    "PROTOCOLINFO": b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n',
    "AUTHENTICATE": OK,
    "GETINFO signal/names": b"250-signal/names=RELOAD SHUTDOWN\r\n250 OK\r\n",
    "GETINFO version": b"250-version=0.4.9.11\r\n250 OK\r\n",
    "GETINFO events/names": b"250-events/names=CIRC HS_DESC SIGNAL STATUS_CLIENT STATUS_GENERAL\r\n250 OK\r\n",
    "USEFEATURE": OK,
    "SETEVENTS": OK,
    "TAKEOWNERSHIP": OK,
    "GETINFO status/bootstrap-phase": (
        b'250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"\r\n250 OK\r\n'
    ),
    "ADD_ONION": b"250-ServiceID=unused\r\n250 OK\r\n",
}
"""What a tor 0.4.9.11 without authentication answers, by how the command begins."""


class _Transport(StringTransport):
    """A transport that tells its protocol when it is gone."""

    protocol: IProtocol
    gone = False

    def abortConnection(self) -> None:
        """End at once."""
        self.lose(Failure(ConnectionDone()))

    def loseConnection(self) -> None:
        """End."""
        self.lose(Failure(ConnectionDone()))

    def lose(self, reason: Failure) -> None:
        """The other side has gone."""
        if not self.gone:
            self.gone = True
            self.protocol.connectionLost(reason)


@implementer(IStreamClientEndpoint)
class ControlPort:
    """The endpoint of a control port.

    :ivar replies: what it answers, by how the command begins; None is silence, a callable decides.
    :ivar commands: every command that it was sent.
    """

    def __init__(self, **replies: bytes) -> None:
        self.replies: dict[str, bytes | Callable[[str], bytes | None] | None] = dict(GREETING)
        self.commands: list[str] = []
        self.refuses = False
        self.refusal: Exception = error.ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self.transport = _Transport()

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Take a connection, unless it refuses."""
        if self.refuses:
            return fail(self.refusal)
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        self.transport = _Transport()
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        return succeed(protocol)

    def pump(self) -> None:
        """Answer the commands that have arrived, and those that follow from the answers."""
        while not self.transport.gone and self.transport.value():
            lines = self.transport.value().split(b"\r\n")[:-1]
            self.transport.clear()
            for line in lines:
                self._answer(line.decode())

    def say(self, data: bytes) -> None:
        """Send bytes to the controller."""
        self.transport.protocol.dataReceived(data)

    def hang_up(self) -> None:
        """End the connection."""
        self.transport.lose(Failure(ConnectionDone()))

    def _answer(self, command: str) -> None:
        self.commands.append(command)
        for beginning in sorted(self.replies, key=len, reverse=True):
            if command.startswith(beginning):
                reply = self.replies[beginning]
                data = reply(command) if callable(reply) else reply
                if data is not None and not self.transport.gone:
                    self.say(data)
                return
        self.say(b'510 Unrecognized command "%s"\r\n' % command.split()[0].encode())
