"""The private key of a v3 onion service: every form in which a vendor may hold it, in and out, and its address.

All forms carry the same 64 bytes, a clamped ed25519 scalar and the secret that goes into signatures: `rend-spec-v3`
calls it the expanded form, control-spec section 3.27 the blob of `ADD_ONION`. Go's and SUPERCOP's form has the same
length and is something else, the seed and the public key; tor takes it without a word, under another address (tried).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from functools import cached_property
from typing import NoReturn, SupportsIndex

from attrs import field, frozen

from torfluxd.errors import OnionKeyError
from torfluxd.onion import ed25519
from torfluxd.onion.address import OnionAddress, address_of

__all__ = ["OnionKey", "read_key"]

_SEED_LENGTH = 32
_SCALAR_LENGTH = 32
_KEY_LENGTH = 64

_TOR_FILE = b"== ed25519v1-"
_TOR_SECRET_TAG = b"== ed25519v1-secret: type0 ==\0\0\0"
_TOR_PUBLIC_TAG = b"== ed25519v1-public: type0 ==\0\0\0"

_MAKE_NEW = "or make a new one with 'torfluxd key new FILE'"
_LOOK_BESIDE = "give the file hs_ed25519_secret_key beside it"

_TEXT = re.compile(rb"[\t-\r -~]*")
_HEX = re.compile(r"[0-9a-fA-F]+")
_CONTROL_BLOB = re.compile(r"ED25519-V3:(.*)", re.IGNORECASE)

_MISTAKEN_TEXTS = (
    (
        re.compile(r"RSA1024:|-----BEGIN RSA PRIVATE KEY-----"),
        "this is an RSA key, as onion services of version 2 had, which Tor no longer knows: "
        "make a key with 'torfluxd key new FILE'",
    ),
    (
        re.compile(r"-----BEGIN |ssh-"),
        "this is a PEM or OpenSSH key, and tor has no use for one: "
        "give tor's hs_ed25519_secret_key or go-torfluxdb's 128 hexadecimal digits, " + _MAKE_NEW,
    ),
    (
        re.compile(r"(\S*:)?x25519:"),
        "this is an x25519 key, which lets a client in to a private onion service: "
        "give the onion service's own key, tor's hs_ed25519_secret_key",
    ),
    (
        re.compile(r"\S+\.onion$|[a-z2-7]{56}$"),
        "this is an onion address, which everybody may know, and not the private key: if it is tor's file hostname, "
        + _LOOK_BESIDE,
    ),
)
"""How the texts begin that are often taken for the key, and what to say of them."""


def _checked(expanded: bytes) -> bytes:
    """Refuse what is not an expanded key, the most telling reason first.

    :raises OnionKeyError: without any byte of the key in its message.
    """
    if len(expanded) == _SEED_LENGTH:
        raise OnionKeyError(
            "this is 32 bytes long, as a seed is, or a public key: tor's private key is the 64 bytes that SHA-512 "
            "makes of a seed, clamped; give those, " + _MAKE_NEW
        )
    if len(expanded) != _KEY_LENGTH:
        raise _wrong_length(f"{len(expanded)} bytes")
    if not any(expanded):
        raise OnionKeyError("this key is all zeros: give the real one, " + _MAKE_NEW)
    if expanded[_SEED_LENGTH:] == ed25519.public_key(_expand(expanded[:_SEED_LENGTH])[:_SCALAR_LENGTH]):
        raise OnionKeyError(
            "this is a key as Go and SUPERCOP keep it, a seed and the public key: tor's private key is as long, but "
            "is the SHA-512 of the seed, clamped; convert it (in Go with FromCryptoPrivateKey of "
            "github.com/cretz/bine/torutil/ed25519), " + _MAKE_NEW
        )
    if not ed25519.is_clamped(expanded[:_SCALAR_LENGTH]):
        raise OnionKeyError(
            "this is as long as a private key, but its scalar is not clamped (RFC 8032 section 5.1.5), so it is "
            "damaged or something else: copy the key again, byte for byte, " + _MAKE_NEW
        )
    return expanded


@frozen(repr=False)
class OnionKey:
    """The private key of a v3 onion service. Printing it shows its address only, and pickling it fails.

    :param expanded: the 64 bytes, scalar and signature secret.
    :raises OnionKeyError: if they are not a key.
    """

    _expanded: bytes = field(converter=_checked)

    @classmethod
    def generate(cls) -> OnionKey:
        """Make a new key out of the operating system's randomness."""
        return cls(_expand(secrets.token_bytes(_SEED_LENGTH)))

    @cached_property
    def address(self) -> OnionAddress:
        """The address of the onion service that holds this key."""
        return address_of(ed25519.public_key(self._expanded[:_SCALAR_LENGTH]))

    def hex(self) -> str:
        """The 128 hexadecimal digits that go-torfluxdb prints, and takes in `TORFLUXDB_ONIONKEY`."""
        return self._expanded.hex()

    def control_blob(self) -> str:
        """What `ADD_ONION` takes: `ED25519-V3:` and base64."""
        return f"ED25519-V3:{base64.b64encode(self._expanded).decode('ascii')}"

    def tor_secret_file(self) -> bytes:
        """The 96 bytes of `hs_ed25519_secret_key` in a `HiddenServiceDir`."""
        return _TOR_SECRET_TAG + self._expanded

    def tor_public_file(self) -> bytes:
        """The 64 bytes of `hs_ed25519_public_key` in a `HiddenServiceDir`."""
        return _TOR_PUBLIC_TAG + self.address.public_key

    def __repr__(self) -> str:
        return f"<OnionKey of {self.address}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("an OnionKey is neither pickled nor copied, lest it end where nobody looks for a private key")


def read_key(data: bytes | str) -> OnionKey:
    """Read a key in any form: hexadecimal, base64, `ED25519-V3:` and base64, tor's key file, or the 64 bytes as such.

    Two forms may have the same length, so the order is:

    1. Bytes that are all printable ASCII or white space are text, others binary. That 64 random bytes look like text
       happens once in 2**86 times. A `str` is text.
    2. Of text all white space is dropped, also that within, because `base64` and `xxd` wrap lines. Hexadecimal digits
       are tried before base64, whose alphabet contains them: a key in base64 consists of nothing else once in 2**132
       times. What the text stands for is then read as binary.
    3. Of binary no byte is ever dropped. Tor's key file is known by its tag, everything else by its length.

    :raises OnionKeyError: when it is none. The message says what it looks like and what to do, and never contains a
        part of `data`.
    """
    if isinstance(data, str):
        return _read_text(data)
    if _TEXT.fullmatch(data):
        return _read_text(data.decode("ascii"))
    return _read_binary(data)


def _read_text(text: str) -> OnionKey:
    text = text.strip()
    for mistaken, sentence in _MISTAKEN_TEXTS:
        if mistaken.match(text):
            raise OnionKeyError(sentence)
    joined = "".join(text.split())
    if not joined:
        raise OnionKeyError("this is empty: give a private key, " + _MAKE_NEW)
    blob = _CONTROL_BLOB.fullmatch(joined)
    if blob:
        return OnionKey(_decode_base64(blob[1]))
    if not _HEX.fullmatch(joined):
        return _read_binary(_decode_base64(joined))
    if len(joined) % 2:
        raise _wrong_length(f"{len(joined)} hexadecimal digits")
    return _read_binary(bytes.fromhex(joined))


def _decode_base64(text: str) -> bytes:
    unpadded = text.rstrip("=")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except ValueError:
        raise OnionKeyError(
            "this is text, but not a key: expected 128 hexadecimal digits, or base64, with or without 'ED25519-V3:' "
            "in front; copy the key again, " + _MAKE_NEW
        ) from None


def _read_binary(data: bytes) -> OnionKey:
    if not data.startswith(_TOR_FILE):
        return OnionKey(data)
    if data.startswith(_TOR_PUBLIC_TAG):
        raise OnionKeyError("this is tor's public key: " + _LOOK_BESIDE)
    if not data.startswith(_TOR_SECRET_TAG):
        raise OnionKeyError("this is a file of tor's, but not the key of an onion service: give hs_ed25519_secret_key")
    if len(data) != len(_TOR_SECRET_TAG) + _KEY_LENGTH:
        raise _wrong_length(f"{len(data)} bytes")
    return OnionKey(data[len(_TOR_SECRET_TAG) :])


def _wrong_length(actual: str) -> OnionKeyError:
    return OnionKeyError(
        f"this is {actual} long: a private key is 64 bytes, 128 hexadecimal digits, or tor's file of 96 bytes; "
        "copy it again, byte for byte, " + _MAKE_NEW
    )


def _expand(seed: bytes) -> bytes:
    """RFC 8032 section 5.1.5, steps 1 and 2."""
    digest = hashlib.sha512(seed).digest()
    return ed25519.clamp(digest[:_SCALAR_LENGTH]) + digest[_SCALAR_LENGTH:]
