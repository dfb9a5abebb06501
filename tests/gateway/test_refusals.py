"""What the door refuses: all refusals of one kind are the same bytes, and tell nothing."""

from __future__ import annotations

from collections import defaultdict

from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import PING, TOO_LARGE, Always, Stranger, chunked, door, request
from torfluxd.gateway.exchange import Collect
from torfluxd.gateway.limiter import Limiter, Share

NEVER = ("Server", "Date", "X-Influxdb-Version", "X-Influxdb-Build", "Request-Id", "X-Request-Id", "Via", "Set-Cookie")
"""Headers that nobody gets from us: they tell what we run, when our clock thinks it is, and how many came before."""

KINDS = {
    400: (
        b"nonsense\r\n\r\n",
        b"GET /ping HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"GET http://a/ping HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /ping#x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /write HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n",
        chunked(b"x").replace(b"1\r\nx", b"zz\r\nx"),
    ),
    413: (
        request(b"x" * 1001),
        chunked(b"x" * 600, b"x" * 600),
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n",
    ),
    414: (
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /write?db=" + b"y" * 9000 + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    ),
    417: (
        b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n",
        b"GET /ping HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
    ),
    431: (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17_000,
    ),
}
"""What is refused, by the status it is refused with."""


class RefusalBytesTests(SynchronousTestCase):
    """Of one kind, one answer."""

    def heard(self) -> dict[int, set[bytes]]:
        """All refusals, by their status."""
        heard = defaultdict(set)
        for status, requests in KINDS.items():
            for sent in requests:
                for before in (b"", PING):
                    stranger = Stranger(door()[0])
                    stranger.send(before)
                    stranger.received()
                    stranger.send(sent)
                    heard[status].add(stranger.received())
        for late in (PING[:10], request(b"x" * 100)[:-1], chunked(b"x" * 100)[:-5]):
            front, _, clock = door()
            stranger = Stranger(front)
            stranger.send(late)
            clock.pump([1] * 70)
            heard[408].add(stranger.received())
        for site in (Always(Collect(10, TOO_LARGE, lambda body, writer: fail(ValueError("x")))), None):
            front, _, _ = door(site or _Broken())
            stranger = Stranger(front)
            stranger.send(request(b"x"))
            heard[500].add(stranger.received())
            self.flushLoggedErrors()
        heard[503] |= self.heard_by_flooders()
        return heard

    def heard_by_flooders(self) -> set[bytes]:
        """What those hear who went on for too long."""
        heard = set()
        for sent in (PING, request(b"x"), chunked(b"x"), b"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n"):
            front, _, clock = door()
            stranger = Stranger(front, front.build_limited(_Refusing(Limiter(clock))))
            stranger.send(sent)
            heard.add(stranger.received())
        return heard

    def test_they_are_the_same_byte_for_byte(self) -> None:
        """Whatever was wrong, and whatever came before it, all refusals of one kind are the same bytes."""
        heard = self.heard()
        self.assertEqual({400, 408, 413, 414, 417, 431, 500, 503}, set(heard))
        for status, answers in heard.items():
            (answer,) = answers
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)

    def test_they_tell_nothing(self) -> None:
        """No refusal tells what we run, the time, or how many came before."""
        for answers in self.heard().values():
            for answer in answers:
                names = [line.partition(b":")[0].decode().lower() for line in answer.split(b"\r\n")[1:]]
                self.assertEqual(set(), set(names) & {name.lower() for name in NEVER})


class _Broken:
    """A site with a fault."""

    def plan(self, head: object) -> Collect:
        """Fail."""
        raise ValueError("x")


class _Refusing(Share):
    """A share that has been overdrawn for too long."""

    __slots__ = ()

    def __init__(self, limiter: Limiter) -> None:
        super().__init__(limiter)
        self.refuses = True

    def refuse(self) -> bool:
        """Refuse."""
        return True
