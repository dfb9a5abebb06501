"""Everything between a door and InfluxDB, put together: policy, writes, spool, pass-through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import random

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from torfluxd.boundaries import Destination, Fate
from torfluxd.delivery.backoff import exponential_backoff
from torfluxd.delivery.couriers import Couriers
from torfluxd.delivery.disk import DiskSpool
from torfluxd.delivery.executor import OneThread
from torfluxd.delivery.sieve import Sieve
from torfluxd.delivery.steps import LIMIT_BYTES, RESERVE_BYTES, Bounds
from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.exchange import Head, Plan, Site
from torfluxd.gateway.gathering import GATHER_SECONDS
from torfluxd.gateway.held import Held
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.orphans import Orphan
from torfluxd.gateway.policy import Policy
from torfluxd.gateway.routes import Routes
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.safekeeping import HomeUpstream, Safekeeping
from torfluxd.gateway.tally import TalliedUpstream, Tally
from torfluxd.gateway.writes import Writes
from torfluxd.influx.account import Account
from torfluxd.influx.agent import InfluxdbReactor, influxdb_agent, influxdb_endpoint
from torfluxd.influx.api import Api
from torfluxd.influx.direct import DirectPoster
from torfluxd.influx.passthrough import HttpPassThrough
from torfluxd.influx.stamp import Stamper
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import InfluxdbUrl
from torfluxd.ops.figures import Figures
from torfluxd.settings import Expose

__all__ = ["InfluxdbSite", "SiteReactor"]

_log = Logger()

LIVE_SECONDS = 10.0
"""How long InfluxDB may take for a write while the strangers wait whose lines are in it: as long as influxd itself
gives one (`write-timeout` in `[coordinator]`). After that their lines go into the spool."""


LEND_POINTS = 10_000
LEND_BYTES = 1024 * 1024
"""How much a courier carries at once: as much as a joined live write, so that it drains a spool of small writes as fast
as InfluxDB takes them, and no more, so that live writes beside it do not wait long."""

RETRY_FIRST_SECONDS = 0.5
RETRY_FACTOR = 2.0
RETRY_CAP_SECONDS = 15.0
"""The waits of a courier whose InfluxDB is away: it stands beside us, an attempt costs nothing, and whoever restarts it
wants to see within seconds that all is well."""

STOP_SECONDS = 1.0
"""What couriers get at the end to have what is in flight answered. What is not is sent again after the next start."""


class SiteReactor(InfluxdbReactor, IReactorFromThreads):
    """The kind of reactor that reaching InfluxDB and keeping a spool need."""


class InfluxdbSite:
    """The site in front of one InfluxDB. Nothing is opened before the first request.

    :param url: where InfluxDB is.
    :param expose: what of it strangers can reach.
    :param account: the vendor's, with it; by default nobody's, in the API of 1.x. Nothing of it goes out with what
        `expose` lets pass through.
    :param homes: the vendor's destinations; those of the rules are among them, others become known as they are written
        to.
    :param rules: what strangers may write; by default anywhere, and what :class:`LineRules` says.
    :param held: what is held for strangers, shared with the doors in front of this.
    :param stamper: gives lines without a time theirs; by default one of its own.
    :param canary_target: what our own canary asks for; by default there is none.
    :param gather_seconds: for how long after a write the next one may wait for company.
    """

    def __init__(
        self,
        reactor: SiteReactor,
        url: InfluxdbUrl,
        expose: Expose = Expose.WRITE,
        account: Account | None = None,
        homes: Homes | None = None,
        rules: LineRules | None = None,
        held: Held | None = None,
        stamper: Stamper | None = None,
        canary_target: bytes | None = None,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._agent = influxdb_agent(reactor, url)
        self._poster = DirectPoster(influxdb_endpoint(reactor, url), url, reactor)
        self._complaints = complaints = Complaints(reactor)
        self._tally = tally = Tally()
        live = HttpUpstream(self._poster, LIVE_SECONDS, account)
        self._reactor = reactor
        self._unhurried = TalliedUpstream(HttpUpstream(self._poster, account=account), reactor, tally)
        self._expose = expose
        rules = rules or LineRules()
        self._homes = homes or Homes()
        self._homes.configure(rules.homes)
        self._safekeeping = Safekeeping(live, self._homes, complaints, tally, reactor.seconds)
        self._spool: DiskSpool | None = None
        self._limit_bytes = 0
        self._couriers: Couriers | None = None
        self._orphans: list[Orphan] = []
        api = Api.V1 if account is None else account.api
        self._writes = Writes(self._safekeeping, reactor, stamper, api, rules, held, tally, gather_seconds)
        policy, pass_through = Policy(expose, rules.settle), HttpPassThrough(self._agent, url, reactor)
        self._routes = Routes(policy, self._writes, pass_through, complaints, tally, canary_target)

    def plan(self, head: Head) -> Plan:
        """Decide on a request; see :meth:`torfluxd.gateway.exchange.Site.plan`."""
        return self._routes.plan(head)

    def use(self, rules: LineRules) -> None:
        """Hold strangers to these rules from now on. What is under way goes on, and no name is forgotten."""
        self._homes.configure(rules.homes)
        self._writes.use(rules)
        self._routes.use(Policy(self._expose, rules.settle))

    @property
    def figures(self) -> Figures:
        """What became of strangers' writes, and what the spool holds."""
        takes_writes = not self._complaints.is_outage and self._safekeeping.keeps
        outages = Figures(influxdb_outages=self._complaints.outages, influxdb_up=float(takes_writes))
        kept = Figures(spool_open=0.0) if self._spool is None else spool_figures(self._spool, self._limit_bytes)
        for orphan in self._orphans:
            kept += spool_figures(orphan.spool, 0)
        return self._tally.figures + outages + kept

    @property
    def problems(self) -> Sequence[str]:
        """Why strangers' writes are not taken, in sentences; usually none."""
        if self._spool is None:
            return ("the spool is not open yet",)
        if not self._safekeeping.keeps:
            return ("InfluxDB takes no writes, and the spool does not take them either: the log says why",)
        if self._complaints.is_outage and self._spool.trouble:
            return (f"InfluxDB takes no writes, and the spool cannot keep them: {self._spool.trouble}",)
        return ()

    def prove(self) -> Deferred[None]:
        """Fire when the spool has synced a change of nothing to the disk; at once where there is no spool.

        It fails as :meth:`torfluxd.delivery.disk.DiskSpool.prove` does.
        """
        return succeed(None) if self._spool is None else self._spool.prove()

    async def open_spool(self, path: Path, limit_bytes: int) -> None:
        """Keep from now on what InfluxDB does not take, and deliver what is there already.

        :param path: the spool's file, in a directory of ours.
        :param limit_bytes: how much it holds.
        :raises SpoolVersionError: a newer torfluxd wrote it.
        """
        keeping = self._safekeeping
        self._spool = spool = await self._open(path, limit_bytes)
        self._couriers = self._send_for(spool, keeping.arrived)
        keeping.use(spool, self._couriers.batch_put, limit_bytes)
        self._limit_bytes = limit_bytes
        self._couriers.start()

    async def adopt_spool(self, path: Path) -> None:
        """Deliver what is in a spool that nobody else uses any more, and remove it when it is empty.

        What InfluxDB refuses stays in it, for an operator to see.

        :param path: the spool's file, in a directory of ours.
        :raises SpoolVersionError: a newer torfluxd wrote it.
        """
        orphan = Orphan(path, await self._open(path, LIMIT_BYTES), self._reactor, self._orphans.remove)
        self._orphans.append(orphan)
        orphan.deliver(lambda arrived: self._send_for(orphan.spool, arrived), self._safekeeping.arrived)

    async def _open(self, path: Path, limit_bytes: int) -> DiskSpool:
        bounds = Bounds(
            limit_bytes=limit_bytes, lend_points=LEND_POINTS, lend_bytes=LEND_BYTES, reserve_bytes=RESERVE_BYTES
        )
        return await DiskSpool.open(path, self._reactor, OneThread(self._reactor), _warn, bounds)

    def _send_for(self, spool: DiskSpool, arrived: Callable[[Destination], None]) -> Couriers:
        backoff = exponential_backoff(
            first_seconds=RETRY_FIRST_SECONDS, factor=RETRY_FACTOR, cap_seconds=RETRY_CAP_SECONDS, jitter=random
        )
        upstream = Sieve(HomeUpstream(self._unhurried, self._homes, Fate.REJECT))
        return Couriers(spool, upstream, self._reactor, backoff, arrived, self._safekeeping.postponed)

    async def close(self) -> None:
        """Stop delivering, close the spools and the connections to InfluxDB. To be called when nothing is asked any
        more.
        """
        if self._couriers is not None:
            await self._couriers.stop(STOP_SECONDS)
        if self._spool is not None:
            await self._spool.close()
        for orphan in list(self._orphans):
            await orphan.close(STOP_SECONDS)
        self._poster.close()
        await self._agent.close()


def spool_figures(spool: DiskSpool, limit_bytes: int) -> Figures:
    """What a spool holds, and what became of what it held."""
    counts, letters = spool.counts, spool.dead_letters
    return Figures(
        spool_open=float(not spool.trouble),
        spool_batches=counts.batches,
        spool_points=counts.points,
        spool_bytes=counts.size_bytes,
        spool_limit_bytes=limit_bytes,
        spool_oldest_age_seconds=spool.oldest_age_seconds or 0.0,
        spool_delivered_points=counts.delivered_points,
        dead_letter_points=letters.points,
        dead_letter_bytes=letters.size_bytes,
        dead_letter_forgotten_points=spool.forgotten_points,
    )


def _warn(sentence: str) -> None:
    _log.warn("{sentence}", sentence=sentence)


_: type[Site] = InfluxdbSite
