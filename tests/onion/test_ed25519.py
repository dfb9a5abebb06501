"""Tests of torfluxd.onion.ed25519, against RFC 8032 and against libsodium."""

from __future__ import annotations

import hashlib

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
)
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion import ed25519

RFC_8032_VECTORS = {
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ),
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    ),
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
    ),
    "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5": (
        "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e"
    ),
}
"""Section 7.1: secret key (a seed) and public key of the tests 1, 2, 3 and 1024."""

SMALL_ORDER = [
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
"""The eight points of order 1, 2, 4 and 8."""

BASE_POINT = bytes.fromhex("58" + "66" * 31)


class PublicKeyTests(SynchronousTestCase):
    """A scalar becomes the public key that everybody else computes from it."""

    def test_rfc_8032(self) -> None:
        """The vectors of RFC 8032 come out."""
        for seed, expected in RFC_8032_VECTORS.items():
            scalar = ed25519.clamp(hashlib.sha512(bytes.fromhex(seed)).digest()[:32])
            self.assertEqual(ed25519.public_key(scalar).hex(), expected)

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32))
    def test_any_scalar(self, scalar: bytes) -> None:
        """Every 32 bytes give what libsodium gives for them, above the order of the group too."""
        reduced = crypto_core_ed25519_scalar_reduce(scalar + bytes(32))
        assume(any(reduced))
        self.assertEqual(ed25519.public_key(scalar), crypto_scalarmult_ed25519_base_noclamp(reduced))

    def test_every_bit(self) -> None:
        """The largest scalar carries out of its last bit, and comes out right."""
        reduced = crypto_core_ed25519_scalar_reduce(b"\xff" * 32 + bytes(32))
        self.assertEqual(ed25519.public_key(b"\xff" * 32), crypto_scalarmult_ed25519_base_noclamp(reduced))


class ClampTests(SynchronousTestCase):
    """A clamped scalar is known from another one."""

    def test_clamp(self) -> None:
        """Clamping clears the three lowest bits and the highest, and sets the second highest."""
        self.assertEqual(ed25519.clamp(b"\xff" * 32), b"\xf8" + b"\xff" * 30 + b"\x7f")
        self.assertEqual(ed25519.clamp(bytes(32)), bytes(31) + b"\x40")

    def test_is_clamped(self) -> None:
        """Each of the five bits, when wrong, is noticed; the others are free."""
        clamped = int.from_bytes(ed25519.clamp(b"\xa5" * 32), "little")
        unclamping = [bit for bit in range(256) if not ed25519.is_clamped((clamped ^ 1 << bit).to_bytes(32, "little"))]
        self.assertEqual(unclamping, [0, 1, 2, 254, 255])


class IsPublicKeyTests(SynchronousTestCase):
    """A point that can be a public key is known from other bytes, as libsodium and tor know it."""

    def test_public_keys(self) -> None:
        """Public keys are public keys."""
        for public_key in (BASE_POINT, *map(bytes.fromhex, RFC_8032_VECTORS.values())):
            self.assertTrue(ed25519.is_public_key(public_key), public_key.hex())

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32))
    def test_any_bytes(self, encoded: bytes) -> None:
        """Of any 32 bytes we say what libsodium says."""
        self.assertEqual(ed25519.is_public_key(encoded), crypto_core_ed25519_is_valid_point(encoded))

    def test_small_order(self) -> None:
        """Points of small order are refused, and so is a public key with one of them added."""
        for small in SMALL_ORDER:
            self.assertFalse(ed25519.is_public_key(small), small.hex())
        for small in SMALL_ORDER[1:]:
            mixed = crypto_core_ed25519_add(BASE_POINT, small)
            self.assertFalse(ed25519.is_public_key(mixed), mixed.hex())

    def test_not_canonical(self) -> None:
        """A second way to write a point is refused, so that an onion service has one address."""
        prime, sign = 2**255 - 19, 2**255
        too_large = [prime + y | signed for y in range(19) for signed in (0, sign)]
        zero_with_a_sign = [1 | sign, prime - 1 | sign]
        for number in too_large + zero_with_a_sign:
            self.assertFalse(ed25519.is_public_key(number.to_bytes(32, "little")), hex(number))
