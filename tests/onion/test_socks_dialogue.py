"""What is said to a SOCKS5 proxy, byte by byte."""

from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.socks_proxy import (
    CREDENTIALS,
    GREETING,
    ISOLATION,
    LET_IN,
    METHOD_CHOSEN,
    ONION,
    OPENED,
    REFUSED,
    REQUEST,
)
from torfluxd import errors
from torfluxd.onion.socks_dialogue import Isolation, reply_error, socks_dialogue

NAMED_REPLIES = {
    0x01: errors.SocksGeneralFailureError,
    0x02: errors.SocksNotAllowedError,
    0x03: errors.SocksNetworkUnreachableError,
    0x04: errors.SocksHostUnreachableError,
    0x05: errors.SocksConnectionRefusedError,
    0x06: errors.SocksTtlExpiredError,
    0x07: errors.SocksCommandError,
    0x08: errors.SocksAddressTypeError,
    0xF0: errors.SocksOnionDescriptorNotFoundError,
    0xF1: errors.SocksOnionDescriptorInvalidError,
    0xF2: errors.SocksOnionIntroductionFailedError,
    0xF3: errors.SocksOnionRendezvousFailedError,
    0xF4: errors.SocksOnionClientAuthMissingError,
    0xF5: errors.SocksOnionClientAuthWrongError,
    0xF6: errors.SocksOnionBadAddressError,
    0xF7: errors.SocksOnionIntroductionTimeoutError,
}

LONGEST_REPLY = 4 + 1 + 255 + 2

Dialogue = Generator[bytes, bytes, bytes]


def begun() -> Dialogue:
    """A dialogue whose greeting was sent."""
    dialogue = socks_dialogue(ONION, 80, ISOLATION)
    next(dialogue)
    return dialogue


def said(dialogue: Dialogue, *received: bytes) -> tuple[bytes, bytes | None]:
    """Let the proxy speak.

    :returns: what is answered, all of it; and what came after the reply, or None while the stream is not open.
    """
    sent = b""
    for data in received:
        try:
            sent += dialogue.send(data)
        except StopIteration as end:
            return sent, end.value
    return sent, None


def cut(data: bytes, where: set[int]) -> list[bytes]:
    """Cut bytes into pieces, none of them empty."""
    edges = [0, *sorted(edge for edge in where if 0 < edge < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


bound_addresses = st.one_of(
    st.binary(min_size=4, max_size=4).map(lambda address: b"\x01" + address),
    st.binary(min_size=16, max_size=16).map(lambda address: b"\x04" + address),
    st.binary(max_size=255).map(lambda name: bytes((3, len(name))) + name),
)
cuts = st.sets(st.integers(1, LONGEST_REPLY + 20))


class ConversationTests(SynchronousTestCase):
    """A stream is asked for, and opened."""

    def test_every_byte(self) -> None:
        """The proxy is offered username and password only, and asked for the onion service by name."""
        dialogue = socks_dialogue(ONION, 80, ISOLATION)
        self.assertEqual(next(dialogue), GREETING)
        self.assertEqual(dialogue.send(METHOD_CHOSEN), CREDENTIALS)
        self.assertEqual(dialogue.send(LET_IN), REQUEST)
        self.assertEqual(said(dialogue, OPENED), (b"", b""))

    def test_longest_credentials_and_highest_port(self) -> None:
        """Credentials of 255 bytes and port 65535 are sent whole."""
        dialogue = socks_dialogue(ONION, 65535, Isolation(b"u" * 255, b"p" * 255))
        next(dialogue)
        self.assertEqual(dialogue.send(METHOD_CHOSEN), b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255)
        self.assertTrue(dialogue.send(LET_IN).endswith(b".onion\xff\xff"))

    @given(bound=bound_addresses, port=st.binary(min_size=2, max_size=2), early=st.binary(max_size=20), data=st.data())
    def test_any_split(self, bound: bytes, port: bytes, early: bytes, data: st.DataObject) -> None:
        """However the proxy's words are cut on their way, the stream opens, and its first bytes are not lost."""
        dialogue = begun()
        self.assertEqual(said(dialogue, *cut(METHOD_CHOSEN, data.draw(cuts))), (CREDENTIALS, None))
        self.assertEqual(said(dialogue, *cut(LET_IN, data.draw(cuts))), (REQUEST, None))
        reply = b"\x05\x00\x00" + bound + port
        pieces = iter(cut(reply + early, data.draw(cuts)))
        rest = None
        while rest is None:
            sent, rest = said(dialogue, next(pieces))
            self.assertEqual(sent, b"")
        self.assertEqual(rest + b"".join(pieces), early)

    def test_waits_for_the_whole_reply(self) -> None:
        """The stream is not taken for open before the last byte of the reply is here."""
        dialogue = begun()
        said(dialogue, METHOD_CHOSEN, LET_IN)
        for byte in cut(OPENED, set(range(1, 10)))[:-1]:
            self.assertEqual(said(dialogue, byte), (b"", None))
        self.assertEqual(said(dialogue, OPENED[-1:]), (b"", b""))

    @given(st.lists(st.binary(min_size=1, max_size=400), max_size=6))
    def test_any_garbage(self, pieces: list[bytes]) -> None:
        """Whatever a proxy says, it opens a stream, or is refused by name, or is waited for: nothing else happens."""
        try:
            said(begun(), *pieces)
        except errors.SocksError as error:
            self.assertTrue(str(error))

    @given(st.lists(st.binary(min_size=1, max_size=400), max_size=6), bound_addresses)
    def test_little_is_kept(self, pieces: list[bytes], bound: bytes) -> None:
        """No proxy can make us wait for more than the longest reply that SOCKS5 has."""
        dialogue = begun()
        said(dialogue, METHOD_CHOSEN, LET_IN)
        kept = 0
        for piece in [b"\x05\x00\x00" + bound[:1], *pieces]:
            kept += len(piece)
            if said(dialogue, piece)[1] is not None:
                return
            self.assertLess(kept, LONGEST_REPLY)


class RefusalTests(SynchronousTestCase):
    """A proxy that refuses, or is none."""

    def test_named_replies(self) -> None:
        """Each reply code that RFC 1928 and tor know has an error of its own, with a sentence of its own."""
        texts = set()
        for code, kind in NAMED_REPLIES.items():
            error = reply_error(code)
            self.assertIs(type(error), kind)
            texts.add(str(error))
        self.assertEqual(len(texts), len(NAMED_REPLIES))

    def test_unknown_replies(self) -> None:
        """A reply code that nobody knows is an error with its number."""
        for code in set(range(1, 256)) - set(NAMED_REPLIES):
            error = reply_error(code)
            self.assertIs(type(error), errors.SocksError)
            self.assertIn(f"0x{code:02X}", str(error))

    def test_code_is_enough(self) -> None:
        """A refusal is known with its second byte: nobody waits for an address that means nothing."""
        for code, kind in NAMED_REPLIES.items():
            dialogue = begun()
            said(dialogue, METHOD_CHOSEN, LET_IN, b"\x05")
            self.assertRaises(kind, dialogue.send, bytes((code,)))

    def test_refused_in_one_piece(self) -> None:
        """A refusal that arrives whole is the same refusal."""
        dialogue = begun()
        said(dialogue, METHOD_CHOSEN, LET_IN)
        self.assertRaises(errors.SocksOnionDescriptorNotFoundError, dialogue.send, REFUSED)

    def test_no_isolation(self) -> None:
        """A proxy that takes no username and password gets nothing: isolation is never lost unnoticed."""
        for method in (0x00, 0x01, 0x03, 0xFF):
            self.assertRaises(errors.SocksAuthenticationError, begun().send, bytes((5, method)))

    def test_credentials_refused(self) -> None:
        """A proxy that refuses the credentials is an error of authentication."""
        for status in (0x01, 0xFF):
            dialogue = begun()
            said(dialogue, METHOD_CHOSEN)
            self.assertRaises(errors.SocksAuthenticationError, dialogue.send, bytes((1, status)))

    def test_other_protocols(self) -> None:
        """What does not speak SOCKS5 is known by the first byte that it gets wrong, at each step."""
        for so_far, version in (((), 5), ((METHOD_CHOSEN,), 1), ((METHOD_CHOSEN, LET_IN), 5)):
            for wrong in set(range(256)) - {version}:
                dialogue = begun()
                said(dialogue, *so_far)
                self.assertRaises(errors.SocksProtocolError, dialogue.send, bytes((wrong,)))

    def test_answers_too_much(self) -> None:
        """A proxy that answers before it was asked is none."""
        self.assertRaises(errors.SocksProtocolError, begun().send, METHOD_CHOSEN + LET_IN)
        dialogue = begun()
        said(dialogue, METHOD_CHOSEN)
        self.assertRaises(errors.SocksProtocolError, dialogue.send, LET_IN + OPENED)

    def test_unknown_address_kinds(self) -> None:
        """A reply with an address of a kind that SOCKS5 does not have cannot be read to its end, so it is refused."""
        for kind in set(range(256)) - {1, 3, 4}:
            dialogue = begun()
            said(dialogue, METHOD_CHOSEN, LET_IN)
            self.assertRaises(errors.SocksProtocolError, dialogue.send, bytes((5, 0, 0, kind, 0)))


class IsolationTests(SynchronousTestCase):
    """What streams may share a circuit."""

    def test_fresh(self) -> None:
        """Fresh isolations differ, in 128 random bits each."""
        names = {Isolation.fresh().username for _ in range(100)}
        self.assertEqual(len(names), 100)
        self.assertEqual({len(bytes.fromhex(name.decode())) for name in names}, {16})

    def test_repr(self) -> None:
        """Nobody finds credentials in a log."""
        for text in (repr(ISOLATION), str(ISOLATION)):
            self.assertNotIn("user", text)
            self.assertNotIn("password", text)

    def test_lengths(self) -> None:
        """Username and password have 1 to 255 bytes, as RFC 1929 says; others are refused without being shown."""
        Isolation(b"u", b"p" * 255)
        for username, password in ((b"", b"p"), (b"u", b""), (b"u" * 256, b"p"), (b"u", b"p" * 256)):
            error = self.assertRaises(ValueError, Isolation, username, password)
            self.assertNotIn("uu", str(error))
            self.assertNotIn("pp", str(error))

    def test_reserved(self) -> None:
        """A username that tor takes for an instruction is refused: tor would close the connection, or worse."""
        for username in (b"<torS0X>", b"<torS0X>0", b"<torS0X>1more"):
            self.assertRaises(ValueError, Isolation, username, b"p")
        Isolation(b"x<torS0X>", b"<torS0X>")
