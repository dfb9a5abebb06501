"""What an InfluxDB says of a write that it did not take, read out of its answer, whichever generation it is.

Pure. The shapes: 1.x `{"error": ...}` and `X-Influxdb-Error` (tried with 1.6.7); 2.x `{"code": ..., "message": ...}`;
3.x `{"error": ..., "data": ...}`, where `data` is a list of lines or one line (both read in their sources). 2.x and
3.x answer in shapes of their own at the `/write` of 1.x, too, so it is the answer that tells, and not the path.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from torfluxd.boundaries import Header

__all__ = ["PARTIAL", "Said", "SaidLine", "read_said"]

PARTIAL = "partial write: "
"""How InfluxDB begins when it stored some points and not the others, in 1.x and, after a preamble, in 2.x."""

_V2_PREAMBLE = "failure writing points to database: "
_V3_PARTIAL = "partial write of line protocol occurred"


@frozen(repr=False)
class SaidLine:
    """One line that 3.x refused.

    :ivar start: how it begins.
    :ivar reason: why.
    """

    start: str
    reason: str


@frozen(repr=False)
class Said:
    """What was said. All of it is for the writer, and nothing of it for a log.

    :ivar is_v1: whether it was said as 1.x says it, so that a client of 1.x can have it as it is.
    :ivar code: 2.x's code, such as `not found`; else empty.
    :ivar text: what is wrong, without the preambles of 2.x and 3.x; `partial write: ` stands before what is wrong with
        some points while the others are stored.
    :ivar lines: those that 3.x names.
    """

    is_v1: bool
    code: str
    text: str
    lines: Sequence[SaidLine] = ()

    @property
    def is_partial(self) -> bool:
        """Whether the other points are stored."""
        return self.text.startswith(PARTIAL)


def read_said(headers: Sequence[Header], body: bytes) -> Said | None:
    """What an answer says is wrong; None if it is no error of any InfluxDB.

    :param headers: names in any case.
    :param body: empty when there was too much of it; then the header of 1.x says as much as there was room for.
    """
    said = _read_json(body)
    if said is not None:
        return said
    error = {name.lower(): value for name, value in headers}.get(b"x-influxdb-error")
    return None if error is None else Said(True, "", error.decode("utf-8", "replace"))


def _read_json(body: bytes) -> Said | None:
    try:
        error = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(error, dict):
        return None
    if isinstance(error.get("message"), str):
        code = error.get("code")
        return Said(
            False, _text(code) if isinstance(code, str) else "", _text(error["message"]).removeprefix(_V2_PREAMBLE)
        )
    if not isinstance(error.get("error"), str):
        return None
    if "data" not in error:
        return Said(True, "", _text(error["error"]))
    return _from_v3(_text(error["error"]), error["data"])


def _text(value: object) -> str:
    """Text out of JSON, which can hold half of a surrogate pair, as no UTF-8 can: a question mark stands for that."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _from_v3(text: str, data: Any) -> Said:
    lines = tuple(
        SaidLine(_text(line.get("original_line", "")), _text(line["error_message"]))
        for line in (data if isinstance(data, list) else [data])
        if isinstance(line, dict) and "error_message" in line
    )
    reasons = "\n".join(line.reason for line in lines) or text
    return Said(False, "", f"{PARTIAL}{reasons}" if text.startswith(_V3_PARTIAL) else reasons, lines)
