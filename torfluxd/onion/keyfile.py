"""Files with the private key of an onion service: read with care for permissions, written once, never over another.

A key file is written with mode 0600; who may read and write one that is there is judged in `secretfile`.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from torfluxd.errors import OnionKeyError, SecretFileError
from torfluxd.onion.key import OnionKey, read_key
from torfluxd.secretfile import quoted, read_secret_file, write_new_secret_file

__all__ = ["LoadedKey", "load_key_file", "new_key_file", "write_key_file"]

_LIMIT_BYTES = 16_384
"""More than any private key has: the largest that we have a word for, an RSA key in PEM, has 3 to 7 kB."""


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
        secret = read_secret_file(path, _LIMIT_BYTES, "the private key", trusted=trusted)
    except FileNotFoundError:
        raise OnionKeyError(
            f"{path}: there is no such file; to make a key, run: torfluxd key new {quoted(path)}"
        ) from None
    except IsADirectoryError:
        raise OnionKeyError(
            f"{path}: is a directory; give the file in it, in tor's HiddenServiceDir hs_ed25519_secret_key"
        ) from None
    except SecretFileError as error:
        raise OnionKeyError(str(error)) from None
    try:
        return LoadedKey(read_key(secret.data), secret.warnings)
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
        write_new_secret_file(path, f"{key.hex()}\n".encode("ascii"))
    except FileExistsError:
        raise OnionKeyError(
            f"{path}: exists already, and a key is never overwritten; give another name, or move it away"
        ) from None
    except OSError as error:
        raise OnionKeyError(
            f"{path}: cannot be written ({error.strerror}); give a name in a directory that exists, that the user who "
            "runs this may write, and whose file system knows hard links"
        ) from None
