"""What stands for the other side of a seam in the tests of this folder and of `reporter`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from torfluxd.boundaries import Batch, Fate, Lease, Refusal, Reply, Spool, SpoolCounts, Upstream
from torfluxd.delivery.spool import MemorySpool

T = TypeVar("T")

DELIVERED = Reply(Fate.DELIVERED)
POSTPONED = Reply(Fate.POSTPONE, "nobody answered")
REJECTED = Reply(Fate.REJECT, "field type conflict")


@define(eq=False)
class HeldUpstream:
    """An upstream that holds each batch until the test answers."""

    sent: list[Batch] = field(factory=list)
    in_flight: list[Deferred[Reply]] = field(factory=list)
    cancelled: int = 0

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Hold it."""

        def cancel(answer: Deferred[Reply]) -> None:
            self.in_flight.remove(answer)
            self.cancelled += 1

        self.sent.append(batch)
        self.in_flight.append(Deferred(cancel))
        return self.in_flight[-1]

    def answer(self, reply: Reply) -> None:
        """Answer the only batch in flight."""
        [answer] = self.in_flight
        self.in_flight.clear()
        answer.callback(reply)

    def break_down(self, error: Exception) -> None:
        """Fail the only batch in flight, against the contract."""
        [answer] = self.in_flight
        self.in_flight.clear()
        answer.errback(error)

    def names(self) -> list[bytes]:
        """The lines of what was sent, in order."""
        return [batch.lines for batch in self.sent]


@define(eq=False)
class SlowSpool:
    """A memory spool that takes a second for everything, as a bad disk might, and fails while `error` is set."""

    clock: Clock
    memory: MemorySpool
    error: Exception | None = None

    @property
    def counts(self) -> SpoolCounts:
        """The memory's."""
        return self.memory.counts

    def put(self, batch: Batch) -> Deferred[None]:
        """Keep a batch, in a second."""
        return self.later(lambda: self.memory.put(batch))

    def lend(self) -> Deferred[Lease | None]:
        """Look at once, and say a second later what was found."""

        def slow(lease: Lease | None) -> Deferred[Lease | None]:
            if lease is None:
                return self.later(lambda: succeed(None))
            slow_lease = SlowLease(self, lease)
            return self.later(lambda: succeed(slow_lease)).addErrback(slow_lease.after_a_failure)

        return self.memory.lend().addCallback(slow)

    def later(self, do: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Do it in a second, or fail."""

        def now() -> Deferred[T]:
            if self.error is not None:
                raise self.error
            return do()

        return deferLater(self.clock, 1.0, now)


@define(eq=False)
class SlowLease:
    """A lease of a :class:`SlowSpool`; a way back that fails puts the batch back, as the contract says."""

    spool: SlowSpool
    lease: Lease

    @property
    def batch(self) -> Batch:
        """The batch."""
        return self.lease.batch

    @property
    def position(self) -> int:
        """Its position."""
        return self.lease.position

    def delivered(self) -> Deferred[None]:
        """Forget it, in a second."""
        return self.give_back(self.lease.delivered)

    def rejected(self, reason: str, refused: Sequence[Refusal] = ()) -> Deferred[None]:
        """Set it aside, in a second."""
        return self.give_back(lambda: self.lease.rejected(reason, refused))

    def put_back(self) -> Deferred[None]:
        """Put it back, in a second."""
        return self.give_back(self.lease.put_back)

    def give_back(self, way: Callable[[], Deferred[None]]) -> Deferred[None]:
        """Give it back in one of the ways, in a second."""
        return self.spool.later(way).addErrback(self.after_a_failure)

    def after_a_failure(self, failure: Failure) -> Failure:
        """Be as if put back."""
        self.lease.put_back()
        return failure


_upstream_type: type[Upstream] = HeldUpstream
_spool_type: type[Spool] = SlowSpool
_lease_type: type[Lease] = SlowLease
