"""What a person configured: settings, or an error that names the option and the cure."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.credential import CredentialOptions
from torfluxd.settings import GATEWAY_OPTIONS, Expose, read_gateway_settings


class GatewaySettingsTests(SynchronousTestCase):
    """The gateway's settings."""

    def refusal(self, flags: dict[str, str | list[str]], environment: dict[str, str] | None = None) -> str:
        """The error for these."""
        return str(self.assertRaises(SettingsError, read_gateway_settings, flags, environment or {}))

    def test_nothing_need_be_given(self) -> None:
        """The defaults are a tor of our own, InfluxDB on this machine, write-only, three minutes."""
        settings = read_gateway_settings({}, {})
        self.assertTrue(settings.launches_tor)
        self.assertTrue(settings.has_onion)
        self.assertEqual(
            (Expose.WRITE, 180.0, (), False), (settings.expose, settings.timeout, settings.listen, settings.printkey)
        )

    def test_a_flag_wins_over_the_environment(self) -> None:
        """A flag wins over its environment variable, which wins over the default."""
        environment = {"TORFLUXD_TIMEOUT": "5m", "TORFLUXD_STATE_DIR": "/s", "TORFLUXD_LISTEN": "tcp:1"}
        self.assertEqual(300, read_gateway_settings({}, environment).timeout)
        self.assertEqual(60, read_gateway_settings({"timeout": "1m"}, environment).timeout)
        self.assertEqual(Path("/s"), read_gateway_settings({}, environment).state_dir)
        self.assertEqual(("tcp:1",), read_gateway_settings({"listen": []}, environment).listen)
        self.assertEqual(("tcp:2", "tcp:3"), read_gateway_settings({"listen": ["tcp:2", "tcp:3"]}, environment).listen)

    def test_an_error_names_what_is_wrong(self) -> None:
        """An error names the option, or the variable from which the value came."""
        self.assertIn("--timeout: expected a duration like 90s", self.refusal({"timeout": "banana"}))
        self.assertIn("TORFLUXD_TIMEOUT: expected a duration", self.refusal({}, {"TORFLUXD_TIMEOUT": "banana"}))
        self.assertIn("--expose: expected write or all, got 'some'", self.refusal({"expose": "some"}))
        self.assertIn("--influxdb: ", self.refusal({"influxdb": "ftp://x"}))
        self.assertIn("TORFLUXD_PRINTKEY: expected yes or no", self.refusal({}, {"TORFLUXD_PRINTKEY": "perhaps"}))

    def test_an_empty_value_is_an_error(self) -> None:
        """An option that is given with nothing in it is an error, not the default."""
        for option in GATEWAY_OPTIONS:
            if option.metavar is not None and not option.repeatable:
                self.assertIn(f"--{option.name}: ", self.refusal({option.name: ""}))

    def test_options_that_exclude_each_other_are_refused(self) -> None:
        """Options that cannot work together are refused with the cure, instead of one being passed over."""
        self.assertIn("--listen", self.refusal({"tor": "none"}))
        self.assertIn("--tor-binary", self.refusal({"tor": "unix:/run/tor/control", "tor-binary": "/usr/bin/tor"}))
        self.assertIn("--tor-option", self.refusal({"tor": "unix:/run/tor/control", "tor-option": ["UseBridges 1"]}))
        self.assertIn("--onion-socket", self.refusal({"onion-socket": "/run/x"}))

    def test_apis(self) -> None:
        """InfluxDB is 1.x unless something else is said; 2.x, and nothing else, has an organisation."""
        self.assertEqual(read_gateway_settings({}, {}).influxdb_api, Api.V1)
        settings = read_gateway_settings({"influxdb-api": "v2", "influxdb-org": "vendor"}, {})
        self.assertEqual((settings.influxdb_api, settings.influxdb_org), (Api.V2, "vendor"))
        self.assertEqual(read_gateway_settings({"influxdb-api": "v3"}, {}).influxdb_api, Api.V3)
        self.assertIn("--influxdb-api: expected v1, v2 or v3", self.refusal({"influxdb-api": "2"}))
        self.assertIn("--influxdb-org ORG", self.refusal({"influxdb-api": "v2"}))
        for api in ("v1", "v3"):
            self.assertIn("--influxdb-org: ", self.refusal({"influxdb-api": api, "influxdb-org": "x"}))

    def test_credentials(self) -> None:
        """A token, or a user with a password: what is half or doubled is refused with the cure."""
        token = {"influxdb-token-file": "/t"}
        password = {"influxdb-user": "w", "influxdb-password-file": "/p"}
        self.assertEqual(read_gateway_settings(token, {}).credential_options, CredentialOptions(Path("/t")))
        self.assertEqual(
            read_gateway_settings(password, {}).credential_options, CredentialOptions(None, "w", Path("/p"))
        )
        self.assertIn("--influxdb-user: a token needs neither", self.refusal({**token, "influxdb-user": "w"}))
        self.assertIn("--influxdb-token-file", self.refusal({**token, "influxdb-password-file": "/p"}))
        self.assertIn("add --influxdb-user NAME", self.refusal({"influxdb-password-file": "/p"}))
        v2 = {"influxdb-api": "v2", "influxdb-org": "o"}
        self.assertIn("use --influxdb-token-file FILE", self.refusal({**password, **v2}))
        for name in ("a:b", "a\nb", " "):
            self.assertIn("--influxdb-user: expected a name", self.refusal({"influxdb-user": name}))

    def test_spool_limit(self) -> None:
        """The spool holds 1 GiB unless another size is said, of at least 16 MiB."""
        self.assertEqual(read_gateway_settings({}, {}).spool_limit, 1 << 30)
        self.assertEqual(read_gateway_settings({"spool-limit": "16MiB"}, {}).spool_limit, 16 << 20)
        self.assertIn("--spool-limit: expected at least 16MiB", self.refusal({"spool-limit": "16MB"}))
        self.assertIn("--spool-limit: expected a size", self.refusal({"spool-limit": "big"}))

    def test_workers(self) -> None:
        """There is one worker unless more are asked for, and the spool must have room for each of them."""
        self.assertEqual(read_gateway_settings({}, {}).workers, 1)
        self.assertEqual(read_gateway_settings({"workers": "4"}, {}).workers, 4)
        for text in ("0", "-1", "two", "65", "1.5"):
            self.assertIn("--workers: expected ", self.refusal({"workers": text}))
        refusal = self.refusal({"workers": "4", "spool-limit": "32MiB"})
        self.assertIn("--spool-limit: is divided among --workers 4; make it at least 64MiB", refusal)

    def test_onionbalance(self) -> None:
        """The common address must be one; and what cannot stand beside it is refused with the cure."""
        address = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
        settings = read_gateway_settings({"onionbalance": address}, {})
        self.assertEqual(str(settings.onionbalance), address)
        self.assertIn("--onionbalance: ", self.refusal({"onionbalance": "example.com"}))
        self.assertIn("a tor of our own", self.refusal({"onionbalance": address, "tor": "tcp:127.0.0.1:9051"}))
        beside = self.refusal({"onionbalance": address, "authorized-clients": "/etc/clients"})
        self.assertIn("--authorized-clients: Onionbalance cannot read", beside)
