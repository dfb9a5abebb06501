"""A tor that is up, and comes back: through every state, with the clock and the control port in our hands."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.hostile_control import ControlPort
from torfluxd.errors import ControlRefusedError, ControlReplyError, SocketPathError, TorError
from torfluxd.onion.control import COMMAND_DEADLINE_SECONDS
from torfluxd.onion.key import OnionKey
from torfluxd.onion.lifecycle import STEADY_SECONDS
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import RunningTor
from torfluxd.onion.status import TorStatus
from torfluxd.onion.steps import UPLOADS_SECONDS

KEY = OnionKey.generate()
PHASE = "GETINFO status/bootstrap-phase"
HALF_WAY = b'250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=50 TAG=loading SUMMARY="Loading"\r\n250 OK\r\n'
DONE = b'650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"\r\n'
UPLOADED = f"650 HS_DESC UPLOADED {KEY.address.name} UNKNOWN $AA~dir\r\n".encode()


class TorServiceCase(SynchronousTestCase):
    """A service that uses a running tor, which is ours to play."""

    target = Path("/state/onion.sock")

    def setUp(self) -> None:
        """Begin with a tor that has joined its network."""
        self.clock = Clock()
        self.port = ControlPort()
        self.said: list[str] = []
        self.service = self.make_service(with_onion=True)

    def make_service(self, *, with_onion: bool) -> TorService:
        """A service on our control port."""
        source = RunningTor(
            self.clock,
            self.port,
            "unix:/run/tor/control",
            onion=(KEY, self.target) if with_onion else None,
            hear=self.said.append,
        )
        return TorService(
            source,
            self.clock,
            say=self.said.append,
            came_up=lambda: self.said.append("up"),
            went_down=lambda: self.said.append("down"),
            retry_delay=lambda attempt: 10.0 * attempt,
        )

    def start(self) -> Deferred[None]:
        """Start, and wait for it to be up."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        return up

    def come_up(self) -> None:
        """Start, and come up."""
        up = self.start()
        self.port.say(UPLOADED)
        self.successResultOf(up)

    def sent(self, beginning: str) -> list[str]:
        """The commands that begin so."""
        return [command for command in self.port.commands if command.startswith(beginning)]


class ComingUpTests(TorServiceCase):
    """From stopped to up."""

    def test_it_is_up_when_a_directory_has_the_descriptor(self) -> None:
        """An onion service is up when it is published, and not before."""
        up = self.start()
        self.assertNoResult(up)
        self.port.say(UPLOADED)
        self.successResultOf(up)
        self.successResultOf(self.service.when_up())

    def test_a_directory_that_does_not_answer_is_not_waited_for(self) -> None:
        """A directory that does not answer holds up the others for some seconds, and not for ever."""
        up = self.start()
        for directory in ("one", "two"):
            self.port.say(f"650 HS_DESC UPLOAD {KEY.address.name} UNKNOWN $AA~{directory} desc\r\n".encode())
        self.port.say(UPLOADED)
        self.assertNoResult(up)
        self.clock.advance(UPLOADS_SECONDS)
        self.successResultOf(up)

    def test_the_onion_service_is_added_with_its_defences(self) -> None:
        """A running tor is asked for limits and proof of work, and never for a service that outlives us."""
        self.come_up()
        (command,) = self.sent("ADD_ONION")
        for words in (
            "Flags=DiscardPK,MaxStreamsCloseCircuit",
            "MaxStreams=256",
            "PoWDefensesEnabled=1",
            "Port=80,unix:/state/onion.sock",
        ):
            self.assertIn(words, command)
        self.assertNotIn("Detach", command)
        self.assertEqual([], self.sent("SETCONF"))

    def test_a_tor_that_does_not_know_proof_of_work_goes_without(self) -> None:
        """A tor that answers 512 is asked for less, and the operator is told."""
        self.port.replies["ADD_ONION"] = lambda command: (
            b"512 Unrecognized keyword argument\r\n" if "PoW" in command else b"250 OK\r\n"
        )
        self.come_up()
        self.assertEqual(2, len(self.sent("ADD_ONION")))
        self.assertIn("does not know proof of work", " ".join(self.said))

    def test_it_waits_until_tor_has_joined_its_network(self) -> None:
        """The onion service is added only when tor has joined its network."""
        self.port.replies[PHASE] = HALF_WAY
        up = self.start()
        self.assertEqual([], self.sent("ADD_ONION"))
        self.port.say(DONE)
        self.port.pump()
        self.assertEqual(1, len(self.sent("ADD_ONION")))
        self.port.say(UPLOADED)
        self.successResultOf(up)

    def test_progress_is_told_once(self) -> None:
        """Each step of the bootstrap is told once, in words."""
        self.port.replies[PHASE] = HALF_WAY
        self.start()
        for _ in range(3):
            self.port.say(b'650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=50 TAG=loading SUMMARY="Loading"\r\n')
        self.port.say(DONE)
        self.assertEqual(["tor:  50 % Loading", "tor: 100 % Done"], self.said)

    def test_a_quiet_log(self) -> None:
        """Where nobody else is told, steps are for whoever wants to know, and a loss is a warning."""
        self.port.replies[PHASE] = HALF_WAY
        source = RunningTor(self.clock, self.port, "unix:/control", onion=None, hear=self.said.append)
        self.service = TorService(source, self.clock, retry_delay=lambda attempt: 10.0)
        self.addCleanup(self.service.stopService)
        with capturedLogs() as events:
            up = self.start()
            self.port.say(DONE)
            self.successResultOf(up)
            self.port.hang_up()
        told = [(event["log_level"], formatEvent(event)) for event in events]
        self.assertEqual({LogLevel.debug}, {level for level, text in told if "%" in text})
        self.assertEqual([LogLevel.warn], [level for level, text in told if "was lost" in text])

    def test_a_tor_without_an_onion_service_is_up_when_it_has_joined(self) -> None:
        """A reporter's tor is up when it has joined its network."""
        self.service = self.make_service(with_onion=False)
        self.successResultOf(self.start())
        self.assertEqual([], self.sent("ADD_ONION"))

    def test_what_keeps_it_down_is_known(self) -> None:
        """While it is not up, the likely cause is at hand."""
        self.assertIn("not even begun", self.service.likely_cause)
        self.port.replies[PHASE] = HALF_WAY
        self.start()
        self.assertIn("50 %", self.service.likely_cause)
        self.port.say(DONE)
        self.assertIn("descriptor", self.service.likely_cause)


class NotComingUpTests(TorServiceCase):
    """The first failure is told to whoever started it."""

    def test_a_refused_control_port_is_told_at_once(self) -> None:
        """A control port that refuses us is the first failure."""
        self.port.refuses = True
        self.failureResultOf(self.start(), ControlRefusedError)

    def test_a_collision_is_explained(self) -> None:
        """An onion service that is already hosted is an error which says what that means."""
        self.port.replies["ADD_ONION"] = b"550 Onion address collision\r\n"
        error = self.failureResultOf(self.start(), ControlReplyError).value
        self.assertIn("second gateway", str(error))

    def test_a_lost_connection_is_told(self) -> None:
        """A tor that goes away before it is up is the first failure."""
        up = self.start()
        self.port.hang_up()
        self.failureResultOf(up, TorError)

    def test_a_tor_that_hangs_is_told(self) -> None:
        """A tor that never answers ADD_ONION is told at the deadline, without a traceback, and tried again."""
        self.port.replies["ADD_ONION"] = None
        up = self.start()
        self.clock.advance(COMMAND_DEADLINE_SECONDS)
        self.failureResultOf(up, TorError)
        self.clock.advance(10)
        self.port.pump()
        self.assertEqual(2, len(self.sent("ADD_ONION")))
        self.service.stopService()

    def test_a_target_that_tor_cannot_hold_is_refused_early(self) -> None:
        """A socket path with a space, which ADD_ONION cannot hold, is refused before tor is asked."""
        self.target = Path("/state dir/onion.sock")
        self.service = self.make_service(with_onion=True)
        self.failureResultOf(self.start(), SocketPathError)
        self.assertEqual([], self.port.commands)

    def test_it_goes_on_trying(self) -> None:
        """After a failure the next attempt follows, until it is stopped."""
        self.port.refuses = True
        self.failureResultOf(self.start(), ControlRefusedError)
        self.port.refuses = False
        up = self.service.when_up()
        self.clock.advance(10)
        self.port.pump()
        self.port.say(UPLOADED)
        self.successResultOf(up)


class ComingBackTests(TorServiceCase):
    """What was up comes back."""

    def test_a_lost_tor_comes_back(self) -> None:
        """When tor is lost, that is said, and the same onion service is added to the next one."""
        self.come_up()
        self.port.hang_up()
        self.assertEqual(1, self.said.count("up"))
        self.assertEqual(["tor: the control connection to tor was lost", "down"], self.said[-2:])
        again = self.service.when_up()
        self.clock.advance(10)
        self.port.pump()
        self.port.say(UPLOADED)
        self.successResultOf(again)
        self.assertEqual(2, self.said.count("up"))
        self.assertEqual(1, len(set(self.sent("ADD_ONION"))))
        self.assertEqual(2, len(self.sent("ADD_ONION")))

    def test_attempts_grow_apart_and_begin_anew_after_success(self) -> None:
        """Each failed attempt waits longer than the one before; success that lasts begins the count anew."""
        self.come_up()
        self.clock.advance(STEADY_SECONDS)
        self.port.refuses = True
        self.port.hang_up()
        for delay in (0, 10, 20, 30):
            (call,) = self.clock.getDelayedCalls()
            self.assertEqual(delay, call.getTime() - self.clock.seconds())
            self.clock.advance(delay)


class StatusTests(TorServiceCase):
    """What an operator is shown."""

    def test_each_state_has_a_name(self) -> None:
        """He sees how far it is, on the way up, and on the way down."""
        self.assertEqual(TorStatus(), self.service.status)
        self.port.replies["PROTOCOLINFO"] = None
        self.service.startService()
        self.assertEqual(TorStatus("opening"), self.service.status)
        self.service.stopService()
        self.setUp()
        self.port.replies[PHASE] = HALF_WAY
        up = self.start()
        self.assertEqual(TorStatus("joining", 50), self.service.status)
        self.port.say(DONE)
        self.port.pump()
        self.assertEqual(TorStatus("publishing", 100), self.service.status)
        self.assertFalse(self.service.status.is_published)
        self.clock.advance(5)
        self.port.say(UPLOADED)
        self.successResultOf(up)
        self.clock.advance(2)
        self.assertEqual(TorStatus("published", 100, descriptor_uploaded_at=5), self.service.status)
        self.assertTrue(self.service.status.is_published)
        self.port.hang_up()
        self.assertEqual(TorStatus("waiting", descriptor_uploaded_at=5, losses=1), self.service.status)
        self.assertFalse(self.service.status.is_published)
        self.service.stopService()
        self.assertEqual("stopped", self.service.status.state)

    def test_the_end_of_a_tor_is_told(self) -> None:
        """When a tor has ended, that is told, so that nobody takes its circuits for those of the next one."""
        self.come_up()
        self.assertNotIn("down", self.said)
        self.port.hang_up()
        self.assertEqual(1, self.said.count("down"))
        self.clock.advance(10)
        self.port.pump()
        self.service.stopService()
        self.assertEqual(2, self.said.count("down"))


class StoppingTests(TorServiceCase):
    """From any state to stopped."""

    def stopped(self) -> None:
        """Stop, and find nothing left."""
        self.successResultOf(self.service.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertTrue(self.port.transport.gone or not self.port.commands)

    def test_stopping_what_is_up_takes_the_onion_service_away(self) -> None:
        """Stopping closes the control connection, and with it the onion service."""
        self.come_up()
        self.stopped()

    def test_it_can_be_stopped_the_moment_it_is_up(self) -> None:
        """Who is told that it is up may stop it at once, and may ask again."""
        stopped: list[Deferred[None]] = []
        up = self.start()
        up.addCallback(lambda _: stopped.append(self.service.stopService()))
        up.addCallback(lambda _: self.service.when_up().addErrback(lambda failure: failure.trap(CancelledError)))
        self.port.say(UPLOADED)
        self.successResultOf(stopped[0])
        self.assertTrue(self.port.transport.gone)

    def test_stopping_while_it_joins(self) -> None:
        """Stopping while tor joins its network ends the attempt."""
        self.port.replies[PHASE] = HALF_WAY
        up = self.start()
        self.stopped()
        self.failureResultOf(up, CancelledError)

    def test_stopping_while_it_publishes(self) -> None:
        """Stopping before the descriptor is uploaded ends the attempt."""
        up = self.start()
        self.stopped()
        self.failureResultOf(up, CancelledError)

    def test_stopping_while_it_connects(self) -> None:
        """Stopping while the control port is silent ends the attempt."""
        self.port.replies["PROTOCOLINFO"] = None
        up = self.start()
        self.stopped()
        self.failureResultOf(up, CancelledError)

    def test_stopping_while_it_waits(self) -> None:
        """Stopping between two attempts cancels the next one."""
        self.come_up()
        self.port.hang_up()
        self.stopped()

    def test_stopping_what_never_began(self) -> None:
        """Stopping what was not started is done at once."""
        self.stopped()

    def test_it_starts_again(self) -> None:
        """What was stopped can be started again."""
        self.come_up()
        self.stopped()
        self.come_up()


EVENTS = st.lists(
    st.sampled_from(["start", "stop", "pump", "hang up", "uploaded", "advance", "refuse", "accept", "when up"]),
    max_size=40,
)


class AnyOrderTests(TorServiceCase):
    """No order of events breaks it."""

    @settings(max_examples=300, deadline=None)
    @given(EVENTS)
    def test_whatever_happens_it_stops_clean(self, events: list[str]) -> None:
        """Whatever happens in whatever order, a stop ends it, and leaves no timer and no connection."""
        self.setUp()
        waiting: list[Deferred[None]] = []
        for event in events:
            self.happen(event, waiting)
        stopped = self.service.stopService()
        self.port.pump()
        self.successResultOf(stopped)
        self.assertEqual([], self.clock.getDelayedCalls())
        for up in waiting:
            up.addErrback(lambda failure: failure.trap(TorError, CancelledError))
            self.successResultOf(up)

    def happen(self, event: str, waiting: list[Deferred[None]]) -> None:
        """Let one thing happen."""
        if event == "start":
            self.service.startService()
        elif event == "stop":
            self.service.stopService()
        elif event == "pump":
            self.port.pump()
        elif event == "hang up" and hasattr(self.port.transport, "protocol"):
            self.port.hang_up()
        elif event == "uploaded" and not self.port.transport.gone and self.port.commands:
            self.port.say(UPLOADED)
        elif event == "advance":
            self.clock.advance(30)
        elif event in ("refuse", "accept"):
            self.port.refuses = event == "refuse"
        elif event == "when up":
            waiting.append(self.service.when_up())


class CloseCircuitTests(TorServiceCase):
    """A stranger's circuit is to be closed."""

    circuit = 3_735_928_559

    def test_tor_is_asked(self) -> None:
        """A tor that is up is asked to close the circuit, by its number."""
        self.port.replies["CLOSECIRCUIT"] = b"250 OK\r\n"
        self.come_up()
        self.service.close_circuit(self.circuit)
        self.port.pump()
        self.assertEqual([f"CLOSECIRCUIT {self.circuit}"], self.sent("CLOSECIRCUIT"))

    def test_whatever_comes_of_it_shows_no_number(self) -> None:
        """A circuit that is gone, a tor that refuses and one that is lost on the way are no errors, and no log tells
        which circuit it was.
        """
        for reply in (
            f'552 Unknown circuit "{self.circuit}"\r\n'.encode(),
            f"551 cannot close {self.circuit}\r\n".encode(),
            None,
        ):
            self.setUp()
            self.port.replies["CLOSECIRCUIT"] = reply
            self.come_up()
            with capturedLogs() as events:
                self.service.close_circuit(self.circuit)
                self.port.pump()
                self.port.hang_up()
            told = "".join(formatEvent(event) + repr(event) for event in events) + "".join(self.said)
            self.assertNotIn(str(self.circuit), told)
            self.assertNotIn("Traceback", told)
            self.assertEqual(1, len(self.sent("CLOSECIRCUIT")))
            self.service.stopService()

    def test_a_tor_that_is_not_up_is_not_asked(self) -> None:
        """While there is no tor nothing is asked, in any state: its circuits are gone with it."""
        self.service.close_circuit(self.circuit)
        self.port.replies[PHASE] = HALF_WAY
        up = self.start()
        self.service.close_circuit(self.circuit)
        self.port.hang_up()
        self.failureResultOf(up, TorError)
        self.service.close_circuit(self.circuit)
        self.port.pump()
        self.successResultOf(self.service.stopService())
        self.service.close_circuit(self.circuit)
        self.assertEqual([], self.sent("CLOSECIRCUIT"))
