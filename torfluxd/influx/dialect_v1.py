"""Writes as clients of InfluxDB 1.x ask for them, and answers as it gives them.

Pure. Shapes and texts are those of influxd 1.6.7 (tried) and, where 1.6.7 has none, of 1.8 (read).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from torfluxd.boundaries import Answer, Destination, Fate, Reply
from torfluxd.influx.dialect import (
    BadLine,
    Dialect,
    Precision,
    Write,
    go_json,
    is_too_long,
    read_parameters,
    retry_after,
)
from torfluxd.influx.said import PARTIAL, read_said

__all__ = ["V1"]

MAX_ERROR_HEADER_BYTES = 1024
"""InfluxDB cuts `X-Influxdb-Error` here (tried with 1.6.7)."""

_PRECISIONS: Mapping[bytes, Precision] = {
    b"": "ns",
    b"n": "ns",
    b"ns": "ns",
    b"u": "u",
    b"ms": "ms",
    b"s": "s",
    b"m": "m",
    b"h": "h",
}
"""What 1.8 takes. 1.6.7 takes everything else, `us` too, for nanoseconds, silently (tried): so we refuse it."""

_CONSISTENCIES = frozenset({"", "any", "one", "quorum", "all"})
"""The consistency levels of 1.x, compared without regard to case (tried). Clusters know them, and each has its own
default; writes that travel together cannot each have another one."""

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
_JSON = (b"Content-Type", b"application/json")
_SILENT = "refused"


def _read_write(query: bytes) -> Write | Answer:
    """Read a write of 1.x. Credentials (`u`, `p`) and parameters that it does not know are left behind."""
    parameters = read_parameters(query)
    try:
        database = parameters.get(b"db", b"").decode("utf-8")
        retention_policy = parameters.get(b"rp", b"").decode("utf-8")
    except UnicodeDecodeError:
        return _refuse(HTTPStatus.BAD_REQUEST, "names of databases and retention policies are UTF-8")
    if not database:
        return _refuse(HTTPStatus.BAD_REQUEST, "database is required")
    if is_too_long(database):
        return _refuse(HTTPStatus.NOT_FOUND, f"database not found: {json.dumps(database, ensure_ascii=False)}")
    unit = parameters.get(b"precision", b"")
    if unit not in _PRECISIONS:
        quoted = json.dumps(unit.decode("utf-8", "replace"))
        return _refuse(HTTPStatus.BAD_REQUEST, f"invalid precision {quoted} (use n, u, ms, s, m or h)")
    if parameters.get(b"consistency", b"").decode("utf-8", "replace").lower() not in _CONSISTENCIES:
        return _refuse(HTTPStatus.BAD_REQUEST, "invalid consistency level")
    if is_too_long(retention_policy):
        return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"retention policy not found: {retention_policy}")
    return Write(V1, Destination(database, retention_policy or None), _PRECISIONS[unit])


def _refuse(status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
    """Say no as 1.x does: in a JSON object, and once more in a header."""
    # influxd puts a space where a line breaks, and so do we for whatever no header may hold.
    error = (b"X-Influxdb-Error", _CONTROLS.sub(b" ", text.encode("utf-8")[:MAX_ERROR_HEADER_BYTES]))
    return Answer(status, (_JSON, error, *retry_after(retry_after_seconds)), b'{"error":%b}\n' % go_json(text))


def _refuse_lines(bad: Sequence[BadLine], *, is_whole: bool, kept: bool) -> Answer:
    """Name the bad lines as influxd does; it says `dropped=0` however many they are (tried)."""
    told = "\n".join(map(str, bad))
    return _refuse(HTTPStatus.BAD_REQUEST, f"{PARTIAL}{told} dropped=0" if kept else told)


def _retell(reply: Reply) -> Answer:
    """An answer of 1.x's passes as it is; a reply that was too long to be held stands in its header alone."""
    assert reply.status is not None
    said = read_said(reply.headers, reply.body)
    if reply.body and (said is None or said.is_v1):
        return Answer(reply.status, reply.headers, reply.body)
    text = _SILENT if said is None else said.text
    if said is not None and said.is_v1:
        return _refuse(reply.status, text)
    if reply.fate is Fate.NO_DESTINATION:
        return _refuse(HTTPStatus.NOT_FOUND, text)
    # 2.x says 422 where 1.x says 400, and Telegraf keeps neither.
    return _refuse(HTTPStatus.BAD_REQUEST, text)


V1: Final = Dialect(b"/write", _read_write, _refuse, _refuse_lines, _retell)
"""`/write` of 1.x, which 1.8, 2.x, 3.x and VictoriaMetrics serve too."""
