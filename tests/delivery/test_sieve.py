"""Tests for `torfluxd.delivery.sieve`."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.doubles import DELIVERED, POSTPONED, REJECTED, HeldUpstream
from tests.delivery.spool_suite import DESTINATION
from torfluxd.boundaries import Batch, Fate, Refusal, Reply, Upstream
from torfluxd.delivery.sieve import MAX_REASON_CHARACTERS, Sieve

TOO_LARGE = Reply(Fate.REJECT, "it answered 413 Request Entity Too Large", 413)
NOWHERE = Reply(Fate.NO_DESTINATION, "there is no such database", 404)


def lines_of(numbers: range | list[int]) -> bytes:
    """A line for each number."""
    return b"\n".join(b"m f=%d" % number for number in numbers)


def batch_of(count: int) -> Batch:
    """A batch of that many lines, numbered from 0."""
    return Batch(DESTINATION, lines_of(range(count)), count)


@define(eq=False)
class Judge:
    """An upstream that says of each line what is to be said, and stores the good ones even of a batch that it rejects.

    :ivar verdict: the reply to a batch of these numbers.
    :ivar stored: every number that was ever stored, in order, as often as it was.
    """

    verdict: Callable[[list[int]], Reply]
    bad: frozenset[int] = frozenset()
    sends: int = 0
    stored: list[int] = field(factory=list)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Judge it."""
        self.sends += 1
        numbers = [int(line.removeprefix(b"m f=")) for line in batch.lines.split(b"\n")]
        assert batch.points == len(numbers)
        assert batch.destination == DESTINATION
        self.stored += [number for number in numbers if number not in self.bad]
        return succeed(self.verdict(numbers))


_upstream_type: type[Upstream] = Judge


def judge(bad: dict[int, str]) -> Judge:
    """One who rejects lines for these reasons."""

    def verdict(numbers: list[int]) -> Reply:
        reasons = [bad[number] for number in numbers if number in bad]
        return Reply(Fate.REJECT, reasons[0], 400, body=b"partial write") if reasons else DELIVERED

    return Judge(verdict, frozenset(bad))


class SieveTests(SynchronousTestCase):
    """Which lines of a rejected batch are refused."""

    def sift(self, upstream: Upstream, batch: Batch) -> Reply:
        """What it says of a batch."""
        return self.successResultOf(Sieve(upstream).send(batch))

    def test_nothing_to_do(self) -> None:
        """What is delivered, postponed or has no destination is passed on as it is, after one send."""
        for reply in (DELIVERED, POSTPONED, NOWHERE):
            upstream = Judge(lambda _, reply=reply: reply)
            self.assertIs(self.sift(upstream, batch_of(8)), reply)
            self.assertEqual(upstream.sends, 1)

    def test_exactly_those(self) -> None:
        """Exactly the bad lines are refused, each with its reason, and every other line is stored."""
        upstream = judge({3: "too old", 70: "field type conflict"})
        reply = self.sift(upstream, batch_of(100))
        self.assertEqual(
            (reply.fate, reply.status, reply.body, tuple(reply.refused)),
            (
                Fate.REJECT,
                400,
                b"partial write",
                (Refusal(b"m f=3", 1, "too old"), Refusal(b"m f=70", 1, "field type conflict")),
            ),
        )
        self.assertEqual(set(upstream.stored), set(range(100)) - {3, 70})

    def test_neighbours(self) -> None:
        """Neighbours that are refused for the same reason are in one refusal, others are not."""
        reply = self.sift(judge({1: "old", 2: "old", 3: "conflict", 5: "conflict"}), batch_of(7))
        self.assertEqual(
            tuple(reply.refused),
            (
                Refusal(lines_of([1, 2]), 2, "old"),
                Refusal(lines_of([3]), 1, "conflict"),
                Refusal(lines_of([5]), 1, "conflict"),
            ),
        )

    def test_told_by_the_upstream(self) -> None:
        """An upstream that names the refused lines of a batch, or of a part of it, is believed, and asked no more."""
        told = [Refusal(lines_of([1, 2]), 2, "old"), Refusal(lines_of([3]), 1, "conflict")]
        upstream = Judge(lambda _: Reply(Fate.REJECT, "some", 400, refused=told))
        self.assertEqual((list(self.sift(upstream, batch_of(8)).refused), upstream.sends), (told, 1))

        def verdict(numbers: list[int]) -> Reply:
            refused = [Refusal(lines_of(numbers), len(numbers), "old")] if numbers[0] >= 4 else []
            return Reply(Fate.REJECT, "old", 400, refused=refused) if numbers[-1] >= 3 else DELIVERED

        upstream = Judge(verdict)
        self.assertEqual(tuple(self.sift(upstream, batch_of(8)).refused), (Refusal(lines_of(range(3, 8)), 5, "old"),))
        self.assertEqual(upstream.sends, 7)

    def test_single_line(self) -> None:
        """A batch of one line that is rejected is refused after one send."""
        upstream = judge({0: "too old"})
        self.assertEqual(tuple(self.sift(upstream, batch_of(1)).refused), (Refusal(b"m f=0", 1, "too old"),))
        self.assertEqual(upstream.sends, 1)

    def test_only_together(self) -> None:
        """A batch that was rejected as a whole, and of which each half is stored, is delivered."""
        upstream = Judge(lambda numbers: REJECTED if len(numbers) > 4 else DELIVERED)
        self.assertEqual(self.sift(upstream, batch_of(8)), DELIVERED)

    def test_postponed_on_the_way(self) -> None:
        """As soon as a part is postponed, or has no destination any more, so is all of it, and nothing more is sent."""
        for reply in (POSTPONED, NOWHERE):
            upstream = Judge(lambda numbers, reply=reply: REJECTED if len(numbers) > 2 else reply)
            self.assertIs(self.sift(upstream, batch_of(8)), reply)
            self.assertEqual(upstream.sends, 3)

    def test_too_large(self) -> None:
        """What is too large is cut until it is not; a single line that is too large is refused."""
        for fate in (Fate.REJECT, Fate.POSTPONE):
            too_large = Reply(fate, TOO_LARGE.reason, 413)
            upstream = Judge(lambda numbers, reply=too_large: reply if len(numbers) > 2 or 5 in numbers else DELIVERED)
            reply = self.sift(upstream, batch_of(8))
            self.assertEqual(tuple(reply.refused), (Refusal(b"m f=5", 1, TOO_LARGE.reason),))
            self.assertEqual(reply.fate, Fate.REJECT)

    def test_order(self) -> None:
        """Lines are sent in their order, so that of two with the same time the later one stays."""
        upstream = judge({9: "no"})
        self.sift(upstream, batch_of(16))
        last = {number: at for at, number in enumerate(upstream.stored)}
        self.assertEqual(sorted(last, key=last.__getitem__), [number for number in range(16) if number != 9])

    def test_reason(self) -> None:
        """A reason is one line of bounded length, and never empty."""
        long = self.sift(judge({0: "a\n" * 500}), batch_of(1)).refused[0].reason
        self.assertEqual((len(long), long[-1], "\n" in long), (MAX_REASON_CHARACTERS, "…", False))
        self.assertEqual(self.sift(judge({0: ""}), batch_of(1)).refused[0].reason, "it was refused")

    def test_empty_lines(self) -> None:
        """Empty lines are neither sent nor refused; a batch without any line is passed on."""
        upstream = judge({1: "no"})
        reply = self.sift(upstream, Batch(DESTINATION, b"m f=0\nm f=1", 2))
        self.assertEqual([refusal.lines for refusal in reply.refused], [b"m f=1"])
        held = HeldUpstream()
        sent = Sieve(held).send(Batch(DESTINATION, b"\n\n", 0))
        held.answer(REJECTED)
        self.assertIs(self.successResultOf(sent), REJECTED)

    def test_cancelled(self) -> None:
        """Cancelled, it cancels the send in flight, of the whole or of a part."""
        for parts in (0, 1, 2):
            held = HeldUpstream()
            sent = Sieve(held).send(batch_of(8))
            for _ in range(parts):
                held.answer(REJECTED)
            sent.cancel()
            self.failureResultOf(sent, CancelledError)
            self.assertEqual((held.cancelled, len(held.sent), held.in_flight), (1, parts + 1, []))

    @given(count=st.integers(1, 300), bad=st.sets(st.integers(0, 299), max_size=40))
    def test_cost(self, count: int, bad: set[int]) -> None:
        """Whatever lines are bad: exactly they are refused, and n of N lines cost at most 1 + 2n ceil(log2 N) sends,
        and never more than 2N - 1.
        """
        bad = {number for number in bad if number < count}
        upstream = judge(dict.fromkeys(bad, "no"))
        reply = self.sift(upstream, batch_of(count))
        refused = b"\n".join(refusal.lines for refusal in reply.refused)
        self.assertEqual(refused, lines_of(sorted(bad)))
        self.assertEqual(sum(refusal.points for refusal in reply.refused), len(bad))
        self.assertEqual(set(upstream.stored), set(range(count)) - bad)
        self.assertLessEqual(upstream.sends, 1 + 2 * len(bad) * ceil(log2(count)))
        self.assertLessEqual(upstream.sends, 2 * count - 1)

    def test_one_of_ten_thousand(self) -> None:
        """One bad line of ten thousand costs 29 sends at most; ten thousand bad ones cost 19 999."""
        self.assertLessEqual(max(self.sends(10_000, {bad}) for bad in (0, 1, 4999, 5000, 7777, 9999)), 29)
        self.assertEqual(self.sends(10_000, set(range(10_000))), 19_999)

    def sends(self, count: int, bad: set[int]) -> int:
        """How many sends these bad lines cost."""
        upstream = judge(dict.fromkeys(bad, "no"))
        self.sift(upstream, batch_of(count))
        return upstream.sends
