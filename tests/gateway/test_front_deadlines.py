"""The door's deadlines: no dripping, silence or deafness holds a connection for ever."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.strangers import PING, Routes, Stranger, chunked, door, request
from torfluxd.gateway.bounds import (
    BODY_BYTES_PER_SECOND,
    BODY_GRACE_SECONDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    LINGER_SECONDS,
    REQUEST_SECONDS,
    WRITE_SECONDS,
)
from torfluxd.gateway.front import SWEEP_SECONDS

TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class DeadlineTests(SynchronousTestCase):
    """Each deadline is kept, at most one sweep late and never early."""

    def setUp(self) -> None:
        """Open the door."""
        self.front, self.site, self.clock = door()
        self.stranger = Stranger(self.front)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in steps of a quarter second, as it does."""
        self.clock.pump([0.25] * int(seconds * 4))

    def check_deadline(self, seconds: float) -> None:
        """The connection is open for so long, and closed one sweep later."""
        self.pass_time(seconds - 0.25)
        self.assertFalse(self.stranger.closed)
        self.pass_time(SWEEP_SECONDS + 0.25)
        self.assertTrue(self.stranger.closed)

    def drip(self, data: bytes, seconds: float) -> None:
        """Send a byte every quarter of a second, for so long; what is left of it does not matter."""
        for at in range(int(seconds * 4)):
            self.stranger.send(data[at : at + 1])
            self.clock.advance(0.25)

    def test_silent(self) -> None:
        """Who connects and says nothing is closed, without a word."""
        self.check_deadline(HEAD_SECONDS)
        self.assertEqual(self.stranger.received(), b"")
        self.assertEqual(self.front.refused, {})

    def test_dripping_head(self) -> None:
        """Who drips his head byte by byte has no more time than others, counted from his connecting."""
        self.pass_time(2)
        self.drip(b"GET /" + b"x" * 1000, HEAD_SECONDS - 2.25)
        self.assertFalse(self.stranger.closed)
        self.drip(b"x" * 1000, SWEEP_SECONDS + 0.25)
        self.assertEqual(self.stranger.received(), TIMED_OUT)
        self.assertTrue(self.stranger.closed)
        self.assertEqual(self.front.refused, {408: 1})

    def test_dripping_later_head(self) -> None:
        """A later head has the same time, from its first byte on."""
        self.stranger.send(PING)
        self.stranger.received()
        self.pass_time(IDLE_SECONDS - 5)
        self.drip(b"GET /" + b"x" * 1000, HEAD_SECONDS - 0.25)
        self.assertFalse(self.stranger.closed)
        self.drip(b"x" * 1000, SWEEP_SECONDS + 0.25)
        self.assertEqual(self.stranger.received(), TIMED_OUT)

    def test_head_behind_an_answer(self) -> None:
        """The beginning of a head that came with the request before it has its own time."""
        self.stranger.send(request(b"x", target=b"/later") + b"GET /pi")
        self.pass_time(1000)
        self.site.answer_next()
        self.stranger.received()
        self.check_deadline(HEAD_SECONDS)
        self.assertEqual(self.stranger.received(), TIMED_OUT)

    def test_idle(self) -> None:
        """Between requests a connection is kept for the idle time, then closed without a word."""
        self.pass_time(0.25)
        self.stranger.send(PING)
        self.stranger.received()
        self.check_deadline(IDLE_SECONDS)
        self.assertEqual(self.stranger.received(), b"")

    def test_used(self) -> None:
        """A connection in use is never closed."""
        for _ in range(5):
            self.stranger.send(PING)
            self.pass_time(IDLE_SECONDS - 1)
        self.assertEqual(self.stranger.statuses(), [200] * 5)
        self.assertFalse(self.stranger.closed)

    def test_dripping_body(self) -> None:
        """Who drips his body has a grace and the second that his few bytes have earned, and no more."""
        self.stranger.send(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        self.drip(b"x" * 1000, BODY_GRACE_SECONDS - 0.25)
        self.assertFalse(self.stranger.closed)
        self.drip(b"x" * 1000, SWEEP_SECONDS + 0.25)
        self.assertEqual(self.stranger.received(), TIMED_OUT)
        self.assertEqual(self.site.bodies, [])

    def test_slow_body(self) -> None:
        """Who sends his body slowly, but at the minimum rate, has the total time of a request, and no more."""
        front, site, self.clock = door(Routes(limit_bytes=1_000_000))
        self.stranger = Stranger(front)
        self.stranger.send(b"POST /write HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(int(REQUEST_SECONDS * 4) - 1):
            self.stranger.send(b"x" * int(BODY_BYTES_PER_SECOND / 4))
            self.clock.advance(0.25)
        self.assertFalse(self.stranger.closed)
        self.pass_time(SWEEP_SECONDS + 0.25)
        self.assertEqual(self.stranger.received(), TIMED_OUT)
        self.assertEqual(site.bodies, [])

    def test_dripping_chunks(self) -> None:
        """The same is true for a chunked one."""
        self.stranger.send(chunked()[:-5] + b"fff\r\n")
        self.drip(b"x" * 1000, BODY_GRACE_SECONDS - 0.25)
        self.assertFalse(self.stranger.closed)
        self.drip(b"x" * 1000, SWEEP_SECONDS + 0.25)
        self.assertEqual(self.stranger.received(), TIMED_OUT)

    def test_slow_site(self) -> None:
        """While the site works on an answer nobody is closed: that is not the stranger's fault."""
        self.stranger.send(request(b"x", target=b"/later"))
        self.pass_time(3600)
        self.site.answer_next()
        self.assertEqual(self.stranger.statuses(), [204])
        self.check_deadline(IDLE_SECONDS)

    def test_deaf(self) -> None:
        """Who leaves his answers unread is cut off, and the rest of his requests is dropped."""
        self.stranger.send(PING)
        self.stranger.transport.producer.pauseProducing()
        self.stranger.send(PING)
        self.check_deadline(WRITE_SECONDS)
        self.assertTrue(self.stranger.aborted)
        self.assertEqual(len(self.site.heads), 1)

    def test_hard_of_hearing(self) -> None:
        """Who reads his answers late is served on, and has his idle time from then on."""
        self.stranger.send(PING)
        self.stranger.transport.producer.pauseProducing()
        self.pass_time(WRITE_SECONDS - 1)
        self.stranger.transport.producer.resumeProducing()
        self.check_deadline(IDLE_SECONDS)
        self.assertFalse(self.stranger.aborted)

    def test_lingering(self) -> None:
        """Who does not close after his last answer is cut off, though he goes on sending."""
        self.stranger.send(PING)
        self.pass_time(30)
        self.stranger.send(b"nonsense\r\n\r\n")
        self.assertTrue(self.stranger.closed)
        self.drip(b"x" * 1000, LINGER_SECONDS - 0.25)
        self.assertFalse(self.stranger.aborted)
        self.drip(b"x" * 1000, SWEEP_SECONDS + 0.25)
        self.assertTrue(self.stranger.aborted)

    def test_lingering_after_silence(self) -> None:
        """The same is true for who was closed because he was idle."""
        self.check_deadline(HEAD_SECONDS)
        self.pass_time(LINGER_SECONDS + SWEEP_SECONDS)
        self.assertTrue(self.stranger.aborted)

    def test_many(self) -> None:
        """Thousands of half-open connections are all closed at their deadline."""
        strangers = [Stranger(self.front) for _ in range(5000)]
        for stranger in strangers:
            stranger.send(b"GET / HTTP/1.1\r\nX: ")
        self.pass_time(HEAD_SECONDS + SWEEP_SECONDS)
        self.assertEqual({stranger.received() for stranger in strangers}, {TIMED_OUT})

    def test_no_timer_without_connections(self) -> None:
        """A door where nobody stands keeps no timer running, so that a process can end."""
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.stranger.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_timer_for_each_request(self) -> None:
        """However many connections and requests there are, one timer is enough."""
        timers = self.clock.getDelayedCalls()
        for _ in range(100):
            self.stranger.send(PING + request(b"x"))
            Stranger(self.front).send(PING)
            self.assertEqual(self.clock.getDelayedCalls(), timers)
