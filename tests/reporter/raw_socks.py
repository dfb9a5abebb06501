"""A SOCKS port of real sockets, with whoever a test puts behind it: reporters in other processes connect to it."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from attrs import define

__all__ = [
    "Heard",
    "Manner",
    "RawSocks",
    "answers",
    "closes",
    "cuts",
    "drips",
    "endless",
    "is_silent",
    "read_request",
    "refuses",
    "stores",
]

HANDS_OFF_SECONDS = 120
"""After which a connection that a reporter keeps open is a failure of its test."""

_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")


@define(eq=False)
class Heard:
    """What was heard on one connection.

    :ivar dialogue: what was said to the proxy, but for user name and password.
    :ivar credentials: those.
    :ivar request: the request, to its last byte; empty if the stream was never opened.
    :ivar wrote: how many bytes of an answer the other side let us write.
    """

    dialogue: bytes = b""
    credentials: bytes = b""
    request: bytes = b""
    wrote: int = 0


Manner = Callable[[socket.socket, Heard], None]
"""What is done with a connection on which a stream is asked for; it is closed afterwards."""


def _open(connection: socket.socket) -> None:
    connection.sendall(b"\x05\x00\x00\x01" + bytes(6))


def read_request(connection: socket.socket, heard: Heard) -> None:
    """Open the stream, and take the request."""
    _open(connection)
    while True:
        head, found, body = heard.request.partition(b"\r\n\r\n")
        if found and len(body) >= int(_LENGTH.findall(head + b"\r\n")[0]):
            return
        data = connection.recv(65536)
        if not data:
            return
        heard.request += data


def answers(answer: bytes) -> Manner:
    """Take the request, and answer so."""

    def behave(connection: socket.socket, heard: Heard) -> None:
        read_request(connection, heard)
        connection.sendall(answer)
        connection.recv(1)  # until the other side hangs up

    return behave


stores = answers(b"HTTP/1.1 204 No Content\r\n\r\n")
"""A gateway that stores what it is sent."""


def refuses(code: int) -> Manner:
    """A SOCKS port that refuses the stream."""

    def behave(connection: socket.socket, heard: Heard) -> None:
        connection.sendall(bytes((5, code)) + b"\x00\x01" + bytes(6))

    return behave


def closes(connection: socket.socket, heard: Heard) -> None:
    """A SOCKS port that closes when it is asked."""


def cuts(connection: socket.socket, heard: Heard) -> None:
    """A gateway that cuts the connection in the middle of its answer."""
    read_request(connection, heard)
    connection.sendall(b"HTTP/1.1 204 No")
    if connection.family == socket.AF_INET:  # a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def is_silent(connection: socket.socket, heard: Heard) -> None:
    """A gateway that takes the request and never answers."""
    read_request(connection, heard)
    connection.recv(1)


def endless(length: int) -> Manner:
    """A gateway whose answer has that many bytes."""

    def behave(connection: socket.socket, heard: Heard) -> None:
        read_request(connection, heard)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % length)
        piece = bytes(65536)
        while heard.wrote < length:
            heard.wrote += connection.send(piece)

    return behave


def drips(seconds: float) -> Manner:
    """A gateway whose answer comes a byte at a time, with so long between two of them."""

    def behave(connection: socket.socket, heard: Heard) -> None:
        read_request(connection, heard)
        connection.settimeout(seconds)
        while True:
            heard.wrote += connection.send(
                b"HTTP/1.1 204 No Content\r\nX-Slow: "[heard.wrote : heard.wrote + 1] or b"x"
            )
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    return behave


class RawSocks:
    """A SOCKS port.

    :param path: its unix socket; None for a TCP port of 127.0.0.1.
    :param manners: what happens to the first connections, one after the other; later ones are as the last.
    :ivar heard: what was heard on each connection, in the order in which they came.
    """

    def __init__(
        self, cleanup: Callable[[Callable[[], object]], object], path: Path | None = None, *manners: Manner
    ) -> None:
        self.heard: list[Heard] = []
        self._manners = list(manners or (stores,))
        self._server = socket.create_server(("127.0.0.1", 0)) if path is None else self._unix(path)
        self._open: set[socket.socket] = set()
        self._path = path
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        cleanup(self.close)

    @staticmethod
    def _unix(path: Path) -> socket.socket:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        return server

    @property
    def description(self) -> str:
        """As Twisted describes endpoints."""
        return f"tcp:127.0.0.1:{self._server.getsockname()[1]}" if self._path is None else f"unix:{self._path}"

    @property
    def requests(self) -> list[bytes]:
        """The requests that were heard."""
        return [heard.request for heard in self.heard if heard.request]

    def close(self) -> None:
        """Close everything."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._server.accept()[0]
            except OSError:
                return
            manner = self._manners.pop(0) if len(self._manners) > 1 else self._manners[0]
            heard = Heard()
            self.heard.append(heard)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, manner, heard), daemon=True).start()

    def _serve(self, connection: socket.socket, manner: Manner, heard: Heard) -> None:
        connection.settimeout(HANDS_OFF_SECONDS)
        try:
            _converse(connection, heard)
            manner(connection, heard)
        except OSError:
            pass  # the other side hung up, or the test is over
        finally:
            self._open.discard(connection)
            connection.close()


def _converse(connection: socket.socket, heard: Heard) -> None:
    """Let in whoever comes, up to the question for a stream."""
    heard.dialogue += _exactly(connection, 3)
    connection.sendall(b"\x05\x02")
    version, length = _exactly(connection, 2)
    heard.dialogue += bytes((version,))
    user = _exactly(connection, length)
    heard.credentials = user + b":" + _exactly(connection, _exactly(connection, 1)[0])
    connection.sendall(b"\x01\x00")
    request = _exactly(connection, 5)
    heard.dialogue += request + _exactly(connection, request[4] + 2)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data
