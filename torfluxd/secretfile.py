"""Files with a secret in them, read with care for who else may read them.

One that its group may read is read with a warning; one that others may read, or that anybody but its owner may write,
is refused. What systemd presents as a credential is trusted as it is.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from torfluxd.errors import SecretFileError

__all__ = ["SecretFile", "find_credential", "is_credential", "quoted", "read_secret_file", "write_new_secret_file"]

_REFUSED_MODE = stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


@frozen
class SecretFile:
    """What a file holds, and what its owner should know about it.

    :ivar data: the secret, as it stands in the file.
    :ivar warnings: whole sentences, usually none, with the cure.
    """

    data: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()


def read_secret_file(path: Path, limit_bytes: int, secret: str, *, trusted: bool = False) -> SecretFile:
    """Read a file that holds a secret.

    Symbolic links are followed, because systemd and Kubernetes present secrets through them; it is the file in the end
    whose permissions count.

    :param limit_bytes: more than any such secret has.
    :param secret: what the file is to hold, with its article, for the errors: `the private key`.
    :param trusted: do not look at the permissions, because whoever presents the file vouches for it: it lies in
        systemd's `$CREDENTIALS_DIRECTORY`, where an access control list makes mode 0400 look like 0440.
    :raises FileNotFoundError: if there is no such file; only the caller knows the cure.
    :raises IsADirectoryError: if it is a directory.
    :raises SecretFileError: if it cannot be read, is no regular file, is too large, or may be read or written by the
        wrong people. The message names the file and the cure.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            warnings = _inspect(path, os.fstat(file.fileno()).st_mode, secret, trusted)
            data = file.read(limit_bytes + 1)
    except (FileNotFoundError, IsADirectoryError):
        raise
    except OSError as error:
        raise SecretFileError(
            f"{path}: cannot be read ({error.strerror}); it must be a file that the user who runs this may read"
        ) from None
    if len(data) > limit_bytes:
        name = secret.removeprefix("the ")
        raise SecretFileError(f"{path}: is larger than any {name}; give the file that holds {secret} alone")
    return SecretFile(data, warnings)


def write_new_secret_file(path: Path, data: bytes) -> None:
    """Write a secret to a new file, readable by its owner alone.

    When this returns, file and name are on the disk. A crash on the way leaves no file of this name, or a whole one: it
    is written under a passing name, then linked, because a link, unlike a rename, never replaces a file.

    :raises FileExistsError: there is a file of this name already, which is left as it is.
    :raises OSError: it cannot be written; the file system may know no hard links.
    """
    descriptor, passing = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.link(passing, path)
    finally:
        os.unlink(passing)
    _sync_directory(path.parent)


def find_credential(name: str, environment: Mapping[str, str]) -> Path | None:
    """The file of one of systemd's credentials (`LoadCredential=name:PATH`), or None if there is none of this name.

    :param environment: `os.environ`.
    """
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    path = Path(directory) / name
    return path if directory and path.exists() else None


def is_credential(path: Path, environment: Mapping[str, str]) -> bool:
    """Whether systemd vouches for a file: whether it lies among its credentials."""
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    return bool(directory) and path.absolute().is_relative_to(directory)


def quoted(path: Path) -> str:
    """A path as it can be pasted into a shell."""
    return shlex.quote(os.fspath(path))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the writer of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _inspect(path: Path, mode: int, secret: str, trusted: bool) -> tuple[str, ...]:
    """Judge a file by its type and permissions.

    :returns: the warnings.
    """
    if not stat.S_ISREG(mode):
        raise SecretFileError(f"{path}: is not a regular file; put {secret} into one")
    if trusted:
        return ()
    bits, cure = stat.S_IMODE(mode), f"run: chmod 600 {quoted(path)}"
    if bits & _REFUSED_MODE:
        raise SecretFileError(
            f"{path}: has mode {bits:04o}, so others than its owner may read or change {secret}; "
            f"if one of them may have read it, make a new one, else {cure}"
        )
    if bits & stat.S_IRGRP:
        return (f"{path}: has mode {bits:04o}, so its group may read {secret}; unless that is meant, {cure}",)
    return ()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
