"""What every generation of InfluxDB's write API has in common: requests in, values and answers out.

Pure. A :class:`Dialect` is one generation, as strangers speak it: see `dialect_v1`, `dialect_v2` and `dialect_v3`.
Which of them the vendor's InfluxDB speaks is another matter: see `api`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal, Protocol
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from torfluxd.boundaries import Answer, Destination, Reply

__all__ = [
    "BadLine",
    "Dialect",
    "Precision",
    "Write",
    "go_json",
    "is_too_long",
    "read_bucket",
    "read_parameters",
    "retry_after",
]

Precision = Literal["ns", "u", "ms", "s", "m", "h", "auto"]
"""The unit of the timestamps of a write, in the words of 1.x; `auto` is 3.x's: each time tells its unit by its size."""

MAX_NAME_BYTES = 255
"""How long the name of a database, or of a retention policy, can be: 1.x creates none that is longer (tried), and 3.8
takes 64 characters for both. So what is for a longer one is for nowhere, and need not wait in a spool."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


@frozen
class BadLine:
    """A line that is refused.

    Its text is somebody's data: for him who sent it, not for `repr`, nor for a log.

    :ivar number: which line of the body it is, or begins with, from 1.
    :ivar text: the line, or its beginning.
    :ivar reason: why; influxd's words where it refuses the line, too.
    """

    number: int
    text: bytes = field(repr=False)
    reason: str = field(repr=False)

    def __str__(self) -> str:
        """As influxd says it: `unable to parse 'garbage': missing fields`."""
        return f"unable to parse '{self.text.decode('utf-8', 'replace')}': {self.reason}"


class ReadWrite(Protocol):
    """Reads what a dialect says in the query of a write."""

    def __call__(self, query: bytes) -> Write | Answer:
        """The write that is asked for, or the answer that refuses it."""


class Refuse(Protocol):
    """Says no in the shape of a dialect."""

    def __call__(self, status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
        """The answer with this status and this text, which is for the writer."""


class RefuseLines(Protocol):
    """Says in the shape of a dialect which lines are bad."""

    def __call__(self, bad: Sequence[BadLine], *, is_whole: bool, kept: bool) -> Answer:
        """The answer to a write with bad lines.

        :param bad: one or more, in their order.
        :param is_whole: whether that makes the whole body bad, see :attr:`Write.is_whole`.
        :param kept: whether others of the same body are stored.
        """


class Retell(Protocol):
    """Says in the shape of a dialect what an InfluxDB said, whichever generation that is."""

    def __call__(self, reply: Reply) -> Answer:
        """The answer to a write that InfluxDB refused for what is in it, or for where it was to go.

        :param reply: with a status, and a fate of `REJECT` or `NO_DESTINATION`.
        """


@frozen(eq=False)
class Dialect:
    """One generation of InfluxDB's write API, as strangers speak it.

    :ivar path: where it takes writes, compared byte for byte.
    :ivar read_write: reads the query of a write.
    :ivar refuse: shapes a refusal.
    :ivar refuse_lines: shapes a refusal of lines that we found bad.
    :ivar retell: shapes a refusal of InfluxDB's.
    """

    path: bytes
    read_write: ReadWrite
    refuse: Refuse
    refuse_lines: RefuseLines
    retell: Retell


@frozen
class Write:
    """What a write asks for besides its lines.

    :ivar dialect: in which it was asked, and is to be answered.
    :ivar destination: where the lines go.
    :ivar precision: the unit of their timestamps.
    :ivar is_whole: whether one bad line makes the whole body bad; else the good ones are kept.
    """

    dialect: Dialect = field(repr=False)
    destination: Destination
    precision: Precision = "ns"
    is_whole: bool = False


def read_parameters(query: bytes) -> dict[bytes, bytes]:
    """The parameters of a query, or of a form, as InfluxDB's Go reads them (tried).

    The first value of a name wins; a pair with a semicolon or a broken escape in it is as good as absent.
    """
    parameters: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        if b";" not in pair and not _BROKEN_ESCAPE.search(pair):
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            parameters.setdefault(unquote_to_bytes(name), unquote_to_bytes(value))
    return parameters


def read_bucket(name: bytes) -> Destination:
    """The database and the retention policy of a bucket's name, `db` or `db/rp`, as 1.8 parts it.

    :raises ValueError: it is not UTF-8, there is no database in it, or one of them is too long to be anywhere.
    """
    database, _, retention_policy = name.decode("utf-8").partition("/")
    if not database:
        raise ValueError("a bucket has a name")
    if is_too_long(database) or is_too_long(retention_policy):
        raise ValueError("no bucket has so long a name")
    return Destination(database, retention_policy or None)


def is_too_long(name: str) -> bool:
    """Whether no database and no retention policy can have this name."""
    return len(name.encode("utf-8")) > MAX_NAME_BYTES


def go_json(text: str) -> bytes:
    """A string as Go's encoding/json writes it: in UTF-8, and harmless in a web page."""
    quoted = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return quoted.encode("utf-8")


def retry_after(seconds: int | None) -> tuple[tuple[bytes, bytes], ...]:
    """The header that says when to come back, if anything is to be said."""
    return () if seconds is None else ((b"Retry-After", b"%d" % seconds),)
