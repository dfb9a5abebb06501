"""An application that records numbered points, and says of each that it was confirmed.

It writes a line to standard output, at once, for each thing that it knows: `kept N` when the commit of a point was
confirmed, `all kept` when that is true of all, and `all sent` when nothing is left. It ends when it is killed, or told
to.

:param onion: where the gateway is.
:param state: the state directory.
:param socks: where tor is.
:param first: the number of the first point.
:param count: how many.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater, react

from torfluxd import Reporter
from torfluxd.delivery.backoff import exponential_backoff

INTERVAL_SECONDS = 3.0
"""Short, so that several intervals are lived through."""

TOGETHER = 1000


def say(words: str) -> None:
    """One write for each line: a line that was begun is whole."""
    os.write(1, f"{words}\n".encode())


async def record(reporter: Reporter, first: int, count: int) -> None:
    """Record them, some at a time, and wait for their commits."""
    for start in range(first, first + count, TOGETHER):
        numbers = range(start, min(start + TOGETHER, first + count))
        commits = [reporter.record("kept", {"n": number}, {"kind": "b"}) for number in numbers]
        for number, commit in zip(numbers, commits, strict=True):
            if await commit:
                say(f"kept {number}")


async def main(reactor: IReactorTime, onion: str, state: str, socks: str, first: str, count: str) -> None:
    """Do it."""
    reporter = Reporter(
        onion,
        "telemetry",
        state_dir=Path(state),
        socks=socks,
        interval_seconds=INTERVAL_SECONDS,
        backoff=exponential_backoff(first_seconds=0.5, factor=1.5, cap_seconds=2, jitter=lambda: 0.5),
    )
    async with reporter:
        await record(reporter, int(first), int(count))
        say("all kept")
        while reporter.stats.pending:
            await deferLater(reactor, 0.1)
        say(f"all sent: {reporter.stats}, {reporter.trouble}")


if __name__ == "__main__":
    react(lambda reactor, *arguments: Deferred.fromCoroutine(main(global_reactor, *arguments)), sys.argv[1:])
