"""Files with the private key of a client, as tor keeps them in its `ClientOnionAuthDir`: `NAME.auth_private`."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from torfluxd.errors import ClientKeyError, SecretFileError
from torfluxd.onion.address import OnionAddress
from torfluxd.onion.client_key import ClientKey, PrivateLine, read_private_line
from torfluxd.secretfile import quoted, read_secret_file, write_new_secret_file

__all__ = ["SUFFIX", "LoadedClientKey", "client_key_path", "load_client_key_file", "new_client_key_file"]

SUFFIX = ".auth_private"
"""Tor passes over files of another name (tor(1), `ClientOnionAuthDir`)."""

_LIMIT_BYTES = 1024
"""A line has 128."""


@frozen
class LoadedClientKey:
    """A client's key, and what its owner should know about the file it was in.

    :ivar warnings: whole sentences, usually none, with the cure.
    """

    line: PrivateLine
    warnings: tuple[str, ...] = ()


def client_key_path(name: Path) -> Path:
    """The file that is meant by a name, with or without its suffix."""
    return name if name.name.endswith(SUFFIX) else name.with_name(name.name + SUFFIX)


def load_client_key_file(path: Path) -> LoadedClientKey:
    """Read the file with a client's private key.

    :raises ClientKeyError: there is no such file, it cannot be read, may be read or written by the wrong people, or
        holds no key. The message names the file and the cure.
    """
    try:
        secret = read_secret_file(path, _LIMIT_BYTES, "the private key")
    except FileNotFoundError:
        raise ClientKeyError(
            f"{path}: there is no such file; to make a key, run: torfluxd key client new {quoted(path)} ADDRESS"
        ) from None
    except IsADirectoryError:
        raise ClientKeyError(f"{path}: is a directory; give the file in it, NAME{SUFFIX}") from None
    except SecretFileError as error:
        raise ClientKeyError(str(error)) from None
    try:
        return LoadedClientKey(read_private_line(secret.data.decode("ascii", "replace")), secret.warnings)
    except ClientKeyError as error:
        raise ClientKeyError(f"{path}: {error}") from None


def new_client_key_file(path: Path, address: OnionAddress) -> ClientKey:
    """Make a new key for an onion service, and write it to a new file, readable by its owner alone.

    :param path: ends with :data:`SUFFIX`; see :func:`client_key_path`.
    :raises ClientKeyError: if there is a file of this name already, which is left as it is, or if it cannot be written.
    """
    key = ClientKey.generate()
    try:
        write_new_secret_file(path, f"{key.private_line(address)}\n".encode("ascii"))
    except FileExistsError:
        raise ClientKeyError(
            f"{path}: exists already, and a key is never overwritten; give another name, or move it away"
        ) from None
    except OSError as error:
        raise ClientKeyError(
            f"{path}: cannot be written ({error.strerror}); give a name in a directory that exists, that the user who "
            "runs this may write, and whose file system knows hard links"
        ) from None
    return key
