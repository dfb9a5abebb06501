"""One run of a worker, as the gateway sees it: started with its sockets, told what to do, heard, and ended with us."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from torfluxd.errors import WorkerError
from torfluxd.gateway.told import LineReader, Message, encode

__all__ = ["FIRST_DOOR", "SAYS", "WorkerProcess"]

SAYS = 3
"""The descriptor on which a worker tells; what it prints by accident on 1 or 2 goes where ours goes."""

FIRST_DOOR = 4
"""The first descriptor of the sockets that a worker is handed."""

_ONLY_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""What systemd tells the gateway alone (sd_notify(3), sd_listen_fds(3))."""


class WorkerProcess(ProcessProtocol):
    """One run of a worker.

    :param hear: called with each message.
    :param ended: called once, with how it ended.
    """

    def __init__(self, hear: Callable[[Message], None], ended: Callable[[str], None]) -> None:
        self._hear = hear
        self._ended = ended
        self._reader = LineReader()
        self._tells = False

    def start(self, reactor: IReactorProcess, doors: Sequence[int], environment: Mapping[str, str]) -> None:
        """Start it.

        :param doors: descriptors of ours, which it has from `FIRST_DOOR` on.
        :param environment: ours.
        :raises WorkerError: the system does not let us.
        """
        # -P: nothing is imported out of whatever directory we are in.
        argv = [sys.executable, "-P", "-m", "torfluxd.worker", str(os.getpid())]
        descriptors: dict[int, int | str] = {0: "w", 1: 2, 2: 2, SAYS: "r"}
        descriptors |= dict(enumerate(doors, FIRST_DOOR))
        env = {name: value for name, value in environment.items() if name not in _ONLY_OURS}
        try:
            reactor.spawnProcess(self, sys.executable, argv, env=env, childFDs=descriptors)
        except OSError as error:
            raise WorkerError(f"a worker cannot be started: {error.strerror}") from None
        self._tells = True

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.transport is not None
        return int(self.transport.pid or 0)

    def tell(self, message: Message) -> None:
        """Tell it something, as long as it listens."""
        if self._tells and self.transport is not None:
            self.transport.writeToChild(0, encode(message))

    def kill(self) -> None:
        """End it now; :meth:`processEnded` follows."""
        if self.transport is not None:
            with contextlib.suppress(ProcessExitedAlready):
                self.transport.signalProcess(signal.SIGKILL)

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  # Twisted's name
        """Hear what it tells."""
        for message in self._reader.feed(data):
            self._hear(message)

    def childConnectionLost(self, childFD: int) -> None:  # noqa: N802, N803  # Twisted's name
        """It hears no more, or tells no more; that it has ended is told otherwise."""
        if childFD == 0:
            self._tells = False

    def processEnded(self, reason: Failure) -> None:
        """It is gone."""
        self._tells = False
        code, number = getattr(reason.value, "exitCode", None), getattr(reason.value, "signal", None)
        self._ended(f"was ended by signal {number}" if number is not None else f"ended with code {code}")
