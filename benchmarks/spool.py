"""How fast the spool on disk is: puts, and draining, with its real thread and real syncs.

    python benchmarks/spool.py [--points N] [--directory DIR]

Three measurements, each a median of several rounds, because machines are noisy:

* puts: groups of 64 puts at once, each of which waits for its own acknowledgement, as that many strangers would;
* one at a time: each put waits for the one before it, so that each has a commit of its own;
* drain: a courier empties the spool into an upstream that answers at once, from rows of 1 and of 100 points.

DIR is where the spool is, on the disk to measure; by default the directory for temporary files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.task import react

from torfluxd.boundaries import Batch, Destination, Fate, Reply
from torfluxd.delivery.couriers import Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import OneThread
from torfluxd.delivery.steps import Bounds

TOGETHER = 64
"""How many puts wait at once."""

ROUNDS = 3
"""How often each measurement is made."""

LEND_POINTS = 10_000
LEND_BYTES = 2 * 1024 * 1024
"""How much is lent as one, as in the gateway."""

DEADLINE_SECONDS = 600.0


class Ready:
    """An upstream that stores everything at once, and counts."""

    def __init__(self) -> None:
        self.points = 0
        self.sends = 0

    def send(self, batch: Batch) -> Deferred[Reply]:
        """Answer."""
        self.points += batch.points
        self.sends += 1
        return succeed(Reply(Fate.DELIVERED))


def batches(points: int, points_a_row: int) -> Iterator[Batch]:
    """That many points, in batches; each line of some 80 bytes."""
    for first in range(0, points, points_a_row):
        lines = [
            b"backup,host=%d,version=2.1 seconds=12.8,files=3000i %d"
            % (number % 997, 1_800_000_000_000_000_000 + number)
            for number in range(first, first + points_a_row)
        ]
        yield Batch(Destination("telemetry"), b"\n".join(lines), points_a_row)


async def open_spool(directory: Path) -> DiskSpool:
    """A spool with a thread."""
    reactor = cast(Any, global_reactor)
    bounds = Bounds(lend_points=LEND_POINTS, lend_bytes=LEND_BYTES)
    return await DiskSpool.open(directory / "spool.db", reactor, OneThread(reactor), print, bounds)


async def fill(spool: DiskSpool, points: int, points_a_row: int, together: int) -> float:
    """Put that many points; how many seconds it took."""
    left = batches(points, points_a_row)

    async def one_after_the_other() -> None:
        for batch in left:
            await spool.put(batch)

    began = time.perf_counter()
    await gatherResults([Deferred.fromCoroutine(one_after_the_other()) for _ in range(together)])
    return time.perf_counter() - began


async def drain(spool: DiskSpool) -> tuple[float, Ready]:
    """Empty it; how many seconds it took."""
    upstream = Ready()
    couriers = Couriers(spool, upstream, cast(Any, global_reactor), lambda attempt: 1.0, lambda destination: None)
    began = time.perf_counter()
    couriers.start()
    assert await couriers.flush(DEADLINE_SECONDS)
    seconds = time.perf_counter() - began
    await couriers.stop(0)
    return seconds, upstream


async def measure(place: Path | None, points: int) -> dict[str, float]:
    """All of it, once."""
    found: dict[str, float] = {}
    for points_a_row in (1, 100):
        with tempfile.TemporaryDirectory(dir=place) as directory:
            spool = await open_spool(Path(directory))
            seconds = await fill(spool, points, points_a_row, TOGETHER)
            found[f"puts/s of {points_a_row}, {TOGETHER} at once"] = points / points_a_row / seconds
            seconds, upstream = await drain(spool)
            assert upstream.points == points
            found[f"drained points/s from rows of {points_a_row}"] = points / seconds
            found[f"sends for rows of {points_a_row}"] = upstream.sends
            few = min(points // points_a_row, 500) * points_a_row
            found[f"puts/s of {points_a_row}, one at a time"] = (
                few / points_a_row / await fill(spool, few, points_a_row, 1)
            )
            await spool.close()
    return found


async def run(place: Path | None, points: int) -> None:
    """Several times; print the medians as JSON."""
    rounds = [await measure(place, points) for _ in range(ROUNDS)]
    print(json.dumps({name: round(statistics.median(each[name] for each in rounds)) for name in rounds[0]}, indent=2))


def main(reactor: object, *arguments: str) -> Deferred[None]:
    """Run it."""
    parser = argparse.ArgumentParser(description="How fast the spool on disk is.")
    parser.add_argument("--points", type=int, default=100_000, help="how many to put and to drain [default: 100000]")
    parser.add_argument("--directory", type=Path, help="where the spool is [default: for temporary files]")
    options = parser.parse_args(arguments)
    return Deferred.fromCoroutine(run(options.directory, options.points))


if __name__ == "__main__":
    import sys

    react(main, sys.argv[1:])
