"""What a person configured: settings, or an error that names the option and the cure."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
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
