"""A private Tor network on loopback: three directory authorities and three relays, for demos and tests.

Any tor joins it that reads its `defaults-torrc`; the script `tor` beside it does that for whatever it is given, so that
it can stand wherever the name of a tor is asked for.

How it is ready in some 15 s on two cores, when Tor's own timing would take up to a minute: the authorities start with
their first vote half an hour away, and are told to vote at once (a new `TestingV3AuthVotingStartOffset` and SIGHUP)
when each has the descriptors of all six. So the first consensus is complete, and nobody waits for a second one. Each
node begins with a history of traffic in its `state`, because a relay without one counts for nothing in that consensus.
All values are tried on tor 0.4.9.11; their names are those of `man 1 tor`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue

from torfluxd.children import Child, Keeper
from torfluxd.errors import TestNetworkError, TorMissingError
from torfluxd.onion.process import ProcessReactor, find_tor

__all__ = ["READY_DEADLINE_SECONDS", "PrivateNetwork"]

AUTHORITIES = 3
RELAYS = 3
"""The fewest that work: three authorities outvote one that lags, and six nodes give circuits of three hops, one more
for a rendezvous, and room for one that fails."""

READY_DEADLINE_SECONDS = 120.0
"""When starting is given up: eight times what it takes on two idle cores."""

VOTING_SECONDS = 60
"""Between consensuses once the network is up: short enough for a test to see a relay go, long enough to cost little."""

FIRST_VOTING_SECONDS = 20
VOTE_DELAY_SECONDS = 2
"""For votes, and again for signatures, to travel between the authorities: the least that tor takes."""

_LONG_SECONDS = 1800
_POLL_SECONDS = 0.05
_HISTORY_BYTES = 86_400_000_000

_JOINED = "Bootstrapped 100%"


@frozen
class _Node:
    """One authority or relay.

    :ivar directory: its data, torrc and log.
    :ivar or_port: where other tors connect to.
    :ivar dir_port: where an authority gives out the directory.
    """

    name: str
    directory: Path
    or_port: int
    dir_port: int
    is_authority: bool

    def read(self, name: str) -> str:
        """One of its files; nothing when it is not there yet."""
        try:
            return (self.directory / name).read_text("utf-8", "replace")
        except OSError:
            return ""

    def says(self, words: str) -> bool:
        """Whether its log has these words."""
        return words in self.read("notice.log")


class PrivateNetwork:
    """A private Tor network.

    :ivar directory: everything of it.
    :ivar defaults_torrc: what a tor must read to join: `tor --defaults-torrc FILE ...`.
    :ivar tor_binary: a script that is any tor, joined to this network.

    :param directory: exists, is empty, and is this user's alone.
    :param keeper: ends the processes.
    :param binary: the tor to run; the one in PATH by default.
    """

    def __init__(self, reactor: ProcessReactor, directory: Path, keeper: Keeper, binary: str | None = None) -> None:
        self._reactor = reactor
        self._keeper = keeper
        self._binary = find_tor(binary)
        self._children: dict[str, Child] = {}
        self._nodes: list[_Node] = []
        self.directory = directory
        self.defaults_torrc = directory / "defaults-torrc"
        self.tor_binary = directory / "tor"

    async def start(self, say: Callable[[str], None]) -> float:
        """Start it, and return when a new tor joins at once and can host and reach onion services.

        :param say: takes each line of progress.
        :returns: the seconds that it took.
        :raises TorMissingError: there is no tor, or no tor-gencert.
        :raises TestNetworkError: it did not come up; the error has the last words of the node that failed.
        :raises ChildError: a process could not be started.
        """
        begun = self._reactor.seconds()
        self._deadline = begun + READY_DEADLINE_SECONDS
        self._nodes = _make_nodes(self.directory)
        say("making the authorities' keys")
        await gatherResults([Deferred.fromCoroutine(self._make_keys(node)) for node in self._authorities])
        self._write_shared_files()
        say(f"starting {AUTHORITIES} authorities and {RELAYS} relays")
        await self._start_nodes()
        say("waiting for the first consensus")
        await self._vote()
        say("waiting until all have joined")
        await self._until(lambda: all(node.says(_JOINED) for node in self._nodes), "not all nodes joined the network")
        await self._probe()
        return self._reactor.seconds() - begun

    @property
    def _authorities(self) -> list[_Node]:
        return [node for node in self._nodes if node.is_authority]

    async def _make_keys(self, node: _Node) -> None:
        """Make an authority's identity, its certificate, and the fingerprint by which others know it."""
        keys = node.directory / "keys"
        keys.mkdir(mode=0o700)
        gencert = shutil.which("tor-gencert", path=f"{self._binary.parent}:{os.environ.get('PATH', os.defpath)}")
        if gencert is None:
            raise TorMissingError("there is no tor-gencert, which comes with tor (Debian: apt-get install tor)")
        names = ("-i", "authority_identity_key", "-s", "authority_signing_key", "-c", "authority_certificate")
        files = [name if name.startswith("-") else str(keys / name) for name in names]
        address = f"127.0.0.1:{node.dir_port}"
        months = "12"
        await self._run(
            gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", months, "-a", address, *files, given=b"x\n"
        )
        empty = self.directory / "empty"
        empty.touch()
        # A directory authority of any kind keeps this tor from the public network; it only prints, and ends.
        nobody = f"x 127.0.0.1:1 {'f' * 40}"
        await self._run(
            str(self._binary),
            *("-f", str(empty), "--defaults-torrc", str(empty), "--list-fingerprint", "--quiet"),
            *("--orport", "1", "--dirserver", nobody, "--nickname", node.name, "--datadirectory", str(node.directory)),
        )

    async def _run(self, program: str, *arguments: str, given: bytes | None = None) -> None:
        out, err, code = await getProcessOutputAndValue(
            program, arguments, env=dict(os.environ), reactor=self._reactor, stdinBytes=given
        )
        if code != 0:
            last = (out + err).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise TestNetworkError(f"{program} ended with code {code}: {last}")

    def _write_shared_files(self) -> None:
        lines = [
            "TestingTorNetwork 1",
            "PathsNeededToBuildCircuits 0.25",
            "AssumeReachable 1",
            "ShutdownWaitLength 0",
            "MaxAdvertisedBandwidth 100 KBytes",  # equal weights, whatever each has seen
            *(_authority_line(node) for node in self._authorities),
        ]
        self.defaults_torrc.write_text("\n".join(lines) + "\n")
        self.tor_binary.write_text(f'#!/bin/sh\nexec "{self._binary}" --defaults-torrc "{self.defaults_torrc}" "$@"\n')
        self.tor_binary.chmod(0o755)

    async def _start_nodes(self) -> None:
        far_away = int(time.time()) % _LONG_SECONDS
        for node in self._authorities:
            _write_torrc(node, _schedule(_LONG_SECONDS, _LONG_SECONDS, far_away))
            await self._start_node(node)
        ready = "Opened Directory listener connection (ready)"
        await self._until(lambda: all(node.says(ready) for node in self._authorities), "an authority does not listen")
        for node in self._nodes:
            if not node.is_authority:
                _write_torrc(node, [])
                await self._start_node(node)
        await self._until(lambda: all(map(self._knows_all, self._authorities)), "not all relays told the authorities")

    async def _start_node(self, node: _Node) -> None:
        node_torrc = node.directory / "torrc"
        self._children[node.name] = await self._keeper.spawn(
            f"tor of {node.name}", [self.tor_binary, "-f", node_torrc], node.directory / "output"
        )

    def _knows_all(self, authority: _Node) -> bool:
        descriptors = authority.read("cached-descriptors") + authority.read("cached-descriptors.new")
        return len(set(re.findall(r"^router (\w+) ", descriptors, re.MULTILINE))) == len(self._nodes)

    async def _vote(self) -> None:
        """Have the authorities vote as soon as they can, and wait for a consensus with all nodes in it."""
        first = int(time.time()) + 2 * VOTE_DELAY_SECONDS + 2
        for node in self._authorities:
            _write_torrc(node, _schedule(FIRST_VOTING_SECONDS, VOTING_SECONDS, first % FIRST_VOTING_SECONDS))
            self._children[node.name].signal(signal.SIGHUP)
        await self._until(lambda: all(map(self._has_consensus, self._authorities)), "the authorities do not agree")
        for node in self._nodes:
            if not node.is_authority:
                self._children[node.name].signal(signal.SIGHUP)  # or it would ask again in a minute only

    def _has_consensus(self, authority: _Node) -> bool:
        weights = re.findall(r"^w Bandwidth=[1-9]", authority.read("cached-microdesc-consensus"), re.MULTILINE)
        return len(weights) == len(self._nodes)

    async def _probe(self) -> None:
        """Join with a tor like any other, and end it again."""
        probe = _Node("probe", self.directory / "probe", 0, 0, is_authority=False)
        probe.directory.mkdir(mode=0o700)
        (probe.directory / "torrc").write_text(
            f"DataDirectory {probe.directory}\nSocksPort 0\nClientOnly 1\n"
            f"Log notice file {probe.directory}/notice.log\n"
        )
        await self._start_node(probe)
        await self._until(lambda: probe.says(_JOINED), "a new tor cannot join the network")
        child = self._children.pop(probe.name)
        child.signal(signal.SIGTERM)
        await child.when_ended()

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        while not condition():
            for name, child in self._children.items():
                if child.exit_code is not None:
                    raise TestNetworkError(f"the tor of {name} ended: {self._last_words(name)}")
            if self._reactor.seconds() > self._deadline:
                raise TestNetworkError(f"{otherwise} within {READY_DEADLINE_SECONDS:.0f} s; see {self.directory}")
            await deferLater(self._reactor, _POLL_SECONDS)

    def _last_words(self, name: str) -> str:
        directory = self.directory / name
        words = [
            path.read_text("utf-8", "replace")
            for path in (directory / "output", directory / "notice.log")
            if path.exists()
        ]
        return "".join(words).strip().rpartition("\n")[2]


def _make_nodes(directory: Path) -> list[_Node]:
    names = [f"auth{n}" for n in range(AUTHORITIES)] + [f"relay{n}" for n in range(RELAYS)]
    ports = _free_ports(2 * len(names))
    nodes = []
    for number, name in enumerate(names):
        home = directory / name
        home.mkdir(mode=0o700)
        (home / "state").write_text(_history())
        nodes.append(_Node(name, home, ports[2 * number], ports[2 * number + 1], is_authority=number < AUTHORITIES))
    return nodes


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until all are found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _history() -> str:
    """A day of traffic, as tor keeps it in its state file, that ended a minute ago."""
    end = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 60))
    return "".join(
        f"BWHistory{way}Ends {end}\nBWHistory{way}Interval 86400\n"
        f"BWHistory{way}Values {_HISTORY_BYTES}\nBWHistory{way}Maxima 1000000\n"
        for way in ("Read", "Write")
    )


def _authority_line(node: _Node) -> str:
    certificate = re.search(r"^fingerprint (\w+)", node.read("keys/authority_certificate"), re.MULTILINE)
    assert certificate is not None, "tor-gencert has written it"
    identity = node.read("fingerprint").split()[1]
    return (
        f"DirAuthority {node.name} orport={node.or_port} no-v2 v3ident={certificate[1]}"
        f" 127.0.0.1:{node.dir_port} {identity}"
    )


def _schedule(first_seconds: int, later_seconds: int, offset_seconds: int) -> list[str]:
    """When an authority votes."""
    return [
        f"TestingV3AuthInitialVotingInterval {first_seconds}",
        f"V3AuthVotingInterval {later_seconds}",
        f"TestingV3AuthInitialVoteDelay {VOTE_DELAY_SECONDS}",
        f"TestingV3AuthInitialDistDelay {VOTE_DELAY_SECONDS}",
        f"V3AuthVoteDelay {VOTE_DELAY_SECONDS}",
        f"V3AuthDistDelay {VOTE_DELAY_SECONDS}",
        f"TestingV3AuthVotingStartOffset {offset_seconds}",
        "V3AuthNIntervalsValid 2",
        "AuthoritativeDirectory 1",
        "V3AuthoritativeDirectory 1",
        "ContactInfo nobody@localhost",
        "TestingDirAuthVoteHSDir *",
        "TestingDirAuthVoteGuard *",
        "TestingMinExitFlagThreshold 0",
    ]


def _write_torrc(node: _Node, further: list[str]) -> None:
    lines = [
        f"Nickname {node.name}",
        f"DataDirectory {node.directory}",
        f"Log notice file {node.directory}/notice.log",
        "SocksPort 0",
        "Address 127.0.0.1",
        f"OrPort 127.0.0.1:{node.or_port}",
        *([f"DirPort 127.0.0.1:{node.dir_port}"] if node.is_authority else []),
        "ExitRelay 0",
        "ExitPolicy reject *:*",
        *further,
    ]
    (node.directory / "torrc").write_text("\n".join(lines) + "\n")
