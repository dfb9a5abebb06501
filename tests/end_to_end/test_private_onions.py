"""A gateway that only its clients can reach, in a real Tor network: let in, revoked, and nobody else notices."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from treq.client import HTTPClient
from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, clientFromString
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.end_to_end.incidents import tor_process_of, until
from tests.end_to_end.programs import ClientTor, Gateway, client_tor, temporary_directory
from tests.influxd import start_influxd
from tests.private_network import private_network
from torfluxd.errors import SocksOnionClientAuthMissingError, SocksOnionClientAuthWrongError
from torfluxd.onion.address import parse_onion_address
from torfluxd.onion.authorization import hand_over
from torfluxd.onion.client_key import ClientKey, PrivateLine, auth_line
from torfluxd.onion.client_keyfile import new_client_key_file
from torfluxd.onion.control import ControlConnection, connect_control
from torfluxd.onion.key import OnionKey
from torfluxd.onion.keyfile import write_key_file
from torfluxd.onion.onion_agent import OnionAgent
from torfluxd.onion.socks import Isolation
from torfluxd.reporter.reporter import Reporter
from torfluxd.reporter.tor_socks import TorSocks

POLL_SECONDS = 0.1
SETTLE_SECONDS = 0.5
"""After which no introduction is on its way any more to where the onion service was."""

GIVE_UP_SECONDS = 20.0
"""After which a client tries again: an introduction on its way to a tor that has just ended is answered by nobody."""

TRIES = 3
"""How often somebody tries who remembers where the onion service was, until his tor looks where it is now."""

TOLD_SECONDS = 30.0
"""In which a gateway notices, and tor publishes: some seven on an idle machine."""


class Client:
    """Somebody with a tor of his own, and perhaps a key."""

    def __init__(self, tor: ClientTor, control: ControlConnection, url: str) -> None:
        self.tor = tor
        self.control = control
        self._target = f"{url}/write?db=telemetry"
        self._proxy = clientFromString(reactor, tor.endpoint)
        self._kept = OnionAgent(reactor, self._proxy, shared_isolation=Isolation.fresh())

    async def write(self, *, on_new_circuit: bool) -> None:
        """Write one line, on a circuit of its own, or on the connection that is open."""
        agent = OnionAgent(reactor, self._proxy) if on_new_circuit else self._kept
        line = f"m v=1 {time.time_ns()}".encode()
        response = await HTTPClient(agent).post(self._target, data=line, allow_redirects=False, reactor=reactor)
        assert response.code == 204, response.code
        await response.content()

    async def forget(self) -> None:
        """Have his tor forget what it has fetched, as it does by itself within a day, and the keys it was handed."""
        await self.control.command("SIGNAL NEWNYM")

    def end(self) -> Deferred[None]:
        """Close what is open."""
        self.control.close()
        return self._kept.close()


class PrivateOnionCase(TestCase):
    """A private gateway whose clients are Alice and Bob."""

    def setUp(self) -> None:
        """Begin with what it needs."""
        self.directory = temporary_directory(self.addCleanup)
        self.influxd = start_influxd(self)
        self.influxd.create_database("telemetry")
        self.onion_key, self.keys = OnionKey.generate(), {name: ClientKey.generate() for name in ("alice", "bob")}
        write_key_file(self.directory / "onion.key", self.onion_key)
        self.clients = self.directory / "clients"
        self.clients.mkdir()
        for name, key in self.keys.items():
            self.let_in(name, key)

    def let_in(self, name: str, key: ClientKey) -> None:
        """Give the gateway a client's public key."""
        (self.clients / f"{name}.auth").write_text(auth_line(key.public))

    def start(self, *options: str) -> Gateway:
        """Start a gateway, and wait until it is published."""
        own = ("--onion-key", str(self.directory / "onion.key"), "--authorized-clients", str(self.clients))
        gateway = Gateway(self.addCleanup, self.directory / "state", self.influxd.url, *own, *options)
        return gateway.wait_published()

    async def client(self, tor: ClientTor, key: ClientKey | None) -> Client:
        """Somebody with this tor, and this key."""
        tor.wait_for("Bootstrapped 100%")
        control = await connect_control(UNIXClientEndpoint(reactor, str(tor.control)), reactor, "a client's tor")
        if key is not None:
            await hand_over(control, PrivateLine(self.onion_key.address, key))
        client = Client(tor, control, f"http://{self.onion_key.address}")
        self.addCleanup(client.end)
        return client

    async def only_clients_get_in(self) -> tuple[Client, Client, Client]:
        """Alice and Bob write; a stranger cannot find the onion service, whatever key he holds."""
        tors = [ClientTor(self.addCleanup, temporary_directory(self.addCleanup)) for _ in range(3)]
        alice, bob = [await self.client(tor, self.keys[name]) for tor, name in zip(tors, self.keys, strict=False)]
        for client in (alice, bob):
            for on_new_circuit in (True, False):
                await client.write(on_new_circuit=on_new_circuit)
        stranger = await self.client(tors[2], None)
        await self.assert_kept_out(stranger, SocksOnionClientAuthMissingError)
        await hand_over(stranger.control, PrivateLine(self.onion_key.address, ClientKey.generate()))
        await self.assert_kept_out(stranger, SocksOnionClientAuthWrongError)
        return alice, bob, stranger

    async def assert_kept_out(self, client: Client, kind: type[Exception]) -> None:
        """He cannot read where the onion service is."""
        await self.assertFailure(Deferred.fromCoroutine(client.write(on_new_circuit=True)), kind)

    async def assert_kept_out_from_memory(self, client: Client, kind: type[Exception]) -> None:
        """Where the onion service was is of no use to him, and where it is he cannot read; he never comes in."""
        for _ in range(TRIES):
            attempt = Deferred.fromCoroutine(client.write(on_new_circuit=True))
            try:
                await attempt.addTimeout(GIVE_UP_SECONDS, reactor)
            except kind:
                return
            except defer.TimeoutError:
                continue
            self.fail("who was revoked came in")
        self.fail(f"he was not told {kind.__name__} in {TRIES} tries")

    async def write_until(self, client: Client, gateway: Gateway, words: str, *, on_new_circuits: bool) -> None:
        """Have a client write until the gateway says so: on the open connection, and on new circuits, too, or after."""
        deadline = time.monotonic() + TOLD_SECONDS
        while words not in gateway.log:
            self.assertLess(time.monotonic(), deadline, gateway.log)
            await client.write(on_new_circuit=False)
            if on_new_circuits:
                await client.write(on_new_circuit=True)
            await deferLater(reactor, POLL_SECONDS)
        for on_new_circuit in (False, True, False, True):
            await deferLater(reactor, SETTLE_SECONDS)
            await client.write(on_new_circuit=on_new_circuit)

    async def report(self, socks: TorSocks, key_file: Path, owner: Client | None = None) -> None:
        """A reporter with a key delivers; also when the tor's owner has had it forget all it knew."""
        reporter = Reporter(
            f"http://{self.onion_key.address}", "telemetry", socks=socks, client_key=key_file, reactor=reactor
        )
        reporter.startService()
        try:
            reporter.record("reported", {"v": 1})
            self.assertTrue(await reporter.flush())
            if owner is not None:
                await owner.forget()
                reporter.record("reported", {"v": 2})
                self.assertTrue(await reporter.flush())
        finally:
            await reporter.stopService()


class OwnTorTests(PrivateOnionCase):
    """With a tor of the gateway's own."""

    async def test_clients_come_and_go(self) -> None:
        """Only clients find the gateway; one that is revoked finds it no more, one that is added does, and another
        one's writes go on meanwhile, on open connections and on new circuits. Who remembers where it was comes in no
        more once there is another tor.
        """
        gateway = self.start("--tor-binary", str(private_network().tor_binary))
        alice, bob, stranger = await self.only_clients_get_in()
        (self.clients / "bob.auth").unlink()
        await self.write_until(alice, gateway, "1 revoked", on_new_circuits=True)
        await stranger.forget()
        await hand_over(stranger.control, PrivateLine(self.onion_key.address, self.keys["bob"]))
        await self.assert_kept_out(stranger, SocksOnionClientAuthWrongError)

        path = self.directory / "carol.auth_private"
        self.let_in("carol", new_client_key_file(path, parse_onion_address(gateway.hostname)))
        await self.write_until(alice, gateway, "1 added", on_new_circuits=True)
        await self.report(TorSocks.launched(self.directory / "tor", str(private_network().tor_binary)), path)
        self.assertEqual(self.influxd.count("telemetry", "reported"), 1)
        for secret in (*self.keys, "carol", auth_line(self.keys["bob"].public)):
            self.assertNotIn(secret, gateway.log)
        await self.begin_anew(gateway)
        await self.assert_kept_out_from_memory(bob, SocksOnionClientAuthWrongError)

    async def begin_anew(self, gateway: Gateway) -> None:
        """End the gateway's tor, and wait until there is another: then what clients remember of it is of no use."""
        published = gateway.log.count("published: ")
        pid = tor_process_of(gateway.state)
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        await until(lambda: gateway.log.count("published: ") > published, lambda: gateway.log, TOLD_SECONDS)


class RunningTorTests(PrivateOnionCase):
    """With a tor that runs."""

    async def test_clients_come_and_go(self) -> None:
        """The same, but new circuits may have to wait; and who is revoked does not come in with what his tor remembers
        either.
        """
        host = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
        gateway = self.start("--tor", f"unix:{host.control}")
        alice, bob, stranger = await self.only_clients_get_in()
        (self.clients / "bob.auth").unlink()
        await self.write_until(alice, gateway, "1 revoked", on_new_circuits=False)
        await self.assert_kept_out(bob, SocksOnionClientAuthWrongError)

        path = self.directory / "carol.auth_private"
        self.let_in("carol", new_client_key_file(path, self.onion_key.address))
        await self.write_until(alice, gateway, "1 added", on_new_circuits=False)
        await self.report(TorSocks.running(f"unix:{stranger.tor.control}", stranger.tor.endpoint), path, stranger)
        self.assertEqual(self.influxd.count("telemetry", "reported"), 2)
