"""The reporter: an application records points, and they reach its vendor's gateway through Tor, or nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import SystemRandom

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.backoff import Backoff, exponential_backoff
from torfluxd.delivery.courier import Courier
from torfluxd.delivery.spool import MemorySpool
from torfluxd.errors import PointError, ReporterError, SettingsError
from torfluxd.influx.line import FieldValue, encode
from torfluxd.influx.once import OncePoster
from torfluxd.influx.post import AgentPoster, Poster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import InfluxdbUrl, parse_influxdb_url
from torfluxd.onion.address import OnionAddress, parse_onion_address
from torfluxd.onion.client_key import ClientKey, PrivateLine
from torfluxd.onion.client_keyfile import load_client_key_file
from torfluxd.onion.socks import OPEN_TIMEOUT_SECONDS
from torfluxd.reporter.ladder import TorLadder
from torfluxd.reporter.privacy import departures, unique_stamps
from torfluxd.reporter.tor import GivenSocks, OnionStreams, SocksSource

__all__ = ["Reporter", "ReporterStats"]

INTERVAL_SECONDS = 60.0
"""One report a minute: often enough for a dashboard, and a circuit a minute is nothing to tor, which builds one for
each name a browser visits."""

MAX_REPORT_POINTS = 5000
"""The size of batch at which InfluxDB is fastest, says its documentation ("Optimize writes": 5000 lines)."""

MAX_REPORT_BYTES = 256 * 1024
"""What a circuit through six relays carries in a few seconds. A gateway takes a multiple of it."""

MEMORY_LIMIT_BYTES = 8 * 1024 * 1024
"""What an application will not notice: some 100 000 points, at one a second more than a day without Tor."""

RETRY_FIRST_SECONDS = 5.0
RETRY_FACTOR = 2.0
RETRY_CAP_SECONDS = 900.0
"""The waits after failed attempts: 5 s at most at first, because a circuit fails now and then and the next one does
not; twice as long each time, up to a quarter of an hour, after which a computer that was offline should have its report
away. An attempt costs tor a circuit, so even those of weeks without a gateway are no burden."""

SEND_SECONDS = OPEN_TIMEOUT_SECONDS + 60.0
"""How long one report may take: what tor may take for a stream, and a minute for the rest, in which even 5 KiB/s carry
the largest report."""

FLUSH_SECONDS = 60.0
"""How long a flush may take: a tor that is up needs seconds for a circuit, one that was just launched half a minute."""

STOP_SECONDS = 5.0
"""How long the last attempt may hold up an application that wants to end: most circuits are built in that time, and
people do not yet reach for the kill command."""

_NO_TAGS: Mapping[str, str] = {}

_log = Logger()
_chance = SystemRandom().random
"""Chance that nobody can foresee from what he has seen, as a vendor could with `random.random`."""


def maybe_global_reactor(reactor: IReactorTime | None) -> IReactorTime:
    """The reactor given, or the one that runs.

    This is the one place beside the entry points that imports the global reactor, for applications that start a
    :class:`Reporter` in one line. It is called when the reporter starts, and not earlier: until then an application may
    still install the reactor it wants.
    """
    if reactor is not None:
        return reactor
    from twisted.internet import reactor as global_reactor

    return global_reactor


@frozen
class ReporterStats:
    """What became of the points. `recorded` is the sum of the other four.

    :ivar recorded: points taken by :meth:`Reporter.record`.
    :ivar pending: points in memory, under way among them.
    :ivar delivered: points stored by the vendor's gateway.
    :ivar rejected: points that InfluxDB refused for their content.
    :ivar dropped: points given up because memory was full.
    """

    recorded: int
    pending: int
    delivered: int
    rejected: int
    dropped: int


class Reporter(Service):
    """Records points and reports them to the gateway of an onion service: through Tor, or not at all.

    It is a Twisted service: give it a parent, or call `startService` and `stopService`. Points can be recorded before
    the start and after the stop; they wait in memory.

    Points gather until the next report leaves, once in each interval at a random moment, so that the time of a report
    does not tell when something happened. Each report is one POST on a circuit and a connection of its own. What
    cannot be delivered is kept, in memory, and tried again after growing waits; when memory is full the oldest points
    are dropped. Nothing but the onion service is ever connected to.

    Use it from the reactor's thread.

    :param onion_url: `http://<56 characters>.onion`, with a port and a path prefix if the vendor says so.
    :param database: InfluxDB's database (the bucket, in 2.x).
    :param retention_policy: 1.x's retention policy, or None for the database's default.
    :param socks: where tor's SOCKS port is: an endpoint, its description (`unix:/run/tor/socks`,
        `tcp:127.0.0.1:9050`) or a :class:`~torfluxd.reporter.tor.SocksSource`; None to look for a tor, see
        :class:`~torfluxd.reporter.ladder.TorLadder`.
    :param client_key: for a private onion service, the file with the key that its owner lets in (`NAME.auth_private`,
        made by `torfluxd key client new`), or the key; `socks` must then be a
        :class:`~torfluxd.reporter.tor_socks.TorSocks`, which can hand it to tor. None where tor has the key already
        (`ClientOnionAuthDir`), and where everybody is let in.
    :param agent: a way of your own to the onion service, in place of `socks`. Then it is yours to fail closed: an
        agent that does not know onion addresses looks them up in the DNS.
    :param reactor: for timers and connections; None for the one that runs when the reporter is started.
    :param interval_seconds: how often a report leaves.
    :param memory_limit_bytes: how much line protocol is kept in memory; at least twice :data:`MAX_REPORT_BYTES`.
    :param stop_seconds: how long the last attempt of `stopService` may take.
    :param now_ns: the wall clock, for the time of points: nanoseconds since 1970.
    :param chance: a number from 0 to 1, evenly spread: for the moments at which reports leave, and the waits.
    :param backoff: the waits after failed attempts.
    :raises SettingsError: one of these cannot be used; the text says which, and why.
    :raises ClientKeyError: `client_key` cannot be read.
    :raises OnionAddressError: the host of `onion_url` is not a v3 onion address, checksum and all.
    """

    def __init__(
        self,
        onion_url: str,
        database: str,
        *,
        retention_policy: str | None = None,
        socks: IStreamClientEndpoint | SocksSource | str | None = None,
        client_key: ClientKey | Path | str | None = None,
        agent: IAgent | None = None,
        reactor: IReactorTime | None = None,
        interval_seconds: float = INTERVAL_SECONDS,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        stop_seconds: float = STOP_SECONDS,
        now_ns: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = _chance,
        backoff: Backoff | None = None,
    ) -> None:
        if not database:
            raise SettingsError("database: expected the name of InfluxDB's database, got none")
        if not interval_seconds > 0:
            raise SettingsError(f"interval_seconds: expected more than 0, got {interval_seconds!r}")
        if memory_limit_bytes < 2 * MAX_REPORT_BYTES:
            raise SettingsError(
                f"memory_limit_bytes: expected at least {2 * MAX_REPORT_BYTES}, got {memory_limit_bytes!r}"
            )
        if agent is not None and socks is not None:
            raise SettingsError("socks and agent: expected one of them, got both")
        if agent is not None and client_key is not None:
            raise SettingsError("client_key and agent: the agent's own tor must hold the key; leave client_key out")
        self._url = _parse_onion_url(onion_url)
        self._destination = Destination(database, retention_policy)
        self._agent = agent
        # With an agent of the application's own this one only stands by: it does nothing until it is asked.
        self._source = _source(socks)
        if client_key is not None:
            self._source.hold_key(_client_auth(client_key, parse_onion_address(self._url.host)))
        self._reactor = reactor
        self._moments = departures(interval_seconds, chance)
        self._stop_seconds = stop_seconds
        self._stamp = unique_stamps(now_ns)
        self._backoff = backoff or exponential_backoff(
            first_seconds=RETRY_FIRST_SECONDS, factor=RETRY_FACTOR, cap_seconds=RETRY_CAP_SECONDS, jitter=chance
        )
        # The points of the next report count against the limit, too.
        self._spool = MemorySpool(memory_limit_bytes - MAX_REPORT_BYTES)
        self._lines: list[bytes] = []
        self._lines_bytes = 0
        self._put_points = 0
        self._courier: Courier | None = None
        self._departure: IDelayedCall | None = None

    def record(
        self,
        measurement: str,
        fields: Mapping[str, FieldValue],
        tags: Mapping[str, str] | None = None,
        time_ns: int | None = None,
    ) -> None:
        """Record a point. Returns at once; nothing is sent before the next report leaves.

        :param measurement: what was measured.
        :param fields: the values, at least one.
        :param tags: what the point is found by. What names a person or a machine has no place here.
        :param time_ns: nanoseconds since 1970; None for now, at least 1 ns after the point before it, so that equal
            points do not replace each other.
        :raises PointError: this point could never be written, wherever and whenever: a mistake in the program.
        :raises TypeError: `fields` or `tags` is no mapping: the same. Nothing that happens on the way to the gateway
            comes back here.
        """
        line = encode(measurement, fields, tags or _NO_TAGS, self._stamp(time_ns))
        size_bytes = self._lines_bytes + len(line) + 1
        if size_bytes > MAX_REPORT_BYTES or len(self._lines) == MAX_REPORT_POINTS:
            size_bytes = self._begin_report_with(line)
        self._lines.append(line)
        self._lines_bytes = size_bytes

    @property
    def stats(self) -> ReporterStats:
        """What became of the points, at this moment."""
        counts = self._spool.counts
        return ReporterStats(
            recorded=self._put_points + len(self._lines),
            pending=counts.points + len(self._lines),
            delivered=counts.delivered_points,
            rejected=counts.rejected_points,
            dropped=counts.dropped_points,
        )

    def flush(self, deadline_seconds: float = FLUSH_SECONDS) -> Deferred[bool]:
        """Report everything recorded so far now, whatever the moment, and without waiting for the end of a backoff.

        :param deadline_seconds: how long that may take, further attempts included.
        :returns: a Deferred that fires with True when each of these points was delivered, rejected or dropped (see
            :attr:`stats`); with False when some were not before the deadline or the stop of the reporter: these stay
            in memory. It fails with :class:`~torfluxd.errors.ReporterError` when the reporter is not running, and with
            :class:`~twisted.internet.defer.CancelledError` when it is cancelled, which changes nothing for the points.
        """
        if self._courier is None or not self.running:
            return fail(ReporterError("the reporter is not running, so it cannot send: start it first"))
        return Deferred.fromCoroutine(self._flush(self._courier, deadline_seconds))

    def startService(self) -> None:
        """Begin to report. The first report leaves at a random moment of the first interval."""
        if self.running:
            return
        Service.startService(self)
        reactor = maybe_global_reactor(self._reactor)
        if self._courier is None:
            upstream = HttpUpstream(self._poster(reactor), SEND_SECONDS)
            self._courier = Courier(self._spool, upstream, reactor, self._backoff)
        self._source.start(reactor)
        self._await_departure(reactor, self._courier)

    def stopService(self) -> Deferred[None]:
        """Try once more to report everything, within `stop_seconds`, and end.

        What is left stays in memory, for a later start; the log says how many points those are.

        :returns: a Deferred that fires when nothing is under way any more. It never fails.
        """
        Service.stopService(self)
        if self._departure is None or self._courier is None:
            return succeed(None)
        self._departure.cancel()
        self._departure = None
        return Deferred.fromCoroutine(self._end(self._courier))

    def _poster(self, reactor: IReactorTime) -> Poster:
        if self._agent is not None:
            return AgentPoster(self._agent, self._url, reactor)
        streams = OnionStreams(reactor, self._source, parse_onion_address(self._url.host), self._url.port)
        return OncePoster(streams, self._url, reactor)

    def _await_departure(self, reactor: IReactorTime, courier: Courier) -> None:
        def depart() -> None:
            self._await_departure(reactor, courier)
            Deferred.fromCoroutine(self._report(courier))

        self._departure = reactor.callLater(next(self._moments), depart)

    async def _report(self, courier: Courier) -> None:
        """Set the courier going with everything recorded so far. Between reports it may rest, however much waits."""
        await self._put()
        courier.start()
        courier.batch_put()

    async def _flush(self, courier: Courier, deadline_seconds: float) -> bool:
        await self._report(courier)
        return await courier.flush(deadline_seconds)

    async def _end(self, courier: Courier) -> None:
        await self._report(courier)
        await courier.stop(self._stop_seconds)
        if self.running:  # it was started again meanwhile
            return
        await self._source.stop()
        if pending := self.stats.pending:
            _log.warn("Points that could not be reported before the reporter stopped: {points}.", points=pending)

    def _begin_report_with(self, line: bytes) -> int:
        """Put away the lines so far, because one more would make a report too large.

        :returns: the bytes of the new report.
        :raises PointError: this line alone is too large.
        """
        size_bytes = len(line) + 1
        if size_bytes > MAX_REPORT_BYTES:
            raise PointError(f"a point takes {size_bytes} bytes, and a report has room for {MAX_REPORT_BYTES}")
        self._put()
        return size_bytes

    def _put(self) -> Deferred[None]:
        """Make a batch of the lines so far, and put it into the spool.

        :returns: a Deferred that fires when it is there, and never fails.
        """
        if not self._lines:
            return succeed(None)
        batch = Batch(self._destination, b"\n".join(self._lines), len(self._lines))
        self._lines = []
        self._lines_bytes = 0
        self._put_points += batch.points
        return self._spool.put(batch)


def _source(where: IStreamClientEndpoint | SocksSource | str | None) -> SocksSource:
    if where is None:
        return TorLadder(None)
    if isinstance(where, str) or IStreamClientEndpoint.providedBy(where):
        return GivenSocks(where)
    return where


def _client_auth(key: ClientKey | Path | str, address: OnionAddress) -> PrivateLine:
    """Find the key for a private onion service.

    :raises SettingsError: the file holds the key for another one.
    :raises ClientKeyError: the file cannot be used.
    """
    if isinstance(key, ClientKey):
        return PrivateLine(address, key)
    loaded = load_client_key_file(Path(key))
    for warning in loaded.warnings:
        _log.warn("{warning}", warning=warning)
    if loaded.line.address != address:
        raise SettingsError(f"client_key: {key} is for another onion service than the one in onion_url")
    return loaded.line


def _parse_onion_url(text: str) -> InfluxdbUrl:
    """Read where the gateway is.

    :raises SettingsError: it is no URL with `http://`.
    :raises OnionAddressError: its host is no onion address.
    """
    if not text.lower().startswith("http://"):
        raise SettingsError(
            "onion_url: expected http://<56 characters>.onion; Tor encrypts on the way to an onion service, so there "
            "is no https"
        )
    try:
        url = parse_influxdb_url(text)
    except SettingsError as error:
        raise SettingsError(f"onion_url: it {error}") from None
    parse_onion_address(url.host)
    return url
