"""What may reach InfluxDB: one request of ours, with lines that mean one thing. Written without the gateway's.

The check of line protocol in `torfluxd.influx` is one large pattern for google-re2. This here is another one, for
Python's `re`, and reads each line twice: once by the rule that a backslash and what follows it are a pair, once by the
rule that a separator behind a backslash is none. Influxd uses both; a line may pass only if they agree.
"""

from __future__ import annotations

import re
from math import isfinite

__all__ = ["faults_of"]

MIN_TIME_NS, MAX_TIME_NS = -(2**63) + 2, 2**63 - 2

_NAME = rb"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+"
_HEAD = re.compile(
    rb"POST /write\?db=%b(?:&rp=%b)?&precision=ns HTTP/1\.1\r\n" % (_NAME, _NAME)
    + rb"Host: 127\.0\.0\.1:8086\r\nContent-Length: ([0-9]+)\r\n\r\n"
)

_NEVER = rb"\x00-\x1f\x7f"
_STRING = rb'"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*+"'
_BARE = rb"[-+.0-9A-Za-z]++"
_BLANKS = rb" [ \t]*+"


def _grammar(measurement: bytes, text: bytes) -> re.Pattern[bytes]:
    pair = rb"%b++=(?:%b|%b)" % (text, _STRING, _BARE)
    tag = rb",%b++=(?:=|%b)++" % (text, text)
    return re.compile(
        rb"(?P<key>(?!#)%b++(?:%b)*+)%b(?P<fields>%b(?:,%b)*+)%b(?P<time>-?[0-9]+)"
        % (measurement, tag, _BLANKS, pair, pair, _BLANKS)
    )


_PAIRS = _grammar(
    rb"(?:[^%b, \\]|\\[^%b])" % (_NEVER, _NEVER),
    rb"(?:[^%b,= \\]|\\[^%b])" % (_NEVER, _NEVER),
)
_BEHIND = _grammar(
    rb"(?:[^%b, ]|(?<=\\)[, ])" % _NEVER,
    rb"(?:[^%b,= ]|(?<=\\)[,= ])" % _NEVER,
)
_VALUE = re.compile(rb"(?:[^%b,= \\]|\\[^%b])++=(%b|%b)" % (_NEVER, _NEVER, _STRING, _BARE))
_STRINGS = re.compile(rb"(?<==)%b" % _STRING)
_AMBIGUOUS = re.compile(rb"(?<!\\)(?:\\\\)+[,= ]")
"""A separator behind an even number of backslashes: escaped by the one rule, and not by the other."""

_BOOLEANS = frozenset(b"t T true True TRUE f F false False FALSE".split())


def faults_of(request: bytes) -> list[str]:
    """What is wrong with bytes that went to InfluxDB; nothing of them is repeated."""
    head = _HEAD.match(request)
    if head is None:
        return ["a request to InfluxDB that is none of ours"]
    body = request[head.end() :]
    if len(body) != int(head[1]):
        return ["a request to InfluxDB whose length is not what it says"]
    return [fault for line in body.split(b"\n") if (fault := _fault_of(line))]


def _fault_of(line: bytes) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return "a line that is no UTF-8"
    pairs, behind = _PAIRS.fullmatch(line), _BEHIND.fullmatch(line)
    if pairs is None or behind is None:
        return "a line that is no point with a time"
    names = pairs["key"] + b"\n" + _STRINGS.sub(b"", pairs["fields"])
    if any(pairs.span(part) != behind.span(part) for part in ("key", "fields", "time")) or _AMBIGUOUS.search(names):
        return "a line that can be read in two ways"
    if not MIN_TIME_NS <= int(pairs["time"][-21:]) <= MAX_TIME_NS:
        return "a time that InfluxDB cannot hold"
    if not all(_is_value(value) for value in _VALUE.findall(pairs["fields"])):
        return "a value that InfluxDB does not take"
    return ""


def _is_value(value: bytes) -> bool:
    if value[:1] == b'"' or value in _BOOLEANS:
        return True
    try:
        if value[-1:] == b"i":
            return value[:1] != b"+" and -(2**63) <= int(value[:-1]) < 2**63
        return value[:1] != b"+" and isfinite(float(value))
    except ValueError:
        return False
