"""The control port: deadlines, events, no secrets in failures, and nothing that a hostile port could do to us."""

from __future__ import annotations

import errno
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.hostile_control import OK, ControlPort
from torfluxd.errors import (
    ControlAbsentError,
    ControlError,
    ControlLostError,
    ControlRefusedError,
    ControlReplyError,
    ControlTimeoutError,
)
from torfluxd.onion.control import (
    COMMAND_DEADLINE_SECONDS,
    CONNECT_DEADLINE_SECONDS,
    ControlConnection,
    connect_control,
)

SECRET = "ED25519-V3:c2VjcmV0IHNlY3JldCBzZWNyZXQ="


class ControlCase(SynchronousTestCase):
    """A control port and a clock in our hands."""

    def setUp(self) -> None:
        """Begin with a control port that behaves."""
        self.clock = Clock()
        self.port = ControlPort()

    def connecting(self) -> Deferred[ControlConnection]:
        """Begin to connect."""
        return Deferred.fromCoroutine(connect_control(self.port, self.clock, "unix:/run/tor/control"))

    def connected(self) -> ControlConnection:
        """Connect and authenticate."""
        connecting = self.connecting()
        self.port.pump()
        return self.successResultOf(connecting)

    def sent(self, control: ControlConnection, text: str, **how: Any) -> Deferred[str]:
        """Send a command."""
        return Deferred.fromCoroutine(control.command(text, **how))

    def assert_nothing_left(self) -> None:
        """No timer is left behind."""
        self.assertEqual([], self.clock.getDelayedCalls())


class ConnectTests(ControlCase):
    """Connecting and authenticating."""

    def test_a_tor_that_asks_for_nothing_lets_us_in(self) -> None:
        """A control port without authentication is used as it is, and its version is known."""
        self.assertEqual("0.4.9.11", self.connected().tor_version)
        self.assert_nothing_left()

    def test_nothing_listens_there(self) -> None:
        """A refused connection is an error that names the place and the cure."""
        self.port.refuses = True
        error = self.failureResultOf(self.connecting(), ControlRefusedError).value
        self.assertIn("unix:/run/tor/control", str(error))
        self.assertIn("is tor running", str(error))

    def test_it_is_not_there_yet(self) -> None:
        """A control port that comes late, as after a boot, is waited for as long as the caller has patience."""
        self.port.refuses = True
        connecting, impatient = (
            Deferred.fromCoroutine(connect_control(self.port, self.clock, "unix:/run/tor/control", patience))
            for patience in (3.0, 2.0)
        )
        self.clock.pump([0.1] * 19)
        self.assertNoResult(impatient)
        self.clock.pump([0.1] * 3)
        self.assertIn("is tor running", str(self.failureResultOf(impatient, ControlAbsentError).value))
        self.port.refuses = False
        self.clock.advance(0.1)
        self.port.pump()
        self.successResultOf(connecting)
        self.assert_nothing_left()

    def test_nobody_waits_for_what_will_not_come(self) -> None:
        """A control port that this user may not connect to is told of at once."""
        self.port.refuses = True
        self.port.refusal = ConnectError(errno.EACCES, "Permission denied")
        connecting = Deferred.fromCoroutine(connect_control(self.port, self.clock, "unix:/run/tor/control", 3.0))
        self.assertIn("Permission denied", str(self.failureResultOf(connecting, ControlRefusedError).value))
        self.assert_nothing_left()

    def test_it_does_not_let_us_in(self) -> None:
        """A tor that refuses to authenticate us is an error in tor's own words."""
        self.port.replies["AUTHENTICATE"] = b"515 Bad authentication\r\n"
        connecting = self.connecting()
        self.port.pump()
        self.assertIn("Bad authentication", str(self.failureResultOf(connecting, ControlRefusedError).value))
        self.assertTrue(self.port.transport.gone)

    def test_only_a_password_would_let_us_in(self) -> None:
        """A tor that takes only passwords is refused, since there is none to give."""
        self.port.replies["PROTOCOLINFO"] = b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
        connecting = self.connecting()
        self.port.pump()
        self.assertIn("no authentication by cookie", str(self.failureResultOf(connecting, ControlRefusedError).value))

    def test_the_cookie_cannot_be_read(self) -> None:
        """A cookie that this user may not read is an error that names the group to join."""
        self.port.replies["PROTOCOLINFO"] = (
            b'250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="/nowhere/cookie"\r\n250 OK\r\n'
        )
        connecting = self.connecting()
        self.port.pump()
        self.assertIn("debian-tor", str(self.failureResultOf(connecting, ControlRefusedError).value))

    def test_it_never_answers(self) -> None:
        """A control port that says nothing is given up at the deadline, and its connection is closed."""
        self.port.replies["PROTOCOLINFO"] = None
        connecting = self.connecting()
        self.port.pump()
        self.clock.advance(CONNECT_DEADLINE_SECONDS + 1)
        self.failureResultOf(connecting, ControlTimeoutError)
        self.assertTrue(self.port.transport.gone)
        self.assert_nothing_left()

    def test_it_hangs_up(self) -> None:
        """A connection closed during authentication is an error, not a hang."""
        self.port.replies["AUTHENTICATE"] = None
        connecting = self.connecting()
        self.port.pump()
        self.port.hang_up()
        self.assertIn("is it tor's control port?", str(self.failureResultOf(connecting, ControlRefusedError).value))
        self.assert_nothing_left()

    def test_it_is_not_tor(self) -> None:
        """What answers like a web server is told from tor, without a traceback."""
        connecting = self.connecting()
        with capturedLogs() as events:
            self.port.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertIn("does not speak", str(self.failureResultOf(connecting, ControlError).value))
        self.assertEqual([], [event for event in events if event["log_level"] >= LogLevel.error])


class CommandTests(ControlCase):
    """Commands and their ends."""

    def test_a_reply_is_given(self) -> None:
        """A command's reply comes back without its codes."""
        control = self.connected()
        self.port.replies["GETINFO onions/current"] = b"250-onions/current=abc\r\n250 OK\r\n"
        reply = self.sent(control, "GETINFO onions/current")
        self.port.pump()
        self.assertEqual("onions/current=abc", self.successResultOf(reply).strip())
        self.assert_nothing_left()

    def test_a_refusal_has_its_code(self) -> None:
        """A refused command is an error with tor's code and words."""
        control = self.connected()
        self.port.replies["ADD_ONION"] = b"550 Onion address collision\r\n"
        reply = self.sent(control, f"ADD_ONION {SECRET}")
        self.port.pump()
        error = self.failureResultOf(reply, ControlReplyError).value
        self.assertEqual(550, error.code)
        self.assertIn("Onion address collision", str(error))

    def test_a_refusal_does_not_repeat_a_secret(self) -> None:
        """Should tor repeat a key in its refusal, our error does not."""
        control = self.connected()
        self.port.replies["ADD_ONION"] = f"513 Bad key {SECRET}\r\n".encode()
        reply = self.sent(control, f"ADD_ONION {SECRET}", secrets=(SECRET,))
        self.port.pump()
        self.assertEqual(
            "tor refused ADD_ONION: 513 Bad key [hidden]", str(self.failureResultOf(reply, ControlReplyError).value)
        )

    def test_no_later_refusal_repeats_a_secret(self) -> None:
        """Should tor repeat a key in its answer to anything else, later on, our error does not."""
        control = self.connected()
        added = self.sent(control, f"ADD_ONION {SECRET}", secrets=(SECRET,))
        self.port.replies["SETEVENTS"] = f"552 Unrecognized {SECRET}\r\n".encode()
        listening = Deferred.fromCoroutine(control.listen("HS_DESC", print))
        self.port.pump()
        self.successResultOf(added)
        self.assertNotIn(SECRET, str(self.failureResultOf(listening, ControlReplyError).value))

    def test_a_command_has_a_deadline(self) -> None:
        """A tor that does not answer is given up at the deadline, and so is the connection."""
        control = self.connected()
        self.port.replies["ADD_ONION"] = None
        reply = self.sent(control, "ADD_ONION NEW:ED25519-V3")
        self.port.pump()
        self.clock.advance(COMMAND_DEADLINE_SECONDS)
        self.failureResultOf(reply, ControlTimeoutError)
        self.assertTrue(self.port.transport.gone)
        self.successResultOf(control.when_lost())

    def test_a_lost_connection_ends_every_command_without_its_secrets(self) -> None:
        """A connection lost under way ends all commands at once; no error and no log holds the key."""
        control = self.connected()
        self.port.replies["ADD_ONION"] = None
        with capturedLogs() as events:
            replies = [self.sent(control, f"ADD_ONION {SECRET} Port=80", secrets=(SECRET,)) for _ in range(3)]
            self.port.hang_up()
            failures = [self.failureResultOf(reply, ControlLostError) for reply in replies]
        texts = [f.getTraceback() + repr(f.value) + f.getBriefTraceback() for f in failures]
        texts += [str(event) for event in events]
        self.assertEqual([], [text for text in texts if SECRET in text])
        for failure in failures:
            self.assertIsNone(failure.value.__cause__)
            self.assertTrue(failure.value.__suppress_context__)
        self.assert_nothing_left()

    def test_a_lost_connection_refuses_further_commands(self) -> None:
        """After the connection is lost, commands and subscriptions fail at once instead of never ending."""
        control = self.connected()
        self.port.hang_up()
        self.failureResultOf(self.sent(control, "GETINFO version"), ControlLostError)
        self.failureResultOf(Deferred.fromCoroutine(control.listen("HS_DESC", print)), ControlLostError)

    def test_whoever_waits_for_the_loss_is_told(self) -> None:
        """The loss of the connection is told to those who wait for it, and to those who ask later."""
        control = self.connected()
        before = control.when_lost()
        self.assertNoResult(before)
        self.port.hang_up()
        self.successResultOf(before)
        self.successResultOf(control.when_lost())


class EventTests(ControlCase):
    """Events."""

    def listening(self, take: Any) -> ControlConnection:
        """Listen to onion service descriptors."""
        control = self.connected()
        listening = Deferred.fromCoroutine(control.listen("HS_DESC", take))
        self.port.pump()
        self.successResultOf(listening)
        return control

    def test_an_event_is_given_without_its_name(self) -> None:
        """An event's text arrives as tor wrote it, after its name."""
        heard: list[str] = []
        self.listening(heard.append)
        self.port.say(b"650 HS_DESC UPLOADED abc UNKNOWN $AA~dir\r\n")
        self.assertEqual(["UPLOADED abc UNKNOWN $AA~dir"], heard)

    def test_an_event_that_cannot_be_taken_is_logged(self) -> None:
        """What goes wrong in taking an event is logged, and the connection lives on."""

        def take(text: str) -> None:
            raise ZeroDivisionError

        self.listening(take)
        self.port.say(b"650 HS_DESC UPLOADED abc UNKNOWN $AA~dir\r\n")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertFalse(self.port.transport.gone)

    def test_an_unknown_event_is_an_error(self) -> None:
        """A tor that has no such event says so in an error."""
        control = self.connected()
        self.failureResultOf(Deferred.fromCoroutine(control.listen("CLAIRVOYANCE", print)), ControlError)


class HostileTests(ControlCase):
    """Replies that no tor gives."""

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([OK, b"250-", b"250+x\r\n", b"650 ", b".\r\n"]))))
    def test_whatever_the_port_says_every_command_ends(self, pieces: list[bytes]) -> None:
        """Whatever bytes a control port sends, a command ends by its deadline, without a traceback."""
        self.setUp()
        control = self.connected()
        self.port.replies["GETINFO version"] = None
        with capturedLogs() as events:
            reply = self.sent(control, "GETINFO version")
            for piece in pieces:
                if not self.port.transport.gone:
                    self.port.say(piece)
            self.clock.advance(COMMAND_DEADLINE_SECONDS)
        reply.addErrback(lambda failure: failure.trap(ControlError))
        self.successResultOf(reply)
        self.assertEqual([], [event for event in events if event["log_level"] >= LogLevel.error])
        self.assert_nothing_left()
