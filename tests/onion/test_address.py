"""Tests of torfluxd.onion.address."""

from __future__ import annotations

import base64
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_core_ed25519_add
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import OnionAddressError
from torfluxd.onion.address import address_of, parse_onion_address

NAME = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd"
PUBLIC_KEY = bytes.fromhex("79bcc625184b05194975c28b66b66b0469f7f6556fb1ac3189a79b40dda32f1f")
"""The first example of rend-spec-v3 section 6, and its public key as published with it."""

MORE_NAMES = [
    "sp3k262uwy4r2k3ycr5awluarykdpag6a7y33jxop4cs2lu5uz5sseqd",
    "xa4r2iadxm55fbnqgwwi5mymqdcofiu3w6rpbtqn7b2dyn7mgwj64jyd",
    "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid",
]
"""Its other examples, and that of torproject.org."""

ORDER_EIGHT = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def spell(public_key: bytes, version: int = 3) -> str:
    """Write an address with the right checksum, by a way of its own."""
    tail = bytes([version])
    checksum = hashlib.sha3_256(b".onion checksum" + public_key + tail).digest()[:2]
    return base64.b32encode(public_key + checksum + tail).decode().lower() + ".onion"


def refusal(text: str) -> str:
    """What is said of an address that is refused."""
    try:
        address = parse_onion_address(text)
    except OnionAddressError as error:
        return str(error)
    raise AssertionError(f"{text!r} was read as {address}")


class ReadingTests(SynchronousTestCase):
    """An address is read in every way in which people write it."""

    def test_parts(self) -> None:
        """An address has a name, a hostname and the public key in it."""
        address = parse_onion_address(f"{NAME}.onion")
        self.assertEqual(address.name, NAME)
        self.assertEqual(address.hostname, f"{NAME}.onion")
        self.assertEqual(str(address), f"{NAME}.onion")
        self.assertEqual(address.public_key, PUBLIC_KEY)

    def test_examples(self) -> None:
        """Published addresses are accepted."""
        for name in MORE_NAMES:
            self.assertEqual(parse_onion_address(f"{name}.onion").name, name)

    def test_spellings(self) -> None:
        """Upper case, white space around it and sub-domains make no difference."""
        address = address_of(PUBLIC_KEY)
        for text in (
            f"{NAME}.onion",
            f"{NAME.upper()}.ONION",
            f"{NAME.title()}.Onion",
            f"{NAME}.onion\n",
            f"  {NAME}.onion\r\n",
            f"www.{NAME}.onion",
            f"a.b.c.{NAME}.onion",
            f"x.onion.{NAME}.onion",
        ):
            self.assertEqual(parse_onion_address(text), address, text)

    @settings(deadline=None)
    @given(st.binary(min_size=32, max_size=32))
    def test_computing(self, public_key: bytes) -> None:
        """The address computed from a public key is the one that the specification spells."""
        self.assertEqual(address_of(public_key).hostname, spell(public_key))


class RefusingTests(SynchronousTestCase):
    """What is no address is refused, with a sentence that says what is wrong."""

    def test_sentences(self) -> None:
        """Each mistake has a sentence of its own."""
        mistakes = {
            "does not end in .onion": NAME,
            "version 2": "expyuzz4wqqyqhjn.onion",
            "this has 55": f"{NAME[1:]}.onion",
            "other characters": f"{NAME[:-1]}1.onion",
            "of version 4": spell(PUBLIC_KEY, version=4),
            "checksum of this onion address is wrong": f"q{NAME[1:]}.onion",
            "not valid": spell(bytes(32)),
        }
        for words, text in mistakes.items():
            self.assertIn(words, refusal(text))
        self.assertEqual(len({refusal(text) for text in mistakes.values()}), len(mistakes))

    def test_no_suffix(self) -> None:
        """A URL, a port, another domain and a trailing dot are refused: they are not the name alone."""
        for text in (
            "",
            "onion",
            "example.com",
            f"http://{NAME}.onion/",
            f"{NAME}.onion:80",
            f"{NAME}.onion.",
            f"{NAME}.onion.example.com",
            f"{NAME}.on\N{LATIN SMALL LETTER DOTLESS I}on",
        ):
            self.assertIn("does not end in .onion", refusal(text), text)

    def test_wrong_length(self) -> None:
        """An address that is cut, doubled or empty is refused with its length."""
        for name in ("", NAME[:-1], NAME * 2, f"www.{NAME}."):
            self.assertIn(f"this has {len(name.rpartition('.')[2])};", refusal(f"{name}.onion"))

    def test_wrong_characters(self) -> None:
        """What is not base32 is refused: padding, digits that it does not have, letters that only look like its."""
        look_alikes = "\N{KELVIN SIGN}\N{CYRILLIC SMALL LETTER A}\N{LATIN SMALL LETTER DOTLESS I}"
        for character in "=0189-_ \0" + look_alikes:
            self.assertIn("other characters", refusal(f"{NAME[:-1]}{character}.onion"), repr(character))
            self.assertIn("other characters", refusal(f"a{character}{NAME[2:]}.onion"), repr(character))

    def test_one_mistyped_character(self) -> None:
        """One mistyped character, whichever it is, never leads to another onion service."""
        for index, right in enumerate(NAME):
            for wrong in "abcdefghijklmnopqrstuvwxyz234567":
                if wrong != right:
                    refusal(f"{NAME[:index]}{wrong}{NAME[index + 1 :]}.onion")

    def test_not_a_public_key(self) -> None:
        """A right checksum around what cannot be a public key is refused, as tor refuses it."""
        off_the_curve = (2).to_bytes(32, "little")
        for public_key in (off_the_curve, ORDER_EIGHT, crypto_core_ed25519_add(PUBLIC_KEY, ORDER_EIGHT)):
            self.assertIn("not valid", refusal(spell(public_key)))

    def test_privacy(self) -> None:
        """A refusal does not repeat the address, so that a log does not tell where somebody wanted to go."""
        for text in (f"{NAME}.com", f"{NAME[1:]}.onion", f"{NAME[:-1]}e.onion", f"{NAME[:-1]}1.onion"):
            self.assertNotIn(NAME[1:9], refusal(text))

    @settings(deadline=None)
    @given(st.text() | st.text().map("{}.onion".format) | st.text(min_size=56, max_size=56).map("{}.onion".format))
    def test_any_text(self, text: str) -> None:
        """Whatever is given, the answer is a refusal in words, never another exception."""
        self.assertTrue(refusal(text))
