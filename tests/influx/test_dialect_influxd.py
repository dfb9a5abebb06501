"""Our reading of requests, and our answers to them, beside those of a real influxd."""

from __future__ import annotations

import random
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.influxd import Influxd, start_influxd
from torfluxd.boundaries import Answer
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.greetings import DATABASE_CREATED, PONG, answer_statement
from torfluxd.influx.stamp import stamp_lines

SEED = 20_170_618


def shown(headers: dict[str, str]) -> dict[str, str]:
    """The headers of an answer that carry meaning."""
    return {name: value for name, value in headers.items() if name in {"content-type", "x-influxdb-error"}}


class ParityTests(SynchronousTestCase):
    """A client cannot tell whether the gateway or influxd answers."""

    def setUp(self) -> None:
        """Start an influxd with two databases, one of which has a retention policy."""
        self.influxd: Influxd = start_influxd(self)
        for name in ("a", "b"):
            self.influxd.create_database(name)
        self.influxd.query("CREATE RETENTION POLICY r ON a DURATION 1d REPLICATION 1")

    def assert_same(self, ours: Answer, target: str, body: bytes = b"m f=1") -> None:
        """The same POST gets the same answer from influxd."""
        theirs = self.influxd.request("POST", target, body)
        self.assertEqual((ours.status, ours.body), (theirs.status, theirs.body))
        named = {name.decode().lower(): value.decode() for name, value in ours.headers}
        self.assertEqual(shown(named), shown(theirs.headers))

    def test_refusals(self) -> None:
        """Refusals are influxd's, byte for byte."""
        long = "n" * 256
        for query in ("", "db=", "db=a;db=b", "db=a&consistency=huh", f"db={long}", f"db=a&rp={long}"):
            ours = V1.read_write(query.encode())
            assert isinstance(ours, Answer)
            self.assert_same(ours, f"/write?{query}")

    def test_rebuilt_targets_mean_the_same(self) -> None:
        """Whatever query a client writes, what reaches influxd in its place means to it what the query means."""
        chance = random.Random(SEED)
        pieces = [
            "db=",
            "a",
            "b",
            "&",
            ";",
            "=",
            "%+",
            "%61",
            "%zz",
            "+",
            "rp=",
            "r",
            "&rp=r",
            "&db=a",
            "db",
            "&x=",
            "#",
        ]
        writes = 0
        for _ in range(600):
            query = "".join(chance.choices(pieces, k=chance.randint(1, 7)))
            ours = V1.read_write(query.encode())
            if isinstance(ours, Answer):
                self.assert_same(ours, f"/write?{query}")
                continue
            writes += 1
            theirs = self.influxd.request("POST", f"/write?{query}", b"m f=1 1")
            rebuilt = self.influxd.request("POST", write_target(Api.V1, ours.destination).decode(), b"m f=1 1")
            self.assertEqual((rebuilt.status, rebuilt.body), (theirs.status, theirs.body), query)
        self.assertGreater(writes, 50)

    def test_precisions(self) -> None:
        """Every precision that we pass on is the one that influxd stores."""
        units = {"ns": 1, "u": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
        for word in ("", "n", "ns", "u", "ms", "s", "m", "h"):
            asked = V1.read_write(f"db=a&precision={word}".encode())
            assert not isinstance(asked, Answer)
            lines = stamp_lines(f"p{word} f=1 7".encode(), 0, asked.precision)
            self.influxd.request("POST", write_target(Api.V1, asked.destination).decode(), lines)
            [series] = self.influxd.query(f'SELECT f FROM "p{word}"', "a")
            self.assertEqual(series["values"][0][0], 7 * units[asked.precision])

    def test_create_database(self) -> None:
        """The harmless answer to CREATE DATABASE is influxd's answer to it."""
        for statement in ('CREATE DATABASE "a"', "create database b;", "CREATE DATABASE c WITH DURATION 1d NAME d"):
            query = f"q={quote(statement)}"
            self.assertIs(answer_statement(query.encode()), DATABASE_CREATED)
            self.assert_same(DATABASE_CREATED, f"/query?{query}")

    def test_ping(self) -> None:
        """The answer to a ping has influxd's status, its version header, and nothing that influxd has not."""
        theirs = self.influxd.request("GET", "/ping")
        self.assertEqual(PONG.status, theirs.status)
        self.assertLessEqual({name.decode().lower() for name, _ in PONG.headers}, set(theirs.headers))
