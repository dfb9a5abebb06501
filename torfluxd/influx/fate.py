"""What the answer to a write means for the lines that were written. Pure.

Refused are lines only if InfluxDB itself says so. All else is a fault of whoever runs it: a credential that expired, a
database that was dropped, a proxy in front that redirects, or answers 400 or 200 in its own words. It will be mended,
and the lines are worth keeping until then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from http.client import responses

from torfluxd.boundaries import Fate, Header, Reply
from torfluxd.influx.api import Api
from torfluxd.influx.said import Said, read_said

__all__ = ["classify", "why_all_refused"]

MAX_RETRY_AFTER_SECONDS = 3600
"""The longest wait that the other side can ask of us."""

_ERROR_HEADER = b"X-Influxdb-Error"

_SHOWN = {b"content-type": b"Content-Type", b"x-influxdb-error": _ERROR_HEADER}
"""The headers of an answer that a writer may see, as InfluxDB writes them."""

_WITHOUT_NUL = bytes.maketrans(b"\0", b" ")
"""Turns NUL into a space: influxd repeats bad lines in a header, and lets a NUL stand there (tried with 1.6.7), with
which no header can go on to anybody."""

_OWN_HEADERS = {
    Api.V1: frozenset({b"x-influxdb-error"}),
    Api.V2: frozenset({b"x-platform-error-code", b"x-influxdb-error"}),
    Api.V3: frozenset({b"cluster-uuid"}),
}
"""By which an InfluxDB is known even when its answer is too long to be held. 1.x sets its own with every error of a
write, 3.x with every answer."""

_DROPPED = re.compile(
    r"partial write: (field type conflict|invalid field name|invalid tag key|points beyond retention policy)"
    r"(?:: .*)? dropped=([0-9]+)",
    re.DOTALL,
)
"""How 1.x tells that it stored some points and dropped others. For these causes it never counts too many (tried, and
read in `tsdb/shard.go` and `coordinator/points_writer.go` of 1.6); too few where they lie in several shards, or none
where a line is bad."""

_DELIVERED = Reply(Fate.DELIVERED, status=HTTPStatus.NO_CONTENT)

_NO_DATABASE = "the database does not exist"
_NO_POLICY = "the retention policy does not exist"
_NO_BUCKET = "the bucket does not exist"
_NO_ORGANISATION = "the organisation does not exist"


def classify(status: int, headers: Sequence[Header], body: bytes, api: Api = Api.V1) -> Reply:
    """What an answer to a write means for the lines that were written.

    :param headers: of the answer, names in lower case.
    :param body: of the answer; empty when it was too long to be held.
    :param api: in which the write was asked for.
    """
    if status == HTTPStatus.NO_CONTENT:  # What every InfluxDB from 0.9 to 3 answers to a write that it stored.
        return _DELIVERED
    fields = dict(headers)
    fate, cause = _fate(status, fields, read_said(headers, body), api)
    answered = f"it answered {status} {responses.get(status, '')}".rstrip()
    return Reply(
        fate=fate,
        reason=f"{answered}: {cause}" if cause else answered,
        status=status,
        headers=tuple((_SHOWN[name], value.translate(_WITHOUT_NUL)) for name, value in headers if name in _SHOWN),
        body=body,
        retry_after_seconds=_retry_after_seconds(fields.get(b"retry-after", b"")),
    )


def why_all_refused(reply: Reply, points: int) -> str:
    """Why 1.x refused every single point of a batch, in its own fixed words; empty if it did not, or that is not sure.

    Where the points have several faults, it is that of the first one that it looked at.

    :param reply: as :func:`classify` gives it back.
    :param points: how many the batch had.
    """
    if reply.status != HTTPStatus.BAD_REQUEST or _ERROR_HEADER not in dict(reply.headers) or not reply.body:
        return ""  # It is not InfluxDB's, or not whole: then a name out of the batch may stand at its end.
    said = read_said((), reply.body)
    found = None if said is None or not said.is_v1 else _DROPPED.fullmatch(said.text)
    return found[1] if found is not None and found[2] == str(points) else ""


def _fate(status: int, fields: dict[bytes, bytes], said: Said | None, api: Api) -> tuple[Fate, str]:
    """The fate, and in some words of ours the cause, if there is something to say beyond the status."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Fate.REJECT, ""
    if status == HTTPStatus.BAD_REQUEST and _is_own(fields, said, api):
        return Fate.REJECT, ""
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and api is not Api.V1 and _is_own(fields, said, api):
        return Fate.REJECT, ""
    if said is not None and status in (HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR):
        missing = _missing(status, said)
        if missing:
            return (Fate.POSTPONE if missing == _NO_ORGANISATION else Fate.NO_DESTINATION), missing
    return Fate.POSTPONE, ""


def _is_own(fields: dict[bytes, bytes], said: Said | None, api: Api) -> bool:
    """Whether an answer is InfluxDB's, and not that of a proxy before it."""
    if not _OWN_HEADERS[api].isdisjoint(fields):
        return True
    if api is Api.V3:  # It says nothing of the type of its errors.
        return said is not None
    return fields.get(b"content-type", b"").partition(b";")[0].strip().lower() == b"application/json"


def _missing(status: int, said: Said) -> str:
    """What does not exist, if the answer says that it does not: then no waiting mends the write, until it is made."""
    text = said.text.lower()
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # 1.x. Without a name behind it is the default one of the database, which was not asked for.
        return _NO_POLICY if text.partition("retention policy not found:")[2].strip() else ""
    if text.startswith("database not found"):
        return _NO_DATABASE
    if "retention policy" in text and "not found" in text:
        return _NO_POLICY
    if said.code != "not found":
        return ""
    return _NO_ORGANISATION if text.startswith("organization") else _NO_BUCKET


def _retry_after_seconds(value: bytes) -> float | None:
    """The seconds of a `Retry-After`, bounded. InfluxDB sends no dates, so nobody reads them here."""
    if not value.isdigit():
        return None
    return float(min(int(value[:10]), MAX_RETRY_AFTER_SECONDS))
