"""What a head says: from its bytes to a value, which is remembered. Pure, but for the memory.

llhttp (through httptools) parses; this module is stricter where it is lenient. llhttp 9.4 as in httptools 0.9 refuses
(tried): bare CR and LF, NUL and control characters, spaces before a colon, folded lines, repeated, empty, signed,
hexadecimal, fractional, listed and overflowing lengths, a length beside `Transfer-Encoding`, encodings that do not end
in `chunked`. It lets through, and we refuse: HTTP/0.9 and 2.0, RTSP and ICE, runs of spaces in the request line,
lengths of twenty digits, `Transfer-Encoding: gzip, chunked`, two `Transfer-Encoding` lines, chunks in HTTP/1.0, absent,
repeated or malformed `Host`, fragments, absolute and authority targets.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.exchange import Answer, Head, Header
from torfluxd.gateway.wire import BAD_REQUEST, EXPECTATION_FAILED, HEAD_TOO_LARGE, TARGET_TOO_LONG

__all__ = ["REMEMBERED_HEADS", "HeadReader", "ReadHead", "RefusedError"]

REMEMBERED_HEADS: Final = 1024
"""How many heads are remembered. What strangers' software sends differs in the length of the body alone, and reporters
pad that to a few sizes: so nearly every head was seen before, and to find it takes a tenth of the time of parsing it.
Whoever makes heads up only has them forgotten."""

MAX_REMEMBERED_BYTES: Final = 512
"""The longest head that is remembered: stock clients send 150 to 400 bytes. With what is parsed of them, all together
stay below 4 MiB."""

_REMEMBERED_HEADERS: Final = frozenset(
    (
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"user-agent",
    )
)
"""What software sends without telling its users apart. A head with any other header, with a cookie or a credential
for example, is forgotten with its request."""

_HOST_BYTES: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=:[]"
"""What a `Host` may hold (RFC 9110, 7.2; RFC 3986, 3.2.2)."""

_ONCE: Final = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
"""Headers whose repetition different servers read differently."""


class RefusedError(Exception):
    """A request cannot be served, and nothing behind it can be read.

    :ivar answer: what to say before closing.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@frozen(eq=False)
class ReadHead:
    """A head, and how to read on behind it.

    :ivar head: what the site is asked about.
    :ivar http11: it is HTTP/1.1, else 1.0.
    :ivar keeps_alive: the connection may serve another request afterwards. HTTP/1.0 connections never do.
    :ivar expects_continue: it waits for a `100 Continue` before it sends its body.
    :ivar length: declared bytes of its body, 0 without one, None when it is chunked.
    """

    head: Head
    http11: bool
    keeps_alive: bool
    expects_continue: bool
    length: int | None


class HeadReader:
    """Reads heads.

    :param bounds: what is allowed.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._remembered: dict[bytes, ReadHead] = {}

    def __call__(self, raw: bytes) -> ReadHead:
        """Read a head.

        :param raw: from the method to the empty line, which is in it.
        :raises RefusedError: it is malformed, or too large.
        """
        return self._remembered.get(raw) or self._read(raw)

    def _read(self, raw: bytes) -> ReadHead:
        parsed = _Parsed(raw)
        target = _check_request_line(parsed, self._bounds)
        further = _check_headers(parsed, self._bounds)
        remember = _is_worth_remembering(parsed, target)
        head = Head(parsed.method, target, tuple(parsed.headers), remember)
        read = ReadHead(head, http11=parsed.http11, **further)
        assert parsed.complete is (read.length == 0), "llhttp would cut the next request elsewhere"
        if remember:
            if len(self._remembered) >= REMEMBERED_HEADS:
                self._remembered.clear()
            self._remembered[raw] = read
        return read


class _Parsed:
    """A head as llhttp sees it.

    :raises RefusedError: it is none.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.targets: list[bytes] = []
        self.headers: list[Header] = []
        self.complete = False
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(raw)
        except (HttpParserError, HttpParserUpgrade):
            raise RefusedError(BAD_REQUEST) from None
        self.method: bytes = parser.get_method()
        self.http11 = False
        self.named = dict(self.headers)

    # What llhttp calls.

    def on_url(self, url: bytes) -> None:
        """Take the target."""
        self.targets.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value.strip(b" \t")))

    def on_message_complete(self) -> None:
        """Take the end of a request without a body."""
        self.complete = True


def _is_worth_remembering(parsed: _Parsed, target: bytes) -> bool:
    """Whether a head may be met again, and holds no secret."""
    if len(parsed.raw) > MAX_REMEMBERED_BYTES or not _REMEMBERED_HEADERS.issuperset(parsed.named):
        return False
    # The credentials of InfluxDB 1.x in the query, in any spelling of their names.
    return not any(pair.startswith((b"p=", b"u=", b"%")) for pair in target.partition(b"?")[2].split(b"&"))


def _check_request_line(parsed: _Parsed, bounds: Bounds) -> bytes:
    """The target, if the request line is strict."""
    if len(parsed.targets) != 1:  # llhttp passes over any line ends, also over such as make no empty line.
        raise RefusedError(BAD_REQUEST)
    [target] = parsed.targets
    if len(target) > bounds.target_bytes:
        raise RefusedError(TARGET_TOO_LONG)
    start = b"%b %b HTTP/1." % (parsed.method, target)
    if not parsed.raw.startswith(start):
        raise RefusedError(BAD_REQUEST)
    parsed.http11 = parsed.raw.startswith(b"1", len(start))  # Else 1.0: llhttp knows no other that begins like this.
    if b"#" in target or not (target.startswith(b"/") or (target == b"*" and parsed.method == b"OPTIONS")):
        raise RefusedError(BAD_REQUEST)
    return target


def _check_headers(parsed: _Parsed, bounds: Bounds) -> dict[str, Any]:
    """What the headers say about how to read on, if they say one thing."""
    headers, named, http11 = parsed.headers, parsed.named, parsed.http11
    if len(headers) > bounds.headers:
        raise RefusedError(HEAD_TOO_LARGE)
    if len(named) != len(headers):
        for once in _ONCE:
            if sum(name == once for name, _ in headers) > 1:
                raise RefusedError(BAD_REQUEST)
    _check_host(named.get(b"host"), http11)
    return {
        "length": _length(named.get(b"content-length"), named.get(b"transfer-encoding"), http11, bounds),
        "expects_continue": _expects_continue(named.get(b"expect"), http11),
        # To be sure, also when the word is only part of another one, or stands in the first of two lines.
        "keeps_alive": http11
        and not any(name == b"connection" and b"close" in value.lower() for name, value in headers),
    }


def _check_host(host: bytes | None, http11: bool) -> None:
    if host is None:
        if http11:
            raise RefusedError(BAD_REQUEST)
    elif host.translate(None, _HOST_BYTES):
        raise RefusedError(BAD_REQUEST)


def _length(length: bytes | None, encoding: bytes | None, http11: bool, bounds: Bounds) -> int | None:
    """The declared length of the body; 0 without one, None when it is chunked."""
    if encoding is not None:
        if encoding.lower() != b"chunked" or not http11:
            raise RefusedError(BAD_REQUEST)
        return None
    if length is None:
        return 0
    if len(length) > bounds.content_length_digits:
        raise RefusedError(BAD_REQUEST)
    return int(length)


def _expects_continue(expect: bytes | None, http11: bool) -> bool:
    if expect is None or not http11:  # RFC 9110, 10.1.1: not in HTTP/1.0.
        return False
    if expect.lower() != b"100-continue":
        raise RefusedError(EXPECTATION_FAILED)
    return True
