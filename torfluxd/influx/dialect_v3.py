"""Writes as clients of InfluxDB 3 ask for them, and answers as it gives them.

Pure. InfluxDB 3 Core was read (branch 3.8), not run. A database is parted as a bucket is: `db`, or `db/rp`. `no_sync`
is left behind: nobody waits for anything here but InfluxDB's answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from torfluxd.boundaries import Answer, Fate, Reply
from torfluxd.influx.dialect import (
    BadLine,
    Dialect,
    Precision,
    Write,
    go_json,
    read_bucket,
    read_parameters,
    retry_after,
)
from torfluxd.influx.said import PARTIAL, read_said

__all__ = ["V3"]

SHOWN_CHARACTERS = 20
"""How much of a bad line is shown: as much as 3.x shows."""

_PRECISIONS: Mapping[bytes, Precision] = {
    b"": "auto",
    b"auto": "auto",
    b"nanosecond": "ns",
    b"ns": "ns",
    b"n": "ns",
    b"microsecond": "u",
    b"us": "u",
    b"u": "u",
    b"millisecond": "ms",
    b"ms": "ms",
    b"second": "s",
    b"s": "s",
}

_FLAGS: Mapping[bytes, bool] = {b"true": True, b"false": False}

_SOME_BAD = "partial write of line protocol occurred"
_WHOLE_BAD = "parsing failed for write_lp endpoint"
"""Clients know these two by their words."""


def _read_write(query: bytes) -> Write | Answer:
    """Read a write of 3.x. Parameters that it does not know are left behind."""
    parameters = read_parameters(query)
    if not parameters.get(b"db"):
        return _refuse(HTTPStatus.BAD_REQUEST, "missing field `db`")
    try:
        destination = read_bucket(parameters[b"db"])
    except ValueError:
        return _refuse(HTTPStatus.BAD_REQUEST, "invalid database name")
    unit = parameters.get(b"precision", b"")
    if unit not in _PRECISIONS:
        known = ", ".join(word.decode("ascii") for word in _PRECISIONS if word)
        return _refuse(HTTPStatus.BAD_REQUEST, f"unknown precision, expected one of {known}")
    accept_partial = _FLAGS.get(parameters.get(b"accept_partial", b"true"))
    no_sync = _FLAGS.get(parameters.get(b"no_sync", b"false"))
    if accept_partial is None or no_sync is None:
        return _refuse(HTTPStatus.BAD_REQUEST, "accept_partial and no_sync are true or false")
    return Write(V3, destination, _PRECISIONS[unit], is_whole=not accept_partial)


def _answer(status: int, text: str, data: bytes, retry_after_seconds: int | None = None) -> Answer:
    headers = ((b"Content-Type", b"application/json"), *retry_after(retry_after_seconds))
    return Answer(status, headers, b'{"error":%b,"data":%b}' % (go_json(text), data))


def _line(text: str, number: int, reason: str) -> bytes:
    shown = go_json(text[:SHOWN_CHARACTERS])
    return b'{"original_line":%b,"line_number":%d,"error_message":%b}' % (shown, number, go_json(reason))


def _refuse(status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
    """Say no as 3.x does, without anything about lines."""
    return _answer(status, text, b"null", retry_after_seconds)


def _refuse_lines(bad: Sequence[BadLine], *, is_whole: bool, kept: bool) -> Answer:
    """Name the bad lines in a list; or the first one alone where that is enough, and 3.x reads no further."""
    lines = [_line(line.text.decode("utf-8", "replace"), line.number, line.reason) for line in bad]
    if is_whole:
        return _answer(HTTPStatus.BAD_REQUEST, _WHOLE_BAD, lines[0])
    return _answer(HTTPStatus.BAD_REQUEST, _SOME_BAD, b"[%b]" % b",".join(lines))


def _retell(reply: Reply) -> Answer:
    """Say what InfluxDB said.

    Which line of the writer's body is meant is not known, as it travelled without its comments and bad lines: it is
    line 0, which clients take for none.
    """
    said = read_said(reply.headers, reply.body)
    text = "refused" if said is None else said.text
    if reply.fate is Fate.NO_DESTINATION:
        return _refuse(HTTPStatus.NOT_FOUND, text)
    if said is None or not said.is_partial:
        return _refuse(HTTPStatus.BAD_REQUEST, text)
    lines = [_line(line.start, 0, line.reason) for line in said.lines] or [_line("", 0, text.removeprefix(PARTIAL))]
    return _answer(HTTPStatus.BAD_REQUEST, _SOME_BAD, b"[%b]" % b",".join(lines))


V3: Final = Dialect(b"/api/v3/write_lp", _read_write, _refuse, _refuse_lines, _retell)
"""`/api/v3/write_lp` of InfluxDB 3."""
