"""A tor that nobody attends to: cut off at every byte, in any order of events, and for a day and a night."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, LogLevel, capturedLogs, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.hostile_control import ControlPort
from tests.onion.playing import KEY, UPLOADED, SupervisedCase
from torfluxd.errors import TorError
from torfluxd.onion.canary import CALM_SECONDS, RESTART_AFTER
from torfluxd.onion.lifecycle import TorMachine
from torfluxd.onion.watch import STALE_GRACE_SECONDS, STALE_SECONDS

HOUR = 3600.0
DAY = 24 * HOUR


class MeteredPort(ControlPort):
    """A control port whose tor says so many bytes, and is cut off then."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        self.said_bytes = 0

    def say(self, data: bytes) -> None:
        """Say it, as far as there is still something to say it through."""
        if self.transport.gone:
            return
        left = len(data) if self.limit is None else min(len(data), self.limit - self.said_bytes)
        self.said_bytes += left
        for at in range(left):
            if not self.transport.gone:
                super().say(data[at : at + 1])
        if self.limit is not None and self.said_bytes >= self.limit:
            self.limit = None
            if not self.transport.gone:
                self.hang_up()


class CutTests(SupervisedCase):
    """The control connection is cut."""

    def live(self, limit: int | None) -> int:
        """Come up, be asked twice and publish again; how many bytes tor has said until then."""
        self.setUp()
        replies, self.port = self.port.replies, MeteredPort(limit)
        self.port.replies.update(replies)
        self.service = self.make_service(self.canary)
        up = self.service.when_up()
        up.addErrback(lambda failure: failure.trap(TorError))
        self.service.startService()
        self.port.pump()
        self.port.say(UPLOADED)
        self.pass_time(70, 10)
        self.port.say(UPLOADED)
        said = self.port.said_bytes
        if self.state != "reachable":  # cut off just now, or so early that nobody has said yet that it is published
            self.pass_time(30, 10)
            self.port.say(UPLOADED)
            self.pass_time(70, 10)
        self.assertEqual("reachable", self.state, f"cut after {limit} bytes")
        self.assertEqual(1, len(set(self.sent("ADD_ONION"))))
        self.successResultOf(self.service.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())
        return said

    def test_at_every_byte(self) -> None:
        """Wherever the control connection is cut, the same onion service is up again, without a traceback, and the key
        is in no log.
        """
        secret = KEY.control_blob().partition(":")[2]
        problems: list[LogEvent] = []

        def observe(event: LogEvent) -> None:
            if event["log_level"] >= LogLevel.error or secret in str(event):
                problems.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        whole = self.live(None)
        self.assertGreater(whole, 700)
        for limit in range(1, whole):
            self.live(limit)
        self.assertEqual([], problems)


THINGS = (
    *("start", "stop", "pump", "hang up", "uploaded", "heartbeat", "minutes", "hours", "slept", "clock set"),
    *("refuse", "accept", "hang", "answer", "taken away", "canary lost", "canary silent", "canary back", "stranger"),
    *("when up", "close circuit", "reload", "status"),
)


class AnyOrderTests(SupervisedCase):
    """No order of events breaks it."""

    @settings(max_examples=300)
    @given(st.lists(st.sampled_from(THINGS), max_size=60))
    def test_whatever_happens_it_stops_clean(self, things: list[str]) -> None:
        """Whatever happens in whatever order, nothing is logged as a fault, and a stop leaves nothing behind."""
        self.setUp()
        waiting: list[Deferred[None]] = []
        with capturedLogs() as events:
            for thing in things:
                self.happen(thing, waiting)
            stopped = self.service.stopService()
            self.port.pump()
            self.successResultOf(stopped)
        self.assertEqual([], [event for event in events if event["log_level"] >= LogLevel.error])
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual("stopped", self.state)
        for up in waiting:
            up.addErrback(lambda failure: failure.trap(TorError, CancelledError))
            self.successResultOf(up)

    def happen(self, thing: str, waiting: list[Deferred[None]]) -> None:
        """Let one thing happen."""
        things: dict[str, Callable[[], object]] = {
            "start": self.service.startService,
            "stop": self.service.stopService,
            "heartbeat": lambda: self.pass_time(30, 20),
            "minutes": lambda: self.pass_time(400, 20),
            "hours": lambda: self.pass_time(2 * HOUR, 20),
            "slept": lambda: self.clock.advance(8 * HOUR),
            "when up": lambda: waiting.append(self.service.when_up()),
            "close circuit": lambda: self.service.close_circuit(28),
            "status": lambda: self.service.status.is_published,
            "canary lost": self.bird.be_lost,
        }
        if thing in things:
            things[thing]()
        elif thing == "clock set":
            self.date -= HOUR
        elif thing == "stranger":
            self.strangers += 1
        elif thing.startswith("canary"):
            self.bird.outcome = self.bird.silent if thing == "canary silent" else None
        else:
            self.happen_to_tor(thing)

    def happen_to_tor(self, thing: str) -> None:
        """Let something happen at the control port."""
        there = hasattr(self.port.transport, "protocol") and not self.port.transport.gone
        if thing == "pump":
            self.port.pump()
        elif thing in ("refuse", "accept"):
            self.port.refuses = thing == "refuse"
        elif thing in ("hang", "answer", "taken away"):
            empty = b"250-onions/current=\r\n250 OK\r\n"
            self.port.replies["GETINFO onions/current"] = {"hang": None, "taken away": empty}.get(thing, self.hosted)
        elif thing == "hang up" and there:
            self.port.hang_up()
        elif thing == "uploaded" and there and self.port.commands:
            self.port.say(UPLOADED)
        elif thing == "reload" and there and self.port.commands:
            self.port.say(b"650 SIGNAL RELOAD\r\n")


class TableTests(SynchronousTestCase):
    """The table of the machine."""

    def test_what_others_may_ask_has_an_answer_in_every_state(self) -> None:
        """To start, to stop, to wait for it and to close a circuit are possible in every state; and whatever has a tor
        can lose it, and can fail.
        """
        table: dict[str, set[str]] = {}
        for state, symbol, *_ in TorMachine.__automat_automaton__.allTransitions():  # type: ignore[attr-defined]
            table.setdefault(state.name, set()).add(symbol)
        self.assertEqual(11, len(table))
        for inputs in table.values():
            self.assertTrue({"start", "stop", "await_up", "close_circuit"} <= inputs)
        for state in ("Joining", "Publishing", "Up", "Reachable", "Doubtful"):
            self.assertTrue({"_failed", "_lost"} <= table[state])
        for state in ("Up", "Reachable", "Doubtful"):
            self.assertTrue({"_reached", "_missed"} <= table[state])


class DayTests(SupervisedCase):
    """A day and a night, with the clock in our hands."""

    def setUp(self) -> None:
        """Begin with a tor that publishes every 60 to 120 minutes, as tor does, and answers."""
        super().setUp()
        self.chance = random.Random(7)
        self.canary = self.make_canary(self.chance.uniform)
        self.service = self.make_service(self.canary)
        self.addCleanup(self.service.stopService)
        self.publishes = True
        self.next_upload = 0.0
        self.begun: list[float] = []

    def live(self, seconds: float) -> None:
        """Live on, with a tor that publishes when it is asked to, and when it is time."""
        end = self.clock.seconds() + seconds
        added = len(self.sent("ADD_ONION"))
        while self.clock.seconds() < end:
            self.pass_time(10, 10)
            if len(self.sent("ADD_ONION")) != added:
                added, self.next_upload = len(self.sent("ADD_ONION")), self.clock.seconds()
                self.begun.append(self.clock.seconds())
            if self.publishes and not self.port.transport.gone and self.clock.seconds() >= self.next_upload:
                self.port.say(UPLOADED)
                self.next_upload = self.clock.seconds() + self.chance.uniform(HOUR, 2 * HOUR)

    def test_a_quiet_day(self) -> None:
        """A day on which nothing happens: the pulse, the descriptors and the canary go on, and nothing is disturbed."""
        self.come_up()
        self.live(DAY)
        flights = self.bird.flights
        self.assertEqual(0, self.service.status.losses)
        self.assertEqual(1, len(self.sent("ADD_ONION")))
        self.assertAlmostEqual(DAY / 30, len(self.sent("GETINFO onions/current")), delta=3)
        self.assertTrue(DAY / CALM_SECONDS[1] <= len(flights) <= DAY / CALM_SECONDS[0])
        self.assertGreater(len({round(later - earlier) for earlier, later in pairwise(flights)}), len(flights) // 3)
        at = self.service.status.descriptor_uploaded_at
        assert at is not None
        self.assertLess(self.clock.seconds() - at, 2 * HOUR + 10)
        self.assertEqual("reachable", self.state)

    def test_a_bad_day(self) -> None:
        """A day on which tor is lost every other hour, forgets to publish, sleeps and cannot be reached: after each of
        these it is up again within minutes, under the same address, and it has not been restarted in a tight circle.
        """
        self.come_up()
        for _ in range(6):
            self.live(2 * HOUR)
            self.port.hang_up()
            self.live(60)
            self.assertTrue(self.service.status.is_published)
        self.publishes = False
        self.live(STALE_SECONDS + 2 * STALE_GRACE_SECONDS + 60)
        self.publishes = True
        self.live(300)
        self.assertTrue(self.service.status.is_published)
        self.clock.advance(HOUR)
        self.live(300)
        self.assertEqual("reachable", self.state)
        self.bird.be_lost()
        self.live(6 * HOUR)
        restarts = self.service.status.losses
        self.bird.outcome = None
        self.live(HOUR)
        self.assertEqual("reachable", self.state)
        self.assertEqual(1, len(set(self.sent("ADD_ONION"))))
        self.assertLess(restarts, 6 + 2 + 6 * HOUR / 60 / RESTART_AFTER / 2)
        self.assertGreater(min(later - earlier for earlier, later in pairwise(self.begun)), 30)

    def test_a_night_without_a_tor(self) -> None:
        """While there is no tor for a night, it is tried at ever longer intervals, and it is up when there is one."""
        delays = [min(60.0, 1.5**attempt) for attempt in range(40)]
        self.come_up()
        self.port.refuses = True
        self.service._core.retry_delay = lambda attempt: delays[min(attempt, 39)]  # type: ignore[attr-defined]
        self.port.hang_up()
        self.live(8 * HOUR)
        self.assertEqual("waiting", self.state)
        self.assertLess(len(self.said), 8 * HOUR / 60 + 20)
        self.port.refuses = False
        self.live(90)
        self.assertTrue(self.service.status.is_published)
