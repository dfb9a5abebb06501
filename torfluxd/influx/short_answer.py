"""The answer to one POST, read as far as a reporter has a use for it. Bytes in, values out, no I/O.

Who answers may be hostile, so this reads little, takes nothing that is doubtful, and holds no more than two bounds. It
is written from RFC 9112, and is ours because an answer is all that a stranger can make a reporter read: what reads it
should be a page long, and the same with every version of every library.
"""

from __future__ import annotations

import re
from typing import Final

from torfluxd.boundaries import Header
from torfluxd.errors import UpstreamError
from torfluxd.influx.post import Posted

__all__ = ["MAX_BODY_BYTES", "MAX_HEAD_BYTES", "ShortAnswer"]

MAX_HEAD_BYTES: Final = 4 * 1024
"""How much may come before the body, informational responses included: influxd's heads have 300 bytes, and 1024 more
with an error in them."""

MAX_BODY_BYTES: Final = 4 * 1024
"""How much of a body is held. A gateway tells in some hundred bytes what is wrong with a write."""

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?", re.DOTALL)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)

_WITHOUT_CONTROLS: Final = bytes.maketrans(bytes((*range(0x20), 0x7F)), b" " * 33)
"""Turns into a space what no header can carry on to anybody: influxd repeats bad lines in a header, with controls."""

_BODILESS = frozenset({204, 304})


class ShortAnswer:
    """An answer, as far as it has come.

    Its body is read if it says how long it is, and is not too long; else it is taken for empty, and the answer for
    whole when its head is here. Status and headers are what tells the fate of a write, so no more is waited for.
    """

    def __init__(self) -> None:
        self._received = b""
        self._head_room = MAX_HEAD_BYTES
        self._head: tuple[int, tuple[Header, ...]] | None = None
        self._body_bytes = 0

    def read(self, data: bytes) -> Posted | None:
        """Take what came.

        :returns: the answer, when it is whole. What follows it is nobody's business.
        :raises UpstreamError: it is no HTTP, or its head is too long. The text holds nothing of it.
        """
        self._received += data
        while self._head is None:
            end = self._received.find(b"\r\n\r\n", 0, self._head_room)
            if end < 0:
                if len(self._received) >= self._head_room:
                    raise UpstreamError("what answers has no end of headers")
                return None
            self._take_head(self._received[:end])
            self._received = self._received[end + 4 :]
            self._head_room -= end + 4
        if len(self._received) < self._body_bytes:
            return None
        status, headers = self._head
        return Posted(status, headers, self._received[: self._body_bytes])

    def _take_head(self, head: bytes) -> None:
        first, *rest = head.split(b"\r\n")
        status, fields = _STATUS.fullmatch(first), [_HEADER.fullmatch(line) for line in rest]
        headers = tuple(
            (field[1].lower(), field[2].translate(_WITHOUT_CONTROLS)) for field in fields if field is not None
        )
        if status is None or len(headers) < len(rest):
            raise UpstreamError("what answers does not speak HTTP")
        code = int(status[1])
        if code >= 200:  # those before are informational
            self._head = code, headers
            self._body_bytes = _body_bytes(code, headers)


def _body_bytes(status: int, headers: tuple[Header, ...]) -> int:
    """How much body to wait for: none where its length is not known for certain, or is beyond the bound."""
    if status in _BODILESS or any(name == b"transfer-encoding" for name, _ in headers):
        return 0
    lengths = [value for name, value in headers if name == b"content-length"]
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,9}", lengths[0]):
        return 0
    length = int(lengths[0])
    return length if length <= MAX_BODY_BYTES else 0
