"""The agent's settings: what can be configured, and what is told of what cannot be."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.settings import AGENT_CONFIG_OPTIONS, AGENT_OPTIONS, AgentSettings, read_agent_settings
from torfluxd.settings.agent import AGENT_FORM, gather_agent
from torfluxd.settings.agent_options import StatsdAddress, TorChoice, interface_of
from torfluxd.settings.config import NO_CONFIG, read_config
from torfluxd.settings.sample import sample_agent_config, written_agent_settings

ONION = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"
COMMENTED_KEY = re.compile(r"#([a-z_]+) = ")


def settings_of(text: str = "", environment: dict[str, str] | None = None, **flags: str | list[str]) -> AgentSettings:
    """The settings with a configuration file and flags, of which the onion address always is one."""
    given = {"onion": ONION, **{name.replace("_", "-"): value for name, value in flags.items()}}
    return read_agent_settings(given, environment or {}, read_config(text.encode(), "f.toml", AGENT_FORM))


class AgentCase(SynchronousTestCase):
    """Tests of the agent's settings."""

    def problems(self, text: str = "", **flags: str | list[str]) -> tuple[str, ...]:
        """All that is wrong."""
        error = self.assertRaises(SettingsError, settings_of, text, **flags)
        assert isinstance(error, SettingsError)
        return error.problems

    def assert_problem(self, saying: str, text: str = "", **flags: str | list[str]) -> None:
        """One thing is wrong, and it is told so."""
        (problem,) = self.problems(text, **flags)
        self.assertIn(saying, problem)


class SettingsTests(AgentCase):
    """What can be configured."""

    def test_defaults(self) -> None:
        """With an address and nothing else: InfluxDB's port on loopback, a minute, and whatever tor there is."""
        settings = settings_of()
        self.assertEqual((settings.onion, settings.listen), (f"http://{ONION}", ("tcp:8086:interface=127.0.0.1",)))
        self.assertEqual((settings.granularity, settings.interval, settings.tor), (60.0, 60.0, None))
        self.assertEqual((settings.statsd, settings.database, settings.influxdb_api), (None, None, Api.V1))
        self.assertEqual(settings.hosts, ("127.0.0.1",))

    def test_everything(self) -> None:
        """Everything can be said, on the command line, in the environment and in a file."""
        settings = settings_of(
            '[agent]\nstatsd = "udp"\ndatabase = "d"\ngranularity = "1h"\ninterval = "9s"\n',
            {"TORFLUXD_INTERVAL": "15m"},
            tor="socks:unix:/run/tor/socks",
            allow_host=["a", "fd00::1"],
            interval="20m",
        )
        self.assertEqual(settings.statsd, StatsdAddress("127.0.0.1", 8125))
        self.assertEqual((settings.granularity, settings.interval), (3600.0, 1200.0))
        self.assertEqual(settings.tor, TorChoice(socks="unix:/run/tor/socks"))
        self.assertEqual(settings_of(tor="launch", tor_binary="/t", client_key="k").client_key, Path("k"))
        self.assertEqual(settings.hosts[:2], ("a", "fd00::1"))
        remote = settings_of(
            listen=["tcp:1:interface=192.168.1.2", "tcp:2:interface=0.0.0.0"], listen_allow_remote="yes"
        )
        self.assertEqual(remote.hosts, ("192.168.1.2",))

    def test_url(self) -> None:
        """The gateway is an address, or a URL with it."""
        self.assertEqual(settings_of(onion=f"http://{ONION}:81/x").onion, f"http://{ONION}:81/x")

    def test_statsd(self) -> None:
        """Where statsd is heard: the usual port of loopback, or another."""
        for text, expected in (
            ("udp", StatsdAddress()),
            ("udp:9", StatsdAddress(port=9)),
            ("udp:9:interface=127.0.0.2", StatsdAddress("127.0.0.2", 9)),
            ("udp:interface=127.0.0.2", StatsdAddress("127.0.0.2")),
            (r"udp:9:interface=\:\:1", StatsdAddress("::1", 9)),
        ):
            self.assertEqual(settings_of(statsd=text, database="d").statsd, expected)
        for text in ("tcp:9", "udp:x", "udp:99999", "udp:9:interface=x", "udp:9:y=1", "udp:9:8", "127.0.0.1:8125", ""):
            self.assert_problem("--statsd: expected udp, udp:8125", statsd=text, database="d")

    def test_own_schema(self) -> None:
        """The file may hold the schema, too."""
        settings = settings_of('[schema.m]\nfields.v = "float"\n')
        self.assertEqual(set(settings.own_schema or {}), {"m"})


class ProblemTests(AgentCase):
    """What is told of settings that cannot be used."""

    def test_no_onion(self) -> None:
        """Without an address the first thing that is told is how to give one."""
        error = self.assertRaises(SettingsError, read_agent_settings, {}, {})
        self.assertIn("--onion ADDRESS", str(error))

    def test_each_alone(self) -> None:
        """Each option that cannot be read is told, with what was expected."""
        for name, value, saying in (
            ("onion", "example.com", "--onion: "),
            ("onion", "a" * 56 + ".onion", "--onion: "),
            ("onion", f"https://{ONION}", "--onion: expected http://; Tor encrypts"),
            ("onion", f"http://u:hunter2@{ONION}", "--onion: "),
            ("tor", "unix:/run/tor/control", "--tor: expected launch, or socks:"),
            ("tor", "socks:", "--tor: expected launch, or socks:"),
            ("granularity", "25h", "--granularity: expected a duration from 1ms to 24h"),
            ("granularity", "1us", "--granularity: expected a duration from 1ms"),
            ("interval", "x", "--interval: expected a duration"),
            ("spool-limit", "1MB", "--spool-limit: expected at least 16MiB"),
            ("influxdb-api", "v4", "--influxdb-api: expected v1, v2 or v3"),
            ("allow-host", ["a:80"], "--allow-host: expected the name or the address"),
            ("database", "\n", "--database: expected a name"),
        ):
            self.assert_problem(saying, **{name: value})

    def test_doors_that_others_reach(self) -> None:
        """An address that other machines can reach is refused, unless it is asked for by name."""
        for endpoint in (
            "tcp:8086",
            "tcp:8086:interface=0.0.0.0",
            "tcp:8086:interface=192.168.1.2",
            r"tcp6:8086:interface=\:\:",
            "ssl:8086:privateKey=x",
            "onion:80",
            "haproxy:tcp:8086:interface=127.0.0.1",
        ):
            self.assert_problem("--listen-allow-remote", listen=[endpoint])
            self.assertEqual(settings_of(listen=[endpoint], listen_allow_remote="yes").listen, (endpoint,))
        self.assert_problem("--listen-allow-remote", statsd="udp:1:interface=0.0.0.0", database="d")

    def test_doors_that_others_do_not_reach(self) -> None:
        """Loopback, a file, and what systemd hands over are fine."""
        for endpoint in (
            "tcp:8086:interface=127.0.0.1",
            "tcp:interface=localhost:port=8086",
            r"tcp6:8086:interface=\:\:1",
            r"tcp:8086:interface=[\:\:1]",
            "unix:/run/x:mode=660",
            "systemd:domain=INET:index=0",
        ):
            self.assertEqual(settings_of(listen=[endpoint]).listen, (endpoint,))

    def test_together(self) -> None:
        """What cannot stand together is told by the place where it was given."""
        self.assert_problem("--retention-policy: is one of a database", retention_policy="x")
        self.assert_problem("f.toml: agent.statsd: it names no database", '[agent]\nstatsd = "udp"\n')
        self.assert_problem("--tor-binary: is for a tor of our own", tor_binary="/t")
        self.assert_problem(
            "--client-key: a tor that runs is told by its torrc", tor="socks:tcp:127.0.0.1:9050", client_key="k"
        )
        self.assert_problem("--schema: there is a schema in", '[schema.m]\nfields.v = "float"\n', schema="s")

    def test_files(self) -> None:
        """A key that does not exist is told with the one that was meant, and tables of the gateway are none here."""
        self.assert_problem("did you mean agent.interval?", "[agent]\nintervall = 3\n")
        self.assert_problem("[agent]", "onion = 3\n")
        self.assert_problem("gateway: there is no such table", "[gateway]\n")
        self.assert_problem("torfluxd agent --sample-config lists them", "[agent]\nzzzz = 3\n")


class InterfaceTests(SynchronousTestCase):
    """On which address an endpoint listens."""

    def test_interfaces(self) -> None:
        """An address, all of them, or none."""
        for endpoint, expected in (
            ("tcp:1:interface=127.0.0.1", "127.0.0.1"),
            ("tcp:1", ""),
            ("unix:/x", None),
            ("something:1:interface=127.0.0.1", ""),
            ("tcp:1:interface=127.0.0.1:interface=0.0.0.0", "0.0.0.0"),
        ):
            self.assertEqual(interface_of(endpoint), expected)


class SampleTests(AgentCase):
    """`--sample-config`, and what `--check` prints."""

    def test_it_holds(self) -> None:
        """The sample changes nothing but what it is told: the address."""
        self.assertEqual(settings_of(sample_agent_config()), settings_of())

    def test_each_key_is_there(self) -> None:
        """Each option is there by its key: with its default, or behind # with an example that could be used."""
        table = tomllib.loads(sample_agent_config())["agent"]
        lines = sample_agent_config().splitlines()
        examples = {found[1]: line[1:] for line in lines if (found := COMMENTED_KEY.match(line))}
        for option in AGENT_OPTIONS:
            self.assertEqual(option.key in table, option.default is not None, option.name)
            if option.default is None:
                config = read_config(f"[agent]\n{examples[option.key]}".encode(), "f", AGENT_FORM)
                self.assertEqual((config.problems, set(config.given)), ((), {option.name}))
        for option in AGENT_CONFIG_OPTIONS:
            self.assertNotIn(f"{option.key} =", sample_agent_config())

    def test_each_key_is_explained(self) -> None:
        """Before each key stands what it means, and why its default is that."""
        sample = sample_agent_config().replace("\n# ", " ")
        for option in AGENT_OPTIONS:
            self.assertIn(option.help, sample)
            if option.default is not None and option.metavar is not None:
                self.assertTrue(option.reason, option.name)
                self.assertIn(f"Default: {option.default}. {option.reason}", sample)

    def test_what_holds(self) -> None:
        """The settings that hold are printed as a configuration, which means the same."""
        flags: dict[str, str | list[str]] = {"onion": ONION, "listen": ["unix:/a", "unix:/b"], "database": "d"}
        written = written_agent_settings(gather_agent(flags, {}, NO_CONFIG), None)
        config = read_config(written.encode(), "f", AGENT_FORM)
        self.assertEqual(read_agent_settings({}, {}, config), read_agent_settings(flags, {}))
        self.assertIn('database = "d"  # --database', written)
