"""The doubles for applications that report."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import cast

from docutils import nodes
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed
from twisted.web.iweb import IAgent
from zope.interface.verify import verifyObject

import torfluxd.testing
from tests.readme import EXAMPLE_ADDRESS, rendered
from torfluxd.onion.address import parse_onion_address
from torfluxd.testing import ADDRESS, START_SECONDS, ArrivedPoint, ClockReporter, MemoryGateway

MINUTE = 60.0


class ReporterTests(SynchronousTestCase):
    """A reporter whose time is in a test's hands, and its gateway."""

    def setUp(self) -> None:
        """Make one."""
        self.reporter = ClockReporter()
        self.gateway = self.reporter.gateway
        self.addCleanup(self.reporter.stopService)

    def test_a_point_arrives(self) -> None:
        """What is recorded arrives as it was recorded, with the time in its minute."""
        fields = {"i": 3, "f": 2.5, "s": 'a "b" \\c', "b": True}
        self.reporter.record("back up", fields, {"a b": "c,d", "version": "2.1"})
        self.assertEqual(self.gateway.points, [])
        self.reporter.report()
        (point,) = self.gateway.points
        self.assertEqual((point.database, point.measurement, point.retention_policy), ("telemetry", "back up", None))
        self.assertEqual((point.fields, point.tags), (fields, {"a b": "c,d", "version": "2.1"}))
        self.assertEqual(type(point.fields["i"]), int)
        self.assertEqual(point.time_ns // 10**9 // 60, START_SECONDS // 60)

    def test_many(self) -> None:
        """All points arrive, each once."""
        for number in range(1000):
            self.reporter.record("m", {"v": number})
        self.reporter.report()
        self.assertEqual(sorted(cast(int, point.fields["v"]) for point in self.gateway.of("m")), list(range(1000)))

    def test_options(self) -> None:
        """It takes the parameters of a reporter."""
        reporter = ClockReporter(database="d", retention_policy="r", interval_seconds=1.0, consent=False)
        self.addCleanup(reporter.stopService)
        reporter.record("m", {"v": 1})
        reporter.allow()
        reporter.record("m", {"v": 2})
        reporter.report()
        (point,) = reporter.gateway.points
        self.assertEqual((point.database, point.retention_policy, point.fields), ("d", "r", {"v": 2}))

    def test_same_chance(self) -> None:
        """With the same seed it goes the same way, each time."""

        def sent(seed: int) -> list[tuple[float, bytes]]:
            clock, moments = Clock(), []
            reporter = ClockReporter(seed=seed, clock=clock)
            for number in range(100):
                reporter.record("m", {"v": number})
                before = len(reporter.gateway.reports)
                reporter.advance(10)
                moments += [(clock.seconds(), report.body) for report in reporter.gateway.reports[before:]]
            reporter.stopService()
            return moments

        self.assertEqual(sent(1), sent(1))
        self.assertNotEqual(sent(1), sent(2))

    def test_shared(self) -> None:
        """Many reporters can share a gateway and a clock."""
        reporters = [ClockReporter(self.gateway, clock=self.reporter.clock, seed=seed) for seed in range(5)]
        for reporter in reporters:
            self.addCleanup(reporter.stopService)
            reporter.record("m", {"v": 1})
        self.reporter.report()
        self.assertEqual(len(self.gateway.of("m")), 5)

    def assert_arrives_once(self) -> None:
        """A point that is recorded now arrives, and is stored once."""
        self.reporter.record("m", {"v": 1})
        self.reporter.advance(30 * MINUTE)
        self.assertEqual([point.fields for point in self.gateway.of("m")], [{"v": 1}])
        self.assertEqual(self.reporter.stats.pending, 0)

    def test_statuses(self) -> None:
        """A gateway that refuses for a while is asked again."""
        self.gateway.answer(503, b'{"error":"timeout"}', times=3)
        self.assert_arrives_once()
        self.assertEqual([report.is_stored for report in self.gateway.reports[:4]], [False] * 3 + [True])

    def test_cut(self) -> None:
        """So is one whose connection is cut."""
        self.gateway.cut(times=2)
        self.assert_arrives_once()

    def test_lost_answers(self) -> None:
        """What arrived without the reporter's hearing of it arrives again, and is there once."""
        self.gateway.lose_answers(times=2)
        self.assert_arrives_once()
        self.assertEqual([len(report.points) for report in self.gateway.reports[:3]], [1, 1, 1])

    def test_away(self) -> None:
        """A gateway that cannot be reached is asked again when it can be."""
        self.gateway.is_up = False
        self.reporter.record("m", {"v": 0})
        self.reporter.advance(10 * MINUTE)
        self.assertEqual(self.gateway.reports, [])
        self.gateway.is_up = True
        self.reporter.advance(30 * MINUTE)
        self.assertEqual(len(self.gateway.of("m")), 1)

    def test_refused(self) -> None:
        """What is refused for its content is counted."""
        self.gateway.refuse()
        self.reporter.record("m", {"v": 1})
        self.reporter.report()
        self.assertEqual((self.reporter.stats.rejected, self.gateway.points), (1, []))

    def test_hold(self) -> None:
        """A gateway can be told to take its time."""
        self.gateway.hold()
        self.reporter.record("m", {"v": 1})
        self.reporter.report()
        self.assertEqual((len(self.gateway.of("m")), self.reporter.stats.delivered), (1, 0))
        self.gateway.go_on()
        self.reporter.advance(1)
        self.assertEqual(self.reporter.stats.delivered, 1)


class GatewayTests(SynchronousTestCase):
    """The gateway in memory by itself."""

    def setUp(self) -> None:
        """Make one."""
        self.gateway = MemoryGateway()

    def test_agent(self) -> None:
        """It is an agent."""
        verifyObject(IAgent, self.gateway)

    def test_merged(self) -> None:
        """Fields of one point that come apart are together, as in an InfluxDB; other databases are other points."""
        for target, body in (
            (b"/write?db=a", b"#\nm,t=x a=1 5\n#"),
            (b"/write?db=a", b"m,t=x b=2i 5"),
            (b"/write?db=b", b"m,t=x a=1 5"),
        ):
            self.post(target, body)
        self.assertEqual(
            self.gateway.points,
            [
                ArrivedPoint("a", "m", {"t": "x"}, {"a": 1.0, "b": 2}, 5),
                ArrivedPoint("b", "m", {"t": "x"}, {"a": 1.0}, 5),
            ],
        )

    def post(self, target: bytes, body: bytes) -> None:
        """Send something, as an agent's user does."""
        from twisted.internet.task import Cooperator
        from twisted.web.client import FileBodyProducer

        steps: list[Callable[[], None]] = []
        producer = FileBodyProducer(io.BytesIO(body), Cooperator(scheduler=steps.append))
        sent = self.gateway.request(b"POST", b"http://" + ADDRESS.encode() + target, None, producer)
        while steps:
            steps.pop(0)()
        self.assertEqual(self.successResultOf(sent).code, 204)

    def test_failures(self) -> None:
        """What fails, fails as it does on a network."""
        self.gateway.cut()
        self.failureResultOf(self.gateway.request(b"POST", b"http://x/write?db=a"), ResponseFailed)
        self.gateway.is_up = False
        self.failureResultOf(self.gateway.request(b"POST", b"http://x/write?db=a"), error.ConnectionRefusedError)


class PublicTests(SynchronousTestCase):
    """What applications rely on."""

    def test_names(self) -> None:
        """The names that applications import stay."""
        self.assertEqual(
            torfluxd.testing.__all__,
            ["ADDRESS", "START_SECONDS", "ArrivedPoint", "ArrivedReport", "ClockReporter", "MemoryGateway"],
        )

    def test_address(self) -> None:
        """Its address is one, and the one of the README."""
        parse_onion_address(ADDRESS)
        self.assertEqual(ADDRESS, EXAMPLE_ADDRESS)

    def test_documentation(self) -> None:
        """The example of the documentation holds."""
        (example,) = rendered("docs/testing.rst")[0].findall(nodes.literal_block)
        names: dict[str, object] = {}
        exec(example.astext(), names)
        tests = [value for name, value in names.items() if name.startswith("test_")]
        self.assertEqual(len(tests), 2)
        for test in tests:
            cast("Callable[[], None]", test)()
