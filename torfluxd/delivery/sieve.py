"""Finds out which lines of a rejected batch are refused, by sending parts of it.

InfluxDB stores the good lines of a write and refuses it all the same, and does not say truly which others it dropped.
So a rejected batch is cut in two until what is rejected is a single line. To send lines again is harmless, because each
has a timestamp of its own.

What that costs: a batch of N lines of which n are refused takes at most 2N - 1 sends, and at most 1 + 2n ceil(log2 N):
29 for one line of ten thousand. They go one after the other, in the order of the lines.
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
        if len(lines) == 1:
            refused.add(0, reply)
        parts = _halves(0, len(lines)) if len(lines) > 1 else []
        while parts:
            start, end = parts.pop()
            part = await self._upstream.send(_part(batch.destination, lines[start:end]))
            if _is_refused(part):
                if end - start > 1:
                    parts += _halves(start, end)
                else:
                    refused.add(start, part)
            elif part.fate is not Fate.DELIVERED:
                return part
        return refused.reply(reply)


@define
class _Refused:
    """The refused lines of a batch, as far as they are known.

    :ivar lines: all lines of the batch.
    :ivar found: from where to where they are refused, and why.
    """

    lines: Sequence[bytes]
    found: list[tuple[int, int, str]] = field(factory=list)

    def add(self, at: int, reply: Reply) -> None:
        """Note a line that is refused; those before it have been looked at."""
        reason = _reason(reply)
        if self.found and self.found[-1][1:] == (at, reason):
            self.found[-1] = (self.found[-1][0], at + 1, reason)
        else:
            self.found.append((at, at + 1, reason))

    def reply(self, whole: Reply) -> Reply:
        """What is to be said of the batch, the reply to which as a whole is given."""
        if not self.found:
            return Reply(Fate.DELIVERED)
        refused = [Refusal(b"\n".join(self.lines[start:end]), end - start, reason) for start, end, reason in self.found]
        return Reply(Fate.REJECT, _reason(whole), whole.status, whole.headers, whole.body, refused=refused)


def _is_refused(reply: Reply) -> bool:
    """Whether a part is to be cut: what is too large may be stored in smaller parts, whoever finds it too large."""
    return reply.fate is Fate.REJECT or reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def _halves(start: int, end: int) -> list[tuple[int, int]]:
    """The halves of a part, the second one first: the last of a list is sent next."""
    middle = (start + end + 1) // 2
    return [(middle, end), (start, middle)]


def _part(destination: Destination, lines: Sequence[bytes]) -> Batch:
    return Batch(destination, b"\n".join(lines), len(lines))


def _reason(reply: Reply) -> str:
    """Why, in short: an upstream's reason has nothing out of the lines, its headers and its body may."""
    reason = " ".join(reply.reason.split())
    if len(reason) > MAX_REASON_CHARACTERS:
        return reason[: MAX_REASON_CHARACTERS - 1] + "…"
    return reason or "it was refused"


_: type[Upstream] = Sieve
