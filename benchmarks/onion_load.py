"""A load generator for onion services: writes through a SOCKS port of tor, on warm circuits or on fresh ones.

A program, `python -m benchmarks.onion_load JOB`, so that its CPU time is its own; JOB is a :class:`Job` as JSON, and it
prints a :class:`Report` as JSON. Tor is the limit here by far, so Python is fast enough.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, cast

from attrs import asdict, define, field, frozen
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionClosed
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from benchmarks.house import BenchError
from benchmarks.processes import cpu_seconds, resident_bytes
from torfluxd.errors import SocksError
from torfluxd.gateway.service import GatewayReactor
from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.socks import Isolation, SocksEndpoint
from torfluxd.ops.foreground import run_in_foreground

__all__ = ["Job", "Report", "parse_report"]

POINTS = 10
"""In each write: a report of a program that records ten things a minute."""

WARM_UP_SECONDS = 2.0
"""Before the timed part of fresh circuits: several times what one of them takes, so that all are at different steps."""

CONNECT_ATTEMPTS = 20
ATTEMPT_SECONDS = 1.0
"""Between attempts to reach an onion service that has just come up: its descriptor is uploaded within seconds."""

STRAGGLER_SECONDS = 10.0
"""What a write in flight gets after the timed part. Now and then tor needs minutes for a circuit that it lost."""

_MARK = "torfluxd-bench "


@frozen
class Job:
    """What to do.

    :ivar socks: tor's SOCKS port, a unix socket.
    :ivar hostname: the onion service.
    :ivar database: where the points go.
    :ivar connections: writes in flight at once.
    :ivar fresh: whether each write has a circuit of its own; else each connection has one, and is kept.
    :ivar seconds: of the timed part.
    :ivar first_second: where the timestamps begin, in Unix time.
    :ivar processes: whose CPU time and memory to tell: name to process id.
    """

    socks: str
    hostname: str
    database: str
    connections: int
    fresh: bool
    seconds: float
    first_second: int
    processes: Mapping[str, int]


@frozen
class Report:
    """What came of it.

    :ivar writes: acknowledged within the timed part.
    :ivar acknowledged: in all.
    :ivar failed: streams that tor did not open, or lost.
    :ivar seconds: of the timed part.
    :ivar p50_ms: median latency, from the wish to write to the answer.
    :ivar p99_ms: the latency that 1 in 100 exceeds.
    :ivar cpu_seconds: within the timed part, by the names in the job, and `load` for the generator itself.
    :ivar grown_bytes: how much more memory they hold at the end than at the beginning.
    """

    writes: int
    acknowledged: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: Mapping[str, float]
    grown_bytes: Mapping[str, int]


def parse_report(said: str) -> Report:
    """Find the report in the program's output.

    :raises BenchError: it is not there.
    """
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise BenchError(f"the load generator did not report; it said: {said.strip()}")
    return Report(**json.loads(lines[-1].removeprefix(_MARK)))


class Writer(Protocol):
    """One connection, with at most one write in flight."""

    def __init__(self) -> None:
        self._answered: Deferred[None] | None = None
        self._received = b""

    def close(self) -> None:
        """Close the connection."""
        assert self.transport is not None
        self.transport.loseConnection()

    def write(self, request: bytes) -> Deferred[None]:
        """Send one request.

        :returns: fires when it is acknowledged; fails with :class:`BenchError` when the answer is not 204, and with
            :class:`~twisted.internet.error.ConnectionClosed` when none comes. Cancelling it ends the connection.
        """
        assert self.transport is not None
        self._answered = Deferred(lambda _: self.close())
        self.transport.write(request)
        return self._answered

    def dataReceived(self, data: bytes) -> None:
        """Take the answer: a head, since 204 has no body."""
        self._received += data
        if b"\r\n\r\n" in self._received and self._answered is not None:
            status, self._received = self._received.partition(b"\r\n")[0], b""
            answered, self._answered = self._answered, None
            if b" 204 " in status:
                answered.callback(None)
            else:
                answered.errback(BenchError(f"a write was answered with {status.decode('latin-1')}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """No answer comes any more."""
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.errback(reason)


def requests(job: Job) -> Iterator[bytes]:
    """Writes without end; no timestamp comes twice."""
    connection = b"close" if job.fresh else b"keep-alive"
    for batch in itertools.count():
        first = job.first_second * 1_000_000_000 + batch * POINTS
        lines = (
            f"backup_run,lang=de,os=linux,version=2.1.{point} duration_seconds=12.83,files=3007i {first + point}"
            for point in range(POINTS)
        )
        body = "\n".join(lines).encode()
        yield (
            b"POST /write?db=%b&precision=ns HTTP/1.1\r\nHost: %b\r\nConnection: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (job.database.encode(), job.hostname.encode(), connection, len(body), body)
        )


@define
class _Generator:
    """One run of the program."""

    reactor: GatewayReactor
    job: Job
    _requests: Iterator[bytes] = field(init=False)
    _latencies: list[tuple[float, float]] = field(factory=list)  # when it was answered, and after how long
    _failed: list[None] = field(factory=list)
    _held_bytes: dict[str, int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._requests = requests(self.job)
        self._held_bytes = self._memory()

    async def run(self) -> int:
        """Do the job, and print the report."""
        report = await (self._fresh() if self.job.fresh else self._warm())
        print(_MARK + json.dumps(asdict(report)), flush=True)
        return 0

    async def _warm(self) -> Report:
        """Open all connections, each on a circuit of its own, and then keep them all busy."""
        writers = await self._all(self._opened() for _ in range(self.job.connections))
        begun, cpu = time.monotonic(), self._cpu()
        await self._all(self._keep_busy(writer, begun + self.job.seconds) for writer in writers)
        report = self._report(begun, time.monotonic(), cpu)
        for writer in writers:
            writer.close()
        return report

    async def _fresh(self) -> Report:
        """Keep so many writes in flight, each with a circuit of its own from its beginning."""
        await (
            self._opened()
        )  # so that the client's tor knows the descriptor, as a reporter's does after its first report
        begin = time.monotonic() + WARM_UP_SECONDS
        end = begin + self.job.seconds
        busy = self._all(self._report_until(end) for _ in range(self.job.connections))
        await deferLater(self.reactor, WARM_UP_SECONDS)
        begun, cpu = time.monotonic(), self._cpu()
        await deferLater(self.reactor, self.job.seconds)
        ended, spent = time.monotonic(), self._cpu()
        stop = self.reactor.callLater(STRAGGLER_SECONDS, busy.cancel)
        await busy  # what is in flight is still acknowledged, and stored
        if stop.active():
            stop.cancel()
        return self._report(begun, ended, cpu, spent)

    async def _opened(self) -> Writer:
        """A connection on a circuit of its own, that has carried a write."""
        for attempt in range(1, CONNECT_ATTEMPTS + 1):
            try:
                writer = await self._connect()
                await self._timed(writer)
                return writer
            except SocksError:
                if attempt == CONNECT_ATTEMPTS:
                    raise
                await deferLater(self.reactor, ATTEMPT_SECONDS)
        raise AssertionError("unreachable")

    async def _connect(self) -> Writer:
        factory = Factory.forProtocol(Writer)
        factory.noisy = False
        endpoint = SocksEndpoint(
            self.reactor,
            UNIXClientEndpoint(self.reactor, self.job.socks),
            parse_onion_address(self.job.hostname),
            80,
            Isolation.fresh(),
        )
        return cast(Writer, await endpoint.connect(factory))

    async def _keep_busy(self, writer: Writer, end: float) -> None:
        while time.monotonic() < end:
            await self._timed(writer)

    async def _timed(self, writer: Writer) -> None:
        begun = time.monotonic()
        await writer.write(next(self._requests))
        self._answered(begun)

    async def _report_until(self, end: float) -> None:
        while (begun := time.monotonic()) < end:
            try:
                writer = await self._connect()
                await writer.write(next(self._requests))
            except (SocksError, ConnectionClosed, CancelledError):
                self._failed.append(None)
            else:
                self._answered(begun)
                writer.close()

    def _answered(self, begun: float) -> None:
        now = time.monotonic()
        self._latencies.append((now, now - begun))

    def _cpu(self) -> dict[str, float]:
        of_others = {name: cpu_seconds(pid) for name, pid in self.job.processes.items()}
        return of_others | {"load": time.process_time()}

    def _memory(self) -> dict[str, int]:
        return {name: resident_bytes(pid) for name, pid in self.job.processes.items()}

    def _report(
        self, begun: float, ended: float, before: Mapping[str, float], after: Mapping[str, float] | None = None
    ) -> Report:
        after = after or self._cpu()
        latencies = sorted(latency for when, latency in self._latencies if begun <= when <= ended)
        if not latencies:
            raise BenchError("nothing was acknowledged")
        return Report(
            writes=len(latencies),
            acknowledged=len(self._latencies),
            failed=len(self._failed),
            seconds=ended - begun,
            p50_ms=1e3 * statistics.median(latencies),
            p99_ms=1e3 * latencies[len(latencies) * 99 // 100],
            cpu_seconds={name: after[name] - before[name] for name in before},
            grown_bytes={name: held - self._held_bytes[name] for name, held in self._memory().items()},
        )

    @staticmethod
    def _all(coroutines: Iterator[Coroutine[Deferred[Any], Any, Any]]) -> Deferred[list[Any]]:
        return gatherResults([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)


def main() -> int:
    """Run the program; its exit code."""
    generator = _Generator(cast(GatewayReactor, reactor), Job(**json.loads(sys.argv[1])))
    return run_in_foreground(generator.reactor, generator.run)


if __name__ == "__main__":
    sys.exit(main())
