"""The HTTP client for onion services: every byte it sends, whom it refuses to speak to, and what it leaves behind."""

from __future__ import annotations

import re
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.onion.socks_proxy import (
    CREDENTIALS,
    ISOLATION,
    LET_IN,
    METHOD_CHOSEN,
    ONION,
    OPENED,
    OTHER_ONION,
    REFUSED,
    Connection,
    MemoryProxy,
)
from torfluxd.errors import OnionAddressError, SocksOnionDescriptorNotFoundError, SocksTimeoutError
from torfluxd.onion.onion_agent import OnionAgent

URL = b"http://" + ONION.hostname.encode()
HOST = b"Host: " + ONION.hostname.encode() + b"\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@implementer(IBodyProducer)
class _Body:
    """A body that is there at once."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.body)
        return succeed(None)

    def pauseProducing(self) -> None:
        raise AssertionError("nothing to pause")

    resumeProducing = stopProducing = pauseProducing


class _Endless(_Body):
    """A body whose end never comes."""

    def startProducing(self, consumer: Any) -> Deferred[None]:
        return Deferred()

    def stopProducing(self) -> None:
        pass


class OnionAgentTestCase(SynchronousTestCase):
    """A SOCKS port in memory, and agents that use it."""

    def setUp(self) -> None:
        """One agent of each kind."""
        self.proxy = MemoryProxy()
        self.agent = OnionAgent(self.proxy.reactor, self.proxy.endpoint)
        self.sharing = OnionAgent(self.proxy.reactor, self.proxy.endpoint, shared_isolation=ISOLATION)

    def opened(self) -> Connection:
        """Accept the latest connection and open its stream: from now on it hears HTTP."""
        connection = self.proxy.accept()
        connection.say(METHOD_CHOSEN, LET_IN)
        connection.sent()
        connection.say(OPENED)
        return connection

    def exchange(self, agent: OnionAgent) -> Connection:
        """Send one request on a new connection, and answer it."""
        response = agent.request(b"GET", URL + b"/ping")
        connection = self.opened()
        connection.say(NO_CONTENT)
        self.assertEqual(self.successResultOf(response).code, 204)
        connection.sent()
        return connection


class RequestTests(OnionAgentTestCase):
    """A request, and its answer."""

    def test_interface(self) -> None:
        """It is one of Twisted's HTTP clients."""
        verifyObject(IAgent, self.agent)

    def test_every_byte(self) -> None:
        """A report on a circuit of its own has these bytes and no others: nothing tells one program from another."""
        self.agent.request(b"POST", URL + b"/write?db=telemetry", None, _Body(b"m f=1 1\n"))
        self.assertEqual(
            self.opened().sent(),
            b"POST /write?db=telemetry HTTP/1.1\r\n"
            b"Connection: close\r\n"
            b"Content-Length: 8\r\n" + HOST + b"\r\n"
            b"m f=1 1\n",
        )

    def test_every_byte_when_shared(self) -> None:
        """A request on a shared circuit has these bytes and no others."""
        self.sharing.request(b"GET", URL)
        self.assertEqual(self.opened().sent(), b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")

    def test_headers_of_the_caller(self) -> None:
        """Headers that the caller gives are sent as well."""
        self.agent.request(b"GET", URL + b"/ping", Headers({"Authorization": ["Token t"]}))
        self.assertEqual(
            self.opened().sent(),
            b"GET /ping HTTP/1.1\r\nConnection: close\r\nAuthorization: Token t\r\n" + HOST + b"\r\n",
        )

    def test_one_way_to_write_it(self) -> None:
        """However somebody writes a URL, with capitals or a needless port, the onion service sees the same."""
        name = ONION.name.encode()
        for uri in (b"HTTP://" + name.upper() + b".Onion", URL + b":80", URL + b":0080/", URL + b"/#here"):
            self.setUp()
            self.agent.request(b"GET", uri)
            self.assertEqual(self.opened().sent(), b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")

    def test_query_without_path(self) -> None:
        """A query without a path is a query of the root."""
        self.agent.request(b"GET", URL + b"?q=1")
        self.assertTrue(self.opened().sent().startswith(b"GET /?q=1 HTTP/1.1\r\n"))

    def test_other_ports(self) -> None:
        """Another port is asked of the SOCKS port, and named to the onion service."""
        self.agent.request(b"GET", URL + b":8086/ping")
        connection = self.proxy.accept()
        connection.say(METHOD_CHOSEN, LET_IN)
        self.assertTrue(connection.sent().endswith(ONION.hostname.encode() + b"\x1f\x96"))
        connection.say(OPENED)
        self.assertIn(HOST.replace(b"\r\n", b":8086\r\n"), connection.sent())

    def test_labels_before_the_name(self) -> None:
        """Labels before the name are for the Host header only: the SOCKS port hears the onion service's name."""
        self.agent.request(b"GET", b"http://WWW." + ONION.hostname.encode())
        self.assertIn(HOST.replace(b"Host: ", b"Host: www."), self.opened().sent())

    def test_answer(self) -> None:
        """The answer is Twisted's: status, headers, and a body to be delivered."""
        response = self.agent.request(b"GET", URL)
        connection = self.opened()
        connection.say(b"HTTP/1.1 200 OK\r\nX-Influxdb-Version: relay\r\nContent-Length: 5\r\n\r\nhel")
        answer = self.successResultOf(response)
        self.assertEqual(answer.headers.getRawHeaders("X-Influxdb-Version"), ["relay"])
        body = treq.content(answer)
        connection.say(b"lo")
        self.assertEqual(self.successResultOf(body), b"hello")

    def test_redirects_are_answers(self) -> None:
        """A redirect is an answer like others: nobody is sent anywhere by an onion service."""
        response = self.agent.request(b"GET", URL)
        self.opened().say(b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.successResultOf(response).code, 302)
        self.assertEqual(self.proxy.attempts, 1)

    def test_no_cookies(self) -> None:
        """Cookies are not remembered."""
        for _ in range(2):
            self.agent.request(b"GET", URL)
            connection = self.opened()
            self.assertNotIn(b"Cookie", connection.sent())
            connection.say(b"HTTP/1.1 204 No Content\r\nSet-Cookie: who=you\r\n\r\n")

    def test_nothing_is_logged(self) -> None:
        """A request leaves no line in the log, not even that there was one."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.agent.request(b"GET", URL)
        factory = self.proxy.reactor.tcpClients[-1][2]
        factory.doStart()
        connection = self.opened()
        connection.say(NO_CONTENT)
        connection.lose()
        factory.doStop()
        self.assertEqual(events, [])


class IsolationTests(OnionAgentTestCase):
    """What requests have in common."""

    def credentials_of(self, connection: Connection) -> bytes:
        """What a connection says to be isolated."""
        connection.sent()
        connection.say(METHOD_CHOSEN)
        sent = connection.sent()
        connection.say(LET_IN, OPENED)
        return sent

    def test_apart(self) -> None:
        """By default each request has a connection and credentials of its own, one after another and at once."""
        one = self.exchange(self.agent)
        self.assertTrue(one.transport.disconnecting)
        seen = set()
        for _ in range(3):
            self.agent.request(b"GET", URL)
            seen.add(self.credentials_of(self.proxy.accept()))
        self.assertEqual(self.proxy.attempts, 4)
        self.assertEqual(len(seen), 3)

    def test_shared_one_after_another(self) -> None:
        """Requests that share use one connection again, as long as it lasts."""
        connection = self.exchange(self.sharing)
        self.assertFalse(connection.transport.disconnecting)
        response = self.sharing.request(b"GET", URL + b"/ping")
        self.assertEqual(self.proxy.attempts, 1)
        self.assertIn(b"GET /ping", connection.sent())
        connection.say(NO_CONTENT)
        self.successResultOf(response)
        connection.lose()
        self.sharing.request(b"GET", URL)
        self.assertEqual(self.proxy.attempts, 2)
        self.assertEqual(self.credentials_of(self.proxy.accept()), CREDENTIALS)

    def test_shared_at_once(self) -> None:
        """Requests that share at the same time use several connections, of one isolation; all of them are kept."""
        for _ in range(5):
            self.sharing.request(b"GET", URL)
        for index in range(5):
            connection = self.proxy.accept(index)
            self.assertEqual(self.credentials_of(connection), CREDENTIALS)
            connection.say(NO_CONTENT)
        for _ in range(5):
            self.sharing.request(b"GET", URL)
        self.assertEqual(self.proxy.attempts, 5)

    def test_shared_not_for_ever(self) -> None:
        """A connection that waited a minute for a request is closed, before the onion service closes it under one."""
        connection = self.exchange(self.sharing)
        self.proxy.reactor.advance(59)
        self.assertFalse(connection.transport.disconnecting)
        self.proxy.reactor.advance(1)
        self.assertTrue(connection.transport.disconnecting)

    def test_never_between_onion_services(self) -> None:
        """A connection to one onion service is never used for another."""
        self.exchange(self.sharing)
        self.sharing.request(b"GET", b"http://" + OTHER_ONION.hostname.encode())
        self.assertEqual(self.proxy.attempts, 2)

    def test_close(self) -> None:
        """Closing an agent closes the connections that it kept, and fires when they are closed."""
        connection = self.exchange(self.sharing)
        closed = self.sharing.close()
        self.assertTrue(connection.transport.disconnecting)
        self.assertNoResult(closed)
        connection.lose()
        self.assertIsNone(self.successResultOf(closed))
        self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])
        self.assertIsNone(self.successResultOf(self.agent.close()))


class OnlyOnionTests(OnionAgentTestCase):
    """Whom it does not speak to."""

    def test_refused(self) -> None:
        """Nothing but a URL of a v3 onion service goes as far as the SOCKS port; the error repeats none of it."""
        host = ONION.hostname.encode()
        for uri in (
            b"",
            b"/write",
            host,
            b"//" + host + b"/",
            b"http:/" + host,
            b"http://",
            b"http://example.com/",
            b"http://" + host + b".example.com/",
            b"http://" + host + b"./",
            b"http://" + ONION.name.encode() + b"/",
            b"http://127.0.0.1/",
            b"http://[::1]/",
            b"http://[" + host + b"]/",
            b"http://localhost:8086/",
            b"http://expyuzz4wqqyqhjn.onion/",
            b"http://a" + host[1:] + b"/",
            b"https://" + host + b"/",
            b"ws://" + host + b"/",
            b"ftp://" + host + b"/",
            b"file:///etc/passwd",
            b"http://user:secret@" + host + b"/",
            b"http://" + host + b"@example.com/",
            b"http://example.com\\@" + host + b"/",
            b"http://example.com%2f." + host + b"/",
            b"http://" + host + b":0/",
            b"http://" + host + b":65536/",
            b"http://" + host + b":99999/",
            b"http://" + host + b":/",
            b"http://" + host + b":+80/",
            b"http://" + host + b":8_0/",
            b"http://" + host + b":80:80/",
            b"http://" + host + b"/ HTTP/1.1\r\nX: y",
            b"http://" + host + b"/\r\n",
            b" http://" + host + b"/",
            b"http://" + host + b"\x00/",
            "http://éxample.onion/".encode(),
        ):
            for agent in (self.agent, self.sharing):
                failure = self.failureResultOf(agent.request(b"GET", uri), OnionAddressError)
                for word in re.findall(rb"[^/:@]{9,}", uri):
                    self.assertNotIn(word.decode("latin-1"), str(failure.value))
        self.assertEqual(self.proxy.attempts, 0)


class FailureTests(OnionAgentTestCase):
    """A request that fails, or is no longer wanted."""

    def test_refused_by_tor(self) -> None:
        """Tor's refusal is the request's error, by its name."""
        response = self.agent.request(b"GET", URL)
        connection = self.proxy.accept()
        connection.say(METHOD_CHOSEN, LET_IN, REFUSED)
        self.failureResultOf(response, SocksOnionDescriptorNotFoundError)
        self.assertTrue(connection.aborted)

    def test_timeout(self) -> None:
        """The time to open a stream can be chosen."""
        agent = OnionAgent(self.proxy.reactor, self.proxy.endpoint, timeout_seconds=5)
        response = agent.request(b"GET", URL)
        self.proxy.reactor.advance(5)
        self.failureResultOf(response, SocksTimeoutError)
        self.assertTrue(self.proxy.gave_up)

    def test_cancelled_before_the_proxy(self) -> None:
        """Cancelled while the SOCKS port is connected to: the attempt is given up."""
        response = self.agent.request(b"GET", URL)
        response.cancel()
        self.failureResultOf(response, CancelledError)
        self.assertTrue(self.proxy.gave_up)
        self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])

    def test_cancelled_before_the_stream(self) -> None:
        """Cancelled while the stream is being opened: the connection is cut."""
        response = self.agent.request(b"GET", URL)
        connection = self.proxy.accept()
        connection.say(METHOD_CHOSEN, LET_IN)
        response.cancel()
        self.failureResultOf(response, CancelledError)
        self.assertTrue(connection.aborted)
        self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])

    def test_cancelled_while_sending(self) -> None:
        """Cancelled while the body is being sent: the connection is cut."""
        response = self.agent.request(b"POST", URL, None, _Endless(b"half"))
        connection = self.opened()
        response.cancel()
        self.failureResultOf(response)
        self.assertTrue(connection.aborted)

    def test_cancelled_while_waiting(self) -> None:
        """Cancelled while the answer is waited for: the connection is cut, shared or not."""
        for agent in (self.agent, self.sharing):
            response = agent.request(b"GET", URL)
            connection = self.opened()
            response.cancel()
            failure = self.failureResultOf(response, ResponseNeverReceived)
            self.assertIsInstance(failure.value.reasons[0].value, CancelledError)
            self.assertTrue(connection.aborted)
            self.assertEqual(self.proxy.reactor.getDelayedCalls(), [])


class TreqTests(OnionAgentTestCase):
    """With treq, as the documentation of OnionAgent says."""

    def setUp(self) -> None:
        """A client that remembers no cookies."""
        super().setUp()
        self.client = HTTPClient(self.agent, cookiejar=CookieJar(DefaultCookiePolicy(allowed_domains=[])))

    def test_post(self) -> None:
        """Treq speaks to onion services through it; of its own it adds one header, and no name of a program."""
        response = self.client.post(
            URL + b"/write",
            params={"db": "telemetry"},
            data=_Body(b"m f=1 1\n"),
            allow_redirects=False,
            reactor=self.proxy.reactor,
        )
        connection = self.opened()
        self.assertEqual(
            connection.sent(),
            b"POST /write?db=telemetry HTTP/1.1\r\n"
            b"Connection: close\r\n"
            b"Content-Length: 8\r\n"
            b"Accept-Encoding: gzip\r\n" + HOST + b"\r\n"
            b"m f=1 1\n",
        )
        connection.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n")
        content = treq.content(self.successResultOf(response))
        connection.say(b"oops")
        self.assertEqual(self.successResultOf(content), b"oops")

    def test_no_cookies(self) -> None:
        """Cookies of an onion service do not come back to it."""
        for _ in range(2):
            self.client.get(URL, allow_redirects=False, reactor=self.proxy.reactor)
            connection = self.opened()
            self.assertNotIn(b"Cookie", connection.sent())
            connection.say(b"HTTP/1.1 204 No Content\r\nSet-Cookie: who=you\r\n\r\n")

    def test_redirect_into_the_open(self) -> None:
        """Should treq follow a redirect to the open web, that fails before anybody is connected to."""
        response = self.client.get(URL, reactor=self.proxy.reactor)
        self.opened().say(b"HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n")
        self.failureResultOf(response, OnionAddressError)
        self.assertEqual(self.proxy.attempts, 1)
