"""Named cases: what hostile people have long sent to servers, what the gateway answers, and what of it InfluxDB sees.

They are the seeds of the mutations, too. Each is what one stranger sends on one connection.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from attrs import field, frozen

from tests.fuzzing.arena import Door

__all__ = ["CASES", "DICTIONARY", "Case"]

PROXY = b"PROXY TCP6 fc00:dead:beef:4dad::0:1c ::1 28 80"
PING = b"GET /ping HTTP/1.1\r\nHost: a.onion\r\n\r\n"
WRITE = b"POST /write?db=telemetry HTTP/1.1\r\nHost: a.onion\r\n"
CHUNKED = WRITE + b"Transfer-Encoding: chunked\r\n\r\n"


@frozen
class Case:
    """One case.

    :ivar name: what it is.
    :ivar data: what is sent.
    :ivar statuses: of the answers, in their order.
    :ivar lines: what InfluxDB is sent, each line without its time.
    :ivar door: where it is sent to.
    """

    name: str
    data: bytes = field(repr=False)
    statuses: Sequence[int]
    lines: Sequence[bytes] = ()
    door: Door = Door.HTTP


def _write(
    body: bytes = b"m v=1 1", *, headers: bytes = b"", query: bytes = b"db=telemetry", path: bytes = b"/write"
) -> bytes:
    """A write with a declared length."""
    head = b"POST %b?%b HTTP/1.1\r\nHost: a.onion\r\n%bContent-Length: %d\r\n\r\n"
    return head % (path, query, headers, len(body)) + body


def _lines(name: str, body: bytes, status: int, *lines: bytes) -> Case:
    """A body of line protocol in a write that is well-formed for the rest."""
    return Case(name, body, [status], lines, Door.LINES)


def _refused_head(name: str, data: bytes, status: int = 400) -> Case:
    """A head that is refused, and what lies behind it with it."""
    return Case(name, data + PING, [status])


_HEADS = (
    Case("a plain write", _write(), [204], [b"m v=1"]),
    Case("a ping", PING, [204]),
    Case("a pipeline", _write(b"m v=1 1") + PING + _write(b"m v=2 2"), [204, 204, 204], [b"m v=1", b"m v=2"]),
    Case("empty lines before a request", b"\r\n\r\n\r\n" + PING, [204]),
    Case("a length of nothing", _write(b""), [204]),
    Case("a length that is never reached", WRITE + b"Content-Length: 100\r\n\r\nm v=1 1", []),
    Case("a length of ten digits", WRITE + b"Content-Length: 9999999999\r\n\r\n", [413]),
    Case("a body that nobody wants", b"GET /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nm v=1 1", [404]),
    Case("HTTP/1.0", b"GET /ping HTTP/1.0\r\n\r\n" + PING, [204]),
    Case("Connection: close", b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + PING, [204]),
    Case("Expect", WRITE + b"Expect: 100-continue\r\nContent-Length: 7\r\n\r\nm v=1 1", [100, 204], [b"m v=1"]),
    Case("credentials in the target", _write(query=b"db=telemetry&u=admin&p=secret"), [204], [b"m v=1"]),
    Case("an escaped name", _write(query=b"db=tele%6detry"), [204], [b"m v=1"]),
    Case("a line break in a name", _write(query=b"db=a%0d%0aX-Injected:%201"), [204], [b"m v=1"]),
    Case("two databases", _write(query=b"db=telemetry&db=other"), [204], [b"m v=1"]),
    Case("a name that is no UTF-8", _write(query=b"db=%ff"), [400]),
    Case("no database", _write(query=b""), [400]),
    Case("a made-up precision", _write(query=b"db=telemetry&precision=zz"), [400]),
    Case("a DROP by GET", b"GET /query?q=DROP+DATABASE+telemetry HTTP/1.1\r\nHost: a\r\n\r\n", [404]),
    Case(
        "a DROP behind a CREATE",
        b"GET /query?q=CREATE+DATABASE+a%3b+DROP+DATABASE+a HTTP/1.1\r\nHost: a\r\n\r\n",
        [404],
    ),
    Case(
        "a DROP in a form",
        b"POST /query HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 25\r\n\r\nq=DROP+DATABASE+telemetry",
        [404],
    ),
    Case("a path with two slashes", _write(path=b"//write"), [404]),
    Case("a path with an escape", _write(path=b"/%77rite"), [404]),
    Case("the debugger", b"GET /debug/vars HTTP/1.1\r\nHost: a\r\n\r\n", [404]),
    Case("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [404]),
    _refused_head("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    _refused_head("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _refused_head("HTTP/0.9", b"GET /ping\r\n\r\n"),
    _refused_head("HTTP/1.2", b"GET /ping HTTP/1.2\r\nHost: a\r\n\r\n"),
    _refused_head("a method that is none", b"gEt /ping HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("CONNECT", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("a proxy's target", b"GET http://127.0.0.1:8086/ping HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("a fragment", b"GET /ping#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("no Host", b"GET /ping HTTP/1.1\r\n\r\n"),
    _refused_head("two Hosts", b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    _refused_head("a Host with a blank", b"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n"),
    _refused_head("an upgrade", b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    _refused_head("a folded header", b"GET /ping HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    _refused_head("a blank before a colon", WRITE + b"Content-Length : 7\r\n\r\nm v=1 1"),
    _refused_head("a bare line feed", b"GET /ping HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    _refused_head("a bare carriage return", b"GET /ping HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    _refused_head("a NUL in a header", b"GET /ping HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n"),
    _refused_head("a NUL in the target", b"GET /ping\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("two blanks", b"GET  /ping HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused_head("a length and chunks", WRITE + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _refused_head("chunks and a length", WRITE + b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n0\r\n\r\n"),
    _refused_head("two lengths", WRITE + b"Content-Length: 7\r\nContent-Length: 8\r\n\r\nm v=1 1"),
    _refused_head("two equal lengths", WRITE + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\nm v=1 1"),
    _refused_head("a list of lengths", WRITE + b"Content-Length: 7, 7\r\n\r\nm v=1 1"),
    _refused_head("a signed length", WRITE + b"Content-Length: +7\r\n\r\nm v=1 1"),
    _refused_head("a hexadecimal length", WRITE + b"Content-Length: 0x7\r\n\r\nm v=1 1"),
    _refused_head("a negative length", WRITE + b"Content-Length: -7\r\n\r\nm v=1 1"),
    _refused_head("a length of 5000 digits", WRITE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    _refused_head("chunks, disguised", WRITE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    _refused_head("chunks twice", WRITE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    _refused_head("chunks by a tab", WRITE + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
    _refused_head("gzip as a transfer", WRITE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    _refused_head("identity", WRITE + b"Transfer-Encoding: identity\r\nContent-Length: 7\r\n\r\nm v=1 1"),
    _refused_head("chunks in HTTP/1.0", b"POST /write?db=a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _refused_head("another expectation", WRITE + b"Expect: 200-ok\r\nContent-Length: 7\r\n\r\nm v=1 1", 417),
    _refused_head("too long a target", b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000), 414),
    _refused_head("too many headers", b"GET /ping HTTP/1.1\r\nHost: a\r\n%b\r\n" % (b"X: y\r\n" * 101), 431),
    _refused_head("too large a head", b"GET /ping HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"y" * 20000), 431),
    Case("a head without an end", b"GET /ping HTTP/1.1\r\nX: " + b"y" * 20000, [431]),
    Case("half a head", b"GET /ping HTTP/1.1\r\nHo", []),
)

_BODIES = (
    Case("chunks", CHUNKED + b"4\r\nm v=\r\n3\r\n1 1\r\n0\r\n\r\n" + PING, [204, 204], [b"m v=1"]),
    Case("no chunks", CHUNKED + b"0\r\n\r\n" + PING, [204, 204]),
    Case("a chunk with an extension", CHUNKED + b'7;a=b;c="d"\r\nm v=1 1\r\n0\r\n\r\n', [204], [b"m v=1"]),
    Case("chunks with a trailer", CHUNKED + b"7\r\nm v=1 1\r\n0\r\nX: y\r\n\r\n" + PING, [204, 204], [b"m v=1"]),
    Case("a chunk with leading zeros", CHUNKED + b"00007\r\nm v=1 1\r\n0\r\n\r\n", [204], [b"m v=1"]),
    Case("a request in a chunk", CHUNKED + b"%x\r\n" % len(PING) + PING + b"\r\n0\r\n\r\n" + PING, [400, 204]),
    Case("a chunk's size with 0x", CHUNKED + b"0x7\r\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("a negative chunk", CHUNKED + b"-7\r\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("a chunk of 2 to the 64th", CHUNKED + b"10000000000000000\r\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("a chunk that says too little", CHUNKED + b"6\r\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("a chunk that ends with a line feed", CHUNKED + b"7\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("a line feed in an extension", CHUNKED + b"7;a\nb\r\nm v=1 1\r\n0\r\n\r\n" + PING, [400]),
    Case("chunks of nothing but framing", CHUNKED + b"1;%b\r\nm\r\n" % (b"x" * 40) * 600, [400]),
    Case("a chunk that is never there", CHUNKED + b"ffffff\r\nm v=1 1", []),
    Case("more than a write may hold", CHUNKED + b"300000\r\n" + b"#" * 0x300000, [413]),
    Case("gzip", _write(gzip.compress(b"m v=1 1"), headers=b"Content-Encoding: gzip\r\n"), [204], [b"m v=1"]),
    Case("gzip, cut", _write(gzip.compress(b"m v=1 1")[:-9], headers=b"Content-Encoding: gzip\r\n"), [400]),
    Case("gzip that is none", _write(headers=b"Content-Encoding: gzip\r\n"), [400]),
    Case("gzip and more", _write(gzip.compress(b"m v=1 1") + b"x", headers=b"Content-Encoding: gzip\r\n"), [400]),
    Case("a bomb", _write(gzip.compress(b"#" * 5_000_000), headers=b"Content-Encoding: gzip\r\n"), [413]),
    Case("many empty members", _write(gzip.compress(b"") * 100, headers=b"Content-Encoding: gzip\r\n"), [400]),
)  # fmt: skip


def _circuit(name: str, data: bytes, statuses: Sequence[int], *lines: bytes) -> Case:
    """What arrives on the socket of our own tor."""
    return Case(name, data, statuses, lines, Door.CIRCUIT)


_CIRCUITS = (
    _circuit("a PROXY line", PROXY + b"\r\n" + PING, [204]),
    _circuit("a write behind a PROXY line", PROXY + b"\r\n" + _write(), [204], b"m v=1"),
    _circuit("a PROXY line of the manual", b"PROXY TCP6 fc00:dead:beef:4dad::aabb:ccdd ::1 65535 42\r\n" + PING, [204]),
    _circuit("a PROXY line without ::", b"PROXY TCP6 fc00:dead:beef:4dad:1:2 ::1 28 80\r\n" + PING, [204]),
    _circuit("no PROXY line", PING, []),
    _circuit("a PROXY line and nothing", PROXY, []),
    _circuit("two PROXY lines", (PROXY + b"\r\n") * 2 + PING, [400]),
    _circuit("another network", b"PROXY TCP6 fc00:dead:beef:4dae::0:1c ::1 28 80\r\n" + PING, []),
    _circuit("an IPv4 PROXY line", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n" + PING, []),
    _circuit("PROXY UNKNOWN", b"PROXY UNKNOWN\r\n" + PING, []),
    _circuit("a port that is no number", PROXY[:-2] + b"xx\r\n" + PING, []),
    _circuit("too many groups", b"PROXY TCP6 fc00:dead:beef:4dad::0:0:0:1c ::1 28 80\r\n" + PING, []),
    _circuit("a PROXY line by line feeds", PROXY + b"\n\n" + PING, []),
    _circuit("a blank behind a PROXY line", PROXY + b" \r\n" + PING, []),
    _circuit("a PROXY line that never ends", b"PROXY TCP6 " + b"f" * 200, []),
    _circuit("the binary PROXY header", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + PING, []),
)

_LINES = (
    _lines("a point", b"m v=1 1", 204, b"m v=1"),
    _lines("all kinds", b'm,a=b,c=d f=1.5,g=2i,h="x y",i=t 1', 204, b'm,a=b,c=d f=1.5,g=2i,h="x y",i=t'),
    _lines("no time", b"m v=1\nm v=2", 204, b"m v=1", b"m v=2"),
    _lines("comments and blanks", b"# c\n\n  m v=1 1 \n#", 204, b"m v=1"),
    _lines("nothing but a comment", b"# DROP DATABASE telemetry", 204),
    _lines("escapes", b"a\\ b,c\\,d=e\\=f g\\ h=1 1", 204, b"a\\ b,c\\,d=e\\=f g\\ h=1"),
    _lines("one bad line", b"m v=1 1\ngarbage\nm v=2 2", 400, b"m v=1", b"m v=2"),
    _lines("no fields", b"m 1", 400),
    _lines("a comma at the end", b"m v=1, 1", 400),
    _lines("no measurement", b",a=b v=1 1", 400),
    _lines("an empty tag", b"m,a= v=1 1", 400),
    _lines("a tag twice", b"m,a=1,a=2 v=1 1", 400),
    _lines("a tag named time", b"m,time=1 v=1 1", 400),
    _lines("a field named time alone", b"m time=1 1", 400),
    _lines("not a number", b"m v=NaN 1\nm v=1e999 1\nm v=1u 1", 400),
    _lines("an integer too great", b"m v=9223372036854775808i 1", 400),
    _lines("a time too great", b"m v=1 9223372036854775807", 400),
    _lines("a time of many zeros", b"m v=1 " + b"0" * 5000 + b"1", 204, b"m v=1"),
    _lines("CRLF", b"m v=1 1\r\nm v=2 2\r\n", 400),
    _lines("a NUL in a name", b"m\x00 v=1 1", 400),
    _lines("broken UTF-8 in a name", b"m\xff v=1 1", 400),
    _lines("broken UTF-8 in a string", b'm v="\xc3" 1', 400),
    _lines("a string with a line break", b'm v="a\nforged,by=me v=1 1" 1', 400),
    _lines("a string that never ends", b'm v="a 1\nm v=2 2', 400),
    _lines("more behind a string", b'm v="a"b 1', 400),
    _lines("two backslashes", b"m\\\\,a=b v=1 1", 400),
    _lines("a backslash at the end", b"m v=1 1\\", 400),
    _lines("commas and equals signs that make up for each other", b'm a="",c,b="x=t', 400),
    _lines("an escaped line break", b"m\\\nn v=1 1", 400),
    _lines("a name of 64 KiB", b"m" * 66000 + b" v=1 1", 400),
    _lines("many bad lines", b"x\n" * 3000, 400),
)  # fmt: skip

CASES: tuple[Case, ...] = (*_HEADS, *_BODIES, *_CIRCUITS, *_LINES)

DICTIONARY: tuple[bytes, ...] = (
    *[b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"GET /ping", b"HEAD "],
    *[b"POST /write?db=a", b"Host: a\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"],
    *[b"Expect: 100-continue\r\n", b"Content-Encoding: gzip\r\n", b"Connection: close\r\n", b"7\r\n", b"&precision="],
    *[b"Content-Type: application/x-www-form-urlencoded\r\n", b"/api/v2/write?bucket=", b"/api/v3/write_lp?db="],
    *[b"/query?q=CREATE+DATABASE+a", b"%0d%0a", b"PROXY TCP6 fc00:dead:beef:4dad::", b" ::1 28 80\r\n", b"&rp="],
    *[b'"', b"\\", b"\\\\", b"\\,", b"\\ ", b"\\=", b",", b"=", b" ", b"\t", b"#", b"=1", b"=t", b"=1i", b'=""', b" 1"],
    *[b"time", b"\xc3\xa9", b"\xff"],
)
"""What mutations are made of besides the cases."""
