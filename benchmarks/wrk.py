"""The load generator: wrk, with `write.lua`, as a child process."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

from benchmarks.house import BenchError, House

__all__ = ["Load", "Report", "Wrk", "parse_report"]

THREADS = 1
"""Of wrk. On two cores one thread was as fast as two, and took a tenth less CPU: it is never the limit, since it makes
a write of 1 point in 16 microseconds and one of 100 in 80, of which the servers behind need several times as much."""

TIMEOUT_SECONDS = 10
"""When wrk calls an answer late. Its default of 2 s would hide the latencies beyond."""

WEEK_SECONDS = 7 * 86_400

FIRST_SECOND = (int(time.time()) // WEEK_SECONDS - 1) * WEEK_SECONDS
"""Where timestamps begin: the start of the last whole week, and so of a shard of InfluxDB, which holds all runs of a
day, and which the gateway's default window holds."""

ROOM_SECONDS = 100
"""Between the first timestamps of two calls of wrk; `write.lua` uses 10 for each thread."""

_SCRIPT = Path(__file__).with_name("write.lua")
_MARK = "torfluxd-bench "


@frozen
class Load:
    """What is asked of a server.

    :ivar points: in each write.
    :ivar connections: open at once, each with one write in flight at most.
    :ivar pause_ms: what each waits before a write, on average; 0: it writes as soon as it has an answer.
    """

    points: int
    connections: int
    pause_ms: int = 0

    def __str__(self) -> str:
        pause = f", {self.pause_ms} ms between writes" if self.pause_ms else ""
        return f"{self.points} point{'s' if self.points > 1 else ''} a write, {self.connections} connections{pause}"


@frozen
class Report:
    """What wrk tells about one call.

    :ivar requests: answers, of whatever kind.
    :ivar seconds: how long it ran.
    :ivar p50_ms: median latency.
    :ivar p99_ms: the latency that 1 in 100 exceeds.
    :ivar refused: answers that are not 204.
    :ivar broken: connections that broke.
    :ivar timeouts: answers that took longer than `TIMEOUT_SECONDS`.
    :ivar cpu_seconds: of wrk.
    :ivar first_second: where its timestamps begin, in Unix time; they end before `ROOM_SECONDS` later.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int
    timeouts: int
    cpu_seconds: float
    first_second: int

    @property
    def writes_per_second(self) -> float:
        """Acknowledged writes, since others end the benchmark."""
        return self.requests / self.seconds


def parse_report(said: str, first_second: int) -> Report:
    """Find in wrk's output what our script wrote there.

    :raises BenchError: it is not there.
    """
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise BenchError(f"wrk did not report; it said: {said.strip()}")
    told = json.loads(lines[-1].removeprefix(_MARK))
    return Report(
        requests=told["requests"],
        seconds=told["microseconds"] / 1e6,
        p50_ms=told["p50"] / 1e3,
        p99_ms=told["p99"] / 1e3,
        refused=told["refused"],
        broken=told["broken"],
        timeouts=told["timeouts"],
        cpu_seconds=told["cpu_seconds"],
        first_second=first_second,
    )


@frozen
class Wrk:
    """Runs wrk; no two of its calls use a timestamp twice."""

    house: House
    _first_seconds: Iterator[int] = field(factory=lambda: itertools.count(FIRST_SECOND, ROOM_SECONDS))

    async def run(self, port: int, database: str, load: Load, seconds: int) -> Report:
        """Put a load on a port of 127.0.0.1.

        :param seconds: how long.
        :raises BenchError: an answer was not 204, or a connection broke.
        """
        first_second = next(self._first_seconds)
        log = self.house.directory / f"wrk-{first_second}.log"
        argv = [
            *(
                "wrk",
                "--threads",
                THREADS,
                "--connections",
                load.connections,
                "--duration",
                f"{seconds}s",
            ),
            *("--timeout", f"{TIMEOUT_SECONDS}s", "--script", _SCRIPT, f"http://127.0.0.1:{port}"),
            *("--", database, load.points, first_second, load.pause_ms),
        ]
        await self.house.finish("wrk", [str(word) for word in argv], log)
        report = parse_report(log.read_text("utf-8", "replace"), first_second)
        log.unlink()
        if report.refused or report.broken or report.timeouts:
            raise BenchError(
                f"of {report.requests} answers {report.refused} were not 204, {report.broken} connections broke,"
                f" and {report.timeouts} answers took longer than {TIMEOUT_SECONDS} s"
            )
        return report
