"""A gateway whose tor is killed, stopped, told to reload and cut off, in a real Tor network, while clients write."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Awaitable, Callable
from itertools import cycle

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.end_to_end.incidents import (
    DATABASE,
    Newcomer,
    UploadObserver,
    Writer,
    cut_connections,
    figures,
    tor_process_of,
    until,
)
from tests.end_to_end.programs import ClientTor, Gateway, Program, client_tor, temporary_directory
from tests.end_to_end.under_fire.server import say
from tests.influxd import start_influxd
from tests.private_network import private_network
from torfluxd.onion.lifecycle import STEADY_SECONDS

PUBLISHED_SECONDS = 5.0
"""From tor's word that it has joined its network to a new descriptor in a directory: two seconds as a rule."""

LATE_BESIDE_OTHERS = 1
"""How many may take longer in `make test`, on a machine that does much else at that moment; the figures tell of it."""

AWAY_SECONDS = 90.0
"""How long an incident may take until it is mended; it takes some seconds, and a hang the pulse's time besides."""

FEW = 2
"""So many in a row do not yet have the gateway wait long before it begins anew."""

NEWCOMER_SECONDS = 60.0
HOLDER_SECONDS = 180.0
JOINED = "100 % Done"
PUBLISHED = "published: http://"


class SupervisionCase(TestCase):
    """A gateway with its tor, and clients who write."""

    timeout = 7200

    async def begin(self, *, own: bool) -> None:
        """Start all; the clients write once the gateway is published."""
        self.directory = temporary_directory(self.addCleanup)
        self.state = self.directory / "state"
        self.influxd = start_influxd(self)
        self.influxd.create_database(DATABASE)
        self.host: Program | None = None
        self.control = self.state / "tor" / "control.sock"
        options = ["--tor-binary", str(private_network().tor_binary)]
        if not own:
            host = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
            self.host, self.control = host, host.control
            options = ["--tor", f"unix:{host.control}"]
        self.gateway = Gateway(self.addCleanup, self.state, self.influxd.url, *options).wait_published()
        tors = [ClientTor(self.addCleanup, temporary_directory(self.addCleanup)) for _ in range(3)]
        for tor in tors:
            tor.wait_for("Bootstrapped 100%")
        self.writers = [
            Writer(f"{kind}{number}", tors[0], self.gateway.url, keeps=kind == "keeping")
            for kind in ("fresh", "keeping")
            for number in range(2)
        ]
        self.observer = UploadObserver(self.control, self.gateway.hostname)
        self.observer.start()
        self.addCleanup(self.observer.stop)
        # In turns: a tor forgets what it has fetched every ten seconds at most.
        newcomers = [await Newcomer.make(tor, self.gateway.url) for tor in tors[1:]]
        for newcomer in newcomers:
            self.addCleanup(newcomer.control.close)
        self.strangers = cycle(newcomers)
        for writer in self.writers:
            writer.start()
            self.addCleanup(writer.stop)
        self.published: list[float] = []
        self.all_published: list[float] = []
        self.newcomers: list[float] = []
        self.holders: list[float] = []

    # What happens.

    def tor_pid(self) -> int:
        """The tor that hosts the onion service."""
        pid = self.host.process.pid if self.host is not None else tor_process_of(self.state)
        assert pid is not None, "there is no tor"
        return pid

    def kill(self) -> None:
        """Tor is killed; one that is not ours is started again by whoever it belongs to."""
        self.end_tor(signal.SIGKILL)

    def terminate(self) -> None:
        """Tor is told to end."""
        self.end_tor(signal.SIGTERM)

    def end_tor(self, number: signal.Signals) -> None:
        """Have tor end by a signal, and one that is not ours begin anew."""
        os.kill(self.tor_pid(), number)
        if isinstance(self.host, ClientTor):
            torrc = self.host.control.parent / "torrc"
            control, port = self.host.control, self.host.port
            self.host.process.wait(30)
            command = [private_network().tor_binary, "-f", torrc]
            again = Program(self.addCleanup, command, self.host.log_path)
            self.host.process = again.process
            assert (control, port) == (self.host.control, self.host.port)

    def hang(self) -> None:
        """Tor hangs. One that is not ours is let go on by whoever it belongs to, when we have noticed."""
        pid = self.tor_pid()
        os.kill(pid, signal.SIGSTOP)
        if self.host is not None:
            reactor.callLater(70, os.kill, pid, signal.SIGCONT)

    def hup(self) -> None:
        """Tor reads its configuration anew."""
        os.kill(self.tor_pid(), signal.SIGHUP)

    def cut(self) -> None:
        """The control connection is cut."""
        self.assertEqual(1, cut_connections(self.gateway.process.pid, self.control))

    # What comes of it.

    def count(self, words: str) -> int:
        """How often the gateway has said so."""
        return self.gateway.log.count(words)

    async def mended(self, incident: Callable[[], None]) -> float:
        """Bring something about, and wait until the onion service is published again.

        :returns: the moment when it happened.
        """
        joined, published = self.count(JOINED), self.count(PUBLISHED)
        since = time.monotonic()
        incident()
        await until(lambda: self.count(JOINED) > joined, lambda: self.gateway.log, AWAY_SECONDS)
        at_hundred = time.monotonic()
        await until(lambda: self.count(PUBLISHED) > published, lambda: self.gateway.log, AWAY_SECONDS)
        self.published.append(self.observer.first_upload_since(at_hundred) - at_hundred)
        return since

    async def untouched(self, incident: Callable[[], None]) -> float:
        """Bring something about that takes nothing away.

        :returns: the moment when it happened.
        """
        since = time.monotonic()
        incident()
        await deferLater(reactor, 2)
        return since

    async def suffer(self, incident: Callable[[], None], wait: Callable[..., Awaitable[float]]) -> None:
        """Suffer one incident: a client that knows nothing gets through, and those that hold old descriptors do."""
        newcomer = next(self.strangers)
        await newcomer.forget()
        since = await wait(incident)
        self.newcomers.append(await newcomer.seconds_to_get_through(NEWCOMER_SECONDS))
        for writer in self.writers:
            await until(
                lambda writer=writer: writer.recovered_seconds(since) is not None,  # type: ignore[misc]
                lambda writer=writer: f"{writer.name} writes no more\n{self.gateway.log}",  # type: ignore[misc]
                HOLDER_SECONDS,
            )
            self.holders.append(writer.recovered_seconds(since) or 0.0)

    async def suffer_often(self, name: str, incident: Callable[[], None], times: int, *, away: bool = True) -> None:
        """Suffer it so often, and tell what was measured."""
        if not times:
            return
        for each in (self.published, self.newcomers, self.holders):
            each.clear()
        for number in range(1, times + 1):
            await self.suffer(incident, self.mended if away else self.untouched)
            if times > FEW:  # else the next one is taken for a tor that crashes again and again
                await deferLater(reactor, STEADY_SECONDS)
            if number % 5 == 0:
                say(f"{name}: {number} of {times}")
        say(
            f"{name}, {times} times: uploaded after 100 %: {figures(self.published)}; a client without a descriptor"
            f" got through: {figures(self.newcomers)}; clients that hold an old one, from the incident on:"
            f" {figures(self.holders)}"
        )
        self.all_published += self.published

    async def settle(self, times: int) -> None:
        """All that was acknowledged is in InfluxDB; the address was the same; nothing went wrong in the log."""
        for writer in self.writers:
            await writer.stop()
        for writer in self.writers:
            stored = self.stored(writer)
            self.assertGreater(len(writer.acknowledged), 5)
            self.assertEqual(set(), writer.acknowledged - stored, f"{writer.name} lost what was acknowledged")
            self.assertEqual([], writer.refused)
        log = self.gateway.log
        self.assertEqual({self.gateway.url}, set(re.findall(r"published: (http://\S+)", log)))
        for words in ("Traceback", "Unhandled", "NoTransition"):
            self.assertNotIn(words, log)
        say(f"{sum(len(writer.acknowledged) for writer in self.writers)} points acknowledged, none of them lost")
        late = [seconds for seconds in self.all_published if seconds > PUBLISHED_SECONDS]
        say(f"uploaded after 100 %, of all: {figures(self.all_published)}; later than {PUBLISHED_SECONDS} s: {late}")
        self.assertLessEqual(len(late), LATE_BESIDE_OTHERS if times <= FEW else 0)

    def stored(self, writer: Writer) -> set[int]:
        """The numbers of its points in InfluxDB."""
        rows = self.influxd.query(f"SELECT n FROM supervised WHERE writer = '{writer.name}'", DATABASE)
        return {int(row[1]) for series in rows for row in series["values"]}


class OwnTorTests(SupervisionCase):
    """A tor of the gateway's own."""

    async def test_it_comes_back(self) -> None:
        """Killed, told to end, cut off and told to reload, twice each: the same onion service, and nothing is lost."""
        await self.each(2, hangs=0)

    @pytest.mark.torture
    async def test_it_comes_back_every_time(self) -> None:
        """So it is twenty times each; and when tor hangs, three times."""
        await self.each(20, hangs=3)

    async def each(self, times: int, hangs: int) -> None:
        """Suffer each kind so often."""
        await self.begin(own=True)
        await self.suffer_often("own tor killed", self.kill, times)
        await self.suffer_often("own tor told to end", self.terminate, times // 4)
        await self.suffer_often("own tor's control connection cut", self.cut, times)
        await self.suffer_often("own tor told to reload", self.hup, times, away=False)
        await self.suffer_often("own tor stopped (SIGSTOP)", self.hang, hangs)
        await self.settle(times)


class SharedTorTests(SupervisionCase):
    """A tor that runs already."""

    async def test_it_comes_back(self) -> None:
        """Killed and started again, cut off and told to reload, twice each: the same onion service, nothing lost."""
        await self.each(2, hangs=0)

    @pytest.mark.torture
    async def test_it_comes_back_every_time(self) -> None:
        """So it is twenty times each; and when tor hangs, three times."""
        await self.each(20, hangs=3)

    async def each(self, times: int, hangs: int) -> None:
        """Suffer each kind so often."""
        await self.begin(own=False)
        await self.suffer_often("shared tor killed", self.kill, times)
        await self.suffer_often("shared tor's control connection cut", self.cut, times)
        await self.suffer_often("shared tor told to reload", self.hup, times, away=False)
        await self.suffer_often("shared tor stopped (SIGSTOP)", self.hang, hangs)
        await self.settle(times)
