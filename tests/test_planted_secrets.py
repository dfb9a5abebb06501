"""Secrets are planted wherever somebody has one, and every error is provoked: no log and no error has them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from txtorcon.log import txtorlog

from tests.fuzzing.arena import Arena, Door, Said
from tests.gateway.strangers import TOO_LARGE, Always, Stranger, door, request
from tests.onion.hostile_control import GREETING, ControlPort
from torfluxd.errors import TorfluxdError
from torfluxd.gateway.exchange import Collect
from torfluxd.gateway.identity import KEY_VARIABLE, find_key
from torfluxd.influx.api import Api
from torfluxd.influx.credential import Credential, CredentialOptions
from torfluxd.onion.control import COMMAND_DEADLINE_SECONDS, CONNECT_DEADLINE_SECONDS
from torfluxd.onion.key import OnionKey
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import RunningTor
from torfluxd.ops.exposition import exposition
from torfluxd.ops.figures import Figures
from torfluxd.ops.logs import as_journal, as_json, as_text
from torfluxd.ops.status import Status, told
from torfluxd.settings import read_gateway_settings

KEY = OnionKey.generate()

SECRETS = {
    "onion key as tor has it": KEY.control_blob().partition(":")[2],
    "onion key in hex": KEY.hex(),
    "body": "plantedbody",
    "measurement": "plantedmeasurement",
    "database": "planteddatabase",
    "circuit in the PROXY line": "5ec2:e7ed",
    "circuit in decimal": str(0x5EC2E7ED),
    "circuit in hex": "5ec2e7ed",
    "User-Agent": "plantedagent",
    "cookie": "plantedcookie",
    "token": "plantedtoken",
    "password": "plantedpassword",
}
"""What must be nowhere, by what it is."""

PROXY = b"PROXY TCP6 fc00:dead:beef:4dad::5ec2:e7ed ::1 28 80\r\n"
QUERY = b"db=planteddatabase&u=plantedagent&p=plantedpassword"
HEADERS = b"User-Agent: plantedagent\r\nCookie: plantedcookie\r\nAuthorization: Token plantedtoken\r\n"
LINE = b'plantedmeasurement,t=plantedbody v="plantedbody" 1'
BAD = b"plantedmeasurement,plantedbody v=plantedbody 1"


def write(body: bytes, headers: bytes = b"", path: bytes = b"/write", query: bytes = QUERY) -> bytes:
    """A write with all of a stranger's secrets in it."""
    return PROXY + request(body, target=b"%b?%b" % (path, query), headers=HEADERS + headers)


def says(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    """An answer of InfluxDB's that repeats what it was sent."""
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
    return head % (status, headers, len(body), body)


STRANGERS: Mapping[str, tuple[bytes, Said | bytes]] = {
    "stored": (write(LINE), Said.STORED),
    "a bad line": (write(BAD + b"\n" + LINE), Said.STORED),
    "2.x": (write(BAD, path=b"/api/v2/write", query=b"bucket=planteddatabase&org=plantedagent"), Said.STORED),
    "3.x": (write(BAD, path=b"/api/v3/write_lp"), Said.STORED),
    "a made-up precision": (write(LINE, query=QUERY + b"&precision=plantedbody"), Said.STORED),
    "a broken name": (write(LINE, query=b"db=planteddatabase%ff"), Said.STORED),
    "gzip that is none": (write(LINE, b"Content-Encoding: gzip\r\n"), Said.STORED),
    "a bomb": (write(gzip.compress(LINE * 100_000), b"Content-Encoding: gzip\r\n"), Said.STORED),
    "no encoding": (write(LINE, b"Content-Encoding: plantedbody\r\n"), Said.STORED),
    "a malformed head": (PROXY + b"plantedbody plantedagent\r\nplantedcookie\r\n\r\n", Said.STORED),
    "a malformed chunk": (write(b"", b"Transfer-Encoding: chunked\r\n") + b"plantedbody\r\n\r\n", Said.STORED),
    "a malformed Host": (PROXY + b"GET /ping HTTP/1.1\r\nHost: planted body\r\n%b\r\n" % HEADERS, Said.STORED),
    "a head that is cut": (PROXY + b"GET /plantedbody HTTP/1.1\r\nUser-Agent: plantedagent", Said.STORED),
    "a body that is cut": (write(LINE)[:-5], Said.STORED),
    "another expectation": (write(LINE, b"Expect: plantedbody\r\n"), Said.STORED),
    "a statement": (PROXY + request(target=b"/query?q=DROP+DATABASE+planteddatabase", headers=HEADERS), Said.STORED),
    "no such path": (PROXY + request(target=b"/plantedbody", headers=HEADERS), Said.STORED),
    "a PROXY line that is none": (PROXY[:-2] + b" plantedbody\r\n" + write(LINE), Said.STORED),
    "a PROXY line of another network": (b"PROXY TCP4 5ec2:e7ed plantedbody\r\n" + write(LINE), Said.STORED),
    "partly stored": (write(LINE), Said.PARTIAL),
    "no database": (write(LINE), Said.NO_DATABASE),
    "a fault": (write(LINE), Said.FAULT),
    "too large for InfluxDB": (write(LINE), Said.TOO_LARGE),
    "no HTTP": (write(LINE), Said.NO_HTTP),
    "hangs up": (write(LINE), Said.NOTHING),
    "repeats a line": (
        write(LINE),
        says(b"400 Bad Request", b'{"error":"unable to parse \'plantedbody\'"}', b"X-Influxdb-Error: plantedbody\r\n"),
    ),
    "repeats a database": (write(LINE), says(b"404 Not Found", b'{"error":"database not found: planteddatabase"}')),
    "repeats a retention policy": (
        write(LINE, query=QUERY + b"&rp=plantedbody"),
        says(b"500 Internal Server Error", b'{"error":"retention policy not found: plantedbody"}'),
    ),
    "repeats a user": (write(LINE), says(b"403 Forbidden", b'{"error":"plantedagent is not authorized"}')),
    "repeats it as no JSON": (write(LINE), says(b"400 plantedbody", b"plantedbody")),
    "repeats it as no HTTP": (write(LINE), b"plantedbody plantedtoken\r\n\r\n"),
    "redirects": (write(LINE), says(b"302 Found", b"", b"Location: http://plantedbody/\r\n")),
    "repeats it in half a pair": (
        write(LINE, path=b"/api/v2/write", query=b"bucket=planteddatabase"),
        says(b"400 Bad Request", b'{"error":"plantedbody \\ud800"}'),
    ),
}
"""What a stranger sends, and what InfluxDB says to it, by what goes wrong."""

_ALWAYS_THERE = {"GETINFO status/bootstrap-phase": GREETING["GETINFO status/bootstrap-phase"]}

TORS: Mapping[str, dict[str, bytes | None]] = {
    "lost during ADD_ONION": {"ADD_ONION": None},
    "refuses and repeats the command": {"ADD_ONION": b"513 Bad key %b\r\n" % KEY.control_blob().encode()},
    "does not know, and repeats": {"ADD_ONION": b"512 Invalid ADD_ONION %b\r\n" % KEY.control_blob().encode()},
    "has it already": {"ADD_ONION": b"550 Onion address collision\r\n"},
    "gives the key back": {"ADD_ONION": b"250-PrivateKey=%b\r\n250 OK\r\n" % KEY.control_blob().encode()},
    "answers garbage": {"ADD_ONION": b"plantedbody %b\r\n" % KEY.control_blob().encode()},
    "answers half a line": {"ADD_ONION": b"250-" + KEY.control_blob().encode()},
    "answers no ASCII": {"ADD_ONION": b"250 \xff%b\r\n" % KEY.control_blob().encode()},
    "repeats it in an event": {
        "ADD_ONION": b"650 HS_DESC FAILED %b\r\n250 OK\r\n" % KEY.control_blob().encode(),
    },
}
"""What a running tor answers, by what goes wrong; None: nothing, until it hangs up, or the deadline has passed."""


class PlantedCase(SynchronousTestCase):
    """Everything that is logged is kept: at any level, by anybody, txtorcon's own log included."""

    def setUp(self) -> None:
        """Begin to listen."""
        self.written: list[str] = []
        globalLogPublisher.addObserver(self.hear)
        self.addCleanup(globalLogPublisher.removeObserver, self.hear)
        txtorlog.addObserver(self.hear_txtorcon)
        self.addCleanup(txtorlog.removeObserver, self.hear_txtorcon)
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)

    def hear(self, event: LogEvent) -> None:
        """Keep all that any observer could write down."""
        self.written += [
            eventAsText(event),
            str(event),
            *(write(event) or "" for write in (as_json, as_text, as_journal)),
        ]
        if isinstance(failure := event.get("log_failure"), Failure):
            self.written.append(failure.getTraceback(detail="verbose"))

    def hear_txtorcon(self, event: dict[str, object]) -> None:
        """Keep what txtorcon would write down for its own developers."""
        self.written.append(str(event))

    def hear_figures(self, figures: Figures) -> None:
        """Keep all that operators and systemd could be shown."""
        status = Status("1", "http://abc.onion", "published", (), figures)
        self.written += [status.to_json(), told(status, 1.0), exposition(figures, "1").decode()]

    def hear_error(self, error: BaseException) -> None:
        """Keep what an error says, and what it was made from."""
        self.written += [str(error), repr(error), Failure(error).getTraceback(detail="verbose")]

    def assert_discreet(self, path: str) -> None:
        """None of the secrets was written down."""
        found = [name for name, secret in SECRETS.items() if any(secret in text for text in self.written)]
        self.assertEqual([], found, path)


class StrangerTests(PlantedCase):
    """What strangers send."""

    def test_every_path(self) -> None:
        """Whatever goes wrong with a stranger's request, nothing of him is in any log."""
        for path, (data, said) in STRANGERS.items():
            arena = Arena()
            self.addCleanup(arena.close)
            outcome = arena.send(data, Door.CIRCUIT, said)
            self.assertEqual([], outcome.broken, path)
            arena.send(data, Door.CIRCUIT, said, piece=7)
            self.hear_figures(arena.figures)
            self.assert_discreet(path)

    def test_the_test_would_see_it(self) -> None:
        """A secret that is logged at any level, or stands in an error that is, is found."""
        for number, secret in enumerate(SECRETS.values()):
            with self.subTest(number):
                self.written.clear()
                self.hear({"log_format": "{text}", "text": secret, "log_level": None})
                self.assertRaises(self.failureException, self.assert_discreet, "planted")

    def test_deadlines(self) -> None:
        """Who is too slow, is evicted, or is there when the gateway stops, is not written down."""
        for data in (b"GET /plantedbody HTTP/1.1\r\nUser-Ag", write(LINE)[len(PROXY) : -5], request(target=b"/later")):
            front, _, clock = door(connections=1)
            slow = Stranger(front, front.build(0x5EC2E7ED))
            slow.send(data)
            clock.pump([1.0] * 120)
            Stranger(front, front.build(0x5EC2E7ED))
            front.drain(1)
            clock.pump([1.0] * 3)
        self.assert_discreet("deadlines")

    def test_faults_of_our_own(self) -> None:
        """A fault of our own code is logged, without what it was about."""

        def break_down(body: bytes, writer: object) -> Deferred[object]:
            raise KeyError(body, writer, SECRETS)

        front, _, _ = door(Always(Collect(1000, TOO_LARGE, break_down)))  # type: ignore[arg-type]  # as no site does
        stranger = Stranger(front, front.build(0x5EC2E7ED))
        stranger.send(write(LINE)[len(PROXY) :])
        self.assertEqual([500], stranger.statuses())
        self.assertIn("KeyError", "".join(self.written))
        self.assert_discreet("a fault of our own")


class TorTests(PlantedCase):
    """The onion service's key, on its way into a running tor."""

    def attempts(self, replies: dict[str, bytes | None], *, hang_up: bool) -> Iterator[str]:
        """Let a tor behave like this, and give all that is said of it."""
        clock, port, said = Clock(), ControlPort(), list[str]()
        port.replies.update({**_ALWAYS_THERE, **replies})
        source = RunningTor(clock, port, "unix:/control", onion=(KEY, Path("/state/onion.sock")), hear=said.append)
        service = TorService(source, clock, retry_delay=lambda attempt: 10.0)
        up = service.when_up()
        up.addErrback(lambda failure: self.hear_error(failure.value))
        service.startService()
        port.pump()
        if hang_up:
            port.hang_up()
        clock.advance(COMMAND_DEADLINE_SECONDS + CONNECT_DEADLINE_SECONDS)
        clock.advance(10.0)  # the next attempt, of which the log is told
        port.pump()
        self.assertIn("ADD_ONION", "".join(port.commands))
        self.assertIn(KEY.control_blob(), "".join(port.commands))  # which it was told all the same
        stopped = service.stopService()
        clock.advance(60.0)
        self.successResultOf(stopped)
        yield from said

    def test_every_path(self) -> None:
        """Whatever a tor does with the key, a connection lost during ADD_ONION included, nobody repeats it."""
        for path, replies in TORS.items():
            for hang_up in (True, False):
                self.written += self.attempts(replies, hang_up=hang_up)
                self.assert_discreet(path)


class FileTests(PlantedCase):
    """Secrets that a vendor has in files, in the environment and on the command line, wrong in every way."""

    def refused(self, path: str, do: Callable[[], object]) -> None:
        """Do something that is refused."""
        self.hear_error(self.assertRaises(TorfluxdError, do))
        self.assert_discreet(path)

    def secret_file(self, text: str, mode: int = 0o600) -> Path:
        """A file with this in it."""
        path = self.directory / "secret"
        path.touch(0o600)
        path.chmod(mode)
        path.write_text(text)
        return path

    def test_keys(self) -> None:
        """An onion key that cannot be used is refused in words that are not its own."""
        for name, text in {
            "cut": KEY.hex()[:-2],
            "longer": KEY.hex() + "00",
            "in other words": f"key = {KEY.hex()}",
            "in base64 with a stranger's prefix": f"RSA1024:{SECRETS['onion key as tor has it']}",
            "cut base64": f"ED25519-V3:{SECRETS['onion key as tor has it'][:-4]}",
        }.items():
            secrets = {"whole": text, "middle": text[20:60]}
            for way in (
                lambda text=text: find_key(self.secret_file(text), self.directory, {}),
                lambda text=text: find_key(None, self.directory, {KEY_VARIABLE: text}),
            ):
                self.hear_error(self.assertRaises(TorfluxdError, way))
                for secret in secrets.values():
                    self.assertNotIn(secret, "".join(self.written), name)
        self.refused(
            "a key that all can read", lambda: find_key(self.secret_file(KEY.hex(), 0o644), self.directory, {})
        )

    def test_credentials(self) -> None:
        """A token or a password that cannot be used is refused, and so is a file that all can read, without it."""

        def load(options: CredentialOptions, api: Api = Api.V1) -> object:
            return Credential(options, api, {}, Clock()).load()

        for name, text, mode in (
            ("two words", "planted token plantedtoken", 0o600),
            ("control characters", "plantedtoken\x01", 0o600),
            ("readable", "plantedtoken", 0o644),
            ("two lines", "plantedtoken\nplantedpassword", 0o600),
            ("too long", "plantedtoken" * 10_000, 0o600),
        ):
            file = self.secret_file(text, mode)
            self.refused(name, lambda file=file: load(CredentialOptions(file, None, None)))  # type: ignore[misc]
        file = self.secret_file("plantedpassword\nplantedpassword")
        self.refused("two lines", lambda: load(CredentialOptions(None, "vendor", file)))

    def test_url(self) -> None:
        """A password in the URL of InfluxDB is refused, and not repeated."""
        for url in (
            "http://vendor:plantedpassword@127.0.0.1:8086",
            "http://plantedpassword@127.0.0.1:8086",
            "http://127.0.0.1:8086/?u=vendor&p=plantedpassword",
            "http://127.0.0.1:8086/#plantedpassword",
        ):
            self.refused(url, lambda url=url: read_gateway_settings({"influxdb": url}, {}))  # type: ignore[misc]
            self.refused(url, lambda url=url: read_gateway_settings({}, {"TORFLUXD_INFLUXDB": url}))  # type: ignore[misc]
