"""Fairness between circuits: who asks for too much waits, is refused, is closed; and nobody else notices."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import PING, Routes, Stranger, request
from torfluxd.gateway.allowances import (
    EASE_SECONDS,
    MIN_WAIT_SECONDS,
    REFUSED_LINES_PER_REQUEST,
    Allowance,
    Allowances,
)
from torfluxd.gateway.front import Bounds, Front
from torfluxd.gateway.limiter import CLOSES_AT_ONCE, FORGET_SECONDS, MAX_SHARES, Limiter

CIRCUIT = 0x1C
OTHER = 0x1D

SMALL = Allowance(requests_per_second=100, burst_requests=100, bytes_per_second=1e6, burst_bytes=2e6)
LARGE = SMALL.times(1000)
ALLOWANCES = Allowances(
    newcomer=SMALL,
    grown=SMALL.times(4),
    newcomers_together=LARGE,
    grown_together=LARGE,
    growing_seconds=60,
    slowed_seconds=10,
    refused_seconds=10,
    refusals_before_close=20,
)
"""Small numbers, so that they are met within a test."""

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class LimiterCase(SynchronousTestCase):
    """A door with a limiter."""

    def setUp(self) -> None:
        """Open it."""
        self.open_door(ALLOWANCES)

    def open_door(self, allowances: Allowances, **bounds: float) -> None:
        """Open it with these allowances."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.site = Routes(limit_bytes=10_000_000)
        self.front = Front(self.site, Bounds(**bounds), self.clock)  # type: ignore[arg-type]  # the test's own numbers
        self.closed: list[int] = []
        self.limiter = Limiter(self.clock, allowances, self.closed.append)

    def connect(self, circuit: int | None = CIRCUIT) -> Stranger:
        """A stranger who comes through this circuit, or through one that we do not know."""
        share = self.limiter.of_connection() if circuit is None else self.limiter.of_circuit(circuit)
        return Stranger(self.front, self.front.build_limited(share))

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of a twentieth of a second, as it does."""
        self.clock.pump([0.05] * round(seconds * 20))

    def flood(self, circuit: int | None = CIRCUIT) -> Stranger:
        """A stranger who has used up what he may do at once, and waits."""
        stranger = self.connect(circuit)
        for _ in range(5):
            stranger.send(PING * 31)
        stranger.received()
        self.assertTrue(stranger.paused)
        return stranger

    def flood_until_refused(self) -> None:
        """Flood until the first refusals."""
        for _ in range(200):
            if self.limiter.refused:
                return
            self.keep_flooding(0.25)
        self.fail("nobody was refused")

    def keep_flooding(self, seconds: float, circuit: int = CIRCUIT) -> list[int]:
        """Send as much as is taken, for so long, with new connections for those that are closed; what came back."""
        statuses: list[int] = []
        stranger = self.connect(circuit)
        for _ in range(round(seconds * 20)):
            if stranger.closed or stranger.aborted:
                stranger.leave()
                stranger = self.connect(circuit)
            if not stranger.paused and not stranger.aborted:
                stranger.send(PING * 40)
            self.clock.advance(0.05)
            statuses += stranger.statuses()
        stranger.leave()
        return statuses


class SlowedTests(LimiterCase):
    """Who asks for too much waits."""

    def test_a_burst_is_served_at_once(self) -> None:
        """What a circuit may do at once is served at once."""
        stranger = self.connect()
        for _ in range(3):
            stranger.send(PING * 30)
        self.assertEqual([200] * 90, stranger.statuses())
        self.assertFalse(stranger.paused)
        self.assertEqual(0, self.limiter.slowed)

    def test_no_more_is_read_until_it_is_made_up_for(self) -> None:
        """Over its allowance a circuit is not read from, and what it sent is served in the end, all of it."""
        stranger = self.flood()
        self.assertEqual([], stranger.statuses())
        self.pass_time(3)
        self.assertEqual([200] * 31, stranger.statuses())
        self.assertFalse(stranger.paused)

    def test_in_the_long_run_it_has_its_rate(self) -> None:
        """Who always asks for more has his burst, and then his rate, with never a refusal before ten seconds."""
        statuses = self.keep_flooding(9)
        self.assertEqual({200}, set(statuses))
        self.assertLessEqual(abs(100 + 9 * 100 - len(statuses)), 40)

    def test_nobody_else_notices(self) -> None:
        """While one circuit waits, another one is served at once."""
        self.flood()
        honest = self.connect(OTHER)
        honest.send(PING)
        self.assertEqual([200], honest.statuses())

    def test_more_connections_are_not_more(self) -> None:
        """All connections of a circuit wait together, new ones too, and have their turns as they came."""
        first = self.flood()
        others = [self.connect() for _ in range(3)]
        for other in others:
            other.send(PING)
        self.assertEqual([[]] * 3, [other.statuses() for other in others])
        self.pass_time(3)
        self.assertEqual([[200]] * 3, [other.statuses() for other in others])
        self.assertEqual([200] * 31, first.statuses())

    def test_traffic_is_slowed(self) -> None:
        """Large bodies are slowed as small requests are, in the middle of a body as well."""
        stranger = self.connect()
        stranger.send(request(b"x" * 3_000_000)[:-1_000_000])
        stranger.send(b"x" * 500_000)
        self.assertTrue(stranger.paused)
        self.pass_time(2)
        self.assertFalse(stranger.paused)
        stranger.send(b"x" * 500_000)
        self.pass_time(2)
        self.assertEqual([204], stranger.statuses())

    def test_traffic_is_never_refused(self) -> None:
        """Who sends bulk as fast as he is let is slowed for as long as he does, and hears no refusal: that is how an
        honest client empties its store.
        """
        stranger = self.connect()
        statuses = []
        for _ in range(60):
            while not stranger.paused:
                stranger.send(request(b"x" * 900_000))
            self.pass_time(1)
            statuses += stranger.statuses()
        self.assertEqual({204}, set(statuses))
        self.assertGreater(len(statuses), 50)

    def test_no_deadline_comes_nearer_meanwhile(self) -> None:
        """Who waits because we do not read from him is not told that he was too slow."""
        self.flood()
        late = self.connect()
        late.send(PING[:10])
        self.limiter.of_circuit(CIRCUIT).spend(0, 27_000_000)
        self.pass_time(25)
        self.assertEqual([], late.statuses())
        self.pass_time(10)
        late.send(PING[10:])
        self.assertEqual([200], late.statuses())

    def test_a_deadline_goes_on_afterwards(self) -> None:
        """Who waited has what was left of his time, and no more."""
        self.flood()
        late = self.connect()
        late.send(PING[:10])
        self.pass_time(3)
        self.assertFalse(late.paused)
        self.pass_time(11)
        self.assertEqual([408], late.statuses())

    def test_refused_lines_count(self) -> None:
        """Lines that are refused are work for us, and cost who sent them his allowance."""
        share = self.limiter.of_circuit(CIRCUIT)
        stranger = self.connect()
        share.spend_refused(150 * REFUSED_LINES_PER_REQUEST)
        self.assertTrue(share.waits)
        stranger.send(PING)
        self.assertEqual([], stranger.statuses())

    def test_without_a_circuit_each_connection_stands_for_itself(self) -> None:
        """At a tor that does not tell circuits apart a connection is slowed alone."""
        self.flood(None)
        other = self.connect(None)
        other.send(PING)
        self.assertEqual([200], other.statuses())

    def test_the_operators_own_door_is_not_limited(self) -> None:
        """Who comes in by `--listen` is served as fast as he can send."""
        stranger = Stranger(self.front)
        for _ in range(100):
            stranger.send(PING * 30)
        self.assertEqual([200] * 3000, stranger.statuses())

    def test_to_wait_costs_no_more_than_twenty_looks_a_second(self) -> None:
        """Who owes a hundredth of a second waits for a twentieth: waking for each request would cost more than it."""
        stranger = self.connect()
        stranger.send(request(b"x" * 2_000_001))
        stranger.send(PING)
        self.assertTrue(stranger.paused)
        self.assertGreaterEqual(min(call.getTime() for call in self.clock.getDelayedCalls()), 1000 + MIN_WAIT_SECONDS)


class ClosedTests(LimiterCase):
    """Who goes on is refused, and in the end his circuit is closed."""

    def test_refused_after_ten_seconds(self) -> None:
        """Who is slowed for more than ten seconds and goes on hears that he shall come back later, and is closed."""
        self.keep_flooding(10)
        stranger = self.connect()
        while not stranger.closed:
            if not stranger.paused:
                stranger.send(PING * 40)
            self.clock.advance(0.05)
        self.assertTrue(stranger.received().endswith(BUSY))
        self.assertLess(self.clock.seconds(), 1000 + 13)
        self.assertEqual([], self.closed)

    def test_closed_in_the_end(self) -> None:
        """Who goes on after refusals has his circuit closed, with all its connections."""
        idle = self.connect()
        idle.send(PING)
        self.keep_flooding(20)
        self.assertEqual([], self.closed)
        self.keep_flooding(4)
        self.assertEqual({CIRCUIT}, set(self.closed))
        self.assertTrue(idle.aborted)

    def test_what_still_comes_through_it_is_cut_off(self) -> None:
        """A closed circuit stays closed, also when tor has not heard of it; tor is asked again, now and then."""
        self.keep_flooding(25)
        for _ in range(20):
            stranger = self.connect()
            self.assertTrue(stranger.aborted)
            stranger.leave()
            self.clock.advance(1)
        self.assertEqual({CIRCUIT}, set(self.closed))
        self.assertLessEqual(len(self.closed), 6)

    def test_who_backs_off_is_served(self) -> None:
        """Who was refused and comes back later, as he was told, is served as if nothing had been."""
        self.flood_until_refused()
        self.assertTrue(self.limiter.of_circuit(CIRCUIT).refuses)
        self.pass_time(30)
        stranger = self.connect()
        for _ in range(20):
            stranger.send(PING)
            self.clock.advance(1)
        self.assertEqual([200] * 20, stranger.statuses())
        self.assertEqual([], self.closed)

    def test_who_comes_back_slowly_goes_on(self) -> None:
        """Who is refused and tries again several times a second, as fast as he gets new streams, is closed too."""
        self.flood_until_refused()
        for _ in range(30):
            stranger = self.connect()
            stranger.send(PING)
            self.clock.advance(0.5)
            self.assertEqual([], [status for status in stranger.statuses() if status != 503])
            stranger.leave()
        self.assertEqual({CIRCUIT}, set(self.closed))

    def test_a_pool_that_waits_for_answers_is_never_refused(self) -> None:
        """A hundred connections, each of which sends its next write when it has the answer to the last, are slowed for
        as long as they want too much, and not refused.
        """
        pool = [self.connect() for _ in range(100)]
        statuses = []
        for _ in range(40 * 20):
            for stranger in pool:
                if not stranger.paused:
                    stranger.send(PING)
            self.clock.advance(0.05)
            statuses += [status for stranger in pool for status in stranger.statuses()]
        self.assertEqual({200}, set(statuses))
        self.assertGreater(self.limiter.slowed, 100)

    def test_who_does_not_wait_for_answers_is_refused(self) -> None:
        """Who sends two writes at a time, the second before the first is answered, presses as well."""
        stranger = self.connect()
        for _ in range(60 * 200):
            if stranger.closed:
                break
            if not stranger.paused:
                stranger.send(request(b"x", target=b"/later") * 2)
            if self.site.pending:
                self.site.answer_next()
            self.clock.advance(0.005)
        self.assertTrue(stranger.received().endswith(BUSY))

    def test_a_flood_of_bad_lines_is_refused(self) -> None:
        """Who sends bad lines by the thousands is refused, although he waits for each answer."""
        stranger = self.connect()
        for _ in range(60 * 20):
            if stranger.closed:
                break
            if not stranger.paused:
                stranger.send(request(b"x"))
                self.limiter.of_circuit(CIRCUIT).spend_refused(1000)
            self.clock.advance(0.05)
        self.assertTrue(stranger.received().endswith(BUSY))

    def test_who_is_slowed_now_and_then_is_not_refused(self) -> None:
        """Bursts beyond the allowance, with pauses between them, are slowed for ever and never refused."""
        stranger = self.connect()
        for _ in range(20):
            for _ in range(4):
                stranger.send(PING * 40)
            self.pass_time(EASE_SECONDS + 4)
        self.assertEqual({200}, set(stranger.statuses()))
        self.assertGreaterEqual(self.limiter.slowed, 20)

    def test_tor_is_not_flooded_with_commands(self) -> None:
        """However many circuits are to be closed at once, tor hears of so many a second, and no more."""
        shares = [self.limiter.of_circuit(circuit) for circuit in range(1000)]
        for share in shares:
            self.limiter.close(share)
        self.assertLessEqual(len(self.closed), CLOSES_AT_ONCE + 1)
        self.clock.advance(1)
        for share in shares:
            self.limiter.close(share)
        self.assertLessEqual(len(self.closed), CLOSES_AT_ONCE + 12)

    def test_a_connection_without_a_circuit_is_closed(self) -> None:
        """Where no circuit is known the connection is closed, and nothing is asked of tor."""
        stranger = self.flood(None)
        for _ in range(600):
            if not stranger.paused and not stranger.closed:
                stranger.send(PING * 40)
            self.clock.advance(0.05)
        self.assertTrue(stranger.closed)
        self.assertEqual([], self.closed)


class NewcomersTests(LimiterCase):
    """A circuit is cheap to renew: new ones share an allowance."""

    def setUp(self) -> None:
        """Open a door at which all new circuits together have little."""
        self.open_door(evolve(ALLOWANCES, newcomers_together=SMALL))

    def exhaust(self, circuits: int) -> list[Stranger]:
        """So many circuits that each do what they may."""
        flooders = [self.connect(0x100 + number) for number in range(circuits)]
        for flooder in flooders:
            flooder.send(PING * 30)
            flooder.send(PING * 30)
            flooder.send(PING * 30)
        return flooders

    def test_together_they_have_no_more(self) -> None:
        """However many new circuits one has, beyond the free beginnings they are slowed as one."""
        flooders = self.exhaust(20)
        at_once = sum(len(flooder.statuses()) for flooder in flooders)
        self.assertLess(at_once, 100 + 20 * (30 + 30))  # to each its free beginning, and the turn in which that ends
        self.pass_time(3)
        later = sum(len(flooder.statuses()) for flooder in flooders)
        self.assertLess(later, 3 * 100 + 31)

    def test_a_single_report_never_waits(self) -> None:
        """Who comes with a report on a fresh circuit is served at once, whatever all other new circuits do."""
        self.exhaust(20)
        for circuit in range(200):
            reporter = self.connect(0x1000 + circuit)
            reporter.send(request(b"x" * 256 * 1024))
            self.assertEqual([204], reporter.statuses())
            reporter.leave()

    def test_they_take_turns(self) -> None:
        """A new circuit that asks for little waits its turn, and is not starved by those that ask for much."""
        flooders = self.exhaust(20)
        honest = self.connect(OTHER)
        statuses = []
        for _ in range(40):
            if not honest.paused:
                honest.send(PING)
            for flooder in flooders:
                if not flooder.paused and not flooder.closed:
                    flooder.send(PING * 4)
            self.pass_time(3)
            statuses += honest.statuses()
        self.assertGreater(len(statuses), 16 + 5)
        self.assertEqual({200}, set(statuses))

    def test_grown_ones_are_not_slowed_with_them(self) -> None:
        """A circuit that has been there for a minute is served at once, whatever new ones do."""
        grown = self.connect(OTHER)
        for _ in range(61):
            grown.send(PING)
            self.clock.advance(1)
        grown.received()
        self.exhaust(20)
        for _ in range(10):
            grown.send(PING * 30)
        self.assertEqual([200] * 300, grown.statuses())
        self.assertFalse(grown.paused)


class GrownTests(LimiterCase):
    """A circuit that behaves may do more after a while."""

    def burst(self, stranger: Stranger) -> int:
        """How many requests are served at once."""
        for _ in range(20):
            stranger.send(PING * 30)
        return len(stranger.statuses())

    def test_it_grows(self) -> None:
        """After a minute without being slowed a circuit may do four times as much."""
        stranger = self.connect()
        for _ in range(61):
            stranger.send(PING)
            self.clock.advance(1)
        stranger.received()
        self.assertGreater(self.burst(stranger), 350)

    def test_it_does_not_grow_while_it_is_slowed(self) -> None:
        """Who presses now and then stays as new as he was."""
        stranger = self.connect()
        for _ in range(20):
            for _ in range(4):
                stranger.send(PING * 40)
            self.pass_time(EASE_SECONDS + 4)
        stranger.received()
        self.assertLess(self.burst(stranger), 150)


class ForgottenTests(LimiterCase):
    """What is known of circuits, where, and for how long."""

    def test_forgotten_a_minute_after_its_last_connection(self) -> None:
        """A circuit is forgotten a minute after its last connection, and not before."""
        first, second = self.connect(), self.connect()
        first.leave()
        self.pass_time(2 * FORGET_SECONDS)
        self.assertEqual(1, len(self.limiter))
        second.leave()
        self.pass_time(FORGET_SECONDS - 1)
        self.assertEqual(1, len(self.limiter))
        self.pass_time(1.1)
        self.assertEqual(0, len(self.limiter))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_leaving_is_no_way_out(self) -> None:
        """Who leaves and comes back through the same circuit still waits."""
        self.flood().leave()
        stranger = self.connect()
        stranger.send(PING)
        self.assertEqual([], stranger.statuses())
        self.pass_time(3)
        self.assertEqual([200], stranger.statuses())

    def test_bounded(self) -> None:
        """However many circuits come and go, so many are remembered, and no more."""
        for circuit in range(MAX_SHARES + 100):
            self.connect(circuit).leave()
        self.assertLessEqual(len(self.limiter), MAX_SHARES + 1)

    def test_counted_while_it_has_a_connection(self) -> None:
        """An operator sees how many circuits have a connection, and how many there ever were, not which."""
        stranger = self.connect()
        self.connect()
        self.connect(OTHER)
        self.assertEqual((2, 2), (self.limiter.connected, self.limiter.met))
        stranger.leave()
        self.assertEqual(2, self.limiter.connected)
        self.limiter.forget()
        self.assertEqual((0, 2), (self.limiter.connected, self.limiter.met))

    def test_another_tor_counts_anew(self) -> None:
        """When tor was started again its numbers mean other circuits: nobody pays for another's flood."""
        self.flood()
        self.limiter.forget()
        stranger = self.connect()
        stranger.send(PING)
        self.assertEqual([200], stranger.statuses())

    def test_nobody_sees_its_id(self) -> None:
        """No log, no `repr` and no writer that the site is told of shows which circuit it is."""
        secret = 3_735_928_559
        with capturedLogs() as events:
            self.keep_flooding(30, secret)
            self.connect(secret).send(request(b"x"))
        share = self.limiter.of_circuit(secret)
        self.assertEqual([secret], self.closed[:1])
        seen = [repr(share), str(share), repr(self.limiter), repr(self.site.writers)]
        seen += [formatEvent(event) + json.dumps(event, default=repr) for event in events]
        self.assertTrue(events)
        for text in seen:
            self.assertNotIn(str(secret), text)
            self.assertNotIn(f"{secret:x}", text.lower())

    def test_a_writer_is_its_circuit(self) -> None:
        """The site knows two connections of one circuit for one writer, and those of two circuits for two."""
        for circuit in (CIRCUIT, CIRCUIT, OTHER):
            self.connect(circuit).send(request(b"x"))
        first, second, third = self.site.writers
        self.assertEqual(first, second)
        self.assertNotEqual(first, third)


class GoneTests(LimiterCase):
    """Strangers who leave while they wait."""

    def test_who_left_has_no_turn(self) -> None:
        """Who leaves while he waits is not served, and those behind him are."""
        first = self.flood()
        second = self.connect()
        second.send(PING)
        first.leave()
        self.pass_time(3)
        self.assertEqual([], first.statuses())
        self.assertEqual([200], second.statuses())

    def test_an_answer_comes_while_it_waits(self) -> None:
        """Who waits for an answer of the site has it, also when his next request has to wait for its turn."""
        stranger = self.connect()
        stranger.send(request(b"x", target=b"/later"))
        self.limiter.of_circuit(CIRCUIT).spend(200, 0)
        stranger.send(PING)
        self.site.answer_next()
        self.assertEqual([204], stranger.statuses())
        self.pass_time(3)
        self.assertEqual([200], stranger.statuses())

    def test_the_door_closes_while_they_wait(self) -> None:
        """When the gateway goes down, who waits for his turn is not waited for."""
        self.flood()
        gone: Deferred[None] = self.front.drain(0)
        self.clock.advance(0)
        self.assertEqual(0, sum(not call.active() for call in self.clock.getDelayedCalls()))
        self.assertFalse(gone.called)  # it fires when the socket says that it is gone


class RefusalTests(LimiterCase):
    """What who goes on hears."""

    def test_the_refusal_is_a_constant(self) -> None:
        """Every refusal for going on is the same, byte for byte, whatever was asked."""
        self.flood_until_refused()
        heard = set()
        for asked in (PING, request(b"x"), request(b"x" * 1000), request(method=b"DELETE", target=b"/x")):
            stranger = self.connect()
            stranger.send(asked)
            self.pass_time(1)
            heard.add(stranger.received())
        self.assertEqual({BUSY}, heard)
