"""Tests of torfluxd.onion.key."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import pickle
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp, crypto_sign_seed_keypair
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import OnionKeyError
from torfluxd.onion.key import OnionKey, read_key

SECRET_TAG = b"== ed25519v1-secret: type0 ==\0\0\0"
PUBLIC_TAG = b"== ed25519v1-public: type0 ==\0\0\0"

VECTORS = {
    # From the tests of github.com/cretz/bine, go-torfluxdb's own key library.
    "48b9dee83fee6b0a948f6dfad7d19b79809de879f360fab252f17cff1cb3ff75"
    "cd5699209e89d023e2793505521a4a690f56f433cefea8eb54066557b1dec7df": (
        "2s2wk473fmotzgh6l2ycigrwegnurlzufatjm3bglrb36zbvlerskxad"
    ),
    "90f52ce5a3e8a8849955b834abb7285be98d08e0e570be0eee4d905853820b48"
    "0e4018839be8385f3e3c96ab9c03ba361c843780174be6b941ebeab5b45749c1": (
        "tmcpdbgklpbywqyjpr7fijvjl7qjihd7pyubosbeohefec2m2thvzoqd"
    ),
    "606cf0fc4c2972a7d66f9516230eb9d8fb38bd32aedfc5605fb428d7a5ef3968"
    "cd5902bd6267e0011622190d5761710028126fa2af31fab2856d0377146d45eb": (
        "nrcan5uye2fwazixubug6pzrzp6ofjez43bjcyfoxhgxyygxbhgs4zqd"
    ),
    # Made with PyNaCl. Its bytes begin and end with a space, on which other loaders have cut it short.
    "2059003018865e181cb85d3617e68445c46e699644abdc5c1e944b202e83666c"
    "45c29632812fb3382c6036f055fe8614bff73803421c91c4e97eae1f566d4c20": (
        "ora3r6blvf45wwyowaqnpig2z2klxbvdb4fhfvjhvnblip3tg6e3f5qd"
    ),
}
"""Expanded keys in go-torfluxdb's hexadecimal digits, and their addresses."""

EXPANDED = bytes.fromhex(next(iter(VECTORS)))
NAME = next(iter(VECTORS.values()))

SEED = bytes.fromhex("33a7e5c16e0308a3e6a0e7f4a621b3caad9ed1acdb3f78369b1377c5e6050278")
SEED_PUBLIC = bytes.fromhex("79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f")
"""A key as Go keeps it, as it was published with the first example address of rend-spec-v3."""


def expand(seed: bytes) -> bytes:
    """Expand a seed, by a way of its own."""
    digest = bytearray(hashlib.sha512(seed).digest())
    digest[0] &= 248
    digest[31] &= 63
    digest[31] |= 64
    return bytes(digest)


def name_of(expanded: bytes) -> str:
    """Compute an address with libsodium and the standard library."""
    public_key = crypto_scalarmult_ed25519_base_noclamp(expanded[:32])
    checksum = hashlib.sha3_256(b".onion checksum" + public_key + b"\3").digest()[:2]
    return base64.b32encode(public_key + checksum + b"\3").decode().lower()


def forms(expanded: bytes) -> list[bytes]:
    """A key in all the forms in which a vendor may hold it."""
    encoded = base64.b64encode(expanded)
    return [
        expanded,
        SECRET_TAG + expanded,
        expanded.hex().encode() + b"\n",
        b"ED25519-V3:" + encoded + b"\r\n",
        encoded + b"\n",
    ]


def misread(count: int) -> list[str]:
    """Read random keys in every form.

    :returns: those of which one form, or the address, came out wrong.
    """
    wrong = []
    for _ in range(count):
        expanded = expand(os.urandom(32))
        key, *others = map(read_key, forms(expanded))
        if key.hex() != expanded.hex() or key.address.name != name_of(expanded) or {key} != set(others):
            wrong.append(expanded.hex())
    return wrong


def refusal(data: bytes | str) -> str:
    """What is said of a key that is refused."""
    try:
        key = read_key(data)
    except OnionKeyError as error:
        return str(error)
    raise AssertionError(f"{data!r} was read as {key}")


def reveals(text: str) -> bool:
    """Whether four bytes in a row of a secret stand in a text, as hexadecimal, base64 or Python writes them."""
    for secret in (EXPANDED, SEED):
        for start in range(len(secret) - 3):
            part = secret[start : start + 4]
            if any(spelt in text for spelt in (part.hex(), base64.b64encode(part).decode()[:5], repr(part)[2:-1])):
                return True
    return False


def encodings(data: bytes) -> list[bytes | str]:
    """The same bytes as such, in hexadecimal, and in base64."""
    return [data, data.hex(), data.hex().upper() + "\n", base64.b64encode(data), base64.b64encode(data) + b"\n"]


class ReadingTests(SynchronousTestCase):
    """A key is read from every form, and yields its address."""

    def test_random_keys(self) -> None:
        """Of 2 000 random keys, in every form, none is read wrong."""
        self.assertEqual(misread(2_000), [])

    @pytest.mark.torture
    def test_very_many_random_keys(self) -> None:
        """Of 100 000 random keys, in every form, none is read wrong."""
        self.assertEqual(misread(100_000), [])

    def test_known_addresses(self) -> None:
        """Known keys, go-torfluxdb's among them, yield their known addresses from every form."""
        for digits, name in VECTORS.items():
            for form in forms(bytes.fromhex(digits)):
                self.assertEqual(read_key(form).address.hostname, f"{name}.onion")

    def test_white_space_in_binary(self) -> None:
        """A binary key that begins and ends with bytes that are white space in ASCII keeps them."""
        digits = list(VECTORS)[-1]
        expanded = bytes.fromhex(digits)
        self.assertEqual(expanded.strip(), expanded[1:-1])
        self.assertEqual(read_key(expanded).hex(), digits)
        self.assertEqual(read_key(SECRET_TAG + expanded).hex(), digits)

    def test_white_space_in_text(self) -> None:
        """Text may be wrapped, as base64 and xxd wrap it, and have white space around it."""
        key = OnionKey(EXPANDED)
        for text in (
            base64.encodebytes(EXPANDED).decode(),
            "\n".join(textwrap.wrap(EXPANDED.hex(), 60)),
            "ED25519-V3:" + base64.encodebytes(EXPANDED).decode(),
            f"\t {EXPANDED.hex()} \r\n\n",
        ):
            self.assertEqual(read_key(text), key)
            self.assertEqual(read_key(text.encode()), key)

    def test_tor_file_as_text(self) -> None:
        """Tor's key file may be wrapped in base64 or hexadecimal, as secret stores want it."""
        for form in encodings(SECRET_TAG + EXPANDED):
            self.assertEqual(read_key(form), OnionKey(EXPANDED))

    def test_spellings(self) -> None:
        """Upper or lower case where it has no meaning, and base64 with or without its padding, make no difference."""
        encoded = base64.b64encode(EXPANDED).decode()
        for text in (
            EXPANDED.hex().upper(),
            encoded.rstrip("="),
            f"ED25519-V3:{encoded.rstrip('=')}",
            f"ed25519-v3:{encoded}",
        ):
            self.assertEqual(read_key(text), OnionKey(EXPANDED))
            self.assertEqual(read_key(text.encode()), OnionKey(EXPANDED))


class WritingTests(SynchronousTestCase):
    """A key is given in every form that somebody wants."""

    def test_forms(self) -> None:
        """A key is written as go-torfluxdb, the control port and tor's HiddenServiceDir write it."""
        key = OnionKey(EXPANDED)
        self.assertEqual(key.hex(), EXPANDED.hex())
        self.assertEqual(key.control_blob(), f"ED25519-V3:{base64.b64encode(EXPANDED).decode()}")
        self.assertEqual(key.tor_secret_file(), SECRET_TAG + EXPANDED)
        self.assertEqual(key.tor_public_file(), PUBLIC_TAG + crypto_scalarmult_ed25519_base_noclamp(EXPANDED[:32]))
        self.assertEqual([len(key.tor_secret_file()), len(key.tor_public_file())], [96, 64])

    def test_round_trips(self) -> None:
        """What is written is read back as the same key."""
        key = OnionKey.generate()
        for form in (key.hex(), key.control_blob(), key.tor_secret_file()):
            self.assertEqual(read_key(form), key)

    def test_generate(self) -> None:
        """A new key is a whole one, and another each time."""
        keys = [OnionKey.generate() for _ in range(20)]
        self.assertEqual(len(set(keys)), 20)
        self.assertEqual([read_key(key.hex()) for key in keys], keys)
        self.assertEqual([key.address.name for key in keys], [name_of(bytes.fromhex(key.hex())) for key in keys])


class SecrecyTests(SynchronousTestCase):
    """A key does not get out by accident."""

    def test_printing(self) -> None:
        """However a key is printed, the address is seen and the key is not."""
        key = OnionKey(EXPANDED)
        for printed in (repr(key), str(key), f"{key}", f"{key!s:>200}", repr([key])):
            self.assertIn(NAME, printed)
            self.assertFalse(reveals(printed), printed)

    def test_pickling(self) -> None:
        """A key cannot be pickled or copied, with any protocol."""
        key = OnionKey(EXPANDED)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertRaises(TypeError, pickle.dumps, key, protocol)
        self.assertRaises(TypeError, copy.copy, key)
        self.assertRaises(TypeError, copy.deepcopy, {"key": key})

    def test_value(self) -> None:
        """Two keys are equal when they are the same key; nothing in one can be changed."""
        self.assertEqual(OnionKey(EXPANDED), OnionKey(EXPANDED))
        self.assertEqual(hash(OnionKey(EXPANDED)), hash(OnionKey(EXPANDED)))
        self.assertNotEqual(OnionKey(EXPANDED), OnionKey(EXPANDED[:-1] + b"\0"))
        self.assertRaises(AttributeError, setattr, OnionKey(EXPANDED), "_expanded", EXPANDED)


class RefusingTests(SynchronousTestCase):
    """What is not a key is recognised where it can be, and refused with a cure."""

    CURE = "torfluxd key new"
    LOOK = "hs_ed25519_secret_key"

    def check(self, data: bytes | str, words: str, cure: str = CURE) -> None:
        """Check that a refusal says what it sees and what to do, and nothing of the secrets above."""
        sentence = refusal(data)
        self.assertIn(words, sentence)
        self.assertIn(cure, sentence)
        self.assertFalse(reveals(sentence), sentence)

    def test_go_key(self) -> None:
        """A key of Go or SUPERCOP, as long as tor's, is recognised in every form."""
        key = SEED + SEED_PUBLIC
        for form in [*encodings(key), *encodings(SECRET_TAG + key), b"ED25519-V3:" + base64.b64encode(key)]:
            self.check(form, "Go and SUPERCOP")

    def test_clamped_go_key(self) -> None:
        """A key of Go's whose seed happens to look like a scalar is recognised too."""
        seed = expand(b"seed")[:32]
        self.check(seed + crypto_sign_seed_keypair(seed)[0], "Go and SUPERCOP")

    def test_seed(self) -> None:
        """A seed is recognised by its length in every form."""
        for form in [*encodings(SEED), b"ED25519-V3:" + base64.b64encode(SEED)]:
            self.check(form, "32 bytes long, as a seed is")

    def test_not_clamped(self) -> None:
        """A scalar that is not clamped is refused, whichever of its bits is wrong."""
        for index, bit in ((0, 1), (0, 2), (0, 4), (31, 64), (31, 128)):
            damaged = bytearray(EXPANDED)
            damaged[index] ^= bit
            for form in [*encodings(bytes(damaged)), SECRET_TAG + damaged]:
                self.check(form, "not clamped")

    def test_zeros(self) -> None:
        """A key of zeros is refused in every form."""
        for form in [*encodings(bytes(64)), SECRET_TAG + bytes(64)]:
            self.check(form, "all zeros")

    def test_wrong_lengths(self) -> None:
        """A key that lost or won a byte is refused with its length, and never cut to size."""
        for data in (EXPANDED[:-1], EXPANDED + b"\n", b"\n" + EXPANDED, EXPANDED * 2, b"\0"):
            for form in encodings(data):
                self.check(form, f"this is {len(data)} bytes long")
        for data in (SECRET_TAG + EXPANDED[:-1], SECRET_TAG + EXPANDED + b"\n", SECRET_TAG):
            self.check(data, f"this is {len(data)} bytes long")
        self.check(EXPANDED.hex()[:-1], "this is 127 hexadecimal digits long")
        self.check("ED25519-V3:" + base64.b64encode(EXPANDED[:63]).decode(), "this is 63 bytes long")

    def test_empty(self) -> None:
        """Nothing, or white space alone, is refused as such."""
        for data in (b"", "", b"\n", " \t\r\n"):
            self.check(data, "empty")

    def test_public_file(self) -> None:
        """Tor's public key, the file beside the right one, is recognised in every form."""
        for form in encodings(OnionKey(EXPANDED).tor_public_file()):
            self.check(form, "tor's public key", self.LOOK)

    def test_other_tor_file(self) -> None:
        """Another file of tor's is recognised as one."""
        self.check(b"== ed25519v1-cert: type4 ==\0\0\0\0\0" + bytes(104), "a file of tor's", self.LOOK)

    def test_hostname(self) -> None:
        """An onion address, as in tor's file hostname, is recognised, and tor's old ones too."""
        for data in (f"{NAME}.onion\n", f"{NAME}.onion", NAME, f"{NAME.upper()}.onion", "expyuzz4wqqyqhjn.onion\n"):
            self.check(data, "this is an onion address", self.LOOK)
            self.check(data.encode(), "this is an onion address", self.LOOK)

    def test_pem(self) -> None:
        """A PEM or OpenSSH key, private or public, is recognised."""
        for kind in ("PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY"):
            body = base64.encodebytes(SEED + EXPANDED).decode()
            self.check(f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n".encode(), "PEM or OpenSSH")
        self.check(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@home\n", "PEM or OpenSSH")

    def test_rsa(self) -> None:
        """The key of a version 2 onion service is recognised, as a file and as the control port gives it."""
        body = base64.encodebytes(EXPANDED * 9).decode()
        self.check(f"-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n".encode(), "version 2")
        self.check("RSA1024:" + base64.b64encode(EXPANDED * 9).decode(), "version 2")

    def test_client_key(self) -> None:
        """A key that lets a client in is not taken for the onion service's own."""
        public = base64.b32encode(SEED).decode().rstrip("=")
        for data in (
            f"descriptor:x25519:{public}\n",
            f"{NAME}:descriptor:x25519:{public}\n",
            "x25519:" + base64.b64encode(SEED).decode(),
        ):
            self.check(data, "x25519", self.LOOK)

    def test_other_text(self) -> None:
        """Text that is nothing of all this is refused with what was expected."""
        for data in (
            "this is my key, I promise",
            b"[Service]\nUser=tor\n",
            "ED25519-V3:",
            "NEW:ED25519-V3",
            "0x" + EXPANDED.hex(),
            "\N{LATIN SMALL LETTER E WITH ACUTE}" * 128,
            "\udcff",
        ):
            self.assertIn(self.CURE, refusal(data))

    def test_text_as_long_as_a_key(self) -> None:
        """A pass phrase of 64 characters is not taken for the 64 bytes of a key."""
        phrase = b"horses, staples and batteries make a pass phrase of this length!"
        self.assertEqual(len(phrase), 64)
        self.assertTrue(phrase[0] & 7 == 0 and phrase[31] & 192 == 64, "it would pass for clamped")
        self.check(phrase, "this is text")

    def test_not_in_the_constructor_either(self) -> None:
        """No OnionKey holds anything but a key."""
        for expanded in (b"", EXPANDED[:-1], bytes(64), SEED + SEED_PUBLIC, SEED):
            self.assertRaises(OnionKeyError, OnionKey, expanded)

    @settings(deadline=None)
    @given(st.binary() | st.binary(min_size=64, max_size=64) | st.text() | st.text("0123456789abcdef", max_size=130))
    def test_anything(self, data: bytes | str) -> None:
        """Whatever is given, the answer is a key or a refusal, never another exception."""
        try:
            self.assertIn(read_key(data).hex(), bytes_of(data).hex())
        except OnionKeyError as error:
            self.assertTrue(str(error))


def bytes_of(data: bytes | str) -> bytes:
    """The bytes that hypothesis made, or spelt in hexadecimal."""
    return data if isinstance(data, bytes) else bytes.fromhex(data)


class GoTorfluxdbTests(SynchronousTestCase):
    """Keys that go-torfluxdb printed."""

    # Made by the library that go-torfluxdb uses, github.com/cretz/bine, which names the address for each.
    MADE_BY_GO = (
        (
            "e00c6305e4a1e0cf05194fe990dc855676c5223ae93385fecf059770fc20be4a"
            "1d40db994a73976a4095c3697370aadca3a777a73691365e0c28ee91b9c19d90",
            "yamjdnjfgrletpazk75pwtzvre647hrxvienhwdejzl4h4xgx3s3whid.onion",
        ),
        (
            "88d7aeae4604c7b3051634bebe6381d0ed7adb5b399845d2cd993a660f9b746a"
            "76e966d0a02cf8a1ff3402972b0d9640cfd4a5036f2fb5b777535715382877db",
            "reogv2k2zzpi2bszyo3hsbctqkw35mmgr3pgcbo64e7ujkacdyzqgfid.onion",
        ),
        (
            "0899f93d8e2eeb2e17599ba1626f8c4116f5ddc56c44dae66a254fef3a10047e"
            "e729fead561ad8f8d58b943dde315ac7ea6ab7ee67bbcf5b1b757252c6d7f5e4",
            "p6xemq2lwzss7kksde3udvz4kptcqaakbpoynm2pcl5edrx4felr36qd.onion",
        ),
    )

    def test_the_address_is_the_same(self) -> None:
        """A key printed by go-torfluxdb gives the same address here, and is printed again as it was."""
        for printed, hostname in self.MADE_BY_GO:
            key = read_key(printed)
            self.assertEqual((hostname, printed), (key.address.hostname, key.hex()))
