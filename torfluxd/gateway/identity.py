"""Which onion service the gateway is, and for whom: where its private key comes from, the ways in which it may go out,
and who may reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import TextIO

from torfluxd.errors import ClientKeyError, OnionKeyError, SettingsError
from torfluxd.onion.authorized import AuthorizedClients
from torfluxd.onion.key import OnionKey, read_key
from torfluxd.onion.keyfile import LoadedKey, load_key_file, new_key_file
from torfluxd.ops.logs import is_journal
from torfluxd.secretfile import find_credential, is_credential

__all__ = ["CREDENTIAL", "KEY_FILE", "KEY_VARIABLE", "find_clients", "find_key", "look_for_key", "print_key"]

CREDENTIAL = "onion-key"
"""The name of systemd's credential: `LoadCredential=onion-key:/etc/torfluxd/onion.key`."""

KEY_FILE = "onion.key"
"""The key's file in the state directory."""

KEY_VARIABLE = "TORFLUXDB_ONIONKEY"
"""go-torfluxdb's environment variable."""


def find_clients(given: Path | None, hear: Callable[[str], None]) -> AuthorizedClients | None:
    """Find who alone may reach the onion service.

    :param given: `--authorized-clients`.
    :param hear: called with each warning, now and later.
    :returns: None for everybody.
    :raises SettingsError: the directory, or a file in it, cannot be used.
    """
    if given is None:
        return None
    clients = AuthorizedClients(given, hear)
    try:
        clients.load()
    except ClientKeyError as error:
        raise SettingsError(f"--authorized-clients: {error}") from None
    return clients


def find_key(given: Path | None, state: Path, environment: MutableMapping[str, str]) -> LoadedKey:
    """Find the private key: the file given, systemd's credential, go-torfluxdb's variable, or the state directory.

    :param given: `--onion-key`.
    :param state: the state directory, which is ours; a key is made there when nothing else names one.
    :param environment: `os.environ`. go-torfluxdb's variable is taken out of it, so that no child process inherits it.
    :returns: the key, and what its owner should know.
    :raises OnionKeyError: there is a key that cannot be used.
    """
    try:
        found = look_for_key(given, state, environment)
    finally:
        environment.pop(KEY_VARIABLE, "")
    return found or LoadedKey(new_key_file(state / KEY_FILE))


def look_for_key(given: Path | None, state: Path, environment: Mapping[str, str]) -> LoadedKey | None:
    """As :func:`find_key`, but no key is made, and nothing is changed.

    :returns: None where one would be made.
    :raises OnionKeyError: there is a key that cannot be used.
    """
    variable = environment.get(KEY_VARIABLE, "")
    credential = find_credential(CREDENTIAL, environment)
    if given is not None:
        return load_key_file(given, trusted=is_credential(given, environment))
    if credential is not None:
        return load_key_file(credential, trusted=True)
    if variable:
        return LoadedKey(_read_variable(variable), (_VARIABLE_WARNING,))
    path = state / KEY_FILE
    return load_key_file(path) if path.exists() else None


_VARIABLE_WARNING = (
    f"the private key comes from {KEY_VARIABLE}, which other programs of this user, `docker inspect` and the service"
    " manager can read: put it into a file of mode 0600 and name that with --onion-key"
)


def _read_variable(value: str) -> OnionKey:
    try:
        return read_key(value)
    except OnionKeyError as error:
        raise OnionKeyError(f"{KEY_VARIABLE}: {error}") from None


def print_key(key: OnionKey, stream: TextIO, environment: Mapping[str, str]) -> None:
    """Print the private key as go-torfluxdb reads it, with a warning; never into the journal.

    :param stream: standard output itself, not what stands for it in a log.
    :raises SettingsError: standard output is the journal, which would keep the key for years.
    """
    if is_journal(stream, environment):
        raise SettingsError(
            "--printkey: standard output is the journal, which would keep the key: run it in a terminal"
        )
    stream.write(
        f"The private key of http://{key.address.hostname}, for {KEY_VARIABLE} or a file of mode 0600:\n"
        f"{key.hex()}\n"
        "Whoever has it can impersonate this gateway: keep it like the key of your house.\n"
    )
    stream.flush()
