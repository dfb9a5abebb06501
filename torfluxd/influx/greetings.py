"""What clients ask before they write, and the constant answers to it: `/ping`, `/health`, `CREATE DATABASE`.

Pure, and without a word from InfluxDB. Shapes and texts are those of influxd 1.6.7 (tried) and, where 1.6.7 has none,
of 1.8 (read). The clients of 2.x and 3.x are content with them: they look for a status of 2xx, for
`X-Influxdb-Version`, and in `/health` for `"status":"pass"`.
"""

from __future__ import annotations

import re
from typing import Final

from torfluxd.boundaries import Answer
from torfluxd.influx.dialect import read_parameters

__all__ = [
    "DATABASE_CREATED",
    "HEALTHY",
    "INFLUXDB_VERSION",
    "NOT_FOUND",
    "PONG",
    "PONG_VERBOSE",
    "answer_ping",
    "answer_statement",
]

INFLUXDB_VERSION: Final = "1.8.10"
"""The version we answer with, the same for everybody. Stock clients need one: `influxdb` 5.x fails on a `/ping` without
`X-Influxdb-Version`. The vendor's own is nobody's business. 1.8.10 is the last release of the API that we speak: its
`/health`, its errors, its precisions."""

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
