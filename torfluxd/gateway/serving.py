"""What answers strangers in one process: the site, the front before it, the limits, and the spool behind it.

A gateway has one of these; with `--workers`, each worker has one, and the gateway itself none.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IProtocolFactory

from torfluxd.gateway.allowances import Allowances
from torfluxd.gateway.bounds import CONNECTIONS, Bounds
from torfluxd.gateway.circuits import CircuitFactory, UnknownCircuitFactory
from torfluxd.gateway.front import Front
from torfluxd.gateway.gathering import GATHER_SECONDS
from torfluxd.gateway.held import HELD_BYTES, Held
from torfluxd.gateway.homes import Homes
from torfluxd.gateway.limiter import Limiter
from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.site import InfluxdbSite, SiteReactor
from torfluxd.influx.account import Account
from torfluxd.influx.credential import Credential
from torfluxd.influx.stamp import Stamper
from torfluxd.ops.figures import Figures
from torfluxd.settings import GatewaySettings

__all__ = ["DRAIN_SECONDS", "WHOLE", "Part", "Serving"]

DRAIN_SECONDS = 3.0
"""What requests in flight get at the end; with a second for what couriers carry, and something for a slow machine, five
in all."""


@frozen
class Part:
    """Which part of a gateway a process is. What all strangers together may use is divided by the number of parts.

    :ivar number: from 1.
    :ivar of: how many there are.
    :ivar stamp_place: the place of its times among those of the others, see :class:`~torfluxd.influx.stamp.Stamper`;
        None for one at random.
    """

    number: int = 1
    of: int = 1
    stamp_place: int | None = None


WHOLE = Part()
"""A gateway in one process."""


class Serving:
    """Answers strangers.

    Nothing is opened before :meth:`open`.

    :ivar site: what is behind.
    :ivar front: serves connections of which nothing is known, without limits: `--listen`.
    :ivar limiter: knows what strangers may use.

    :param settings: what to do.
    :param environment: `os.environ`.
    :param homes: the vendor's destinations.
    :param close_circuit: asks tor to close a circuit.
    :param part: of the gateway.
    :param canary_target: what our own canary asks for; by default there is none. All parts are given the same.
    """

    def __init__(
        self,
        reactor: SiteReactor,
        settings: GatewaySettings,
        environment: MutableMapping[str, str],
        homes: Homes,
        close_circuit: Callable[[int], None],
        part: Part = WHOLE,
        canary_target: bytes | None = None,
    ) -> None:
        self._settings = settings
        self._part = part
        self._credential = Credential(settings.credential_options, settings.influxdb_api, environment, reactor)
        account = Account(self._credential, settings.influxdb_api, settings.influxdb_org or "")
        held = Held(HELD_BYTES // part.of)
        stamper = Stamper(part.stamp_place)
        rules = LineRules.of(settings.rules)
        self.site = InfluxdbSite(
            reactor,
            settings.influxdb,
            settings.expose,
            account,
            homes,
            rules,
            held,
            stamper,
            canary_target,
            part.of * GATHER_SECONDS,  # so that the writes of many workers are no smaller than one's
        )
        self.front = Front(self.site, Bounds(connections=CONNECTIONS // part.of), reactor, held)
        self.limiter = Limiter(reactor, Allowances().divided(part.of), close_circuit)

    def load_credential(self) -> Sequence[str]:
        """Read the credential for InfluxDB.

        :returns: what the operator should know.
        :raises TorfluxdError: it cannot be used.
        """
        return self._credential.load()

    def change(self, settings: GatewaySettings) -> Sequence[str]:
        """Hold to other rules from now on, and use another credential. Nobody's connection is touched.

        :returns: what the operator should know.
        :raises SettingsError: the credential cannot be used; all is as it was.
        """
        warnings = self._credential.change(settings.credential_options)
        if settings.rules != self._settings.rules:
            self.site.use(LineRules.of(settings.rules))
        self._settings = settings
        return warnings

    @property
    def figures(self) -> Figures:
        """What was counted here, and how it stands."""
        return self.site.figures + self.front.figures + self.limiter.figures + Figures(processes=1)

    def onion_factory(self, *, knows_circuits: bool) -> IProtocolFactory:
        """What serves those whom tor brings.

        What comes in elsewhere (`--listen`) is not limited: that is the operator's own door, behind whatever he puts
        before it, and one connection there may stand for many clients.

        :param knows_circuits: whether tor says which circuit each connection came through: only our own does.
        """
        build, limiter = self.front.build_limited, self.limiter
        if knows_circuits:
            return CircuitFactory(lambda circuit: build(limiter.of_circuit(circuit)))
        return UnknownCircuitFactory(lambda: build(limiter.of_connection()))

    async def open(self, spool: Path) -> None:
        """Open the spool, and deliver what is in it.

        :raises SpoolVersionError: a newer torfluxd wrote it.
        """
        await self.site.open_spool(spool, self._settings.spool_limit // self._part.of)

    async def adopt(self, orphans: Sequence[Path]) -> None:
        """Deliver what is in spools of workers that are no more, and remove them when they are empty.

        :raises SpoolVersionError: a newer torfluxd wrote one.
        """
        for path in orphans:
            if path.exists():  # one that took our place here before may have emptied it
                await self.site.adopt_spool(path)

    async def drain(self) -> None:
        """Let requests in flight finish, for `DRAIN_SECONDS` at most; to be called when nobody listens any more."""
        await self.front.drain(DRAIN_SECONDS)

    async def close(self) -> None:
        """Close the spool and the connections to InfluxDB; to be called when nothing is asked any more."""
        await self.site.close()
        self.limiter.forget()
