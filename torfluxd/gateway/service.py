"""The gateway as a Twisted service: settings in, a published onion service out, that leads to InfluxDB.

It comes up in this order: the state directory and the key; the sockets; tor. It goes down in the reverse order, so
that what a stranger was promised is still done: no new connections, the requests in flight, then tor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping, Sequence

from twisted import __version__ as twisted_version
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger
from twisted.python.failure import Failure

import torfluxd
from torfluxd.endpoints import client_endpoint
from torfluxd.errors import BootstrapTimeoutError, StateDirectoryError, TorfluxdError
from torfluxd.gateway.homes import HOMES_FILE, Homes
from torfluxd.gateway.identity import find_clients, find_key
from torfluxd.gateway.operations import Operations
from torfluxd.gateway.overview import overview
from torfluxd.gateway.reload import need_restart
from torfluxd.gateway.routes import make_canary_target
from torfluxd.gateway.staff import CrewedStaff, SoleStaff, Staff, StaffReactor, onion_sockets
from torfluxd.onion.canary import Canary, ask_onion
from torfluxd.onion.key import OnionKey
from torfluxd.onion.process import find_tor
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor, LaunchReactor, RunningTor, TorSource
from torfluxd.onion.torrc import check_socket_path, read_version, takes_socks
from torfluxd.ops.daemon import Daemon
from torfluxd.ops.status import Status
from torfluxd.places import ADMIN_SOCKET, unix_place
from torfluxd.settings import Expose, GatewaySettings
from torfluxd.state import StateDirectory, default_state_directory, home_directory

__all__ = ["END_SECONDS", "Gateway", "GatewayReactor"]

END_SECONDS = 4.75
"""How long the end may take, whatever hangs: a process that was asked to end is gone after five seconds."""

CONTROL_SECONDS = 5.0
"""How long the control port of a running tor may be missing when we start. At a boot we are started when tor has told
systemd that it is ready; its unix sockets come a second later (0.4.9.11, from Debian's unit, tried)."""

_TWISTED_ADVISED = (26, 10)
"""Earlier releases have known faults in HTTP parsing, which `--expose all` uses towards InfluxDB."""

_log = Logger()


class GatewayReactor(IReactorCore, StaffReactor, LaunchReactor):
    """The kind of reactor that the gateway needs."""


class Gateway(Daemon):
    """The gateway.

    Nothing is opened before :meth:`prepare`, which may be called early, to have its errors before a daemon forks.

    :param reactor: the reactor to run on.
    :param settings: what to do.
    :param environment: `os.environ`.
    :param give_up: called once, with the error, when the gateway cannot come up; the error has been logged.
    :param show_key: called with the private key when that is to be printed.
    :param reread: reads the settings again, for :meth:`reload`; raises SettingsError. By default they stay.
    """

    def __init__(
        self,
        reactor: GatewayReactor,
        settings: GatewaySettings,
        environment: MutableMapping[str, str],
        *,
        give_up: Callable[[TorfluxdError], None],
        show_key: Callable[[OnionKey], None],
        reread: Callable[[], GatewaySettings] | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._environment = environment
        Daemon.__init__(self, "torfluxd", reactor, give_up)
        self._show_key = show_key
        self._reread = reread or (lambda: settings)
        self._hostname = ""
        self._started_at = 0.0
        self._serves = False
        self._tor: TorService | None = None

    def prepare(self) -> None:
        """Claim the state directory, find the credential, the key and the tor, and read the endpoints.

        :raises TorfluxdError: something of it is not to be had; the state directory is free again.
        """
        settings = self._settings
        path = settings.state_dir or default_state_directory(self._environment, os.geteuid(), home_directory())
        self._state = StateDirectory.claim(path)
        try:
            self._prepare_staff(self._state)
            if settings.has_onion:
                self._prepare_onion(self._state)
            self._prepare_operations(self._state)
        except OSError as error:
            self._release()
            raise StateDirectoryError(f"the state directory {path} cannot be used: {error}") from None
        except BaseException:
            self._release()
            raise

    def _prepare_staff(self, state: StateDirectory) -> None:
        make = SoleStaff if self._settings.workers == 1 else CrewedStaff
        self._canary_target = make_canary_target()
        homes = Homes(state.read(HOMES_FILE), lambda text: state.write(HOMES_FILE, text))
        self._staff: Staff = make(
            self._reactor, self._settings, self._environment, state, homes, self._close_circuit, self._canary_target
        )
        for warning in self._staff.prepare():
            _warn(warning)

    def _prepare_operations(self, state: StateDirectory) -> None:
        socket = state.path / ADMIN_SOCKET
        check_socket_path(socket)
        places = [unix_place(socket, 0o600)]
        if self._settings.admin is not None:
            places.append(self._settings.admin)
        self._operations = Operations(
            self._reactor,
            places,
            self._environment,
            lambda: Deferred.fromCoroutine(self.status()),
            self._staff.prove,
            allow_remote=self._settings.admin_allow_remote,
        )

    def _prepare_onion(self, state: StateDirectory) -> None:
        settings = self._settings
        loaded = find_key(settings.onion_key, state.path, self._environment)
        for warning in loaded.warnings:
            _warn(warning)
        if settings.printkey:
            self._show_key(loaded.key)
        for socket in onion_sockets(settings, state.path):
            check_socket_path(socket)
        self._tor = self._make_tor(self._make_source(state, loaded.key), loaded.key)
        state.write("hostname", f"{loaded.key.address.hostname}\n")
        self._hostname = loaded.key.address.hostname

    def _make_tor(self, source: TorSource, key: OnionKey) -> TorService:
        staff, reactor = self._staff, self._reactor
        ask = ask_onion(reactor, key.address, self._canary_target.decode("ascii"))
        if not self._settings.launches_tor:  # a tor that tells us nothing of circuits
            return TorService(source, reactor, came_up=self._came_up, canary=Canary(reactor, ask))
        return TorService(
            source,
            reactor,
            came_up=self._came_up,
            went_down=staff.forget_circuits,
            circuits=lambda: staff.circuits,
            canary=Canary(reactor, ask, strangers=lambda: staff.circuits_met),
        )

    def _make_source(self, state: StateDirectory, key: OnionKey) -> TorSource:
        settings = self._settings
        clients = find_clients(settings.authorized_clients, _warn)
        socket, *others = onion_sockets(settings, state.path)
        if settings.launches_tor:
            return LaunchedTor(
                self._reactor,
                state.path / "tor",
                find_tor(settings.tor_binary),
                onion=(key, socket),
                further_targets=tuple(others),
                frontend=settings.onionbalance,
                clients=clients,
                socks_socket=state.path / "tor" / "socks.sock" if takes_socks(settings.tor_option) else None,
                options=settings.tor_option,
                hear=_warn,
            )
        return RunningTor(
            self._reactor,
            client_endpoint(self._reactor, settings.tor),
            settings.tor,
            onion=(key, socket),
            further_targets=tuple(others),
            clients=clients,
            hear=_warn,
            patience_seconds=CONTROL_SECONDS,
        )

    async def _come_up(self) -> None:
        self._started_at = self._reactor.seconds()
        settings = self._settings
        _tell_start(settings)
        await self._operations.open()
        await self._staff.open()
        self._serves = True
        self._operations.serving()
        if self._tor is None:
            _log.info("serving on {where}", where=", ".join(settings.listen))
            return
        _log.info("the onion service is http://{hostname}; joining the Tor network", hostname=self._hostname)
        up = self._tor.when_up()
        self._tor.startService()
        await up.addTimeout(settings.timeout, self._reactor, onTimeoutCancel=self._timed_out)

    async def status(self) -> Status:
        """How it is at this moment. To be asked after :meth:`prepare`."""
        figures, problems = await self._staff.look()
        tor = None if self._tor is None else self._tor.status
        return overview(figures, problems, tor, self._hostname, self._started_at, self._reactor.seconds())

    def reload(self) -> None:
        """Read the settings again, and do at once what they say of strangers' writes and of the credential.

        The onion service and all connections stay. What cannot be used is told, and all stays as it was.
        """
        if not self._serves:
            return  # it begins, or ends, with what it has
        notifier = self._operations.notifier
        notifier.reloading()
        try:
            settings = self._reread()
            warnings = self._staff.change(settings)
        except TorfluxdError as error:
            problems = "; ".join(str(error).splitlines())
            _log.error(
                "the configuration was read again and cannot be used, so the one from before holds: {problems};"
                " torfluxd serve --check, with the same options, tells more",
                problems=problems,
            )
        else:
            for warning in warnings:
                _warn(warning)
            _tell_reloaded(need_restart(self._settings, settings))
        finally:
            notifier.ready()

    def _close_circuit(self, circuit: int) -> None:
        if self._tor is not None and self._settings.launches_tor:
            self._tor.close_circuit(circuit)

    def _came_up(self) -> None:
        _log.info("published: http://{hostname} can be reached", hostname=self._hostname)

    def _timed_out(self, _result: object, seconds: float) -> None:
        assert self._tor is not None
        raise BootstrapTimeoutError(
            f"tor did not come up within {seconds:.0f} s (--timeout): {self._tor.likely_cause}"
        ) from None

    async def _go_down(self) -> None:
        self._stop_coming_up()
        self._serves = False
        await self._operations.close()
        await self._staff.drain()
        closing = [Deferred.fromCoroutine(self._staff.close())]
        if self._tor is not None:
            closing.append(self._tor.stopService())
        await DeferredList(closing)
        self._release()

    def stopService(self) -> Deferred[None]:
        """Go down. Fires when everything has ended, or `END_SECONDS` later; never fails."""
        Service.stopService(self)
        ended = Deferred.fromCoroutine(self._go_down())
        return ended.addTimeout(END_SECONDS, self._reactor).addErrback(_not_down)


def _not_down(failure: Failure) -> None:
    """Something hangs, or our own code failed: the process ends all the same; what was acknowledged is on the disk."""
    if failure.check(defer.TimeoutError):
        _warn("not everything ended in time, and is left behind; what is in the spool is there at the next start")
    else:
        _log.failure("the end did not go as it should, for a fault of our own", failure)


def _tell_reloaded(later: Sequence[str]) -> None:
    _log.info("the configuration was read again, and what it says of strangers' writes and the credential holds")
    if later:
        _log.warn(
            "changed, and used after a restart alone: {options}; run: systemctl restart torfluxd",
            options=", ".join(later),
        )


def _warn(text: str) -> None:
    _log.warn("{text}", text=text)


def _tell_start(settings: GatewaySettings) -> None:
    """Say what begins, and what a person should think over."""
    _log.info(
        "torfluxd {version}: writes go to InfluxDB at {influxdb}",
        version=torfluxd.__version__,
        influxdb=str(settings.influxdb),
    )
    if settings.expose is Expose.ALL:
        _warn("--expose all: whoever knows the address can read and delete everything in InfluxDB")
    if read_version(f"{twisted_version}.0") < _TWISTED_ADVISED:
        _warn(f"Twisted {twisted_version} has known faults in HTTP: please install 26.10 or later")
