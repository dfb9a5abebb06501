"""Fairness between strangers: whoever asks for more than his share waits, and costs nobody else anything.

Each circuit has a :class:`Share`, which all its connections use. Where we do not know the circuit (see `circuits`),
each connection has its own. What a share is used for is counted afterwards, because only then it is known. Once it is
overdrawn, its connections are not read from until it is made up for; then they have their turns, in the order in which
they came. So a circuit has hardly more than one claim at a time on what all of them may do together, and those who wait
for that take turns as well, however many connections each has.

Who is slowed and *presses*, which means that he sends on without waiting for answers, or sends many lines that are
refused, is refused after ten seconds, with word when to come back. Who goes on for ten more has his circuit closed. A
client that waits for its answers is slowed at most, however many connections it has and however large its bodies are.

A circuit's id is here and nowhere else: everybody else knows the share, which does not show it. It is forgotten a
minute after the circuit's last connection.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from torfluxd.gateway.allowances import (
    BOOKED_BYTES,
    BOOKED_REQUESTS,
    EASE_SECONDS,
    FREE_REQUEST_BYTES,
    FREE_REQUESTS,
    MIN_WAIT_SECONDS,
    REFUSED_LINES_PER_REQUEST,
    Allowance,
    Allowances,
    Bucket,
)
from torfluxd.ops.figures import Figures

__all__ = ["Limited", "Limiter", "Share"]

FORGET_SECONDS: Final = 60.0
"""How long a circuit is remembered after its last connection, so that who comes back is not new: until whatever he owes
is made up for (`MAX_DEBT_SECONDS`), and as long as `suspects` remembers him."""

MANY_REFUSED_LINES: Final = 64
"""Refused at once, these press. Fewer happen to honest clients now and then, and are as cheap as 16 requests."""

MAX_SHARES: Final = 16_384
"""How many circuits without a connection are remembered; each takes less than 1 KiB."""

CLOSES_PER_SECOND: Final = 10.0
CLOSES_AT_ONCE: Final = 50.0
"""How many circuits tor is asked to close. Beyond that it is not asked: their connections are closed all the same, and
those that they open later."""

CLOSE_AGAIN_SECONDS: Final = 5.0
"""When tor is asked again to close a circuit through which connections still come: it closes at once, if it hears."""

SILENT_SECONDS: Final = 60.0
"""How long the log is silent after it told of circuits that were closed."""

_log = Logger()


class Limited(Protocol):
    """A connection that has a share."""

    def take_turn(self) -> None:
        """Go on, after having waited."""

    def abort(self) -> None:
        """Close at once."""


class _Together:
    """What many shares may be used for together."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._work = Bucket()
        self._traffic = Bucket()

    def take(self, requests: float, size: int, now: float) -> float:
        """Take something; returns when it is made up for."""
        allowance = self._allowance
        worked = self._work.take(requests, allowance.requests_per_second, allowance.burst_requests, now)
        sent = self._traffic.take(size, allowance.bytes_per_second, allowance.burst_bytes, now)
        return max(worked, sent)


class Share:
    """What one circuit may use of the gateway. It is the writer, too: the same object as long as it is remembered.

    :ivar waits: it is overdrawn, so :meth:`wait` for a turn.
    :ivar refuses: it was overdrawn for long, so ask :meth:`refuse` for each request.
    """

    __slots__ = (
        "_allowance",
        "_bytes",
        "_clock",
        "_closed_at",
        "_connections",
        "_due",
        "_eased_at",
        "_free",
        "_grows_at",
        "_limiter",
        "_next_turn",
        "_presses",
        "_queue",
        "_refusals",
        "_refused_since",
        "_requests",
        "_strained",
        "_strained_since",
        "_together",
        "_traffic",
        "_work",
        "refuses",
        "waits",
    )

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._clock = limiter.clock
        self._connections: list[Limited] = []
        self._queue: deque[Limited] | None = None
        self._next_turn: IDelayedCall | None = None
        self._work = Bucket()
        self._traffic = Bucket()
        self._due = self._eased_at = self._strained_since = self._refused_since = -inf
        self._strained = self._presses = False
        self._requests: float = 0
        self._bytes = 0
        self._refusals = 0
        self._closed_at: float | None = None
        self.waits = self.refuses = False
        self._be_new(self._clock.seconds())

    # What connections call.

    def joined(self, connection: Limited) -> None:
        """One more connection uses it. To connect is work."""
        self._connections.append(connection)
        self._limiter.in_use(self)
        now = self._clock.seconds()
        if self._closed_at is not None:
            connection.abort()
            if now - self._closed_at > CLOSE_AGAIN_SECONDS:
                self._close()
            return
        # Not of what all may do together: to connect takes no turn, so a flood of it would have others wait for ever.
        allowance = self._allowance
        self._work.take(1, allowance.requests_per_second, allowance.burst_requests, now)
        if self.waits or self._work.due > now:
            self._overdrawn(now, self._work.due)

    def left(self, connection: Limited) -> None:
        """A connection is gone."""
        self._connections.remove(connection)
        if self._queue and connection in self._queue:
            self._queue.remove(connection)
        if not self._connections:
            self._queue = None
            if self._next_turn is not None:
                self._next_turn.cancel()
                self._next_turn = None
            self._limiter.out_of_use(self)

    def spend(self, requests: float, size: int) -> None:
        """Count what was done.

        :param requests: the work.
        :param size: the traffic, in bytes.
        """
        self._requests += requests
        self._bytes += size
        if self._requests >= BOOKED_REQUESTS or self._bytes >= BOOKED_BYTES:
            self._book()

    def _book(self) -> None:
        requests, size = self._requests, self._bytes
        self._requests = self._bytes = 0
        now = self._clock.seconds()
        if now >= self._grows_at:
            self._grow()
        allowance = self._allowance
        due = self._work.take(requests, allowance.requests_per_second, allowance.burst_requests, now)
        sent = self._traffic.take(size, allowance.bytes_per_second, allowance.burst_bytes, now)
        if sent > due:
            due = sent
        if self._free > 0:
            self._free -= requests + size // FREE_REQUEST_BYTES
        else:
            together = self._together.take(requests, size, now)
            if together > due:
                due = together
        if due > now:
            self._overdrawn(now, due)

    def spend_refused(self, lines: int) -> None:
        """Count lines that were refused."""
        if lines >= MANY_REFUSED_LINES:
            self._presses = True
        self.spend(lines / REFUSED_LINES_PER_REQUEST, 0)

    def press(self) -> None:
        """A request came on a connection before the last one there was answered."""
        self._presses = True

    def wait(self, connection: Limited) -> None:
        """Wait for a turn: :meth:`Limited.take_turn` is called once, unless the connection has left before."""
        if self._queue is None:
            self._queue = deque()
        self._queue.append(connection)

    def refuse(self) -> bool:
        """Whether a request is to be refused, now that :attr:`refuses` is set; each one that is counts."""
        now = self._clock.seconds()
        if self._is_at_ease(now):
            self.refuses = False
            return False
        self._eased_at = now
        self._refusals += 1
        self._limiter.refused += 1
        allowances = self._limiter.allowances
        is_deaf = now - self._refused_since >= allowances.refused_seconds
        if is_deaf and self._refusals >= allowances.refusals_before_close and self._closed_at is None:
            self._closed_at = now
            # Not before whoever is told now has heard it.
            self._clock.callLater(0, self._close)
        return True

    # Inside.

    def _be_new(self, now: float) -> None:
        allowances = self._limiter.allowances
        self._allowance = allowances.newcomer
        self._together = self._limiter.newcomers
        self._free: float = FREE_REQUESTS
        self._grows_at = now + allowances.growing_seconds

    def _grow(self) -> None:
        self._grows_at = inf
        self._allowance = self._limiter.allowances.grown
        self._together = self._limiter.grown
        self._free = 0

    def _overdrawn(self, now: float, due: float) -> None:
        self._due = max(self._due, due)
        if self._presses and self._work.due > now and not self._strained:
            self._strain(now)
            self._strained = True
        if not self.waits:
            self.waits = True
            self._limiter.slowed += 1
        if self._next_turn is None and self._connections:
            self._next_turn = self._clock.callLater(max(self._due - now, MIN_WAIT_SECONDS), self._give_turns)

    def _strain(self, now: float) -> None:
        """Note that one who presses asks for more work than he may have."""
        if self._is_at_ease(now):
            self._strained_since = now
            self._refusals = 0
            self.refuses = False
        elif not self.refuses and now - self._strained_since > self._limiter.allowances.slowed_seconds:
            self.refuses = True
            self._refused_since = now
        if self.refuses:
            self._be_new(now)
            self._free = 0
        elif self._grows_at != inf:
            self._grows_at = now + self._limiter.allowances.growing_seconds

    def _is_at_ease(self, now: float) -> bool:
        return not self._strained and now - self._eased_at > EASE_SECONDS

    def _give_turns(self) -> None:
        now = self._clock.seconds()
        self._next_turn = None
        if self._due > now:
            self._overdrawn(now, self._due)
            return
        self.waits = self._presses = False
        if self._strained:
            self._strained = False
            self._eased_at = now
        while self._queue and not self.waits:
            self._queue.popleft().take_turn()

    def _close(self) -> None:
        self._closed_at = self._clock.seconds()
        for connection in list(self._connections):
            connection.abort()
        self._limiter.close(self)


class Limiter:
    """Gives each stranger his share.

    :ivar clock: as given.
    :ivar allowances: as given.
    :ivar newcomers: what all new circuits may do together.
    :ivar grown: what all others may.
    :ivar slowed: how often somebody had to wait.
    :ivar refused: how many requests were refused.
    :ivar closed: how many circuits tor was asked to close.
    :ivar met: how many circuits there have been.

    :param clock: usually the reactor.
    :param allowances: how much that is.
    :param close_circuit: asks tor to close a circuit.
    """

    def __init__(
        self,
        clock: IReactorTime,
        allowances: Allowances | None = None,
        close_circuit: Callable[[int], None] = lambda circuit: None,
    ) -> None:
        self.clock = clock
        self.allowances = allowances or Allowances()
        self.newcomers = _Together(self.allowances.newcomers_together)
        self.grown = _Together(self.allowances.grown_together)
        self.slowed = self.refused = self.closed = self.met = 0
        self._close_circuit = close_circuit
        self._shares: dict[int, Share] = {}
        self._circuits: dict[Share, int] = {}
        # The one that was used last is the last.
        self._idle: OrderedDict[Share, float] = OrderedDict()
        self._next_forgetting: IDelayedCall | None = None
        self._closes = Bucket()
        self._silent_until = -inf

    def __len__(self) -> int:
        """How many circuits are remembered."""
        return len(self._shares)

    @property
    def connected(self) -> int:
        """How many circuits have a connection now."""
        return len(self._shares) - len(self._idle)

    @property
    def figures(self) -> Figures:
        """How many circuits there are, and what had to be done about strangers."""
        return Figures(
            circuits=self.connected,
            limiter_slowed=self.slowed,
            limiter_refused=self.refused,
            limiter_closed_circuits=self.closed,
        )

    def of_circuit(self, circuit: int) -> Share:
        """The share of a circuit."""
        share = self._shares.get(circuit)
        if share is None:
            share = self._shares[circuit] = Share(self)
            self._circuits[share] = circuit
            self.met += 1
            self.out_of_use(share)
        return share

    def of_connection(self) -> Share:
        """The share of a connection whose circuit we do not know."""
        return Share(self)

    def forget(self) -> None:
        """Forget all circuits: the tor that knew them is gone, and another one begins to count anew.

        Connections that are still open keep their shares.
        """
        self._shares.clear()
        self._circuits.clear()
        self._idle.clear()
        if self._next_forgetting is not None:
            self._next_forgetting.cancel()
            self._next_forgetting = None

    # What shares call.

    def in_use(self, share: Share) -> None:
        """Remember it."""
        self._idle.pop(share, None)

    def out_of_use(self, share: Share) -> None:
        """Forget it later."""
        if share not in self._circuits:
            return
        self._idle[share] = self.clock.seconds() + FORGET_SECONDS
        if len(self._idle) > MAX_SHARES:
            self._forget_first()
        if self._next_forgetting is None:
            self._next_forgetting = self.clock.callLater(FORGET_SECONDS, self._forget_idle)

    def close(self, share: Share) -> None:
        """Have its circuit closed, if it has one."""
        circuit = self._circuits.get(share)
        now = self.clock.seconds()
        if circuit is None or self._closes.due > now:
            return
        self._closes.take(1, CLOSES_PER_SECOND, CLOSES_AT_ONCE, now)
        self.closed += 1
        self._close_circuit(circuit)
        self._tell(now)

    # Inside.

    def _tell(self, now: float) -> None:
        if now >= self._silent_until:
            _log.warn(
                "strangers flooded us, and went on when they were slowed and refused: tor closes their circuits"
                " ({circuits} so far)",
                circuits=self.closed,
            )
            self._silent_until = now + SILENT_SECONDS

    def _forget_idle(self) -> None:
        self._next_forgetting = None
        now = self.clock.seconds()
        while self._idle:
            wait = next(iter(self._idle.values())) - now
            if wait > 0:
                self._next_forgetting = self.clock.callLater(wait, self._forget_idle)
                return
            self._forget_first()

    def _forget_first(self) -> None:
        share, _ = self._idle.popitem(last=False)
        del self._shares[self._circuits.pop(share)]
