"""What InfluxDB's clients ask, and how InfluxDB answers them: requests in, values and constant answers out.

Pure. A :class:`Dialect` is one generation of InfluxDB's write API; :data:`WRITE_DIALECTS` knows them by their path.
Shapes and texts are those of influxd 1.6.7 (tried) and, where 1.6.7 has none, of 1.8 (read).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, Literal, Protocol
from urllib.parse import quote, unquote_to_bytes

from attrs import field, frozen

from torfluxd.boundaries import Answer, Destination

__all__ = [
    "DATABASE_CREATED",
    "HEALTHY",
    "INFLUXDB_VERSION",
    "NOT_FOUND",
    "PONG",
    "PONG_VERBOSE",
    "V1",
    "WRITE_DIALECTS",
    "Dialect",
    "Precision",
    "Write",
    "answer_ping",
    "answer_statement",
    "read_parameters",
    "write_target",
]

INFLUXDB_VERSION: Final = "1.8.10"
"""The version we answer with, the same for everybody. Stock clients need one: `influxdb` 5.x fails on a `/ping` without
`X-Influxdb-Version`. The vendor's own is nobody's business. 1.8.10 is the last release of the API that we speak: its
`/health`, its errors, its precisions."""

MAX_ERROR_HEADER_BYTES = 1024
"""InfluxDB cuts `X-Influxdb-Error` here (tried with 1.6.7)."""

Precision = Literal["ns", "u", "ms", "s", "m", "h"]
"""The unit of the timestamps of a write, in the words of 1.x."""

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

_CONSISTENCIES = frozenset({"any", "one", "quorum", "all"})
"""The consistency levels of 1.x, compared without regard to case (tried)."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_CREATE_DATABASE = re.compile(
    rb"""
    \s*+ CREATE \s++ DATABASE \s++
    (?: [A-Z_][A-Z0-9_]*+ | "(?:[^"\\\n]|\\.)++" )       # a bare or a quoted name
    (?: \s++ WITH \s (?:[^;"]|"(?:[^"\\\n]|\\.)*+")*+ )?+   # its retention policy, whatever it says
    [\s;]*+                                              # and no other statement
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Every quantifier is possessive: whatever a stranger sends, this takes linear time."""

_JSON = (b"Content-Type", b"application/json")
_BUILD = (b"X-Influxdb-Build", b"OSS")
_VERSION = (b"X-Influxdb-Version", INFLUXDB_VERSION.encode("ascii"))

NOT_FOUND: Final = Answer(404)
"""For everything that does not exist: the same bytes, whatever was asked for."""

PONG: Final = Answer(204, (_BUILD, _VERSION))
"""InfluxDB's answer to `/ping`."""

PONG_VERBOSE: Final = Answer(200, (_JSON, _BUILD, _VERSION), b'{"version":"%b"}\n' % INFLUXDB_VERSION.encode("ascii"))
"""1.8's answer to `/ping?verbose=true`."""

HEALTHY: Final = Answer(
    200,
    (_JSON,),
    b'{"checks":[],"message":"ready for queries and writes","name":"influxdb","status":"pass","version":"%b"}\n'
    % INFLUXDB_VERSION.encode("ascii"),
)
"""1.8's answer to `/health`."""

DATABASE_CREATED: Final = Answer(200, (_JSON,), b'{"results":[{"statement_id":0}]}\n')
"""InfluxDB's answer to a statement that succeeds and has nothing to show (tried with 1.6.7)."""


class ReadWrite(Protocol):
    """Reads what a dialect says in the query of a write."""

    def __call__(self, query: bytes) -> Write | Answer:
        """The write that is asked for, or the answer that refuses it."""


class Refuse(Protocol):
    """Says no in the shape of a dialect."""

    def __call__(self, status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
        """The answer with this status and this text, which is for the writer."""


@frozen(eq=False)
class Dialect:
    """One generation of InfluxDB's write API.

    :ivar read_write: reads the query of a write.
    :ivar refuse: shapes a refusal.
    """

    read_write: ReadWrite
    refuse: Refuse


@frozen
class Write:
    """What a write asks for besides its lines.

    :ivar dialect: in which it was asked, and is to be answered.
    :ivar destination: where the lines go.
    :ivar precision: the unit of their timestamps.
    :ivar consistency: 1.x's consistency level, which clusters know, or None.
    """

    dialect: Dialect = field(repr=False)
    destination: Destination
    precision: Precision = "ns"
    consistency: str | None = None


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


def write_target(write: Write) -> bytes:
    """The request target that asks 1.x for a write, built anew out of what was understood and nothing else."""
    destination = write.destination
    target = f"/write?db={quote(destination.database, safe='')}"
    if destination.retention_policy is not None:
        target += f"&rp={quote(destination.retention_policy, safe='')}"
    if write.consistency is not None:
        target += f"&consistency={write.consistency}"
    return f"{target}&precision={write.precision}".encode("ascii")


def answer_ping(query: bytes) -> Answer:
    """The answer to `/ping`, by the rule of 1.8: `verbose` is anything but empty, `0` and `false`."""
    verbose = read_parameters(query).get(b"verbose", b"")
    return PONG if verbose in {b"", b"0", b"false"} else PONG_VERBOSE


def answer_statement(query: bytes, form: bytes = b"") -> Answer:
    """The answer to `/query`, without asking InfluxDB.

    Telegraf, `influxdb` and others begin with `CREATE DATABASE`. They hear that it is done: whether there is such a
    database is for whoever owns InfluxDB to say. Everything else does not exist.

    :param form: the body of a POST that is a form; what it says goes before what the query says (tried).
    """
    statement = read_parameters(form).get(b"q") or read_parameters(query).get(b"q", b"")
    return DATABASE_CREATED if _CREATE_DATABASE.fullmatch(statement) else NOT_FOUND


def _go_json(text: str) -> bytes:
    """A string as Go's encoding/json writes it: in UTF-8, and harmless in a web page."""
    quoted = json.dumps(text, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return quoted.encode("utf-8")


_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")


def _read_write_v1(query: bytes) -> Write | Answer:
    """Read a write of 1.x. Credentials (`u`, `p`) and parameters that it does not know are left behind."""
    parameters = read_parameters(query)
    try:
        database = parameters.get(b"db", b"").decode("utf-8")
        retention_policy = parameters.get(b"rp", b"").decode("utf-8")
    except UnicodeDecodeError:
        return _refuse_v1(400, "names of databases and retention policies are UTF-8")
    if not database:
        return _refuse_v1(400, "database is required")
    unit = parameters.get(b"precision", b"")
    if unit not in _PRECISIONS:
        quoted = json.dumps(unit.decode("utf-8", "replace"))
        return _refuse_v1(400, f"invalid precision {quoted} (use n, u, ms, s, m or h)")
    consistency = parameters.get(b"consistency", b"").decode("utf-8", "replace").lower()
    if consistency and consistency not in _CONSISTENCIES:
        return _refuse_v1(400, "invalid consistency level")
    return Write(V1, Destination(database, retention_policy or None), _PRECISIONS[unit], consistency or None)


def _refuse_v1(status: int, text: str, retry_after_seconds: int | None = None) -> Answer:
    """Say no as 1.x does: in a JSON object, and once more in a header."""
    # influxd puts a space where a line breaks, and so do we for whatever no header may hold.
    error = (b"X-Influxdb-Error", _CONTROLS.sub(b" ", text.encode("utf-8")[:MAX_ERROR_HEADER_BYTES]))
    headers = (_JSON, error)
    body = b'{"error":%b}\n' % _go_json(text)
    if retry_after_seconds is None:
        return Answer(status, headers, body)
    return Answer(status, (*headers, (b"Retry-After", b"%d" % retry_after_seconds)), body)


V1: Final = Dialect(_read_write_v1, _refuse_v1)
"""`/write` of 1.x, which 1.8, 2.x, 3.x and VictoriaMetrics serve too."""

WRITE_DIALECTS: Mapping[bytes, Dialect] = {b"/write": V1}
"""The paths that take writes, compared byte for byte."""
