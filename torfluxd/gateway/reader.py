"""What comes in: a connection's bytes, read one request at a time.

No I/O. llhttp (through httptools) parses; this module keeps it from running ahead, and is stricter where it is lenient.

llhttp cannot be paused, so it is never given more than the request under way: heads are given whole, bodies of a
declared length up to that length, and chunked bodies only up to the next CRLFCRLF. Both a head and a chunked body end
with CRLFCRLF and with nothing else, as long as bare LFs are refused, which llhttp does. So requests behind the one
under way stay raw bytes, and cost what they weigh.

llhttp 9.4 as in httptools 0.9 refuses (tried): bare CR and LF, NUL and control characters, spaces before a colon,
folded lines, repeated, empty, signed, hexadecimal, fractional, listed and overflowing lengths, a length beside
`Transfer-Encoding`, encodings that do not end in `chunked`, chunk sizes with anything but hexadecimal digits. It lets
through, and we refuse: HTTP/0.9 and 2.0, RTSP and ICE, runs of spaces in the request line, lengths of twenty digits,
`Transfer-Encoding: gzip, chunked`, two `Transfer-Encoding` lines, chunks in HTTP/1.0, absent, repeated or malformed
`Host`, fragments, absolute and authority targets.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.exchange import Answer, Head, Header
from torfluxd.gateway.wire import BAD_REQUEST, EXPECTATION_FAILED, HEAD_TOO_LARGE, TARGET_TOO_LONG

__all__ = ["RefusedError", "RequestReader"]

_CRLF: Final = b"\r\n"
_END: Final = b"\r\n\r\n"

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


class RequestReader:
    """Reads the requests of one connection.

    Feed :meth:`read_head` until it takes something; then :meth:`read_body` until :attr:`complete`; and again.
    Both return up to where they took the bytes given; what they leave is to be given again with more behind it.

    :ivar method: of the request under way, like all that follow.
    :ivar http11: it is HTTP/1.1, else 1.0.
    :ivar keeps_alive: the connection may serve another request afterwards. HTTP/1.0 connections never do.
    :ivar expects_continue: it waits for a `100 Continue` before it sends its body.
    :ivar length: declared bytes of its body, 0 without one, None when it is chunked.
    :ivar complete: its last byte was read.
    :ivar received: bytes of its body so far.
    """

    __slots__ = (
        "_body", "_bounds", "_fields", "_headers", "_parser", "_target", "_targets", "_wire", "complete",
        "expects_continue", "http11", "keeps_alive", "length", "method", "received",
    )  # fmt: skip

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._targets: list[bytes] = []
        self._fields: list[Header] = []
        self._wire = 0
        self._target = b""
        self._headers: list[Header] = []
        self.method = b""
        self.http11 = True
        self.keeps_alive = True
        self.expects_continue = False
        self.length: int | None = 0
        self.complete = True
        self.received = 0
        # One growing buffer: a list of pieces would weigh ten times its bytes when chunks are tiny.
        self._body = bytearray()
        self._parser = HttpRequestParser(self)

    def close(self) -> None:
        """Let go of the parser, which holds this object: together they would wait for the garbage collector."""
        del self._parser

    # What llhttp calls.

    def on_url(self, url: bytes) -> None:
        """Take the target of a request."""
        self._targets.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._fields.append((name.lower(), value.strip(b" \t")))

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self.received += len(data)
        self._body += data

    def on_message_complete(self) -> None:
        """Take the end of the request."""
        self.complete = True

    # What the owner calls.

    def read_head(self, data: bytes, start: int) -> int:
        """Read a head, once it is here whole.

        :returns: where it ends, or `start` when more is needed.
        :raises RefusedError: it is malformed, or too large.
        """
        at = start
        while data.startswith(_CRLF, at):  # Left behind by old clients after a body: RFC 9112, 2.2.
            at += 2
        end = data.find(_END, at) + len(_END)
        if end < len(_END):
            if len(data) - start >= self._bounds.head_bytes:
                raise RefusedError(HEAD_TOO_LARGE)
            return start
        if end - start > self._bounds.head_bytes:
            raise RefusedError(HEAD_TOO_LARGE)
        raw = data[at:end]
        self._begin()
        self._feed(raw)
        self._check_request_line(raw)
        self._check_headers()
        return end

    def take_head(self, writer: Hashable) -> Head:
        """Give the head that was read, and let go of it: an idle connection holds nothing that a stranger sent.

        :param writer: who sent it.
        """
        head = Head(self.method, self._target, self._headers, writer)
        self._target = b""
        self._headers = []
        return head

    def read_body(self, data: bytes, start: int) -> int:
        """Read what may belong to the body of the request under way.

        :returns: where it was read to, which is `start` when more is needed.
        :raises RefusedError: it is malformed, or its framing outweighs what it carries.
        """
        end = self._end_of_chunks(data, start) if self.length is None else start + self.length - self.received
        piece = data[start:end]
        if not piece:
            return start
        self._feed(piece)
        self._wire += len(piece)
        if self._wire > 2 * self.received + self._bounds.chunk_overhead_bytes:
            raise RefusedError(BAD_REQUEST)
        assert not self._targets, "llhttp read on into another head"
        return start + len(piece)

    def take_body(self) -> bytes:
        """Give what was read of the body since the last time."""
        body = bytes(self._body)
        self._body.clear()
        return body

    def _end_of_chunks(self, data: bytes, start: int) -> int:
        end = data.find(_END, start)
        if end >= 0:
            return end + len(_END)
        # What may be the beginning of a CRLFCRLF waits for the rest of it.
        for length in (3, 2, 1):
            if data.endswith(_END[:length], start):
                return len(data) - length
        return len(data)

    def _begin(self) -> None:
        self._fields.clear()  # What is in there are trailers, which nobody reads.
        self.complete = False
        self.received = 0
        self._wire = 0

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise RefusedError(BAD_REQUEST) from None

    def _check_request_line(self, raw: bytes) -> None:
        if len(self._targets) != 1:  # llhttp passes over any line ends, also over such as make no empty line.
            raise RefusedError(BAD_REQUEST)
        self._target = target = self._targets.pop()
        self.method = method = self._parser.get_method()
        if len(target) > self._bounds.target_bytes:
            raise RefusedError(TARGET_TOO_LONG)
        start = b"%b %b HTTP/1." % (method, target)
        if not raw.startswith(start):
            raise RefusedError(BAD_REQUEST)
        self.http11 = raw.startswith(b"1", len(start))  # Else 1.0: llhttp knows no other that begins like this.
        if b"#" in target or not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")):
            raise RefusedError(BAD_REQUEST)

    def _check_headers(self) -> None:
        self._headers = headers = self._fields
        self._fields = []
        named = dict(headers)
        if len(headers) > self._bounds.headers:
            raise RefusedError(HEAD_TOO_LARGE)
        if len(named) != len(headers):
            for once in _ONCE:
                if sum(name == once for name, _ in headers) > 1:
                    raise RefusedError(BAD_REQUEST)
        self._check_host(named.get(b"host"))
        self._check_framing(named.get(b"content-length"), named.get(b"transfer-encoding"))
        self._check_expect(named.get(b"expect"))
        # To be sure, also when the word is only part of another one, or stands in the first of two lines.
        self.keeps_alive = self.http11 and (
            b"connection" not in named
            or not any(name == b"connection" and b"close" in value.lower() for name, value in headers)
        )

    def _check_host(self, host: bytes | None) -> None:
        if host is None:
            if self.http11:
                raise RefusedError(BAD_REQUEST)
        elif host.translate(None, _HOST_BYTES):
            raise RefusedError(BAD_REQUEST)

    def _check_framing(self, length: bytes | None, encoding: bytes | None) -> None:
        if encoding is not None:
            if encoding.lower() != b"chunked" or not self.http11:
                raise RefusedError(BAD_REQUEST)
            self.length = None
        elif length is None:
            self.length = 0
        elif len(length) <= self._bounds.content_length_digits:
            self.length = int(length)
        else:
            raise RefusedError(BAD_REQUEST)
        assert self.complete is (self.length == 0), "llhttp would cut the next request elsewhere"

    def _check_expect(self, expect: bytes | None) -> None:
        self.expects_continue = False
        if expect is not None and self.http11:  # RFC 9110, 10.1.1: not in HTTP/1.0.
            if expect.lower() != b"100-continue":
                raise RefusedError(EXPECTATION_FAILED)
            self.expects_continue = True
