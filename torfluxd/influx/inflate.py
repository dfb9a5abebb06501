"""Bounded inflation of gzip.

Pure. InfluxDB 1.x does not apply its `max-body-size` to what a gzip body inflates to: 59 kB made it hold 499 MB
(tried with 1.6.7). So nothing compressed is ever passed on to it.
"""

from __future__ import annotations

import enum
import zlib

__all__ = ["MAX_GZIP_MEMBERS", "GzipFault", "inflate"]

MAX_GZIP_MEMBERS = 64
"""How many gzip members one body may have. A compressor writes one, `bgzip` one for each 64 KiB; a body of thousands
of empty ones would make us copy what is left of it once for each."""

_GZIP_ONLY = 16 + zlib.MAX_WBITS
"""Tells zlib to expect a gzip header and trailer, and nothing else."""


class GzipFault(enum.Enum):
    """Why a body could not be inflated. The values are for the writer, in the words of InfluxDB where it has them."""

    TOO_LARGE = "Request Entity Too Large"
    """It inflates to more than the limit."""

    TRUNCATED = "unexpected EOF"
    """It ends too early."""

    DAMAGED = "gzip: invalid data"
    """It is not gzip, a checksum is wrong, or something other than gzip follows it."""


def inflate(body: bytes, limit_bytes: int) -> bytes | GzipFault:
    """Inflate a gzip body of one or more members, holding at most `limit_bytes` (and one) of what it inflates to."""
    parts: list[bytes] = []
    room = limit_bytes
    rest = body
    for _ in range(MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP_ONLY)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error:
            return GzipFault.DAMAGED
        if len(part) > room:
            return GzipFault.TOO_LARGE
        if not member.eof:
            return GzipFault.TRUNCATED
        parts.append(part)
        room -= len(part)
        rest = member.unused_data
        if not rest:
            return b"".join(parts)
    return GzipFault.DAMAGED
