"""A tor that is up, and comes back, as a Twisted service: with an onion service on it, or only a way out."""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import evolve
from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from torfluxd.onion.bootstrap import likely_cause
from torfluxd.onion.canary import Canary
from torfluxd.onion.lifecycle import Lifecycle, TorMachine
from torfluxd.onion.sources import TorSource
from torfluxd.onion.status import TorStatus
from torfluxd.onion.watch import Watch

__all__ = ["RETRY_CAP_SECONDS", "RETRY_FACTOR", "RETRY_FIRST_SECONDS", "TorService"]

RETRY_FIRST_SECONDS = 1.0
RETRY_FACTOR = 1.5
RETRY_CAP_SECONDS = 60.0
"""The wait before the next attempt grows from 1 s by half each time, to a minute: what Bitcoin Core does with its
control connection. Up to a second of chance is added, so that a fleet does not come back in step."""

_log = Logger()


class TorService(Service):
    """Keeps a tor up, and the onion service on it published, from start to stop.

    :param source: how to have a tor.
    :param clock: for the waits between attempts.
    :param say: takes each line about tor, fit for a person's eyes; the log by default, where each has its level.
    :param came_up: called each time that tor is up, the first time and after each loss.
    :param went_down: called each time that a tor has ended, or our connection to one that is not ours, with all that it
        knew of circuits.
    :param circuits: tells how many circuits have a connection now, where that is known.
    :param canary: tries whether the onion service can be reached; None where that is not tried.
    :param wall: the date, in seconds since 1970: where it jumps against the clock, that is noticed.
    :param retry_delay: seconds to wait before attempt n+1, given n.
    """

    def __init__(
        self,
        source: TorSource,
        clock: IReactorTime,
        *,
        say: Callable[[str], None] | None = None,
        came_up: Callable[[], None] = lambda: None,
        went_down: Callable[[], None] = lambda: None,
        circuits: Callable[[], int] | None = None,
        canary: Canary | None = None,
        wall: Callable[[], float] = time.time,
        retry_delay: Callable[[int], float] | None = None,
    ) -> None:
        self._circuits = circuits
        self._canary = canary
        self._core = Lifecycle(
            source=source,
            clock=clock,
            watch=Watch(clock, wall, say or _tell, canary),
            went_down=went_down,
            retry_delay=retry_delay or backoffPolicy(RETRY_FIRST_SECONDS, RETRY_CAP_SECONDS, RETRY_FACTOR),
            came_up=came_up,
            say=say or _warn,
            progress=say or _tell_progress,
        )
        self._machine = TorMachine(self._core)

    def startService(self) -> None:
        """Begin."""
        Service.startService(self)
        self._machine.start()

    def stopService(self) -> Deferred[None]:
        """End. Fires when everything that was started has ended; never fails."""
        Service.stopService(self)
        stopped: Deferred[None] = Deferred()
        self._core.waiting_for_stop.append(stopped)
        self._machine.stop()
        return stopped

    def when_up(self) -> Deferred[None]:
        """Fire when tor has joined its network and the onion service, if there is one, is published.

        Fires at once when that is so. Fails with :class:`~torfluxd.errors.TorError` when an attempt fails before tor
        ever was up (the attempts go on: stop the service to end them), and with CancelledError when it is cancelled or
        the service is stopped.
        """
        waiter = self._core.new_waiter()
        self._machine.await_up(waiter)
        return waiter

    def close_circuit(self, circuit: int) -> None:
        """Ask tor to close a circuit of the onion service.

        Nothing is asked while tor is not up, and nobody hears what came of it: the circuit may be gone already, and so
        may the control connection.

        :param circuit: its id, as `HiddenServiceExportCircuitID` tells it. No log and no error shows it.
        """
        self._machine.close_circuit(circuit)

    @property
    def status(self) -> TorStatus:
        """How tor and the onion service are at this moment."""
        core = self._core
        status = TorStatus(
            state=core.state,
            descriptor_uploaded_at=core.descriptors.uploaded_at if core.descriptors else None,
            canary_succeeded_at=self._canary.succeeded_at if self._canary else None,
            canary_failures=self._canary.failures if self._canary else 0,
            losses=core.losses,
            circuits=self._circuits() if self._circuits else None,
        )
        if core.bootstrap is None or not status.is_there:
            return status
        return evolve(status, bootstrap_percent=core.bootstrap.progress)

    @property
    def likely_cause(self) -> str:
        """One sentence: what probably keeps tor from joining its network, or the onion service from being published."""
        latest = self._core.bootstrap
        if latest is not None and latest.joined:
            return "tor has joined its network, but no directory has taken the onion service's descriptor"
        return likely_cause(latest, self._core.clock_skew_seconds)


def _tell(line: str) -> None:
    _log.info("{line}", line=line)


def _tell_progress(line: str) -> None:
    """A dozen lines at each start: `systemctl status` and `torfluxd status` show how far it is."""
    _log.debug("{line}", line=line)


def _warn(line: str) -> None:
    _log.warn("{line}", line=line)
