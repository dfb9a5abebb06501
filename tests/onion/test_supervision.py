"""What a tor does not tell by itself is noticed, and mended: with the clock and the control port in our hands."""

from __future__ import annotations

from itertools import pairwise

from twisted.logger import capturedLogs, formatEvent

from tests.onion.playing import KEY, UPLOADED, SupervisedCase
from torfluxd.errors import SocksProxyUnreachableError
from torfluxd.onion.canary import (
    CALM_SECONDS,
    DEADLINE_SECONDS,
    DOUBT_SECONDS,
    FIRST_SECONDS,
    MEND_AFTER,
    RESTART_AFTER,
    WOKEN_SECONDS,
)
from torfluxd.onion.control import COMMAND_DEADLINE_SECONDS
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import RunningTor
from torfluxd.onion.steps import JOIN_SECONDS, PUBLISH_SECONDS
from torfluxd.onion.watch import HEARTBEAT_SECONDS, STALE_GRACE_SECONDS, STALE_SECONDS


class HungTests(SupervisedCase):
    """A tor that hangs."""

    def test_one_that_is_up_is_let_go(self) -> None:
        """A tor that answers no more is noticed by its pulse and let go; the onion service is added to the next one."""
        self.come_up()
        self.port.replies["GETINFO onions/current"] = None
        self.pass_time(HEARTBEAT_SECONDS)
        self.assertFalse(self.port.transport.gone)
        self.pass_time(COMMAND_DEADLINE_SECONDS)
        self.assertTrue(self.port.transport.gone)
        self.assertEqual("waiting", self.state)
        self.port.replies["GETINFO onions/current"] = self.hosted
        self.come_back()
        self.assertEqual(1, len(set(self.sent("ADD_ONION"))))
        self.assertEqual(1, self.service.status.losses)

    def test_one_on_its_way_is_let_go(self) -> None:
        """So is one that hangs while it joins its network, or publishes."""
        for state in ("joining", "publishing"):
            self.setUp()
            if state == "joining":
                self.port.replies["GETINFO status/bootstrap-phase"] = b"250-status/bootstrap-phase=NOTICE\r\n250 OK\r\n"
            self.service.startService()
            self.port.pump()
            self.assertEqual(state, self.state)
            self.pass_time(HEARTBEAT_SECONDS * 3)
            self.assertEqual(state, self.state)
            for beginning in ("GETINFO onions/current", "GETINFO status/circuit-established"):
                self.port.replies[beginning] = None
            self.clock.advance(HEARTBEAT_SECONDS)
            self.clock.advance(COMMAND_DEADLINE_SECONDS)
            self.assertEqual("waiting", self.state)
            self.service.stopService()

    def test_a_reporters_tor_is_watched_as_well(self) -> None:
        """A tor without an onion service, as a reporter keeps it, is let go as well when it hangs, and comes back."""
        source = RunningTor(self.clock, self.port, "unix:/run/tor/control", hear=self.said.append)
        self.service = TorService(source, self.clock, say=self.said.append, retry_delay=lambda attempt: 10)
        self.addCleanup(self.service.stopService)
        self.service.startService()
        self.port.pump()
        self.pass_time(300)
        self.assertEqual(("published", 0), (self.state, self.service.status.losses))
        self.port.replies["GETINFO status/circuit-established"] = None
        self.pass_time(HEARTBEAT_SECONDS + COMMAND_DEADLINE_SECONDS)
        self.assertEqual("waiting", self.state)
        self.pass_time(10)
        self.assertEqual("published", self.state)

    def test_one_that_answers_is_left_alone(self) -> None:
        """A tor that answers is asked twice a minute, and nothing else happens to it."""
        self.service = self.make_service(None)
        self.come_up()
        told = len(self.said)
        self.pass_time(3600)
        self.assertEqual(120, len(self.sent("GETINFO onions/current")))
        self.assertEqual(told, len(self.said))
        self.assertEqual(0, self.service.status.losses)
        self.successResultOf(self.service.stopService())


class TakenAwayTests(SupervisedCase):
    """Somebody else does something to the onion service."""

    def test_it_is_added_again(self) -> None:
        """An onion service that tor hosts no more is added again."""
        self.come_up()
        self.port.replies["GETINFO onions/current"] = b"250-onions/current=\r\n250 OK\r\n"
        self.pass_time(HEARTBEAT_SECONDS)
        self.port.replies["GETINFO onions/current"] = self.hosted
        self.come_back()
        self.assertIn("does not host the onion service any more", " ".join(self.said))
        self.assertEqual(2, len(self.sent("ADD_ONION")))

    def test_one_that_outlived_its_maker_makes_room(self) -> None:
        """An onion service of ours that another program had outlive it makes room for this one."""
        busy = [True]

        def add(command: str) -> bytes:
            return b"550 Onion address collision\r\n" if busy else self.add(command)

        def delete(command: str) -> bytes:
            busy.clear()
            return b"250 OK\r\n"

        self.port.replies["ADD_ONION"] = add
        self.port.replies["DEL_ONION"] = delete
        self.port.replies["GETINFO onions/current"] = b"250-onions/current=\r\n250 OK\r\n"
        self.port.replies["GETINFO onions/detached"] = (
            f"250+onions/detached=\r\nother\r\n{KEY.address.name}\r\n.\r\n250 OK\r\n".encode()
        )
        self.come_up()
        self.assertEqual([f"DEL_ONION {KEY.address.name}"], self.sent("DEL_ONION"))

    def test_one_of_another_program_is_waited_for(self) -> None:
        """One that another program hosts is left alone, and added as soon as that one is gone."""
        self.come_up()
        self.port.replies["ADD_ONION"] = b"550 Onion address collision\r\n"
        self.port.replies["GETINFO onions/current"] = b"250-onions/current=\r\n250 OK\r\n"
        self.port.replies["GETINFO onions/detached"] = b"250-onions/detached=\r\n250 OK\r\n"
        self.port.hang_up()
        for _ in range(3):
            self.pass_time(10)
            self.assertEqual("waiting", self.state)
        self.assertEqual([], self.sent("DEL_ONION"))
        self.assertIn("is a second gateway running", " ".join(self.said))
        self.port.replies["ADD_ONION"] = self.add
        self.port.replies["GETINFO onions/current"] = self.hosted
        self.come_back()

    def test_a_refusal_is_retried(self) -> None:
        """Whatever else tor refuses the onion service for, it is asked again, without traceback and without the key."""
        self.come_up()
        secret = KEY.control_blob().partition(":")[2]
        with capturedLogs() as events:
            for reply in (
                b"513 Invalid key type",
                b"551 Failed to generate onion address",
                b"510 Unrecognized command",
            ):
                self.port.replies["ADD_ONION"] = b"%b %b\r\n" % (reply, secret.encode())
                self.port.hang_up()
                self.pass_time(10)
                self.assertEqual("waiting", self.state)
        told = "".join(map(str, events)) + "".join(self.said)
        self.assertNotIn(secret[:10], told)
        self.assertNotIn("Traceback", told)

    def test_signals_are_borne(self) -> None:
        """A tor that is told to read its configuration anew goes on, and so do we."""
        self.come_up()
        for _ in range(20):
            self.port.say(b"650-CONF_CHANGED\r\n650-HiddenServiceOptions\r\n650 OK\r\n650 SIGNAL RELOAD\r\n")
            self.pass_time(60)
        self.assertEqual(("reachable", 0), (self.state, self.service.status.losses))


class SlowlyUpTests(SupervisedCase):
    """A tor that does not come back by itself."""

    def test_joining_ends(self) -> None:
        """A tor that comes back, and has not joined its network after half an hour, is begun with anew."""
        self.come_up()
        self.port.replies["GETINFO status/bootstrap-phase"] = (
            b'250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=50 TAG=x SUMMARY="x"\r\n250 OK\r\n'
        )
        self.port.hang_up()
        self.pass_time(10)
        self.assertEqual("joining", self.state)
        self.pass_time(JOIN_SECONDS)
        self.assertEqual("waiting", self.state)
        self.assertIn("tor: it has not joined its network after 30 minutes; trying again", self.said)

    def test_publishing_ends(self) -> None:
        """So is one whose descriptor no directory has taken after ten minutes."""
        self.come_up()
        self.port.hang_up()
        self.pass_time(10)
        self.assertEqual("publishing", self.state)
        self.pass_time(PUBLISH_SECONDS)
        self.assertEqual("waiting", self.state)

    def test_the_first_time_has_no_such_end(self) -> None:
        """The first time, whoever has started it decides how long he waits."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        self.pass_time(PUBLISH_SECONDS * 2, 20)
        self.assertNoResult(up)
        self.port.say(UPLOADED)
        self.successResultOf(up)


class StaleTests(SupervisedCase):
    """A tor that does not publish any more."""

    def setUp(self) -> None:
        """Come up, without a canary."""
        super().setUp()
        self.service = self.make_service(None)
        self.addCleanup(self.service.stopService)
        self.come_up()

    def test_a_fresh_descriptor_is_left_alone(self) -> None:
        """While tor publishes every two hours, as it does at the latest, it is left alone."""
        for _ in range(12):
            self.pass_time(7200, 20)
            self.port.say(UPLOADED)
        self.assertEqual(1, len(self.sent("ADD_ONION")))
        self.assertEqual(12 * 7200, self.service.status.descriptor_uploaded_at)

    def test_an_old_one_is_published_anew(self) -> None:
        """After two and a half hours without a word the onion service is added anew, and nobody's circuit is cut."""
        self.pass_time(STALE_SECONDS + STALE_GRACE_SECONDS, 20)
        self.assertEqual(1, len(self.sent("DEL_ONION")))
        self.assertEqual(2, len(self.sent("ADD_ONION")))
        self.port.say(UPLOADED)
        self.pass_time(3600, 20)
        self.assertEqual(0, self.service.status.losses)
        self.assertEqual(2, len(self.sent("ADD_ONION")))

    def test_where_that_does_not_help_tor_is_let_go(self) -> None:
        """When even that brings no word, everything begins anew, before the directories have dropped the descriptor."""
        self.pass_time(STALE_SECONDS + 2 * STALE_GRACE_SECONDS, 20)
        self.assertLess(STALE_SECONDS + 2 * STALE_GRACE_SECONDS, 180 * 60)
        self.assertEqual(("waiting", 1), (self.state, self.service.status.losses))
        self.come_back()

    def test_one_that_grew_old_in_a_sleep_may_be_published_by_tor(self) -> None:
        """When this machine has slept for a night, tor has two minutes to publish by itself."""
        self.clock.advance(8 * 3600)
        self.port.pump()
        self.pass_time(STALE_GRACE_SECONDS / 2)
        self.port.say(UPLOADED)
        self.pass_time(3600, 20)
        self.assertEqual(1, len(self.sent("ADD_ONION")))


class CanaryTests(SupervisedCase):
    """The onion service is tried, as a stranger would."""

    def fly(self, times: int) -> None:
        """Let it fly so many times."""
        goal = len(self.bird.flights) + times
        while len(self.bird.flights) < goal:
            self.pass_time(1, 1)

    def test_it_flies_soon_and_then_now_and_then(self) -> None:
        """It flies some seconds after we are up, and then every ten minutes or so; an operator sees when last."""
        self.come_up()
        self.assertEqual("published", self.state)
        self.pass_time(sum(FIRST_SECONDS) / 2)
        self.assertEqual("reachable", self.state)
        self.assertEqual(6, self.service.status.canary_succeeded_at)
        self.pass_time(sum(CALM_SECONDS) / 2)
        self.assertEqual([6.0, 606.0], self.bird.flights)

    def test_nobody_can_foresee_when(self) -> None:
        """When it flies is a matter of chance."""
        moments = []
        for _ in range(2):
            self.setUp()
            self.canary = type(self.canary)(self.clock, self.bird)  # with real chance
            self.service = self.make_service(self.canary)
            self.come_up()
            self.pass_time(3 * CALM_SECONDS[1])
            moments.append(tuple(self.bird.flights))
            self.service.stopService()
        self.assertNotEqual(*moments)
        for times in moments:
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertTrue(all(CALM_SECONDS[0] <= gap <= CALM_SECONDS[1] + 5 for gap in gaps), gaps)

    def test_a_single_loss_is_only_shown(self) -> None:
        """One that fails leaves everything as it is, and the next flies sooner; success clears the count."""
        self.come_up()
        self.bird.be_lost()
        self.fly(1)
        self.assertEqual(("doubtful", 1), (self.state, self.service.status.canary_failures))
        self.assertTrue(self.service.status.is_published)
        self.bird.outcome = None
        self.pass_time(sum(DOUBT_SECONDS) / 2)
        self.assertEqual(("reachable", 0), (self.state, self.service.status.canary_failures))
        self.assertEqual(1, len(self.sent("ADD_ONION")))

    def test_several_have_it_published_anew(self) -> None:
        """After three in a row the onion service is published anew, which cuts nobody off."""
        self.come_up()
        self.bird.be_lost()
        self.fly(MEND_AFTER)
        self.assertEqual(1, len(self.sent("DEL_ONION")))
        self.assertEqual(2, len(self.sent("ADD_ONION")))
        self.assertEqual(0, self.service.status.losses)

    def test_more_have_everything_begin_anew(self) -> None:
        """After six tor is let go, with a word why; the next time after twelve, so that we do more good than harm."""
        self.come_up()
        self.bird.be_lost()
        self.fly(RESTART_AFTER)
        self.assertEqual(("waiting", 1), (self.state, self.service.status.losses))
        self.assertIn("could not reach it 6 times in a row (no introduction point let us in)", self.said[-1])
        self.come_back()
        self.fly(2 * RESTART_AFTER - 1)
        self.assertEqual(1, self.service.status.losses)
        self.fly(1)
        self.assertEqual(2, self.service.status.losses)
        self.come_back()
        self.bird.outcome = None
        self.fly(1)
        self.bird.be_lost()
        self.fly(RESTART_AFTER)
        self.assertEqual(3, self.service.status.losses)

    def test_strangers_who_come_show_that_we_can_be_reached(self) -> None:
        """While new circuits of strangers come in, nothing begins anew: it is the canary that is lost, not we."""
        self.come_up()
        self.bird.be_lost()
        for _ in range(4 * RESTART_AFTER):
            self.strangers += 1
            self.fly(1)
        self.assertEqual(("doubtful", 0), (self.state, self.service.status.losses))
        self.assertEqual([], self.sent("DEL_ONION"))
        self.assertEqual(4 * RESTART_AFTER, self.service.status.canary_failures)

    def test_no_answer_is_a_loss(self) -> None:
        """One that never comes back counts as lost, at its deadline."""
        self.come_up()
        self.bird.outcome = self.bird.silent
        self.fly(1)
        self.assertEqual("published", self.state)
        self.pass_time(DEADLINE_SECONDS)
        self.assertEqual("doubtful", self.state)

    def test_a_fault_of_whatever_kind_is_a_loss(self) -> None:
        """Whatever a broken connection looks like, it is a loss, and no traceback."""
        self.come_up()
        self.bird.outcome = ValueError("who knows")
        with capturedLogs() as events:
            self.fly(MEND_AFTER)
        self.assertEqual("doubtful", self.state)
        self.assertNotIn("Traceback", "".join(formatEvent(event) or "" for event in events))

    def test_without_a_socks_port_it_does_not_fly(self) -> None:
        """Where tor has no SOCKS port that we may use, that is not tried, and nothing is thought of it."""
        for listeners in (
            b"250-net/listeners/socks=\r\n250 OK\r\n",
            b'250-net/listeners/socks="203.0.113.1:9050"\r\n250 OK\r\n',
        ):
            self.setUp()
            self.port.replies["GETINFO net/listeners/socks"] = listeners
            self.come_up()
            self.pass_time(3600)
            self.assertEqual(([], "published"), (self.bird.flights, self.state))
            self.service.stopService()

    def test_a_socks_port_that_is_closed_to_us_is_no_loss(self) -> None:
        """A SOCKS port that does not let us in says nothing of the onion service: that is told once, and no more."""
        self.come_up()
        self.bird.outcome = SocksProxyUnreachableError("permission denied")
        with capturedLogs() as events:
            self.pass_time(3600)
        self.assertEqual((1, "published"), (len(self.bird.flights), self.state))
        self.assertEqual(1, sum("is not tried" in (formatEvent(event) or "") for event in events))

    def test_stopping_ends_its_flight(self) -> None:
        """Stopping in the middle of a flight leaves nothing."""
        self.come_up()
        self.bird.outcome = self.bird.silent
        self.fly(1)
        self.successResultOf(self.service.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())


class JumpTests(SupervisedCase):
    """A machine that sleeps, and a clock that is set."""

    def reached_soon(self) -> None:
        """It is tried again whether we can be reached, long before its time."""
        self.pass_time(WOKEN_SECONDS + HEARTBEAT_SECONDS)
        self.assertIn("this machine slept, or its clock was set", " ".join(self.said))
        self.assertEqual(2, len(self.bird.flights))

    def test_after_a_sleep(self) -> None:
        """After a sleep it is tried at once whether we can still be reached."""
        self.come_up()
        self.pass_time(60)
        self.clock.advance(200)
        self.port.pump()
        self.reached_soon()

    def test_after_a_jump_of_the_date(self) -> None:
        """So it is when somebody sets the clock, forward or back."""
        for jump in (7200, -7200):
            self.setUp()
            self.come_up()
            self.pass_time(60)
            self.date += jump
            self.reached_soon()
            self.service.stopService()

    def test_ages_are_not_those_of_the_date(self) -> None:
        """What an operator is told of ages does not jump with the date: the descriptor is as old as it is."""
        self.come_up()
        self.pass_time(60)
        self.date -= 7200
        self.assertEqual(self.clock.seconds() - 60, self.service.status.descriptor_uploaded_at)

    def test_a_busy_machine_is_not_taken_for_a_sleeper(self) -> None:
        """A machine that is late by some seconds is not told of."""
        self.come_up()
        for _ in range(20):
            self.clock.advance(HEARTBEAT_SECONDS + 15)
            self.port.pump()
        self.assertNotIn("slept", " ".join(self.said))
