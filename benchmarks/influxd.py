"""The InfluxDB behind all peers: Debian's influxd with data of its own, which can be stopped and started again."""

from __future__ import annotations

import signal
from pathlib import Path

from attrs import define, field

from benchmarks.house import BenchError, House
from torfluxd.children import Child
from torfluxd.demo_influxd import DemoInfluxd, find_influxd, influxd_config
from torfluxd.onion.network import free_ports

__all__ = ["BenchInfluxd"]

_LOOK_SECONDS = 0.05
"""How often it is asked while points may still arrive."""


@define
class BenchInfluxd:
    """An influxd.

    :ivar port: where it serves HTTP on 127.0.0.1, the same in all its lives.
    """

    house: House
    directory: Path
    port: int
    _client: DemoInfluxd
    _child: Child | None = field(default=None)

    @classmethod
    async def launch(cls, house: House, name: str = "influxd") -> BenchInfluxd:
        """Start one with empty data.

        :raises ChildError: there is no influxd.
        :raises BenchError: it does not come up.
        """
        directory = house.directory / name
        directory.mkdir()
        (port,) = free_ports(1)
        (directory / "influxdb.conf").write_text(influxd_config(directory, port))
        influxd = cls(house, directory, port, DemoInfluxd(house.reactor, port))
        await influxd.start()
        return influxd

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._child is not None
        return self._child.pid

    async def start(self) -> None:
        """Start it with the data that it has; raises as :meth:`launch`."""
        log = self.directory / "log"
        argv: list[str | Path] = [find_influxd(), "-config", self.directory / "influxdb.conf"]
        self._child = await self.house.start("influxd", argv, log)
        await self.house.until_listening(self.port, self._child, log)

    async def stop(self) -> None:
        """End it as an operator would, and wait until it has ended."""
        assert self._child is not None
        await self._client.close()
        self._child.signal(signal.SIGTERM)
        await self._child.when_ended()

    async def create(self, database: str) -> None:
        """Create a database."""
        await self._client.query(f"CREATE DATABASE {database}")

    async def drop(self, database: str) -> None:
        """Drop a database, with all that is done for it in the background."""
        await self._client.query(f"DROP DATABASE {database}")

    async def count(self, database: str, first_second: int | None = None, seconds: int = 0) -> int:
        """Count points.

        :param first_second: from this Unix time on; all by default.
        :param seconds: for so long.
        """
        where = ""
        if first_second is not None:
            where = f" WHERE time >= {first_second}s AND time < {first_second + seconds}s"
        series = await self._client.query(f"SELECT count(files) FROM backup_run{where}", database)
        return int(series[0]["values"][0][1]) if series else 0

    async def expect(self, database: str, acknowledged: int, more: int, deadline_seconds: float = 0) -> None:
        """Find every point that was acknowledged, and none that nobody sent.

        :param more: how many points may be there besides, which were sent and not acknowledged.
        :param deadline_seconds: how long the acknowledged ones may take to arrive.
        :raises BenchError: there are fewer, or more.
        """
        clock = self.house.reactor
        deadline = clock.seconds() + deadline_seconds
        while (found := await self.count(database)) < acknowledged and clock.seconds() < deadline:
            await self.house.pause(_LOOK_SECONDS)
        if not acknowledged <= found <= acknowledged + more:
            raise BenchError(f"{acknowledged} points were acknowledged, and InfluxDB has {found}")

    async def close(self) -> None:
        """Close our connections to it."""
        await self._client.close()
