"""`torfluxd demo`: the main job on one machine, for eyes and for CI.

A private Tor network, an InfluxDB of its own, the gateway through its real plugin, and six reporters with different
numbers. What they record travels through a real onion service, and what is shown is read back from InfluxDB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from math import sin
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import LoopingCall, deferLater
from twisted.python import usage

from torfluxd.children import Child, Keeper
from torfluxd.demo_influxd import DemoInfluxd, find_influxd
from torfluxd.demo_screen import Row, Screen
from torfluxd.errors import ReporterError, TorError
from torfluxd.gateway.service import GatewayReactor
from torfluxd.onion.key import OnionKey
from torfluxd.onion.network import PrivateNetwork
from torfluxd.onion.process import find_tor
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor
from torfluxd.reporter.reporter import Reporter

__all__ = ["Demo", "DemoOptions"]

DATABASE = "telemetry"

REPORTERS = 6
POINTS_PER_SECOND = 10
"""Of each reporter."""

ONCE_POINTS = 100
"""Of each reporter, with `--once`: 600 in all."""

ONCE_SECONDS = 60.0
"""How long `--once` records and waits for everything to arrive, at most."""

INTERVAL_SECONDS = 3.0
"""Between reports: short, so that there is something to see. A real reporter takes a minute."""

UP_SECONDS = 180.0
"""How long a tor may take to come up: five seconds in the private network, a minute in the real one."""

SHOW_SECONDS = 1.0
"""Between two looks at what InfluxDB has."""

_POLL_SECONDS = 0.05
_LOW, _HIGH = 0.0, 100.0
_LATEST = "SELECT last(value) FROM demo GROUP BY reporter"


class DemoOptions(usage.Options):
    """The options of `torfluxd demo`."""

    longdesc = """\
Show torfluxd at work on this machine: a private Tor network, an InfluxDB, the gateway and six reporters, all on
127.0.0.1 and in a temporary directory. Ctrl-C ends it and leaves nothing behind.
"""
    optFlags = [
        ["once", None, "Stop when 600 points are stored, or after a minute; exit code 1 unless all were."],
        ["json", None, "With --once: print the outcome as one JSON object on standard output."],
        ["public", None, "Use the real Tor network instead of a private one."],
    ]
    optParameters = [["tor-binary", None, None, "The tor to run. [default: the one in PATH]"]]

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: torfluxd demo [options]"

    def postOptions(self) -> None:
        """Find what does not go together."""
        if self["json"] and not self["once"]:
            raise usage.UsageError("--json goes with --once")


@define
class Demo:
    """One run of the demo."""

    reactor: GatewayReactor
    options: DemoOptions
    screen: Screen = field(init=False)
    keeper: Keeper = field(factory=Keeper)
    measured: dict[str, float] = field(factory=dict)
    onion: str = ""
    _started: float = 0.0
    _reporters: list[Reporter] = field(factory=list)
    _recording: list[LoopingCall] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        # With --json, standard output is for the outcome alone.
        out = sys.stderr if self.options["json"] else sys.stdout
        self.screen = Screen(out, live=out.isatty())

    async def run(self) -> int:
        """Run it.

        :returns: the exit code: 0, or 1 when `--once` did not find every point stored.
        :raises TorfluxdError: something could not be started.
        """
        find_tor(self.options["tor-binary"])
        find_influxd()  # what is missing is said before anything begins
        self.keeper.start(self.reactor)
        try:
            return await self._run(self.keeper.directory("torfluxd-demo-"))
        except CancelledError:
            self.screen.say("\nEnding everything.")
            return 0
        finally:
            await self.keeper.stop()

    async def _run(self, directory: Path) -> int:
        binary = await self._have_network(directory)
        self._step("InfluxDB", "an influxd of its own, with an empty database")
        influxd = await DemoInfluxd.start(self.reactor, self.keeper, directory / "influxd")
        await influxd.query(f"CREATE DATABASE {DATABASE}")
        client = await self._have_client_tor(directory, binary)
        try:
            await self._have_gateway(directory, binary, influxd)
            self._step("reporters", f"{REPORTERS} of them, each report on a Tor circuit of its own")
            self._begin_recording(directory / "client" / "socks.sock")
            await self._await_first_point(influxd)
            if self.options["once"]:
                return await self._once(influxd)
            return await self._show(influxd, directory)
        finally:
            await gatherResults([reporter.stopService() for reporter in self._reporters])
            await client.stopService()
            await influxd.close()

    def _step(self, name: str, what: str) -> None:
        self.screen.say(f"* {name}: {what}")

    # What must be there.

    async def _have_network(self, directory: Path) -> Path:
        """A Tor network, and the tor that joins it."""
        given = self.options["tor-binary"]
        if self.options["public"]:
            self._step("Tor", "the real network")
            return find_tor(given)
        self._step("Tor", "a private network on 127.0.0.1, which takes some 20 seconds")
        home = directory / "net"
        home.mkdir(mode=0o700)
        network = PrivateNetwork(self.reactor, home, self.keeper, given)
        seconds = await network.start(lambda line: self.screen.say(f"    {line}"))
        self.measured["seconds_to_network"] = round(seconds, 1)
        return network.tor_binary

    async def _have_client_tor(self, directory: Path, binary: Path) -> TorService:
        """The tor of the reporters; first, a tor that hosts an onion service, to know how long that takes alone."""
        alone = directory / "alone"
        onion = (OnionKey.generate(), alone / "nobody.sock")
        source = LaunchedTor(self.reactor, alone, binary, onion=onion, hear=lambda warning: None)
        self.measured["seconds_tor_alone"] = await self._seconds_until_up(TorService(source, self.reactor, say=_quiet))
        home = directory / "client"
        source = LaunchedTor(self.reactor, home, binary, socks_socket=home / "socks.sock", hear=lambda warning: None)
        client = TorService(source, self.reactor, say=_quiet)
        await self._until_up(client)
        return client

    async def _seconds_until_up(self, tor: TorService) -> float:
        begun = self.reactor.seconds()
        await self._until_up(tor)
        seconds = self.reactor.seconds() - begun
        await tor.stopService()
        return round(seconds, 2)

    async def _until_up(self, tor: TorService) -> None:
        up = tor.when_up()
        tor.startService()
        try:
            await up.addTimeout(UP_SECONDS, self.reactor)
        except BaseException:
            await tor.stopService()
            raise

    async def _have_gateway(self, directory: Path, binary: Path, influxd: DemoInfluxd) -> None:
        """The gateway, as twistd's plugin system finds it."""
        self._step("gateway", "twist torfluxd, with an onion service of its own")
        state, log = directory / "gateway", directory / "gateway.log"
        command = [sys.executable, "-m", "twisted", "--log-format=text", "torfluxd"]
        options: list[str | Path] = [
            "--influxdb",
            f"127.0.0.1:{influxd.port}",
            "--state-dir",
            state,
            "--tor-binary",
            binary,
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TORFLUX")}
        self._started = self.reactor.seconds()
        gateway = await self.keeper.spawn("the gateway", [*command, *options], log, environment)
        shown = ""
        while "published: " not in shown:
            shown = self._show_log(log, shown)
            await self._alive(gateway, log)
        self.measured["seconds_to_published"] = self._since_start()
        self.onion = (state / "hostname").read_text().strip()
        self.screen.say(f"    http://{self.onion}")

    def _show_log(self, log: Path, shown: str) -> str:
        """Show how far the gateway's tor has come."""
        text = log.read_text("utf-8", "replace") if log.exists() else ""
        for line in text[len(shown) :].splitlines():
            _, found, progress = line.partition(" tor: ")
            if found and "%" in progress and "#info" in line:
                self.screen.say(f"    {progress.strip()}")
        return text

    async def _alive(self, gateway: Child, log: Path) -> None:
        await deferLater(self.reactor, _POLL_SECONDS)
        if gateway.exit_code is not None:
            last = log.read_text("utf-8", "replace").strip().splitlines()
            raise TorError(f"the gateway ended: {next((line for line in last if 'cannot start' in line), last[-1])}")

    # The reporters.

    def _begin_recording(self, socks_socket: Path) -> None:
        endpoint = UNIXClientEndpoint(self.reactor, str(socks_socket))
        for number in range(REPORTERS):
            reporter = Reporter(
                f"http://{self.onion}",
                DATABASE,
                socks=endpoint,
                reactor=self.reactor,
                interval_seconds=INTERVAL_SECONDS,
                # A real reporter's times are no finer than a minute: there would be no curve to see.
                granularity_seconds=0,
                empty_reports=False,
                stop_seconds=1.0,
            )
            reporter.startService()
            self._reporters.append(reporter)
            self._record(reporter, number)
            recording = LoopingCall(self._record, reporter, number)
            recording.clock = self.reactor
            recording.start(1 / POINTS_PER_SECOND, now=False)
            self._recording.append(recording)

    def _record(self, reporter: Reporter, number: int) -> None:
        if self.options["once"] and reporter.stats.recorded >= ONCE_POINTS:
            return
        value = 50 + (10 + 6 * number) * sin(self.reactor.seconds() / (1 + number) + number)
        # A real reporter tells nobody which one it is; these do, so that you can tell them apart.
        reporter.record("demo", {"value": value}, {"reporter": str(number + 1)})

    async def _await_first_point(self, influxd: DemoInfluxd) -> None:
        """Have the first reports leave at once, and find the first point in InfluxDB."""
        self._flush_reporters()
        deadline = self.reactor.seconds() + ONCE_SECONDS
        while not sum(row.stored for row in await self._rows(influxd)):
            if self.reactor.seconds() > deadline:
                raise TorError(f"no point arrived within {ONCE_SECONDS:.0f} s")
            await deferLater(self.reactor, _POLL_SECONDS)
        self.measured["seconds_to_first_point"] = self._since_start()
        self.screen.say(
            f"    the first point is stored {self.measured['seconds_to_first_point']:.1f} s after the gateway's start;"
            f" tor alone takes {self.measured['seconds_tor_alone']:.1f} s to come up"
        )

    def _flush_reporters(self) -> None:
        """Have all reports leave now; whether they arrive is counted in InfluxDB."""
        for reporter in self._reporters:
            reporter.flush().addErrback(lambda failure: failure.trap(CancelledError, ReporterError))

    def _since_start(self) -> float:
        return round(self.reactor.seconds() - self._started, 2)

    # What arrives.

    async def _rows(self, influxd: DemoInfluxd) -> list[Row]:
        counts = await influxd.query("SELECT count(value) FROM demo GROUP BY reporter", DATABASE)
        stored = {series["tags"]["reporter"]: series["values"][0][1] for series in counts}
        means = await influxd.query(
            "SELECT mean(value) FROM demo WHERE time > now() - 40s GROUP BY time(2s), reporter fill(none)", DATABASE
        )
        values = {series["tags"]["reporter"]: [row[1] for row in series["values"]] for series in means}
        return [
            Row(name, reporter.stats.recorded, stored.get(name, 0), values.get(name, []))
            for name, reporter in ((str(number + 1), each) for number, each in enumerate(self._reporters))
        ]

    async def _show(self, influxd: DemoInfluxd, directory: Path) -> int:
        """Show what arrives, until Ctrl-C."""
        self.screen.say(
            "\nLook for yourself, from another terminal:\n"
            f"    curl -G 'http://127.0.0.1:{influxd.port}/query?db={DATABASE}&pretty=true' \\\n"
            f"        --data-urlencode 'q={_LATEST}'\n"
            f"    curl -i --proxy socks5h://localhost{directory}/client/socks.sock http://{self.onion}/ping\n"
            f"    less {directory}/gateway.log\n"
            "\nWhat InfluxDB has, live; Ctrl-C ends it all:\n"
        )
        while True:
            self.screen.draw(await self._rows(influxd), _LOW, _HIGH)
            await deferLater(self.reactor, SHOW_SECONDS)

    async def _once(self, influxd: DemoInfluxd) -> int:
        """Wait until everything is recorded and stored, and tell the outcome."""
        deadline = self.reactor.seconds() + ONCE_SECONDS
        wanted = REPORTERS * ONCE_POINTS
        rows = await self._rows(influxd)
        while self.reactor.seconds() < deadline and sum(row.stored for row in rows) < wanted:
            self.screen.draw(rows, _LOW, _HIGH)
            await deferLater(self.reactor, SHOW_SECONDS)
            rows = await self._rows(influxd)
            if sum(row.recorded for row in rows) == wanted:
                self._stop_recording()
        self._stop_recording()
        self.screen.draw(rows, _LOW, _HIGH)
        return self._tell_outcome(rows)

    def _stop_recording(self) -> None:
        """Nothing more is recorded, and what was leaves without waiting for its moment."""
        if self._recording:
            self._flush_reporters()
        while self._recording:
            self._recording.pop().stop()

    def _tell_outcome(self, rows: list[Row]) -> int:
        recorded, stored = sum(row.recorded for row in rows), sum(row.stored for row in rows)
        stats = [reporter.stats for reporter in self._reporters]
        outcome = {
            "onion": self.onion,
            "reporters": len(rows),
            "recorded": recorded,
            "stored": stored,
            "dropped": sum(each.dropped for each in stats),
            "rejected": sum(each.rejected for each in stats),
            **self.measured,
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if self.options["json"]:
            print(json.dumps(outcome), flush=True)
        else:
            self.screen.say("every point is stored" if recorded == stored else "NOT every point is stored")
        return 0 if recorded == stored >= REPORTERS * ONCE_POINTS else 1


def _quiet(line: str) -> None:
    """The gateway's progress is shown; that of two more tors would only confuse."""
