"""Hostile strangers: `python -m tests.end_to_end.under_fire.flooder flood|hold SOCKET ...`.

`flood SOCKET FIRST_CIRCUIT` writes through one circuit as fast as it can: on many connections, many requests at a time,
without waiting for answers. When it is refused it comes back at once; when it is cut off it takes a new circuit, which
costs as much time as building one does. `flood tor:PORT HOSTNAME` does the same through the SOCKS port of a tor.

`hold SOCKET CONNECTIONS` opens connections and sends half a head on each, then waits for them to be closed.
"""

from __future__ import annotations

import contextlib
import resource
import secrets
import selectors
import socket
import sys
import time

CONNECTIONS = 16
"""How many a flooder uses."""

STREAMS_PER_CIRCUIT = 250
"""How many connections one circuit of `hold` has: tor lets it have 256."""

NEW_CIRCUIT_SECONDS = 0.3
"""What it takes at least to build a circuit to an onion service, in a network on one machine."""

SAY_SECONDS = 0.5
SOCKS_SECONDS = 60.0

LINE = b"f v=1i"


REQUESTS = (b"POST /write?db=telemetry HTTP/1.1\r\nHost:a\r\nContent-Length:%d\r\n\r\n%b" % (len(LINE), LINE)) * 500
"""The smallest writes there are, as many as are sent at once."""


def connect_unix(path: str, circuit: int) -> socket.socket:
    """Come through a circuit, as tor would say."""
    stranger = socket.socket(socket.AF_UNIX)
    stranger.connect(path)
    stranger.sendall(b"PROXY TCP6 fc00:dead:beef:4dad::%x:%x ::1 1 80\r\n" % (circuit >> 16, circuit & 0xFFFF))
    return stranger


def connect_socks(port: int, hostname: str, name: bytes) -> socket.socket:
    """Come through a tor, on the circuit of this name (SOCKS5, RFC 1928 and 1929)."""
    stranger = socket.create_connection(("127.0.0.1", port), SOCKS_SECONDS)
    stranger.sendall(b"\x05\x01\x02")
    expect(stranger, b"\x05\x02")
    stranger.sendall(b"\x01%c%b\x01x" % (len(name), name))
    expect(stranger, b"\x01\x00")
    host = hostname.encode()
    stranger.sendall(b"\x05\x01\x00\x03%c%b\x00\x50" % (len(host), host))
    expect(stranger, b"\x05\x00")
    stranger.recv(8)
    return stranger


def expect(stranger: socket.socket, data: bytes) -> None:
    """Read exactly this."""
    if stranger.recv(len(data)) != data:
        stranger.close()
        raise ConnectionError


class Flood:
    """A flood through one circuit at a time."""

    def __init__(self, where: str, whence: str) -> None:
        self._where = where
        self._whence = whence
        self._name = b""
        self._circuit = 0 if where.startswith("tor:") else int(whence)
        self._poll = selectors.DefaultSelector()
        self._left: dict[socket.socket, bytes] = {}
        self._answered = self._refused = self._cut = 0

    def run(self) -> None:
        """Flood until it is ended, and say how it goes."""
        self._renew()
        next_word = time.monotonic()
        while True:
            if time.monotonic() > next_word:
                next_word = time.monotonic() + SAY_SECONDS
                print(f"answered {self._answered} refused {self._refused} cut {self._cut}", flush=True)
            while len(self._left) < CONNECTIONS:
                self._open()
            for key, events in self._poll.select(SAY_SECONDS):
                stranger = key.fileobj
                assert isinstance(stranger, socket.socket)
                if stranger not in self._left:  # closed with another one, a moment ago
                    continue
                try:
                    self._serve(stranger, events)
                except BlockingIOError:
                    pass
                except OSError:
                    self._close(stranger, cut=True)

    def _serve(self, stranger: socket.socket, events: int) -> None:
        if events & selectors.EVENT_READ:
            heard = stranger.recv(65536)
            self._answered += heard.count(b" 204 No Content")
            self._refused += heard.count(b" 503 ")
            if not heard or b"Connection: close" in heard:
                self._close(stranger, cut=not heard)
                return
        if events & selectors.EVENT_WRITE:
            left = self._left[stranger] or REQUESTS
            self._left[stranger] = left[stranger.send(left) :]

    def _open(self) -> None:
        try:
            if self._where.startswith("tor:"):
                stranger = connect_socks(int(self._where[4:]), self._whence, self._name)
            else:
                stranger = connect_unix(self._where, self._circuit)
        except OSError:
            self._cut += 1
            self._renew()
            return
        stranger.setblocking(False)
        self._left[stranger] = b""
        self._poll.register(stranger, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _close(self, stranger: socket.socket, *, cut: bool) -> None:
        self._poll.unregister(stranger)
        stranger.close()
        del self._left[stranger]
        if cut:
            self._cut += 1
            for other in list(self._left):
                self._close(other, cut=False)
            self._renew()

    def _renew(self) -> None:
        """Take another circuit."""
        time.sleep(NEW_CIRCUIT_SECONDS)
        self._circuit += 1
        self._name = secrets.token_hex(8).encode()


def hold(path: str, connections: int) -> None:
    """Open connections, keep them, and say when the door has closed all of them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    begun = time.monotonic()
    held = []
    for number in range(connections):
        stranger = connect_unix(path, 0x10000 + number // STREAMS_PER_CIRCUIT)
        stranger.sendall(b"POST /write?db=telemetry HTTP/1.1\r\nHost: a\r\n")
        held.append(stranger)
    print(f"holding {len(held)} after {time.monotonic() - begun:.1f} s", flush=True)
    for stranger in held:
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    print(f"all closed after {time.monotonic() - begun:.1f} s", flush=True)


def main() -> None:
    """Do as the arguments say."""
    how, where, what = sys.argv[1:]
    if how == "hold":
        hold(where, int(what))
    else:
        Flood(where, what).run()


if __name__ == "__main__":
    main()
