"""The agent as a Twisted service: settings in, a local InfluxDB out, whose points are reported through Tor.

It comes up in this order: the state directory and its spool; the doors. It goes down in the reverse order, so that what
a client was promised is kept: no new connections, the requests in flight, then the reporter's last attempt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IReactorUDP,
)
from twisted.logger import Logger

import torfluxd
from torfluxd.boundaries import Destination
from torfluxd.endpoints import cannot_listen, server_endpoint
from torfluxd.errors import SettingsError, TorfluxdError
from torfluxd.influx.url import parse_influxdb_url
from torfluxd.onion.client_keyfile import load_client_key_file
from torfluxd.ops.daemon import Daemon
from torfluxd.ops.notify import Notifier
from torfluxd.ops.watchdog import Watchdog, start_watchdog
from torfluxd.reporter.admission import Admission
from torfluxd.reporter.intake import Intake
from torfluxd.reporter.keeping import ReporterKeep
from torfluxd.reporter.listener import MAX_BODY_BYTES, Listener, listener_site
from torfluxd.reporter.reporter import Reporter
from torfluxd.reporter.statsd import Statsd
from torfluxd.reporter.tor import GivenSocks, SocksSource
from torfluxd.reporter.tor_socks import TorSocks
from torfluxd.settings import AgentSettings, MeasurementSchema, load_schema
from torfluxd.state import StateDirectory, check_state_directory, default_state_directory, home_directory

__all__ = ["Agent", "AgentReactor", "check_agent"]

DRAIN_SECONDS: Final = 1.5
"""What requests in flight get at the end: a commit takes some hundredths of a second."""

LAST_REPORT_SECONDS: Final = 2.5
"""What the reporter's last attempt gets: with the first, and with a second for tor to end, five in all."""

COMMIT_SECONDS: Final = 0.001
"""How long points gather before they are put on disk together: hardly, because clients wait for it. What comes while
the disk syncs is put there together anyway, so under load there are not more syncs."""

DEFAULT_DATABASE: Final = "telemetry"
"""Where reports without points go when nobody has said where everything goes. Nothing is written there."""

PROGRAM: Final = "torfluxd-agent"

_log = Logger()


class AgentReactor(IReactorCore, IReactorTime, IReactorUDP):
    """The kind of reactor that the agent needs."""


class Agent(Daemon):
    """The agent.

    Nothing is opened before :meth:`prepare`, which may be called early, to have its errors before a daemon forks.

    :param reactor: the reactor to run on.
    :param settings: what to do.
    :param environment: `os.environ`.
    :param give_up: called once, with the error, when the agent cannot come up; the error has been logged.
    :param notifier: tells systemd how we are.
    """

    def __init__(
        self,
        reactor: AgentReactor,
        settings: AgentSettings,
        environment: Mapping[str, str],
        *,
        give_up: Callable[[TorfluxdError], None],
        notifier: Notifier | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._environment = environment
        Daemon.__init__(self, "torfluxd-agent", reactor, give_up)
        self._notifier = notifier or Notifier()
        self._watchdog: Watchdog | None = None
        self._ports: list[IListeningPort] = []

    def prepare(self) -> None:
        """Claim the state directory, make the reporter, and read the endpoints.

        :raises TorfluxdError: something of it is not to be had; the state directory is free again.
        """
        settings = self._settings
        self._state = StateDirectory.claim(_state_path(settings, self._environment))
        try:
            self._reporter = _make_reporter(self._reactor, settings, self._state.path)
            self._doors = [(text, server_endpoint(self._reactor, text)) for text in settings.listen]
        except BaseException:
            self._release()
            raise
        pinned = None
        if settings.database is not None:
            pinned = Destination(settings.database, settings.retention_policy)
        keep = ReporterKeep(self._reporter.record_lines, self._reactor)
        intake = Intake(keep, self._reactor, MAX_BODY_BYTES, pinned=pinned, api=settings.influxdb_api)
        self._listener = Listener(intake, Admission(settings.hosts, parse_influxdb_url(settings.onion).host))
        self._statsd = None if settings.statsd is None else Statsd(self._reporter, self._reactor, settings.interval)

    async def _come_up(self) -> None:
        settings = self._settings
        _log.info(
            "torfluxd-agent {version}: reports go to {onion}, one every {seconds:g} s",
            version=torfluxd.__version__,
            onion=settings.onion,
            seconds=settings.interval,
        )
        self._reporter.startService()
        site = listener_site(self._listener, self._reactor)
        for name, endpoint in self._doors:
            try:
                self._ports.append(await endpoint.listen(site))
            except (CannotListenError, OSError) as error:
                raise cannot_listen(name, error) from None
        self._open_statsd()
        _log.info("serving on {where}", where=", ".join(settings.listen))
        self._notifier.ready()
        self._watchdog = start_watchdog(self._environment, self._reactor, self._reporter.prove, self._notifier.alive)
        self._notifier.status(f"takes points on {', '.join(settings.listen)}")

    def _open_statsd(self) -> None:
        where = self._settings.statsd
        if where is None or self._statsd is None:
            return
        try:
            self._ports.append(self._statsd.listen(self._reactor, where.port, where.interface))
        except (CannotListenError, OSError) as error:
            raise cannot_listen(f"udp:{where.port}:interface={where.interface}", error) from None
        _log.info("statsd on UDP port {port} of {interface}", port=where.port, interface=where.interface)

    def stopService(self) -> Deferred[None]:
        """Go down. Fires when everything has ended, within five seconds; what could not be reported stays on disk."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._go_down())

    async def _go_down(self) -> None:
        self._notifier.stopping()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._stop_coming_up()
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        self._ports.clear()
        if self._state is None:
            return
        drained = self._listener.drained()
        await drained.addTimeout(DRAIN_SECONDS, self._reactor, onTimeoutCancel=lambda result, seconds: None)
        await self._reporter.stopService()
        self._release()


def check_agent(settings: AgentSettings, environment: Mapping[str, str], reactor: AgentReactor) -> None:
    """Look at all that the settings name; start nothing, write nothing.

    :raises SettingsError: the agent could not come up; all that is wrong is told.
    """
    problems: list[str] = []
    state = _state_path(settings, environment)
    for look in (
        lambda: check_state_directory(state),
        lambda: [server_endpoint(reactor, text) for text in settings.listen],
        lambda: _schema(settings),
        lambda: _check_tor(settings, state),
    ):
        try:
            look()
        except TorfluxdError as error:
            problems += error.problems if isinstance(error, SettingsError) else [str(error)]
    if problems:
        raise SettingsError(*problems)


def _check_tor(settings: AgentSettings, state: Path) -> None:
    _tor(settings, state)
    if settings.client_key is not None:
        load_client_key_file(settings.client_key)


def _state_path(settings: AgentSettings, environment: Mapping[str, str]) -> Path:
    user = os.geteuid() if hasattr(os, "geteuid") else -1
    return settings.state_dir or default_state_directory(environment, user, home_directory(), PROGRAM)


def _make_reporter(reactor: AgentReactor, settings: AgentSettings, state: Path) -> Reporter:
    return Reporter(
        settings.onion,
        settings.database or DEFAULT_DATABASE,
        retention_policy=settings.retention_policy,
        state_dir=state,
        socks=_tor(settings, state),
        client_key=settings.client_key,
        schema=_schema(settings),
        granularity_seconds=settings.granularity,
        interval_seconds=settings.interval,
        keep_bytes=settings.spool_limit,
        commit_seconds=COMMIT_SECONDS,
        stop_seconds=LAST_REPORT_SECONDS,
        reactor=reactor,
    )


def _tor(settings: AgentSettings, state: Path) -> SocksSource | None:
    """The tor to use, which is not started; None for one that is to be found."""
    if settings.tor is None:
        return None
    if settings.tor.launches:
        return TorSocks.launched(state / "tor", settings.tor_binary)
    try:
        return GivenSocks(settings.tor.socks)
    except SettingsError as error:
        raise SettingsError(f"--tor: {error}") from None


def _schema(settings: AgentSettings) -> Mapping[str, MeasurementSchema] | None:
    if settings.schema is None:
        return settings.own_schema
    try:
        return load_schema(settings.schema)
    except SettingsError as error:
        raise SettingsError(*(f"--schema: {problem}" for problem in error.problems)) from None
