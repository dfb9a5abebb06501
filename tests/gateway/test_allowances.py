"""The numbers that fairness hangs on, and the bucket that counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.allowances import (
    EASE_SECONDS,
    FREE_REQUEST_BYTES,
    FREE_REQUESTS,
    MAX_DEBT_SECONDS,
    ONE_STREAM_BYTES_PER_SECOND,
    Allowances,
    Bucket,
)
from torfluxd.gateway.limiter import FORGET_SECONDS
from torfluxd.gateway.rules import MAX_BODY_BYTES
from torfluxd.gateway.suspects import SUSPECT_SECONDS
from torfluxd.onion.torrc import MAX_STREAMS_PER_CIRCUIT
from torfluxd.reporter.reporter import MAX_REPORT_BYTES

WRITES_OF_A_CIRCUIT_PER_SECOND = 2300
"""What a client with 200 connections got through one circuit, on the machine on which we measure."""

WRITES_OF_A_CORE_OF_TOR_PER_SECOND = 5000
"""What tor could carry if it had a core for itself: 0.2 ms each."""


class BucketTests(SynchronousTestCase):
    """A token bucket in one number."""

    def test_a_full_bucket_gives_its_burst(self) -> None:
        """Whoever did nothing has the whole burst at once, and is in debt with the next."""
        bucket = Bucket()
        self.assertLessEqual(bucket.take(20, 10, 20, 1000.0), 1000.0)
        self.assertEqual(bucket.take(1, 10, 20, 1000.0), 1000.1)

    def test_nobody_waits_for_ever(self) -> None:
        """However much is taken, it is made up for within a minute."""
        self.assertEqual(Bucket().take(1e12, 10, 20, 1000.0), 1000.0 + MAX_DEBT_SECONDS)

    @given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=50))
    def test_no_more_flows_out_than_in(self, steps: list[tuple[float, float]]) -> None:
        """Who takes only when he is not in debt never has more than the burst, what flowed in, and the last piece."""
        bucket, now, taken = Bucket(), 0.0, 0.0
        for wait, amount in steps:
            now += wait
            if bucket.due <= now:
                taken += amount
                bucket.take(amount, 2.0, 8.0, now)
                self.assertLessEqual(taken, 8.0 + 2.0 * now + amount + 1e-6)


class NumbersTests(SynchronousTestCase):
    """What the default allowances leave to honest clients."""

    def setUp(self) -> None:
        """Take the defaults."""
        self.allowances = Allowances()

    def test_one_circuit_can_have_all_that_tor_carries(self) -> None:
        """A new circuit may do what one ever carried; a grown one, and all together, more than a tor can carry."""
        allowances = self.allowances
        self.assertGreaterEqual(allowances.newcomer.requests_per_second, WRITES_OF_A_CIRCUIT_PER_SECOND)
        for allowance in (allowances.grown, allowances.newcomers_together, allowances.grown_together):
            self.assertGreaterEqual(allowance.requests_per_second, WRITES_OF_A_CORE_OF_TOR_PER_SECOND)

    def test_a_pool_of_connections_can_begin(self) -> None:
        """A client that opens all the streams that tor allows, each with the largest body, stays within one burst's
        minute; one with a pool of thirty does not even notice.
        """
        newcomer = self.allowances.newcomer
        self.assertLessEqual(2 * MAX_STREAMS_PER_CIRCUIT, newcomer.burst_requests)
        self.assertLessEqual(30 * MAX_BODY_BYTES, newcomer.burst_bytes)

    def test_a_report_is_free(self) -> None:
        """The largest report on a circuit of its own never counts for what all new circuits do together."""
        self.assertLessEqual(1 + MAX_REPORT_BYTES / FREE_REQUEST_BYTES, FREE_REQUESTS)

    def test_what_is_remembered_belongs_together(self) -> None:
        """A circuit is remembered as long as it may owe anything, and as long as it may be a suspect."""
        self.assertGreaterEqual(FORGET_SECONDS, MAX_DEBT_SECONDS)
        self.assertGreaterEqual(FORGET_SECONDS, SUSPECT_SECONDS)

    def test_who_tries_again_every_ten_seconds_is_never_closed(self) -> None:
        """A client that tries again whenever it flushes, every ten seconds, is at ease each time."""
        self.assertLess(EASE_SECONDS, 10)


class WorkersTests(SynchronousTestCase):
    """What each of several workers gives."""

    def test_together_they_give_no_more_than_one(self) -> None:
        """Strangers gain nothing from workers: what all may do together, and a circuit's requests, are divided."""
        whole = Allowances()
        for workers in (2, 4, 16):
            part = whole.divided(workers)
            for name in ("newcomers_together", "grown_together"):
                self.assertEqual(getattr(part, name).times(workers), getattr(whole, name))
            for name in ("newcomer", "grown"):
                divided, allowance = getattr(part, name), getattr(whole, name)
                self.assertEqual(divided.requests_per_second * workers, allowance.requests_per_second)
                self.assertEqual(divided.burst_requests * workers, allowance.burst_requests)

    def test_a_long_body_is_not_slowed(self) -> None:
        """A long body, which meets one worker, is not slowed below what a circuit of the Tor network carries."""
        self.assertEqual(Allowances().divided(16).newcomer.bytes_per_second, ONE_STREAM_BYTES_PER_SECOND)

    def test_one_worker_is_a_gateway(self) -> None:
        """With one worker nothing is divided."""
        self.assertEqual(Allowances().divided(1), Allowances())
