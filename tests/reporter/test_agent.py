"""The agent in memory: from what a client writes to what arrives at the vendor's gateway."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.reporter.doubles import FakeGateway, FakeTor
from tests.visitor import Visitor
from torfluxd.errors import SettingsError, StateDirectoryError, TorfluxdError
from torfluxd.ops.notify import Notifier
from torfluxd.reporter.agent import Agent, check_agent
from torfluxd.settings import read_agent_settings
from torfluxd.state import StateDirectory

ONION = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
TIME_NS = 1_600_000_000 * 10**9
STEP_SECONDS = 0.25
END_SECONDS = 5.0
"""The longest that its end may take."""


class UdpPort:
    """A UDP port without a socket."""

    def __init__(self, protocol: DatagramProtocol) -> None:
        self._protocol = protocol

    def stopListening(self) -> Deferred[None]:
        """Close."""
        self._protocol.doStop()
        return succeed(None)


class AgentReactorDouble(MemoryReactorClock):
    """A reactor in memory, with UDP.

    :ivar udp: what listens, and where.
    :ivar taken: ports that others have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.udp: list[tuple[int, DatagramProtocol, str]] = []
        self.taken: set[int] = set()

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,  # noqa: N803  # Twisted's name
    ) -> UdpPort:
        """Listen."""
        self.udp.append((port, protocol, interface))
        protocol.doStart()
        return UdpPort(protocol)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Listen, or not."""
        if port in self.taken:
            raise CannotListenError(interface, port, OSError("Address already in use"))
        return super().listenTCP(port, factory, backlog, interface)


class AgentCase(SynchronousTestCase):
    """An agent, a tor and a gateway in memory; the spool is on the disk."""

    def setUp(self) -> None:
        """Begin."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.state = Path(temporary.name) / "state"
        self.reactor = AgentReactorDouble()
        self.reactor.advance(1_750_000_000)  # so that its seconds can be those of the clock on the wall
        self.gateway = FakeGateway()
        self.tor = FakeTor(self.reactor, self.gateway)
        self.problems: list[TorfluxdError] = []
        self.connected = 0

    def agent(self, notifier: Notifier | None = None, **flags: str | list[str]) -> Agent:
        """An agent, not started yet."""
        given: dict[str, str | list[str]] = {
            "onion": ONION,
            "state-dir": str(self.state),
            "tor": "socks:tcp:127.0.0.1:9050",
            **{name.replace("_", "-"): value for name, value in flags.items()},
        }
        settings = read_agent_settings(given, {})
        give_up = self.problems.append
        return Agent(self.reactor, settings, {}, give_up=give_up, notifier=notifier)  # type: ignore[arg-type]

    def started(self, **flags: str | list[str]) -> Agent:
        """An agent that serves; it is stopped at the end."""
        agent = self.agent(**flags)
        with capturedLogs():
            agent.startService()
            self.run_hooks()
        self.addCleanup(self.stop, agent)
        return agent

    def run_hooks(self) -> None:
        """The reactor runs."""
        hooks, self.reactor.whenRunningHooks = self.reactor.whenRunningHooks, []
        for hook, arguments, keywords in hooks:
            hook(*arguments, **keywords)

    def stop(self, agent: Agent) -> float:
        """Stop an agent; how long it took."""
        began = self.reactor.seconds()
        with capturedLogs():
            stopped = agent.stopService()
            while not stopped.called:
                self.advance(STEP_SECONDS)
        self.successResultOf(stopped)
        return self.reactor.seconds() - began

    def advance(self, seconds: float) -> None:
        """Let time pass, and bytes flow."""
        for _ in range(max(1, round(seconds / STEP_SECONDS))):
            self.reactor.advance(STEP_SECONDS)
            while self.connected < len(self.reactor.tcpClients):
                self.connect(self.reactor.tcpClients[self.connected][2])
                self.connected += 1
            self.tor.pump()

    def connect(self, factory: Any) -> None:
        """Somebody connects to tor's port."""
        refused = self.tor.connect(factory)
        refused.addErrback(lambda failure: factory.clientConnectionFailed(None, failure))

    def client(self, door: int = -1) -> Visitor:
        """A client that has connected to the newest door."""
        return Visitor(self.reactor.tcpServers[door][1])

    def write(self, lines: bytes, target: bytes = b"/write?db=telemetry") -> int:
        """The status that a client hears for what it writes."""
        client = self.client()
        head = b"POST %b HTTP/1.1\r\nHost: localhost:8086\r\nContent-Length: %d\r\n\r\n" % (target, len(lines))
        client.send(head + lines)
        self.advance(STEP_SECONDS)
        (answer,) = client.answers()
        return answer.status

    @property
    def arrived(self) -> list[str]:
        """The lines that have arrived at the gateway, without padding."""
        return [line for lines in self.gateway.arrived for line in lines if line and not line.startswith("#")]


class WriteTests(AgentCase):
    """What clients write."""

    def test_arrives(self) -> None:
        """What a client writes arrives at the gateway, with a coarse time, for the database that it named."""
        self.started()
        self.assertEqual(self.write(b"m,a=b v=1 %d" % TIME_NS, b"/write?db=other&rp=week"), 204)
        self.advance(180)
        (line,) = self.arrived
        text, _, time = line.rpartition(" ")
        self.assertEqual(text, "m,a=b v=1")
        self.assertEqual(int(time) // (60 * 10**9), TIME_NS // (60 * 10**9))
        self.assertIn(b"/write?db=other&rp=week&precision=ns", [uri for _, uri, _ in self.gateway.requests])
        self.assertEqual(set(self.tor.hosts), {ONION.encode()})

    def test_on_the_disk(self) -> None:
        """What was answered while there was no tor, and then a restart, arrives when there is one."""
        self.tor.is_up = False
        first = self.started()
        for number in range(5):
            self.assertEqual(self.write(b"m v=%di %d" % (number, TIME_NS + number)), 204)
        self.stop(first)
        self.assertEqual(self.arrived, [])
        self.tor.is_up = True
        self.started()
        self.advance(180)
        self.assertEqual(sorted(line.split()[1] for line in self.arrived), [f"v={number}i" for number in range(5)])

    def test_twice(self) -> None:
        """A point that is sent twice is the same point, also over a restart; one without a time is another."""
        for _ in range(2):
            agent = self.started()
            for _ in range(2):
                self.assertEqual(self.write(b"m v=1 %d\nn v=1" % TIME_NS), 204)
            self.stop(agent)
        self.advance(180)
        self.started()
        self.advance(600)
        with_time = [line for line in self.arrived if line.startswith("m ")]
        without = [line for line in self.arrived if line.startswith("n ")]
        self.assertEqual((len(with_time), len(set(with_time))), (4, 1))
        self.assertEqual((len(without), len(set(without))), (4, 4))

    def test_pinned(self) -> None:
        """With --database everything goes there."""
        self.started(database="theirs", retention_policy="week")
        self.assertEqual(self.write(b"m v=1 5", b"/api/v2/write?bucket=mine"), 204)
        self.advance(180)
        self.assertEqual({uri for _, uri, _ in self.gateway.requests}, {b"/write?db=theirs&rp=week&precision=ns"})

    def test_privacy(self) -> None:
        """A host's name stays here; with a schema so does all that it does not name."""
        self.started()
        self.assertEqual(self.write(b"m,host=secret,a=b v=1 %d" % TIME_NS), 204)
        self.advance(180)
        (line,) = self.arrived
        self.assertTrue(line.startswith("m,a=b v=1 "), line)

    def test_schema(self) -> None:
        """What the vendor's schema does not name is taken, and stays here."""
        schema = self.state.parent / "schema.toml"
        schema.write_text('[schema.m]\nunknown = "drop"\nfields.v = "float"\ntags.a = ["b"]\n')
        self.started(schema=str(schema))
        self.assertEqual(self.write(b"m,a=x,c=d v=1,w=2 %d\nother v=1 5" % TIME_NS), 204)
        self.assertEqual(self.write(b"other v=1 5"), 204)
        self.advance(180)
        (line,) = self.arrived
        self.assertTrue(line.startswith("m,a=other v=1.0 "), line)

    def test_statsd(self) -> None:
        """What statsd clients send arrives as one point for each metric and interval."""
        self.started(statsd="udp:9", database="d")
        [(port, protocol, interface)] = self.reactor.udp
        self.assertEqual((port, interface), (9, "127.0.0.1"))
        for _ in range(10):
            protocol.datagramReceived(b"c:1|c|#v:2\ns:%d|s" % 5, ("127.0.0.1", 1))
        self.advance(240)
        self.assertEqual(sorted(line.rpartition(" ")[0] for line in self.arrived), ["c,v=2 count=10i", "s count=1i"])

    def test_proxied(self) -> None:
        """A client that takes the agent for its proxy writes to the onion address."""
        self.started()
        client = self.client()
        onion = ONION.encode()
        client.send(
            b"POST http://%b/write?db=a HTTP/1.1\r\nHost: %b\r\nContent-Length: 9\r\n\r\nm v=1 500" % (onion, onion)
        )
        self.advance(STEP_SECONDS)
        self.assertEqual([answer.status for answer in client.answers()], [204])


class LifeTests(AgentCase):
    """How it comes up and goes down."""

    def test_end(self) -> None:
        """It ends within five seconds when there is no tor, or one that does not answer, and lets go of its state."""
        for is_up in (False, True):
            self.tor.is_up = is_up
            agent = self.started()
            self.gateway.answers = [lambda request: None] * 9
            self.assertEqual(self.write(b"m v=1 %d" % TIME_NS), 204)
            self.assertLessEqual(self.stop(agent), END_SECONDS)
            StateDirectory.claim(self.state).release()

    def test_systemd(self) -> None:
        """Systemd hears when it serves, and when it ends."""
        address = str(self.state.parent / "notify")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(address)
        agent = self.agent(notifier=Notifier(address))
        with capturedLogs():
            agent.startService()
            listener.setblocking(False)
            self.assertRaises(BlockingIOError, listener.recv, 1000)
            self.run_hooks()
        self.assertEqual(listener.recv(1000), b"READY=1")
        self.assertTrue(listener.recv(1000).startswith(b"STATUS=takes points on tcp:8086"))
        self.stop(agent)
        self.assertEqual(listener.recv(1000), b"STOPPING=1")

    def test_last_requests(self) -> None:
        """A client whose points are on their way to the disk when it ends still hears that they are there."""
        agent = self.started()
        client = self.client()
        client.send(b"POST /write?db=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nm v=1")
        self.assertEqual(client.answers(), [])
        self.stop(agent)
        self.assertEqual([answer.status for answer in client.answers()], [204])

    def test_port_in_use(self) -> None:
        """A port that somebody else has is told, and what was opened is closed."""
        self.reactor.taken.add(8086)
        agent = self.agent()
        with capturedLogs() as events:
            agent.startService()
            self.run_hooks()
        (problem,) = self.problems
        self.assertIn("cannot listen on tcp:8086:interface=127.0.0.1: Address already in use", str(problem))
        self.assertTrue(any("cannot start" in event["log_format"] for event in events))
        self.stop(agent)
        StateDirectory.claim(self.state).release()

    def test_stopped_at_once(self) -> None:
        """One that is stopped before it has begun does not begin."""
        agent = self.agent()
        agent.startService()
        self.stop(agent)
        self.run_hooks()
        self.assertEqual(self.reactor.tcpServers, [])

    def test_second(self) -> None:
        """A second one with the same state directory is refused, and the first goes on."""
        self.started()
        self.assertRaises(StateDirectoryError, self.agent().prepare)
        self.assertEqual(self.write(b"m v=1"), 204)

    def test_refused_before_it_begins(self) -> None:
        """What cannot be used is told before anything is opened, and the state directory stays free."""
        for flags, saying in (
            ({"listen": ["tcp:x:interface=127.0.0.1"]}, "--listen: 'tcp:x:interface=127.0.0.1'"),
            ({"schema": "/nowhere"}, "--schema: /nowhere"),
            ({"tor": "socks:nonsense"}, "--tor: socks: expected"),
        ):
            agent = self.agent(**flags)  # type: ignore[arg-type]
            self.assertIn(saying, str(self.assertRaises(TorfluxdError, agent.prepare)))
            StateDirectory.claim(self.state).release()

    def test_check(self) -> None:
        """A check finds all of it at once, and makes nothing."""
        flags = {"onion": ONION, "state-dir": str(self.state), "schema": "/nowhere", "tor": "socks:nonsense"}
        settings = read_agent_settings(flags, {})
        error = self.assertRaises(SettingsError, check_agent, settings, {}, self.reactor)
        assert isinstance(error, SettingsError)
        self.assertEqual(len(error.problems), 2)
        self.assertFalse(self.state.exists())

    def test_log(self) -> None:
        """Its log says where it serves and where reports go, and nothing of what clients send."""
        agent = self.agent(statsd="udp", database="secretbase")
        with capturedLogs() as events:
            agent.startService()
            self.run_hooks()
            self.write(b"secret,secret=secret secret=1\nsecret garbage")
            self.advance(120)
        self.stop(agent)
        said = [event["log_format"].format(**event) for event in events if "log_format" in event]
        self.assertTrue(any(ONION in line for line in said))
        self.assertIn("serving on tcp:8086:interface=127.0.0.1", said)
        self.assertNotIn("secret", str(said))
