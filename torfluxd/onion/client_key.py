"""The key that lets a client in to a private onion service: made, read and written in tor's formats. Pure.

An onion service with client authorization encrypts its descriptor for the public keys of its clients, so that nobody
else learns where its introduction points are (rend-spec-v3 section 2.5.1.2, appendix G). A key is an x25519 pair
(RFC 7748): the client keeps the private half, `<56 characters>:descriptor:x25519:<base32>` in a file
`NAME.auth_private` of tor's `ClientOnionAuthDir`; the gateway has the public one, `descriptor:x25519:<base32>` in a
file `NAME.auth`.
"""

from __future__ import annotations

import base64
import re
from typing import NoReturn, SupportsIndex

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from torfluxd.errors import ClientKeyError, OnionAddressError
from torfluxd.onion.address import OnionAddress, parse_onion_address

__all__ = ["ClientKey", "PrivateLine", "auth_line", "read_auth_line", "read_private_line"]

_KEY_LENGTH = 32
_BASE32 = re.compile(r"[A-Za-z2-7]{52}(?:={4})?")
"""32 bytes. Tor writes no padding; other programs do."""

_AUTH_PREFIX = "descriptor:x25519:"

_SHOW = "'torfluxd key client show FILE' prints it"


@frozen(repr=False)
class ClientKey:
    """The private half. Printing it shows nothing, and pickling it fails.

    :param private: 32 bytes.
    :raises ClientKeyError: they are not 32.
    """

    _private: bytes = field()

    @_private.validator
    def _check(self, _: object, value: bytes) -> None:
        if len(value) != _KEY_LENGTH:
            raise ClientKeyError(f"a client's private key has {_KEY_LENGTH} bytes, this has {len(value)}")

    @classmethod
    def generate(cls) -> ClientKey:
        """Make a new key out of the operating system's randomness."""
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    @property
    def public(self) -> str:
        """The public half, as tor writes it: 52 characters of base32, in capitals."""
        return _base32(X25519PrivateKey.from_private_bytes(self._private).public_key().public_bytes_raw())

    def private_line(self, address: OnionAddress) -> str:
        """The one line of a file in tor's `ClientOnionAuthDir`, without line ending."""
        return f"{address.name}:{_AUTH_PREFIX}{_base32(self._private)}"

    def control_blob(self) -> str:
        """What `ONION_CLIENT_AUTH_ADD` takes (control-spec section 3.30): `x25519:` and base64."""
        return f"x25519:{base64.b64encode(self._private).decode('ascii')}"

    def __repr__(self) -> str:
        return "<ClientKey>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a ClientKey is neither pickled nor copied, lest it end where nobody looks for a private key")


@frozen
class PrivateLine:
    """What a file in tor's `ClientOnionAuthDir` says.

    :ivar address: the onion service to which the key belongs.
    :ivar key: the key.
    """

    address: OnionAddress
    key: ClientKey


def auth_line(public: str) -> str:
    """The one line of a file `NAME.auth`, without line ending.

    :param public: as :attr:`ClientKey.public` gives it.
    """
    return _AUTH_PREFIX + public


def read_auth_line(text: str) -> str:
    """Read what a file `NAME.auth` says: `descriptor:x25519:<base32>`, alone.

    White space around it and small letters do no harm. What tor would read otherwise, or not at all, is refused here.

    :returns: the public key, 52 characters of base32 in capitals.
    :raises ClientKeyError: it says something else. The message never repeats it: it might be a private key.
    """
    parts = text.strip().split(":")
    if len(parts) == 4 and len(parts[0].removesuffix(".onion")) == 56:
        raise ClientKeyError(
            f"this is a client's private key, which the gateway must not have: give the public line ({_SHOW}), and if"
            " others may have read this file, let the client make a new key"
        )
    if len(parts) != 3 or not text.strip().lower().startswith(_AUTH_PREFIX) or len(text.split()) != 1:
        raise ClientKeyError(f"expected one line, {_AUTH_PREFIX} and 52 characters of base32; the client's {_SHOW}")
    public = _decoded(parts[2], "public")
    try:
        # Whoever knows that it is one of the few points of small order could compute what only the client should.
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ClientKeyError(
            "this public key belongs to no private one; copy the line again, or make a new key"
        ) from None
    return _base32(public)


def read_private_line(text: str) -> PrivateLine:
    """Read what a file in tor's `ClientOnionAuthDir` says: `<56 characters>:descriptor:x25519:<base32>`, alone.

    :raises ClientKeyError: it says something else. The message never repeats it.
    """
    parts = text.strip().split(":")
    if len(parts) == 3:
        raise ClientKeyError(
            "this is the public line, for the gateway: give the file with the private key, whose name ends with"
            " .auth_private"
        )
    if len(parts) != 4 or [part.lower() for part in parts[1:3]] != ["descriptor", "x25519"] or len(text.split()) != 1:
        raise ClientKeyError(
            "expected one line, the 56 characters of the onion address, :descriptor:x25519: and 52 characters of"
            " base32; 'torfluxd key client new NAME ADDRESS' makes one"
        )
    try:
        address = parse_onion_address(parts[0].removesuffix(".onion") + ".onion")
    except OnionAddressError as error:
        raise ClientKeyError(f"the address before the key cannot be right: {error}") from None
    return PrivateLine(address, ClientKey(_decoded(parts[3], "private")))


def _decoded(text: str, half: str) -> bytes:
    if not _BASE32.fullmatch(text):
        raise ClientKeyError(f"a client's {half} key is 52 characters of base32 (a to z, 2 to 7); copy the line again")
    return base64.b32decode(text[:52].upper() + "====")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=")
