"""A tor process of our own: started, listened to, and ended with us.

Tor ends with its owner in three ways, each covering the other's gap: we stop it; it sees the owning control
connection close (`TAKEOWNERSHIP`); it finds the owner's process gone (`__OwningControllerProcess`, every 15 s).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from torfluxd.errors import TorMissingError, TorStoppedError
from torfluxd.onion.torrc import TorAbilities, read_modules, read_version

__all__ = ["STOP_GRACE_SECONDS", "ProcessReactor", "TorProcess", "find_tor", "probe_tor"]

STOP_GRACE_SECONDS = 5.0
"""What tor gets to end by itself after SIGTERM; a client tor needs some milliseconds."""

START_DEADLINE_SECONDS = 30.0
"""From the start of the process to its open control port: 30 ms on an idle machine."""

PROBE_SECONDS = 20.0
"""For `tor --version`: 20 ms on an idle machine."""

PROBE_BYTES = 64 * 1024
"""What a tor says of itself is shorter by far; more comes from something else."""

_KEPT_LINES = 20
"""Warnings and errors kept, to explain an early end."""

_LONGEST_LINE_BYTES = 4096
"""A line of tor's log is shorter; what is longer is cut, so that a flood is bounded."""

_INSTALL_HINT = "install it (Debian: apt-get install tor), or name one with --tor-binary"

_NO_REASON = re.compile(r"see warnings above|running Tor as root")
"""Warnings that never are the cause of an end."""

_KNOWN_ENDS = (
    (re.compile(r"No space left on device"), "the disk with its data directory is full"),
    (
        re.compile(r"another Tor process is running with the same data directory", re.IGNORECASE),
        "another tor still uses its data directory",
    ),
    (re.compile(r"Couldn't (?:access|create).*data(?: |_)?directory", re.IGNORECASE), "its data directory is unusable"),
    (re.compile(r"Failed to bind|Could not bind", re.IGNORECASE), "it cannot open one of its sockets"),
)


class ProcessReactor(IReactorProcess, IReactorTime):
    """The kind of reactor that running programs needs."""


def find_tor(binary: str | None) -> Path:
    """Find the tor to launch.

    :param binary: a path, or a name to look up in PATH, or None for `tor`.
    :raises TorMissingError: there is none, or it cannot be executed.
    """
    found = shutil.which(binary or "tor")
    if found is None and binary is None:
        found = shutil.which("tor", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if found is None:
        missing = f"{binary} is not a program that can be run" if binary else "there is no tor in PATH"
        raise TorMissingError(f"{missing}: {_INSTALL_HINT}")
    return Path(found).absolute()


async def probe_tor(reactor: ProcessReactor, binary: Path) -> TorAbilities:
    """Ask a tor binary for its version and its modules. Whatever it is, no process is left when this ends.

    :raises TorMissingError: it cannot be executed, or is no tor.
    """
    version_text = await _said(reactor, binary, "--version")
    version = read_version(version_text)
    if not version_text.startswith("Tor ") or not version:
        raise TorMissingError(f"{binary} does not seem to be tor: {_INSTALL_HINT}")
    modules = read_modules(await _said(reactor, binary, "--list-modules"))
    return TorAbilities(version=version, pow="pow" in modules)


async def _said(reactor: ProcessReactor, binary: Path, argument: str) -> str:
    """What a program says to an argument."""
    answer = _Answer()
    try:
        reactor.spawnProcess(answer, str(binary), [str(binary), argument], env=dict(os.environ))
        said = await answer.complete.addTimeout(PROBE_SECONDS, reactor)
    except OSError as error:
        raise TorMissingError(f"{binary} cannot be run ({error.strerror}): {_INSTALL_HINT}") from None
    except defer.TimeoutError:
        raise TorMissingError(
            f"{binary} does not seem to be tor, for it said nothing to {argument} in {PROBE_SECONDS:.0f} s:"
            f" {_INSTALL_HINT}"
        ) from None
    return said.decode("utf-8", "replace")


class _Answer(ProcessProtocol):
    """What a program says until it ends.

    :ivar complete: fires with it. Whoever cancels it ends the program.
    """

    def __init__(self) -> None:
        self.complete: Deferred[bytes] = Deferred(lambda _: self._end())
        self._said = b""

    def outReceived(self, data: bytes) -> None:
        """It says something."""
        self._said = (self._said + data)[:PROBE_BYTES]
        if len(self._said) == PROBE_BYTES:
            self._end()

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and has said everything."""
        if not self.complete.called:
            self.complete.callback(self._said)

    def _end(self) -> None:
        assert self.transport is not None  # it has been started
        with contextlib.suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")


class TorProcess(ProcessProtocol):
    """One run of tor.

    :param hear: called with each warning or error that tor logs, once for each text.
    """

    def __init__(self, clock: IReactorTime, hear: Callable[[str], None]) -> None:
        self._clock = clock
        self._hear = hear
        self._rest = b""
        self._heard: set[str] = set()
        self._last_words: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ended: str | None = None
        self._was_killed = False
        self._waiting_for_end: list[Deferred[None]] = []
        self._waiting_for_control: Deferred[None] | None = Deferred()
        self._control_open = self._waiting_for_control

    def start(self, reactor: IReactorProcess, binary: Path, torrc: Path) -> None:
        """Run `tor -f TORRC`.

        :raises TorStoppedError: the system does not let us.
        """
        try:
            reactor.spawnProcess(self, str(binary), [str(binary), "-f", str(torrc)], env=dict(os.environ))
        except OSError as error:
            raise TorStoppedError(f"{binary} cannot be started: {error.strerror}") from None

    async def control_open(self) -> None:
        """Wait until the control port is open.

        :raises TorStoppedError: tor ended before, or did not come so far within `START_DEADLINE_SECONDS`; the error
            names the cause that tor gave.
        """
        try:
            await self._control_open.addTimeout(START_DEADLINE_SECONDS, self._clock)
        except defer.TimeoutError:
            raise TorStoppedError(
                f"tor did not open its control port within {START_DEADLINE_SECONDS:.0f} s{self._why()}"
            ) from None

    def when_ended(self) -> Deferred[None]:
        """Fire when the process is gone. Never fails."""
        ended: Deferred[None] = Deferred()
        if self._ended is not None:
            ended.callback(None)
        else:
            self._waiting_for_end.append(ended)
        return ended

    @property
    def how_it_ended(self) -> str:
        """One sentence: how the process ended, and why as far as tor said. One that was killed said nothing of that."""
        return f"our tor {self._ended or 'closed its control connection'}{'' if self._was_killed else self._why()}"

    async def ended_within(self, seconds: float) -> bool:
        """Wait a little for the process to end by itself.

        :returns: whether it has.
        """
        with contextlib.suppress(defer.TimeoutError):
            await self.when_ended().addTimeout(seconds, self._clock)
        return self._ended is not None

    async def stop(self) -> None:
        """End the process: SIGTERM, after `STOP_GRACE_SECONDS` SIGKILL. Returns when it is gone."""
        self._signal(signal.SIGTERM)
        kill = self._clock.callLater(STOP_GRACE_SECONDS, self._signal, signal.SIGKILL)
        await self.when_ended()
        if kill.active():
            kill.cancel()

    def _signal(self, number: signal.Signals) -> None:
        if self._ended is None and self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):  # then processEnded is on its way
                self.transport.signalProcess(number)

    def outReceived(self, data: bytes) -> None:
        """Take what tor logs."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE_BYTES]
        for line in lines:
            self._line(line[:_LONGEST_LINE_BYTES].decode("utf-8", "replace"))

    errReceived = outReceived

    def _line(self, line: str) -> None:
        level, found, text = line.partition("] ")
        if not found:
            text = line
        if "[warn" in level or "[err" in level or not found:
            self._last_words.append(text)
            if found and text not in self._heard and len(self._heard) < _KEPT_LINES:
                self._heard.add(text)
                self._hear(text)
        if text.startswith("Opened Control listener"):
            self._settle_control(None)

    def _settle_control(self, result: TorStoppedError | None) -> None:
        waiting, self._waiting_for_control = self._waiting_for_control, None
        if waiting is not None and not waiting.called:
            waiting.callback(None) if result is None else waiting.errback(result)

    def processEnded(self, reason: Failure) -> None:
        """The process is gone."""
        code, number = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
        self._was_killed = number is not None
        self._ended = f"was ended by signal {number}" if self._was_killed else f"ended with code {code}"
        self._settle_control(TorStoppedError(self.how_it_ended))
        waiting, self._waiting_for_end = self._waiting_for_end, []
        for ended in waiting:
            if not ended.called:  # whoever had waited long enough
                ended.callback(None)

    def _why(self) -> str:
        words = list(self._last_words)
        for pattern, cause in _KNOWN_ENDS:
            if any(pattern.search(word) for word in words):
                return f": {cause}"
        reasons = [word for word in words if not _NO_REASON.search(word)]
        return f": {reasons[-1]}" if reasons else ""
