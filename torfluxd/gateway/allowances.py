"""How much of the gateway one stranger may use: the numbers, with their reasons, and the bucket that counts. Pure.

A stranger is known by his circuit, which is cheap to renew: building one costs him a second, and our tor 2 ms. So what
counts is not only what one circuit may do, but what all new ones may do together; and only a circuit that has been
there for a while without asking for too much may do more.

What a stranger uses is of two kinds. *Work* is counted in requests: what else takes our time, a line that is refused,
counts as a part of one. *Traffic* is counted in bytes.

No honest client meets these limits. On the machine of 2 cores on which we measure, a client with 200 connections, each
with a write of one line in flight, got 2300 writes a second through one circuit of a network on that machine, and tor
spends 0.2 ms on each; one that has a core for itself carries 5000. In the Tor network answers take a third of a second
or more, so the same client comes to 600.
"""

from __future__ import annotations

from typing import Final

from attrs import define, evolve, frozen

__all__ = ["Allowance", "Allowances", "Bucket"]

MIB: Final = 1024 * 1024

NEWCOMER_REQUESTS_PER_SECOND: Final = 2500.0
"""Of a new circuit: more than we ever got through one honestly. It takes a tenth of our time."""

NEWCOMER_BURST_REQUESTS: Final = 5000.0
"""At once, of a new circuit: two seconds' worth."""

NEWCOMER_BYTES_PER_SECOND: Final = 16.0 * MIB
"""Of a new circuit. Circuits of the Tor network carry one to five MiB a second."""

NEWCOMER_BURST_BYTES: Final = 64.0 * MIB
"""At once, of a new circuit: thirty of the largest bodies, which a client has kept through an outage."""

GROWN_FACTOR: Final = 4.0
"""How many times as much a grown circuit may do: twice as much as tor can carry at all, with a core of its own."""

GROWING_SECONDS: Final = 60.0
"""How long a circuit must have been there, without being pressing, to be a grown one. Tor gives a client a
new circuit every ten minutes (`MaxCircuitDirtiness`), and a flood wants to be new more often than that."""

NEWCOMERS_REQUESTS_PER_SECOND: Final = 6000.0
"""Of all new circuits together: more than tor can carry, so that honest ones never wait; a quarter of our time."""

NEWCOMERS_BYTES_PER_SECOND: Final = 64.0 * MIB
"""Of all new circuits together: more than tor decrypts in a second, on one core."""

ALL_REQUESTS_PER_SECOND: Final = 10_000.0
"""Of all grown circuits together: twice what tor can carry, less than half of what we can. Those who wait a minute to
flood us together are held here."""

ALL_BYTES_PER_SECOND: Final = 128.0 * MIB
"""Of all grown circuits together, likewise."""

BURST_SECONDS: Final = 2.0
"""For how long all new circuits, or all grown ones, may do at once what they may do in a second."""

FREE_REQUESTS: Final = 16
"""The first requests of a circuit, which do not count for what all new ones do together; 32 KiB count as one as well.
So whoever brings one report on a circuit of its own (256 KiB at most) never waits for those who flood us. For building
that circuit our tor took 1.9 ms (measured): more than these requests take of us."""

FREE_REQUEST_BYTES: Final = 32 * 1024

ONE_STREAM_BYTES_PER_SECOND: Final = 5.0 * MIB
"""What a circuit may send at least to one worker of many: as much as one of the Tor network carries."""

REFUSED_LINES_PER_REQUEST: Final = 4
"""How many refused lines count as a request. One takes 2 us to find, and often a write of its own to InfluxDB, of
which it may be the only one. A client whose every line is refused, in batches of 1000 every ten seconds as Telegraf's,
is at a fortieth of its allowance."""

BOOKED_REQUESTS: Final = 16
BOOKED_BYTES: Final = 64 * 1024
"""How much may be used before it is booked, because to look at the clock and into four buckets for each small write
would cost five times as much."""

MAX_DEBT_SECONDS: Final = 60.0
"""The longest that anybody is made to wait, whatever he did."""

MIN_WAIT_SECONDS: Final = 0.05
"""The shortest: to wake up for each request again would cost more than to serve it."""

EASE_SECONDS: Final = 5.0
"""Who was neither slowed nor refused for so long is at ease: what he did before does not count against him any more."""

SLOWED_SECONDS: Final = 10.0
"""How long one is only slowed who presses: who sends further requests on a connection without waiting for answers,
which no client of InfluxDB does; or whose lines are refused by the thousands. After that he is refused. Whoever waits
for each answer is slowed, if it comes to that, and never refused."""

REFUSED_SECONDS: Final = 10.0
REFUSALS_BEFORE_CLOSE: Final = 20
"""For how long and how often at least a circuit is refused before it is closed. Each refusal tells when to come back
and ends its connection. A pool of connections is refused once each, at about the same time; a client that tries again
every ten seconds, as Telegraf does whatever it is told, is at ease by then."""


@frozen(kw_only=True)
class Allowance:
    """How much somebody may do.

    :ivar requests_per_second: of work, in the long run.
    :ivar burst_requests: of work at once, after having done nothing.
    :ivar bytes_per_second: of traffic, in the long run.
    :ivar burst_bytes: of traffic at once.
    """

    requests_per_second: float
    burst_requests: float
    bytes_per_second: float
    burst_bytes: float

    def times(self, factor: float) -> Allowance:
        """So many times as much, of everything."""
        return Allowance(
            requests_per_second=self.requests_per_second * factor,
            burst_requests=self.burst_requests * factor,
            bytes_per_second=self.bytes_per_second * factor,
            burst_bytes=self.burst_bytes * factor,
        )


def _together(requests_per_second: float, bytes_per_second: float) -> Allowance:
    return Allowance(
        requests_per_second=requests_per_second,
        burst_requests=requests_per_second * BURST_SECONDS,
        bytes_per_second=bytes_per_second,
        burst_bytes=bytes_per_second * BURST_SECONDS,
    )


_NEWCOMER: Final = Allowance(
    requests_per_second=NEWCOMER_REQUESTS_PER_SECOND,
    burst_requests=NEWCOMER_BURST_REQUESTS,
    bytes_per_second=NEWCOMER_BYTES_PER_SECOND,
    burst_bytes=NEWCOMER_BURST_BYTES,
)
_GROWN: Final = _NEWCOMER.times(GROWN_FACTOR)
_NEWCOMERS_TOGETHER: Final = _together(NEWCOMERS_REQUESTS_PER_SECOND, NEWCOMERS_BYTES_PER_SECOND)
_GROWN_TOGETHER: Final = _together(ALL_REQUESTS_PER_SECOND, ALL_BYTES_PER_SECOND)


@frozen(kw_only=True)
class Allowances:
    """The allowances of one :class:`~torfluxd.gateway.limiter.Limiter`.

    :ivar newcomer: of a new circuit.
    :ivar grown: of a grown one.
    :ivar newcomers_together: of all new circuits together, but for what each may do freely at first.
    :ivar grown_together: of all grown ones together.
    :ivar growing_seconds: how long a circuit is new, if it is not slowed.
    :ivar slowed_seconds: how long one is only slowed.
    :ivar refused_seconds: how long one is only refused.
    :ivar refusals_before_close: how often, at least.
    """

    newcomer: Allowance = _NEWCOMER
    grown: Allowance = _GROWN
    newcomers_together: Allowance = _NEWCOMERS_TOGETHER
    grown_together: Allowance = _GROWN_TOGETHER
    growing_seconds: float = GROWING_SECONDS
    slowed_seconds: float = SLOWED_SECONDS
    refused_seconds: float = REFUSED_SECONDS
    refusals_before_close: int = REFUSALS_BEFORE_CLOSE

    def divided(self, workers: int) -> Allowances:
        """What each of so many workers gives, so that all of them together give this: tor spreads the streams of each
        circuit over them by chance.

        Only of bytes each gives a circuit not less than `ONE_STREAM_BYTES_PER_SECOND`, because a long body is one
        stream, and meets one worker.
        """
        if workers == 1:
            return self
        share = 1 / workers
        return evolve(
            self,
            newcomer=_of_one_worker(self.newcomer.times(share)),
            grown=_of_one_worker(self.grown.times(share)),
            newcomers_together=self.newcomers_together.times(share),
            grown_together=self.grown_together.times(share),
        )


def _of_one_worker(allowance: Allowance) -> Allowance:
    return evolve(allowance, bytes_per_second=max(allowance.bytes_per_second, ONE_STREAM_BYTES_PER_SECOND))


@define
class Bucket:
    """A token bucket for one kind of thing, kept as one number: the time at which what was taken is made up for.

    :ivar due: when that is, in the clock's seconds. As long as it lies ahead, nothing more should be taken.
    """

    due: float = float("-inf")

    def take(self, amount: float, per_second: float, burst: float, now: float) -> float:
        """Take something, whether it is there or not.

        :param amount: how much.
        :param per_second: how much flows in.
        :param burst: how much it holds when it is full.
        :returns: :attr:`due`.
        """
        earliest = now - burst / per_second
        due = self.due if self.due > earliest else earliest
        due += amount / per_second
        latest = now + MAX_DEBT_SECONDS
        self.due = due = due if due < latest else latest
        return due
