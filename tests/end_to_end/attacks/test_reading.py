"""Attacks that read, destroy, or learn something of who runs this."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, request, write

FORM = "application/x-www-form-urlencoded"

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

ALLOWED_HEADERS = {
    *("connection", "content-length", "content-type", "retry-after"),
    *("x-influxdb-build", "x-influxdb-error", "x-influxdb-version", "x-platform-error-code"),
}
"""The names of all headers that the gateway answers with."""


def drops() -> Iterator[tuple[str, bytes]]:
    """Every way in which influxd takes a statement, with a DROP in it; and a name for each."""
    drop = f"DROP+DATABASE+{DATABASE}"
    multipart = f'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nDROP DATABASE {DATABASE}\r\n--x--\r\n'
    yield "POST", request("POST", f"/query?q={drop}")
    yield "GET", request("GET", f"/query?q={drop}")
    yield "form", request("POST", "/query", f"q={drop}".encode(), Content_Type=FORM)
    yield "form beside a query", request("POST", "/query?q=CREATE+DATABASE+x", f"q={drop}".encode(), Content_Type=FORM)
    yield "multipart", request("POST", "/query", multipart.encode(), Content_Type="multipart/form-data; boundary=x")
    yield "behind a CREATE", request("POST", f"/query?q=CREATE+DATABASE+x;{drop}".replace(";", "%3B"))
    yield "behind a comment", request("POST", f"/query?q=CREATE+DATABASE+x+--%0A%3B+{drop}")
    yield "escaped", request("POST", f"/query?%71={drop}")


class StatementTests(AttackCase):
    """Statements."""

    def test_drop(self) -> None:
        """Whoever can reach influxd can DROP the vendor's database, in many ways; through the gateway in none."""
        for name, data in drops():
            self.influxd.create_database(DATABASE)
            self.assertEqual(200, self.directly(data)[0].status, name)
            self.assertNotIn(DATABASE, self.databases(), name)
            self.influxd.create_database(DATABASE)
            reached = self.reached(lambda data=data: self.send(self.gateway.port, data))  # type: ignore[misc]
            self.assertEqual([], reached, name)
            self.assertIn(DATABASE, self.databases(), name)

    def test_every_other_statement(self) -> None:
        """The same is true of what reads, and of what makes users: influxd answers, the gateway knows nothing."""
        self.influxd.write(DATABASE, b"m secret=1 1")
        for statement in (
            f"SELECT+*+FROM+{DATABASE}..m",
            "SHOW+DATABASES",
            "SHOW+DIAGNOSTICS",
            "CREATE+USER+me+WITH+PASSWORD+%27x%27+WITH+ALL+PRIVILEGES",
            "DELETE+FROM+m",
            f"SELECT+*+INTO+{DATABASE}..n+FROM+{DATABASE}..m",
            f"CREATE+SUBSCRIPTION+s+ON+{DATABASE}.autogen+DESTINATIONS+ALL+%27http%3A%2F%2F127.0.0.1%3A9%27",
        ):
            for method in ("GET", "POST"):
                data = request(method, f"/query?db={DATABASE}&q={statement}")
                self.assertEqual(200, self.one_directly(data).status, statement)
                reached = self.reached(
                    lambda data=data: self.assertEqual(NOT_FOUND, self.send(self.gateway.port, data))  # type: ignore[misc]
                )
                self.assertEqual([], reached, statement)

    def test_create_database(self) -> None:
        """CREATE DATABASE, with which stock clients begin, is answered as influxd does, and makes nothing."""
        data = request("POST", "/query?q=CREATE+DATABASE+made_by_a_stranger")
        answer = self.assert_refused(data, 200)
        self.assertEqual(b'{"results":[{"statement_id":0}]}\n', answer.body)
        self.assertNotIn("made_by_a_stranger", self.databases())


class ExposureTests(AttackCase):
    """What influxd tells everybody."""

    def test_debug(self) -> None:
        """Influxd tells its command line, its profile, its counters and its writers; the gateway tells none."""
        for path, told in (
            ("/debug/vars", b"cmdline"),
            ("/debug/pprof/", b"goroutine"),
            ("/debug/pprof/cmdline", b"influxd"),
            ("/debug/pprof/heap?debug=1", b"heap profile"),
            ("/debug/requests?seconds=1", b"{"),
            ("/metrics", b"go_info"),
            ("/status", b""),
        ):
            data = request("GET", path)
            answer = self.one_directly(data)
            self.assertIn(answer.status, (200, 204), path)
            self.assertIn(told, answer.body, path)
            self.assert_refused(data, 404)
            self.assertEqual(NOT_FOUND, self.send(self.gateway.port, data), path)

    def test_headers_of_answers(self) -> None:
        """Influxd tells its version, its clock and, in counted ids, how much is written; the gateway tells nothing."""
        answer = self.one_directly(write(b"m v=1 1"))
        self.assertIn("1.6.7", answer.header("X-Influxdb-Version") or "")
        for name in ("Date", "Request-Id", "X-Request-Id"):
            self.assertIsNotNone(answer.header(name))
        for data in (
            write(b"m v=1 1"),
            write(b"garbage"),
            write(b'm v="another type" 2'),
            write(b"m v=1 1", "db=nope"),
            write(b"m v=1 1", f"db={DATABASE}&rp=nope"),
            write(b"m v=1 1", "", Content_Encoding="gzip"),
            write(b"#" * 3_000_000),
            request("GET", "/ping", X_Request_Id="echo-me", Request_Id="echo-me"),
            request("GET", "/ping?verbose=true"),
            request("GET", "/health"),
            request("GET", "/nothing"),
            b"nonsense\r\n\r\n",
        ):
            received = self.send(self.gateway.port, data)
            head = received.partition(b"\r\n\r\n")[0].decode()
            names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:]}
            self.assertEqual(set(), names - ALLOWED_HEADERS, head)
            self.assertNotRegex(received.decode(), r"1\.6\.7|echo-me|twisted|torfluxd|\d\d:\d\d:\d\d")

    def test_refusals_of_one_kind_are_the_same(self) -> None:
        """Whatever does not exist does so in the same bytes, so that nobody learns what the gateway is made of."""
        answers = {
            self.send(self.gateway.port, request(method, target))
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
            for target in ("/", "/admin", "/metrics", "/api/v2/query", "/%2e%2e/etc/passwd", f"/{'x' * 2000}")
        }
        self.assertEqual({NOT_FOUND}, answers)


class CredentialTests(AttackCase):
    """Credentials of a stranger's, at an influxd that asks for some."""

    http_options = "auth-enabled = true"

    def prepare_influxd(self) -> None:
        """Make an administrator, whose password a stranger has, and the vendor's user, who may write."""
        self.influxd.query("CREATE USER admin WITH PASSWORD 'adm1n' WITH ALL PRIVILEGES")
        self.influxd.login = ("admin", "adm1n")
        self.influxd.create_database(DATABASE)
        self.influxd.query(f"CREATE USER vendor WITH PASSWORD 's3cr3t'; GRANT WRITE ON {DATABASE} TO vendor")

    def prepare_gateway(self) -> tuple[str, ...]:
        """Write down the vendor's password."""
        password = self.directory / "password"
        password.touch(0o600)
        password.write_text("s3cr3t\n")
        return ("--influxdb-user", "vendor", "--influxdb-password-file", str(password))

    def test_credentials_in_the_url(self) -> None:
        """Influxd takes credentials from the URL; through the gateway they neither help nor get anywhere."""
        ways: tuple[tuple[str, dict[str, str]], ...] = (
            (f"db={DATABASE}&u=admin&p=adm1n", {}),
            (f"u=admin&p=adm1n&db={DATABASE}", {"Authorization": "Basic bm9ib2R5Ong="}),
            (f"db={DATABASE}", {"Authorization": "Basic YWRtaW46YWRtMW4="}),
        )
        for query, headers in ways:
            data = write(b"m v=1 1", query, **headers)
            reached = self.reached(lambda data=data: self.assertEqual(204, self.one_directly(data).status))  # type: ignore[misc]
            self.assertIn(" admin [", reached[0])
            reached = self.reached(
                lambda data=data: self.assertEqual(204, self.one_through_gateway(data).status)  # type: ignore[misc]
            )
            self.assertEqual(1, len(reached))
            self.assertIn("127.0.0.1 - vendor [", reached[0])
            self.assertIn(f'"POST /write?db={DATABASE}&precision=ns HTTP/1.1" 204 0 "-" "-"', reached[0])
        self.assertNotRegex(self.gateway.log, "adm1n|s3cr3t")

    def test_an_administrator_is_nobody(self) -> None:
        """Not even with the administrator's password is there a way to a statement through the gateway."""
        for credential in ("?u=admin&p=adm1n&", "?"):
            data = request("POST", f"/query{credential}q=SHOW+USERS", Authorization="Basic YWRtaW46YWRtMW4=")
            self.assertEqual(200, self.one_directly(data).status)
            self.assert_refused(data, 404)

    def test_another_database(self) -> None:
        """A write to a database of the vendor's that is none of the gateway's business is neither made nor kept."""
        self.influxd.create_database("accounting")
        answer = self.one_through_gateway(write(b"m v=1 1", "db=accounting"))
        self.assertEqual(503, answer.status)
        self.assertEqual(0, self.influxd.count("accounting", "m"))
        self.assertIsNone(re.search("accounting", self.gateway.log))
