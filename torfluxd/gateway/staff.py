"""Who answers strangers: the gateway's own process, or its workers. The gateway need not know which."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint

from torfluxd.delivery.schema import SPOOL_FILE
from torfluxd.gateway.acceptor import AcceptorReactor
from torfluxd.gateway.crew import Crew, CrewReactor
from torfluxd.gateway.doors import Door
from torfluxd.gateway.given_door import GivenDoor, make_door
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.orphans import find_orphans
from torfluxd.gateway.serving import Serving
from torfluxd.gateway.shared_doors import (
    SharedDoor,
    check_shareable,
    open_onion_door,
    open_shared_door,
)
from torfluxd.gateway.site import SiteReactor
from torfluxd.influx.credential import Credential
from torfluxd.ops.figures import Figures
from torfluxd.settings import GatewaySettings
from torfluxd.state import StateDirectory

__all__ = ["CrewedStaff", "SoleStaff", "Staff", "StaffReactor", "onion_sockets"]


class StaffReactor(SiteReactor, CrewReactor, AcceptorReactor):
    """The kind of reactor that answering strangers needs."""


def onion_sockets(settings: GatewaySettings, state: Path) -> tuple[Path, ...]:
    """The sockets that tor connects strangers to: one for each worker, and none where there is no onion service.

    :param state: the state directory.
    """
    if not settings.has_onion:
        return ()
    first = settings.onion_socket or state / "onion.sock"
    others = (first.with_name(f"{first.stem}-{number}{first.suffix}") for number in range(2, settings.workers + 1))
    return (first, *others)


def _mode(settings: GatewaySettings) -> int:
    """For this user alone; or, where an operator names the place, for the group of its directory."""
    return 0o660 if settings.onion_socket else 0o600


class Staff(Protocol):
    """Who answers strangers."""

    def prepare(self) -> Sequence[str]:
        """Read what is needed, and open nothing.

        :returns: what the operator should know.
        :raises TorfluxdError: something is not to be had.
        """

    async def open(self) -> None:
        """Open the spool and the doors. Returns when strangers can come.

        :raises TorfluxdError: they cannot.
        """

    async def look(self) -> tuple[Figures, Sequence[str]]:
        """What was counted, and how it stands; and why strangers' writes are not taken, in sentences. Never raises."""

    def prove(self) -> Deferred[None]:
        """Fire when whoever serves strangers has shown that he works, and synced something to the disk.

        It fails with :class:`~torfluxd.errors.TorfluxdError` when somebody does not.
        """

    def change(self, settings: GatewaySettings) -> Sequence[str]:
        """Hold to other rules from now on, and use another credential. Nobody's connection is touched.

        :returns: what the operator should know.
        :raises SettingsError: the credential cannot be used; all is as it was.
        """

    @property
    def circuits(self) -> int:
        """How many circuits have a connection, as far as we know of circuits."""

    @property
    def circuits_met(self) -> int:
        """How many circuits there have been, likewise."""

    def forget_circuits(self) -> None:
        """The tor that knew the circuits is gone, and another one begins to count anew."""

    async def drain(self) -> None:
        """Let nobody in any more, and let requests in flight finish, for a few seconds at most. Never raises."""

    async def close(self) -> None:
        """Close everything. Never raises."""


class SoleStaff:
    """The gateway's own process.

    :ivar serving: what answers.

    :param settings: what to do.
    :param environment: `os.environ`.
    :param state: the gateway's, which is ours.
    :param homes: the vendor's destinations.
    :param close_circuit: asks tor to close a circuit.
    :param canary_target: what our own canary asks for.
    """

    def __init__(
        self,
        reactor: StaffReactor,
        settings: GatewaySettings,
        environment: MutableMapping[str, str],
        state: StateDirectory,
        homes: Homes,
        close_circuit: Callable[[int], None],
        canary_target: bytes,
    ) -> None:
        self.serving = Serving(reactor, settings, environment, homes, close_circuit, canary_target=canary_target)
        self._reactor = reactor
        self._settings = settings
        self._state = state
        self._doors: list[Door | GivenDoor] = []

    def prepare(self) -> Sequence[str]:
        """As :meth:`Staff.prepare`."""
        warnings = self.serving.load_credential()
        self._doors = [self._onion_door(socket) for socket in onion_sockets(self._settings, self._state.path)]
        self._doors += [make_door(self._reactor, text, self.serving.front) for text in self._settings.listen]
        return warnings

    def _onion_door(self, socket: Path) -> Door:
        factory = self.serving.onion_factory(knows_circuits=self._settings.launches_tor)
        endpoint = UNIXServerEndpoint(self._reactor, str(socket), mode=_mode(self._settings))
        return Door(f"unix:{socket}", endpoint, factory, socket)

    async def open(self) -> None:
        """As :meth:`Staff.open`."""
        await self.serving.open(self._state.path / SPOOL_FILE)
        await self.serving.adopt(find_orphans(self._state.path, 1))
        for door in self._doors:
            await door.open()

    async def look(self) -> tuple[Figures, Sequence[str]]:
        """As :meth:`Staff.look`."""
        return self.serving.figures, self.serving.site.problems

    def prove(self) -> Deferred[None]:
        """As :meth:`Staff.prove`."""
        return self.serving.site.prove()

    def change(self, settings: GatewaySettings) -> Sequence[str]:
        """As :meth:`Staff.change`."""
        return self.serving.change(settings)

    @property
    def circuits(self) -> int:
        """As :attr:`Staff.circuits`."""
        return self.serving.limiter.connected

    @property
    def circuits_met(self) -> int:
        """As :attr:`Staff.circuits_met`."""
        return self.serving.limiter.met

    def forget_circuits(self) -> None:
        """As :meth:`Staff.forget_circuits`."""
        self.serving.limiter.forget()

    async def drain(self) -> None:
        """As :meth:`Staff.drain`."""
        for door in self._doors:
            await door.stop()
        await self.serving.drain()

    async def close(self) -> None:
        """As :meth:`Staff.close`."""
        await self.serving.close()
        for door in self._doors:
            door.close()


class CrewedStaff:
    """Workers: see `crew`. The parameters are those of :class:`SoleStaff`.

    :ivar crew: the workers.
    """

    def __init__(
        self,
        reactor: StaffReactor,
        settings: GatewaySettings,
        environment: MutableMapping[str, str],
        state: StateDirectory,
        homes: Homes,
        close_circuit: Callable[[int], None],
        canary_target: bytes,
    ) -> None:
        self.crew = Crew(reactor, settings, environment, state.path, homes, close_circuit, canary_target)
        # Each worker reads it for itself; this one is for what is wrong with it.
        self._credential = Credential(settings.credential_options, settings.influxdb_api, environment, reactor)
        self._settings = settings
        self._state = state
        self._doors: list[SharedDoor] = []

    def prepare(self) -> Sequence[str]:
        """As :meth:`Staff.prepare`."""
        for text in self._settings.listen:
            check_shareable(text)
        return self._credential.load()

    async def open(self) -> None:
        """As :meth:`Staff.open`."""
        settings, state = self._settings, self._state.path
        sockets = onion_sockets(settings, state)
        if sockets:
            self._doors.append(open_onion_door(sockets, _mode(settings), knows_circuits=settings.launches_tor))
        for text in settings.listen:
            self._doors.append(open_shared_door(text, settings.workers))
        await self.crew.start(self._doors, find_orphans(state, settings.workers))

    async def look(self) -> tuple[Figures, Sequence[str]]:
        """As :meth:`Staff.look`; of a worker that is away, what it had counted before."""
        return await self.crew.look()

    def prove(self) -> Deferred[None]:
        """As :meth:`Staff.prove`; one worker that works is enough: the others are started again where they must be."""
        return Deferred.fromCoroutine(self.crew.prove())

    def change(self, settings: GatewaySettings) -> Sequence[str]:
        """As :meth:`Staff.change`."""
        warnings = self._credential.change(settings.credential_options)
        self.crew.change(settings)
        return warnings

    @property
    def circuits(self) -> int:
        """As :attr:`Staff.circuits`: of some seconds ago, and one that has streams at several workers once for each."""
        return self.crew.circuits

    @property
    def circuits_met(self) -> int:
        """As :attr:`Staff.circuits_met`: of some seconds ago."""
        return self.crew.circuits_met

    def forget_circuits(self) -> None:
        """As :meth:`Staff.forget_circuits`."""
        self.crew.tell({"forget": True})

    async def drain(self) -> None:
        """As :meth:`Staff.drain`; the workers have ended then."""
        await self.crew.stop()

    async def close(self) -> None:
        """As :meth:`Staff.close`."""
        for door in self._doors:
            door.close()


_: tuple[type[Staff], ...] = (SoleStaff, CrewedStaff)
