"""Configurations that are printed: the sample, and the settings that hold."""

from __future__ import annotations

import re
import tomllib

from tests.settings.configs import ConfigCase, settings_of
from torfluxd.settings import CONFIG_OPTIONS, GATEWAY_OPTIONS, RULE_OPTIONS, read_gateway_settings
from torfluxd.settings.config import NO_CONFIG, Config, read_config
from torfluxd.settings.gateway import gather
from torfluxd.settings.option import Given
from torfluxd.settings.sample import sample_config, written_settings

COMMENTED_KEY = re.compile(r"#([a-z_]+) = ")


class SampleTests(ConfigCase):
    """`--sample-config`."""

    def test_it_holds_as_it_is(self) -> None:
        """The sample is a configuration, and changes nothing: it is what holds without one."""
        self.assertEqual(settings_of(sample_config()), read_gateway_settings({}, {}))

    def test_each_key_is_there(self) -> None:
        """Each option is there by its key: with its default, or behind # with an example that could be used."""
        tables = tomllib.loads(sample_config())
        examples = {found[1]: line[1:] for line in sample_config().splitlines() if (found := COMMENTED_KEY.match(line))}
        for title, options in (("gateway", GATEWAY_OPTIONS), ("rules", RULE_OPTIONS)):
            for option in options:
                self.assertEqual(option.key in tables[title], option.default is not None, option.name)
                if option.default is None:
                    config = read_config(f"[{title}]\n{examples[option.key]}".encode(), "f")
                    self.assertEqual((config.problems, set(config.given)), ((), {option.name}))

    def test_each_key_is_explained(self) -> None:
        """Before each key stands what it means; a number has its unit, and what bounds something says why so much."""
        sample = sample_config().replace("\n# ", " ")
        for option in (*GATEWAY_OPTIONS, *RULE_OPTIONS):
            self.assertIn(option.help, sample)
            if option.unit:
                self.assertIn(f"Unit: {option.unit}.", sample)
            if option.unit or option.name in ("timeout", "max-age", "max-ahead", "unknown"):
                self.assertTrue(option.reason, option.name)
                self.assertIn(f"Default: {option.default}. {option.reason}", sample)

    def test_what_stands_in_no_file(self) -> None:
        """Options about the file itself are not in it."""
        self.assertEqual({option.name for option in CONFIG_OPTIONS}, {"config", "check", "sample-config"})
        for option in CONFIG_OPTIONS:
            self.assertNotIn(f"{option.key} =", sample_config())

    def test_the_schema(self) -> None:
        """The example of a schema is one, when its # are taken away."""
        sample = sample_config()
        head, _, schema = sample.partition("#[schema.")
        whole = head + "[schema." + schema.replace("\n#", "\n")
        self.assertEqual(set(settings_of(whole).rules.schema or {}), {"backup"})


class WrittenSettingsTests(ConfigCase):
    """What `--check` prints."""

    def written(self, flags: dict[str, str | list[str]], environment: dict[str, str], config: Config) -> str:
        """It."""
        return written_settings(gather(flags, environment, config), config.schema)

    def test_it_is_a_configuration(self) -> None:
        """The settings that hold are printed as a configuration, which means the same."""
        text = (
            '[gateway]\nlisten = ["tcp:1"]\nspool_limit = 20000000\n[rules]\nmax_tags = 9\n[schema."a b"]\n'
            'tags."x y" = ["1", "\\u00e9"]\ntags.z = "drop"\nfields.f = { type = "string", max_bytes = 9 }\n'
            'tags.v = { values = ["a"], epsilon = 0.5 }\nfields.g = { type = "float", round = 2.5 }\n'
        )
        flags: dict[str, str | list[str]] = {"timeout": "5m", "database": ["a", "b"]}
        environment = {"TORFLUXD_EXPOSE": "all"}
        written = self.written(flags, environment, read_config(text.encode(), "f"))
        self.assertEqual(settings_of(written), settings_of(text, flags, environment))

    def test_it_says_where_each_was_given(self) -> None:
        """Behind each setting stands the flag, the variable, or the file and the key; or that it is the default."""
        config = Config({"timeout": Given(("2m",), "/etc/f\n.toml: gateway.timeout")})
        written = self.written({"expose": "all"}, {"TORFLUXD_TOR_BINARY": "/t"}, config)
        for line in (
            'expose = "all"  # --expose',
            'tor_binary = "/t"  # TORFLUXD_TOR_BINARY',
            'timeout = "2m"  # /etc/f?.toml: gateway.timeout',
            'spool_limit = "1GiB"  # default',
            "#onion_key is not given",
        ):
            self.assertIn(line, written.splitlines())

    def test_it_holds_no_secrets(self) -> None:
        """Passwords in lines for tor, and a private key in an endpoint, are not shown."""
        flags: dict[str, str | list[str]] = {
            "tor-option": ["Socks5ProxyPassword hunter2", "UseBridges 1"],
            "listen": ["onion:80:privateKey=RSA1024\\:hunter2:version=3"],
        }
        written = self.written(flags, {}, NO_CONFIG)
        self.assertNotIn("hunter2", written)
        self.assertIn('tor_option = ["Socks5ProxyPassword …", "UseBridges …"]', written)
        self.assertIn('listen = ["onion:80:privateKey=…:version=3"]', written)
