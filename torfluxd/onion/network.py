"""A private Tor network on loopback: three directory authorities and three relays, for demos, tests and vendors' CI.

Any tor joins it that reads its `defaults-torrc`; the script `tor` beside it does that for whatever it is given, so that
it can stand wherever the name of a tor is asked for.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from torfluxd.children import Child, Keeper
from torfluxd.errors import TestNetworkError, TorMissingError
from torfluxd.onion.network_nodes import (
    VOTING_SECONDS,
    Node,
    Schedule,
    defaults_torrc,
    vote_later,
    vote_soon,
    wrapper,
)
from torfluxd.onion.process import find_tor

__all__ = ["READY_DEADLINE_SECONDS", "PrivateNetwork", "free_ports"]

AUTHORITIES = ("auth0", "auth1", "auth2")
RELAYS = ("relay0", "relay1", "relay2")
"""The fewest that work: three authorities outvote one that lags, and six nodes give circuits of three hops, one more
for a rendezvous, and room for one that fails."""

READY_DEADLINE_SECONDS = 120.0
"""When starting is given up: eight times what it takes on two idle cores."""

PORT_ATTEMPTS = 3
"""How often ports are chosen anew when another process takes one before our tor does."""

_POLL_SECONDS = 0.05
_TAKEN = "Address already in use"
_LISTENING = "Opened Directory listener connection (ready)"
_JOINED = "Bootstrapped 100%"


class _PortTakenError(TestNetworkError):
    """Another process took a port between our choice and our use of it."""


def free_ports(count: int) -> Sequence[int]:
    """Ports of 127.0.0.1 that nobody listens on now; all are held until all are found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class PrivateNetwork:
    """A private Tor network. It ends with its keeper.

    :ivar directory: everything of it.
    :ivar defaults_torrc: what a tor must read to join: `tor --defaults-torrc FILE ...`.
    :ivar tor_binary: a script that is any tor, joined to this network.

    :param directory: exists, is empty, and is this user's alone.
    :param keeper: ends the processes.
    :param binary: the tor to run; the one in PATH by default.
    :param choose_ports: finds so many free ports.
    :param voting_seconds: between consensuses.
    :raises TorMissingError: there is no tor, or no tor-gencert.
    """

    def __init__(
        self,
        clock: IReactorTime,
        directory: Path,
        keeper: Keeper,
        binary: str | None = None,
        choose_ports: Callable[[int], Sequence[int]] = free_ports,
        voting_seconds: int = VOTING_SECONDS,
    ) -> None:
        self._clock = clock
        self._keeper = keeper
        self._choose_ports = choose_ports
        self._voting_seconds = voting_seconds
        self._binary = find_tor(binary)
        self._gencert = _find_gencert(self._binary)
        self._missing = ""
        self._running: dict[Node, Child] = {}
        self.directory = directory
        self.defaults_torrc = directory / "defaults-torrc"
        self.tor_binary = directory / "tor"

    async def start(self, say: Callable[[str], None]) -> float:
        """Start it, and return when a new tor joins at once and can host and reach onion services.

        :param say: takes each line of progress.
        :returns: the seconds that it took.
        :raises TestNetworkError: it did not come up; the error has the last words of the tor that failed.
        :raises ChildError: a process could not be started.
        """
        begun = self._clock.seconds()
        starting = Deferred.fromCoroutine(self._start(say))
        try:
            await starting.addTimeout(READY_DEADLINE_SECONDS, self._clock)
        except defer.TimeoutError:
            raise TestNetworkError(f"{self._missing} within {READY_DEADLINE_SECONDS:.0f} s") from None
        return self._clock.seconds() - begun

    async def watch(self) -> NoReturn:
        """Wait until one of its tors ends, which none does by itself.

        :raises TestNetworkError: one did.
        """
        lost: Deferred[Node] = Deferred()

        def lose(_: int, node: Node) -> None:
            if not lost.called:
                lost.callback(node)

        for node, child in self._running.items():
            child.when_ended().addCallback(lose, node)
        raise self._ended(await lost)

    async def _start(self, say: Callable[[str], None]) -> None:
        for _ in range(PORT_ATTEMPTS - 1):
            try:
                return await self._attempt(say)
            except _PortTakenError:
                say("another process took a port; trying others")
                await self._clear()
        return await self._attempt(say)

    async def _attempt(self, say: Callable[[str], None]) -> None:
        for name in AUTHORITIES + RELAYS:
            (self.directory / name).mkdir(mode=0o700)
        say("making the keys of the authorities")
        await self._make_keys()
        say(f"starting {len(AUTHORITIES)} authorities and {len(RELAYS)} relays")
        authorities, relays = self._make_nodes()
        await self._start_all(authorities, vote_later(time.time()))
        await self._until(lambda: all(node.says(_LISTENING) for node in authorities), "the authorities did not listen")
        await self._start_all(relays)
        nodes = authorities + relays
        await self._until(lambda: all(each.knows(nodes) for each in authorities), "the relays did not come up")
        say("waiting for the first consensus")
        self._have_them_vote(authorities)
        await self._until(lambda: all(each.agrees_on(nodes) for each in authorities), "the authorities did not agree")
        for node in relays:
            self._running[node].signal(signal.SIGHUP)  # to ask for the consensus now, and not when a minute has passed
        say("waiting until all have joined")
        await self._until(lambda: all(node.says(_JOINED) for node in nodes), "the nodes did not join the network")

    async def _clear(self) -> None:
        for child in self._running.values():
            child.signal(signal.SIGKILL)
            await child.when_ended()
        self._running.clear()
        for name in AUTHORITIES + RELAYS:
            shutil.rmtree(self.directory / name)

    async def _make_keys(self) -> None:
        """Make each authority's identity and certificate, and the fingerprint by which others know it."""
        self._missing = "the keys of the authorities were not made"
        empty = self.directory / "empty"
        empty.touch()
        makers = []
        for name in AUTHORITIES:
            home = self.directory / name
            (home / "keys").mkdir(mode=0o700)
            for argv in (self._certify(home / "keys"), self._print_fingerprint(home, empty)):
                log = home / "output"
                makers.append((await self._keeper.spawn(f"{Path(argv[0]).name} of {name}", argv, log), log))
        for maker, log in makers:
            if code := await maker.when_ended():
                words = log.read_text("utf-8", "replace").strip()
                raise TestNetworkError(f"{maker.name} ended with code {code}: {words}")

    def _certify(self, keys: Path) -> list[str | Path]:
        return [
            *(self._gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", "12"),
            *("-i", keys / "authority_identity_key", "-s", keys / "authority_signing_key"),
            *("-c", keys / "authority_certificate"),
        ]

    def _print_fingerprint(self, home: Path, empty: Path) -> list[str | Path]:
        # It only prints, and ends; tor wants a relay's port all the same, and an authority, though none that is real.
        return [
            *(self._binary, "-f", empty, "--defaults-torrc", empty, "--list-fingerprint", "--quiet"),
            *("--DataDirectory", home, "--Nickname", home.name, "--OrPort", "1"),
            *("--DirAuthority", f"x 127.0.0.1:1 {'f' * 40}"),
        ]

    def _make_nodes(self) -> tuple[list[Node], list[Node]]:
        ports = iter(self._choose_ports(2 * len(AUTHORITIES) + len(RELAYS)))
        authorities = [Node(self.directory / name, next(ports), next(ports)) for name in AUTHORITIES]
        self.defaults_torrc.write_text(defaults_torrc(authorities))
        self.tor_binary.write_text(wrapper(self._binary, self.defaults_torrc))
        self.tor_binary.chmod(0o755)
        return authorities, [Node(self.directory / name, next(ports)) for name in RELAYS]

    async def _start_all(self, nodes: Sequence[Node], schedule: Schedule | None = None) -> None:
        # One arena for malloc: a tor with four threads would take 70 MB instead of 25.
        env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        for node in nodes:
            node.write_state(time.time())
            node.write_torrc(schedule)
            argv: list[str | Path] = [self.tor_binary, "-f", node.directory / "torrc"]
            self._running[node] = await self._keeper.spawn(node.name, argv, node.directory / "output", env)

    def _have_them_vote(self, authorities: Sequence[Node]) -> None:
        schedule = vote_soon(time.time(), self._voting_seconds)
        for node in authorities:
            node.write_torrc(schedule)
            self._running[node].signal(signal.SIGHUP)

    async def _until(self, condition: Callable[[], bool], missing: str) -> None:
        self._missing = missing
        while not condition():
            for node, child in self._running.items():
                if child.exit_code is not None:
                    raise self._ended(node)
            await deferLater(self._clock, _POLL_SECONDS)

    def _ended(self, node: Node) -> TestNetworkError:
        words = node.last_words()
        kind = _PortTakenError if _TAKEN in words else TestNetworkError
        return kind(f"the tor of {node.name} ended with code {self._running[node].exit_code}: {words}")


def _find_gencert(tor: Path) -> Path:
    found = shutil.which("tor-gencert", path=os.pathsep.join((str(tor.parent), os.environ.get("PATH", os.defpath))))
    if found is None:
        raise TorMissingError("there is no tor-gencert, which comes with tor: install it (Debian: apt-get install tor)")
    return Path(found)
