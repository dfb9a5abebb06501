"""Writes as clients of InfluxDB 2.x ask for them, and answers as it gives them.

Pure. 2.x was read (branch 2.7), not run. A bucket is a database, or a database and a retention policy, as in 1.8, which
serves this path too; the organisation is the vendor's affair, and left behind.
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
from torfluxd.influx.said import read_said

__all__ = ["V2"]

_PRECISIONS: Mapping[bytes, Precision] = {b"": "ns", b"ns": "ns", b"us": "u", b"ms": "ms", b"s": "s"}

_CODES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "invalid",
    HTTPStatus.NOT_FOUND: "not found",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request too large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "unprocessable entity",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
"""2.x's code for each status that we answer with (kit/transport/http/error_handler.go)."""


def _read_write(query: bytes) -> Write | Answer:
    """Read a write of 2.x. The organisation and parameters that it does not know are left behind."""
    parameters = read_parameters(query)
    unit = parameters.get(b"precision", b"")
    if unit not in _PRECISIONS:
        return _refuse(HTTPStatus.BAD_REQUEST, "invalid precision; valid precision units are ns, us, ms, and s")
    try:
        destination = read_bucket(parameters.get(b"bucket", b""))
    except ValueError:
        return _refuse(HTTPStatus.NOT_FOUND, "bucket not found")
    return Write(V2, destination, _PRECISIONS[unit], is_whole=True)


def _refuse(status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
    """Say no as 2.x does: a code and a message, and the code once more in a header."""
    code = _CODES[status].encode("ascii")
    headers = (
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"X-Platform-Error-Code", code),
        *retry_after(retry_after_seconds),
    )
    return Answer(status, headers, b'{"code":"%b","message":%b}' % (code, go_json(text)))


def _refuse_lines(bad: Sequence[BadLine], *, is_whole: bool, kept: bool) -> Answer:
    """Name the bad lines. 2.x keeps none of a body that has one."""
    return _refuse(HTTPStatus.BAD_REQUEST, "\n".join(map(str, bad)))


def _retell(reply: Reply) -> Answer:
    """Points that were refused while others are stored, for a field's type or an old time, are 422 in 2.x."""
    said = read_said(reply.headers, reply.body)
    text = "refused" if said is None else said.text
    if reply.fate is Fate.NO_DESTINATION:
        return _refuse(HTTPStatus.NOT_FOUND, text)
    if said is not None and said.is_partial:
        return _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, f"failure writing points to database: {text}")
    unprocessable = reply.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return _refuse(HTTPStatus.UNPROCESSABLE_ENTITY if unprocessable else HTTPStatus.BAD_REQUEST, text)


V2: Final = Dialect(b"/api/v2/write", _read_write, _refuse, _refuse_lines, _retell)
"""`/api/v2/write` of 2.x, which 1.8, 3.x and VictoriaMetrics serve too."""
