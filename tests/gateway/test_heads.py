"""Heads that everybody's software sends are read once; what could tell people apart, or is secret, is forgotten."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.heads import MAX_REMEMBERED_BYTES, REMEMBERED_HEADS, HeadReader, ReadHead, RefusedError

HEAD = b"POST /write?db=telemetry&precision=s HTTP/1.1\r\nHost: a.onion\r\nContent-Length: 30\r\n%b\r\n"


class RememberedTests(SynchronousTestCase):
    """What a reader remembers."""

    def setUp(self) -> None:
        """Begin without memories."""
        self.read = HeadReader(Bounds())

    def is_remembered(self, raw: bytes) -> bool:
        """Whether the same head is the same object when it comes again, and says so."""
        first, second = self.read(raw), self.read(raw)
        self.assertEqual(self.facts(first), self.facts(second))
        self.assertIs(first.head.is_remembered, first is second)
        return first is second

    def facts(self, read: ReadHead) -> list[object]:
        """All that it says."""
        head = read.head
        facts = [head.method, head.target, head.headers]
        return [*facts, read.http11, read.keeps_alive, read.expects_continue, read.length]

    def test_software(self) -> None:
        """The head of a reporter or a stock client, which is the same from everybody, is remembered."""
        for more in (b"", b"User-Agent: influxdb-client\r\nAccept: */*\r\nContent-Type: text/plain\r\n"):
            self.assertTrue(self.is_remembered(HEAD % more))

    def test_people(self) -> None:
        """A credential, a cookie or any header that is not known to be common is forgotten with its request."""
        for name in (b"Authorization", b"Cookie", b"X-Forwarded-For", b"Referer", b"Proxy-Authorization", b"X-Id"):
            self.assertFalse(self.is_remembered(HEAD % (name + b": 1\r\n")))

    def test_credentials_in_the_target(self) -> None:
        """Neither is a target remembered with a user or a password in it, however their names are spelled."""
        for target in (b"/write?u=w&db=t", b"/write?db=t&p=secret", b"/write?db=t&%70=secret"):
            self.assertFalse(self.is_remembered(b"POST " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"))

    def test_long_ones(self) -> None:
        """A head of the greatest length is remembered, and one byte more is not."""
        room = MAX_REMEMBERED_BYTES - len(HEAD % b"Accept: \r\n")
        self.assertTrue(self.is_remembered(HEAD % (b"Accept: " + b"x" * room + b"\r\n")))
        self.assertFalse(self.is_remembered(HEAD % (b"Accept: " + b"x" * (room + 1) + b"\r\n")))

    def test_many(self) -> None:
        """Whoever makes up heads has them forgotten, and fills no memory."""
        first = self.read(HEAD % b"")
        for number in range(REMEMBERED_HEADS - 1):
            self.read(HEAD % (b"Accept: %d\r\n" % number))
        self.assertIs(self.read(HEAD % b""), first)
        self.read(HEAD % b"Accept: one more\r\n")
        self.assertIsNot(self.read(HEAD % b""), first)

    def test_refusals(self) -> None:
        """What is refused once is refused again."""
        for _ in range(3):
            with self.assertRaises(RefusedError):
                self.read(b"POST /write HTTP/1.1\r\n\r\n")
