"""A private Tor network, with tors of straw: how it comes up, and what it says when it does not."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from torfluxd.children import Keeper
from torfluxd.errors import TestNetworkError, TorMissingError
from torfluxd.onion.network import READY_DEADLINE_SECONDS, PrivateNetwork, free_ports
from torfluxd.onion.network_nodes import Node, vote_later, vote_soon, wrapper

STRAW_TOR = """#!{python}
import re, signal, socket, sys, time
from pathlib import Path

words = sys.argv[1:]
if "--list-fingerprint" in words:
    home = Path(words[words.index("--DataDirectory") + 1])
    (home / "fingerprint").write_text(f"{{home.name}} {{'A' * 40}}")
    raise SystemExit
torrc = Path(words[words.index("-f") + 1])
home, name = torrc.parent, torrc.parent.name
if name == "{ends}":
    print("[warn] I do not like it here", flush=True)
    raise SystemExit(3)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    listener.bind(("127.0.0.1", int(re.search(r"OrPort 127.0.0.1:([0-9]+)", torrc.read_text())[1])))
    listener.listen()
except OSError:
    print("[warn] Could not bind: Address already in use.", flush=True)
    raise SystemExit(1)
votes = []
signal.signal(signal.SIGHUP, lambda *_: votes.append(torrc.read_text()))
(home / "up").touch()
(home / "notice.log").write_text("Opened Directory listener connection (ready) on 127.0.0.1\\n")
while not votes:
    names = [path.parent.name for path in home.parent.glob("*/up")]
    (home / "cached-descriptors.new").write_text("".join(f"router {{each}} 127.0.0.1\\n" for each in names))
    time.sleep(0.01)
(home / "cached-microdesc-consensus").write_text("".join(f"r {{each}} 2026\\n" for each in names))
if name != "{lingers}":
    (home / "notice.log").write_text("Bootstrapped 100% (done): Done\\n")
time.sleep(600)
"""
"""Behaves, as far as files and signals go, as the tors of a network do; one of them can end early, or never join."""

STRAW_GENCERT = """#!/bin/sh
while [ "$1" != -c ]; do shift; done
echo 'fingerprint BBBB' > "$2"
"""


class NetworkCase(TestCase):
    """A keeper, and a directory with programs of straw."""

    def setUp(self) -> None:
        """Start it."""
        self.keeper = Keeper()
        self.keeper.start(reactor)
        self.addCleanup(self.keeper.stop)
        self.directory = self.keeper.directory("net-")
        self.programs = self.keeper.directory("bin-")
        self.said: list[str] = []

    def program(self, name: str, text: str) -> Path:
        """Write a program."""
        path = self.programs / name
        path.write_text(text)
        path.chmod(0o700)
        return path

    def straw(self, ends: str = "", lingers: str = "") -> str:
        """A tor, and a tor-gencert beside it."""
        self.program("tor-gencert", STRAW_GENCERT)
        return str(self.program("tor", STRAW_TOR.format(python=sys.executable, ends=ends, lingers=lingers)))


class NetworkTests(NetworkCase):
    """Its life."""

    async def test_it_is_ready_when_all_have_joined(self) -> None:
        """It starts six tors, says how far it is, and is ready when all have joined."""
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw())
        self.assertGreater(await network.start(self.said.append), 0)
        self.assertEqual(
            [
                "making the keys of the authorities",
                "starting 3 authorities and 3 relays",
                "waiting for the first consensus",
                "waiting until all have joined",
            ],
            self.said,
        )

    async def test_what_is_needed_to_join_is_in_one_file(self) -> None:
        """The defaults name the three authorities, and nothing in them belongs to one node."""
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw())
        await network.start(self.said.append)
        lines = network.defaults_torrc.read_text().splitlines()
        self.assertEqual(["TestingTorNetwork 1", "PathsNeededToBuildCircuits 0.25"], lines[:2])
        line = r"DirAuthority auth\d orport=\d+ no-v2 v3ident=BBBB 127.0.0.1:\d+ A{40}"
        self.assertEqual([True] * 3, [re.fullmatch(line, each) is not None for each in lines[2:]])

    async def test_a_port_that_another_process_takes_costs_nothing_but_time(self) -> None:
        """When a port is taken between its choice and its use, others are tried."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        tries: list[Sequence[int]] = []

        def choose(count: int) -> Sequence[int]:
            tries.append([*free_ports(count - 1), *(free_ports(1) if tries else [taken.getsockname()[1]])])
            return tries[-1]

        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw(), choose)
        await network.start(self.said.append)
        self.assertEqual(2, len(tries))
        self.assertIn("another process took a port; trying others", self.said)

    async def test_a_port_that_is_always_taken_is_an_error(self) -> None:
        """When no choice of ports works, that is an error, in tor's words."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw(), lambda count: [port] * count)
        error = await self.assertFailure(Deferred.fromCoroutine(network.start(self.said.append)), TestNetworkError)
        self.assertIn("Address already in use", str(error))

    async def test_a_tor_that_ends_early_is_an_error_in_its_own_words(self) -> None:
        """A tor that ends before the network is ready is an error with its name and its last words."""
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw(ends="relay1"))
        starting = Deferred.fromCoroutine(network.start(self.said.append))
        error = await self.assertFailure(starting, TestNetworkError)
        self.assertEqual("the tor of relay1 ended with code 3: [warn] I do not like it here", str(error))

    async def test_a_key_maker_that_fails_is_an_error_in_its_own_words(self) -> None:
        """When the keys cannot be made, the error is what tor-gencert said."""
        binary = self.straw()
        self.program("tor-gencert", "#!/bin/sh\necho no entropy; exit 7\n")
        network = PrivateNetwork(reactor, self.directory, self.keeper, binary)
        starting = Deferred.fromCoroutine(network.start(self.said.append))
        error = await self.assertFailure(starting, TestNetworkError)
        self.assertEqual("tor-gencert of auth0 ended with code 7: no entropy", str(error))

    async def test_a_tor_that_never_joins_is_given_up(self) -> None:
        """What is not ready at its deadline is an error that says what is missing."""
        clock = Clock()
        network = PrivateNetwork(clock, self.directory, self.keeper, self.straw(lingers="relay2"))
        starting = Deferred.fromCoroutine(network.start(self.said.append))
        while "waiting until all have joined" not in self.said:
            clock.advance(0.05)
            await deferLater(reactor, 0.01)
        clock.advance(READY_DEADLINE_SECONDS)
        error = await self.assertFailure(starting, TestNetworkError)
        self.assertEqual("the nodes did not join the network within 120 s", str(error))

    async def test_a_tor_that_is_lost_later_is_noticed(self) -> None:
        """Whoever watches the network hears of a tor that ends after it was ready."""
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw())
        await network.start(self.said.append)
        watching = Deferred.fromCoroutine(network.watch())
        found = subprocess.run(
            ["pgrep", "-f", f"{self.directory}/auth2/torrc"], capture_output=True, text=True, check=True
        )
        os.kill(int(found.stdout), signal.SIGKILL)
        error = await self.assertFailure(watching, TestNetworkError)
        self.assertIn("the tor of auth2 ended with code -9", str(error))

    async def test_watching_can_be_given_up(self) -> None:
        """Whoever no longer watches is told nothing more, and no harm is done when the tors end."""
        network = PrivateNetwork(reactor, self.directory, self.keeper, self.straw())
        await network.start(self.said.append)
        watching = Deferred.fromCoroutine(network.watch())
        watching.cancel()
        await self.assertFailure(watching, CancelledError)
        await self.keeper.stop()

    def test_a_missing_tor_is_named_with_its_cure(self) -> None:
        """Without a tor, and without the tor-gencert that comes with it, the error says how to install it."""
        self.patch(os, "environ", {**os.environ, "PATH": str(self.programs)})
        lonely = str(self.program("tor", "#!/bin/sh\n"))
        for binary, missing in ((str(self.programs / "none"), "none"), (lonely, "tor-gencert")):
            error = self.assertRaises(TorMissingError, PrivateNetwork, reactor, self.directory, self.keeper, binary)
            self.assertIn(missing, str(error))
            self.assertIn("apt-get install tor", str(error))


class ScheduleTests(SynchronousTestCase):
    """When authorities vote."""

    @given(st.floats(0, 4e9))
    def test_no_vote_disturbs_the_start(self, now: float) -> None:
        """Until the authorities are told to, they do not vote for half an hour."""
        schedule = vote_later(now)
        self.assertEqual(1800, schedule.first_seconds)
        self.assertGreater(1800 - (now - schedule.offset_seconds) % 1800, 1798)

    @given(st.floats(0, 4e9))
    def test_the_first_vote_is_near_but_not_missed(self, now: float) -> None:
        """The first vote begins between one and two seconds after they are told, its consensus four seconds later."""
        schedule = vote_soon(now)
        to_consensus = (schedule.offset_seconds - now) % schedule.first_seconds
        self.assertGreater(to_consensus - 4, 0.999)
        self.assertLess(to_consensus - 4, 2.001)


class FilesTests(SynchronousTestCase):
    """What is written, and what is read."""

    def test_a_tor_takes_any_argument_through_the_script(self) -> None:
        """The script hands all arguments on, whatever characters they and the paths have."""
        with tempfile.TemporaryDirectory() as name:
            odd = Path(name, "a b$HOME'c")
            odd.mkdir()
            tor, script = odd / "echo", odd / "tor"
            tor.write_text('#!/bin/sh\nfor each; do echo "$each"; done\n')
            script.write_text(wrapper(tor, odd / "defaults"))
            tor.chmod(0o700)
            script.chmod(0o700)
            said = subprocess.run([script, "--version", "x y"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(["--defaults-torrc", str(odd / "defaults"), "--version", "x y"], said.splitlines())
        self.assertIn(shlex.quote(str(tor)), wrapper(tor, odd))

    def test_all_listen_on_loopback_alone_and_none_is_an_exit(self) -> None:
        """Every port of every node is on 127.0.0.1, and no node lets anything out."""
        with tempfile.TemporaryDirectory() as name:
            for node, schedule in ((Node(Path(name), 1, 2), vote_soon(time.time())), (Node(Path(name), 3), None)):
                node.write_torrc(schedule)
                torrc = node.read("torrc")
                ports = re.findall(r"^\w+Port (.+)$", torrc, re.MULTILINE)
                self.assertEqual([], [port for port in ports if port != "0" and not port.startswith("127.0.0.1:")])
                self.assertIn("ExitRelay 0\nExitPolicy reject *:*\n", torrc)

    def test_ports_differ(self) -> None:
        """Ports that are chosen together differ."""
        self.assertEqual(50, len(set(free_ports(50))))
