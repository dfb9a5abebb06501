"""Everything between a door and InfluxDB, put together: policy, writes, pass-through."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from torfluxd.gateway.complaints import Complaints
from torfluxd.gateway.exchange import Head, Plan, Site
from torfluxd.gateway.policy import Policy
from torfluxd.gateway.routes import Routes
from torfluxd.gateway.writes import Writes
from torfluxd.influx.account import Account
from torfluxd.influx.agent import InfluxdbReactor, influxdb_agent
from torfluxd.influx.passthrough import HttpPassThrough
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import InfluxdbUrl
from torfluxd.settings import Expose

__all__ = ["InfluxdbSite"]


class InfluxdbSite:
    """The site in front of one InfluxDB. Nothing is opened before the first request.

    :param url: where InfluxDB is.
    :param expose: what of it strangers can reach.
    :param account: the vendor's, with it; by default nobody's, in the API of 1.x. Nothing of it goes out with what
        `expose` lets pass through.
    """

    def __init__(
        self,
        reactor: InfluxdbReactor,
        url: InfluxdbUrl,
        expose: Expose = Expose.WRITE,
        account: Account | None = None,
    ) -> None:
        self._agent = influxdb_agent(reactor, url)
        complaints = Complaints(reactor)
        upstream = HttpUpstream(AgentPoster(self._agent, url, reactor), reactor, account=account)
        writes = Writes(upstream, reactor, complaints)
        self._routes = Routes(Policy(expose), writes, HttpPassThrough(self._agent, url, reactor), complaints)

    def plan(self, head: Head) -> Plan:
        """Decide on a request; see :meth:`torfluxd.gateway.exchange.Site.plan`."""
        return self._routes.plan(head)

    def close(self) -> Deferred[None]:
        """Close the connections to InfluxDB that have no work. Fires when they are closed; never fails."""
        return self._agent.close()


_: type[Site] = InfluxdbSite
