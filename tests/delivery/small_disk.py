"""A program that spools on a disk of a few megabytes, which it mounts for itself alone, and says how that went in JSON.

Run in a mount namespace of its own, see `test_disk_trouble.py`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import AtOnce
from torfluxd.delivery.ledger import RETRY_SECONDS
from torfluxd.delivery.lending import BorrowedBatch
from torfluxd.delivery.steps import RESERVE_BYTES, Bounds

told: list[str] = []


def mount(*arguments: str) -> None:
    """Mount it, or mount it anew with other options."""
    subprocess.run(["mount", "-t", "tmpfs", *arguments], check=True)


def result(deferred: Deferred[Any]) -> object:
    """What a Deferred fired with, or the name of the error."""
    results: list[object] = []
    deferred.addErrback(lambda failure: failure.type.__name__).addBoth(results.append)
    return results[0]


def put(spool: DiskSpool, number: int) -> object:
    """Put a batch of ten kilobytes that can be told from others."""
    return result(spool.put(Batch(Destination("telemetry"), b"%d" % number + b" " * 10_000, 1)))


def numbers(spool: DiskSpool) -> list[int]:
    """What it lends, in order."""
    found = []
    while (lease := result(spool.lend())) is not None:
        assert isinstance(lease, BorrowedBatch)
        found.append(int(lease.batch.lines))
    return found


def open_spool(path: Path, clock: Clock, bounds: Bounds | None = None) -> DiskSpool:
    """Open it."""
    spool = result(DiskSpool.open(path, clock, AtOnce(), told.append, bounds))
    assert isinstance(spool, DiskSpool)
    return spool


def fill(path: Path, clock: Clock) -> dict[str, object]:
    """Put until the disk is full, make room, and put again."""
    spool = open_spool(path, clock)
    kept = 0
    while (failed := put(spool, kept)) is None:
        kept += 1
    at_once = put(spool, 1000)
    clock.advance(RETRY_SECONDS)
    later = put(spool, 1001)
    trouble, counted = spool.trouble, spool.counts.points
    mount("-o", "remount,size=4m", "tmpfs", str(path.parent))
    too_soon = put(spool, 1002)
    clock.advance(RETRY_SECONDS)
    afterwards = put(spool, kept)
    return {
        "kept": kept,
        "counted": counted,
        "failed": [failed, at_once, later, too_soon],
        "afterwards": afterwards,
        "trouble": [bool(trouble), bool(spool.trouble)],
        "numbers": numbers(spool),
    }


def empty(path: Path, clock: Clock) -> dict[str, object]:
    """Put until the disk is full, let somebody else have the last pages, deliver everything, and put again."""
    mount("-o", "remount,size=24m", "tmpfs", str(path.parent))
    spool = open_spool(path, clock, Bounds(reserve_bytes=RESERVE_BYTES, lend_points=50, lend_bytes=1_000_000))
    kept = 0
    while (failed := put(spool, kept)) is None:
        kept += 1
    take_the_rest(path.with_name("other"))
    proved = result(spool.prove())
    delivered = 0
    while (lease := result(spool.lend())) is not None:
        assert isinstance(lease, BorrowedBatch)
        assert result(lease.delivered()) is None
        delivered += lease.batch.points
    too_soon = put(spool, 1000)
    clock.advance(RETRY_SECONDS)
    afterwards = put(spool, kept)
    return {
        "kept": kept,
        "delivered": delivered,
        "failed": [failed, proved, too_soon],
        "afterwards": afterwards,
        "trouble": bool(spool.trouble),
        "numbers": numbers(spool),
    }


def take_the_rest(path: Path) -> None:
    """Be somebody else, who needs all that is left of the disk."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def read_only(path: Path, clock: Clock) -> dict[str, object]:
    """Put, close, open on a disk that can only be read, and put again when it can be written."""
    spool = open_spool(path, clock)
    put(spool, 0)
    spool.close()
    mount("-o", "remount,ro", "tmpfs", str(path.parent))
    spool = open_spool(path, clock)
    trouble = spool.trouble
    failed = put(spool, 1000)
    mount("-o", "remount,rw", "tmpfs", str(path.parent))
    clock.advance(RETRY_SECONDS)
    afterwards = put(spool, 1)
    return {
        "kept": 1,
        "failed": [failed],
        "afterwards": afterwards,
        "trouble": [bool(trouble), bool(spool.trouble)],
        "numbers": numbers(spool),
    }


def main(what: str, directory: str) -> None:
    """Mount the disk, and do one of the two."""
    mount("-o", "size=1m", "tmpfs", directory)
    do = {"fill": fill, "empty": empty, "read_only": read_only}[what]
    print(json.dumps(do(Path(directory) / "spool.db", Clock()) | {"told": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
