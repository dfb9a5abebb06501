"""Bodies of a few sizes, so that the size of a report tells little of what is in it. Pure."""

from __future__ import annotations

from typing import Final

__all__ = ["PADDED_SIZES", "padded"]

PADDED_SIZES: Final = tuple(1024 << power for power in range(9))
"""The sizes of reports in bytes: 1, 2, 4 KiB and so on to 256 KiB, which is the largest report. So a report is at most
twice as large as it need be, and its size is one of nine."""

COMMENT_BYTES: Final = 1024
"""The longest comment, with its newline: no reader of lines has to hold a long one."""

_COMMENT: Final = b"#" * (COMMENT_BYTES - 1) + b"\n"


def padded(body: bytes) -> bytes:
    """A body with comments after its lines, so that it has one of the sizes in `PADDED_SIZES`, exactly.

    A body that is larger than all of them becomes a multiple of the largest. One without lines becomes comments of the
    smallest size. Comments mean nothing in line protocol: influxd 1.6.7 answers 204 to a body of nothing else (tried).

    :param body: lines, separated by newlines.
    """
    size = _size_for(len(body))
    if size == len(body):
        return body
    if body and not body.endswith(b"\n"):
        body += b"\n"
    whole, rest = divmod(size - len(body), COMMENT_BYTES)
    return body + _COMMENT * whole + _COMMENT[COMMENT_BYTES - rest :]


def _size_for(size: int) -> int:
    for one in PADDED_SIZES:
        if size <= one:
            return one
    return -(-size // PADDED_SIZES[-1]) * PADDED_SIZES[-1]
