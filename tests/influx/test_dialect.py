"""What clients ask is understood as InfluxDB understands it, and answered as InfluxDB answers."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer, Destination
from torfluxd.influx.dialect import (
    DATABASE_CREATED,
    HEALTHY,
    NOT_FOUND,
    PONG,
    PONG_VERBOSE,
    V1,
    WRITE_DIALECTS,
    Precision,
    Write,
    answer_ping,
    answer_statement,
    write_target,
)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class ReadWriteTests(SynchronousTestCase):
    """The query of a write of 1.x is read once."""

    def write(self, query: bytes) -> Write:
        """The write that a query asks for."""
        asked = V1.read_write(query)
        assert isinstance(asked, Write), asked
        return asked

    def refusal(self, query: bytes) -> str:
        """The text by which a query is refused, with InfluxDB's status, in InfluxDB's shape."""
        answer = V1.read_write(query)
        assert isinstance(answer, Answer), answer
        self.assertEqual(answer.status, 400)
        headers = dict(answer.headers)
        self.assertEqual(set(headers), {b"Content-Type", b"X-Influxdb-Error"})
        self.assertEqual(headers[b"Content-Type"], b"application/json")
        text: str = json.loads(answer.body)["error"]
        self.assertTrue(text.encode().startswith(headers[b"X-Influxdb-Error"]))
        return text

    def test_path(self) -> None:
        """1.x writes to `/write`."""
        self.assertEqual(WRITE_DIALECTS[b"/write"], V1)

    def test_database(self) -> None:
        """A database is enough; then the timestamps are nanoseconds."""
        self.assertEqual(self.write(b"db=telemetry"), Write(V1, Destination("telemetry"), "ns"))

    def test_all_parameters(self) -> None:
        """Retention policy, precision and consistency are understood."""
        self.assertEqual(
            self.write(b"precision=ms&rp=week&consistency=ALL&db=t"), Write(V1, Destination("t", "week"), "ms", "all")
        )

    def test_no_database(self) -> None:
        """Without a database there is no write, in InfluxDB's words."""
        for query in (b"", b"db=", b"db", b"DB=x", b"rp=x", b"db=&db=x"):
            self.assertEqual(self.refusal(query), "database is required")

    def test_first_value_wins(self) -> None:
        """Of repeated parameters the first one counts."""
        self.assertEqual(self.write(b"db=a&db=b&rp=&rp=c").destination, Destination("a"))

    def test_semicolon(self) -> None:
        """A semicolon does not separate, and makes its pair void, as in the Go of Debian's influxd."""
        self.assertEqual(self.refusal(b"db=a;db=b"), "database is required")
        self.assertEqual(self.write(b"db=a&rp=x;y").destination, Destination("a"))

    def test_broken_escapes(self) -> None:
        """A broken escape makes its pair void."""
        self.assertEqual(self.write(b"db=%zz&db=%41%2f+%C3%BC&rp=%").destination, Destination("A/ ü"))

    def test_not_utf8(self) -> None:
        """A name that is not UTF-8 is no name of any database."""
        self.assertIn("UTF-8", self.refusal(b"db=%FF"))
        self.assertIn("UTF-8", self.refusal(b"db=a&rp=%C3"))

    def test_precisions(self) -> None:
        """Every precision of 1.8 is understood; `n` and none are nanoseconds."""
        expected: dict[bytes, Precision] = {b"n": "ns", b"ns": "ns", b"": "ns", b"u": "u", b"ms": "ms", b"s": "s"}
        for word, precision in (*expected.items(), (b"m", "m"), (b"h", "h")):
            self.assertEqual(self.write(b"db=a&precision=" + word).precision, precision)

    def test_unknown_precision(self) -> None:
        """Any other precision, which 1.6 would take for nanoseconds, is refused in the words of 1.8."""
        self.assertEqual(self.refusal(b"db=a&precision=us"), 'invalid precision "us" (use n, u, ms, s, m or h)')
        for word in (b"NS", b"d", b"%00", b"%FF%0D%0A", b'%22%22"', b"x" * 5000):
            self.refusal(b"db=a&precision=" + word)

    def test_unknown_consistency(self) -> None:
        """An unknown consistency level is refused in InfluxDB's words."""
        for word in (b"huh", b"%FF", b"one+"):
            self.assertEqual(self.refusal(b"db=a&consistency=" + word), "invalid consistency level")

    def test_credentials_are_left_behind(self) -> None:
        """What a stranger sends as credentials goes nowhere."""
        self.assertEqual(write_target(self.write(b"u=w&p=pw&db=a&q=DROP&epoch=1")), b"/write?db=a&precision=ns")

    @given(names, names | st.none(), st.sampled_from(["ns", "u", "ms", "s", "m", "h"]), st.sampled_from([None, "any"]))
    def test_round_trip(self, database: str, policy: str | None, precision: Precision, consistency: str | None) -> None:
        """Every write can be asked for, and is understood as it was meant."""
        write = Write(V1, Destination(database, policy), precision, consistency)
        path, _, query = write_target(write).partition(b"?")
        self.assertEqual(path, b"/write")
        self.assertEqual(self.write(query), write)

    @given(st.binary() | st.text("db=&;%+rp/#").map(str.encode))
    def test_anything(self, query: bytes) -> None:
        """Whatever the query, it is refused or can be asked for again in plain characters."""
        asked = V1.read_write(query)
        if isinstance(asked, Write):
            self.assertRegex(write_target(asked), rb"\A/write\?db=[!-~]+\Z")
        else:
            for _name, value in asked.headers:
                self.assertRegex(value, rb"\A[ -~]*\Z")


class RefuseTests(SynchronousTestCase):
    """Refusals have the shape that stock clients read."""

    def test_shape(self) -> None:
        """The text stands in a JSON object and in a header."""
        self.assertEqual(
            V1.refuse(413, "Request Entity Too Large"),
            Answer(
                413,
                (
                    (b"Content-Type", b"application/json"),
                    (b"X-Influxdb-Error", b"Request Entity Too Large"),
                ),
                b'{"error":"Request Entity Too Large"}\n',
            ),
        )

    def test_retry_after(self) -> None:
        """A refusal may say when to come back."""
        self.assertIn((b"Retry-After", b"30"), V1.refuse(503, "later", 30).headers)

    def test_long_text(self) -> None:
        """The header is cut where InfluxDB cuts it; the body is whole."""
        answer = V1.refuse(400, "x" * 3000)
        self.assertEqual(dict(answer.headers)[b"X-Influxdb-Error"], b"x" * 1024)
        self.assertEqual(json.loads(answer.body), {"error": "x" * 3000})


class PingTests(SynchronousTestCase):
    """Clients find a server that is alive, and nothing about the vendor's."""

    def test_ping(self) -> None:
        """`/ping` says 204 with a version, without which stock clients fail."""
        self.assertEqual(answer_ping(b""), PONG)
        self.assertEqual(PONG.status, 204)
        self.assertIn((b"X-Influxdb-Version", b"1.8.10"), PONG.headers)

    def test_verbose(self) -> None:
        """A verbose ping has a body with the version."""
        for query in (b"verbose=true", b"verbose=1", b"wait_for_leader=1s&verbose=x"):
            self.assertEqual(answer_ping(query), PONG_VERBOSE)
        self.assertEqual(PONG_VERBOSE.status, 200)
        self.assertEqual(json.loads(PONG_VERBOSE.body), {"version": "1.8.10"})

    def test_not_verbose(self) -> None:
        """These are not verbose in 1.8."""
        for query in (b"verbose=", b"verbose=0", b"verbose=false&verbose=true", b"wait_for_leader=30s"):
            self.assertEqual(answer_ping(query), PONG)

    def test_health(self) -> None:
        """`/health` says that all is well, in the words that `influxdb-client` looks for."""
        health = json.loads(HEALTHY.body)
        self.assertEqual((HEALTHY.status, health["name"], health["status"]), (200, "influxdb", "pass"))


class StatementTests(SynchronousTestCase):
    """Clients that begin with CREATE DATABASE are content; nothing else can be asked."""

    def ask(self, statement: str) -> Answer:
        """The answer to a statement, which is the same wherever it stands."""
        parameter = b"q=" + quote(statement).encode()
        answer = answer_statement(parameter)
        self.assertEqual(answer_statement(b"db=x&" + parameter, b""), answer)
        self.assertEqual(answer_statement(b"q=DROP+DATABASE+x", b"pretty=1&" + parameter), answer)
        return answer

    def test_what_clients_send(self) -> None:
        """The statements of Telegraf, `influxdb`, and of people."""
        for statement in (
            'CREATE DATABASE "telegraf"',
            "CREATE DATABASE telemetry",
            "create database Tele_metry1;",
            '  CREATE\n DATABASE\t"we\\"ird; name ü" ; ',
            "CREATE DATABASE t WITH DURATION 3d REPLICATION 1 SHARD DURATION 1h NAME week",
            'CREATE DATABASE "t" WITH NAME "a;b";;',
        ):
            self.assertEqual(self.ask(statement), DATABASE_CREATED, statement)

    def test_everything_else(self) -> None:
        """Any other statement, alone or behind a CREATE DATABASE, does not exist."""
        for statement in (
            "",
            "SHOW DATABASES",
            "DROP DATABASE x",
            "CREATE DATABASE",
            'CREATE DATABASE ""',
            "CREATE DATABASE x; DROP DATABASE y",
            "DROP DATABASE y; CREATE DATABASE x",
            'CREATE DATABASE "x"; SELECT * FROM m',
            "CREATE DATABASE x WITH NAME y; SELECT * FROM m",
            'CREATE DATABASE x WITH NAME "y; SELECT * FROM m',
            "CREATE DATABASE x SELECT * FROM m",
            "CREATE DATABASE x -- comment",
            "CREATE DATABASE 1x",
            "CREATE DATABASE x\x00",
            "CREATE USER x WITH PASSWORD 'y'",
            "CREATE RETENTION POLICY x ON y DURATION 1d REPLICATION 1",
        ):
            self.assertEqual(self.ask(statement), NOT_FOUND, statement)

    def test_nothing_asked(self) -> None:
        """A query without statement does not exist either."""
        self.assertEqual(answer_statement(b""), NOT_FOUND)
        self.assertEqual(answer_statement(b"db=x", b"\xff=&;%"), NOT_FOUND)

    def test_hostile_statements_take_no_time(self) -> None:
        """Statements made to keep a parser busy are refused as fast as others."""
        for statement in (
            "CREATE DATABASE x WITH " + " " * 20_000 + "'",
            "CREATE DATABASE x" + " ;" * 10_000 + "x",
            'CREATE DATABASE "' + "\\" * 20_001,
            "CREATE DATABASE x WITH " + '"a"' * 7_000 + ";x",
            "CREATE" + " " * 20_000,
        ):
            began = time.process_time()
            self.ask(statement)
            self.assertLess(time.process_time() - began, 0.1)

    def test_not_found_says_nothing(self) -> None:
        """What does not exist has no body and no header."""
        self.assertEqual(NOT_FOUND, Answer(404, (), b""))
