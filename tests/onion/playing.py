"""A tor in our hands, which hosts an onion service that is supervised, and a canary that does as a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.hostile_control import OK, ControlPort
from torfluxd.errors import SocksOnionIntroductionFailedError
from torfluxd.onion.canary import Canary
from torfluxd.onion.key import OnionKey
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import RunningTor

__all__ = ["KEY", "LISTENERS", "UPLOADED", "Bird", "SupervisedCase"]

KEY = OnionKey.generate()
UPLOADED = f"650 HS_DESC UPLOADED {KEY.address.name} UNKNOWN $AA~dir\r\n".encode()
LISTENERS = b'250-net/listeners/socks="127.0.0.1:9050" "unix:/run/tor/socks"\r\n250 OK\r\n'

RETRY_SECONDS = 10.0


class Bird:
    """A canary's flight: an :data:`~torfluxd.onion.canary.Ask`.

    :ivar outcome: what comes of each: None for success, an error, or `silent` for no answer.
    :ivar flights: when it flew, in the clock's seconds.
    """

    silent = TimeoutError()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.outcome: Exception | None = None
        self.flights: list[float] = []
        self.through: list[IStreamClientEndpoint] = []

    def __call__(self, socks: IStreamClientEndpoint) -> Deferred[None]:
        """Fly."""
        self.flights.append(self._clock.seconds())
        self.through.append(socks)
        if self.outcome is self.silent:
            return Deferred()
        return succeed(None) if self.outcome is None else fail(self.outcome)

    def be_lost(self) -> None:
        """Come back no more."""
        self.outcome = SocksOnionIntroductionFailedError("no introduction point let us in")


class SupervisedCase(SynchronousTestCase):
    """A running tor of ours to play, and what watches over it."""

    def setUp(self) -> None:
        """Nothing runs yet."""
        self.clock = Clock()
        self.date = 1_700_000_000.0
        self.port = ControlPort()
        self.port.replies["GETINFO net/listeners/socks"] = LISTENERS
        self.port.replies["GETINFO onions/current"] = self.hosted
        self.port.replies["ADD_ONION"] = self.add
        self.port.replies["DEL_ONION"] = self.delete
        self.port.replies["GETINFO status/circuit-established"] = b"250-status/circuit-established=1\r\n250 OK\r\n"
        self.hosts_for: object = None
        self.bird = Bird(self.clock)
        self.strangers = 0
        self.said: list[str] = []
        self.canary = self.make_canary()
        self.service = self.make_service(self.canary)
        self.addCleanup(self.service.stopService)

    def add(self, command: str) -> bytes:
        """It is hosted, as long as the connection lives."""
        self.hosts_for = self.port.transport
        return OK

    def delete(self, command: str) -> bytes:
        """It does no more."""
        self.hosts_for = None
        return OK

    def hosted(self, command: str) -> bytes:
        """What this tor says that it hosts for us."""
        name = KEY.address.name if self.hosts_for is self.port.transport else ""
        return f"250-onions/current={name}\r\n250 OK\r\n".encode()

    def make_canary(self, chance: Callable[[float, float], float] = lambda least, most: (least + most) / 2) -> Canary:
        """A canary that flies half-way between the earliest and the latest moment."""
        return Canary(self.clock, self.bird, strangers=lambda: self.strangers, chance=chance)

    def make_service(self, canary: Canary | None) -> TorService:
        """What watches over it."""
        source = RunningTor(
            self.clock,
            self.port,
            "unix:/run/tor/control",
            onion=(KEY, Path("/state/onion.sock")),
            hear=self.said.append,
        )
        return TorService(
            source,
            self.clock,
            say=self.said.append,
            canary=canary,
            wall=lambda: self.date + self.clock.seconds(),
            retry_delay=lambda attempt: RETRY_SECONDS,
        )

    def come_up(self) -> None:
        """Start, and come up."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        self.port.say(UPLOADED)
        self.port.pump()
        self.successResultOf(up)

    def come_back(self) -> None:
        """Come up again after a loss."""
        up = self.service.when_up()
        self.pass_time(RETRY_SECONDS)
        self.port.say(UPLOADED)
        self.port.pump()
        self.successResultOf(up)

    def pass_time(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, with a tor that answers."""
        end = self.clock.seconds() + seconds
        while (left := end - self.clock.seconds()) > 0:
            self.clock.advance(min(step, left))
            self.port.pump()

    def sent(self, beginning: str) -> list[str]:
        """The commands that begin so."""
        return [command for command in self.port.commands if command.startswith(beginning)]

    @property
    def state(self) -> str:
        """What an operator sees."""
        return self.service.status.state
