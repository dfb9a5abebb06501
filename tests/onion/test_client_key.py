"""Tests of torfluxd.onion.client_key and torfluxd.onion.client_keyfile."""

from __future__ import annotations

import base64
import copy
import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from torfluxd.errors import ClientKeyError
from torfluxd.onion.authorization import hand_over
from torfluxd.onion.client_key import ClientKey, PrivateLine, auth_line, read_auth_line, read_private_line
from torfluxd.onion.client_keyfile import client_key_path, load_client_key_file, new_client_key_file
from torfluxd.onion.key import OnionKey
from torfluxd.onion.process import find_tor
from torfluxd.onion.sources import LaunchedTor, OpenTor

ADDRESS = OnionKey.generate().address

BOB_PRIVATE = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
"""RFC 7748 section 6.1."""

SMALL_ORDER = (
    bytes(32),
    bytes((1, *bytes(31))),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
)
"""Points with which every private key agrees on the same secret, which is no secret (RFC 7748 section 6.1)."""


def base32(data: bytes) -> str:
    """As tor writes it."""
    return base64.b32encode(data).decode().rstrip("=")


class LineTests(SynchronousTestCase):
    """The two halves of a key, as tor writes them."""

    def test_a_known_key(self) -> None:
        """The public half of a private key is the one that the standard says, in tor's formats."""
        key = ClientKey(BOB_PRIVATE)
        self.assertEqual(auth_line(key.public), f"descriptor:x25519:{base32(BOB_PUBLIC)}")
        self.assertEqual(key.private_line(ADDRESS), f"{ADDRESS.name}:descriptor:x25519:{base32(BOB_PRIVATE)}")
        self.assertEqual(key.control_blob(), f"x25519:{base64.b64encode(BOB_PRIVATE).decode()}")

    @given(st.binary(min_size=32, max_size=32))
    def test_any_key(self, private: bytes) -> None:
        """Every private key has the public half that another library computes, and is read back as it was written."""
        key = ClientKey(private)
        self.assertEqual(key.public, base32(bytes(PrivateKey(private).public_key)))
        self.assertEqual(read_auth_line(auth_line(key.public)), key.public)
        self.assertEqual(read_private_line(key.private_line(ADDRESS)), PrivateLine(ADDRESS, key))

    def test_new_each_time(self) -> None:
        """Two new keys differ."""
        self.assertNotEqual(ClientKey.generate().public, ClientKey.generate().public)

    def test_what_does_no_harm(self) -> None:
        """White space around a line, small letters, padding, and `.onion` after the address do no harm."""
        key = ClientKey(BOB_PRIVATE)
        for line in (f" {auth_line(key.public)}\r\n", auth_line(key.public).lower(), f"{auth_line(key.public)}===="):
            self.assertEqual(read_auth_line(line), key.public)
        for line in (
            f"{key.private_line(ADDRESS)}\n",
            key.private_line(ADDRESS).replace(":", ".onion:", 1),
            key.private_line(ADDRESS).lower(),
        ):
            self.assertEqual(read_private_line(line).key, key)

    def test_nothing_shows_it(self) -> None:
        """Printing a key, or what holds it, shows nothing of it, and it is neither pickled nor copied."""
        key = ClientKey(BOB_PRIVATE)
        for shown in (repr(key), str(key), f"{PrivateLine(ADDRESS, key)}"):
            for secret in (BOB_PRIVATE.hex()[:8], base32(BOB_PRIVATE)[:8], repr(BOB_PRIVATE)[2:10]):
                self.assertNotIn(secret, shown)
        self.assertRaises(TypeError, pickle.dumps, key)
        self.assertRaises(TypeError, copy.copy, key)


class MistakenLineTests(SynchronousTestCase):
    """What is no line is refused, with the cure, and never repeated."""

    def refusal(self, read: object, text: str) -> str:
        """What is said of it."""
        error = self.assertRaises(ClientKeyError, read, text)
        for secret in (base32(BOB_PRIVATE), base32(BOB_PUBLIC), base64.b64encode(BOB_PRIVATE).decode()):
            self.assertNotIn(secret[:8], str(error))
        return str(error)

    def test_a_private_key_at_the_gateway(self) -> None:
        """A private key in place of a public one is recognised, and said to be in the wrong hands."""
        said = self.refusal(read_auth_line, ClientKey(BOB_PRIVATE).private_line(ADDRESS))
        self.assertIn("must not have", said)
        self.assertIn("torfluxd key client show", said)

    def test_a_public_key_at_the_client(self) -> None:
        """A public key in place of a private one is recognised."""
        self.assertIn(".auth_private", self.refusal(read_private_line, auth_line(ClientKey(BOB_PRIVATE).public)))

    def test_no_auth_lines(self) -> None:
        """Anything else than tor's one line is refused."""
        good = auth_line(base32(BOB_PUBLIC))
        for text in (
            *("", "\n", base32(BOB_PUBLIC), f"x25519:{base32(BOB_PUBLIC)}", f"{good}\n{good}", f"{good} alice"),
            *(
                good[:-1],
                f"{good}A",
                f"{good}=",
                good.replace("descriptor", "intro"),
                good.replace("x25519", "ed25519"),
            ),
            f"descriptor:x25519:{base64.b64encode(BOB_PUBLIC).decode()}",
        ):
            self.refusal(read_auth_line, text)

    def test_public_keys_that_are_none(self) -> None:
        """A public key with which everybody could open the descriptor is refused."""
        for point in SMALL_ORDER:
            self.assertIn("belongs to no private one", self.refusal(read_auth_line, auth_line(base32(point))))

    def test_no_private_lines(self) -> None:
        """Anything else than tor's one line is refused, an address that cannot be right included."""
        good = ClientKey(BOB_PRIVATE).private_line(ADDRESS)
        for text in ("", base32(BOB_PRIVATE), good[:-1], f"{good}\n{good}", good.replace("descriptor", "intro")):
            self.refusal(read_private_line, text)
        wrong = "a" if ADDRESS.name[0] != "a" else "b"
        self.assertIn("checksum", self.refusal(read_private_line, wrong + good[1:]))

    def test_wrong_length(self) -> None:
        """31 bytes are no key."""
        self.assertRaises(ClientKeyError, ClientKey, BOB_PRIVATE[:31])


class FileTests(SynchronousTestCase):
    """The file with the private key."""

    def setUp(self) -> None:
        """Have an empty directory."""
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        self.path = self.directory / "alice.auth_private"

    def refusal(self) -> str:
        """What is said of it; it names the file."""
        error = self.assertRaises(ClientKeyError, load_client_key_file, self.path)
        self.assertTrue(str(error).startswith(f"{self.path}: "))
        return str(error)

    def test_new(self) -> None:
        """A new file holds the key and the address, as tor wants it, for its owner alone, and is read without a
        warning.
        """
        key = new_client_key_file(self.path, ADDRESS)
        self.assertEqual(self.path.read_text(), f"{key.private_line(ADDRESS)}\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        loaded = load_client_key_file(self.path)
        self.assertEqual((loaded.line, loaded.warnings), (PrivateLine(ADDRESS, key), ()))

    def test_suffix(self) -> None:
        """A file has the suffix without which tor would pass over it."""
        self.assertEqual(client_key_path(Path("/x/alice")), Path("/x/alice.auth_private"))
        self.assertEqual(client_key_path(Path("alice.auth_private")), Path("alice.auth_private"))

    def test_never_over_another(self) -> None:
        """A key is never overwritten, and what cannot be written is said."""
        new_client_key_file(self.path, ADDRESS)
        before = self.path.read_text()
        error = self.assertRaises(ClientKeyError, new_client_key_file, self.path, ADDRESS)
        self.assertIn("never overwritten", str(error))
        self.assertEqual((self.path.read_text(), list(self.directory.iterdir())), (before, [self.path]))
        error = self.assertRaises(ClientKeyError, new_client_key_file, self.directory / "none" / "a", ADDRESS)
        self.assertIn("cannot be written", str(error))

    def test_refusals(self) -> None:
        """A file that is missing, that others may read, or that holds something else is refused by name."""
        self.assertIn("torfluxd key client new", self.refusal())
        self.path.write_text("nonsense")
        self.path.chmod(0o600)
        self.assertIn("expected one line", self.refusal())
        self.path.chmod(0o644)
        self.assertIn("chmod 600", self.refusal())
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("is a directory", self.refusal())

    def test_a_group_that_may_read_it(self) -> None:
        """A file that its group may read is a warning, for Debian's group debian-tor may have to."""
        new_client_key_file(self.path, ADDRESS)
        self.path.chmod(0o640)
        self.assertEqual(len(load_client_key_file(self.path).warnings), 1)


class RealTorTests(TestCase):
    """What a real tor makes of it."""

    async def tor(self, *options: str) -> OpenTor:
        """A tor that stays offline."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        directory = Path(temporary.name) / "tor"
        source = LaunchedTor(reactor, directory, find_tor(None), options=("DisableNetwork 1", *options), hear=print)
        tor = await source.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(tor.close()))
        return tor

    async def test_tor_takes_the_file(self) -> None:
        """Tor reads our file in its ClientOnionAuthDir, and holds that key for that address."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        key = new_client_key_file(client_key_path(Path(temporary.name) / "alice"), ADDRESS)
        tor = await self.tor(f"ClientOnionAuthDir {temporary.name}")
        held = await tor.control.command("ONION_CLIENT_AUTH_VIEW")
        self.assertIn(f"CLIENT {ADDRESS.name} {key.control_blob()}", held)

    async def test_tor_takes_the_key(self) -> None:
        """Tor takes the key over its control port, and takes it again when it has it."""
        tor, key = await self.tor(), ClientKey.generate()
        for _ in range(2):
            await hand_over(tor.control, PrivateLine(ADDRESS, key))
        held = await tor.control.command("ONION_CLIENT_AUTH_VIEW")
        self.assertEqual(held.count(f"CLIENT {ADDRESS.name} {key.control_blob()}"), 1)
