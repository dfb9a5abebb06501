"""Finds out which lines of a rejected batch are refused, by sending parts of it.

InfluxDB stores the good lines of a write and refuses it all the same, and does not say truly which others it dropped.
So a rejected batch is cut in two until what is rejected is a single line. To send lines again is harmless, because each
has a timestamp of its own.

What that costs: a batch of N lines of which n are refused takes at most 2N - 1 sends, and at most 1 + 2n ceil(log2 N):
29 for one line of ten thousand. They go one after the other, in the order of the lines. Where the upstream itself
names the refused lines of a part, that part is cut no further.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from torfluxd.boundaries import Batch, Destination, Fate, Refusal, Reply, Upstream

__all__ = ["MAX_REASON_CHARACTERS", "Sieve"]

MAX_REASON_CHARACTERS = 200
"""How much of an upstream's reason is kept with each refusal: a sentence, and two lines on a screen."""


@frozen
class Sieve:
    """An upstream that names the refused lines of a rejected batch: all others are stored then.

    :param upstream: where the batches, and parts of them, go.
    """

    _upstream: Upstream

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a batch, and parts of it again when it is rejected, or too large (413).

        :returns: a Deferred that ends as that of :meth:`torfluxd.boundaries.Upstream.send` does, with a reply that is

            * `Fate.DELIVERED` when everything is stored;
            * `Fate.REJECT` when something is refused: exactly the lines in :attr:`~torfluxd.boundaries.Reply.refused`;
              neighbours that are refused for the same reason are in one refusal;
            * what came back for a part that was neither stored nor rejected, as soon as there is one: what became of
              the batch is not known then, and it may be sent again as a whole.

            When it is cancelled, the send in flight is.
        """
        return Deferred.fromCoroutine(self._send(batch))

    async def _send(self, batch: Batch) -> Reply:
        reply = await self._upstream.send(batch)
        if not _is_refused(reply):
            return reply
        lines = [line for line in batch.lines.split(b"\n") if line]
        if not lines:
            return reply
        refused = _Refused(lines)
        parts = refused.note(0, len(lines), reply)
        while parts:
            start, end = parts.pop()
            part = await self._upstream.send(_part(batch.destination, lines[start:end]))
            if _is_refused(part):
                parts += refused.note(start, end, part)
            elif part.fate is not Fate.DELIVERED:
                return part
        return refused.reply(reply)


@define
class _Refused:
    """The refused lines of a batch, as far as they are known.

    :ivar lines: all lines of the batch.
    """

    lines: Sequence[bytes]
    _found: list[Refusal] = field(factory=list, init=False)
    _end: int = field(default=0, init=False)

    def note(self, start: int, end: int, reply: Reply) -> list[tuple[int, int]]:
        """Note that a part is refused; those before it have been looked at.

        :returns: its halves, the second one first, when it is not known which lines of it.
        """
        if reply.refused:
            for refusal in reply.refused:
                self._add(start, end, refusal)
        elif end - start == 1:
            self._add(start, end, Refusal(self.lines[start], 1, _reason(reply)))
        else:
            middle = (start + end + 1) // 2
            return [(middle, end), (start, middle)]
        return []

    def _add(self, start: int, end: int, refusal: Refusal) -> None:
        """Add a refusal out of a part, to the one before it when all lines up to that one are refused alike."""
        whole = refusal.points == end - start
        before = self._found[-1] if self._found else None
        if whole and before is not None and self._end == start and before.reason == refusal.reason:
            lines, points = before.lines + b"\n" + refusal.lines, before.points + refusal.points
            self._found[-1] = Refusal(lines, points, refusal.reason)
        else:
            self._found.append(refusal)
        self._end = end if whole else -1

    def reply(self, whole: Reply) -> Reply:
        """What is to be said of the batch, the reply to which as a whole is given."""
        if not self._found:
            return Reply(Fate.DELIVERED)
        return Reply(Fate.REJECT, _reason(whole), whole.status, whole.headers, whole.body, refused=self._found)


def _is_refused(reply: Reply) -> bool:
    """Whether a part is to be cut: what is too large may be stored in smaller parts, whoever finds it too large."""
    return reply.fate is Fate.REJECT or reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def _part(destination: Destination, lines: Sequence[bytes]) -> Batch:
    return Batch(destination, b"\n".join(lines), len(lines))


def _reason(reply: Reply) -> str:
    """Why, in short: an upstream's reason has nothing out of the lines, its headers and its body may."""
    reason = " ".join(reply.reason.split())
    if len(reason) > MAX_REASON_CHARACTERS:
        return reason[: MAX_REASON_CHARACTERS - 1] + "…"
    return reason or "it was refused"


_: type[Upstream] = Sieve
