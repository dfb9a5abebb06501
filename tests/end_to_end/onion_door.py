"""An onion service of the private network, hosted by a tor of the test's own, with a gateway in memory behind it."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.protocol import Protocol
from twisted.web.server import Site

from tests.end_to_end.programs import Cleanup
from tests.private_network import private_network
from tests.reporter.doubles import FakeGateway
from torfluxd.gateway.circuits import CircuitFactory
from torfluxd.onion.key import OnionKey
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor

__all__ = ["OnionDoor", "open_door"]


class OnionDoor:
    """The onion service.

    :ivar url: where reporters find it.
    :ivar gateway: keeps what is written to it.
    :ivar circuits: the circuit of each connection, as the tor that hosts the onion service sees it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.gateway = FakeGateway()
        self.circuits: list[int] = []
        self._site = Site(self.gateway)

    def build(self, circuit: int) -> Protocol:
        """Let a connection in."""
        self.circuits.append(circuit)
        protocol: Protocol = self._site.buildProtocol(None)
        return protocol


async def open_door(cleanup: Cleanup, directory: Path) -> OnionDoor:
    """Open one, and wait until it can be found."""
    key, target = OnionKey.generate(), directory / "gateway.sock"
    door = OnionDoor(f"http://{key.address}")
    port = await UNIXServerEndpoint(reactor, str(target)).listen(CircuitFactory(door.build))
    cleanup(port.stopListening)
    tor = private_network().tor_binary
    onion = TorService(LaunchedTor(reactor, directory / "host", tor, onion=(key, target), hear=lambda _: None), reactor)
    onion.startService()
    cleanup(onion.stopService)
    await onion.when_up()
    return door
