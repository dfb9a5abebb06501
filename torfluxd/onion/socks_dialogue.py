"""What is said to a SOCKS5 proxy to open a stream to an onion service: bytes in, bytes out, no I/O.

Written from RFC 1928 (SOCKS5), RFC 1929 (username and password), and Tor's "SOCKS extensions" with proposals 304
(extended errors) and 351 (reserved usernames).
"""

from __future__ import annotations

import secrets
from collections.abc import Generator

from attrs import Attribute, field, frozen

from torfluxd.errors import (
    SocksAddressTypeError,
    SocksAuthenticationError,
    SocksCommandError,
    SocksConnectionRefusedError,
    SocksError,
    SocksGeneralFailureError,
    SocksHostUnreachableError,
    SocksNetworkUnreachableError,
    SocksNotAllowedError,
    SocksOnionBadAddressError,
    SocksOnionClientAuthMissingError,
    SocksOnionClientAuthWrongError,
    SocksOnionDescriptorInvalidError,
    SocksOnionDescriptorNotFoundError,
    SocksOnionIntroductionFailedError,
    SocksOnionIntroductionTimeoutError,
    SocksOnionRendezvousFailedError,
    SocksProtocolError,
    SocksTtlExpiredError,
)
from torfluxd.onion.address import OnionAddress

__all__ = ["Isolation", "reply_error", "socks_dialogue", "tor_dialogue"]

_LONGEST_CREDENTIAL_BYTES = 255
"""RFC 1929 gives their lengths one byte each."""

_RESERVED_USERNAME = b"<torS0X>"
"""What begins with it is not a name but an instruction to tor, since 0.4.9.1 (proposal 351)."""

_SOCKS = 5
_AUTHENTICATION = 1
_USERNAME_AND_PASSWORD = 2
_CONNECT = 1
_RESOLVE = 0xF0
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SUCCEEDED = 0
_HOST_UNREACHABLE = 4
_NOBODY = (192, 0, 2, 1)


def _check_credential(_: object, attribute: Attribute[bytes], value: bytes) -> None:
    if not 1 <= len(value) <= _LONGEST_CREDENTIAL_BYTES:
        raise ValueError(f"a SOCKS {attribute.name} has 1 to {_LONGEST_CREDENTIAL_BYTES} bytes")


@frozen
class Isolation:
    """What a stream may share a circuit with: only streams of the same isolation.

    Tor takes any username and password, and never lets streams that differ in them share a circuit
    (`IsolateSOCKSAuth`, on unless somebody turned it off). `repr` shows neither.

    :ivar username: 1 to 255 bytes; not beginning with `<torS0X>`, which tor reserves.
    :ivar password: 1 to 255 bytes.
    :raises ValueError: one of them is not like that.
    """

    username: bytes = field(repr=False, validator=_check_credential)
    password: bytes = field(repr=False, validator=_check_credential)

    def __attrs_post_init__(self) -> None:
        if self.username.startswith(_RESERVED_USERNAME):
            raise ValueError("tor reserves SOCKS usernames that begin with <torS0X>")

    @classmethod
    def fresh(cls) -> Isolation:
        """An isolation that nobody else has: 128 random bits, so a circuit of one's own."""
        return cls(secrets.token_hex(16).encode("ascii"), b"fresh")


_REPLIES: dict[int, tuple[type[SocksError], str]] = {
    0x01: (SocksGeneralFailureError, "tor could not open the stream and does not say why; its log may"),
    0x02: (SocksNotAllowedError, "the rules of tor's SOCKS port forbid it; is NoOnionTraffic set there?"),
    0x03: (SocksNetworkUnreachableError, "tor cannot reach its network; is this machine online?"),
    0x04: (
        SocksHostUnreachableError,
        "the onion service cannot be reached; it is offline, or its address is no longer in use"
        " (ExtendedErrors on the SocksPort lets tor say which)",
    ),
    0x05: (SocksConnectionRefusedError, "the onion service refused the connection; is it the right port?"),
    0x06: (SocksTtlExpiredError, "tor could not open the stream in time; has it joined its network? Try again"),
    0x07: (SocksCommandError, "the proxy does not know the command CONNECT; is it tor's SOCKS port?"),
    0x08: (SocksAddressTypeError, "the proxy takes no host names; is it tor's SOCKS port?"),
    0xF0: (
        SocksOnionDescriptorNotFoundError,
        "no descriptor of the onion service was found; it is offline, or its address is no longer in use",
    ),
    0xF1: (
        SocksOnionDescriptorInvalidError,
        "the descriptor of the onion service cannot be read or verified; is this tor up to date?",
    ),
    0xF2: (
        SocksOnionIntroductionFailedError,
        "no introduction point of the onion service let us in; it was restarted or is offline: try again in a minute",
    ),
    0xF3: (SocksOnionRendezvousFailedError, "the onion service did not come to the rendezvous; try again"),
    0xF4: (
        SocksOnionClientAuthMissingError,
        "the onion service is private, and tor holds no key for it; put the file NAME.auth_private with a key that its"
        " owner lets in into a directory, and name that in torrc: ClientOnionAuthDir DIR",
    ),
    0xF5: (
        SocksOnionClientAuthWrongError,
        "the onion service is private, and does not let in the key that tor holds for it, which was revoked or never"
        " added; make a new one (NAME.auth_private in tor's ClientOnionAuthDir), and give its owner the public line",
    ),
    0xF6: (SocksOnionBadAddressError, "tor does not take the address for one of an onion service"),
    0xF7: (
        SocksOnionIntroductionTimeoutError,
        "the introduction to the onion service timed out; it is overloaded, or the network is slow: try again",
    ),
}
"""RFC 1928 section 6; from 0xF0 on proposal 304, which tor speaks on a SocksPort with `ExtendedErrors`."""


def reply_error(code: int) -> SocksError:
    """What a reply code other than 0x00 means: an error of its own, or a plain one with the code in its text."""
    kind, text = _REPLIES.get(code, (SocksError, f"the proxy answered with the unknown code 0x{code:02X}"))
    return kind(text)


def socks_dialogue(address: OnionAddress, port: int, isolation: Isolation) -> Generator[bytes, bytes, bytes]:
    """Ask a SOCKS5 proxy for a stream: a conversation without I/O.

    `next()` gives the first bytes to send. `send(received)`, with any number of bytes that the proxy sent, gives the
    bytes to send next: none while there is more to wait for.

    The only method offered is username and password, so that isolation is never lost unnoticed; the address goes to
    the proxy as a name, never as an IP address.

    :returns: what came after the proxy's last word: the first bytes of the open stream.
    :raises SocksProtocolError: what answers is not a SOCKS5 proxy.
    :raises SocksAuthenticationError: it takes no username and password, or not these.
    :raises SocksError: it refuses; see :func:`reply_error`.
    """
    name = address.hostname.encode("ascii")
    yield from _let_in(isolation)
    request = bytes((_SOCKS, _CONNECT, 0, _NAME, *_counted(name), *port.to_bytes(2, "big")))
    reply = yield from _at_least(2, _SOCKS, (yield request))
    if reply[1] != _SUCCEEDED:
        raise reply_error(reply[1])
    reply = yield from _at_least(5, _SOCKS, reply)
    length = _reply_length(kind=reply[3], first=reply[4])
    reply = yield from _at_least(length, _SOCKS, reply)
    return reply[length:]


def tor_dialogue(isolation: Isolation) -> Generator[bytes, bytes, bool]:
    """Find out whether a SOCKS5 proxy is a tor, without telling it or anybody behind it anything.

    Tor alone knows the command RESOLVE ("SOCKS extensions", section 2), and answers it for an address with that
    address, at once and by itself; a port with `OnionTrafficOnly` answers 0x04 (both tried on tor 0.4.9.11). Other
    proxies do not know the command (0x07), or hang up. The address is one that is nobody's (RFC 5737).

    To be used as :func:`socks_dialogue`.

    :returns: whether it is one. Somebody who wants to be taken for a tor is.
    :raises SocksProtocolError: what answers is not a SOCKS5 proxy.
    :raises SocksAuthenticationError: it takes no username and password, or not these.
    """
    yield from _let_in(isolation)
    request = bytes((_SOCKS, _RESOLVE, 0, _IPV4, *_NOBODY, 0, 0))
    reply = yield from _at_least(2, _SOCKS, (yield request))
    if reply[1] != _SUCCEEDED:
        return reply[1] == _HOST_UNREACHABLE
    reply = yield from _at_least(8, _SOCKS, reply)
    return reply[3:8] == bytes((_IPV4, *_NOBODY))


def _let_in(isolation: Isolation) -> Generator[bytes, bytes, None]:
    """Be let in by username and password."""
    chosen = yield from _answer(_SOCKS, bytes((_SOCKS, 1, _USERNAME_AND_PASSWORD)))
    if chosen != _USERNAME_AND_PASSWORD:
        raise SocksAuthenticationError("the proxy does not take username and password; is it tor's SOCKS port?")

    verdict = yield from _answer(
        _AUTHENTICATION, bytes((_AUTHENTICATION, *_counted(isolation.username), *_counted(isolation.password)))
    )
    if verdict != _SUCCEEDED:
        raise SocksAuthenticationError("the proxy refused username and password; is it tor's SOCKS port?")


def _counted(text: bytes) -> bytes:
    return bytes((len(text), *text))


def _answer(version: int, question: bytes) -> Generator[bytes, bytes, int]:
    """Send a question that is answered with two bytes, a version and a value; return the value."""
    answer = yield from _at_least(2, version, (yield question))
    if len(answer) > 2:
        raise SocksProtocolError("the proxy answers what it was not asked; is it tor's SOCKS port?")
    return answer[1]


def _at_least(count: int, version: int, received: bytes) -> Generator[bytes, bytes, bytes]:
    """Wait until `count` bytes are here. The first of them is always a version: another one ends it at once."""
    while True:
        if received and received[0] != version:
            raise SocksProtocolError("what answers does not speak SOCKS5; is it tor's SOCKS port?")
        if len(received) >= count:
            return received
        received += yield b""


def _reply_length(kind: int, first: int) -> int:
    """The length of a reply with an address of this kind, whose first byte is `first`."""
    lengths = {_IPV4: 4, _NAME: 1 + first, _IPV6: 16}
    if kind not in lengths:
        raise SocksProtocolError("the proxy's reply has an address of an unknown kind; is it tor's SOCKS port?")
    return 4 + lengths[kind] + 2
