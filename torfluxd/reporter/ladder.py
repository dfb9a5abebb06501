"""How a reporter that was told nothing finds tor: one rung after the other, asked again for each report."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorProcess, IReactorTime, IReactorUNIX, IStreamClientEndpoint

from torfluxd.errors import (
    BootstrapTimeoutError,
    SettingsError,
    SocketPathError,
    TorError,
    TorMissingError,
    TorStoppedError,
)
from torfluxd.onion.client_key import PrivateLine
from torfluxd.onion.probe import is_tor
from torfluxd.onion.process import find_tor
from torfluxd.onion.torrc import check_socket_path
from torfluxd.reporter.install_advice import Platform, install_advice, this_platform
from torfluxd.reporter.launch_lock import LaunchLock
from torfluxd.reporter.tor import GivenSocks, SocksSource
from torfluxd.reporter.tor_socks import TorSocks

__all__ = ["PLACES", "SOCKS_VARIABLE", "TorLadder", "program_of_this_machine"]

SOCKS_VARIABLE: Final = "TORFLUXD_SOCKS"
"""The environment variable by which a user says where tor's SOCKS port is."""

PLACES: Final = ("unix:/run/tor/socks", "tcp:127.0.0.1:9050", "tcp:127.0.0.1:9150")
"""Where a tor that runs listens: Debian's, whose socket nobody else can take; everybody's (tor(1), `SocksPort`); and
Tor Browser's."""

_WHEEL: Final = "torfluxd_tor"
"""The module of the wheel that brings a tor along: what the extra `tor` asks for."""


def program_of_this_machine(find: Callable[[None], Path] = find_tor) -> Path | None:
    """The tor to launch: the one in PATH, which the system keeps up to date, else that of the wheel; or None.

    :param find: finds the one in PATH; raises :class:`TorMissingError` where there is none.
    """
    try:
        return find(None)
    except TorMissingError:
        pass
    try:
        wheel = importlib.import_module(_WHEEL)
    except ModuleNotFoundError:
        return None
    return Path(wheel.binary())


class TorLadder:
    """The SOCKS port of whatever tor there is.

    It is looked for from the top:

    1. where the environment variable :data:`SOCKS_VARIABLE` says, and then nowhere else;
    2. a tor that other reporters of the same state directory have launched;
    3. a tor that runs, at one of `places`, if what listens there answers as a tor does;
    4. a tor of this reporter's own, launched when it is first needed. Its state, and with it its choice of entry
       guards, is kept in the state directory; without one no tor is launched, because one that chose new guards each
       time would meet a bad one soon.

    With a key for a private onion service only the second and the last will do: others would have to be handed the key.

    :param state_dir: the reporter's state directory, or None.
    :param environ: the environment; that of this process by default.
    :param places: where to look for a tor that runs, described as Twisted describes endpoints.
    :param find_program: finds the program to launch, or None.
    :param platform: the platform, for advice.
    :raises SettingsError: the environment variable describes no endpoint.
    """

    def __init__(
        self,
        state_dir: Path | None,
        *,
        environ: Mapping[str, str] | None = None,
        places: tuple[str, ...] = PLACES,
        find_program: Callable[[], Path | None] = program_of_this_machine,
        platform: Platform | None = None,
    ) -> None:
        self._given = _given((os.environ if environ is None else environ).get(SOCKS_VARIABLE, ""))
        self._directory = None if state_dir is None else state_dir / "tor"
        self._places = places
        self._find_program = find_program
        self._platform = platform or this_platform()
        self._client_auth: PrivateLine | None = None
        self._reactor: IReactorTime | None = None
        self._own: _Own | None = None

    def hold_key(self, client_auth: PrivateLine) -> None:
        """Have the tor that will be launched hold it.

        :raises SettingsError: none will be.
        """
        if self._given is not None:
            self._given.hold_key(client_auth)
        if self._directory is None:
            raise SettingsError(
                "client_key: only a tor of the reporter's own can be handed a key: give state_dir, where its state is"
                " kept; or put the file NAME.auth_private into a directory, which the torrc of your tor names in a line"
                " ClientOnionAuthDir DIR, and leave client_key out"
            )
        self._client_auth = client_auth

    def start(self, reactor: IReactorTime) -> None:
        """Nothing is looked for before it is needed."""
        self._reactor = reactor
        if self._given is not None:
            self._given.start(reactor)

    def socks_endpoint(self) -> Deferred[IStreamClientEndpoint]:
        """As :meth:`SocksSource.socks_endpoint`. When there is no tor at all, the error says how to install it."""
        assert self._reactor is not None, "it is asked for after the start"
        if self._given is not None:
            return self._given.socks_endpoint()
        return Deferred.fromCoroutine(self._climb(self._reactor))

    def stop(self) -> Deferred[None]:
        """As :meth:`SocksSource.stop`."""
        own, self._own = self._own, None
        return succeed(None) if own is None else own.stop()

    async def _climb(self, reactor: IReactorTime) -> IStreamClientEndpoint:
        if self._own is not None and not self._own.lock.is_ours:
            self._own.lock.release()
            self._own = None  # it is the parent's of this process
        if self._own is None:
            for description in self._descriptions(reactor):
                place: IStreamClientEndpoint = clientFromString(reactor, description)
                if await is_tor(place, reactor):
                    return place
            self._own = self._own or self._launched(reactor)  # another report may have done so meanwhile
        return await self._from_own(self._own)

    async def _from_own(self, own: _Own) -> IStreamClientEndpoint:
        try:
            return await own.tor.socks_endpoint()
        except BootstrapTimeoutError:
            raise  # it runs, and may join yet
        except TorError:
            # It does not run, or not for long. The next report begins at the top again.
            await own.stop()
            if self._own is own:
                self._own = None
            raise

    def _descriptions(self, reactor: IReactorTime) -> Iterator[str]:
        """Where a tor may be running, best first."""
        has_unix_sockets = IReactorUNIX.providedBy(reactor)
        if self._directory is not None and has_unix_sockets:
            yield TorSocks.socks_description(self._directory)
        if self._client_auth is None:
            yield from (place for place in self._places if has_unix_sockets or not place.startswith("unix:"))

    def _launched(self, reactor: IReactorTime) -> _Own:
        """Begin to have a tor of our own.

        :raises TorMissingError: there is none to launch, or no place for its state.
        :raises TorStoppedError: another process is about to launch one with the same state.
        """
        program = self._find_program()
        if program is None or not (IReactorUNIX.providedBy(reactor) and IReactorProcess.providedBy(reactor)):
            raise TorMissingError(f"{self._none_answers()}: {install_advice(self._platform)}")
        if self._directory is None:
            raise TorMissingError(
                f"{self._none_answers()}, and {program} can be launched only where its state can be kept: give the"
                " reporter a state_dir, or start tor"
            )
        try:
            for name in ("control.sock", "socks.sock"):
                check_socket_path(self._directory / name)
        except SocketPathError:
            raise TorMissingError(
                f"{self._none_answers()}, and the path of the state directory is too long for the sockets of one that"
                " is launched: choose a shorter state_dir, or start tor"
            ) from None
        tor = TorSocks.launched(self._directory, str(program))
        if self._client_auth is not None:
            tor.hold_key(self._client_auth)
        own = _Own(_lock(self._directory), tor)
        tor.start(reactor)
        return own

    def _none_answers(self) -> str:
        if self._client_auth is not None:
            return "there is no tor of the reporter's own"
        return f"there is no tor at {', '.join(self._places)}"


@frozen(eq=False)
class _Own:
    """A tor that is launched by this process."""

    lock: LaunchLock
    tor: TorSocks

    def stop(self) -> Deferred[None]:
        """End it, and let others launch one; in a child of that process, leave it alone. Never fails."""
        if not self.lock.is_ours:
            self.lock.release()
            return succeed(None)
        return self.tor.stop().addCallback(lambda _: self.lock.release())


def _lock(directory: Path) -> LaunchLock:
    """The right to launch a tor with this state.

    :raises TorStoppedError: another has it, or nothing can be written there.
    """
    try:
        lock = LaunchLock.take(directory.with_name(f"{directory.name}.lock"))
    except OSError as error:
        raise TorStoppedError(f"tor's state cannot be kept beside {directory}: {error.strerror}") from None
    if lock is None:
        raise TorStoppedError("another process with the same state directory is launching a tor: it will be shared")
    return lock


def _given(description: str) -> GivenSocks | None:
    """What the environment says.

    :raises SettingsError: it describes no endpoint.
    """
    if not description:
        return None
    try:
        return GivenSocks(description)
    except SettingsError as error:
        raise SettingsError(f"{SOCKS_VARIABLE}: {str(error).removeprefix('socks: ')}") from None


_: type[SocksSource] = TorLadder
