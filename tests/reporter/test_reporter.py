"""Tests for `torfluxd.reporter.reporter`."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from treq.testing import RequestTraversalAgent
from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.onion.socks_proxy import ONION
from tests.reporter.case import NOON, REFUSED, UNAVAILABLE, URL, ReporterCase
from tests.reporter.doubles import cut, keep_waiting
from torfluxd.errors import ClientKeyError, OnionAddressError, PointError, ReporterError, SettingsError, TorMissingError
from torfluxd.onion.client_key import PrivateLine
from torfluxd.onion.client_keyfile import new_client_key_file
from torfluxd.onion.key import OnionKey
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.privacy import branches
from torfluxd.reporter.reporter import (
    MAX_REPORT_BYTES,
    Reporter,
    ReporterStats,
    maybe_global_reactor,
)


class ReportTests(ReporterCase):
    """What is recorded gets reported."""

    def test_service(self) -> None:
        """It is a Twisted service: a parent starts it and stops it."""
        verifyObject(IService, self.reporter)
        parent = MultiService()
        self.reporter.setServiceParent(parent)
        parent.startService()
        self.record(1)
        stopped = parent.stopService()
        self.tor.pump()
        self.successResultOf(stopped)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_report(self) -> None:
        """Points leave together at their moment, as one write with explicit, distinct times, and nothing before."""
        self.reporter.startService()
        self.reporter.record("load", {"one": 0.5}, {"kind": "db"})
        self.record(1, 2)
        self.depart(seconds_before=0.1)
        self.assertEqual(self.gateway.requests, [])
        self.advance(0.2)
        self.assertEqual(
            self.gateway.arrived, [[f"load,kind=db one=0.5 {NOON}", f"m f=1i {NOON + 1}", f"m f=2i {NOON + 2}"]]
        )
        self.assertEqual(self.reporter.stats, ReporterStats(recorded=3, pending=0, delivered=3, rejected=0, dropped=0))

    def test_request(self) -> None:
        """A report is one POST to the onion service that was asked for, with no header that tells one from another."""
        self.reporter = self.reporter_for(retention_policy="a week")
        self.reporter.startService()
        self.record(1)
        self.depart()
        [(method, uri, headers)] = self.gateway.requests
        self.assertEqual(method, b"POST")
        self.assertEqual(uri, b"/write?db=telemetry&rp=a%20week&precision=ns")
        self.assertEqual(set(headers), {b"Host", b"Content-Length", b"Connection"})
        self.assertEqual(self.tor.hosts, [ONION.hostname.encode()])

    def test_given_time(self) -> None:
        """A point keeps the time that the application gives it."""
        self.reporter.startService()
        self.reporter.record("m", {"f": 1}, time_ns=5)
        self.depart()
        self.assertEqual(self.gateway.arrived, [["m f=1i 5"]])

    def test_every_interval(self) -> None:
        """A report leaves each interval; an interval without points has none."""
        self.reporter.startService()
        for value in (1, 2):
            self.record(value)
            self.depart()
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=1i"], ["f=2i"]])

    def test_circuits(self) -> None:
        """Each report has a circuit of its own."""
        self.reporter.startService()
        for value in range(50):
            self.record(value)
            self.depart()
        self.assertEqual(len(self.gateway.arrived), 50)
        self.assertEqual(len(set(self.tor.circuits)), 50)

    def test_before_the_start(self) -> None:
        """What is recorded before the start leaves with the first report."""
        self.record(1)
        self.reporter.startService()
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_large(self) -> None:
        """What one report cannot hold leaves in further ones, in order, with a gap between them."""
        self.reporter.startService()
        for number in range(12):
            self.reporter.record("m", {"f": "x" * 50_000, "n": number})
        self.depart()
        self.assertEqual([len(lines) for lines in self.gateway.arrived], [5])
        for _ in range(2):
            self.advance(25)
        numbers = [[int(line.split("n=")[1].split("i")[0]) for line in lines] for lines in self.gateway.arrived]
        self.assertEqual(numbers, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]])

    def test_agent_of_ones_own(self) -> None:
        """An application can bring its own way to the onion service, as tests do."""
        agent = RequestTraversalAgent(self.gateway)
        reporter = self.reporter_for(socks=None, agent=agent)
        reporter.startService()
        reporter.record("m", {"f": 1})
        self.clock.advance(60)
        self.clock.advance(60)
        agent.flush()
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.successResultOf(reporter.stopService())


class OwnReporter(Reporter):
    """An application's own."""

    def record(self, *arguments: Any, **options: Any) -> Commit:
        """Record twice."""
        super().record(*arguments, **options)
        return super().record(*arguments, **options)


class RecordTests(ReporterCase):
    """`record` itself."""

    def test_impossible_points(self) -> None:
        """A point that nobody could ever write raises PointError where it is recorded, and costs no other point."""
        self.record(1)
        for measurement, fields in [("", {"f": 1}), ("m", {}), ("m", {"f": float("nan")}), ("m", {"f": 2**63})]:
            self.assertRaises(PointError, self.reporter.record, measurement, fields)
        self.assertRaises(PointError, self.reporter.record, "m", {"f": "x" * MAX_REPORT_BYTES})
        self.reporter.startService()
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.assertEqual(self.reporter.stats.recorded, 1)

    def test_own_record(self) -> None:
        """An application may have a reporter of its own make."""
        reporter = OwnReporter(URL, "telemetry", socks=self.tor)
        reporter.record("m", {"f": 1})
        self.assertEqual(reporter.stats.recorded, 2)

    def test_never_raises_otherwise(self) -> None:
        """Whatever is broken between here and the gateway, recording works."""
        self.tor.is_up = False
        self.reporter.startService()
        for value in range(100):
            self.record(value)
            self.advance(60)
        self.assertEqual(self.reporter.stats.pending, 100)

    def test_bounded(self) -> None:
        """When memory is full the oldest points are dropped and counted, and the newest arrive in the end."""
        self.reporter = self.reporter_for(memory_limit_bytes=4 * MAX_REPORT_BYTES)
        self.tor.is_up = False
        self.reporter.startService()
        text = "x" * 1000
        for value in range(3000):
            self.reporter.record("m", {"f": text, "n": value})
        stats = self.reporter.stats
        self.assertEqual((stats.recorded, stats.pending + stats.dropped), (3000, 3000))
        self.assertLess(stats.pending * len(text), 4 * MAX_REPORT_BYTES)
        self.tor.is_up = True
        self.assertTrue(self.successResultOf(self.flush()))
        arrived = [int(line.split("n=")[1].split("i")[0]) for lines in self.gateway.arrived for line in lines]
        self.assertEqual(arrived, list(range(3000 - self.reporter.stats.delivered, 3000)))
        self.assertGreater(len(arrived) * len(text), 1.5 * MAX_REPORT_BYTES)


class OutageTests(ReporterCase):
    """Nothing is lost when the way to the gateway, or the gateway, is broken."""

    def setUp(self) -> None:
        """A point is recorded, and its report leaves in 30 seconds."""
        super().setUp()
        self.reporter.startService()
        self.record(1)

    def test_tor_is_down(self) -> None:
        """While tor's SOCKS port refuses, the report waits; it arrives once, soon after tor is there."""
        self.tor.is_up = False
        self.depart()
        self.tor.is_up = True
        self.assertEqual(self.gateway.requests, [])
        self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_socks_errors(self) -> None:
        """Every way in which tor can refuse a stream means a later attempt."""
        self.tor.codes = [1, 2, 3, 4, 5, 6, 7, 8, *range(0xF0, 0xF8), 0x99]
        attempts = len(self.tor.codes)
        self.depart()
        for _ in range(attempts):
            self.assertEqual(self.gateway.requests, [])
            self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.assertEqual(len(set(self.tor.circuits)), attempts + 1)

    def test_unavailable(self) -> None:
        """A gateway that answers 503 gets the same points again, but not before the time it asked for."""
        self.gateway.answers = [UNAVAILABLE]
        self.depart()
        self.advance(119)
        self.assertEqual(len(self.gateway.requests), 1)
        self.advance(11)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_refused(self) -> None:
        """Points that InfluxDB refuses for their content are not sent again, and are counted; later ones arrive."""
        self.gateway.answers = [REFUSED]
        self.depart()
        self.record(2)
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=2i"]])
        self.assertEqual(self.reporter.stats, ReporterStats(recorded=2, pending=0, delivered=1, rejected=1, dropped=0))

    def test_connection_lost(self) -> None:
        """A report whose connection is cut before the answer is sent again, with the same times: InfluxDB stores it
        once.
        """
        self.gateway.answers = [cut]
        self.depart()
        self.advance(10)
        self.assertEqual(self.gateway.arrived, [[f"m f=1i {NOON}"]])

    def test_no_answer(self) -> None:
        """A gateway that never answers does not stop the reporter: the report is given up in time, and sent again."""
        self.gateway.answers = [keep_waiting]
        self.depart()
        for _ in range(30):
            self.advance(10)
        self.assertEqual(self.values_arrived()[0], ["f=1i"])

    def test_hostile_answers(self) -> None:
        """Redirects, cookies and endless bodies gain a hostile gateway nothing but a later attempt."""
        self.gateway.answers = [
            (302, {"Location": "http://example.org/"}, b""),
            (200, {"Set-Cookie": "id=1"}, b""),
            (500, {}, b"x" * 1_000_000),
        ]
        self.depart()
        for _ in range(3):
            self.assertEqual(self.reporter.stats.delivered, 0)
            self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.assertEqual(set(self.tor.hosts), {ONION.hostname.encode()})
        self.assertTrue(all(b"Cookie" not in headers for _, _, headers in self.gateway.requests))


class FlushTests(ReporterCase):
    """`flush`."""

    def setUp(self) -> None:
        """The reporter runs."""
        super().setUp()
        self.reporter.startService()

    def test_now(self) -> None:
        """A flush sends everything recorded so far at once, and tells when it is delivered."""
        self.record(1, 2)
        self.assertTrue(self.successResultOf(self.flush()))
        self.assertEqual(self.values_arrived(), [["f=1i", "f=2i"]])

    def test_nothing(self) -> None:
        """With nothing recorded a flush is done at once, and sends nothing."""
        self.assertTrue(self.successResultOf(self.flush()))
        self.assertEqual(self.gateway.requests, [])

    def test_not_running(self) -> None:
        """A reporter that does not run cannot flush, and says so; the points stay."""
        self.record(1)
        self.gateway.answers = [UNAVAILABLE]
        self.successResultOf(self.stop())
        self.failureResultOf(self.reporter.flush(), ReporterError)
        self.failureResultOf(self.reporter_for().flush(), ReporterError)
        self.assertEqual(self.reporter.stats.pending, 1)

    def test_outage(self) -> None:
        """During an outage a flush tries until its deadline, says False, and the points stay and arrive later."""
        self.tor.is_up = False
        self.record(1)
        flushed = self.flush(15)
        self.advance(14)
        self.assertNoResult(flushed)
        self.advance(1)
        self.assertFalse(self.successResultOf(flushed))
        self.tor.is_up = True
        self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_outage_ends(self) -> None:
        """When the outage ends before the deadline, the flush succeeds."""
        self.gateway.answers = [cut]
        self.record(1)
        flushed = self.flush(15)
        self.assertNoResult(flushed)
        self.advance(10)
        self.assertTrue(self.successResultOf(flushed))

    def test_cancelled(self) -> None:
        """Cancelling a flush changes nothing for the points."""
        self.gateway.answers = [keep_waiting]
        self.record(1)
        flushed = self.flush()
        flushed.cancel()
        self.failureResultOf(flushed, CancelledError)
        self.assertEqual(self.reporter.stats.pending, 1)

    def test_stop_when_flushed(self) -> None:
        """An application may stop the reporter as soon as a flush is done."""
        self.record(1)
        stopped = self.reporter.flush().addCallback(lambda _: self.reporter.stopService())
        self.tor.pump()
        self.successResultOf(stopped)
        self.assertEqual(self.reporter.stats.delivered, 1)


class StopTests(ReporterCase):
    """`stopService`."""

    def test_last_report(self) -> None:
        """What was recorded before the stop is reported before the stop is done."""
        self.reporter.startService()
        self.record(1)
        self.successResultOf(self.stop())
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_never_started(self) -> None:
        """Stopping what never started is fine."""
        self.successResultOf(self.stop())

    def test_outage(self) -> None:
        """With no way to the gateway the stop does not hold the application up; the log counts what is left."""
        self.tor.is_up = False
        self.reporter.startService()
        self.record(1, 2)
        with capturedLogs() as events:
            self.successResultOf(self.stop())
        self.assertEqual([event["points"] for event in events if "points" in event], [2])
        self.assertEqual(self.reporter.stats.pending, 2)

    def test_deadline(self) -> None:
        """A gateway that does not answer holds the stop up for five seconds and no longer; the points stay."""
        self.gateway.answers = [keep_waiting]
        self.reporter.startService()
        self.record(1)
        stopped = self.stop()
        self.advance(4.9)
        self.assertNoResult(stopped)
        self.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.reporter.stats.pending, 1)

    def test_nothing_left_behind(self) -> None:
        """After the stop nothing happens any more, however long one waits."""
        self.tor.is_up = False
        self.reporter.startService()
        self.record(1)
        self.successResultOf(self.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_restart(self) -> None:
        """A reporter can be started again, and reports what was left and what came meanwhile."""
        self.tor.is_up = False
        self.reporter.startService()
        self.record(1)
        self.successResultOf(self.stop())
        self.record(2)
        self.tor.is_up = True
        self.reporter.startService()
        self.depart()
        self.assertEqual(self.values_arrived(), [["f=1i", "f=2i"]])

    def test_restart_meanwhile(self) -> None:
        """Started again before the stop is done, the reporter goes on."""
        self.gateway.answers = [keep_waiting]
        self.reporter.startService()
        self.record(1)
        stopped = self.stop()
        self.reporter.startService()
        self.advance(5)
        self.successResultOf(stopped)
        self.record(2)
        self.assertEqual(self.values_arrived(), [])
        for _ in range(12):
            self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i", "f=2i"]])

    def test_started_twice(self) -> None:
        """A second start changes nothing."""
        self.reporter.startService()
        calls = self.clock.getDelayedCalls()
        self.reporter.startService()
        self.assertEqual(self.clock.getDelayedCalls(), calls)


class LaunchedTor:
    """A source whose tor is up when the test says so."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self.endpoint = endpoint
        self.calls: list[str] = []
        self.held: list[PrivateLine] = []
        self.result: Deferred[IStreamClientEndpoint] = Deferred()

    def start(self, reactor: IReactorTime) -> None:
        """Begin."""
        self.calls.append("start")

    def hold_key(self, client_auth: PrivateLine) -> None:
        """Hold it."""
        self.held.append(client_auth)

    def socks_endpoint(self) -> Deferred[IStreamClientEndpoint]:
        """Whatever the test wants."""
        return self.result

    def stop(self) -> Deferred[None]:
        """End."""
        self.calls.append("stop")
        return succeed(None)


class TorTests(ReporterCase):
    """How the reporter finds tor."""

    def test_source(self) -> None:
        """A source of tor starts and stops with the reporter, and a report waits for it."""
        source = LaunchedTor(self.tor)
        self.reporter = self.reporter_for(socks=source)
        self.assertEqual(source.calls, [])
        self.reporter.startService()
        self.record(1)
        self.depart()
        self.assertEqual((source.calls, self.gateway.requests), (["start"], []))
        source.result.callback(self.tor)
        self.tor.pump()
        self.assertEqual(self.values_arrived(), [["f=1i"]])
        self.successResultOf(self.stop())
        self.assertEqual(source.calls, ["start", "stop"])

    def test_source_when_restarted(self) -> None:
        """A source that is wanted again before the reporter has stopped is not stopped."""
        source = LaunchedTor(self.tor)
        self.reporter = self.reporter_for(socks=source)
        self.reporter.startService()
        self.record(1)
        stopped = self.stop()
        self.reporter.startService()
        self.advance(5)
        self.successResultOf(stopped)
        self.assertEqual(source.calls, ["start", "start"])

    def test_no_tor(self) -> None:
        """Without a tor the report waits, and the log says why, once."""
        source = LaunchedTor(self.tor)
        source.result = fail(TorMissingError("install tor"))
        self.reporter = self.reporter_for(socks=source)
        self.reporter.startService()
        self.record(1)
        with capturedLogs() as events:
            self.depart()
            source.result = fail(TorMissingError("install tor"))
            self.advance(10)
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertIn("install tor", warnings[0]["reason"])
        source.result = succeed(self.tor)
        self.advance(10)
        self.assertEqual(self.values_arrived(), [["f=1i"]])

    def test_descriptions(self) -> None:
        """Tor's port can be described as Twisted describes endpoints; what is no description of one is refused."""
        for socks in ("tcp:127.0.0.1:9050", "unix:/run/tor/socks", "tcp:127.0.0.1:9150"):
            Reporter(URL, "telemetry", socks=socks)
        for socks in ("", "9050", "127.0.0.1:9050", "tcp:", "tcp:127.0.0.1:many", "ssl:127.0.0.1:9050"):
            self.assertRaises(SettingsError, Reporter, URL, "telemetry", socks=socks)


class PrivateOnionTests(ReporterCase):
    """A gateway that only some may reach."""

    def setUp(self) -> None:
        """Have the file with a key that it lets in."""
        super().setUp()
        self.path = Path(self.enterContext(TemporaryDirectory())) / "app.auth_private"
        self.key = new_client_key_file(self.path, ONION)

    def test_key(self) -> None:
        """Tor is given the key out of a file, or the key itself, before the reporter starts."""
        for key in (self.path, str(self.path), self.key):
            source = LaunchedTor(self.tor)
            self.reporter_for(socks=source, client_key=key)
            self.assertEqual(source.held, [PrivateLine(ONION, self.key)])

    def test_nothing_can_be_handed_over(self) -> None:
        """With a SOCKS port alone, or an agent of one's own, a key is refused with the line that torrc needs."""
        error = self.assertRaises(SettingsError, Reporter, URL, "telemetry", client_key=self.path)
        self.assertIn("ClientOnionAuthDir DIR", str(error))
        agent = RequestTraversalAgent(self.gateway)
        self.assertRaises(SettingsError, Reporter, URL, "telemetry", agent=agent, client_key=self.path)

    def test_wrong_keys(self) -> None:
        """The key for another onion service, and a file that holds none, are refused by name."""
        other = self.path.with_name("other.auth_private")
        new_client_key_file(other, OnionKey.generate().address)
        for path, kind in ((other, SettingsError), (self.path.with_name("none"), ClientKeyError)):
            error = self.assertRaises(kind, self.reporter_for, socks=LaunchedTor(self.tor), client_key=path)
            self.assertIn(str(path), str(error))

    def test_private(self) -> None:
        """When the gateway is private and tor has no key for it, or a wrong one, the log names the cure."""
        for code, words in ((0xF4, "holds no key for it"), (0xF5, "does not let in the key")):
            self.tor.codes.append(code)
            self.moments = next(branches(lambda: 0.5))
            reporter = self.reporter_for()
            reporter.startService()
            reporter.record("m", {"f": 1})
            with capturedLogs() as events:
                self.depart()
            (reason,) = (event["reason"] for event in events if event["log_level"] is LogLevel.warn)
            self.assertIn(words, reason)
            self.assertIn("ClientOnionAuthDir", reason)
            self.stop(reporter)


class SettingsTests(ReporterCase):
    """What cannot work is refused when the reporter is made."""

    def test_addresses(self) -> None:
        """Only the address of a v3 onion service is taken, checksum and all; nothing else is ever looked up."""
        name = ONION.name
        for url in (f"http://{name}.onion:8086/prefix", f"HTTP://{name.upper()}.ONION/"):
            Reporter(url, "telemetry")
        for host in (
            "example.org",
            "127.0.0.1",
            f"{name}.onion.example.org",
            f"{name[:-1]}e.onion",
            "a" * 16 + ".onion",
        ):
            self.assertRaises(OnionAddressError, Reporter, f"http://{host}", "telemetry")

    def test_urls(self) -> None:
        """A URL that is no plain http URL is refused with a sentence that says what is expected."""
        host = ONION.hostname
        for url in ("", host, f"https://{host}", f"ftp://{host}", "unix:/run/influxdb", f"http://me:secret@{host}"):
            error = self.assertRaises(SettingsError, Reporter, url, "telemetry")
            self.assertIn("onion_url", str(error))
            self.assertNotIn("secret", str(error))

    def test_values(self) -> None:
        """Values that make no sense are refused by name."""
        for name, value in {
            "interval_seconds": 0,
            "memory_limit_bytes": 1000,
            "agent": RequestTraversalAgent(self.gateway),
        }.items():
            error = self.assertRaises(SettingsError, self.reporter_for, **{name: value})
            self.assertIn(name, str(error))
        self.assertRaises(SettingsError, Reporter, URL, "")

    def test_nothing_shown(self) -> None:
        """Neither the onion address nor a point shows in its repr."""
        self.record(12345)
        self.assertNotIn(ONION.name, repr(self.reporter))
        self.assertNotIn("12345", repr(self.reporter))


class GlobalReactorTests(SynchronousTestCase):
    """Tests for `maybe_global_reactor`."""

    def test_given(self) -> None:
        """A reactor that is given is used."""
        clock = Clock()
        self.assertIs(maybe_global_reactor(clock), clock)

    def test_global(self) -> None:
        """Without one, the reactor that runs is used."""
        from twisted.internet import reactor

        self.assertIs(maybe_global_reactor(None), reactor)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(min_value=1, max_value=5)),
        st.tuples(st.sampled_from(["flush", "advance"]), st.sampled_from([0.0, 1.0, 10.0, 60.0])),
        st.tuples(st.just("answer"), st.sampled_from([UNAVAILABLE, REFUSED, cut, keep_waiting])),
        st.tuples(st.sampled_from(["start", "stop", "tor_up", "tor_down"]), st.none()),
    ),
    max_size=30,
)


class RandomLifeTests(ReporterCase):
    """A reporter to which anything may happen."""

    def step(self, name: str, value: Any) -> None:
        """Do one thing."""
        if name == "record":
            self.record(*range(value))
        elif name == "advance":
            self.advance(value)
        elif name == "answer":
            self.gateway.answers.append(value)
        elif name.startswith("tor"):
            self.tor.is_up = name == "tor_up"
        elif name == "start":
            self.reporter.startService()
        elif name == "stop":
            self.stopping.append(self.stop())
        elif self.reporter.running:
            self.flush(value).addErrback(lambda failure: failure.trap(CancelledError))

    @settings(deadline=None)
    @given(steps=STEPS)
    def test_random_life(self, steps: list[tuple[str, Any]]) -> None:
        """Whatever happens, every point recorded is accounted for, and in the end each one arrived or was refused."""
        self.setUp()
        self.stopping: list[Deferred[None]] = []
        for name, value in steps:
            self.step(name, value)
            stats = self.reporter.stats
            self.assertEqual(stats.recorded, stats.pending + stats.delivered + stats.rejected + stats.dropped)
        self.tor.is_up = True
        self.gateway.answers.clear()
        self.reporter.startService()
        for _ in range(60):
            self.advance(10)
        stats = self.reporter.stats
        self.assertEqual((stats.pending, stats.recorded), (0, stats.delivered + stats.rejected))
        arrived = {line for lines in self.gateway.arrived for line in lines}
        self.assertEqual(len(arrived), stats.delivered)
        self.successResultOf(self.stop())
        for stopped in self.stopping:
            self.successResultOf(stopped)


class PlatformTests(SynchronousTestCase):
    """The reporter on other people's machines."""

    def test_without_unix_and_without_wheels(self) -> None:
        """It is imported and records where there is neither fcntl nor pwd nor a unix socket, nor the gateway's parsers;
        and importing it installs no reactor.
        """
        script = f"""
            import socket, sys

            class Nowhere:
                missing = {{"fcntl", "grp", "httptools", "pwd", "re2", "resource", "termios"}}

                def find_spec(self, name, path=None, target=None):
                    if name in self.missing:
                        raise ModuleNotFoundError(name, name=name)

            sys.meta_path.insert(0, Nowhere())
            for name in Nowhere.missing:
                sys.modules.pop(name, None)
            del socket.AF_UNIX

            from torfluxd.reporter.reporter import Reporter

            reporter = Reporter({URL!r}, database="telemetry")
            reporter.record("m", {{"f": 1}})
            assert reporter.stats.recorded == 1
            assert "twisted.internet.reactor" not in sys.modules
            print("recorded")
        """
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
        )
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, "recorded\n", ""))
