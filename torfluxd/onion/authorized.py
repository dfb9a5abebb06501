"""Who may reach a private onion service: a directory with a file `NAME.auth` for each client, kept an eye on.

The files are those of tor's own `authorized_clients` (tor(1), "Client Authorization"): what an operator has can be
copied, and the other way round. Where tor passes over what it cannot read, and makes the onion service public when
nothing is left, everything here closes: a directory that names nobody lets nobody in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NoReturn

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from torfluxd.errors import ClientKeyError
from torfluxd.onion.client_key import ClientKey, read_auth_line
from torfluxd.secretfile import quoted

__all__ = ["LOOK_SECONDS", "MAX_CLIENTS", "AuthorizedClients", "Change", "keep_renewing"]

LOOK_SECONDS = 5.0
"""How often the directory is looked at: who revokes somebody is not kept waiting, and to look is to ask for the times
of some hundred files at most. No signal is needed, and no notification that a network file system would not give."""

MAX_CLIENTS = 320
"""The descriptor holds an entry for each client, and a directory of the Tor network takes 50 000 bytes of it: tor
0.4.9.11 published it for 376 clients and not for 378, with three introduction points whose addresses were short."""

_LIMIT_BYTES = 256
"""A line has 70."""

_SUFFIX = ".auth"

_NEW = "'torfluxd key client new NAME ADDRESS' makes one"

_log = Logger()

_Stamp = tuple[tuple[str, int, int, int], ...]


@frozen
class Change:
    """How the clients of now differ from those before; a client with a new key is one revoked and one added.

    :ivar count: how many there are now.
    """

    count: int
    added: int
    revoked: int


class AuthorizedClients:
    """The clients that may reach a private onion service, as a directory names them.

    :ivar own: a key of our own, made for this run and never written down: with it the gateway can try whether it is
        reached, and where nobody is let in, it stands in the place of a client.

    :param directory: holds the files.
    :param hear: called with each warning, a whole sentence; it names files, never what is in them.
    """

    def __init__(self, directory: Path, hear: Callable[[str], None]) -> None:
        self._directory = directory
        self._hear = hear
        self._stamp: _Stamp | None = None
        self.own = ClientKey.generate()
        self._keys: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Their public keys, for tor: never none, for that would let in everybody."""
        return self._keys or (self.own.public,)

    @property
    def keys_and_own(self) -> tuple[str, ...]:
        """The same, and our own besides."""
        return (*self._keys, self.own.public)

    def load(self) -> None:
        """Read the directory for the first time, and take nothing that is not right.

        :raises ClientKeyError: it cannot be read, names nobody or too many, others may write it, or one of its files
            is wrong. The message names the file and the cure.
        """
        try:
            stamp = self._stamp_now()
            _check_writers(self._directory, self._directory.stat().st_mode)
        except OSError as error:
            raise ClientKeyError(
                f"{self._directory}: cannot be read ({error.strerror}); give a directory with a file NAME.auth for each"
                " client"
            ) from None
        keys, problems = _read_all(self._directory, stamp)
        if problems:
            raise ClientKeyError(problems[0])
        if not keys:
            raise ClientKeyError(
                f"{self._directory}: has no file NAME.auth, so it lets nobody in; put a client's public line there"
                f" ({_NEW}), or leave the option out, for an onion service that everybody can reach"
            )
        for name in _others(self._directory):
            self._hear(f"{name}: is passed over, because its name does not end with {_SUFFIX}")
        self._stamp, self._keys = stamp, keys

    def look(self) -> Change | None:
        """Read the directory again, if it has changed. Never raises.

        A file that is wrong lets nobody in until it is mended; a directory that cannot be read leaves all as it was.
        Either is told once.

        :returns: how :attr:`keys` differ now; None when they do not.
        """
        try:
            stamp = self._stamp_now()
        except OSError as error:
            if self._stamp is not None:
                self._hear(
                    f"{self._directory}: cannot be read any more ({error.strerror}); who was let in before still is,"
                    " and nobody is revoked or added until it can"
                )
            self._stamp = None
            return None
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        keys, problems = _read_all(self._directory, stamp)
        for problem in problems:
            self._hear(f"{problem}; until then it lets nobody in")
        before, self._keys = set(self.keys), keys
        return self._changed(before)

    def _changed(self, before: set[str]) -> Change | None:
        now = set(self.keys)
        if not self._keys:
            self._hear(f"{self._directory}: has no usable file NAME.auth any more; nobody is let in")
        if now == before:
            return None
        nobody = {self.own.public}
        return Change(len(self._keys), len(now - before - nobody), len(before - now - nobody))

    def _stamp_now(self) -> _Stamp:
        """What tells one state of the directory from another."""
        with os.scandir(self._directory) as entries:
            names = sorted(entry.name for entry in entries if _is_client(entry.name))
        return tuple(_stamps(self._directory, names))


async def keep_renewing(
    clients: AuthorizedClients, clock: IReactorTime, renew: Callable[[], Awaitable[None]]
) -> NoReturn:
    """Look at the directory from time to time, and renew what tor knows when it has changed.

    Ends only by being cancelled, or with the error of `renew`.
    """
    while True:
        await deferLater(clock, LOOK_SECONDS)
        change = clients.look()
        if change is not None:
            await renew()
            _log.info(
                "authorized clients: {count} now; {added} added, {revoked} revoked",
                count=change.count,
                added=change.added,
                revoked=change.revoked,
            )


def _is_client(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _others(directory: Path) -> list[Path]:
    """What else lies there, but for what editors and version control hide."""
    return sorted(path for path in directory.iterdir() if not _is_client(path.name) and not path.name.startswith("."))


def _stamps(directory: Path, names: list[str]) -> Iterator[tuple[str, int, int, int]]:
    for name in names:
        try:
            found = os.stat(directory / name)
        except OSError:  # gone meanwhile, or a link into nowhere: reading it tells
            yield name, 0, 0, 0
        else:
            yield name, found.st_ino, found.st_mtime_ns, found.st_size


def _read_all(directory: Path, stamp: _Stamp) -> tuple[tuple[str, ...], list[str]]:
    """Read each file.

    :returns: the public keys of those that are right, sorted, and what is wrong with the others.
    """
    names: dict[str, Path] = {}
    problems: list[str] = []
    for name, *_ in stamp:
        path = directory / name
        try:
            key = _read_one(path)
            if key in names:
                raise ClientKeyError(f"{path}: has the same key as {names[key].name}; give each client one of its own")
            if len(names) == MAX_CLIENTS:
                raise ClientKeyError(f"{path}: is one too many: tor can publish the keys of {MAX_CLIENTS} clients")
            names[key] = path
        except ClientKeyError as error:
            problems.append(str(error))
    return tuple(sorted(names)), problems


def _read_one(path: Path) -> str:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_LIMIT_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise ClientKeyError(
            f"{path}: cannot be read ({error.strerror}); it must be a file that the user who runs this may read"
        ) from None
    if not stat.S_ISREG(mode):
        raise ClientKeyError(f"{path}: is not a regular file; put the client's public line into one")
    _check_writers(path, mode)
    if len(data) > _LIMIT_BYTES:
        raise ClientKeyError(f"{path}: is larger than a client's public line; give that line alone ({_NEW})")
    try:
        return read_auth_line(data.decode("ascii", "replace"))
    except ClientKeyError as error:
        raise ClientKeyError(f"{path}: {error}") from None


def _check_writers(path: Path, mode: int) -> None:
    if mode & stat.S_IWOTH:
        raise ClientKeyError(
            f"{path}: everybody on this machine may write it, and let himself in; run: chmod o-w {quoted(path)}"
        )
