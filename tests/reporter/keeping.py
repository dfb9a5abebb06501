"""A keeper of points that remembers, and does as a test tells it."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from torfluxd.boundaries import Destination
from torfluxd.errors import SpoolBrokenError
from torfluxd.reporter.intake import Keep

__all__ = ["RememberingKeep"]


@define(slots=False)
class RememberingKeep:
    """Keeps points in a list.

    :ivar kept: the destination and the lines of each write.
    :ivar waits: whether it takes its time, until :meth:`go_on`.
    :ivar is_broken: whether its disk has failed.
    :ivar taken: what it answers.
    """

    kept: list[tuple[Destination, bytes]] = field(factory=list)
    waits: bool = False
    is_broken: bool = False
    taken: bool = True
    _waiting: list[Deferred[bool]] = field(factory=list)

    def keep(self, lines: bytes, destination: Destination) -> Deferred[bool]:
        """Keep points; see :meth:`Keep.keep`."""
        if self.is_broken:
            return fail(SpoolBrokenError("the disk is full"))
        self.kept.append((destination, lines))
        if not self.waits:
            return succeed(self.taken)
        waiting: Deferred[bool] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def go_on(self) -> None:
        """Have done what it takes its time for."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(self.taken)

    @property
    def lines(self) -> list[bytes]:
        """All lines that are kept."""
        return [line for _, lines in self.kept for line in lines.split(b"\n")]


_: type[Keep] = RememberingKeep
