"""An honest writer, who notes what he sees while others flood."""

from __future__ import annotations

import http.client
import socket
import statistics
import time
from collections.abc import Callable

from attrs import frozen

__all__ = ["HonestWriter", "Measured"]

PAUSE_SECONDS = 0.01
"""Between his writes."""

ANSWER_SECONDS = 10.0
"""How long he waits for an answer: less than any stock client does."""


@frozen
class Measured:
    """What an honest writer saw.

    :ivar latencies: of those writes that were stored, in seconds, in order.
    :ivar failed: how many were not.
    """

    latencies: list[float]
    failed: int

    @property
    def success(self) -> float:
        """Which part was stored."""
        return len(self.latencies) / (len(self.latencies) + self.failed)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.latencies)

    @property
    def p99(self) -> float:
        """Seconds."""
        return self.latencies[len(self.latencies) * 99 // 100]

    def __str__(self) -> str:
        return (
            f"{100 * self.success:.2f} % of {len(self.latencies) + self.failed} stored,"
            f" p50 {1e3 * self.median:.2f} ms, p99 {1e3 * self.p99:.2f} ms"
        )


class HonestWriter:
    """Writes one point after the other, over one connection.

    :param connect: opens a connection to the gateway, through a circuit of its own.
    """

    def __init__(self, connect: Callable[[], socket.socket], hostname: str = "a") -> None:
        self._connect = connect
        self._hostname = hostname
        self._client: http.client.HTTPConnection | None = None

    def measure(self, seconds: float) -> Measured:
        """Write for so long."""
        latencies, failed = [], 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.perf_counter()
            if self._write(b"honest value=%di %d" % (len(latencies), time.time_ns())):
                latencies.append(time.perf_counter() - begun)
            else:
                failed += 1
            time.sleep(PAUSE_SECONDS)
        return Measured(sorted(latencies), failed)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _write(self, line: bytes) -> bool:
        try:
            if self._client is None:
                client = http.client.HTTPConnection(self._hostname)
                client.sock = self._connect()
                client.sock.settimeout(ANSWER_SECONDS)
                self._client = client
            self._client.request("POST", "/write?db=telemetry", line)
            answer = self._client.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return False
        return answer.status == http.HTTPStatus.NO_CONTENT
