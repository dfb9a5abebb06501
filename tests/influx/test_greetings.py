"""What clients ask before they write is answered by constants, as InfluxDB answers."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer
from torfluxd.influx.greetings import (
    DATABASE_CREATED,
    HEALTHY,
    NOT_FOUND,
    PONG,
    PONG_VERBOSE,
    answer_ping,
    answer_statement,
)


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
