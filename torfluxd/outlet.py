"""How bytes leave a connection."""

from __future__ import annotations

from twisted.internet.interfaces import ITCPTransport, IUNIXTransport
from twisted.internet.tcp import Connection as SocketTransport

__all__ = ["Outlet", "SocketTransport"]


class Outlet:
    """Writes to a transport, faster than the transport alone when that is a plain socket.

    :param transport: a plain TCP or unix socket, or any other stream transport, which is used like one.
    """

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport
        # Not for what wraps a transport and passes on its attributes, as TLS does.
        self._is_socket = self._direct = _is_socket(transport)
        if ITCPTransport.providedBy(transport) and not IUNIXTransport.providedBy(transport):
            transport.setTcpNoDelay(True)  # An answer in two pieces would wait for an acknowledgement between them.

    def write(self, data: bytes) -> None:
        """Send `data`: to a plain socket at once, because the detour through the reactor costs more than parsing does.

        The first time that the socket does not take everything, the transport's buffer is used, and from then on for
        ever, so that nothing overtakes what is in there.
        """
        if self._direct:
            sent = self._transport.writeSomeData(data)
            if sent == len(data):
                return
            self._direct = False
            if isinstance(sent, int):  # Else an error, which the transport will meet again and report.
                data = data[sent:]
        self._transport.write(data)

    def end(self) -> None:
        """Say that nothing follows.

        A plain socket still listens afterwards, and its owner closes it later: to close it while unread bytes arrive
        would send a reset, which can overtake the last answer. Other transports close when everything is written.
        """
        if self._is_socket:
            self._transport.loseWriteConnection()
        else:
            self._transport.loseConnection()


def _is_socket(transport: object) -> bool:
    return isinstance(transport, SocketTransport)
