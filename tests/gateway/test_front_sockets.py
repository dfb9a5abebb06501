"""The door on real sockets: what only a kernel shows, with curl and the standard library as strangers."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IAddress, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from tests.gateway.strangers import PING, Always, Routes, parse_answers, request
from torfluxd.gateway.exchange import Answer
from torfluxd.gateway.front import Bounds, Front

reactor: Any = global_reactor
MIB = 1024 * 1024
KERNEL_SECONDS = 10.0
"""How long a client waits for the door before the test fails."""

_T = TypeVar("_T")


class SocketTestCase(TestCase):
    """A door on a unix socket, as it stands behind tor, and on TCP."""

    timeout = 30

    async def serve(self, site: object, **bounds: Any) -> Front:
        """Open the door."""
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        front = Front(site, Bounds(**bounds), reactor)
        self.addCleanup(front.drain, 0)
        for endpoint in (
            UNIXServerEndpoint(reactor, str(self.directory / "door")),
            TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"),
        ):
            port = await endpoint.listen(front)
            self.addCleanup(port.stopListening)
        self.tcp_port = port.getHost().port
        self.url = f"http://127.0.0.1:{self.tcp_port}"
        return front

    async def curl(self, *arguments: str) -> tuple[bytes, int]:
        """Run curl, and give its output and exit status."""
        output, errors, status = await getProcessOutputAndValue(
            shutil.which("curl") or "curl", ("-sS", "--max-time", "20", *arguments), reactor=reactor
        )
        self.assertIsInstance(errors, bytes)
        return output, status

    def connect(self, *, tcp: bool = False) -> socket.socket:
        """A socket to the door that waits, to be used in a thread."""
        stranger = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        stranger.settimeout(KERNEL_SECONDS)
        stranger.connect(("127.0.0.1", self.tcp_port) if tcp else str(self.directory / "door"))
        return stranger

    def in_thread(self, work: Callable[[], _T]) -> Deferred[_T]:
        """Let a stranger do what blocks him."""
        return deferToThread(work)


def read_all(stranger: socket.socket) -> bytes:
    """Read until the door closes; raise when it resets."""
    received = []
    while piece := stranger.recv(65536):
        received.append(piece)
    return b"".join(received)


class CurlTests(SocketTestCase):
    """curl is content."""

    async def test_write(self) -> None:
        """A write, over TCP and over a unix socket."""
        site = Routes()
        await self.serve(site)
        for where in ((), ("--unix-socket", str(self.directory / "door"))):
            output, status = await self.curl(
                *where, "-w", "%{http_code} %{size_header}", "--data-binary", "cpu usage=1", f"{self.url}/write?db=x"
            )
            expected = len("HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n")
            self.assertEqual((output, status), (b"204 %d" % expected, 0))
        self.assertEqual(site.bodies, [b"cpu usage=1"] * 2)

    async def test_large_bodies(self) -> None:
        """2 MiB, after asking for them and without, declared and chunked."""
        site = Routes(limit_bytes=2 * MIB)
        await self.serve(site)
        body = bytes(range(256)) * (2 * MIB // 256)
        upload = self.directory / "body"
        upload.write_bytes(body)
        for headers in (
            ("Expect: 100-continue",),
            ("Expect:",),
            ("Transfer-Encoding: chunked", "Expect: 100-continue"),
            ("Transfer-Encoding: chunked", "Expect:"),
        ):
            output, status = await self.curl(
                *(argument for header in headers for argument in ("-H", header)),
                *("--expect100-timeout", "15", "-w", "%{http_code}", "--data-binary", f"@{upload}"),
                *("--max-time", "10", f"{self.url}/write"),
            )
            self.assertEqual((output, status), (b"204", 0))
        self.assertTrue(all(stored == body for stored in site.bodies))
        self.assertEqual(len(site.bodies), 4)

    async def test_too_large(self) -> None:
        """A body that is too large gets its answer, whether curl asks before or sends, declares or not."""
        await self.serve(Routes())
        upload = self.directory / "body"
        upload.write_bytes(b"x" * MIB)
        for header in ("Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"):
            output, status = await self.curl(
                *("-H", header, "-w", "%{http_code}", "--data-binary", f"@{upload}", f"{self.url}/write")
            )
            self.assertEqual((output, status), (b'{"error":"Request Entity Too Large"}\n413', 0))

    async def test_kept_alive(self) -> None:
        """Ten requests need one connection; `Connection: close` and HTTP/1.0 need one each."""
        await self.serve(Routes())
        pings = [f"{self.url}/ping"] * 10
        output, status = await self.curl("-w", "%{num_connects}", *pings)
        self.assertEqual((output, status), (b"pong1" + b"pong0" * 9, 0))
        for old in (("-H", "Connection: close"), ("-0",)):
            output, status = await self.curl(*old, "-w", "%{num_connects}", *pings)
            self.assertEqual((output, status), (b"pong1" * 10, 0))

    async def test_head(self) -> None:
        """`HEAD`, twice on one connection."""
        await self.serve(Routes())
        output, status = await self.curl("-I", f"{self.url}/ping", f"{self.url}/ping")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"
        self.assertEqual((output, status), (head * 2, 0))

    async def test_http2(self) -> None:
        """HTTP/2 is refused: with an upgrade as well as with prior knowledge."""
        await self.serve(Routes())
        output, status = await self.curl("--http2", "-w", "%{http_code}", f"{self.url}/ping")
        self.assertEqual((output, status), (b"400", 0))
        _, status = await self.curl("--http2-prior-knowledge", f"{self.url}/ping")
        self.assertNotEqual(status, 0)


class KernelTests(SocketTestCase):
    """What sockets do with answers."""

    async def test_last_answer_is_readable(self) -> None:
        """Who sends his whole body before he reads still finds the refusal, not a reset."""
        await self.serve(Routes())

        def send_then_read() -> bytes:
            with self.connect(tcp=True) as stranger:
                stranger.sendall(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (3 * MIB))
                stranger.recv(1, socket.MSG_PEEK)
                for _ in range(3):
                    stranger.sendall(b"x" * MIB)
                return read_all(stranger)

        (answer,) = parse_answers(await self.in_thread(send_then_read))
        self.assertEqual(answer.status, 413)

    async def test_stranger_who_never_stops(self) -> None:
        """Who sends on for ever after his last answer is cut off."""
        await self.serve(Routes(), linger_bytes=MIB)

        def send_on() -> int:
            with self.connect() as stranger:
                stranger.sendall(b"nonsense\r\n\r\n")
                sent = 0
                try:
                    while True:
                        sent += stranger.send(b"x" * 65536)
                except (BrokenPipeError, ConnectionResetError):
                    return sent

        self.assertLess(await self.in_thread(send_on), 2 * MIB)

    async def test_answers_larger_than_the_kernel_holds(self) -> None:
        """Answers arrive whole and in order when the stranger reads late, and the door does not read on before."""
        body = bytes(range(256)) * 4096
        site = Always(Answer(200, (), body))
        front = await self.serve(site)

        def pipeline() -> bytes:
            with self.connect() as stranger:
                stranger.sendall(PING * 19 + request(method=b"GET", headers=b"Connection: close\r\n"))
                self.late = front.requests
                return read_all(stranger)

        answers = parse_answers(await self.in_thread(pipeline))
        self.assertEqual(len(answers), 20)
        self.assertTrue(all(answer.body == body for answer in answers))
        self.assertLess(self.late, 3)

    async def test_pipeline_of_small_answers(self) -> None:
        """Ten thousand pipelined requests get ten thousand answers."""
        front = await self.serve(Routes())
        with self.connect() as stranger:
            wire = PING * 9_999 + request(target=b"/ping", headers=b"Connection: close\r\n")
            sent = self.in_thread(lambda: stranger.sendall(wire))
            received = await self.in_thread(lambda: read_all(stranger))
            await sent
        self.assertEqual([answer.body for answer in parse_answers(received)], [b"pong"] * 10_000)
        self.assertEqual(front.requests, 10_000)

    async def test_stranger_resets(self) -> None:
        """A stranger who resets his connection while his answer is worked at is noticed."""
        site = Routes()
        front = await self.serve(site)
        stranger = self.connect(tcp=True)
        stranger.sendall(request(b"x", target=b"/later"))
        while not site.pending:
            await _soon()
        stranger.close()
        while front.connections:
            await _soon()
        self.assertEqual(site.gone, 1)

    async def test_drained(self) -> None:
        """Draining ends when the last stranger has his answer, and closes idle ones at once."""
        site = Routes()
        front = await self.serve(site)
        busy, idle = self.connect(), self.connect()
        busy.sendall(request(b"x", target=b"/later"))
        while not site.pending or front.connections < 2:
            await _soon()
        done = front.drain(20)
        self.assertEqual(await self.in_thread(lambda: read_all(idle)), b"")
        self.assertEqual(front.connections, 1)
        site.answer_next()
        (answer,) = parse_answers(await self.in_thread(lambda: read_all(busy)))
        self.assertEqual((answer.status, answer.header("Connection")), (204, "close"))
        busy.close()
        idle.close()
        await done


class PassThroughTests(SocketTestCase):
    """Streams larger than all buffers between two sockets."""

    SIZE = 20 * MIB
    BUFFERS = 2 * MIB
    """More than all buffers on the way hold: four unix sockets' of 208 KiB, and three of Twisted's of 64 KiB."""

    async def serve_upstream(self, upstream: Factory) -> Front:
        """Open the door before an upstream."""
        site = Routes()
        front = await self.serve(site)
        path = str(self.directory / "upstream")
        port = await UNIXServerEndpoint(reactor, path).listen(upstream)
        self.addCleanup(port.stopListening)
        agent = Agent.usingEndpointFactory(reactor, _To(UNIXClientEndpoint(reactor, path)))

        def open_upstream(body: IBodyProducer) -> Deferred[IResponse | Answer]:
            response: Deferred[IResponse | Answer] = agent.request(b"POST", b"http://upstream/", None, body)
            return response.addErrback(lambda failure: Answer(502))

        site.upstream = open_upstream
        return front

    async def test_response_to_a_slow_reader(self) -> None:
        """20 MiB reach a stranger who stops reading in the middle; meanwhile the upstream has to wait."""
        upstream = _Download(self.SIZE)
        await self.serve_upstream(upstream)
        stranger = self.connect()
        stranger.sendall(request(target=b"/open", headers=b"Connection: close\r\n"))
        start = await self.in_thread(lambda: stranger.recv(65536))
        await upstream.stalled()
        self.assertLess(upstream.sent, self.BUFFERS)
        rest = await self.in_thread(lambda: read_all(stranger))
        stranger.close()
        (answer,) = parse_answers(start + rest)
        self.assertTrue(answer.body == upstream.PIECE * (self.SIZE // len(upstream.PIECE)))

    async def test_response_that_breaks_off(self) -> None:
        """A response that the upstream breaks off is an error for the stranger, not a shorter response."""
        await self.serve_upstream(_Download(self.SIZE, breaks_off=True))
        for http in ("-0", "--http1.1"):
            _, status = await self.curl(http, "-o", "/dev/null", f"{self.url}/open")
            self.assertIn(status, (18, 56), "curl: partial file, or receive error")

    async def test_stranger_leaves(self) -> None:
        """When a stranger leaves in a response, the upstream's connection is closed."""
        upstream = _Download(self.SIZE)
        await self.serve_upstream(upstream)
        with self.connect() as stranger:
            stranger.sendall(request(target=b"/open"))
            await self.in_thread(lambda: stranger.recv(65536))
            await upstream.stalled()
        await upstream.closed

    async def test_body_to_a_slow_upstream(self) -> None:
        """20 MiB go to an upstream that does not read at first; meanwhile the stranger has to wait."""
        upstream = _Upload(self.SIZE)
        await self.serve_upstream(upstream)
        stranger = self.connect()
        stranger.settimeout(0.5)
        head = b"POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % self.SIZE

        def send_until_stuck() -> int:
            stranger.sendall(head)
            sent = 0
            try:
                while sent < self.SIZE:
                    sent += stranger.send(b"x" * min(65536, self.SIZE - sent))
            except TimeoutError:
                stranger.settimeout(KERNEL_SECONDS)
            return sent

        sent = await self.in_thread(send_until_stuck)
        self.assertLess(sent, self.BUFFERS)
        upstream.read_on()

        def send_rest() -> bytes:
            stranger.sendall(b"x" * (self.SIZE - sent))
            return stranger.recv(65536)

        (answer,) = parse_answers(await self.in_thread(send_rest))
        stranger.close()
        self.assertEqual(answer.status, 204)


@implementer(IAgentEndpointFactory)
class _To:
    """Sends every request to one endpoint."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: object) -> IStreamClientEndpoint:
        return self._endpoint


@implementer(IPushProducer)
class _Download(Factory):
    """Answers its first request with a long chunked response, at the reader's pace."""

    noisy = False
    PIECE = bytes(range(256)) * 64

    def __init__(self, size: int, *, breaks_off: bool = False) -> None:
        self._size = size
        self._breaks_off = breaks_off
        self._paused = True
        self._asked = False
        self.sent = 0
        self.closed = Deferred[None]()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self._connection = connection = Protocol()
        connection.dataReceived = self._begin
        connection.connectionLost = self._lost
        self._asked = False
        self.sent = 0
        return connection

    def _begin(self, data: bytes) -> None:
        if not self._asked:
            self._asked = True
            self._connection.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._connection.transport.registerProducer(self, True)
            self.resumeProducing()

    def _lost(self, reason: object) -> None:
        if not self.closed.called:
            self.closed.callback(None)

    def resumeProducing(self) -> None:
        self._paused = False
        reactor.callLater(0, self._send)

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._paused = True

    def _send(self) -> None:
        transport = self._connection.transport
        while not self._paused:
            if self._breaks_off and self.sent >= self._size // 2:
                transport.abortConnection()
                return
            if self.sent == self._size:
                self._paused = True
                transport.write(b"0\r\n\r\n")
                return
            self.sent += len(self.PIECE)
            transport.write(b"%x\r\n%b\r\n" % (len(self.PIECE), self.PIECE))

    async def stalled(self) -> None:
        """Wait until nothing moves any more."""
        before = -1
        while before != self.sent or not self._paused:
            before = self.sent
            for _ in range(10):
                await _soon()


class _Upload(Factory):
    """Takes one request, of which it reads nothing before it is told to."""

    noisy = False

    def __init__(self, size: int) -> None:
        self._missing = size
        self._head = b""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        self._connection = connection = Protocol()
        connection.connectionMade = lambda: connection.transport.pauseProducing()
        connection.dataReceived = self._take
        return connection

    def read_on(self) -> None:
        self._connection.transport.resumeProducing()

    def _take(self, data: bytes) -> None:
        if not self._head.endswith(b"\r\n\r\n"):
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = head + end
        self._missing -= len(data)
        if not self._missing:
            self._connection.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def _soon() -> Deferred[None]:
    """Let the reactor do what is due; not more than a hundredth of a second."""
    done = Deferred[None]()
    reactor.callLater(0.01, done.callback, None)
    return done
