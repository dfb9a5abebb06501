"""A tor is told who may reach a private onion service, and is given the key to one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.onion.hostile_control import OK, ControlPort
from torfluxd.errors import ControlReplyError, TorError
from torfluxd.onion.authorization import OwnAuthorization
from torfluxd.onion.authorized import LOOK_SECONDS, AuthorizedClients
from torfluxd.onion.client_key import ClientKey, PrivateLine, auth_line
from torfluxd.onion.key import OnionKey
from torfluxd.onion.process import find_tor
from torfluxd.onion.service import TorService
from torfluxd.onion.sources import LaunchedTor, OpenTor, RunningTor

KEY = OnionKey.generate()
UPLOADED = f"650 HS_DESC UPLOADED {KEY.address.name} UNKNOWN $AA~dir\r\n".encode()


class Directory:
    """A directory of clients, with Alice and Bob in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.heard: list[str] = []
        self.alice, self.bob = self.add("alice"), self.add("bob")
        self.clients = AuthorizedClients(path, self.heard.append)
        self.clients.load()

    def add(self, name: str) -> str:
        """Let a client in; its public key."""
        public = ClientKey.generate().public
        (self.path / f"{name}.auth").write_text(auth_line(public))
        return public

    def revoke(self, name: str) -> None:
        """Let it in no more."""
        (self.path / f"{name}.auth").unlink()


class RunningTorTests(SynchronousTestCase):
    """A running tor, which is ours to play."""

    def setUp(self) -> None:
        """It hosts a private onion service, and is up."""
        self.directory = Directory(Path(self.enterContext(TemporaryDirectory())) / "clients")
        self.clock = Clock()
        self.port = ControlPort()
        self.port.replies["DEL_ONION"] = OK
        self.said: list[str] = []
        source = RunningTor(
            self.clock,
            self.port,
            "unix:/run/tor/control",
            onion=(KEY, Path("/state/onion.sock")),
            clients=self.directory.clients,
            hear=self.said.append,
        )
        self.service = TorService(source, self.clock, say=self.said.append, retry_delay=lambda attempt: 1.0)

    def come_up(self) -> None:
        """Come up."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        self.port.say(UPLOADED)
        self.successResultOf(up)

    def look(self) -> None:
        """It is time to look at the directory."""
        self.clock.advance(LOOK_SECONDS)
        self.port.pump()

    def hosted(self) -> list[str]:
        """The commands about the onion service."""
        return [command for command in self.port.commands if "_ONION" in command.split()[0]]

    def assert_lets_in(self, command: str, *keys: str) -> None:
        """A command asks for an onion service that lets in these, and nobody else."""
        words = command.split()
        self.assertIn("Flags=DiscardPK,MaxStreamsCloseCircuit,V3Auth", words)
        asked = {word.partition("=")[2] for word in words if word.startswith("ClientAuthV3=")}
        self.assertEqual(asked, set(keys))

    def test_it_is_private_from_the_first_moment(self) -> None:
        """The onion service is added for its clients alone."""
        self.come_up()
        (command,) = self.hosted()
        self.assert_lets_in(command, self.directory.alice, self.directory.bob)

    def test_no_fallback_is_public(self) -> None:
        """A tor that knows no proof of work is asked for none, and never for an onion service that is public."""
        self.port.replies["ADD_ONION"] = lambda command: b"512 Unrecognized\r\n" if "PoW" in command else OK
        self.come_up()
        self.assertEqual(len(self.hosted()), 2)
        for command in self.hosted():
            self.assert_lets_in(command, self.directory.alice, self.directory.bob)

    def test_a_tor_that_cannot(self) -> None:
        """A tor that knows no client authorization is an error, and hosts nothing."""
        self.port.replies["ADD_ONION"] = b"512 Invalid 'Flags' argument\r\n"
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        self.failureResultOf(up, ControlReplyError)
        self.assertTrue(all("V3Auth" in command for command in self.hosted()))

    def test_nothing_is_done_without_a_change(self) -> None:
        """While the directory stays as it is, tor is left alone."""
        self.come_up()
        before = list(self.port.commands)
        for _ in range(3):
            self.look()
        self.assertEqual(self.port.commands, before)

    def test_revocation(self) -> None:
        """When a client is revoked the onion service is taken away and added again for the others, at once."""
        self.come_up()
        self.directory.revoke("bob")
        self.look()
        _, deleted, added = self.hosted()
        self.assertEqual(deleted, f"DEL_ONION {KEY.address.name}")
        self.assert_lets_in(added, self.directory.alice)

    def test_a_tor_that_does_not_do_so_is_let_go(self) -> None:
        """A tor that does not take the new clients is given up, and the onion service with it, until one does."""
        self.come_up()
        self.port.replies["DEL_ONION"] = b"551 Cannot take it away\r\n"
        self.directory.revoke("bob")
        self.look()
        self.assertTrue(self.port.transport.gone)
        self.clock.advance(1)
        self.port.pump()
        self.assert_lets_in(self.hosted()[-1], self.directory.alice)

    def test_who_is_revoked_while_tor_is_away(self) -> None:
        """Who is revoked while tor is away is not let in when it is back."""
        self.come_up()
        self.port.hang_up()
        self.directory.revoke("bob")
        self.clock.advance(1)
        self.port.pump()
        self.assert_lets_in(self.hosted()[-1], self.directory.alice)

    def test_who_is_revoked_before_it_is_published(self) -> None:
        """Who is revoked while the onion service is being published is out as soon as it is."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        self.directory.revoke("bob")
        self.port.say(UPLOADED)
        self.successResultOf(up)
        self.look()
        self.assert_lets_in(self.hosted()[-1], self.directory.alice)

    def test_it_stops_clean(self) -> None:
        """Stopping leaves no timer, also while tor is being told."""
        self.come_up()
        self.directory.revoke("bob")
        self.port.replies["DEL_ONION"] = None
        self.look()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class KeyTests(SynchronousTestCase):
    """A tor that holds a client's key."""

    def setUp(self) -> None:
        """It is ours to play."""
        self.clock = Clock()
        self.port = ControlPort()
        self.port.replies["ONION_CLIENT_AUTH_ADD"] = OK
        self.key = ClientKey.generate()
        self.said: list[str] = []
        source = RunningTor(
            self.clock,
            self.port,
            "unix:/run/tor/control",
            client_auth=PrivateLine(KEY.address, self.key),
            hear=self.said.append,
        )
        self.service = TorService(source, self.clock, say=self.said.append, retry_delay=lambda attempt: 1.0)
        self.addCleanup(self.service.stopService)

    def start(self) -> Deferred[None]:
        """Start."""
        up = self.service.when_up()
        self.service.startService()
        self.port.pump()
        return up

    def test_it_has_the_key_before_it_is_up(self) -> None:
        """Tor has the key before anybody is told that it is up, and the next tor has it, too."""
        self.successResultOf(self.start())
        self.port.hang_up()
        self.clock.advance(1)
        self.port.pump()
        added = [command for command in self.port.commands if command.startswith("ONION_CLIENT_AUTH_ADD")]
        self.assertEqual(added, [f"ONION_CLIENT_AUTH_ADD {KEY.address.name} {self.key.control_blob()}"] * 2)

    def test_it_keeps_the_key(self) -> None:
        """Tor forgets keys when somebody asks it for a new identity, and is given this one again."""
        self.successResultOf(self.start())
        for signal, count in (("RELOAD", 1), ("NEWNYM", 2)):
            self.port.say(f"650 SIGNAL {signal}\r\n".encode())
            self.port.pump()
            added = [command for command in self.port.commands if command.startswith("ONION_CLIENT_AUTH_ADD")]
            self.assertEqual(len(added), count)

    def test_no_error_shows_it(self) -> None:
        """However tor refuses it, repeats it or goes away, no error and no log has the key in it."""
        secret = self.key.control_blob().partition(":")[2]
        refusal = f"512 Failed to decode x25519:{secret}, {secret}\r\n".encode()
        for reply, kind in ((refusal, ControlReplyError), (None, TorError)):
            self.port.replies["ONION_CLIENT_AUTH_ADD"] = reply
            with capturedLogs() as events:
                up = self.start()
                if reply is None:
                    self.port.hang_up()
                failure = self.failureResultOf(up, kind)
            self.assertNotIn(secret[:8], failure.getTraceback() + str(self.said) + str(events))
            self.successResultOf(self.service.stopService())


class OwnTorTests(TestCase):
    """A tor of our own, for real, and offline."""

    def setUp(self) -> None:
        """Nothing runs yet."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.home = Path(temporary.name)
        self.directory = Directory(self.home / "clients")

    @property
    def written(self) -> list[str]:
        """What tor reads."""
        return sorted(path.read_text().strip() for path in self.tors.glob("*"))

    @property
    def tors(self) -> Path:
        """Where tor reads it."""
        return self.home / "tor" / "onion" / "authorized_clients"

    async def open(self, clients: AuthorizedClients | None) -> OpenTor:
        """Launch it."""
        source = LaunchedTor(
            reactor,
            self.home / "tor",
            find_tor(None),
            onion=(KEY, self.home / "onion.sock"),
            clients=clients,
            options=("DisableNetwork 1",),
            hear=self.directory.heard.append,
        )
        tor = await source.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(tor.close()))
        return tor

    async def test_tor_is_told(self) -> None:
        """Tor finds its clients in its own directory when it starts, for us alone, and finds no stranger among them;
        but there is the key with which the gateway tries whether it can be reached.
        """
        self.tors.mkdir(parents=True)
        (self.tors / "mallory.auth").write_text(auth_line(ClientKey.generate().public))
        tor = await self.open(self.directory.clients)
        own = self.directory.clients.own.public
        self.assertEqual(self.written, sorted(map(auth_line, (self.directory.alice, self.directory.bob, own))))
        self.assertEqual({path.stat().st_mode & 0o777 for path in self.tors.iterdir()}, {0o600})
        self.assertEqual(self.tors.stat().st_mode & 0o777, 0o700)
        self.assertEqual([words for words in self.directory.heard if "uthorized" in words], [])
        await tor.close()

    async def test_tor_is_told_again(self) -> None:
        """A tor that runs is told of a change, and reads its configuration anew."""
        tor = await self.open(self.directory.clients)
        reloads: list[str] = []
        await tor.control.listen("SIGNAL", reloads.append)
        told = OwnAuthorization(tor.control, self.tors.parent, self.directory.clients, self.directory.heard.append)
        self.directory.revoke("bob")
        self.assertTrue(self.directory.clients.look())
        await told.renew()
        own = self.directory.clients.own.public
        self.assertEqual(self.written, sorted(map(auth_line, (self.directory.alice, own))))
        await tor.control.command("GETINFO version")  # what tor did before, it has told of before
        self.assertEqual(reloads, ["RELOAD"])
        self.assertIn("restart torfluxd", self.directory.heard[-1])

    async def test_without_clients_it_is_public_again(self) -> None:
        """Without the option the onion service is public, whatever an earlier run has left."""
        await (await self.open(self.directory.clients)).close()
        await (await self.open(None)).close()
        self.assertEqual(self.written, [])
