"""Each request is done with as the policy says, from its head to its answer."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse

from tests.influx.far_side import FarSide
from tests.influx.test_passthrough import Upload
from torfluxd.boundaries import Answer
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.exchange import CANARY_PONG, Collect, Head, Header, PassThrough, Plan
from torfluxd.gateway.heads import REMEMBERED_HEADS
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.policy import Policy
from torfluxd.gateway.routes import MAX_STATEMENT_BYTES, Routes, make_canary_target
from torfluxd.gateway.rules import MAX_BODY_BYTES
from torfluxd.gateway.safekeeping import Safekeeping
from torfluxd.gateway.writes import Writes
from torfluxd.influx.greetings import DATABASE_CREATED, HEALTHY, NOT_FOUND, PONG
from torfluxd.influx.passthrough import HttpPassThrough
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.settings import Expose

WRITER = "a writer"
FORM = (b"content-type", b"application/x-www-form-urlencoded")


class RoutesCase(SynchronousTestCase):
    """Routes as the gateway builds them, and the server that stands for InfluxDB."""

    expose = Expose.WRITE
    canary_target = make_canary_target()

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide()
        complaints = Complaints(Clock())
        upstream = HttpUpstream(AgentPoster(self.far.agent, self.far.url, self.far.reactor))
        writes = Writes(Safekeeping(upstream, Homes(), complaints), self.far.reactor)
        pass_through = HttpPassThrough(self.far.agent, self.far.url, self.far.reactor)
        self.routes = Routes(Policy(self.expose), writes, pass_through, complaints, canary_target=self.canary_target)

    def plan(self, method: bytes, target: bytes, *headers: Header) -> Plan:
        """What is to be done with a request."""
        return self.routes.plan(Head(method, target, headers))

    def collect(self, method: bytes, target: bytes, *headers: Header) -> Collect:
        """The same, when it is to read the body."""
        plan = self.plan(method, target, *headers)
        assert isinstance(plan, Collect), plan
        return plan


class CanaryTests(RoutesCase):
    """Our own request to ourselves, whatever strangers may do."""

    def test_it_is_answered_by_us(self) -> None:
        """It is answered without InfluxDB, and told from every stranger's; nobody else can know what it asks for."""
        for expose in Expose:
            self.expose = expose
            self.setUp()
            self.assertIs(CANARY_PONG, self.plan(b"GET", self.canary_target))
            self.assertIsNot(CANARY_PONG, self.plan(b"GET", b"/ping"))
            self.assertIsNot(CANARY_PONG, self.plan(b"GET", b"/ping?" + b"0" * 32))
        self.assertNotEqual(make_canary_target(), make_canary_target())

    def test_without_one_there_is_none(self) -> None:
        """Where there is no canary, every request is a stranger's."""
        self.canary_target = None  # type: ignore[assignment]
        self.setUp()
        self.assertIs(PONG, self.plan(b"GET", b"/ping"))


class WriteOnlyTests(RoutesCase):
    """The default exposure."""

    def test_write(self) -> None:
        """A write is read up to a limit, written, and answered by InfluxDB."""
        plan = self.collect(b"POST", b"/write?db=t&precision=ms&u=w&p=secret", (b"authorization", b"Basic eA=="))
        self.assertEqual(plan.limit_bytes, MAX_BODY_BYTES)
        answer = plan.complete(b"m f=1 1", WRITER)
        connection = self.far.accept()
        self.assertEqual(
            connection.received(),
            b"POST /write?db=t&precision=ns HTTP/1.1\r\nContent-Length: 13\r\nHost: 127.0.0.1:8086\r\n\r\n"
            b"m f=1 1000000",
        )
        connection.respond(204)
        self.assertEqual(self.successResultOf(answer), Answer(204))

    def test_encoding(self) -> None:
        """The body's encoding counts."""
        answer = self.collect(b"POST", b"/write?db=t", (b"content-encoding", b"gzip")).complete(b"not gzip", WRITER)
        self.assertEqual(self.successResultOf(answer).status, 400)

    def test_too_large(self) -> None:
        """A body over the limit is refused in InfluxDB's words."""
        too_large = self.collect(b"POST", b"/write?db=t").too_large
        self.assertEqual((too_large.status, too_large.body), (413, b'{"error":"Request Entity Too Large"}\n'))
        self.assertIn((b"X-Influxdb-Error", b"Request Entity Too Large"), too_large.headers)

    def test_constants(self) -> None:
        """What is answered by a constant is always the same object, so that doors need not write it twice."""
        for target, answer in ((b"/ping", PONG), (b"/health", HEALTHY), (b"/debug/vars", NOT_FOUND)):
            self.assertIs(self.plan(b"GET", target), answer)

    def test_statement_in_the_body(self) -> None:
        """A CREATE DATABASE in a form is answered; InfluxDB hears nothing of it."""
        for content_type in (FORM, (b"content-type", b"Application/X-WWW-Form-URLencoded; charset=utf-8")):
            plan = self.collect(b"POST", b"/query?db=", content_type)
            self.assertEqual((plan.limit_bytes, plan.too_large), (MAX_STATEMENT_BYTES, NOT_FOUND))
            self.assertIs(self.successResultOf(plan.complete(b"q=CREATE+DATABASE+%22t%22", WRITER)), DATABASE_CREATED)
            self.assertIs(self.successResultOf(plan.complete(b"q=DROP+DATABASE+t", WRITER)), NOT_FOUND)
        self.assertEqual(self.far.waiting, 0)

    def test_statement_in_the_target(self) -> None:
        """A CREATE DATABASE in the target of a POST is answered, with or without a body that says nothing."""
        plan = self.collect(b"POST", b"/query?q=CREATE+DATABASE+t&db=x")
        self.assertIs(self.successResultOf(plan.complete(b"", WRITER)), DATABASE_CREATED)
        self.assertIs(self.successResultOf(plan.complete(b"q=DROP+DATABASE+t", WRITER)), DATABASE_CREATED)

    def test_body_that_is_no_form(self) -> None:
        """What looks like a form and is not said to be one is no statement."""
        for headers in ((), ((b"content-type", b"text/plain"),), ((b"content-type", b"multipart/form-data"),)):
            plan = self.collect(b"POST", b"/query", *headers)
            self.assertIs(self.successResultOf(plan.complete(b"q=CREATE+DATABASE+t", WRITER)), NOT_FOUND)

    def test_what_is_remembered(self) -> None:
        """What is decided about a head that will be met again is decided once, and about few of them."""
        remembered, other = Head(b"POST", b"/write", (), is_remembered=True), Head(b"POST", b"/write", ())
        plan = self.routes.plan(remembered)
        self.assertIs(self.routes.plan(remembered), plan)
        self.assertIsNot(self.routes.plan(other), self.routes.plan(other))
        for _ in range(REMEMBERED_HEADS):
            self.routes.plan(Head(b"POST", b"/write", (), is_remembered=True))
        self.assertIsNot(self.routes.plan(remembered), plan)
        self.assertEqual(self.routes.plan(remembered), plan)


class ExposeAllTests(RoutesCase):
    """With `--expose all`."""

    expose = Expose.ALL

    def open(self, target: bytes = b"/query?q=SHOW+DATABASES") -> PassThrough:
        """What is to be done with a query."""
        plan = self.plan(b"GET", target, (b"accept", b"*/*"))
        assert isinstance(plan, PassThrough), plan
        return plan

    def test_pass_through(self) -> None:
        """A request reaches InfluxDB as it is, and InfluxDB's answer comes back."""
        opened = self.open().open(Upload(0))
        connection = self.far.accept()
        self.assertEqual(
            connection.received(),
            b"GET /query?q=SHOW+DATABASES HTTP/1.1\r\nAccept: */*\r\nHost: 127.0.0.1:8086\r\n\r\n",
        )
        connection.respond(200, [b"X-Influxdb-Version: 1.6.7"], b"{}")
        response = self.successResultOf(opened)
        self.assertTrue(IResponse.providedBy(response))

    def test_no_answer(self) -> None:
        """When InfluxDB is not there, a stranger hears nothing but that."""
        opened = self.open().open(Upload(0))
        self.far.refuse()
        answer = self.successResultOf(opened)
        assert isinstance(answer, Answer)
        self.assertEqual(answer.status, 503)
        self.assertIn((b"Retry-After", b"30"), answer.headers)

    def test_what_cannot_be_passed_on(self) -> None:
        """A target that Twisted's client cannot carry is a bad request."""
        self.assertEqual(self.successResultOf(self.open(b"//[").open(Upload(0))), Answer(400))
