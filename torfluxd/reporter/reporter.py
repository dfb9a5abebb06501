"""The reporter: an application records points, and they reach its vendor's gateway through Tor, or nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import SystemRandom
from typing import Self, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.web.iweb import IAgent

from torfluxd.boundaries import Batch, Destination
from torfluxd.delivery.backoff import Backoff, exponential_backoff
from torfluxd.delivery.courier import Courier
from torfluxd.delivery.executor import AtOnce, Executor
from torfluxd.delivery.spool import DEAD_LETTER_LIMIT_BYTES
from torfluxd.delivery.steps import RESERVE_BYTES, Bounds
from torfluxd.errors import ReporterError, SettingsError
from torfluxd.influx.api import Api, write_target
from torfluxd.influx.line import FieldValue
from torfluxd.influx.once import OncePoster, request_bytes
from torfluxd.influx.post import AgentPoster, Poster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import InfluxdbUrl, parse_influxdb_url
from torfluxd.onion.address import OnionAddress, parse_onion_address
from torfluxd.onion.client_key import ClientKey, PrivateLine
from torfluxd.onion.client_keyfile import load_client_key_file
from torfluxd.onion.socks import OPEN_TIMEOUT_SECONDS
from torfluxd.reporter.commit import Commit
from torfluxd.reporter.dispatch import COMMIT_SECONDS, Dispatch
from torfluxd.reporter.forks import UnforkedThread, watch
from torfluxd.reporter.home import Home
from torfluxd.reporter.instruments import DEFAULT_BUCKETS, Counter, Gauge, Histogram, Instruments, Timer
from torfluxd.reporter.intervals import Intervals
from torfluxd.reporter.ladder import TorLadder
from torfluxd.reporter.privacy import GRANULARITY_NS, PADDED_SIZES, PrivacyRules, branches, gaps, new_key, padded
from torfluxd.reporter.recorder import Recorder
from torfluxd.reporter.reports import Reports
from torfluxd.reporter.secret import kept_key
from torfluxd.reporter.stock import Stock
from torfluxd.reporter.tor import GivenSocks, OnionStreams, SocksSource
from torfluxd.settings import MeasurementSchema, load_schema

__all__ = ["Reporter", "ReporterStats"]

INTERVAL_SECONDS = 60.0
"""One report a minute: often enough for a dashboard, and a circuit a minute is nothing to tor, which builds one for
each name a browser visits."""

GRANULARITY_SECONDS = GRANULARITY_NS / 1e9
"""How coarse the times of points are."""

PACE = 1 / 12
"""How long the gaps between the reports of a backlog are on average, in intervals: 5 s for intervals of a minute. The
backlog of a night has left within an hour, and that of a week within a day."""

MAX_REPORT_BYTES = PADDED_SIZES[-1]
"""The largest report, 256 KiB: what a circuit through six relays carries in a few seconds. A gateway takes a multiple
of it. What an interval has beyond that leaves in further reports."""

MEMORY_LIMIT_BYTES = 8 * 1024 * 1024
"""What an application will not notice: some 100 000 points, at one a second more than a day without Tor."""

KEEP_BYTES = 64 * 1024 * 1024
"""What nobody misses on a disk: some 800 000 points."""

KEEP_POINTS = 1_000_000
"""So that a spool of very short lines does not take hours to be sent."""

KEEP_DAYS = 60.0
"""How old a point becomes: a gateway takes none that are older than 92 days, and says nothing of those it refuses."""

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

    :ivar recorded: points taken by :meth:`Reporter.record`, and those that were found in the state directory.
    :ivar pending: points kept until they are delivered, under way among them.
    :ivar delivered: points stored by the vendor's gateway.
    :ivar rejected: points that InfluxDB refused for their content.
    :ivar dropped: points given up: for want of room, for their age, or because the user withdrew his consent.
    """

    recorded: int
    pending: int
    delivered: int
    rejected: int
    dropped: int


class Reporter(Service):
    """Records points and reports them to the gateway of an onion service: through Tor, or not at all.

    It is a Twisted service: give it a parent, or call `startService` and `stopService`, or say `async with reporter:`
    in a coroutine, of asyncio too, where Twisted's reactor runs on asyncio's loop (`AsyncioSelectorReactor`). Points
    can be recorded before the start and after the stop; they wait in memory.

    :meth:`record` and the instruments may be used from any thread; everything else from the reactor's.

    What is recorded is on disk, in `state_dir`, a second later (`commit_seconds`):
    from then on it survives the end of the process, however it ends, and a later one reports it. Any number of
    processes may have the same `state_dir`, also by forking: each has a part of its own, and takes over what those left
    behind that have ended. A forked process records; to report, it starts the reporter in a reactor of its own.

    Points gather until the end of an interval; their report leaves at a random moment of the next one, so that the time
    of a report does not tell when something happened. Each report is one POST on a circuit and a connection of its own,
    and carries one interval. An interval in which nothing was recorded has a report, too, without points. What cannot
    be delivered is kept, and tried again after growing waits; when there is no more room the oldest points are dropped.
    Nothing but the onion service is ever connected to.

    :param onion_url: `http://<56 characters>.onion`, with a port and a path prefix if the vendor says so.
    :param database: InfluxDB's database (the bucket, in 2.x).
    :param retention_policy: 1.x's retention policy, or None for the database's default.
    :param state_dir: where points are kept, a directory of this user's alone, created where it is missing. Without one
        they are in memory, and gone when the process is; awaiting :meth:`record` then tells no more than that.
    :param schema: what the vendor's schema names, or the file that it stands in: all else is not recorded, see
        :mod:`torfluxd.reporter.disclosure`. None for everything but personal names.
    :param declare_tags: without a schema: names of tags that are to leave although they are personal (`host`).
    :param granularity_seconds: how coarse the times of points are, at most a day; 0 for exact ones.
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
    :param interval_seconds: how often a report leaves. Best a multiple of the granularity: then the time of a report
        tells no more of its points than their own times do.
    :param keep_bytes: how much line protocol is kept on disk, by each process. Beside it 8 MiB are reserved, without
        which it could not be emptied when the disk is full.
    :param keep_points: how many points.
    :param keep_days: for how long.
    :param memory_limit_bytes: how much line protocol is kept in memory, half of it not committed yet, half of it
        because there is no disk; at least twice :data:`MAX_REPORT_BYTES`.
    :param commit_seconds: how long points gather before they are written to the disk together.
    :param empty_reports: whether there is a report for an interval in which nothing was recorded.
    :param padding: whether reports are padded to one of a few sizes.
    :param consent: whether the user has agreed already. If not, nothing is recorded, kept or connected to before
        :meth:`allow`.
    :param stop_seconds: how long the last attempt of `stopService` may take.
    :param now_ns: the wall clock: nanoseconds since 1970.
    :param chance: a number from 0 to 1, evenly spread: for times, the moments at which reports leave, and the waits.
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
        state_dir: Path | str | None = None,
        schema: Mapping[str, MeasurementSchema] | Path | str | None = None,
        declare_tags: Collection[str] = (),
        granularity_seconds: float = GRANULARITY_SECONDS,
        socks: IStreamClientEndpoint | SocksSource | str | None = None,
        client_key: ClientKey | Path | str | None = None,
        agent: IAgent | None = None,
        reactor: IReactorTime | None = None,
        interval_seconds: float = INTERVAL_SECONDS,
        keep_bytes: int = KEEP_BYTES,
        keep_points: int = KEEP_POINTS,
        keep_days: float = KEEP_DAYS,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        commit_seconds: float = COMMIT_SECONDS,
        empty_reports: bool = True,
        padding: bool = True,
        consent: bool = True,
        stop_seconds: float = STOP_SECONDS,
        now_ns: Callable[[], int] = time.time_ns,
        chance: Callable[[], float] = _chance,
        backoff: Backoff | None = None,
    ) -> None:
        if not database:
            raise SettingsError("database: expected the name of InfluxDB's database, got none")
        for name, value in {
            "interval_seconds": interval_seconds,
            "keep_days": keep_days,
            "commit_seconds": commit_seconds,
        }.items():
            if not value > 0:
                raise SettingsError(f"{name}: expected more than 0, got {value!r}")
        for name, size in {"memory_limit_bytes": memory_limit_bytes, "keep_bytes": keep_bytes}.items():
            if size < 2 * MAX_REPORT_BYTES:
                raise SettingsError(f"{name}: expected at least {2 * MAX_REPORT_BYTES}, got {size!r}")
        if agent is not None and socks is not None:
            raise SettingsError("socks and agent: expected one of them, got both")
        if agent is not None and client_key is not None:
            raise SettingsError("client_key and agent: the agent's own tor must hold the key; leave client_key out")
        self._url = _parse_onion_url(onion_url)
        self._agent = agent
        self._state_dir = None if state_dir is None else Path(state_dir).absolute()
        # With an agent of the application's own this one only stands by: it does nothing until it is asked.
        self._source = _source(socks, self._state_dir)
        if client_key is not None:
            self._source.hold_key(_client_auth(client_key, parse_onion_address(self._url.host)))
        self._destination = Destination(database, retention_policy)
        self._bounds = Bounds(
            limit_bytes=keep_bytes,
            limit_points=keep_points,
            limit_age_seconds=keep_days * 24 * 3600,
            drop_oldest=True,
            dead_letter_limit_bytes=DEAD_LETTER_LIMIT_BYTES,
            lend_points=MAX_REPORT_BYTES,
            lend_bytes=MAX_REPORT_BYTES,
            reserve_bytes=RESERVE_BYTES,
        )
        self._reactor = reactor
        self._intervals = Intervals.of(interval_seconds)
        self._commit_seconds = commit_seconds
        self._empty_reports = empty_reports
        self._pad = padded if padding else _not_padded
        self._memory_limit_bytes = memory_limit_bytes
        self._stop_seconds = stop_seconds
        self._now_ns = now_ns
        # What is recorded, and how often, shall not move the moments at which reports leave.
        of_moments, of_gaps, of_waits, of_points = islice(branches(chance), 4)
        self._moments = of_moments
        self._gaps = gaps(interval_seconds * PACE, of_gaps)
        self._backoff = backoff or exponential_backoff(
            first_seconds=RETRY_FIRST_SECONDS, factor=RETRY_FACTOR, cap_seconds=RETRY_CAP_SECONDS, jitter=of_waits
        )
        rules = PrivacyRules(
            granularity_ns=round(granularity_seconds * 1e9),
            key=new_key() if self._state_dir is None or not consent else kept_key(self._state_dir),
            schema=load_schema(Path(schema)) if isinstance(schema, Path | str) else schema,
            declared_tags=declare_tags,  # type: ignore[arg-type]  # mypy cannot see through its converter
        )
        limit_bytes = memory_limit_bytes // 2
        self._recorder = Recorder(rules, now_ns, of_points, self._wake, limit_bytes, self._destination, self._hurry)
        self._recorder.allowed = consent
        if type(self).record is Reporter.record:  # each recording costs the less: one call, and not two
            self.record = self._recorder.record  # type: ignore[method-assign]
        self._instruments = Instruments()
        self._begin_anew()
        watch(self)

    def _begin_anew(self) -> None:
        """Have no part in what an earlier process does."""
        self._stock = Stock(self._memory_limit_bytes // 2, MAX_REPORT_BYTES, Batch(self._destination, b"", 0))
        self._home: Home | None = None
        self._dispatch: Dispatch | None = None
        self._reports: Reports | None = None

    # Recording.

    def record(
        self,
        measurement: str,
        fields: Mapping[str, FieldValue],
        tags: Mapping[str, str] | None = None,
        time_ns: int | None = None,
    ) -> Commit:
        """Record a point, from any thread. Returns at once; nothing is sent before its report leaves.

        :param measurement: what was measured.
        :param fields: the values, at least one.
        :param tags: what the point is found by. What names a person or a machine has no place here.
        :param time_ns: nanoseconds since 1970; None for now. Either is made coarse, in such a way that points do not
            replace each other, and that a point recorded twice with the same time and tags is the same point.
        :returns: what becomes of it. It can be awaited, and need not be: True when the point is on disk (in memory,
            without a `state_dir`), False when it was not taken (no consent, not in the schema, no room); it fails with
            :class:`~torfluxd.errors.SpoolBrokenError` when the disk failed: then the point is kept in memory.
        :raises PointError: this point could never be written, wherever and whenever: a mistake in the program.
        :raises TypeError: `fields` or `tags` is no mapping: the same. Nothing that happens on the way to the gateway
            comes back here.
        """
        return self._recorder.record(measurement, fields, tags, time_ns)

    def record_lines(self, lines: bytes, destination: Destination | None = None) -> Commit:
        """Record lines that somebody else has written, from any thread.

        :param lines: line protocol that a gateway would take, with times in nanoseconds or without.
        :param destination: where they go; None for the reporter's own database.
        :returns: what becomes of them, as of :meth:`record`.
        """
        return self._recorder.record_lines(lines, destination)

    def counter(self, name: str, tags: Mapping[str, str] | None = None) -> Counter:
        """What counts events: how many there were in each interval is recorded at its end. From any thread.

        :param name: the measurement.
        :returns: always the same for the same name and tags.
        """
        return self._instruments.counter(name, tags)

    def gauge(self, name: str, tags: Mapping[str, str] | None = None) -> Gauge:
        """What has a value at each moment; as :meth:`counter`."""
        return self._instruments.gauge(name, tags)

    def timer(self, name: str, tags: Mapping[str, str] | None = None) -> Timer:
        """What measures how long things take; as :meth:`counter`."""
        return self._instruments.timer(name, tags)

    def histogram(
        self, name: str, tags: Mapping[str, str] | None = None, buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        """What counts values by their size; as :meth:`counter`.

        :param buckets: the bounds, in ascending order.
        """
        return self._instruments.histogram(name, tags, buckets)

    @property
    def stats(self) -> ReporterStats:
        """What became of the points, at this moment."""
        recorder, stock = self._recorder.counts, self._stock.counts
        open_points = recorder.recorded - recorder.dropped - self._taken_points
        dropped = stock.dropped_points + recorder.dropped
        pending = stock.points + open_points
        return ReporterStats(
            recorded=pending + stock.delivered_points + stock.rejected_points + dropped,
            pending=pending,
            delivered=stock.delivered_points,
            rejected=stock.rejected_points,
            dropped=dropped,
        )

    @property
    def trouble(self) -> str:
        """Why reports do not get through now, or points are not on disk, in a sentence; empty when all is well."""
        reports = "" if self._reports is None else self._reports.trouble
        return reports or ("" if self._stock.disk is None else self._stock.disk.trouble)

    def prove(self) -> Deferred[None]:
        """Show that points reach the disk: for whoever feeds a watchdog.

        :returns: a Deferred that fires when the disk has synced a change of nothing, behind all that waits there; at
            once while no spool is open. While the disk hangs it does not fire. It fails with
            :class:`~torfluxd.errors.SpoolError` when the spool answers that it does not work.
        """
        return succeed(None) if self._stock.disk is None else self._stock.disk.prove()

    @property
    def _taken_points(self) -> int:
        return 0 if self._dispatch is None else self._dispatch.committed_points

    # Consent.

    @property
    def allowed(self) -> bool:
        """Whether the user agrees."""
        return self._recorder.allowed

    def allow(self) -> None:
        """The user agrees: record from now on, and report. It is for the application to remember that."""
        self._recorder.allowed = True
        if self.running:
            self._begin()

    def deny(self) -> Deferred[int]:
        """The user does not agree, or no longer: record nothing from now on, send nothing, and delete everything.

        Also deleted is what other processes left behind that have ended. Those that run have to be told themselves.

        :returns: a Deferred that fires with the number of points that were deleted, when they are. It fails with
            :class:`~torfluxd.errors.SpoolBrokenError` when some of it cannot be deleted.
        """
        before = self._recorder.counts.dropped
        self._recorder.allowed = False
        self._instruments.forget()
        forgotten = self._recorder.counts.dropped - before
        return Deferred.fromCoroutine(self._wipe(forgotten))

    def preview(self) -> Deferred[bytes]:
        """The exact bytes of the next report, as it would leave if nothing more was recorded: request and body.

        :returns: a Deferred that fires with the bytes; with none when there would be no report. It fails with
            :class:`~torfluxd.errors.ReporterError` when the reporter is not running, and with
            :class:`~torfluxd.errors.SpoolBrokenError` when the disk fails.
        """
        if self._recorder.allowed and (self._dispatch is None or not self.running):
            return fail(ReporterError("the reporter is not running, so it has no next report: start it first"))
        return Deferred.fromCoroutine(self._preview())

    # Reporting.

    def flush(self, deadline_seconds: float = FLUSH_SECONDS) -> Deferred[bool]:
        """Report everything recorded so far now, whatever the moment, and without waiting for the end of a backoff.

        :param deadline_seconds: how long that may take, further attempts included.
        :returns: a Deferred that fires with True when each of these points was delivered, rejected or dropped (see
            :attr:`stats`); with False when some were not before the deadline or the stop of the reporter: these are
            kept. It fails with :class:`~torfluxd.errors.ReporterError` when the reporter is not running, and with
            :class:`~twisted.internet.defer.CancelledError` when it is cancelled, which changes nothing for the points.
        """
        if not self.running:
            return fail(ReporterError("the reporter is not running, so it cannot send: start it first"))
        if self._dispatch is None or not self.allowed:
            return succeed(True)
        return Deferred.fromCoroutine(self._dispatch.flush(deadline_seconds))

    def startService(self) -> None:
        """Begin to report. The first report leaves at a random moment of the next interval."""
        if self.running:
            return
        Service.startService(self)
        if self.allowed:
            self._begin()

    def stopService(self) -> Deferred[None]:
        """Try once more to report everything, within `stop_seconds`, and end.

        What is left is kept for a later start, where it is on disk for that of another process, too; the log says how
        many points those are.

        :returns: a Deferred that fires when nothing is under way any more. It never fails.
        """
        was_running = self.running
        Service.stopService(self)
        if not was_running or self._dispatch is None or not self.allowed:
            return succeed(None)
        return Deferred.fromCoroutine(self._end(self._dispatch))

    async def __aenter__(self) -> Self:
        """Start."""
        self.startService()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop."""
        await _anywhere(self.stopService())

    def forked_here(self) -> None:
        """Begin anew in a child process: what is kept, and what is under way, is the parent's."""
        if self._home is not None:
            self._home.leave_to_the_parent()
        if self._dispatch is not None:
            self._dispatch.abandon()
        self.running = 0
        self._instruments.reset_after_fork()
        self._recorder.reset_after_fork()
        self._begin_anew()

    # What begins and ends.

    def _begin(self) -> None:
        reactor = maybe_global_reactor(self._reactor)
        if self._dispatch is None:
            self._dispatch = self._make_dispatch(reactor)
        self._source.start(reactor)
        self._dispatch.begin()

    def _make_dispatch(self, reactor: IReactorTime) -> Dispatch:
        upstream = HttpUpstream(self._poster(reactor), SEND_SECONDS)
        self._reports = reports = Reports(upstream, reactor, self._gaps, self._pad)
        if self._state_dir is not None:
            self._home = Home(self._state_dir, reactor, self._bounds, lambda: _executor(reactor))
        self._call_from_thread = _way_into(reactor)
        return Dispatch(
            reactor,
            self._now_ns,
            self._intervals,
            self._commit_seconds,
            self._moments,
            self._empty_reports,
            self._recorder,
            self._instruments,
            self._stock,
            self._home,
            reports,
            Courier(self._stock, reports, reactor, self._backoff, idle=reports.set_out),
        )

    def _poster(self, reactor: IReactorTime) -> Poster:
        if self._agent is not None:
            return AgentPoster(self._agent, self._url, reactor)
        streams = OnionStreams(reactor, self._source, parse_onion_address(self._url.host), self._url.port)
        return OncePoster(streams, self._url, reactor)

    async def _end(self, dispatch: Dispatch) -> None:
        await dispatch.end(self._stop_seconds)
        if self.running:  # it was started again meanwhile
            return
        await self._source.stop()
        if pending := self.stats.pending:
            _log.warn("Points that could not be reported before the reporter stopped: {points}.", points=pending)

    async def _wipe(self, forgotten_points: int) -> int:
        if self._dispatch is None:
            self._dispatch = self._make_dispatch(maybe_global_reactor(self._reactor))
        points = await self._dispatch.wipe()
        if not self.allowed:
            await self._source.stop()
        return points + forgotten_points

    async def _preview(self) -> bytes:
        batch = await self._dispatch.next_batch() if self.allowed and self._dispatch is not None else None
        if batch is None and not self._empty_reports:
            return b""
        batch = batch or Batch(self._destination, b"", 0)
        return request_bytes(self._url, write_target(Api.V1, batch.destination), self._pad(batch.lines))

    # From any thread.

    def _wake(self) -> None:
        self._in_the_reactor(Dispatch.wake)

    def _hurry(self) -> None:
        self._in_the_reactor(Dispatch.commit)

    def _in_the_reactor(self, do: Callable[[Dispatch], None]) -> None:
        """Do it there, where a reactor runs that has begun with this reporter."""
        if self._dispatch is not None:
            self._call_from_thread(do, self._dispatch)


async def _anywhere(stopping: Deferred[None]) -> None:
    """Wait for it, in a coroutine of Twisted or of asyncio."""
    stopped = Commit()
    stopping.addBoth(lambda _: stopped.resolve(True))
    await stopped


def _executor(reactor: IReactorTime) -> Executor:
    if IReactorFromThreads.providedBy(reactor):
        return UnforkedThread(cast("IReactorFromThreads", reactor), "torfluxd spool")
    return AtOnce()  # a clock, in a test


def _way_into(reactor: IReactorTime) -> Callable[..., object]:
    """How something is called in the reactor's thread."""
    if IReactorFromThreads.providedBy(reactor):
        return cast("IReactorFromThreads", reactor).callFromThread
    return lambda do, *arguments: do(*arguments)  # a clock, in a test


def _not_padded(body: bytes) -> bytes:
    """The body, or a comment where there is none: what is sent is a write."""
    return body or b"#\n"


def _source(where: IStreamClientEndpoint | SocksSource | str | None, state_dir: Path | None) -> SocksSource:
    if where is None:
        return TorLadder(state_dir)
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
