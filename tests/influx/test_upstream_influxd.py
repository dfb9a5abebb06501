"""Batches reach a real influxd by every way that `--influxdb` knows, and its answers mean what they should."""

from __future__ import annotations

import datetime
import gzip
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions
from twisted.logger import capturedLogs
from twisted.protocols.portforward import ProxyFactory
from twisted.trial.unittest import TestCase
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.counted import Counted
from tests.influx.test_passthrough import Download, Upload
from tests.influxd import Influxd, start_influxd
from torfluxd.boundaries import Answer, Batch, Destination, Fate, Refusal, Reply
from torfluxd.gateway.writes import Writes
from torfluxd.influx.agent import InfluxdbAgent, influxdb_agent
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.passthrough import HttpPassThrough
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import parse_influxdb_url

TELEMETRY = Destination("telemetry")
LINES = b"cpu load=0.5 1\ncpu load=0.6 2\n"
BATCH = Batch(TELEMETRY, LINES, 2)


def make_certificate() -> tuple[x509.Certificate, CertificateOptions]:
    """A certificate that vouches for itself, for 127.0.0.1, and what a server needs to use it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "influxdb")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    options = CertificateOptions(privateKey=key, certificate=certificate)
    return certificate, options


class Prefixed(Resource):
    """A proxy that has influxd below a prefix."""

    isLeaf = True

    def __init__(self, influxd: Influxd) -> None:
        super().__init__()
        self.influxd = influxd

    def render_POST(self, request: Request) -> bytes:
        """Hand it on; what is not below the prefix does not exist."""
        prefix = "/insert/0/influx"
        target = request.uri.decode()
        if not target.startswith(prefix + "/"):
            request.setResponseCode(404)
            return b""
        answer = self.influxd.request("POST", target.removeprefix(prefix), request.content.read())
        request.setResponseCode(answer.status)
        return answer.body


class InfluxdCase(TestCase):
    """An influxd with a database."""

    def setUp(self) -> None:
        """Start it."""
        self.influxd = start_influxd(self)
        self.influxd.create_database("telemetry")

    def agent(self, address: str, trust_root: Certificate | None = None) -> InfluxdbAgent:
        """An agent that is closed at the end."""
        agent = influxdb_agent(reactor, parse_influxdb_url(address), trust_root=trust_root)
        self.addCleanup(agent.close)
        return agent

    def upstream(self, address: str = "", trust_root: Certificate | None = None) -> HttpUpstream:
        """An upstream to influxd, or to an address."""
        address = address or self.influxd.url
        return HttpUpstream(AgentPoster(self.agent(address, trust_root), parse_influxdb_url(address), reactor))

    async def listen(self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory | None = None) -> int:
        """Listen until the end, by default in front of influxd.

        :returns: the port.
        """
        port: IListeningPort = await endpoint.listen(factory or ProxyFactory("127.0.0.1", self.influxd.port))
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def assert_stores(self, upstream: HttpUpstream) -> None:
        """A batch that is sent by this upstream is stored."""
        reply = await upstream.send(BATCH)
        self.assertEqual((reply.fate, reply.status), (Fate.DELIVERED, 204))
        self.assertEqual(self.influxd.count("telemetry", "cpu"), 2)


class WaysTests(InfluxdCase):
    """Every way that leads to InfluxDB."""

    async def test_tcp(self) -> None:
        """Over TCP, by address and by name."""
        await self.assert_stores(self.upstream())
        await self.assert_stores(self.upstream(f"localhost:{self.influxd.port}"))

    async def test_ipv6(self) -> None:
        """Over IPv6."""
        port = await self.listen(TCP6ServerEndpoint(reactor, 0, interface="::1"))
        await self.assert_stores(self.upstream(f"[::1]:{port}"))

    async def test_prefix(self) -> None:
        """Below a path prefix; without it nothing is lost, only postponed."""
        site = Site(Prefixed(self.influxd))
        port = await self.listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), site)
        await self.assert_stores(self.upstream(f"http://127.0.0.1:{port}/insert/0/influx/"))
        reply = await self.upstream(f"http://127.0.0.1:{port}").send(BATCH)
        self.assertEqual((reply.fate, reply.reason), (Fate.POSTPONE, "it answered 404 Not Found"))

    async def test_tls(self) -> None:
        """Over TLS, if the certificate is vouched for; otherwise nothing is sent."""
        certificate, options = make_certificate()
        endpoint = SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")
        address = f"https://127.0.0.1:{await self.listen(endpoint)}"
        await self.assert_stores(self.upstream(address, Certificate.loadPEM(certificate.public_bytes(Encoding.PEM))))
        reply = await self.upstream(address).send(Batch(TELEMETRY, b"cpu load=1 3", 1))
        self.assertEqual(reply.fate, Fate.POSTPONE)
        self.assertRegex(reply.reason, r"\Athere was no answer: TLS failed: .*certificate verify failed\Z")
        self.assertEqual(self.influxd.count("telemetry", "cpu"), 2)


class SocketTests(InfluxdCase):
    """The unix socket of influxd."""

    def setUp(self) -> None:
        """Start an influxd with a socket."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.socket = Path(directory.name) / "influxdb.sock"
        self.influxd = start_influxd(self, f'unix-socket-enabled = true\nbind-socket = "{self.socket}"')
        self.influxd.create_database("telemetry")

    async def test_unix(self) -> None:
        """Over a unix socket; without one nothing is lost, only postponed."""
        await self.assert_stores(self.upstream(f"unix:{self.socket}"))
        reply = await self.upstream(f"unix:{self.socket}x").send(BATCH)
        self.assertEqual(reply.fate, Fate.POSTPONE)
        self.assertIn("No such file or directory", reply.reason)


class MeaningTests(InfluxdCase):
    """What influxd says about lines."""

    async def send(self, lines: bytes, destination: Destination = TELEMETRY) -> Reply:
        """The reply to a batch."""
        return await self.upstream().send(Batch(destination, lines, 1))

    async def test_bad_line(self) -> None:
        """A bad line is refused, with influxd's words for the writer."""
        reply = await self.send(b"garbage\n")
        self.assertEqual((reply.fate, reply.status), (Fate.REJECT, 400))
        self.assertEqual(reply.body, b'{"error":"unable to parse \'garbage\': missing fields"}\n')
        self.assertEqual(dict(reply.headers)[b"X-Influxdb-Error"], b"unable to parse 'garbage': missing fields")

    async def test_partial_write(self) -> None:
        """So is a batch of which influxd stored a part."""
        reply = await self.send(b"cpu load=1 1\ngarbage\n")
        self.assertEqual(reply.fate, Fate.REJECT)
        self.assertIn(b"partial write", reply.body)

    async def test_type_conflict(self) -> None:
        """So is a field that has another type already."""
        await self.send(b"cpu load=1 1\n")
        self.assertEqual((await self.send(b'cpu load="x" 2\n')).fate, Fate.REJECT)

    async def test_all_refused(self) -> None:
        """When influxd refuses every point, the reply says so, and why, without a word out of the batch."""
        self.influxd.query("CREATE RETENTION POLICY day ON telemetry DURATION 1d REPLICATION 1")
        await self.send(b"cpu load=1 1\n")
        for where, lines, cause in (
            (TELEMETRY, b'cpu load="x" 2\ncpu,host=a load="dropped=2" 3', "field type conflict"),
            (TELEMETRY, b"cpu time=1 2\ncpu time=2 3", "invalid field name"),
            (Destination("telemetry", "day"), b"cpu load=1 2\ncpu load=1 3", "points beyond retention policy"),
        ):
            reply = await self.upstream().send(Batch(where, lines, 2))
            self.assertEqual((reply.fate, list(reply.refused)), (Fate.REJECT, [Refusal(lines, 2, cause)]))
            self.assertEqual(reply.reason, "it answered 400 Bad Request")

    async def test_some_refused(self) -> None:
        """When influxd stores a point, or there is more than one cause, nothing is said of which it refused."""
        await self.send(b"cpu load=1 1\n")
        lines = b'cpu load="x" 2\ncpu load=1 3\ncpu load="dropped=3" 4'
        reply = await self.upstream().send(Batch(TELEMETRY, lines, 3))
        self.assertEqual((reply.fate, reply.refused), (Fate.REJECT, ()))
        reply = await self.send(b"garbage\n")
        self.assertEqual((reply.fate, reply.refused), (Fate.REJECT, ()))

    async def test_many_bad_lines(self) -> None:
        """The answer to very many bad lines is a refusal as well, though nobody holds it."""
        reply = await self.send(b"garbage\n" * 100_000)
        self.assertEqual((reply.fate, reply.body), (Fate.REJECT, b""))

    async def test_unknown_database(self) -> None:
        """A database that is not there yet is the vendor's affair."""
        reply = await self.send(LINES, Destination("nope"))
        self.assertEqual(
            (reply.fate, reply.reason), (Fate.NO_DESTINATION, "it answered 404 Not Found: the database does not exist")
        )

    async def test_unknown_retention_policy(self) -> None:
        """So is a retention policy, unless a stranger made it up; the reason says which it is, and not its name."""
        reply = await self.send(LINES, Destination("telemetry", "nope"))
        self.assertEqual(
            (reply.fate, reply.reason),
            (Fate.NO_DESTINATION, "it answered 500 Internal Server Error: the retention policy does not exist"),
        )

    async def test_too_large(self) -> None:
        """A batch over influxd's limit is refused for its size."""
        reply = await self.send(b"cpu load=1 1\n" * 2_000_000)
        self.assertEqual((reply.fate, reply.status), (Fate.REJECT, 413))

    async def test_outage(self) -> None:
        """An influxd that is down postpones, and is found again when it is up, over new connections."""
        upstream = self.upstream()
        await self.assert_stores(upstream)
        self.influxd.stop()
        for _ in range(2):
            self.assertEqual((await upstream.send(BATCH)).fate, Fate.POSTPONE)
        self.influxd.start()
        await self.assert_stores(upstream)

    async def test_quiet(self) -> None:
        """Connections come and go without a word in the log."""
        with capturedLogs() as events:
            await self.assert_stores(self.upstream())
        self.assertEqual(events, [])


class GatewayTests(InfluxdCase):
    """Writes and queries of strangers, in front of influxd."""

    async def write(self, body: bytes, write: Write, encoding: bytes | None = None) -> Answer:
        """What a stranger hears."""
        return await Writes(self.upstream(), reactor).write(write, body, encoding, "a writer")

    async def test_write(self) -> None:
        """A stranger's write is stored, with the precision that he means."""
        answer = await self.write(gzip.compress(b"m f=1 7"), Write(V1, TELEMETRY, "s"), b"gzip")
        self.assertEqual(answer, Answer(204))
        [series] = self.influxd.query("SELECT f FROM m", "telemetry")
        self.assertEqual(series["values"], [[7 * 10**9, 1]])

    async def test_refusal(self) -> None:
        """A stranger hears of his bad lines what influxd says of them, except that headers can be sent."""
        for lines in (b"garbage", 'gärbage <&> "x" \\'.encode(), b"a\x00b", b"m f=1 x\r\n"):
            answer = await self.write(lines, Write(V1, TELEMETRY))
            theirs = self.influxd.write("telemetry", lines)
            self.assertEqual((answer.status, answer.body), (theirs.status, theirs.body))
            error = dict(answer.headers)[b"X-Influxdb-Error"].decode("latin-1")
            self.assertEqual(error, theirs.headers["x-influxdb-error"].replace("\0", " "))

    async def test_all_refused(self) -> None:
        """A hundred writers whose every line is refused hear influxd's own words about their own, at one write each."""
        self.influxd.write("telemetry", b"m f=1 1")
        upstream = Counted(self.upstream())
        writes = Writes(upstream, reactor)

        def write(number: int) -> Deferred[Answer]:
            return writes.write(Write(V1, TELEMETRY), b'm,w=%d f="x" %d' % (number, number), None, number)

        answers = await gatherResults([write(number) for number in range(101)])
        theirs = self.influxd.write("telemetry", b'm f="x" 1')
        self.assertEqual({(answer.status, answer.body) for answer in answers}, {(theirs.status, theirs.body)})
        self.assertEqual(upstream.sends, 1 + (1 + 100))

    async def test_pass_through(self) -> None:
        """A query and its answer pass through as they are, compressed if the stranger asks for it."""
        self.influxd.write("telemetry", b"".join(b"m f=%d %d\n" % (n, n) for n in range(20_000)))
        url = parse_influxdb_url(self.influxd.url)
        pass_through = HttpPassThrough(self.agent(self.influxd.url), url, reactor)
        target = "/query?db=telemetry&q=SELECT%20*+FROM%20m&epoch=ns&chunked=true"
        headers = [(b"accept-encoding", b"gzip")]
        response: IResponse = await pass_through.open(b"GET", target.encode(), headers, Upload(0))
        self.assertEqual(response.headers.getRawHeaders(b"content-encoding"), [b"gzip"])
        self.assertTrue(response.headers.hasHeader(b"x-influxdb-version"))
        whole = await content(response)
        self.assertEqual(gzip.decompress(whole), self.influxd.request("GET", target).body)


def content(response: IResponse) -> Deferred[bytes]:
    """The body of a response."""

    class Whole(Download):
        def connectionLost(self, reason: object = None) -> None:
            """It is whole."""
            done.callback(self.data)

    done: Deferred[bytes] = Deferred()
    response.deliverBody(Whole())
    return done
