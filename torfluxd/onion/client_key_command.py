"""`torfluxd key client`: make the key that lets a client in to a private onion service, and show its public line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.python import usage

from torfluxd.errors import OnionAddressError
from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.client_key import auth_line
from torfluxd.onion.client_keyfile import client_key_path, load_client_key_file, new_client_key_file

__all__ = ["CLIENT_KEY_HELP", "client_key_command"]

CLIENT_KEY_HELP = """\
Usage: torfluxd key client new FILE ADDRESS   make a client's key for a private onion
                                              service, and print its public line
       torfluxd key client show FILE          print the public line of a client's key

FILE gets the private key, for its owner alone (mode 0600), as tor keeps it in its
ClientOnionAuthDir; its name ends with .auth_private, which may be left out. The
public line is for the gateway: a file NAME.auth in its --authorized-clients DIR.
"""


def client_key_command(arguments: Sequence[str], tell: Callable[[str], None]) -> str:
    """Run it.

    :param tell: takes each sentence that is for a person, and no part of the answer.
    :returns: the answer.
    :raises UsageError: this is not how it is called.
    :raises TorfluxdError: it cannot be done.
    """
    match list(arguments):
        case ["--help" | "-h"]:
            return CLIENT_KEY_HELP.rstrip("\n")
        case ["new", name, address]:
            return _new(client_key_path(Path(name)), address, tell)
        case ["show", name]:
            return _show(Path(name), tell)
        case ["new", *_]:
            raise usage.UsageError("key client new: takes the name of a file, and the address of the onion service")
        case ["show", *rest]:
            raise usage.UsageError(f"key client show: takes the name of one file, got {len(rest)}")
        case []:
            raise usage.UsageError("key client: what of it? there are new, show")
        case [action, *_]:
            raise usage.UsageError(f"key client: there is no {action!r}; there are new, show")
    raise AssertionError("every list is one of these")


def _new(path: Path, text: str, tell: Callable[[str], None]) -> str:
    try:
        address = parse_onion_address(text)
    except OnionAddressError as error:
        raise OnionAddressError(f"key client new: {error}") from None
    key = new_client_key_file(path, address)
    tell(f"{path} holds the private key; the line is for the gateway: NAME.auth in its --authorized-clients DIR")
    return auth_line(key.public)


def _show(path: Path, tell: Callable[[str], None]) -> str:
    given = path if path.exists() else client_key_path(path)
    loaded = load_client_key_file(given)
    for warning in loaded.warnings:
        tell(warning)
    return auth_line(loaded.line.key.public)
