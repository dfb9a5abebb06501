"""What a report shows of itself on its way: its size, and the moment at which it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Batch, Fate, Refusal, Reply, Upstream

__all__ = ["Reports"]


@define(eq=False)
class Reports:
    """An upstream that sends each batch as a report of its own: padded, and not right behind the one before it.

    The first leaves at once, when the courier sets out; so does one that is sent again, because the courier has waited.
    Before each other there is a gap.

    :param upstream: where they go.
    :param clock: for the gaps.
    :param gaps: how long they are, in seconds.
    :param pad: makes a body as long as it shall be.
    :ivar trouble: why the last report did not get through, in a sentence; empty when it did.
    """

    _upstream: Upstream
    _clock: IReactorTime
    _gaps: Iterator[float]
    _pad: Callable[[bytes], bytes]
    trouble: str = field(default="", init=False)
    _at_once: bool = field(default=True, init=False)
    _in_a_hurry: int = field(default=0, init=False)
    _gap: Deferred[None] | None = field(default=None, init=False)

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Send a report, when its moment is there; as :meth:`torfluxd.boundaries.Upstream.send`."""
        return Deferred.fromCoroutine(self._send(batch))

    def set_out(self) -> None:
        """All were sent: the next is the first again."""
        self._at_once = True

    def hurry(self) -> None:
        """Leave no gaps, until :meth:`calm_down` was called as often as this."""
        self._in_a_hurry += 1
        if self._gap is not None:
            self._gap.callback(None)

    def calm_down(self) -> None:
        """Somebody's hurry is over."""
        self._in_a_hurry -= 1

    async def _send(self, batch: Batch) -> Reply:
        if not self._at_once and not self._in_a_hurry:
            await self._wait(next(self._gaps))
        reply = await self._upstream.send(evolve(batch, lines=self._pad(batch.lines)))
        self._at_once = reply.fate in (Fate.POSTPONE, Fate.NO_DESTINATION)
        self.trouble = "" if reply.fate is Fate.DELIVERED else reply.reason
        return evolve(reply, refused=[_without_padding(refusal, batch) for refusal in reply.refused])

    async def _wait(self, seconds: float) -> None:
        gap: Deferred[None] = Deferred()
        self._gap = gap
        call = self._clock.callLater(seconds, gap.callback, None)
        try:
            await gap
        finally:
            self._gap = None
            if call.active():
                call.cancel()


def _without_padding(refusal: Refusal, batch: Batch) -> Refusal:
    """An upstream that names what was refused names all of it."""
    return evolve(refusal, lines=batch.lines) if refusal.points == batch.points else refusal


_: type[Upstream] = Reports
