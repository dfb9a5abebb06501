"""A reporter that was told nothing finds a tor, or says how to install one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IReactorProcess, IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.onion.listeners import Machine, ordinary_proxy, silent, tor, web_server
from tests.onion.socks_proxy import ONION
from torfluxd.errors import SettingsError, TorMissingError
from torfluxd.onion.client_key import ClientKey, PrivateLine
from torfluxd.onion.probe import PROBE_SECONDS
from torfluxd.reporter.install_advice import Platform, install_advice, this_platform
from torfluxd.reporter.ladder import TorLadder, program_of_this_machine
from torfluxd.reporter.reporter import Reporter

DEBIAN = Platform("linux", ("debian",))
ALL = ["unix:/run/tor/socks", "tcp:9050", "tcp:9150"]


def no_tor_in_path(_: None) -> Path:
    """Looks for tor in PATH, in vain."""
    raise TorMissingError


@implementer(IReactorProcess)
class LaunchingMachine(Machine):
    """A machine on which programs could be started; none is."""


class LadderCase(SynchronousTestCase):
    """A ladder on a machine in memory."""

    def ladder(self, reactor: IReactorTime, state_dir: Path | None = None, **options: Any) -> TorLadder:
        """One that has been started, where no tor can be launched."""
        usual: dict[str, Any] = {"environ": {}, "find_program": lambda: None, "platform": DEBIAN}
        ladder = TorLadder(state_dir, **{**usual, **options})
        ladder.start(reactor)
        return ladder

    def found(self, endpoint: Deferred[IStreamClientEndpoint]) -> str:
        """Where it found a tor."""
        where = self.successResultOf(endpoint)
        if isinstance(where, UNIXClientEndpoint):
            return f"unix:{where._path}"
        assert isinstance(where, TCP4ClientEndpoint)
        return f"tcp:{where._port}"


class RunningTorTests(LadderCase):
    """A tor that runs."""

    def test_each_place(self) -> None:
        """A tor that runs is found at Debian's socket, at the default port and at Tor Browser's, in this order."""
        for place in ALL:
            machine = Machine(listeners=dict.fromkeys(ALL[ALL.index(place) :], tor))
            self.assertEqual(self.found(self.ladder(machine).socks_endpoint()), place)
            self.assertEqual(machine.open_connections, 0)

    def test_no_tor_at_its_port(self) -> None:
        """What listens at tor's port and is none is passed over, and never hears where the reports go."""
        machine = Machine(listeners={"unix:/run/tor/socks": web_server, "tcp:9050": ordinary_proxy, "tcp:9150": tor})
        self.assertEqual(self.found(self.ladder(machine).socks_endpoint()), "tcp:9150")
        self.assertNotIn(ONION.name.encode(), b"".join(machine.heard))

    def test_nobody_is_waited_for(self) -> None:
        """Somebody who never answers holds up a report by seconds."""
        machine = Machine(listeners={"tcp:9050": silent, "tcp:9150": tor})
        endpoint = self.ladder(machine).socks_endpoint()
        self.assertNoResult(endpoint)
        machine.advance(PROBE_SECONDS)
        self.assertEqual(self.found(endpoint), "tcp:9150")

    def test_appears_later(self) -> None:
        """A tor that is installed while the application runs is used from the next report on; one that goes away is
        no longer.
        """
        machine = Machine()
        ladder = self.ladder(machine)
        self.failureResultOf(ladder.socks_endpoint(), TorMissingError)
        machine.listeners["tcp:9050"] = tor
        self.assertEqual(self.found(ladder.socks_endpoint()), "tcp:9050")
        del machine.listeners["tcp:9050"]
        self.failureResultOf(ladder.socks_endpoint(), TorMissingError)

    def test_another_process_has_launched_one(self) -> None:
        """The tor of another process with the same state directory comes first: its guards are this user's."""
        path = Path("/var/lib/a:b=c/app")
        machine = Machine(listeners={f"unix:{path}/tor/socks.sock": tor, **dict.fromkeys(ALL, tor)})
        self.assertEqual(self.found(self.ladder(machine, path).socks_endpoint()), f"unix:{path}/tor/socks.sock")
        self.assertEqual(machine.asked, [f"unix:{path}/tor/socks.sock"])

    def test_without_unix_sockets(self) -> None:
        """Where there are no unix sockets only the ports are tried."""

        class Elsewhere(Clock):
            """A reactor that connects over TCP alone."""

            def __init__(self, machine: Machine) -> None:
                super().__init__()
                self.connectTCP = machine.connectTCP

        machine = Machine(listeners={"tcp:9150": tor})
        self.assertEqual(self.found(self.ladder(Elsewhere(machine), Path("/state")).socks_endpoint()), "tcp:9150")
        self.assertEqual(machine.asked, ["tcp:9050", "tcp:9150"])


class GivenTests(LadderCase):
    """A user who says where tor is."""

    def test_environment(self) -> None:
        """TORFLUXD_SOCKS is used, whatever else there is and whether it works or not: nothing else is tried."""
        machine = Machine(listeners=dict.fromkeys(ALL, tor))
        ladder = self.ladder(machine, environ={"TORFLUXD_SOCKS": "tcp:127.0.0.1:9999"})
        self.assertEqual(self.found(ladder.socks_endpoint()), "tcp:9999")
        self.assertEqual(machine.asked, [])

    def test_mistake(self) -> None:
        """What is no endpoint is refused at once, by the name of the variable."""
        error = self.assertRaises(SettingsError, TorLadder, None, environ={"TORFLUXD_SOCKS": "9050"})
        self.assertTrue(str(error).startswith("TORFLUXD_SOCKS: expected unix:/run/tor/socks or tcp:"), error)


class PrivateOnionTests(LadderCase):
    """A private onion service, for which tor must be handed a key."""

    def test_only_own(self) -> None:
        """A tor that runs is passed over: it could not be handed the key."""
        machine = Machine(listeners=dict.fromkeys(ALL, tor))
        ladder = self.ladder(machine, Path("/state"))
        ladder.hold_key(PrivateLine(ONION, ClientKey.generate()))
        error = self.failureResultOf(ladder.socks_endpoint(), TorMissingError)
        self.assertIn("apt-get install tor", error.getErrorMessage())
        self.assertEqual(machine.asked, ["unix:/state/tor/socks.sock"])
        machine.listeners["unix:/state/tor/socks.sock"] = tor
        self.assertEqual(self.found(ladder.socks_endpoint()), "unix:/state/tor/socks.sock")

    def test_nobody_to_hand_it_to(self) -> None:
        """Where no tor will be launched a key is refused, with the line that torrc needs."""
        key = PrivateLine(ONION, ClientKey.generate())
        for environ, state_dir in (({}, None), ({"TORFLUXD_SOCKS": "unix:/s"}, Path("/state"))):
            ladder = self.ladder(Machine(), state_dir, environ=environ)
            error = self.assertRaises(SettingsError, ladder.hold_key, key)
            self.assertIn("ClientOnionAuthDir DIR", str(error))


class MissingTests(LadderCase):
    """No tor at all."""

    def assert_missing(self, *words: str, state_dir: Path | None = None, **options: Any) -> None:
        """The one error has these words."""
        ladder = self.ladder(LaunchingMachine(), state_dir, **options)
        failure = self.failureResultOf(ladder.socks_endpoint(), TorMissingError)
        for word in words:
            self.assertIn(word, failure.getErrorMessage())

    def test_says_how_to_install_it(self) -> None:
        """The error says where was looked, and the command that installs tor on this platform."""
        self.assert_missing("/run/tor/socks", ":9050", "`apt-get install tor`")
        self.assert_missing("`brew install tor`", platform=Platform("darwin"))

    def test_no_state_directory(self) -> None:
        """A tor that could be launched, but has no place for its state, is not: the error names it and the cure."""
        self.assert_missing("/usr/bin/tor", "state_dir", find_program=lambda: Path("/usr/bin/tor"))

    def test_long_path(self) -> None:
        """A state directory whose path is too long for a unix socket is named as what is wrong."""
        program = Path("/usr/bin/tor")
        self.assert_missing("too long", state_dir=Path("/x" * 60), find_program=lambda: program)

    def test_reporter_keeps_recording(self) -> None:
        """An application without tor records on; the log says once what to do, so does its trouble, and a
        flush says that it was in vain.
        """
        machine = Machine()
        # As `Reporter(..., socks=None)` makes it, but for what this machine really has.
        reporter = Reporter(
            f"http://{ONION}", "telemetry", socks=self.ladder(machine), reactor=machine, chance=lambda: 0.5
        )
        reporter.startService()
        with capturedLogs() as events:
            for value in range(10):
                reporter.record("m", {"f": value})
                machine.advance(60)
            flushed = reporter.flush(1)
            machine.advance(1)
        self.assertFalse(self.successResultOf(flushed))
        (reason,) = (event["reason"] for event in events if event["log_level"] is LogLevel.warn)
        self.assertIn("apt-get install tor", reason)
        self.assertIn("apt-get install tor", reporter.trouble)
        self.assertEqual(reporter.stats.pending, 10)


class ProgramTests(SynchronousTestCase):
    """The tor to launch."""

    def test_path_before_wheel(self) -> None:
        """The tor in PATH is taken, which the system keeps up to date; without one, that of the wheel; or none."""
        directory = self.enterContext(TemporaryDirectory())
        self.patch(sys, "path", [*sys.path, directory])
        self.assertEqual(program_of_this_machine(lambda _: Path("/usr/bin/tor")), Path("/usr/bin/tor"))
        self.assertIsNone(program_of_this_machine(no_tor_in_path))
        Path(directory, "torfluxd_tor.py").write_text("def binary():\n    return '/wheel/tor'\n")
        self.addCleanup(sys.modules.pop, "torfluxd_tor", None)
        importlib.invalidate_caches()
        self.assertEqual(program_of_this_machine(no_tor_in_path), Path("/wheel/tor"))
        self.assertEqual(program_of_this_machine(lambda _: Path("/usr/bin/tor")), Path("/usr/bin/tor"))


class AdviceTests(SynchronousTestCase):
    """How tor is installed."""

    def test_platforms(self) -> None:
        """Each platform has its command; a distribution that is like another has that one's."""
        for where, words in (
            (Platform("linux", ("debian",)), "`apt-get install tor`"),
            (Platform("linux", ("linuxmint", "ubuntu", "debian")), "`apt-get install tor`"),
            (Platform("linux", ("fedora",)), "`dnf install tor`"),
            (Platform("linux", ("rocky", "rhel", "centos", "fedora")), "`dnf install epel-release tor`"),
            (Platform("linux", ("arch",)), "`pacman -S tor`"),
            (Platform("linux", ("nixos",)), "the package tor"),
            (Platform("linux"), "the package tor"),
            (Platform("darwin"), "`brew install tor`"),
            (Platform("freebsd14"), "`pkg install tor`"),
            (Platform("win32"), "Tor Expert Bundle"),
        ):
            self.assertIn(words, install_advice(where))

    def test_here(self) -> None:
        """The facts about this machine can be had."""
        self.assertEqual(this_platform().system, sys.platform)
