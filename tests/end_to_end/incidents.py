"""What can happen to a tor, brought about for real; and clients who write meanwhile, and note what they hear."""

from __future__ import annotations

import ctypes
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from attrs import define, field
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.task import deferLater

from tests.end_to_end.programs import ClientTor
from torfluxd.errors import ControlError
from torfluxd.onion.control import ControlConnection, connect_control
from torfluxd.onion.onion_agent import OnionAgent
from torfluxd.onion.socks import Isolation

__all__ = [
    "DATABASE",
    "Newcomer",
    "UploadObserver",
    "Writer",
    "cut_connections",
    "figures",
    "tor_process_of",
    "until",
]

DATABASE = "telemetry"

ATTEMPT_SECONDS = 20.0
"""How long a client waits before it tries anew, through another circuit."""

PAUSE_SECONDS = 0.2
"""Between two writes of one client."""

FORGET_SECONDS = 11.0
"""Tor forgets what it has fetched every ten seconds at most."""

_PIDFD_GETFD = 438
"""pidfd_getfd(2), the same on all architectures."""


def tor_process_of(state: Path) -> int | None:
    """The process id of the tor that uses this state directory, or None."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(state / "tor" / "torrc").encode() in command and b"-f" in command:
                return int(entry.name)
    return None


def cut_connections(pid: int, peer: Path) -> int:
    """Cut the connections that a child process of ours has to a unix socket.

    :param pid: the child.
    :param peer: the path of the socket.
    :returns: how many were cut.
    """
    pidfd = os.pidfd_open(pid)
    cut = 0
    try:
        for taken in _sockets(pid, pidfd):
            with closing(taken), suppress(OSError):
                if taken.getpeername() == str(peer):
                    taken.shutdown(socket.SHUT_RDWR)
                    cut += 1
    finally:
        os.close(pidfd)
    return cut


def _sockets(pid: int, pidfd: int) -> Iterator[socket.socket]:
    """The sockets of a process, each taken over a second time."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            is_socket = os.readlink(entry).startswith("socket:")
        except OSError:  # closed meanwhile
            continue
        if is_socket and (taken := syscall(_PIDFD_GETFD, pidfd, int(entry.name), 0)) >= 0:
            yield socket.socket(fileno=taken)


@define
class Writer:
    """A client who writes one point after the other, and tries anew when it is not answered.

    :ivar name: of it.
    :ivar tor: its tor, which keeps descriptors.
    :ivar url: of the gateway.
    :ivar keeps: whether it keeps its circuit and its connection, as stock clients do; else each write has its own.
    :ivar acknowledged: the numbers of its points that were answered 204.
    :ivar answered_at: of each, when it was begun and when it was answered, by the monotonic clock.
    """

    name: str
    tor: ClientTor
    url: str
    keeps: bool
    acknowledged: set[int] = field(factory=set, init=False)
    answered_at: list[tuple[float, float]] = field(factory=list, init=False)
    refused: list[int] = field(factory=list, init=False)
    _stopped: bool = field(default=False, init=False)
    _running: Deferred[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to write."""
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Hear the last answer, and end; what went wrong in here is raised."""
        self._stopped = True
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        number = 0
        agent = self._agent()
        while not self._stopped:
            number += 1
            begun = time.monotonic()
            if await self._write(agent, number):
                self.acknowledged.add(number)
                self.answered_at.append((begun, time.monotonic()))
            elif self.keeps:
                await agent.close()
                agent = self._agent()
            await deferLater(reactor, PAUSE_SECONDS)
        await agent.close()

    def _agent(self) -> OnionAgent:
        proxy = clientFromString(reactor, self.tor.endpoint)
        return OnionAgent(reactor, proxy, shared_isolation=Isolation.fresh() if self.keeps else None)

    async def _write(self, agent: OnionAgent, number: int) -> bool:
        line = f"supervised,writer={self.name} n={number}i {time.time_ns()}".encode()
        return await _answered(self._post(agent, line))

    async def _post(self, agent: OnionAgent, line: bytes) -> None:
        target = f"{self.url}/write?db={DATABASE}"
        response = await HTTPClient(agent).post(target, data=line, allow_redirects=False, reactor=reactor)
        await response.content()
        if response.code != 204:
            self.refused.append(response.code)
            raise ConnectionError(response.code)

    def recovered_seconds(self, since: float) -> float | None:
        """How long after a moment the first write was answered that was begun after it; None when none was yet."""
        return next((answered - since for begun, answered in self.answered_at if begun >= since), None)


async def _answered(coroutine: object, seconds: float = ATTEMPT_SECONDS) -> bool:
    """Whether something was answered in time. What a client hears while a tor is away is anything at all."""
    try:
        await Deferred.fromCoroutine(coroutine).addTimeout(seconds, reactor)  # type: ignore[arg-type]
    except Exception:
        return False
    return True


@define
class Newcomer:
    """A client whose tor has never heard of the onion service, as far as it remembers.

    :ivar tor: its tor.
    :ivar control: of that one.
    :ivar url: of the gateway.
    """

    tor: ClientTor
    control: ControlConnection
    url: str
    forgot_at: float = field(default=0.0, init=False)

    @classmethod
    async def make(cls, tor: ClientTor, url: str) -> Newcomer:
        """Make one of a tor."""
        return cls(tor, await connect_control(UNIXClientEndpoint(reactor, str(tor.control)), reactor, "newcomer"), url)

    async def forget(self) -> None:
        """Have its tor forget all that it has fetched."""
        await deferLater(reactor, max(0.0, self.forgot_at + FORGET_SECONDS - time.monotonic()))
        self.forgot_at = time.monotonic()
        await self.control.command("SIGNAL NEWNYM")

    async def seconds_to_get_through(self, deadline_seconds: float) -> float:
        """Try until it is answered; that it is not is a failure."""
        begun = time.monotonic()
        while time.monotonic() - begun < deadline_seconds:
            if await _answered(self._ping()):
                return time.monotonic() - begun
        raise AssertionError(f"a client without a descriptor did not get through within {deadline_seconds:.0f} s")

    async def _ping(self) -> None:
        agent = OnionAgent(reactor, clientFromString(reactor, self.tor.endpoint))
        response = await HTTPClient(agent).get(f"{self.url}/ping", allow_redirects=False, reactor=reactor)
        await response.content()
        if response.code != 204:
            raise ConnectionError(response.code)


class UploadObserver:
    """Hears from a tor, however often that begins anew, when directories take descriptors.

    :param control: its control socket.
    :param hostname: of the onion service.
    """

    def __init__(self, control: Path, hostname: str) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, str(control))
        self._name = hostname.removesuffix(".onion")
        self._uploads: list[float] = []
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._running = Deferred.fromCoroutine(self._listen())
        self._running.addErrback(lambda failure: failure.trap(CancelledError))

    def stop(self) -> None:
        """Listen no more."""
        if self._running is not None:
            self._running.cancel()

    async def _listen(self) -> None:
        while True:
            with suppress(ControlError):
                control = await connect_control(self._endpoint, reactor, "observer")
                try:
                    await control.listen("HS_DESC", self._hear)
                    await control.when_lost()
                finally:
                    control.close()
            await deferLater(reactor, 0.02)

    def _hear(self, event: str) -> None:
        if event.split()[:2] == ["UPLOADED", self._name]:
            self._uploads.append(time.monotonic())

    def first_upload_since(self, moment: float) -> float:
        """When a directory first took one after this moment; now, where none was heard of."""
        return next((at for at in self._uploads if at >= moment), time.monotonic())


async def until(condition: Callable[[], bool], otherwise: Callable[[], str], seconds: float) -> None:
    """Wait for something without holding up the reactor; that it does not come is a failure which says why."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {otherwise()}")
        await deferLater(reactor, 0.02)


def figures(seconds: Sequence[float]) -> str:
    """Median and worst, for a person."""
    if not seconds:
        return "none"
    return f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s ({len(seconds)})"
