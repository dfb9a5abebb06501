"""A program that puts numbered batches into a spool, several at a time, and delivers some, and says what it knows.

The batches are of three destinations, and a few in a row are lent as one.

It writes a line to standard output, at once, for each thing that it knows: `acked N` when a put was acknowledged,
`giving N` before a delivery is told to the spool, `gone N` when that was acknowledged. It ends when it is killed, or
when it has put as many as it was told.

:param path: the file of the spool.
:param first: the number of the first batch.
:param count: how many batches.
:param together: how many puts at a time.
:param delivered_of_ten: how many batches are delivered while ten are put; more than ten empty the spool.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import OneThread
from torfluxd.delivery.steps import Bounds


def say(word: str, number: int) -> None:
    """One write for each line: a line that was begun is whole."""
    os.write(1, f"{word} {number}\n".encode())


async def deliver(spool: DiskSpool) -> None:
    """Deliver the oldest batch, and those that are lent with it."""
    lease = await spool.lend()
    if lease is not None:
        numbers = [int(line.split()[0]) for line in lease.batch.lines.splitlines()]
        for number in numbers:
            say("giving", number)
        await lease.delivered()
        for number in numbers:
            say("gone", number)


async def put_and_deliver(path: Path, first: int, count: int, together: int, delivered_of_ten: int) -> None:
    """Do it."""
    bounds = Bounds(lend_points=5, lend_bytes=10_000)
    spool = await DiskSpool.open(path, global_reactor, OneThread(global_reactor), print, bounds)
    for start in range(first, first + count, together):
        asked: list[Deferred[None]] = []
        for number in range(start, min(start + together, first + count)):
            where = Destination("telemetry", f"{number % 3} days")
            batch = Batch(where, b"%d " % number + b"x" * (number * 37 % 6000), 1)
            asked.append(spool.put(batch).addCallback(lambda _, number=number: say("acked", number)))
            deliveries = (number + 1) * delivered_of_ten // 10 - number * delivered_of_ten // 10
            asked += [Deferred.fromCoroutine(deliver(spool)) for _ in range(deliveries)]
        await gatherResults(asked)
    await spool.close()


def main(reactor: object) -> Deferred[None]:
    """Run it."""
    path, first, count, together, delivered_of_ten = sys.argv[1:]
    numbers = (int(number) for number in (first, count, together, delivered_of_ten))
    return Deferred.fromCoroutine(put_and_deliver(Path(path), *numbers))


if __name__ == "__main__":
    react(main)
