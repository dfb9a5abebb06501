"""An InfluxDB for the demo: Debian's influxd on loopback, with data of its own, and the few questions the demo asks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from torfluxd.children import Keeper
from torfluxd.errors import ChildError, UpstreamError
from torfluxd.influx.agent import InfluxdbReactor, influxdb_agent
from torfluxd.influx.settle import settle
from torfluxd.influx.url import InfluxdbUrl

__all__ = ["DemoInfluxd", "find_influxd", "influxd_config"]

START_SECONDS = 30.0
"""How long a start may take: half a second on an idle machine."""

ANSWER_SECONDS = 30.0
"""How long an answer may take: milliseconds on an idle machine."""

_POLL_SECONDS = 0.05

# Nothing else listens, nothing is sent anywhere, and nothing is written on its own.
_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:0"

[meta]
dir = "{directory}/meta"

[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
query-log-enabled = false
{data_options}

[monitor]
store-enabled = false

[subscriber]
enabled = false

[continuous_queries]
enabled = false

[http]
bind-address = "127.0.0.1:{port}"
log-enabled = {log_enabled}
{http_options}

{further}
"""

_LISTENING = re.compile(r'msg="Listening on HTTP" .*addr=127\.0\.0\.1:(\d+)')


class _Body(Protocol):
    """Collects an answer; it is our own influxd's, so its size is what we asked for."""

    def __init__(self) -> None:
        self.whole: Deferred[bytes] = Deferred()
        self._parts: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is whole, or will never be."""
        if reason.check(ResponseDone):
            self.whole.callback(b"".join(self._parts))
        else:
            self.whole.errback(reason)


class DemoInfluxd:
    """An influxd that runs.

    :ivar port: where it serves HTTP, on 127.0.0.1.
    """

    def __init__(self, reactor: InfluxdbReactor, port: int) -> None:
        self.port = port
        self._reactor = reactor
        self._agent = influxdb_agent(reactor, InfluxdbUrl("127.0.0.1", port))

    @classmethod
    async def start(cls, reactor: InfluxdbReactor, keeper: Keeper, directory: Path) -> DemoInfluxd:
        """Start one.

        :param directory: for its data; it is made.
        :raises ChildError: there is no influxd, or it does not start.
        """
        binary = find_influxd()
        directory.mkdir(mode=0o700)
        config, log = directory / "influxdb.conf", directory / "log"
        config.write_text(influxd_config(directory))
        child = await keeper.spawn("influxd", [binary, "-config", config], log)
        port = await _port_of(reactor, log, lambda: child.exit_code is not None)
        return cls(reactor, port)

    async def query(self, statement: str, database: str = "") -> list[dict[str, Any]]:
        """Ask in InfluxQL.

        :returns: the series of the answer.
        :raises UpstreamError: the answer is an error, or does not come.
        """
        question = urlencode({"q": statement, "db": database}).encode()
        # Twisted's client wraps a cancellation, Ctrl-C's for instance, in errors of its own; `settle` unwraps it.
        answer = await settle(Deferred.fromCoroutine(self._ask(question)), self._reactor, ANSWER_SECONDS)
        (result,) = json.loads(answer)["results"]
        if "error" in result:
            raise UpstreamError(f"influxd answered: {result['error']}")
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    async def _ask(self, question: bytes) -> bytes:
        response = await self._agent.request(b"POST", b"http://influxd/query?" + question)
        body = _Body()
        response.deliverBody(body)
        return await body.whole

    async def close(self) -> None:
        """Close the connections to it."""
        await self._agent.close()


def influxd_config(
    directory: Path,
    port: int = 0,
    *,
    log_enabled: bool = False,
    data_options: str = "",
    http_options: str = "",
    further: str = "",
) -> str:
    """A configuration for an influxd that keeps to itself.

    :param directory: for its data.
    :param port: where on 127.0.0.1 it serves HTTP; 0: the kernel chooses.
    :param log_enabled: log each request.
    :param data_options: further lines of the section `[data]`.
    :param http_options: further lines of the section `[http]`.
    :param further: further sections.
    """
    return _CONFIG.format(
        directory=directory,
        port=port,
        log_enabled=str(log_enabled).lower(),
        data_options=data_options,
        http_options=http_options,
        further=further,
    )


def find_influxd() -> str:
    """Find the influxd to run.

    :raises ChildError: there is none in PATH.
    """
    binary = shutil.which("influxd")
    if binary is None:
        raise ChildError("there is no influxd in PATH: install it (Debian: apt-get install influxdb)")
    return binary


async def _port_of(reactor: IReactorTime, log: Path, has_ended: Callable[[], bool]) -> int:
    """Wait until it listens, and say where."""
    deadline = reactor.seconds() + START_SECONDS
    while True:
        found = _LISTENING.search(log.read_text("utf-8", "replace") if log.exists() else "")
        if found is not None:
            return int(found[1])
        if has_ended() or reactor.seconds() > deadline:
            raise ChildError(f"influxd did not start; its last words are in {log}")
        await deferLater(reactor, _POLL_SECONDS)
