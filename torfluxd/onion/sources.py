"""The two ways to have Tor: launch one of our own, or use one that runs.

Each is a *source*: :meth:`open` gives an :class:`OpenTor`, a tor that is there and lets us in, though it need not have
joined its network yet. What happens from there on is the same for both, and is `service.py`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IReactorUNIX,
    IStreamClientEndpoint,
)

from torfluxd.errors import ControlError, TorError, TorStoppedError
from torfluxd.onion.address import OnionAddress
from torfluxd.onion.authorization import OwnAuthorization, hold_key, write_authorized_clients
from torfluxd.onion.authorized import AuthorizedClients, keep_renewing
from torfluxd.onion.client_key import PrivateLine
from torfluxd.onion.control import ControlConnection, connect_control
from torfluxd.onion.descriptors import DescriptorWatch
from torfluxd.onion.ephemeral import check_target
from torfluxd.onion.hosting import add_onion, check_hosted, take_away
from torfluxd.onion.key import OnionKey
from torfluxd.onion.listeners import read_listeners
from torfluxd.onion.private_files import private_directory, write_private
from torfluxd.onion.process import ProcessReactor, TorProcess, probe_tor
from torfluxd.onion.together import all_of
from torfluxd.onion.torrc import OnionLines, TorAbilities, check_socket_path, read_version, torrc
from torfluxd.onion.upgrade import stamp_of, until_replaced

__all__ = ["LaunchReactor", "LaunchedTor", "OpenTor", "RunningTor", "TorSource"]

CLIENT_SAFE_SINCE = (0, 4, 9, 11)
"""Before it a rendezvous point could impersonate an onion service to its clients (tor issue 41297)."""


END_SECONDS = 1.0
"""How long a tor that closed its control connection may take to end before we no longer wait for its last words."""


class LaunchReactor(ProcessReactor, IReactorUNIX):
    """The kind of reactor that launching tor needs."""


class OpenTor(Protocol):
    """A tor that lets us in."""

    @property
    def control(self) -> ControlConnection:
        """Its control connection, authenticated."""

    @property
    def descriptors(self) -> DescriptorWatch | None:
        """What becomes of the onion service's descriptors, or None when there is no onion service."""

    async def host(self) -> None:
        """Make this tor host the onion service, and hold the key for a private one. Called once, when tor has joined
        its network.

        :raises TorError: it does not.
        """

    async def keep(self) -> None:
        """While this tor is up: let those in whom the directory of clients names, whenever it changes; and see whether
        the program of a tor of our own is replaced.

        Returns at once where there is nothing to do; else it ends by being cancelled.

        :raises TorError: this tor must be let go: it was not told of clients, and would let in who was revoked; or
            another one is to be started.
        """

    async def check(self) -> None:
        """Ask whether it is there, and still does for us what it should.

        :raises TorError: it is not, or does not.
        """

    async def mend(self) -> None:
        """Have it publish the onion service anew, without cutting anybody off.

        :raises TorError: it does not.
        """

    async def socks(self) -> IStreamClientEndpoint | None:
        """A SOCKS port through which the onion service may be tried, or None where there is none for that.

        :raises TorError: tor does not tell.
        """

    def when_lost(self) -> Deferred[str]:
        """Fire when this tor is of no more use, with one sentence that says why. Never fails."""

    async def close(self) -> None:
        """Give it back: what we started has ended when this returns. Never raises."""


class TorSource(Protocol):
    """A way to have Tor."""

    async def open(self) -> OpenTor:
        """Have a tor that lets us in.

        :raises TorError: there is none, with the likely cause. Whatever was started has ended.
        """


class LaunchedTor:
    """Launch a tor of our own, with a torrc that we write.

    :param directory: tor's state; created 0700, kept between runs.
    :param binary: the tor to run.
    :param onion: the key of the onion service to host, and the unix socket to which it leads; or None.
    :param socks_socket: where to open a SOCKS port, or None.
    :param further_targets: other sockets to which it leads: for each stream tor takes one of them all by chance.
    :param frontend: the address that Onionbalance publishes for this onion service and others, or None.
    :param clients: who alone may reach the onion service; None for everybody.
    :param client_auth: what opens a private onion service to this tor's own streams; None where none is private.
    :param options: further lines for the torrc.
    :param hear: called with each warning that tor logs.
    """

    def __init__(
        self,
        reactor: LaunchReactor,
        directory: Path,
        binary: Path,
        *,
        onion: tuple[OnionKey, Path] | None = None,
        further_targets: tuple[Path, ...] = (),
        frontend: OnionAddress | None = None,
        clients: AuthorizedClients | None = None,
        client_auth: PrivateLine | None = None,
        socks_socket: Path | None = None,
        options: tuple[str, ...] = (),
        hear: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._directory = directory
        self._binary = binary
        self._onion = onion
        self._further_targets = further_targets
        self._frontend = frontend
        self._clients = clients
        self._client_auth = client_auth
        self._socks_socket = socks_socket
        self._options = options
        self._hear = hear

    @property
    def _control_socket(self) -> Path:
        return self._directory / "control.sock"

    async def open(self) -> OpenTor:
        """Start tor and take ownership of it. As :meth:`TorSource.open`."""
        stamp = stamp_of(self._binary)
        abilities = await probe_tor(self._reactor, self._binary)
        for warning in version_warnings(abilities.version):
            self._hear(warning)
        try:
            torrc_path = self._write_files(abilities)
        except OSError as error:
            raise TorStoppedError(f"tor's files in {self._directory} cannot be written: {error.strerror}") from None
        process = TorProcess(self._reactor, lambda line: self._hear(f"tor: {line}"))
        process.start(self._reactor, self._binary, torrc_path)
        control: ControlConnection | None = None
        try:
            await process.control_open()
            endpoint = UNIXClientEndpoint(self._reactor, str(self._control_socket))
            control = await connect_control(endpoint, self._reactor, f"unix:{self._control_socket}")
            await control.command("TAKEOWNERSHIP")
            watch = await _watch(control, self._onion[0] if self._onion else None, self._reactor)
        except (TorError, CancelledError) as error:
            if control is not None:
                control.close()
            # A tor that ends closes its control port first, but it is the end that has a cause.
            ended = isinstance(error, ControlError) and await process.ended_within(END_SECONDS)
            await process.stop()
            if ended:
                raise TorStoppedError(process.how_it_ended) from None
            raise
        return _Launched(
            self._reactor,
            process,
            control,
            watch,
            self._make_authorization(control, self._clients) if self._clients else None,
            self._client_auth or self._own_auth,
            UNIXClientEndpoint(self._reactor, str(self._socks_socket)) if self._socks_socket else None,
            partial(until_replaced, self._reactor, self._binary, stamp, self._probe, self._hear),
        )

    async def _probe(self) -> TorAbilities:
        return await probe_tor(self._reactor, self._binary)

    @property
    def _own_auth(self) -> PrivateLine | None:
        """What opens a private onion service of our own to ourselves."""
        if self._clients is None or self._onion is None or self._socks_socket is None:
            return None
        return PrivateLine(self._onion[0].address, self._clients.own)

    def _make_authorization(self, control: ControlConnection, clients: AuthorizedClients) -> OwnAuthorization:
        return OwnAuthorization(control, self._onion_directory, clients, self._hear)

    @property
    def _onion_directory(self) -> Path:
        return self._directory / "onion"

    def _write_files(self, abilities: TorAbilities) -> Path:
        own = (self._control_socket, self._socks_socket, self._onion and self._onion[1])
        for socket in (*own, *self._further_targets):
            if socket:
                check_socket_path(socket)
        private_directory(self._directory)
        lines = None
        if self._onion:
            key, target = self._onion
            lines = OnionLines(self._onion_directory, target, self._further_targets, self._frontend is not None)
            private_directory(lines.directory)
            write_private(lines.directory / "hs_ed25519_secret_key", key.tor_secret_file())
            write_private(lines.directory / "hs_ed25519_public_key", key.tor_public_file())
            if self._clients:
                self._clients.look()
            write_authorized_clients(lines.directory, self._clients)
            if self._frontend is not None:
                write_private(lines.directory / "ob_config", f"MasterOnionAddress {self._frontend.hostname}\n".encode())
        path = self._directory / "torrc"
        text = torrc(
            data_directory=self._directory,
            control_socket=self._control_socket,
            owner_pid=os.getpid(),
            abilities=abilities,
            socks_socket=self._socks_socket,
            onion=lines,
            options=self._options,
        )
        write_private(path, text.encode())
        return path


class _Launched:
    """A tor that we launched."""

    def __init__(
        self,
        clock: IReactorTime,
        process: TorProcess,
        control: ControlConnection,
        watch: DescriptorWatch | None,
        authorization: OwnAuthorization | None,
        client_auth: PrivateLine | None,
        socks: IStreamClientEndpoint | None,
        until_replaced: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._clock = clock
        self._process = process
        self.control = control
        self.descriptors = watch
        self._authorization = authorization
        self._client_auth = client_auth
        self._socks = socks
        self._until_replaced = until_replaced

    async def host(self) -> None:
        """The torrc says it; only a key is not for the disk. As :meth:`OpenTor.host`."""
        if self._client_auth is not None:
            await hold_key(self.control, self._client_auth)

    async def keep(self) -> None:
        """As :meth:`OpenTor.keep`."""
        duties = [self._until_replaced()]
        if self._authorization is not None:
            duties.append(keep_renewing(self._authorization.clients, self._clock, self._authorization.renew))
        await all_of(duties)

    async def check(self) -> None:
        """As :meth:`OpenTor.check`."""
        await self.control.command("GETINFO status/circuit-established")

    async def mend(self) -> None:
        """Have it forget what its client side knows, and read its torrc again, upon which it publishes at once.

        No circuit of the onion service is touched by either (tried on tor 0.4.9.11). As :meth:`OpenTor.mend`.
        """
        await self.control.command("SIGNAL NEWNYM")
        await self.control.command("SIGNAL RELOAD")

    async def socks(self) -> IStreamClientEndpoint | None:
        """As :meth:`OpenTor.socks`."""
        return self._socks

    def when_lost(self) -> Deferred[str]:
        """As :meth:`OpenTor.when_lost`: the process ended, or its control connection did.

        A process that ends closes that connection first, and is waited for, because it can say why it ended.
        """
        lost: Deferred[str] = Deferred()

        def settle(_: None) -> None:
            if not lost.called:
                lost.callback(self._process.how_it_ended)

        def settle_soon(_: None) -> None:
            if not lost.called:
                waiting = self._clock.callLater(END_SECONDS, settle, None)
                lost.addBoth(_cancelling(waiting))

        self._process.when_ended().addCallback(settle)
        self.control.when_lost().addCallback(settle_soon)
        return lost

    async def close(self) -> None:
        """As :meth:`OpenTor.close`: tor has ended when this returns."""
        self.control.close()
        await self._process.stop()


_T = TypeVar("_T")


def _cancelling(call: IDelayedCall) -> Callable[[_T], _T]:
    """A callback that cancels a timer which is no longer needed, and passes its result on."""

    def cancel(result: _T) -> _T:
        if call.active():
            call.cancel()
        return result

    return cancel


class RunningTor:
    """Use a tor that runs already, through its control port. Nothing of its configuration is touched.

    :param endpoint: its control port.
    :param where: how errors name that.
    :param onion: the key of the onion service to host, and the unix socket to which it leads; or None.
    :param further_targets: other sockets to which it leads: for each stream tor takes one of them all by chance.
    :param clients: who alone may reach the onion service; None for everybody.
    :param client_auth: what opens a private onion service to this tor's streams, those of its other users among them;
        it keeps that until it ends. None where none is private.
    :param hear: called with each warning about this tor.
    :param patience_seconds: how long its control port may be missing before it was there for the first time.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        where: str,
        *,
        onion: tuple[OnionKey, Path] | None = None,
        further_targets: tuple[Path, ...] = (),
        clients: AuthorizedClients | None = None,
        client_auth: PrivateLine | None = None,
        hear: Callable[[str], None],
        patience_seconds: float = 0.0,
    ) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self._where = where
        self._onion = onion
        self._further_targets = further_targets
        self._clients = clients
        self._client_auth = client_auth
        self._hear = hear
        self._patience_seconds = patience_seconds

    async def open(self) -> OpenTor:
        """Connect and authenticate. As :meth:`TorSource.open`."""
        if self._onion:
            for target in (self._onion[1], *self._further_targets):
                check_target(target)
        control = await connect_control(self._endpoint, self._clock, self._where, self._patience_seconds)
        self._patience_seconds = 0.0
        try:
            watch = await _watch(control, self._onion[0] if self._onion else None, self._clock)
        except (TorError, CancelledError):
            control.close()
            raise
        for warning in version_warnings(read_version(control.tor_version)):
            self._hear(warning)
        if self._clients:
            self._clients.look()
        return _Attached(
            self._clock,
            control,
            watch,
            self._onion,
            self._further_targets,
            self._clients,
            self._client_auth,
            self._hear,
        )


class _Attached:
    """A running tor that lets us in."""

    def __init__(
        self,
        clock: IReactorTime,
        control: ControlConnection,
        watch: DescriptorWatch | None,
        onion: tuple[OnionKey, Path] | None,
        further_targets: tuple[Path, ...],
        clients: AuthorizedClients | None,
        client_auth: PrivateLine | None,
        hear: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self.control = control
        self.descriptors = watch
        self._onion = onion
        self._further_targets = further_targets
        self._clients = clients
        self._client_auth = client_auth
        self._hear = hear
        self._is_hosted = False

    async def host(self) -> None:
        """Add the onion service; it lives as long as the control connection. As :meth:`OpenTor.host`."""
        if self._client_auth is not None:
            await hold_key(self.control, self._client_auth)
        if self._onion is not None:
            await self._add(*self._onion)

    async def _add(self, key: OnionKey, target: Path) -> None:
        clients = self._clients.keys if self._clients else ()
        await add_onion(self.control, key, target, clients, self._hear, self._further_targets)
        self._is_hosted = True

    async def keep(self) -> None:
        """As :meth:`OpenTor.keep`."""
        if self._clients is not None and self._onion is not None:
            await keep_renewing(self._clients, self._clock, self._renew)

    async def _renew(self) -> None:
        """Take the onion service away and add it again, because tor has no other way to change its clients.

        Between the two are some milliseconds, in which a new stream on an open circuit would be refused. Open circuits
        and their streams stay, those of who is revoked among them. A new circuit finds the new introduction points when
        they are published, a second or two later: it takes three to eight seconds more, once, and does not fail. Only
        an introduction that is on its way at this moment is lost, and the client's tor waits for its answer for up to
        two minutes (its `SocksTimeout`) before it says so. (Tried on tor 0.4.9.11.)
        """
        assert self._onion is not None
        key, target = self._onion
        self._is_hosted = False
        await take_away(self.control, key)
        await self._add(key, target)

    async def check(self) -> None:
        """As :meth:`OpenTor.check`."""
        if self._onion is not None and self._is_hosted:
            await check_hosted(self.control, self._onion[0])
        else:
            await self.control.command("GETINFO status/circuit-established")

    async def mend(self) -> None:
        """Take the onion service away and add it again. As :meth:`OpenTor.mend`."""
        if self._onion is not None:
            await self._renew()

    async def socks(self) -> IStreamClientEndpoint | None:
        """A SOCKS port of this tor, if it has one on this machine.

        Not for a private onion service: its key would open it to all other users of this tor. As
        :meth:`OpenTor.socks`.
        """
        if self._clients is not None:
            return None
        ports = read_listeners(await self.control.command("GETINFO net/listeners/socks"))
        return clientFromString(self._clock, ports[0]) if ports else None

    def when_lost(self) -> Deferred[str]:
        """As :meth:`OpenTor.when_lost`."""
        return self.control.when_lost().addCallback(lambda _: "the control connection to tor was lost")

    async def close(self) -> None:
        """As :meth:`OpenTor.close`: the onion service ends with the connection."""
        self.control.close()


async def _watch(control: ControlConnection, key: OnionKey | None, clock: IReactorTime) -> DescriptorWatch | None:
    """Listen for descriptors from the first moment, so that none is missed."""
    if key is None:
        return None
    watch = DescriptorWatch(key.address.name, clock)
    await control.listen("HS_DESC", watch.take)
    return watch


def version_warnings(version: tuple[int, ...]) -> tuple[str, ...]:
    """What a person should know about a tor of this version."""
    if version >= CLIENT_SAFE_SINCE:
        return ()
    return (
        f"tor {'.'.join(map(str, version))} is older than {'.'.join(map(str, CLIENT_SAFE_SINCE))}, which mends faults"
        " that concern onion services: please update it",
    )
