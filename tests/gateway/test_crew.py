"""The workers together: real processes, which a real reactor starts, in front of no InfluxDB."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger, capturedLogs, eventAsJSON, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.end_to_end.under_fire.crowd import Heard, Writer
from torfluxd.errors import WorkerError
from torfluxd.gateway.crew import Crew, log_as_ours
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.shared_doors import SharedDoor, open_shared_door
from torfluxd.settings import read_gateway_settings

reactor: Any = global_reactor
PATIENCE_SECONDS = 60.0


class CrewCase(TestCase):
    """Two workers behind one TCP port, and nobody at the port where InfluxDB should be."""

    timeout = 120

    def setUp(self) -> None:
        """Open the port."""
        directory = tempfile.TemporaryDirectory(prefix="crew-")
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name)
        self.closed: list[int] = []
        self.written: list[str] = []
        flags = {"workers": "2", "tor": "none", "listen": ["tcp:0"], "influxdb": "127.0.0.1:1", "database": ["db"]}
        self.settings = read_gateway_settings(flags, {})
        self.door = open_shared_door("tcp:0:interface=127.0.0.1", 2)
        self.addCleanup(self.door.close)
        self.crew = self.make()

    def make(self) -> Crew:
        """Workers that have not been started."""
        homes = Homes("", self.written.append)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TORFLUX")}
        crew = Crew(reactor, self.settings, environment, self.state, homes, self.closed.append, b"/canary")
        self.addCleanup(crew.stop)
        return crew

    def start(self, crew: Crew | None = None, door: SharedDoor | None = None) -> Deferred[None]:
        """Start them."""
        return (crew or self.crew).start([door or self.door], [])

    async def write(self) -> Heard:
        """Write a point through a connection of its own."""
        return await deferToThread(self._write)

    def _write(self) -> Heard:
        writer = Writer(self.door.sockets[0].getsockname()[1])
        try:
            return writer.write(b"m v=1", "db=db")
        finally:
            writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a worker does."""
        deadline = reactor.seconds() + PATIENCE_SECONDS
        while not condition():
            self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.05)


class CrewTests(CrewCase):
    """What they do together."""

    async def test_they_serve(self) -> None:
        """Both serve, what they count adds up, and no process is left when they have stopped."""
        await self.start()
        for _ in range(20):
            self.assertEqual((await self.write()).status, 204)
        figures, problems = await self.crew.look()
        self.assertEqual((figures.processes, figures.requests["written"], figures.lines["kept"]), (2, 20, 20))
        self.assertEqual((figures.spool_points, list(problems)), (20, []))
        await self.crew.prove()
        pids = self.crew.pids
        await self.crew.stop()
        self.assertEqual([Path(f"/proc/{pid}").exists() for pid in pids], [False, False])

    async def test_one_dies(self) -> None:
        """What a dead one had counted and kept is not forgotten, and it comes back."""
        await self.start()
        for _ in range(20):
            await self.write()
        await self.crew.look()
        with capturedLogs() as events:
            os.kill(self.crew.pids[0], signal.SIGKILL)
            await self.until(lambda: self.crew.restarts == 1)
        said = [formatEvent(event) for event in events]
        self.assertIn(
            "worker 1 was ended by signal 9: it is started again, and the others serve for it meanwhile", said
        )
        self.assertIn("worker 1 serves again", said)
        figures, _ = await self.crew.look()
        self.assertEqual((figures.processes, figures.requests["written"], figures.spool_points), (2, 20, 20))

    async def test_other_rules(self) -> None:
        """They hold to other rules as soon as they are told, and so does one that is started afterwards."""
        await self.start()
        self.crew.change(read_gateway_settings({"database": ["other"]}, {}))
        await self.crew.look()
        self.assertEqual((await self.write()).status, 404)
        os.kill(self.crew.pids[0], signal.SIGKILL)
        await self.until(lambda: self.crew.restarts == 1)
        self.assertEqual({(await self.write()).status for _ in range(10)}, {404})

    async def test_one_cannot_begin(self) -> None:
        """When one cannot use its spool, that is why they do not begin."""
        (self.state / "worker-2").mkdir(mode=0o700)
        (self.state / "worker-2").chmod(0o777)
        error = await self.assertFailure(self.start(), WorkerError)
        self.assertIn("others may write into the state directory", str(error))

    async def test_stopped_on_the_way(self) -> None:
        """They can be stopped before they serve."""
        starting = self.start()
        starting.cancel()
        await self.assertFailure(starting, CancelledError)
        await self.crew.stop()


class LogTests(SynchronousTestCase):
    """What a worker logs, in the gateway's log."""

    def setUp(self) -> None:
        """Log in a worker."""
        with capturedLogs() as events:
            Logger("torfluxd.place").warn("{what} {{happened}}", what="something", number=3)
            try:
                raise ValueError("a fault")
            except ValueError:
                Logger("torfluxd.place").failure("while {what}", what="working")
        self.flushLoggedErrors(ValueError)
        self.events = [eventAsJSON(event) for event in events]

    def test_events(self) -> None:
        """An event keeps its place, its level and its fields, and says whose it is."""
        with capturedLogs() as heard:
            log_as_ours(2, self.events[0])
        [event] = heard
        self.assertEqual(formatEvent(event), "worker 2: something {happened}")
        self.assertEqual((event["log_namespace"], event["log_level"].name), ("torfluxd.place", "warn"))
        self.assertEqual((event["number"], event["log_worker"]), (3, 2))

    def test_failures(self) -> None:
        """A fault of our own comes with its traceback."""
        with capturedLogs() as heard:
            log_as_ours(2, self.events[1])
        [event] = heard
        self.assertEqual(formatEvent(event), "worker 2: while working")
        self.assertIn("test_crew.py", event["log_failure"].getTraceback())
        self.flushLoggedErrors()
