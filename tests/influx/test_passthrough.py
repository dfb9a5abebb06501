"""What is passed through arrives as it was sent, both ways, at the pace of the slower side."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from tests.influx.far_side import Connection, FarSide
from torfluxd.boundaries import Header
from torfluxd.errors import UpstreamError
from torfluxd.influx.passthrough import FIRST_BYTE_SECONDS, HttpPassThrough, end_to_end


@implementer(IBodyProducer)
class Upload:
    """The body of a request, as a stranger sends it."""

    def __init__(self, length: int | str) -> None:
        self.length = length
        self.state = "not begun"
        self.done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Wait for the test to write."""
        self.consumer = consumer
        self.state = "producing"
        return self.done

    def pauseProducing(self) -> None:
        """InfluxDB is slow."""
        self.state = "paused"

    def resumeProducing(self) -> None:
        """InfluxDB can take more."""
        self.state = "producing"

    def stopProducing(self) -> None:
        """InfluxDB has gone."""
        self.state = "stopped"


class Download(Protocol):
    """The body of an answer, as the door takes it."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Keep how it ended."""
        self.reason = reason


class PassThroughCase(SynchronousTestCase):
    """A pass-through, and the server behind it."""

    address = "127.0.0.1:8086"

    def setUp(self) -> None:
        """Connect nothing yet."""
        self.far = FarSide(self.address)
        self.pass_through = HttpPassThrough(self.far.agent, self.far.url, self.far.reactor)

    def opened(
        self,
        method: bytes = b"GET",
        target: bytes = b"/",
        headers: Sequence[Header] = (),
        body: IBodyProducer | None = None,
    ) -> tuple[Deferred[IResponse], Connection]:
        """Pass a request through over a new connection."""
        response = self.pass_through.open(method, target, headers, body or Upload(0))
        return response, self.far.accept()


class RequestTests(PassThroughCase):
    """What a stranger asks is what InfluxDB is asked."""

    address = "http://127.0.0.1:8086/prefix"

    def test_request(self) -> None:
        """Method, target (behind the prefix) and end-to-end headers are kept as they are, and nothing is added."""
        headers = [(b"accept", b"*/*"), (b"x-a", b"1"), (b"authorization", b"Basic eA=="), (b"x-a", b"2")]
        _, connection = self.opened(b"gEt", b"//query?q=SHOW%20x;+&&q", headers)
        self.assertEqual(
            connection.received(),
            b"gEt /prefix//query?q=SHOW%20x;+&&q HTTP/1.1\r\nAccept: */*\r\nX-A: 1\r\nX-A: 2\r\n"
            b"Authorization: Basic eA==\r\nHost: 127.0.0.1:8086\r\n\r\n",
        )

    def test_headers_of_the_connection(self) -> None:
        """What concerns the stranger's connection stays there, and the host is InfluxDB's own."""
        headers = [
            (b"host", b"x.onion"),
            (b"connection", b"close, X-Mine"),
            (b"x-mine", b"1"),
            (b"keep-alive", b"timeout=5"),
            (b"proxy-authorization", b"Basic eA=="),
            (b"te", b"trailers"),
            (b"transfer-encoding", b"chunked"),
            (b"upgrade", b"websocket"),
            (b"content-length", b"7"),
            (b"expect", b"100-continue"),
        ]
        _, connection = self.opened(headers=headers)
        self.assertEqual(connection.received(), b"GET /prefix/ HTTP/1.1\r\nHost: 127.0.0.1:8086\r\n\r\n")

    def test_no_body(self) -> None:
        """A POST without a body says so."""
        _, connection = self.opened(b"POST", b"/query")
        self.assertIn(b"\r\nContent-Length: 0\r\n", connection.received())

    def test_body_of_known_length(self) -> None:
        """A body is passed on as it comes."""
        body = Upload(6)
        response, connection = self.opened(b"POST", b"/write", body=body)
        self.assertIn(b"\r\nContent-Length: 6\r\n", connection.received())
        for part in (b"abc", b"def"):
            body.consumer.write(part)
            self.assertEqual(connection.received(), part)
        body.done.callback(None)
        connection.respond(204)
        self.assertEqual(self.successResultOf(response).code, 204)

    def test_body_of_unknown_length(self) -> None:
        """A body in chunks is passed on in chunks."""
        body = Upload(UNKNOWN_LENGTH)
        _, connection = self.opened(b"POST", b"/write", body=body)
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", connection.received())
        body.consumer.write(b"abc")
        self.assertEqual(connection.received(), b"3\r\nabc\r\n")
        body.done.callback(None)
        self.assertEqual(connection.received(), b"0\r\n\r\n")

    def test_slow_influxdb(self) -> None:
        """A stranger who sends faster than InfluxDB reads is made to wait."""
        for length in (1000, UNKNOWN_LENGTH):
            body = Upload(length)
            _, connection = self.opened(b"POST", b"/write", body=body)
            producer: IPushProducer = connection.transport.producer
            producer.pauseProducing()
            self.assertEqual(body.state, "paused")
            producer.resumeProducing()
            self.assertEqual(body.state, "producing")


class ResponseTests(PassThroughCase):
    """What InfluxDB answers is what a stranger gets."""

    def downloading(self, head: bytes, method: bytes = b"GET") -> tuple[IResponse, Download, Connection]:
        """The answer that begins like this."""
        response, connection = self.opened(method)
        connection.say(head)
        download = Download()
        result = self.successResultOf(response)
        result.deliverBody(download)
        return result, download, connection

    def test_head(self) -> None:
        """Status and end-to-end headers are kept, InfluxDB's own ones among them."""
        response, _, _ = self.downloading(
            b"HTTP/1.1 206 Whatever\r\nX-Influxdb-Version: 1.6.7\r\nX-Influxdb-Build: OSS\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: b=2\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
            b"Trailer: X\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.assertEqual(response.code, 206)
        self.assertEqual(
            dict(response.headers.getAllRawHeaders()),
            {b"X-Influxdb-Version": [b"1.6.7"], b"X-Influxdb-Build": [b"OSS"], b"Set-Cookie": [b"a=1", b"b=2"]},
        )

    def test_stream(self) -> None:
        """A body is there piece by piece, as it comes."""
        response, download, connection = self.downloading(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        self.assertEqual(response.length, 6)
        for expected in (b"abc", b"abcabc"):
            connection.say(b"abc")
            self.assertEqual(download.data, expected)
        assert download.reason is not None
        download.reason.trap(ResponseDone)

    def test_cut(self) -> None:
        """A body that was cut is known to be."""
        for framing in (b"Content-Length: 6", b"Transfer-Encoding: chunked"):
            _, download, connection = self.downloading(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
            connection.hang_up()
            assert download.reason is not None
            download.reason.trap(ResponseFailed)

    def test_compressed(self) -> None:
        """A compressed body stays as it is."""
        body = gzip.compress(b"x" * 1000)
        response, download, connection = self.downloading(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        connection.say(body)
        self.assertEqual(download.data, body)
        self.assertEqual(response.headers.getRawHeaders(b"Content-Encoding"), [b"gzip"])

    def test_answer_to_head(self) -> None:
        """The answer to a HEAD has a length and no body."""
        response, download, _ = self.downloading(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"HEAD")
        self.assertEqual(response.headers.getRawHeaders(b"Content-Length"), [b"6"])
        self.assertEqual(download.data, b"")

    def test_redirect(self) -> None:
        """A redirect is passed on, not followed."""
        response, _, _ = self.downloading(b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((response.code, response.headers.getRawHeaders(b"Location")), (302, [b"http://x/"]))
        self.assertEqual(self.far.waiting, 0)

    def test_slow_stranger(self) -> None:
        """Before anybody takes the body, and while the stranger cannot, InfluxDB is made to wait."""
        response, connection = self.opened()
        connection.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self.assertEqual(connection.transport.producerState, "paused")
        download = Download()
        self.successResultOf(response).deliverBody(download)
        self.assertEqual(connection.transport.producerState, "producing")
        assert download.transport is not None
        download.transport.pauseProducing()
        self.assertEqual(connection.transport.producerState, "paused")
        download.transport.resumeProducing()
        self.assertEqual(connection.transport.producerState, "producing")

    def test_stranger_goes_while_downloading(self) -> None:
        """When nobody wants the rest, InfluxDB need not send it."""
        _, download, connection = self.downloading(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
        assert download.transport is not None
        download.transport.stopProducing()
        self.assertTrue(connection.is_closed)

    def test_no_deadline_for_the_body(self) -> None:
        """Once it has begun, an answer may take its time."""
        _, download, connection = self.downloading(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])
        connection.say(b"xy")
        self.assertEqual(download.data, b"xy")


class NoResponseTests(PassThroughCase):
    """Without an answer, the caller learns why, and nothing stays open."""

    def test_refused(self) -> None:
        """InfluxDB is not there."""
        response = self.pass_through.open(b"GET", b"/", (), Upload(0))
        self.far.refuse()
        error = self.failureResultOf(response, UpstreamError).value
        self.assertEqual(str(error), "there was no answer: Connection was refused by other side.")

    def test_cut(self) -> None:
        """InfluxDB hangs up."""
        response, connection = self.opened()
        connection.hang_up()
        self.failureResultOf(response, UpstreamError)

    def test_deadline(self) -> None:
        """InfluxDB does not begin to answer."""
        response, connection = self.opened()
        self.far.reactor.advance(FIRST_BYTE_SECONDS)
        error = self.failureResultOf(response, UpstreamError).value
        self.assertEqual(str(error), "there was no answer within 600 seconds")
        self.assertTrue(connection.transport.disconnected)

    def test_stranger_goes_while_waiting(self) -> None:
        """A question that nobody waits for is taken back."""
        response, connection = self.opened()
        response.cancel()
        self.failureResultOf(response, CancelledError)
        self.assertTrue(connection.transport.disconnected)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])

    def test_stranger_goes_while_connecting(self) -> None:
        """The same before there is a connection."""
        response = self.pass_through.open(b"GET", b"/", (), Upload(0))
        response.cancel()
        self.failureResultOf(response, CancelledError)
        self.assertEqual(self.far.reactor.getDelayedCalls(), [])

    def test_stranger_goes_while_uploading(self) -> None:
        """The same within the body, whether it is the answer that is cancelled or the body that fails."""
        response, connection = self.opened(b"POST", b"/write", body=Upload(10))
        response.cancel()
        self.failureResultOf(response, CancelledError)
        self.assertTrue(connection.transport.disconnected)
        body = Upload(UNKNOWN_LENGTH)
        response, connection = self.opened(b"POST", b"/write", body=body)
        connection.received()
        body.done.errback(ConnectionError())
        self.failureResultOf(response, UpstreamError)
        self.assertTrue(connection.transport.disconnected)
        self.assertEqual(connection.received(), b"")

    def test_nonsense(self) -> None:
        """What HTTP cannot carry is refused before anything is sent."""
        for method, target, headers in (
            (b"G(T", b"/", ()),
            (b"GET", b"/\xff", ()),
            (b"GET", b"//[", ()),
            (b"GET", b"/", ((b"a b", b"1"),)),
        ):
            self.failureResultOf(self.pass_through.open(method, target, headers, Upload(0)), ValueError)
        self.assertEqual(self.far.waiting, 0)


names = st.sampled_from([b"connection", b"te", b"upgrade", b"x-a", b"x-b", b"accept"])
values = st.sampled_from([b"", b"close", b"x-a", b"X-B , close", b",,", b"keep-alive,x-a"])


class EndToEndTests(SynchronousTestCase):
    """Headers of the connection are told from those of the message (RFC 9110 section 7.6.1)."""

    def test_named_by_connection(self) -> None:
        """What any `Connection` names is of the connection, whatever its case and the white space."""
        headers = [
            (b"connection", b" X-A,\tx-b"),
            (b"x-a", b"1"),
            (b"x-c", b"3"),
            (b"connection", b"x-d"),
            (b"x-d", b"4"),
        ]
        self.assertEqual(end_to_end([(b"x-b", b"2"), *headers]), [(b"x-c", b"3")])

    @given(st.lists(st.tuples(names, values)))
    def test_anything(self, headers: list[Header]) -> None:
        """What is left was there in this order, holds no such header, and has nothing more to lose."""
        left = end_to_end(headers)
        self.assertEqual(left, [header for header in headers if header in left])
        self.assertTrue({name for name, _ in left} <= {b"x-a", b"x-b", b"accept"})
        self.assertEqual(end_to_end(left), left)
        if not any(name == b"connection" for name, _ in headers):
            self.assertEqual(left, [header for header in headers if header[0] not in {b"te", b"upgrade"}])
