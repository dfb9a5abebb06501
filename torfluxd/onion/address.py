"""The address of a v3 onion service: read, checked and computed, offline.

Written from rend-spec-v3 section 6, "Encoding onion addresses".
"""

from __future__ import annotations

import base64
import hashlib

from attrs import field, frozen

from torfluxd.errors import OnionAddressError
from torfluxd.onion import ed25519

__all__ = ["OnionAddress", "address_of", "parse_onion_address"]

_VERSION = b"\x03"
_NAME_LENGTH = 56
_V2_NAME_LENGTH = 16


@frozen
class OnionAddress:
    """An address that has been checked, or computed.

    :ivar name: 56 characters in lower case, without `.onion`.
    :ivar public_key: the 32 bytes of the onion service's identity key, which the name encodes.
    """

    name: str
    public_key: bytes = field(repr=False)

    @property
    def hostname(self) -> str:
        """The name and `.onion`."""
        return f"{self.name}.onion"

    def __str__(self) -> str:
        return self.hostname


def address_of(public_key: bytes) -> OnionAddress:
    """Compute an address.

    :param public_key: 32 bytes, the public half of a key that is known to be good.
    """
    encoded = base64.b32encode(public_key + _checksum(public_key) + _VERSION)
    return OnionAddress(encoded.decode("ascii").lower(), public_key)


def parse_onion_address(text: str) -> OnionAddress:
    """Read an address, in upper or lower case, and verify it.

    White space around it is ignored: tor's file `hostname` ends with a newline. Labels before the 56 characters are
    ignored too, as tor ignores them: `www.NAME.onion` is the onion service NAME, and the whole name is a matter for
    its `Host` header, not for finding it.

    It takes about 2 ms: parse once, keep the value.

    :raises OnionAddressError: if it is not the address of a v3 onion service. The message says what is wrong, and
        does not repeat the text: where somebody wanted to go is nothing for a log.
    """
    rest, dot, suffix = text.strip().rpartition(".")
    if dot + suffix.lower() != ".onion":
        raise OnionAddressError(
            "an onion address is 56 characters and '.onion', without scheme, port and path; this does not end in .onion"
        )
    name = rest.rpartition(".")[2]
    if len(name) == _V2_NAME_LENGTH:
        raise OnionAddressError(
            "this is an address of version 2 (16 characters), which Tor no longer knows; "
            "ask for the onion service's new address, 56 characters and '.onion'"
        )
    if len(name) != _NAME_LENGTH:
        raise OnionAddressError(
            f"an onion address has 56 characters before '.onion', this has {len(name)}; was it copied whole?"
        )
    return _decode(name)


def _decode(name: str) -> OnionAddress:
    try:
        decoded = base64.b32decode(name, casefold=True)
    except ValueError:
        decoded = b""
    if len(decoded) != _NAME_LENGTH * 5 // 8:  # Padding is valid base32, and shortens it.
        raise OnionAddressError(
            "an onion address consists of the letters a to z and the digits 2 to 7; this has other characters"
        )
    public_key, checksum, version = decoded[:32], decoded[32:34], decoded[34:]
    if version != _VERSION:
        raise OnionAddressError(f"this onion address says that it is of version {version[0]}; only version 3 is known")
    if checksum != _checksum(public_key):
        raise OnionAddressError("the checksum of this onion address is wrong: it was mistyped, or not copied whole")
    if not ed25519.is_public_key(public_key):
        raise OnionAddressError(
            "the checksum of this onion address is right, but the public key in it is not valid; "
            "nobody can hold a key for it"
        )
    return address_of(public_key)


def _checksum(public_key: bytes) -> bytes:
    return hashlib.sha3_256(b".onion checksum" + public_key + _VERSION).digest()[:2]
