"""What goes out: answers, and the framing of streamed bodies, as bytes. Pure.

Framing (`Content-Length`, `Transfer-Encoding`, `Connection`) is written here and nowhere else. There is no `Date` and
no `Server`: the first tells the skew of an onion host's clock, the second what to attack.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from torfluxd.gateway.exchange import Answer, Header
from torfluxd.influx.answers import RETRY_AFTER_SECONDS

__all__ = [
    "BAD_REQUEST",
    "BUSY",
    "CONTINUE",
    "EXPECTATION_FAILED",
    "HEAD_TOO_LARGE",
    "INTERNAL_ERROR",
    "REQUEST_TIMEOUT",
    "TARGET_TOO_LONG",
    "AnswerBytes",
    "Framing",
    "encode_answer",
    "encode_response_head",
    "frame_response",
    "has_no_body",
    "response_headers",
    "told_length",
]

# All answers that are the door's own: one constant for each kind, and nothing in them.
BAD_REQUEST: Final = Answer(400)
REQUEST_TIMEOUT: Final = Answer(408)
TARGET_TOO_LONG: Final = Answer(414)
EXPECTATION_FAILED: Final = Answer(417)
HEAD_TOO_LARGE: Final = Answer(431)
INTERNAL_ERROR: Final = Answer(500)
BUSY: Final = Answer(503, ((b"Retry-After", b"%d" % RETRY_AFTER_SECONDS),))

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

_OURS: Final = frozenset((b"connection", b"content-length", b"date", b"server", b"transfer-encoding"))
"""Headers of another server's response that are never passed on, in lower case."""

_BREAKS: Final = frozenset(b"\r\n\x00")
"""What would end a header early, and let a value begin another one."""

_KEPT_ANSWERS: Final = 64
"""How many encoded answers are kept: the constant answers of all routes are fewer."""

_KEPT_BYTES: Final = 4096
"""The longest one kept; longer ones are not constants."""


def has_no_body(status: int) -> bool:
    """Whether answers of this status never have a body, nor a `Content-Length` (RFC 9110, 15.2, 15.3.5, 15.4.5)."""
    return status in (204, 304) or status < 200


def _encode_head(status: int, headers: Iterable[Header], framing: bytes) -> bytes:
    """Write status line and headers.

    :param headers: of an :class:`Answer` or of another server's response.
    :param framing: whole header lines of our own.
    :raises ValueError: a header holds a line break or NUL.
    """
    lines = [b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Unknown"))]
    for name, value in headers:
        if not _BREAKS.isdisjoint(name + value):
            raise ValueError("a header of an answer holds a line break or NUL")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(framing)
    lines.append(b"\r\n")
    return b"".join(lines)


def encode_answer(answer: Answer, *, to_head: bool, closes: bool) -> bytes:
    """Write a whole answer.

    :param to_head: it answers `HEAD`, so its body stays here while its length is told.
    :param closes: it is the last of its connection.
    :raises ValueError: a header holds a line break or NUL.
    """
    framing = b"Connection: close\r\n" if closes else b""
    if has_no_body(answer.status):
        return _encode_head(answer.status, answer.headers, framing)
    framing += b"Content-Length: %d\r\n" % len(answer.body)
    head = _encode_head(answer.status, answer.headers, framing)
    return head if to_head else head + answer.body


class Framing(enum.Enum):
    """How a streamed body tells where it ends. The values are for the eyes."""

    NO_BODY = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until the connection closes"

    def frame(self, data: bytes) -> bytes:
        """Write a piece of the body; `data` is never empty, because an empty chunk is the last one."""
        if self is Framing.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data)
        return b"" if self is Framing.NO_BODY else data

    def end(self) -> bytes:
        """Write what ends the body."""
        return b"0\r\n\r\n" if self is Framing.CHUNKED else b""


def frame_response(response: IResponse, *, to_head: bool, http11: bool) -> Framing:
    """Choose how the body of another server's response is framed for a stranger.

    :param to_head: it answers `HEAD`.
    :param http11: the stranger speaks HTTP/1.1, so he knows chunks.
    """
    if to_head or has_no_body(response.code):
        return Framing.NO_BODY
    if response.length != UNKNOWN_LENGTH:
        return Framing.LENGTH
    return Framing.CHUNKED if http11 else Framing.UNTIL_CLOSE


def response_headers(response: IResponse) -> list[Header]:
    """The headers of another server's response that a stranger may see."""
    return [
        (name, value)
        for name, values in response.headers.getAllRawHeaders()
        if name.lower() not in _OURS
        for value in values
    ]


def told_length(response: IResponse, framing: Framing) -> bytes | None:
    """What `Content-Length` says to a stranger, or None when there is none."""
    if framing is Framing.LENGTH:
        return b"%d" % response.length
    if framing is Framing.NO_BODY and not has_no_body(response.code):
        # To HEAD: the length that GET would have, which Twisted's client leaves among the headers.
        told = response.headers.getRawHeaders(b"Content-Length", [])
        return told[0] if told else None
    return None


def encode_response_head(response: IResponse, framing: Framing, *, closes: bool) -> bytes:
    """Write the head of another server's response.

    :param closes: it is the last of its connection.
    :raises ValueError: a header holds a line break or NUL.
    """
    lines = b"Connection: close\r\n" if closes else b""
    length = told_length(response, framing)
    if length is not None:
        lines += b"Content-Length: %b\r\n" % length
    elif framing is Framing.CHUNKED:
        lines += b"Transfer-Encoding: chunked\r\n"
    return _encode_head(response.code, response_headers(response), lines)


class AnswerBytes:
    """Encodes answers that keep their connection open, each constant one only once.

    By identity: comparing and hashing the values of an answer costs as much as encoding it.
    """

    def __init__(self) -> None:
        # Each entry holds its answer, so that no other object can have the same id.
        self._kept: dict[int, tuple[Answer, bytes]] = {}

    def __call__(self, answer: Answer) -> bytes:
        """Give the bytes of `answer`."""
        kept = self._kept.get(id(answer))
        if kept is not None:
            return kept[1]
        encoded = encode_answer(answer, to_head=False, closes=False)
        if len(encoded) <= _KEPT_BYTES:
            if len(self._kept) >= _KEPT_ANSWERS:
                self._kept.clear()
            self._kept[id(answer)] = (answer, encoded)
        return encoded
