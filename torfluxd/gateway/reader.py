"""What comes in: a connection's bytes, read one request at a time.

No I/O. A head is cut out whole and given to `heads`. A body of a declared length is cut out by that length. A chunked
body is parsed by llhttp (through httptools), which cannot be paused, so it is never given more than that body: only up
to the next CRLFCRLF. Both a head and a chunked body end with CRLFCRLF and with nothing else, as long as bare LFs are
refused, which llhttp does. So requests behind the one under way stay raw bytes, and cost what they weigh.

llhttp 9.4 as in httptools 0.9 refuses (tried): chunk sizes with anything but hexadecimal digits, bare CR and LF, NUL
and control characters between them.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.heads import HeadReader, ReadHead, RefusedError
from torfluxd.gateway.wire import BAD_REQUEST, HEAD_TOO_LARGE

__all__ = ["RequestReader"]

_CRLF: Final = b"\r\n"
_END: Final = b"\r\n\r\n"


class _Chunks:
    """The parser of one chunked body.

    :ivar complete: its last byte was read.
    :ivar wire: how many bytes were read.
    """

    __slots__ = ("_body", "_heads", "_parser", "complete", "wire")

    def __init__(self, raw_head: bytes, body: bytearray) -> None:
        self._heads = 0
        self._body = body
        self.complete = False
        self.wire = 0
        self._parser = HttpRequestParser(self)
        self._parser.feed_data(raw_head)

    # What llhttp calls.

    def on_url(self, url: bytes) -> None:
        """Count the heads, of which there must be one."""
        self._heads += 1

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._body += data

    def on_message_complete(self) -> None:
        """Take the end."""
        self.complete = True

    # What the reader calls.

    def feed(self, data: bytes) -> None:
        """Read on.

        :raises RefusedError: it is malformed.
        """
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise RefusedError(BAD_REQUEST) from None
        self.wire += len(data)
        assert self._heads == 1, "llhttp read on into another head"

    def close(self) -> None:
        """Let go of the parser, which holds this object: together they would wait for the garbage collector."""
        del self._parser


class RequestReader:
    """Reads the requests of one connection.

    Feed :meth:`read_head` until it takes something; then :meth:`read_body` until :attr:`complete`; and again.
    Both return up to where they took the bytes given; what they leave is to be given again with more behind it.

    :ivar current: the head of the request under way, or of the last one; None before the first.
    :ivar complete: the last byte of that request was read.
    :ivar received: bytes of its body so far.

    :param heads: reads heads.
    :param bounds: what is allowed.
    """

    __slots__ = ("_body", "_bounds", "_chunks", "_heads", "complete", "current", "received")

    def __init__(self, heads: HeadReader, bounds: Bounds) -> None:
        self._heads = heads
        self._bounds = bounds
        self._chunks: _Chunks | None = None
        # One growing buffer: a list of pieces would weigh ten times its bytes when chunks are tiny.
        self._body = bytearray()
        self.current: ReadHead | None = None
        self.complete = True
        self.received = 0

    def close(self) -> None:
        """Let go of everything."""
        self._end_chunks()
        self.current = None

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
        self.current = current = self._heads(raw)
        self.complete = current.length == 0
        self.received = 0
        if current.length is None:
            self._chunks = _Chunks(raw, self._body)
        return end

    def read_body(self, data: bytes, start: int) -> int:
        """Read what may belong to the body of the request under way.

        :returns: where it was read to, which is `start` when more is needed.
        :raises RefusedError: it is malformed, or its framing outweighs what it carries.
        """
        assert self.current is not None
        length = self.current.length
        if length is None:
            return self._read_chunks(data, start)
        piece = data[start : start + length - self.received]
        self._body += piece
        self.received += len(piece)
        self.complete = self.received == length
        return start + len(piece)

    def take_body(self) -> bytes:
        """Give what was read of the body since the last time."""
        body = bytes(self._body)
        self._body.clear()
        return body

    def _read_chunks(self, data: bytes, start: int) -> int:
        chunks = self._chunks
        assert chunks is not None
        end = _end_of_chunks(data, start)
        if end == start:
            return start
        before = len(self._body)
        chunks.feed(data[start:end])
        self.received += len(self._body) - before
        if chunks.wire > 2 * self.received + self._bounds.chunk_overhead_bytes:
            raise RefusedError(BAD_REQUEST)
        if chunks.complete:
            self.complete = True
            self._end_chunks()
        return end

    def _end_chunks(self) -> None:
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None


def _end_of_chunks(data: bytes, start: int) -> int:
    """Up to where data can be given to llhttp without its reading on into another request."""
    end = data.find(_END, start)
    if end >= 0:
        return end + len(_END)
    # What may be the beginning of a CRLFCRLF waits for the rest of it.
    for length in (3, 2, 1):
        if data.endswith(_END[:length], start):
            return len(data) - length
    return len(data)
