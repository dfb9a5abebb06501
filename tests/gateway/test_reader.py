"""What the door takes for a request, and what it does not: llhttp's strictness and ours, at every split."""

from __future__ import annotations

import contextlib
from itertools import pairwise

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.exchange import Answer, Head
from torfluxd.gateway.heads import HeadReader, RefusedError
from torfluxd.gateway.reader import RequestReader
from torfluxd.gateway.wire import BAD_REQUEST, EXPECTATION_FAILED, HEAD_TOO_LARGE, TARGET_TOO_LONG

Seen = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]
"""Method, target, headers, body."""


def read(*pieces: bytes, bounds: Bounds | None = None) -> tuple[list[Seen], Answer | None]:
    """Read everything as the door does, and tell the whole requests and the refusal behind them."""
    bounds = bounds or Bounds()
    reader = RequestReader(HeadReader(bounds), bounds)
    seen: list[Seen] = []
    held = b""
    body = b""
    head = Head(b"", b"", ())
    for piece in pieces:
        data, at = held + piece, 0
        try:
            while at < len(data):
                start = at
                if reader.complete:
                    at = reader.read_head(data, start)
                    if at > start:
                        assert reader.current is not None
                        head, body = reader.current.head, b""
                else:
                    at = reader.read_body(data, start)
                if at == start:
                    break
                body += reader.take_body()
                if reader.complete:
                    seen.append((head.method, head.target, list(head.headers), body))
        except RefusedError as refused:
            return seen, refused.answer
        held = data[at:]
    return seen, None


class _Plain:
    """llhttp without us, given everything at once: the requests it sees, as far as it gets."""

    def __init__(self, data: bytes) -> None:
        self.seen: list[Seen] = []
        self._body = b""
        self._parser = HttpRequestParser(self)
        with contextlib.suppress(HttpParserError, HttpParserUpgrade):
            self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body, self._in_head = b"", [], b"", True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        self.seen.append((self._parser.get_method(), self._target, self._headers, self._body))


HOST = b"Host: a.onion\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: b.onion\r\n\r\n"

MALFORMED_HEADS = {
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two hosts in 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "list of hosts": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "host beyond ASCII": b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "tab before colon": b"GET / HTTP/1.1\r\n%bA\t: b\r\n\r\n" % HOST,
    "no colon": b"GET / HTTP/1.1\r\n%bA\r\n\r\n" % HOST,
    "no name": b"GET / HTTP/1.1\r\n%b: a\r\n\r\n" % HOST,
    "folded value": b"GET / HTTP/1.1\r\n%bA: b\r\n c\r\n\r\n" % HOST,
    "folded with a tab": b"GET / HTTP/1.1\r\n%bA: b\r\n\tc\r\n\r\n" % HOST,
    "folded after nothing": b"GET / HTTP/1.1\r\n A: b\r\n%b\r\n" % HOST,
    "folded length": b"POST / HTTP/1.1\r\n%bContent-Length: 1\r\n 0\r\n\r\n" % HOST,
    "folded encoding": b"POST / HTTP/1.1\r\n%bTransfer-Encoding:\r\n chunked\r\n\r\n" % HOST,
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a header": b"GET / HTTP/1.1\r\n%bA: b\nC: d\r\n\r\n" % HOST,
    "bare LFs only": b"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare LF before": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\n%bA: b\rC: d\r\n\r\n" % HOST,
    "bare CR before": b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "line ends before": b"\r\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\n%bA: b\x00c\r\n\r\n" % HOST,
    "NUL in a name": b"GET / HTTP/1.1\r\n%bA\x00: b\r\n\r\n" % HOST,
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\n%b\r\n" % HOST,
    "control character in a value": b"GET / HTTP/1.1\r\n%bA: \x1b[2J\r\n\r\n" % HOST,
    "vertical tab": b"GET / HTTP/1.1\r\n%bA: \x0bb\r\n\r\n" % HOST,
    "DEL in a value": b"GET / HTTP/1.1\r\n%bA: \x7f\r\n\r\n" % HOST,
    "control character in the target": b"GET /\x01 HTTP/1.1\r\n%b\r\n" % HOST,
    "tab in the target": b"GET /a\tb HTTP/1.1\r\n%b\r\n" % HOST,
    "space in the target": b"GET /a b HTTP/1.1\r\n%b\r\n" % HOST,
    "target beyond ASCII": b"GET /\xff HTTP/1.1\r\n%b\r\n" % HOST,
    "name beyond ASCII": b"GET / HTTP/1.1\r\n%bA\xff: b\r\n\r\n" % HOST,
    "two spaces before the target": b"GET  / HTTP/1.1\r\n%b\r\n" % HOST,
    "two spaces behind the target": b"GET /  HTTP/1.1\r\n%b\r\n" % HOST,
    "space at the end of the line": b"GET / HTTP/1.1 \r\n%b\r\n" % HOST,
    "space before the method": b" GET / HTTP/1.1\r\n%b\r\n" % HOST,
    "lower-case method": b"get / HTTP/1.1\r\n%b\r\n" % HOST,
    "unknown method": b"FROBNICATE / HTTP/1.1\r\n%b\r\n" % HOST,
    "no version": b"GET /\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\n%b\r\n" % HOST,
    "version 1.2": b"GET / HTTP/1.2\r\n%b\r\n" % HOST,
    "version 1.11": b"GET / HTTP/1.11\r\n%b\r\n" % HOST,
    "version 2.0": b"GET / HTTP/2.0\r\n%b\r\n" % HOST,
    "version in lower case": b"GET / http/1.1\r\n%b\r\n" % HOST,
    "another protocol": b"GET / RTSP/1.0\r\n%b\r\n" % HOST,
    "another one": b"SOURCE / ICE/1.0\r\n%b\r\n" % HOST,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\x04\x01\r\n\r\n",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\n%b\r\n" % HOST,
    "CONNECT to a path": b"CONNECT / HTTP/1.1\r\n%b\r\n" % HOST,
    "upgrade to h2c": b"GET / HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" % HOST,
    "absolute target": b"GET http://127.0.0.1:8086/query HTTP/1.1\r\n%b\r\n" % HOST,
    "authority as target": b"GET a:80 HTTP/1.1\r\n%b\r\n" % HOST,
    "asterisk": b"GET * HTTP/1.1\r\n%b\r\n" % HOST,
    "fragment": b"GET /a#b HTTP/1.1\r\n%b\r\n" % HOST,
}

MALFORMED_FRAMINGS = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n",
    "two different lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n",
    "list of lengths": b"Content-Length: 2, 2\r\n",
    "signed length": b"Content-Length: +5\r\n",
    "negative length": b"Content-Length: -5\r\n",
    "hexadecimal length": b"Content-Length: 0x2\r\n",
    "empty length": b"Content-Length:\r\n",
    "length with a space": b"Content-Length: 2 2\r\n",
    "length with a point": b"Content-Length: 2.0\r\n",
    "length with an underscore": b"Content-Length: 1_0\r\n",
    "length of eleven digits": b"Content-Length: 00000000002\r\n",
    "length above 64 bits": b"Content-Length: 18446744073709551618\r\n",
    "length just below 64 bits": b"Content-Length: 18446744073709551615\r\n",
    "length of five thousand digits": b"Content-Length: %b\r\n" % (b"9" * 5000),
    "length and encoding": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    "encoding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
    "xchunked": b"Transfer-Encoding: xchunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "identity and length": b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n",
    "gzip and chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "two encodings, one unknown": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "chunked with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "chunked, then identity": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked and a comma": b"Transfer-Encoding: chunked,\r\n",
    "comma and chunked": b"Transfer-Encoding: ,chunked\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "empty encoding": b"Transfer-Encoding:\r\n",
    "vertical tab and chunked": b"Transfer-Encoding: \x0bchunked\r\n",
}

MALFORMED_CHUNKS = {
    "LF after a size": b"2\nhi\r\n0\r\n\r\n",
    "LF after data": b"2\r\nhi\n0\r\n\r\n",
    "LFs at the end": b"2\r\nhi\r\n0\n\n",
    "CRLF and LF at the end": b"2\r\nhi\r\n0\r\n\n",
    "nothing after data": b"2\r\nhi0\r\n\r\n",
    "more data than the size": b"2\r\nhix\r\n0\r\n\r\n",
    "0x": b"0x2\r\nhi\r\n0\r\n\r\n",
    "signed": b"+2\r\nhi\r\n0\r\n\r\n",
    "negative": b"-2\r\nhi\r\n0\r\n\r\n",
    "space before": b" 2\r\nhi\r\n0\r\n\r\n",
    "space behind": b"2 \r\nhi\r\n0\r\n\r\n",
    "tab behind": b"2\t\r\nhi\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nhi\r\n0\r\n\r\n",
    "empty": b"\r\nhi\r\n0\r\n\r\n",
    "above 64 bits": b"10000000000000000\r\nhi\r\n0\r\n\r\n",
    "LF in an extension": b"2;a=b\nhi\r\n0\r\n\r\n",
    "CR in an extension": b"2;a=\rb\r\nhi\r\n0\r\n\r\n",
    "NUL in an extension": b"2;a=\x00\r\nhi\r\n0\r\n\r\n",
    "length in a trailer": b"2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n",
    "encoding in a trailer": b"2\r\nhi\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "folded trailer": b"2\r\nhi\r\n0\r\nA: b\r\n c\r\n\r\n",
    "LF in a trailer": b"2\r\nhi\r\n0\r\nA: b\n\r\n",
}

CHUNKED_HEAD = b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % HOST


def every_byte(data: bytes) -> list[bytes]:
    """The same bytes, one by one."""
    return [data[at : at + 1] for at in range(len(data))]


class MalformedTests(SynchronousTestCase):
    """What is no request is refused, arriving in one piece or byte by byte, and nothing behind it is read."""

    def check(self, cases: dict[str, bytes], before: bytes = b"", behind: bytes = b"") -> None:
        """Each case, between `before` and `behind`, is refused."""
        for name, malformed in cases.items():
            wire = NEXT + before + malformed + behind + NEXT
            for pieces in ([wire], every_byte(wire)):
                seen, refusal = read(*pieces)
                self.assertEqual((name, refusal), (name, BAD_REQUEST))
                self.assertEqual([target for _, target, _, _ in seen], [b"/next"], name)

    def test_heads(self) -> None:
        """No malformed head is served."""
        self.check(MALFORMED_HEADS)

    def test_framings(self) -> None:
        """No body is read whose length could be read in two ways."""
        self.check(MALFORMED_FRAMINGS, b"POST / HTTP/1.1\r\n" + HOST, b"\r\n2\r\nhi\r\n0\r\n\r\n")

    def test_chunks(self) -> None:
        """No malformed chunked body is served."""
        self.check(MALFORMED_CHUNKS, CHUNKED_HEAD)

    def test_chunks_in_http10(self) -> None:
        """HTTP/1.0 knows no chunks."""
        _, refusal = read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        self.assertEqual(refusal, BAD_REQUEST)

    def test_expectations(self) -> None:
        """Only `100-continue` can be expected."""
        _, refusal = read(b"POST / HTTP/1.1\r\n%bExpect: the-unexpected\r\n\r\n" % HOST)
        self.assertEqual(refusal, EXPECTATION_FAILED)
        _, refusal = read(b"POST / HTTP/1.1\r\n%bExpect: 100-continue\r\nExpect: x\r\n\r\n" % HOST)
        self.assertEqual(refusal, BAD_REQUEST)


class TakenTests(SynchronousTestCase):
    """What is unusual, and right."""

    def check_taken(self, wire: bytes, *expected: tuple[bytes, bytes, bytes]) -> None:
        """Exactly these methods, targets and bodies are read."""
        halves = [[wire[:cut], wire[cut:]] for cut in range(1, len(wire))]
        for pieces in ([wire], every_byte(wire), *halves):
            seen, refusal = read(*pieces)
            self.assertIsNone(refusal)
            self.assertEqual([(method, target, body) for method, target, _, body in seen], list(expected))

    def test_targets(self) -> None:
        """Targets are passed on as they are, whatever a path or query may hold; `OPTIONS *` exists."""
        for target in (b"/", b"//", b"/%77rite?db=a&db=b", b"/..;/%00", b'/a"<>{}|\\^`', b"/?" + b"q" * 2000):
            self.check_taken(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST), (b"GET", target, b""))
        self.check_taken(b"OPTIONS * HTTP/1.1\r\n%b\r\n" % HOST, (b"OPTIONS", b"*", b""))

    def test_hosts(self) -> None:
        """A `Host` may be empty, have a port, or be an IPv6 address."""
        for host in (b"", b"a.onion:8086", b"[::1]:8086", b"_x-y~z.%61"):
            self.check_taken(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, (b"GET", b"/", b""))

    def test_lengths(self) -> None:
        """White space around a length, leading zeros and a body on GET are right."""
        for length in (b"2", b"02", b"  2", b"2  ", b"\t2", b"0000000002"):
            wire = b"GET / HTTP/1.1\r\n%bContent-Length: %b\r\n\r\nhi" % (HOST, length)
            self.check_taken(wire + NEXT, (b"GET", b"/", b"hi"), (b"GET", b"/next", b""))

    def test_chunks(self) -> None:
        """Chunks may have leading zeros, extensions and trailers, and `chunked` any case."""
        for chunks in (
            b"2\r\nhi\r\n0\r\n\r\n",
            b"0002\r\nhi\r\n000\r\n\r\n",
            b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
            b'2;a=b;c="d;\\""\r\nhi\r\n0;x\r\n\r\n',
            b"2\r\nhi\r\n0\r\nA: b\r\nHost: c\r\n\r\n",
        ):
            wire = b"POST / HTTP/1.1\r\n%bTransfer-Encoding: cHuNkEd\r\n\r\n" % HOST
            self.check_taken(wire + chunks + NEXT, (b"POST", b"/", b"hi"), (b"GET", b"/next", b""))

    def test_trailers_are_nobodys_headers(self) -> None:
        """A trailer is no header, neither of its own request nor of the next one."""
        seen, _ = read(CHUNKED_HEAD + b"0\r\nX-A: b\r\nX-C: d\r\n\r\n" + NEXT)
        self.assertEqual([headers for _, _, headers, _ in seen][1], [(b"host", b"b.onion")])
        self.assertNotIn(b"x-a", dict(seen[0][2]))

    def test_upgrade_that_is_not_asked_for(self) -> None:
        """An `Upgrade` header that `Connection` does not name asks for nothing."""
        self.check_taken(b"GET / HTTP/1.1\r\n%bUpgrade: h2c\r\n\r\n" % HOST, (b"GET", b"/", b""))


class BoundTests(SynchronousTestCase):
    """The bounds of a head, and of what surrounds a body, at their edge."""

    def check_edge(self, bounds: Bounds, inside: bytes, outside: bytes, refusal: Answer) -> None:
        """`inside` is taken, `outside` is not."""
        for pieces in (lambda wire: [wire], every_byte):
            seen, nothing = read(*pieces(inside), bounds=bounds)
            self.assertEqual((len(seen), nothing), (1, None))
            self.assertEqual(read(*pieces(outside), bounds=bounds), ([], refusal))

    def test_head_bytes(self) -> None:
        """A head of exactly `head_bytes` is taken, and one byte more is not."""
        head = b"GET / HTTP/1.1\r\n%bA: %%b\r\n\r\n" % HOST
        room = 200 - len(head % b"")
        self.check_edge(Bounds(head_bytes=200), head % (b"x" * room), head % (b"x" * (room + 1)), HEAD_TOO_LARGE)

    def test_endless_head(self) -> None:
        """A head that does not end is refused when it is as long as none may be, not later."""
        bounds = Bounds(head_bytes=200)
        head = b"GET / HTTP/1.1\r\nA: " + b"x" * 200
        self.assertEqual(read(head[:199], bounds=bounds), ([], None))
        self.assertEqual(read(head[:200], bounds=bounds), ([], HEAD_TOO_LARGE))
        self.assertEqual(read(b"\r\n" * 100, bounds=bounds), ([], HEAD_TOO_LARGE))

    def test_headers(self) -> None:
        """Exactly `headers` headers are taken, and one more is not."""
        head = b"GET / HTTP/1.1\r\n%b%%b\r\n" % HOST
        self.check_edge(Bounds(headers=9), head % (b"A: b\r\n" * 8), head % (b"A: b\r\n" * 9), HEAD_TOO_LARGE)

    def test_target_bytes(self) -> None:
        """A target of exactly `target_bytes` is taken, and one byte more is not."""
        head = b"GET /%%b HTTP/1.1\r\n%b\r\n" % HOST
        self.check_edge(Bounds(target_bytes=9), head % (b"x" * 8), head % (b"x" * 9), TARGET_TOO_LONG)

    def test_length_digits(self) -> None:
        """A length of exactly `content_length_digits` is taken, and one digit more is not."""
        head = b"POST / HTTP/1.1\r\n%bContent-Length: %%b\r\n\r\nx" % HOST
        self.check_edge(Bounds(content_length_digits=3), head % b"001", head % b"0001", BAD_REQUEST)

    def test_extensions(self) -> None:
        """What surrounds a chunked body may be `chunk_overhead_bytes` more than the body, and no byte longer."""
        # On the wire: 1;xxx CRLF a CRLF 0 CRLF CRLF; the payload is one byte.
        wire = CHUNKED_HEAD + b"1;%b\r\na\r\n0\r\n\r\n"
        room = 2 + 100 - len(b"1;\r\na\r\n0\r\n\r\n")
        bounds = Bounds(chunk_overhead_bytes=100)
        self.check_edge(bounds, wire % (b"x" * room), wire % (b"x" * (room + 1)), BAD_REQUEST)

    def test_trailers(self) -> None:
        """Trailers count as well, also when they never end."""
        wire = CHUNKED_HEAD + b"1\r\na\r\n0\r\nA: "
        self.assertEqual(read(wire, b"x" * 85, bounds=Bounds(chunk_overhead_bytes=100)), ([], None))
        self.assertEqual(read(wire, b"x" * 95, bounds=Bounds(chunk_overhead_bytes=100)), ([], BAD_REQUEST))

    def test_tiny_chunks(self) -> None:
        """A large body in one-byte chunks is refused, and one in chunks of six bytes is not."""
        body = b"1\r\nx\r\n" * 10_000 + b"0\r\n\r\n"
        self.assertEqual(read(CHUNKED_HEAD + body), ([], BAD_REQUEST))
        body = b"6\r\nxxxxxx\r\n" * 100_000 + b"0\r\n\r\n"
        seen, refusal = read(CHUNKED_HEAD + body)
        self.assertEqual((len(seen), refusal), (1, None))


TARGETS = st.from_regex(rb"\A/[!-\"$-~]{0,20}\Z")
NAMES = st.from_regex(rb"\A[Xx]-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,8}\Z")
VALUES = st.from_regex(rb"\A([!-~\x80-\xff]([!-~\x80-\xff\t ]{0,20}[!-~\x80-\xff])?)?\Z")
PAYLOADS = st.binary(max_size=40) | st.lists(st.sampled_from([b"\r", b"\n", b"\r\n\r\n", b"0", b"x"])).map(b"".join)
CUTS = st.lists(st.integers(0, 1000), max_size=40)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """A request on the wire, and what is to be seen of it."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH"]))
    target = draw(TARGETS)
    headers = [(b"Host", b"a.onion"), *draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))]
    body = draw(PAYLOADS)
    framed = body
    if draw(st.booleans()):
        headers.append((b"Transfer-Encoding", b"chunked"))
        cuts = sorted({0, len(body), *draw(st.lists(st.integers(0, len(body)), max_size=5))})
        chunks = [body[start:end] for start, end in pairwise(cuts)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    elif body or draw(st.booleans()):
        headers.append((b"Content-Length", b"%d" % len(body)))
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    wire = b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, target, lines, framed)
    return wire, (method, target, [(name.lower(), value) for name, value in headers], body)


def split(wire: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a wire into pieces."""
    edges = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    return [wire[start:end] for start, end in pairwise(edges)]


class SplitTests(SynchronousTestCase):
    """Bytes arrive as they like."""

    @given(sent=st.lists(requests(), max_size=4), cuts=CUTS)
    @example(sent=[(CHUNKED_HEAD + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", (b"POST", b"/", [], b"\r\n\r\n"))], cuts=[])
    def test_any_split(self, sent: list[tuple[bytes, Seen]], cuts: list[int]) -> None:
        """However a pipeline of requests is cut, every request is seen as it was sent."""
        seen, refusal = read(*split(b"".join(wire for wire, _ in sent), cuts))
        self.assertIsNone(refusal)
        for got, (_, wanted) in zip(seen, sent, strict=True):
            self.assertEqual(got[:2] + got[3:], wanted[:2] + wanted[3:])
            if wanted[2]:
                self.assertEqual(got[2], wanted[2])

    @given(
        sent=st.lists(requests(), min_size=1, max_size=3),
        edits=st.lists(
            st.tuples(
                st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3) | st.sampled_from([b"\r\n", b"\n"])
            ),
            min_size=1,
            max_size=4,
        ),
        cuts=CUTS,
    )
    def test_damaged(
        self, sent: list[tuple[bytes, Seen]], edits: list[tuple[int, int, bytes]], cuts: list[int]
    ) -> None:
        """Damaged requests are refused or read, but always the same at every split, and never cut elsewhere than by
        llhttp alone: so nobody in front of the door, or behind it, can see other requests than it does.
        """
        wire = b"".join(wire for wire, _ in sent)
        for at, removed, added in edits:
            wire = wire[:at] + added + wire[at + removed :]
        seen, refusal = read(wire)
        self.assertEqual(read(*split(wire, cuts)), (seen, refusal))
        plain = _Plain(wire).seen
        self.assertEqual([_framed(one) for one in seen], [_framed(one) for one in plain[: len(seen)]])


def _framed(seen: Seen) -> tuple[bytes, bytes, bytes]:
    """What of a request depends on where it begins and ends."""
    return seen[0], seen[1], seen[3]
