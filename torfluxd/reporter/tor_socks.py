"""A tor that a reporter keeps up, and may hand a key to: one of its own, or one that runs and has a control port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString, quoteStringArgument
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import BootstrapTimeoutError
from torfluxd.onion.client_key import PrivateLine
from torfluxd.onion.process import find_tor
from torfluxd.reporter.tor import GivenSocks, SocksSource, check_description

if TYPE_CHECKING:
    from torfluxd.onion.service import TorService
    from torfluxd.onion.sources import LaunchReactor, TorSource

__all__ = ["JOIN_SECONDS", "TorSocks"]

JOIN_SECONDS = 120.0
"""How long tor may take to join its network: half a minute the first time, on a slow line two; less than a report may
take, so that the report fails with tor's reason."""

_SOCKET = "socks.sock"

_log = Logger()

_MakeSource = Callable[[IReactorTime, PrivateLine | None], "TorSource"]


class TorSocks:
    """The SOCKS port of a tor that is kept up while its reporter runs. Made by :meth:`launched` or :meth:`running`; one
    for each reporter.
    """

    # What uses the control port is imported when the reporter starts: txtorcon installs a reactor.

    def __init__(self, make_source: _MakeSource, socks: GivenSocks) -> None:
        self._make_source = make_source
        self._socks = socks
        self._client_auth: PrivateLine | None = None
        self._tor: TorService | None = None
        self._clock: IReactorTime | None = None

    @classmethod
    def launched(cls, directory: Path, binary: str | None = None) -> TorSocks:
        """A tor of one's own.

        :param directory: its state, kept between runs, so that its entry guards stay; created, for this user alone.
        :param binary: the tor to run; the one in PATH by default.
        :raises TorMissingError: there is none.
        """
        program, socket = find_tor(binary), directory / _SOCKET

        def make(reactor: IReactorTime, client_auth: PrivateLine | None) -> TorSource:
            from torfluxd.onion.sources import LaunchedTor

            return LaunchedTor(
                cast("LaunchReactor", reactor),
                directory,
                program,
                client_auth=client_auth,
                socks_socket=socket,
                hear=_warn,
            )

        return cls(make, GivenSocks(cls.socks_description(directory)))

    @staticmethod
    def socks_description(directory: Path) -> str:
        """Where the SOCKS port is of a tor that was launched with this state, by whatever process."""
        path = quoteStringArgument(str(directory / _SOCKET)).replace("=", r"\=")  # which Twisted forgets
        return f"unix:{path}"

    @classmethod
    def running(cls, control: str, socks: IStreamClientEndpoint | str) -> TorSocks:
        """A tor that runs. Nothing of its configuration is touched; a key that it is handed it keeps until it ends.

        :param control: its control port: `unix:/run/tor/control`, `tcp:127.0.0.1:9051`.
        :param socks: its SOCKS port: an endpoint, or the description of one.
        :raises SettingsError: one of them is not the description of a unix socket or a TCP port.
        """
        check_description("control", control)

        def make(reactor: IReactorTime, client_auth: PrivateLine | None) -> TorSource:
            from torfluxd.onion.sources import RunningTor

            return RunningTor(reactor, clientFromString(reactor, control), control, client_auth=client_auth, hear=_warn)

        return cls(make, GivenSocks(socks))

    def hold_key(self, client_auth: PrivateLine) -> None:
        """As :meth:`SocksSource.hold_key`."""
        self._client_auth = client_auth

    def start(self, reactor: IReactorTime) -> None:
        """Begin to have that tor."""
        from torfluxd.onion.service import TorService

        self._clock = reactor
        self._socks.start(reactor)
        if self._tor is None:
            self._tor = TorService(self._make_source(reactor, self._client_auth), reactor)
        self._tor.startService()

    def socks_endpoint(self) -> Deferred[IStreamClientEndpoint]:
        """As :meth:`SocksSource.socks_endpoint`: when tor has joined its network, and has the key.

        It fails with :class:`~torfluxd.errors.BootstrapTimeoutError` when that takes more than :data:`JOIN_SECONDS`;
        tor goes on trying meanwhile.
        """
        assert self._tor is not None, "it is asked for after the start"
        assert self._clock is not None
        up = self._tor.when_up().addTimeout(JOIN_SECONDS, self._clock, self._not_joined)
        return up.addCallback(lambda _: self._socks.socks_endpoint())

    def _not_joined(self, _: object, seconds: float) -> Failure:
        assert self._tor is not None
        return Failure(BootstrapTimeoutError(f"tor is not up after {seconds:g} s: {self._tor.likely_cause}"))

    def stop(self) -> Deferred[None]:
        """As :meth:`SocksSource.stop`."""
        return succeed(None) if self._tor is None else self._tor.stopService()


def _warn(text: str) -> None:
    _log.warn("{text}", text=text)


_: type[SocksSource] = TorSocks
