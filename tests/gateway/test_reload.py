"""What a gateway takes of a changed configuration at once, and what it tells to need a restart."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve, fields
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzzing.arena import Arena, Door, Said
from tests.gateway.strangers import request
from torfluxd.errors import SettingsError
from torfluxd.gateway.reload import AT_ONCE, OF_THE_START, need_restart
from torfluxd.gateway.rules import LineRules
from torfluxd.influx.api import Api
from torfluxd.influx.credential import Credential, CredentialOptions
from torfluxd.settings import GatewaySettings, read_gateway_settings


def settings(**flags: str) -> GatewaySettings:
    """Settings, as these flags make them."""
    return read_gateway_settings({name.replace("_", "-"): value for name, value in flags.items()}, {})


class RestartTests(SynchronousTestCase):
    """What needs a restart."""

    def test_nothing(self) -> None:
        """Nothing, when nothing has changed, or rules and credential alone."""
        self.assertEqual([], need_restart(settings(), settings()))
        self.assertEqual([], need_restart(settings(), settings(max_age="1d", influxdb_token_file="/t", timeout="1m")))

    def test_the_rest(self) -> None:
        """Whatever else has changed is told by the name of its option."""
        changed = settings(spool_limit="20MiB", tor_binary="/usr/bin/tor", admin="unix:/run/a")
        self.assertEqual({"--spool-limit", "--tor-binary", "--admin"}, set(need_restart(settings(), changed)))

    def test_every_setting_is_one_or_the_other(self) -> None:
        """A setting that is new is told to need a restart, until somebody has it change at once."""
        names = {each.name for each in fields(GatewaySettings)}
        self.assertLessEqual(AT_ONCE | OF_THE_START, names)
        for name in names - AT_ONCE - OF_THE_START:
            changed = evolve(settings(), **{name: object()})
            self.assertEqual([f"--{name.replace('_', '-')}"], list(need_restart(settings(), changed)))


class RulesTests(SynchronousTestCase):
    """Rules that change while strangers are served."""

    def setUp(self) -> None:
        """A gateway in memory, with few names allowed."""
        self.rules = LineRules(max_age_seconds=7e9, max_ahead_seconds=7e9, max_measurements=2)
        self.arena = Arena(self.rules)
        self.addCleanup(self.arena.close)

    def write(self, lines: bytes, database: bytes = b"telemetry", agent: bytes = b"") -> int:
        """The status of a write."""
        data = request(lines, target=b"/write?db=" + database, headers=agent)
        (status,) = self.arena.send(data, Door.HTTP, Said.STORED).statuses
        return status

    def test_databases(self) -> None:
        """A database is taken away, and another is given, although the heads of requests are remembered."""
        agent = b"User-Agent: influxdb-client\r\n"
        self.assertEqual((204, 204), (self.write(b"m v=1 1", b"one", agent), self.write(b"m v=1 1", b"one", agent)))
        self.arena.site.use(evolve(self.rules, databases=("two",)))
        self.assertEqual((404, 204), (self.write(b"m v=1 1", b"one", agent), self.write(b"m v=1 1", b"two", agent)))

    def test_sizes(self) -> None:
        """A body that was small enough is too large at once."""
        self.assertEqual(204, self.write(b"m v=1 1\nm v=2 2"))
        self.arena.site.use(evolve(self.rules, max_lines=1))
        self.assertEqual(413, self.write(b"m v=1 1\nm v=2 2"))

    def test_names_go_on_to_count(self) -> None:
        """A reload is no way to get more names into InfluxDB than the rules allow; other rules may allow more."""
        self.assertEqual((204, 204, 400), (self.write(b"a v=1 1"), self.write(b"b v=1 1"), self.write(b"c v=1 1")))
        self.arena.site.use(evolve(self.rules, max_lines=10))
        self.assertEqual((204, 400), (self.write(b"a v=1 1"), self.write(b"c v=1 1")))
        self.arena.site.use(evolve(self.rules, max_measurements=3))
        self.assertEqual((204, 400), (self.write(b"c v=1 1"), self.write(b"d v=1 1")))


class CredentialTests(SynchronousTestCase):
    """A credential that changes."""

    def test_it_changes_whole_or_not_at_all(self) -> None:
        """Another token is used at once; one that cannot be used leaves the old one as it was."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        path = Path(temporary.name) / "token"
        path.touch(0o600)
        path.write_text("first")
        credential = Credential(CredentialOptions(), Api.V1, {}, Clock())
        credential.load()
        self.assertEqual((), tuple(credential.headers))
        credential.change(CredentialOptions(token_file=path))
        first = credential.headers
        self.assertIn(b"first", first[0][1])
        self.assertRaises(SettingsError, credential.change, CredentialOptions(token_file=path.with_name("none")))
        self.assertEqual((first, str(path)), (credential.headers, credential.place.rpartition(" ")[2]))
        credential.change(CredentialOptions())
        self.assertEqual((), tuple(credential.headers))
