"""Points of others, kept by a reporter: in parts that it can take, and no more of them at a time than it can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime

from torfluxd.boundaries import Destination
from torfluxd.errors import SpoolFullError
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.intake import Keep

__all__ = ["HELD_BYTES", "PART_BYTES", "ReporterKeep"]

PART_BYTES: Final = 64 * 1024
"""How much is handed over at a time: the rules of privacy look at each line, some hundredths of a second for 500 of
them, and then others have their turn."""

HELD_BYTES: Final = 2 * 1024 * 1024
"""How much may wait for the disk. A reporter drops what is more than it may hold in memory, several times as much; here
somebody waits for an answer, so it waits its turn."""


class ReporterKeep:
    """Keeps lines in a reporter's spool.

    :param record_lines: of the reporter: takes lines, and says what becomes of them.
    :param clock: the reactor.
    """

    def __init__(self, record_lines: Callable[[bytes, Destination], Commit], clock: IReactorTime) -> None:
        self._record_lines = record_lines
        self._clock = clock
        self._lock = DeferredLock()
        self._held_bytes = 0
        self._room: Deferred[None] | None = None

    def keep(self, lines: bytes, destination: Destination) -> Deferred[bool]:
        """Keep points; see :meth:`Keep.keep`."""
        return Deferred.fromCoroutine(self._keep(lines, destination))

    async def _keep(self, lines: bytes, destination: Destination) -> bool:
        commits: dict[Commit, None] = {}
        async with self._lock:
            for number, part in enumerate(_parts(lines)):
                if number:
                    await self._turn_of_others()
                await self._wait_for_room(len(part))
                commit = self._record(part, destination)
                if commit.outcome is not False:  # else the rules leave nothing of it
                    commits[commit] = None
        for commit in commits:
            if not await commit.as_deferred():
                raise SpoolFullError("there is no room in memory for what the disk does not take so quickly")
        return bool(commits)

    def _record(self, part: bytes, destination: Destination) -> Commit:
        self._held_bytes += len(part)
        commit = self._record_lines(part, destination)
        commit.as_deferred().addBoth(lambda _: self._release(len(part)))
        return commit

    async def _wait_for_room(self, size_bytes: int) -> None:
        while self._held_bytes and self._held_bytes + size_bytes > HELD_BYTES:
            self._room = Deferred()
            await self._room

    def _release(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _turn_of_others(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._clock.callLater(0, turn.callback, None)
        return turn


def _parts(lines: bytes) -> Iterator[bytes]:
    """Whole lines, `PART_BYTES` or less at a time; a longer line is a part of its own."""
    start = 0
    while len(lines) - start > PART_BYTES:
        end = lines.rfind(b"\n", start, start + PART_BYTES + 1)
        if end < 0:
            end = lines.find(b"\n", start)
            if end < 0:
                break
        yield lines[start:end]
        start = end + 1
    yield lines[start:]


_: type[Keep] = ReporterKeep
