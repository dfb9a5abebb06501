"""What strangers hear about writes, whatever is wrong: constants, one for each dialect."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from torfluxd.boundaries import Answer
from torfluxd.influx.dialect import Dialect, Write
from torfluxd.influx.inflate import GzipFault, inflate

if TYPE_CHECKING:
    from torfluxd.influx.check import Checked

__all__ = ["RETRY_AFTER_SECONDS", "WRITTEN", "plain_body", "told_of_bad_lines", "too_large", "unavailable"]

RETRY_AFTER_SECONDS = 30
"""When a writer may come back: about as long as a restart of InfluxDB takes."""

_GZIP: Final = frozenset((b"gzip", b"x-gzip"))
"""`x-gzip` is its old name (RFC 9110 section 8.4.1.3)."""

WRITTEN: Final = Answer(HTTPStatus.NO_CONTENT)
"""His lines are stored, or will be."""


@cache
def unavailable(dialect: Dialect) -> Answer:
    """What a writer hears while nothing can be done with his lines, whatever the cause."""
    return dialect.refuse(
        HTTPStatus.SERVICE_UNAVAILABLE, "the database takes no writes at the moment", RETRY_AFTER_SECONDS
    )


@cache
def too_large(dialect: Dialect) -> Answer:
    """What a writer hears whose body is over a limit."""
    return dialect.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, GzipFault.TOO_LARGE.value)


def told_of_bad_lines(write: Write, checked: Checked) -> Answer:
    """What a writer hears of bad lines; the good ones are stored, unless he wants all or nothing."""
    kept = bool(checked.points) and not write.is_whole
    return write.dialect.refuse_lines(checked.bad, is_whole=write.is_whole, kept=kept)


def plain_body(write: Write, body: bytes, content_encoding: bytes, limit_bytes: int) -> bytes | Answer:
    """A body without its encoding, or what its writer hears because it cannot be read.

    :param content_encoding: how it is encoded. Only gzip is known, as to InfluxDB; with another one it stays as it is.
    :param limit_bytes: how large it may be, inflated.
    """
    if content_encoding.lower() not in _GZIP:
        return body
    inflated = inflate(body, limit_bytes)
    if inflated is GzipFault.TOO_LARGE:
        return too_large(write.dialect)
    if isinstance(inflated, GzipFault):
        return write.dialect.refuse(HTTPStatus.BAD_REQUEST, inflated.value)
    return inflated
