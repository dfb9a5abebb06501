"""Configurations to be read, and what is told of those that cannot be used."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.settings import GatewaySettings, read_gateway_settings
from torfluxd.settings.config import read_config

__all__ = ["ConfigCase", "settings_of"]


def settings_of(
    text: str, flags: dict[str, str | list[str]] | None = None, environment: dict[str, str] | None = None
) -> GatewaySettings:
    """The settings with a configuration file."""
    return read_gateway_settings(flags or {}, environment or {}, read_config(text.encode(), "f.toml"))


class ConfigCase(SynchronousTestCase):
    """Tests of configurations."""

    def problems(self, text: str) -> tuple[str, ...]:
        """All that is wrong with a file."""
        error = self.assertRaises(SettingsError, settings_of, text)
        assert isinstance(error, SettingsError)
        return error.problems

    def assert_problem(self, text: str, problem: str) -> None:
        """Exactly this is wrong with a file."""
        self.assertEqual(self.problems(text), (f"f.toml: {problem}",))
