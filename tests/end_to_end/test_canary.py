"""The canary in a real Tor network: it comes back while we can be reached, and does not where we cannot."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.end_to_end.incidents import until
from tests.end_to_end.programs import client_tor, temporary_directory
from tests.private_network import private_network
from torfluxd.endpoints import client_endpoint
from torfluxd.onion.authorized import AuthorizedClients
from torfluxd.onion.canary import Canary, ask_onion
from torfluxd.onion.client_key import ClientKey, auth_line
from torfluxd.onion.key import OnionKey
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor, RunningTor, TorSource

REACHED_SECONDS = 90.0


class Answering(Resource):
    """What is behind the onion service.

    :ivar status: what it answers.
    :ivar asked: what it was asked for.
    """

    isLeaf = True
    status = 204

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bytes] = []

    def render(self, request: Request) -> bytes:
        """Answer."""
        self.asked.append(request.uri)
        request.setResponseCode(self.status)
        return b""


class CanaryTests(TestCase):
    """An onion service, what is behind it, and what watches over it."""

    timeout = 300

    async def setUp(self) -> None:
        """Open the socket to which it leads."""
        self.directory = temporary_directory(self.addCleanup)
        self.key = OnionKey.generate()
        self.socket = self.directory / "onion.sock"
        self.behind = Answering()
        site = Site(self.behind)
        site.displayTracebacks = False
        port = await UNIXServerEndpoint(reactor, str(self.socket)).listen(site)
        self.addCleanup(port.stopListening)

    async def reach(self, source: TorSource) -> None:
        """It comes back when all is well; and does not, when what is behind does not answer as it should."""
        # Sooner than in real life; the first of all comes as soon as it does there.
        quick = Canary(
            reactor, ask_onion(reactor, self.key.address, "/ping?word"), chance=lambda least, most: least / 20
        )
        service = TorService(source, reactor, say=lambda line: None, canary=quick)
        up = service.when_up()
        service.startService()
        self.addCleanup(service.stopService)
        await up
        await self.until(service, "reachable")
        self.assertEqual({b"/ping?word"}, set(self.behind.asked))
        self.behind.status = 404
        await self.until(service, "doubtful")
        self.assertGreater(service.status.canary_failures, 0)
        self.behind.status = 204
        await self.until(service, "reachable")
        self.assertEqual(0, service.status.losses)

    async def until(self, service: TorService, state: str) -> None:
        """Wait until an operator sees that state."""
        await until(lambda: service.status.state == state, lambda: str(service.status), REACHED_SECONDS)

    def launched(self, clients: AuthorizedClients | None = None) -> TorSource:
        """A tor of our own."""
        tor = self.directory / "tor"
        return LaunchedTor(
            reactor,
            tor,
            private_network().tor_binary,
            onion=(self.key, self.socket),
            clients=clients,
            socks_socket=tor / "socks.sock",
            options=("HiddenServiceExportCircuitID none",),  # what is behind here knows HTTP alone
            hear=lambda line: None,
        )

    async def test_with_a_tor_of_our_own(self) -> None:
        """Through the SOCKS port of our own tor, also where nobody can reach us but clients: we let ourselves in."""
        clients = self.directory / "clients"
        clients.mkdir()
        (clients / "alice.auth").write_text(auth_line(ClientKey.generate().public))
        authorized = AuthorizedClients(clients, lambda line: None)
        authorized.load()
        await self.reach(self.launched(authorized))

    async def test_with_a_tor_that_runs(self) -> None:
        """Through the SOCKS port that a running tor has, and tells of."""
        host = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
        control = f"unix:{host.control}"
        onion: tuple[OnionKey, Path] = (self.key, self.socket)
        source = RunningTor(reactor, client_endpoint(reactor, control), control, onion=onion, hear=lambda line: None)
        await self.reach(source)
