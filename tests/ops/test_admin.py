"""The status pages: who may read them, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable

from attrs import evolve, frozen
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.ops.test_figures import ONE
from torfluxd.ops.admin import BODY_BYTES, AdminSite, is_no_name
from torfluxd.ops.figures import Figures
from torfluxd.ops.status import Status, duration, told

STATUS = Status("1.2.3", "http://abc.onion", "published", (), ONE)
TCP = IPv4Address("TCP", "127.0.0.1", 9273)


NAMES = (
    "evil.example",
    "evil.example:9273",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "[::1].evil.example",
    "[evil.example]",
    "[::1",
    "localhost:evil",
    "",
)
"""What a page that is hostile could have a browser ask for."""


@frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class AdminCase(SynchronousTestCase):
    """A server of status pages, in memory."""

    def ask(
        self,
        path: str = "/",
        host: str | None = "127.0.0.1:9273",
        method: str = "GET",
        view: Callable[[], Deferred[Status]] = lambda: succeed(STATUS),
        address: IPv4Address | UNIXAddress = TCP,
        any_host: bool = False,
    ) -> Answer:
        """Ask for a page."""
        transport = StringTransport(hostAddress=address)
        channel = AdminSite(view, Clock(), any_host=any_host).buildProtocol(None)
        channel.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), "Connection: close", "", ""]
        channel.dataReceived("\r\n".join(lines).encode("latin-1"))
        head, _, body = transport.value().partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        return Answer(int(status.split()[1]), dict(header.split(": ", 1) for header in headers), body)


class WhoTests(AdminCase):
    """Who may read them."""

    def test_this_machine(self) -> None:
        """Whoever asks for an IP address or localhost is answered, with a port or without."""
        for host in ("127.0.0.1", "127.0.0.1:9273", "localhost", "LOCALHOST:1", "[::1]:9273", "[::1]", "10.0.0.7:80"):
            self.assertEqual(200, self.ask(host=host).status, host)

    def test_dns_rebinding(self) -> None:
        """A page on the web that leads its own name to this machine reads nothing, whatever it asks for."""
        for host in (*NAMES, None):
            for path in ("/", "/health", "/ready", "/status.json", "/figures.json", "/metrics", "/nothing"):
                answer = self.ask(path, host=host)
                self.assertIn(answer.status, (421, 400), (host, path))
                self.assertNotIn(b"onion", answer.body)

    def test_a_unix_socket(self) -> None:
        """Over a unix socket, which no browser reaches, any name is served."""
        self.assertEqual(200, self.ask(host="whatever", address=UNIXAddress("/run/a")).status)

    def test_where_it_was_allowed(self) -> None:
        """With --admin-allow-remote any name is served: a container has one."""
        self.assertEqual(200, self.ask(host="torfluxd:9273", any_host=True).status)

    def test_names(self) -> None:
        """No name passes for none."""
        for host in (b"1", b"0x7f000001", b"127.1", b"\xff", b"::1", b"127.0.0.1:", b"localhost."):
            self.assertEqual(host == b"127.0.0.1:", is_no_name(host), host)

    def test_nothing_can_be_changed(self) -> None:
        """Other methods than GET and HEAD do nothing."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "FROB"):
            self.assertEqual(405, self.ask(method=method).status)

    def test_nobody_fills_the_memory(self) -> None:
        """A body, which nobody needs here, is not held beyond a bound, whether its length is told or not."""
        told = [f"Content-Length: {BODY_BYTES + 1}", "", ""]
        untold = ["Transfer-Encoding: chunked", "", f"{BODY_BYTES + 1:x}", "x" * (BODY_BYTES + 1), "0", "", ""]
        for rest in (told, untold):
            transport = StringTransport()
            channel = AdminSite(lambda: succeed(STATUS), Clock()).buildProtocol(None)
            channel.makeConnection(transport)
            channel.dataReceived("\r\n".join(["POST / HTTP/1.1", "Host: localhost", *rest]).encode())
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "), transport.value())
            self.assertTrue(transport.disconnecting)

    def test_no_page_of_another_reads_them(self) -> None:
        """Nothing lets a page from elsewhere read an answer, or keep it, or take it for a page with scripts."""
        headers = self.ask("/status.json").headers
        self.assertNotIn("Access-Control-Allow-Origin", headers)
        self.assertEqual("no-store", headers["Cache-Control"])
        self.assertEqual("nosniff", headers["X-Content-Type-Options"])
        self.assertNotIn("Server", headers)

    def test_nobody_is_logged(self) -> None:
        """There is no access log."""
        events: list[object] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for host in ("localhost", "evil.example"):
            self.ask(host=host)
        self.assertEqual([], events)


class PageTests(AdminCase):
    """What they say."""

    def test_health(self) -> None:
        """`/health` says that the process answers, whatever else is wrong."""
        self.assertEqual((200, b"ok\n"), self.text("/health", evolve(STATUS, problems=("all is lost",))))

    def test_ready(self) -> None:
        """`/ready` says that we are, or why not."""
        self.assertEqual((200, b"ready\n"), self.text("/ready", STATUS))
        self.assertEqual((503, b"one\ntwo\n"), self.text("/ready", evolve(STATUS, problems=("one", "two"))))

    def text(self, path: str, status: Status) -> tuple[int, bytes]:
        """A page, and its status."""
        answer = self.ask(path, view=lambda: succeed(status))
        return answer.status, answer.body

    def test_json(self) -> None:
        """`/status.json` is everything, and `/figures.json` what one process tells another."""
        answer = self.ask("/status.json")
        self.assertEqual("application/json", answer.headers["Content-Type"])
        self.assertEqual(STATUS, Status.from_json(answer.body))
        self.assertTrue(json.loads(answer.body)["ready"])
        self.assertEqual(ONE, Figures.from_json(self.ask("/figures.json").body))

    def test_metrics(self) -> None:
        """`/metrics` is for Prometheus."""
        answer = self.ask("/metrics?x=y")
        self.assertTrue(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"))
        self.assertIn(b'torfluxd_requests_total{verdict="written"} 3.0', answer.body)

    def test_people(self) -> None:
        """`/` is for people."""
        self.assertIn(b"3 written", self.ask("/").body)

    def test_a_head(self) -> None:
        """HEAD is answered like GET, without the body."""
        answer = self.ask("/metrics", method="HEAD")
        self.assertEqual((200, b""), (answer.status, answer.body))
        self.assertGreater(int(answer.headers["Content-Length"]), 1000)

    def test_no_such_page(self) -> None:
        """What is not there is told, with what is."""
        answer = self.ask("/metric")
        self.assertEqual(404, answer.status)
        self.assertIn(b"/metrics", answer.body)

    def test_workers_that_are_asked(self) -> None:
        """A view that takes a while is waited for; whoever leaves meanwhile costs nothing."""
        view: Deferred[Status] = Deferred()
        transport = StringTransport(hostAddress=TCP)
        channel = AdminSite(lambda: view, Clock()).buildProtocol(None)
        channel.makeConnection(transport)
        channel.dataReceived(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(b"", transport.value())
        view.callback(STATUS)
        self.assertIn(b"ready\n", transport.value())

    def test_a_fault(self) -> None:
        """A fault of our own is an error for whoever asks, and stands in the log."""
        self.assertEqual(500, self.ask("/ready", view=lambda: fail(KeyError("ours"))).status)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))


class StatusTests(SynchronousTestCase):
    """The value, and its text."""

    def test_it_travels(self) -> None:
        """What a gateway tells, `torfluxd status` reads."""
        for status in (STATUS, Status("1"), evolve(STATUS, problems=("one", "two"))):
            self.assertEqual(status, Status.from_json(status.to_json()))

    def test_what_is_none(self) -> None:
        """Whatever else answers there is no status."""
        for text in (b"", b"[]", b"{}", b'{"figures": 1}', b"<html>", b"\xff"):
            self.assertRaises(ValueError, Status.from_json, text)

    def test_people_read_it(self) -> None:
        """The text tells first whether it is ready, and why not."""
        text = told(
            evolve(STATUS, problems=("the onion service is not published: tor joins its network, 45 %",)), 700.0
        )
        first, second, *_ = text.splitlines()
        self.assertIn("NOT READY", first)
        self.assertIn("45 %", second)
        self.assertIn("for 10m", text)
        self.assertLess(max(map(len, text.splitlines())), 120)

    def test_durations(self) -> None:
        """A span of time has its two largest units."""
        for seconds, text in ((0, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h"), (93_784, "1d 2h"), (-5, "0s")):
            self.assertEqual(text, duration(seconds))
