"""What strangers may do is what is listed here, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.gateway.policy import Accept, Forward, HearStatement, Policy, Say, Verdict
from torfluxd.gateway.rules import LineRules
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.dialect_v2 import V2
from torfluxd.influx.dialect_v3 import V3
from torfluxd.influx.greetings import DATABASE_CREATED, HEALTHY, NOT_FOUND, PONG, PONG_VERBOSE
from torfluxd.settings import Expose

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"post", b"X")
NOTHING = Say(NOT_FOUND)


def judge(method: bytes, target: bytes) -> Verdict:
    """The verdict of the default policy."""
    return Policy().judge(method, target)


class WriteOnlyTests(SynchronousTestCase):
    """By default strangers may write, and hear that somebody is there."""

    def test_write(self) -> None:
        """A write is accepted as it is understood."""
        self.assertEqual(
            judge(b"POST", b"/write?db=t&rp=w&precision=s"), Accept(Write(V1, Destination("t", "w"), precision="s"))
        )

    def test_other_generations(self) -> None:
        """So are the writes of clients of 2.x and of 3.x."""
        self.assertEqual(
            judge(b"POST", b"/api/v2/write?bucket=t/w&org=any&precision=us"),
            Accept(Write(V2, Destination("t", "w"), "u", is_whole=True)),
        )
        self.assertEqual(judge(b"POST", b"/api/v3/write_lp?db=t"), Accept(Write(V3, Destination("t"), "auto")))

    def test_refused_write(self) -> None:
        """A write that says no database is refused without asking InfluxDB."""
        verdict = judge(b"POST", b"/write?precision=s")
        assert isinstance(verdict, Say)
        self.assertEqual(verdict.answer.body, b'{"error":"database is required"}\n')

    def test_ping(self) -> None:
        """`/ping` is answered by a constant."""
        for method in (b"GET", b"HEAD"):
            self.assertEqual(judge(method, b"/ping"), Say(PONG))
            self.assertEqual(judge(method, b"/ping?wait_for_leader=5s"), Say(PONG))
            self.assertEqual(judge(method, b"/ping?verbose=true"), Say(PONG_VERBOSE))

    def test_health(self) -> None:
        """`/health` is answered by a constant."""
        self.assertEqual(judge(b"GET", b"/health"), Say(HEALTHY))

    def test_create_database(self) -> None:
        """A CREATE DATABASE is answered without asking InfluxDB; in a POST it may stand in the body."""
        self.assertEqual(judge(b"GET", b"/query?q=CREATE+DATABASE+x"), Say(DATABASE_CREATED))
        self.assertEqual(judge(b"POST", b"/query?q=CREATE+DATABASE+x"), HearStatement(b"q=CREATE+DATABASE+x"))

    def test_other_queries(self) -> None:
        """Other queries do not exist."""
        for query in (b"", b"?", b"?q=SHOW+DATABASES", b"?q=CREATE+DATABASE+x;DROP+DATABASE+y", b"?q=&q=SELECT+1"):
            self.assertEqual(judge(b"GET", b"/query" + query), NOTHING)

    def test_only_these_paths(self) -> None:
        """Paths that InfluxDB has and paths that only look like ours do not exist, whatever the method."""
        for path in (
            *(b"/", b"", b"*", b"//write", b"/write/", b"/%77rite", b"/write#", b"/WRITE", b"/./write", b"/write;x"),
            *(b"/x/../write", b"/write\\", b"/write%3Fdb=x", b"http://h/write", b"h:443", b"/writex", b"/ping/"),
            *(b"/metrics", b"/status", b"/debug/vars", b"/debug/pprof/", b"/debug/requests", b"/api/v1/prom/read"),
            *(
                b"/api/v1/prom/write",
                b"/api/v2/query",
                b"/api/v2/write/",
                b"/api/v3/write",
                b"/api/v3/write_lp/",
                b"/api/v2/delete",
                b"/api/v3/configure/token/admin",
            ),
            *(b"/api/v2/write/", b"/api/v3/write", b"/api/v3/write_lp/", b"/api/v2/writ%65", b"/API/v2/write"),
            *(b"/health/", b"/ready", b"/queryx", b"/api/v3/query_sql", b"/api/v3/engine/x"),
        ):
            for method in METHODS:
                for query in (b"", b"?db=x&q=CREATE+DATABASE+x"):
                    self.assertEqual(judge(method, path + query), NOTHING, (method, path))

    def test_only_these_methods(self) -> None:
        """Other methods do not exist on our own paths either."""
        allowed = {
            b"/write": {b"POST"},
            b"/api/v2/write": {b"POST"},
            b"/api/v3/write_lp": {b"POST"},
            b"/ping": {b"GET", b"HEAD"},
            b"/health": {b"GET"},
            b"/query": {b"GET", b"POST"},
        }
        for path, methods in allowed.items():
            for method in set(METHODS) - methods:
                self.assertEqual(judge(method, path + b"?db=x&q=CREATE+DATABASE+x"), NOTHING, (method, path))

    @given(st.sampled_from(METHODS), st.binary() | st.text("/writepnghqu%?=&;.").map(str.encode))
    def test_anything(self, method: bytes, target: bytes) -> None:
        """Whatever is asked, nothing is passed on, and only a POST to a path of writes is accepted."""
        verdict = judge(method, target)
        self.assertNotIsInstance(verdict, Forward)
        if isinstance(verdict, Accept):
            self.assertTrue(
                method == b"POST" and target.startswith((b"/write?", b"/api/v2/write?", b"/api/v3/write_lp?"))
            )


class DestinationTests(SynchronousTestCase):
    """The vendor says where writes go."""

    def test_settled(self) -> None:
        """A write goes where the vendor has it, whatever it asks for."""
        policy = Policy(settle=LineRules(databases=("t",), retention_policy="w").settle)
        for target in (b"/write?db=t", b"/write?db=t&rp=x"):
            self.assertEqual(Accept(Write(V1, Destination("t", "w"))), policy.judge(b"POST", target))

    def test_refused(self) -> None:
        """A database that is not on the list does not exist, in every dialect; nor does it when it is not named."""
        policy = Policy(settle=LineRules(databases=("t",)).settle)
        for target, status in (
            (b"/write?db=x", 404),
            (b"/api/v2/write?bucket=x/t", 404),
            (b"/api/v3/write_lp?db=x", 404),
            (b"/write", 400),
        ):
            verdict = policy.judge(b"POST", target)
            assert isinstance(verdict, Say)
            self.assertEqual(status, verdict.answer.status)
        self.assertIn(b'database not found: \\"x\\"', policy.judge(b"POST", b"/write?db=x").answer.body)  # type: ignore[union-attr]


class ExposeAllTests(SynchronousTestCase):
    """With `--expose all` strangers may ask whatever they like."""

    @given(st.sampled_from(METHODS), st.binary())
    def test_everything(self, method: bytes, path: bytes) -> None:
        """Any method and any path is passed on, our own paths too."""
        for target in (b"/" + path, b"/write?db=x", b"/ping", b"/query?q=CREATE+DATABASE+x"):
            self.assertEqual(Policy(Expose.ALL).judge(method, target), Forward())

    def test_no_path(self) -> None:
        """A target that is no path leads nowhere: this is no proxy to anything but InfluxDB."""
        for target in (b"http://elsewhere.example/", b"elsewhere.example:443", b"*", b""):
            self.assertEqual(Policy(Expose.ALL).judge(b"GET", target), NOTHING)
