"""Files with the private key of an onion service: read with care for permissions, written once, never over another.

A key file is written with mode 0600. One that its group may read is read with a warning; one that others may read, or
that anybody but its owner may write, is refused.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from pathlib import Path

from attrs import frozen

from torfluxd.errors import OnionKeyError
from torfluxd.onion.key import OnionKey, read_key

__all__ = ["LoadedKey", "load_key_file", "new_key_file", "write_key_file"]

_LIMIT_BYTES = 16_384
"""More than any private key has: the largest that we have a word for, an RSA key in PEM, has 3 to 7 kB."""

_REFUSED_MODE = stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


@frozen
class LoadedKey:
    """A key, and what its owner should know about the file it was in.

    :ivar warnings: whole sentences, usually none, with the cure.
    """

    key: OnionKey
    warnings: tuple[str, ...] = ()


def load_key_file(path: Path, *, trusted: bool = False) -> LoadedKey:
    """Read a key file, in any form that :func:`~torfluxd.onion.key.read_key` knows.

    Symbolic links are followed, because systemd and Kubernetes present keys through them; it is the file in the end
    whose permissions count.

    :param trusted: do not look at the permissions, because whoever presents the file vouches for it: it lies in
        systemd's `$CREDENTIALS_DIRECTORY`, where an access control list makes mode 0400 look like 0440.
    :raises OnionKeyError: if there is no such file, it cannot be read, is no regular file, is too large, may be read
        or written by the wrong people, or holds no key. The message names the file and the cure.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            warnings = _inspect(path, os.fstat(file.fileno()).st_mode, trusted)
            data = file.read(_LIMIT_BYTES + 1)
    except FileNotFoundError:
        raise OnionKeyError(
            f"{path}: there is no such file; to make a key, run: torfluxd key new {_quoted(path)}"
        ) from None
    except IsADirectoryError:
        raise OnionKeyError(
            f"{path}: is a directory; give the file in it, in tor's HiddenServiceDir hs_ed25519_secret_key"
        ) from None
    except OSError as error:
        raise OnionKeyError(
            f"{path}: cannot be read ({error.strerror}); it must be a file that the user who runs this may read"
        ) from None
    if len(data) > _LIMIT_BYTES:
        raise OnionKeyError(f"{path}: is larger than any private key; give the file that holds the key alone")
    try:
        return LoadedKey(read_key(data), warnings)
    except OnionKeyError as error:
        raise OnionKeyError(f"{path}: {error}") from None


def new_key_file(path: Path) -> OnionKey:
    """Make a new key and write it to a new file.

    :raises OnionKeyError: as :func:`write_key_file` does.
    """
    key = OnionKey.generate()
    write_key_file(path, key)
    return key


def write_key_file(path: Path, key: OnionKey) -> None:
    """Write a key to a new file, in hexadecimal, readable by its owner alone.

    When this returns, file and name are on the disk. A crash on the way leaves no file of this name, or a whole one.

    :raises OnionKeyError: if there is a file of this name already, which is left as it is, or if it cannot be written.
    """
    try:
        _write_new(path, f"{key.hex()}\n".encode("ascii"))
    except FileExistsError:
        raise OnionKeyError(
            f"{path}: exists already, and a key is never overwritten; give another name, or move it away"
        ) from None
    except OSError as error:
        raise OnionKeyError(
            f"{path}: cannot be written ({error.strerror}); give a name in a directory that exists, that the user who "
            "runs this may write, and whose file system knows hard links"
        ) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _inspect(path: Path, mode: int, trusted: bool) -> tuple[str, ...]:
    """Judge a file by its type and permissions.

    :returns: the warnings.
    """
    if not stat.S_ISREG(mode):
        raise OnionKeyError(f"{path}: is not a regular file; put the key into one")
    if trusted:
        return ()
    bits, cure = stat.S_IMODE(mode), f"run: chmod 600 {_quoted(path)}"
    if bits & _REFUSED_MODE:
        raise OnionKeyError(
            f"{path}: has mode {bits:04o}, so others than its owner may read or change the private key; "
            f"if one of them may have read it, make a new one, else {cure}"
        )
    if bits & stat.S_IRGRP:
        return (f"{path}: has mode {bits:04o}, so its group may read the private key; unless that is meant, {cure}",)
    return ()


def _write_new(path: Path, data: bytes) -> None:
    """Write a file under a passing name, then link it, because a link, unlike a rename, never replaces a file."""
    descriptor, passing = tempfile.mkstemp(dir=path.parent, prefix=".onion-key-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.link(passing, path)
    finally:
        os.unlink(passing)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quoted(path: Path) -> str:
    return shlex.quote(os.fspath(path))
