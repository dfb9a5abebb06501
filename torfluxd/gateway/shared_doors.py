"""Where strangers come in when several workers serve them: listening sockets that outlive each worker.

The gateway opens them and hands them to its workers, so that none is ever closed: who connects to a worker that has
just died is not refused, but waits until another takes him. At a TCP port, as at the onion service, each worker has a
socket of its own, and what connects is spread over them: by the kernel (`SO_REUSEPORT`), or by tor.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from torfluxd.errors import ListenError, SettingsError
from torfluxd.gateway.doors import server_endpoint

__all__ = ["BACKLOG", "Kind", "SharedDoor", "check_shareable", "is_of_systemd", "open_onion_door", "open_shared_door"]

BACKLOG = 1024
"""How many connections wait at a socket for a worker; the kernel holds fewer where `net.core.somaxconn` is less. A
worker that dies is stood in for within milliseconds, in which tor brings some tens."""


_TAKEN_WHEN_READ = ("systemd", "onion", "tor")
"""These endpoints are only read when they are opened: systemd's gives its socket once, and txtorcon's begin at once."""


class Kind(enum.Enum):
    """Who comes in."""

    CIRCUIT = "circuit"
    """Strangers, each connection with its circuit's PROXY line."""

    STRANGER = "stranger"
    """Strangers of whom nothing is known."""

    OPEN = "open"
    """Whoever the operator lets in (`--listen`), without limits."""


@frozen
class SharedDoor:
    """One place where strangers come in.

    :ivar name: for people.
    :ivar kind: who comes in.
    :ivar sockets: one for each worker, or one for all.
    :ivar paths: files that are ours to remove.
    """

    name: str
    kind: Kind
    sockets: Sequence[socket.socket]
    paths: Sequence[Path] = ()

    def close(self) -> None:
        """Let nobody in any more, once no worker holds it either."""
        for one in self.sockets:
            one.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


def open_onion_door(paths: Sequence[Path], mode: int, *, knows_circuits: bool) -> SharedDoor:
    """Open the sockets that tor connects strangers to.

    :param paths: one for each worker.
    :param mode: of each.
    :param knows_circuits: whether tor says which circuit each connection came through.
    :raises ListenError: one cannot be opened; none stays open.
    """
    kind = Kind.CIRCUIT if knows_circuits else Kind.STRANGER
    sockets = _all_or_none("the onion service's sockets", [partial(_unix, path, mode) for path in paths])
    return SharedDoor("the onion service", kind, sockets, tuple(paths))


def is_of_systemd(text: str) -> bool:
    """Whether an endpoint is a socket that systemd gives us.

    Twisted would make such a unix socket open to everybody, and remove its file at the end (see `acceptor`).
    """
    return text.startswith("systemd:")


def check_shareable(text: str) -> None:
    """See that several processes can serve an endpoint, without opening it.

    :raises SettingsError: it is no endpoint, or of a kind that they cannot serve.
    """
    if text.partition(":")[0] not in _TAKEN_WHEN_READ:
        _asked_of(text)


def open_shared_door(text: str, workers: int, option: str = "--listen") -> SharedDoor:
    """Open what an option names. A socket of systemd's listens already.

    :param option: for errors.
    :raises ListenError: it cannot be opened; nothing stays open.
    :raises SettingsError: it is no endpoint, or of a kind that several processes cannot serve.
    """
    asked = _asked_of(text, option)
    if isinstance(asked, _Tcp):
        bound: list[socket.socket] = []

        def next_one() -> socket.socket:
            if not bound:
                _tcp(asked, asked.port, shared=False).close()  # so that nobody else serves there already
            bound.append(_tcp(asked, bound[0].getsockname()[1] if bound else asked.port, shared=True))
            return bound[-1]

        return SharedDoor(text, Kind.OPEN, _all_or_none(text, [next_one] * workers))
    if isinstance(asked, _Unix):
        path = Path(asked.path)
        return SharedDoor(text, Kind.OPEN, _all_or_none(text, [lambda: _unix(path, asked.mode)]), (path,))
    given = socket.socket(fileno=asked.descriptor)
    given.setblocking(False)
    return SharedDoor(text, Kind.OPEN, (given,))


@frozen
class _Tcp:
    port: int
    interface: str


@frozen
class _Unix:
    path: str
    mode: int


@frozen
class _Adopted:
    descriptor: int


_Asked = _Tcp | _Unix | _Adopted


class _Nobody(Factory):
    """Stands for whoever would serve, to see whether an endpoint would hand him to the reactor as he is."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Never called."""


@implementer(IListeningPort)
class _Port:
    """What an endpoint gets in place of a port."""

    def startListening(self) -> None:
        """Never called."""

    def stopListening(self) -> None:
        """Never called."""

    def getHost(self) -> IAddress:
        """Nowhere."""
        return UNIXAddress(None)


class _Listener:
    """Stands for a reactor: an endpoint tells it what it would listen on."""

    def __init__(self) -> None:
        self.asked: list[tuple[_Asked, IProtocolFactory]] = []

    def _ask(self, asked: _Asked, factory: IProtocolFactory) -> _Port:
        self.asked.append((asked, factory))
        return _Port()

    def listenTCP(  # noqa: N802  # Twisted's name
        self, port: int, factory: IProtocolFactory, backlog: int = 0, interface: str = ""
    ) -> _Port:
        """As a reactor's."""
        return self._ask(_Tcp(port, interface), factory)

    def listenUNIX(  # noqa: N802  # Twisted's name
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = 0,
        mode: int = 0o666,
        wantPID: bool = False,  # noqa: N803
    ) -> _Port:
        """As a reactor's."""
        return self._ask(_Unix(address, mode), factory)

    def adoptStreamPort(self, descriptor: int, family: int, factory: IProtocolFactory) -> _Port:  # noqa: N802
        """As a reactor's; the endpoint closes the descriptor when this returns."""
        return self._ask(_Adopted(os.dup(descriptor)), factory)


def _asked_of(text: str, option: str = "--listen") -> _Asked:
    listener, nobody = _Listener(), _Nobody()
    failed: list[object] = []
    endpoint = server_endpoint(listener, text, option)
    with contextlib.suppress(AttributeError):  # it asks for something that our stand-in for a reactor has not
        endpoint.listen(nobody).addErrback(failed.append)
    if failed or [factory for _, factory in listener.asked] != [nobody]:
        raise SettingsError(f"{option}: {text!r} cannot be shared by several --workers; tcp:, unix: and systemd: can")
    return listener.asked[0][0]


def _all_or_none(name: str, makers: Sequence[Callable[[], socket.socket]]) -> tuple[socket.socket, ...]:
    made: list[socket.socket] = []
    try:
        for make in makers:
            one = make()
            made.append(one)
            one.setblocking(False)
            one.listen(BACKLOG)
    except OSError as error:
        for one in made:
            one.close()
        raise ListenError(f"cannot listen on {name}: {error.strerror}") from None
    return tuple(made)


def _unix(path: Path, mode: int) -> socket.socket:
    """A socket that listens later, and before that has its mode; one that a kill left behind is taken away."""
    if _is_left_behind(path):
        path.unlink()
    one = socket.socket(socket.AF_UNIX)
    try:
        one.bind(str(path))
        path.chmod(mode)
    except BaseException:
        one.close()
        raise
    return one


def _is_left_behind(path: Path) -> bool:
    """Whether there is a socket at which nobody listens any more."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == errno.ECONNREFUSED


def _tcp(asked: _Tcp, port: int, *, shared: bool) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in asked.interface else socket.AF_INET)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        one.bind((asked.interface, port))
    except BaseException:
        one.close()
        raise
    return one
