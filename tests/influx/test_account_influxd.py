"""Batches are let into a real influxd that asks for a user and a password."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.ssl import Certificate
from twisted.internet.task import Clock

from tests.influx.test_upstream_influxd import BATCH, LINES, InfluxdCase
from tests.influxd import start_influxd
from torfluxd.boundaries import Answer, Batch, Destination, Fate
from torfluxd.gateway.writes import Writes
from torfluxd.influx.account import Account
from torfluxd.influx.api import Api
from torfluxd.influx.credential import AGAIN_SECONDS, Credential, CredentialOptions
from torfluxd.influx.dialect import Write
from torfluxd.influx.dialect_v1 import V1
from torfluxd.influx.post import AgentPoster
from torfluxd.influx.upstream import HttpUpstream
from torfluxd.influx.url import parse_influxdb_url


class AccountTests(InfluxdCase):
    """An influxd that asks for a user and a password."""

    def setUp(self) -> None:
        """Start it, with an administrator, and a user who may write."""
        self.influxd = start_influxd(self, "auth-enabled = true")
        self.influxd.query("CREATE USER admin WITH PASSWORD 'a' WITH ALL PRIVILEGES")
        self.influxd.login = ("admin", "a")
        self.influxd.create_database("telemetry")
        self.influxd.query("CREATE USER w WITH PASSWORD 'old'; GRANT WRITE ON telemetry TO w")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.password = Path(directory.name) / "password"
        self.password.touch(0o600)
        self.password.write_text("old\n")

    def upstream(self, address: str = "", trust_root: Certificate | None = None) -> HttpUpstream:
        """An upstream that writes as this user."""
        self.clock = Clock()
        credential = Credential(CredentialOptions(None, "w", self.password), Api.V1, {}, self.clock)
        credential.load()
        poster = AgentPoster(self.agent(self.influxd.url), parse_influxdb_url(self.influxd.url), reactor)
        return HttpUpstream(poster, account=Account(credential))

    async def test_credential(self) -> None:
        """The vendor's credential lets writes in; without it nothing is lost, only postponed."""
        await self.assert_stores(self.upstream())
        url = parse_influxdb_url(self.influxd.url)
        reply = await HttpUpstream(AgentPoster(self.agent(self.influxd.url), url, reactor)).send(BATCH)
        self.assertEqual((reply.fate, reply.status), (Fate.POSTPONE, 401))

    async def test_not_allowed(self) -> None:
        """A database to which the vendor's user may not write postpones, too."""
        self.influxd.create_database("other")
        reply = await self.upstream().send(Batch(Destination("other"), LINES, 2))
        self.assertEqual((reply.fate, reply.status), (Fate.POSTPONE, 403))
        self.assertIn("may not write there", reply.reason)

    async def test_rotated(self) -> None:
        """A password that is changed, first there and then in the file, needs no restart."""
        upstream = self.upstream()
        self.influxd.query("SET PASSWORD FOR w = 'new'")
        self.assertEqual((await upstream.send(BATCH)).fate, Fate.POSTPONE)
        self.password.write_text("new\n")
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual((await upstream.send(BATCH)).fate, Fate.POSTPONE)
        await self.assert_stores(upstream)

    async def test_stranger(self) -> None:
        """A stranger's own credential is not looked at: the vendor's goes in its place."""
        writes = Writes(self.upstream(), reactor)
        asked = V1.read_write(b"db=telemetry&u=admin&p=wrong")
        assert isinstance(asked, Write)
        self.assertEqual(await writes.write(asked, b"cpu load=1 1", None, "a writer"), Answer(204))
