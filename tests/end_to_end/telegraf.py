"""A small client that acts by Telegraf's rules: which answers it takes for written, dropped, or to be sent again.

They were read in its sources: plugins/outputs/influxdb/http.go and influxdb_v2/http.go.
"""

from __future__ import annotations

import gzip
import http.client
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Final

__all__ = ["Telegraf", "is_json_or_empty"]

TIMEOUT_SECONDS: Final = 5.0
"""Its default for one request."""

MAX_ATTEMPTS: Final = 600
"""It tries for ever; a test does not, but for a minute."""

_DROPPED_5XX: Final = (
    "retention policy not found",
    "partial write",
    "unable to parse",
    "points beyond retention policy",
    "hinted handoff queue not empty",
)


def is_json_or_empty(body: bytes) -> bool:
    """Whether Telegraf takes an error for one that an InfluxDB has written."""
    if not body:
        return True
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


class Telegraf:
    """Its output for InfluxDB 1.x, or 2.x.

    :param port: of the InfluxDB on 127.0.0.1.
    :param v2: which of them.
    :param loses: called before each answer is read: whether it is lost on its way, so that the batch is sent again.
    :ivar dropped: batches that it gave up.
    """

    def __init__(self, port: int, *, v2: bool = False, loses: Callable[[], bool] = lambda: False) -> None:
        self._port = port
        self._v2 = v2
        self._loses = loses
        self.dropped: list[bytes] = []
        self.created: int | None = None

    def start(self) -> None:
        """Create the database, as its output for 1.x does, which only warns when that fails."""
        form = urllib.parse.urlencode({"q": 'CREATE DATABASE "telemetry"'}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Telegraf/1.30.0"}
        self.created, _, _ = self._post("/query", form, kind)

    def write(self, lines: bytes) -> None:
        """Write a batch, until it is written, or dropped."""
        for _ in range(MAX_ATTEMPTS):
            try:
                status, headers, body = self._post(*self._request(lines))
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if self._loses():
                continue
            if self._is_written(status):
                return
            if self._is_dropped(status, body):
                self.dropped.append(lines)
                return
            time.sleep(min(1.0, float(headers.get("Retry-After", "0.1"))))
        raise AssertionError("Telegraf would still be trying")

    def _request(self, lines: bytes) -> tuple[str, bytes, dict[str, str]]:
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Content-Encoding": "gzip",
            "User-Agent": "Telegraf/1.30.0",
        }
        if self._v2:
            headers["Authorization"] = "Token anything"
            return "/api/v2/write?bucket=telemetry&org=any", gzip.compress(lines), headers
        return "/write?consistency=any&db=telemetry", gzip.compress(lines), headers

    def _post(self, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def _is_written(self, status: int) -> bool:
        return status in (200, 201, 202, 204, 206, 207, 208) if self._v2 else status == 204

    def _is_dropped(self, status: int, body: bytes) -> bool:
        if self._v2:
            return status // 100 == 4 and status not in (401, 403, 413, 429)
        if not is_json_or_empty(body):
            return False
        return status // 100 == 4 or any(words in body.decode() for words in _DROPPED_5XX)
