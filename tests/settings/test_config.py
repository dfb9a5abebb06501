"""The configuration file: what it says, and what is told when it says it wrong."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.settings.configs import ConfigCase, settings_of
from torfluxd.errors import SettingsError
from torfluxd.settings import read_gateway_settings
from torfluxd.settings.config import CONFIG_LIMIT_BYTES, load_config, read_config

PIECES = [
    "[gateway]\n",
    "[rules]\n",
    "schema.",
    "a.",
    "tags.",
    "fields.",
    "unknown",
    "timeout",
    " = ",
    '"drop"',
    "1",
    "{}",
    "\n",
]
"""What a configuration is made of."""


class ReadConfigTests(ConfigCase):
    """What a file says."""

    def test_every_kind_of_value(self) -> None:
        """Texts, durations, sizes with and without unit, lists and booleans are written as TOML has them."""
        settings = settings_of(
            '[gateway]\ntimeout = "90s"\nspool_limit = 20000000\nmax_body_bytes = "1MiB"\nlisten = ["tcp:1", "tcp:2"]\n'
            "printkey = true\n[rules]\nmax_lines = 7\n"
        )
        self.assertEqual((settings.timeout, settings.spool_limit), (90.0, 20_000_000))
        self.assertEqual((settings.rules.max_body_bytes, settings.rules.max_lines), (1 << 20, 7))
        self.assertEqual((settings.listen, settings.printkey), (("tcp:1", "tcp:2"), True))

    def test_an_empty_file_says_nothing(self) -> None:
        """A file with nothing in it is as good as none."""
        self.assertEqual(settings_of(""), read_gateway_settings({}, {}))

    def test_precedence(self) -> None:
        """A flag wins over the environment, the environment over the file, the file over the default."""
        text = '[gateway]\ntimeout = "1m"\nlisten = ["tcp:1"]\n'
        environment = {"TORFLUXD_TIMEOUT": "2m", "TORFLUXD_LISTEN": "tcp:2"}
        self.assertEqual(settings_of(text).timeout, 60)
        self.assertEqual(settings_of(text, {}, environment).timeout, 120)
        self.assertEqual(settings_of(text, {"timeout": "3m"}, environment).timeout, 180)
        self.assertEqual(settings_of(text, {}, environment).listen, ("tcp:2",))
        self.assertEqual(settings_of(text, {"listen": ["tcp:3"]}).listen, ("tcp:3",))
        self.assertEqual(settings_of(text).spool_limit, 1 << 30)


class ConfigErrorTests(ConfigCase):
    """What is told of a file that cannot be used."""

    def test_a_wrong_value(self) -> None:
        """The key and the value are named, and what was expected."""
        for text, problem in (
            ('[gateway]\nmax_body_bytes = "lots"', "gateway.max_body_bytes: expected a number of bytes, got 'lots'"),
            ("[gateway]\nmax_body_bytes = true", "gateway.max_body_bytes: expected a number of bytes, got true"),
            ("[gateway]\nmax_body_bytes = 1.5", "gateway.max_body_bytes: expected a number of bytes, got 1.5"),
            ("[gateway]\nmax_body_bytes = 0", "gateway.max_body_bytes: expected a number of bytes, got '0'"),
            ("[rules]\nmax_lines = 1979-05-27", "rules.max_lines: expected a number of lines, got a date or a time"),
            ("[rules]\nmax_lines = -1", "rules.max_lines: expected a number of lines, got '-1'"),
            ('[rules]\nunknown = "keep"', "rules.unknown: expected refuse or drop, got 'keep'"),
            ("[gateway]\ntimeout = 90", 'gateway.timeout: expected a string such as "3m", got 90'),
            ('[gateway]\nlisten = "tcp:1"', "gateway.listen: expected a list of strings, got 'tcp:1'"),
            ("[gateway]\nlisten = [1]", "gateway.listen: expected a list of strings, got a list"),
            ('[gateway]\nprintkey = "yes"', "gateway.printkey: expected true or false, got 'yes'"),
            ("[gateway]\nexpose = {}", 'gateway.expose: expected a string such as "write", got a table'),
            ("gateway = 5", "gateway: expected a table, [gateway], got 5"),
        ):
            self.assert_problem(text, problem)

    def test_an_unknown_key(self) -> None:
        """A key that does not exist is an error, with the one that was probably meant."""
        for text, problem in (
            ("[gateway]\ntimeot = 1", "gateway.timeot: there is no such key; did you mean gateway.timeout?"),
            (
                '[gateway]\nspool-limit = "1GiB"',
                "gateway.spool-limit: there is no such key; did you mean gateway.spool_limit?",
            ),
            ("[gateway]\nmax_lines = 1", "gateway.max_lines: there is no such key here; did you mean rules.max_lines?"),
            ("[rules]\nmax_ages = 1", "rules.max_ages: there is no such key; did you mean rules.max_tags?"),
            ('[rules]\nmax_age = "1d"', "rules.max_age: there is no such key here; did you mean gateway.max_age?"),
            (
                "[gateway]\nwombat = 1",
                "gateway.wombat: there is no such key; torfluxd serve --sample-config lists them",
            ),
            ("[gatway]", "gatway: there is no such table; did you mean gateway?"),
            ('expose = "all"', "expose: stands outside the tables; put it under [gateway]"),
            (
                '[gateway]\nconfig = "x"',
                "gateway.config: there is no such key; torfluxd serve --sample-config lists them",
            ),
        ):
            self.assert_problem(text, problem)

    def test_no_toml(self) -> None:
        """What is no TOML is told with file, line and column, as compilers do."""
        for text, place in (
            ("[gateway]\nx = = 2", "f.toml:2:5: "),
            ("[gateway]\n\nexpose = all", "f.toml:3:10: "),
            ("[gateway", "f.toml:1:9: "),
            ("x = 1\nx = 2", "f.toml:2:6: "),
        ):
            (problem,) = self.problems(text)
            self.assertTrue(problem.startswith(place), problem)
        error = self.assertRaises(SettingsError, read_config, b"# \xc3\xa4\n# \xff", "f.toml")
        self.assertEqual(str(error), "f.toml:2:3: is not UTF-8, as TOML is")

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        """Everything wrong with a file, a variable and a flag is told in one go, one line each."""
        text = '[gateway]\ntimeout = "x"\nexpose = "y"\n[schema.a]\n'
        config = read_config(text.encode(), "f.toml")
        error = self.assertRaises(
            SettingsError, read_gateway_settings, {"spool-limit": "z"}, {"TORFLUXD_INFLUXDB_API": "w"}, config
        )
        assert isinstance(error, SettingsError)
        for name, problem in zip(
            ["f.toml: gateway.timeout:", "f.toml: gateway.expose:", "f.toml: schema.a.fields:"],
            error.problems,
            strict=False,
        ):
            self.assertTrue(problem.startswith(name), problem)
        self.assertEqual(
            [problem.partition(":")[0] for problem in error.problems[3:]], ["TORFLUXD_INFLUXDB_API", "--spool-limit"]
        )

    def test_what_cannot_stand_together(self) -> None:
        """Keys that exclude each other are told by the file and the key, not by a flag that nobody typed."""
        (problem,) = self.problems('[gateway]\ntor = "none"\n')
        self.assertTrue(problem.startswith("f.toml: gateway.tor none: nothing would be served"), problem)
        error = self.assertRaises(SettingsError, read_gateway_settings, {}, {"TORFLUXD_INFLUXDB_ORG": "o"})
        self.assertTrue(str(error).startswith("TORFLUXD_INFLUXDB_ORG: is for"), str(error))

    def test_a_value_is_not_repeated_at_any_length(self) -> None:
        """A value that was pasted by mistake is not shown whole, nor a password in an address at all."""
        (problem,) = self.problems(f'[gateway]\nmax_body_bytes = "{"x" * 5000}"')
        self.assertLess(len(problem), 200)
        self.assertNotIn("hunter2", self.problems('[gateway]\ninfluxdb = "http://u:hunter2@x"')[0])
        self.assertNotIn("hunter2", self.problems('[gateway]\ninfluxdb_password = "hunter2"')[0])

    def test_absurd_values(self) -> None:
        """Lists in lists without end, and numbers of thousands of digits, are an error and no traceback."""
        for text in ("[gateway]\nx = " + "[" * 100_000, "[rules]\nmax_lines = " + "9" * 5000):
            self.assertEqual(len(self.problems(text)), 1)
        self.assertIn("a very large number", self.problems("[gateway]\nexpose = " + "9" * 4000)[0])

    @given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
    def test_no_text_is_a_traceback(self, text: str) -> None:
        """Any text is a configuration or a clear error."""
        with contextlib.suppress(SettingsError):
            settings_of(text)


class LoadConfigTests(SynchronousTestCase):
    """Which file is read."""

    def setUp(self) -> None:
        """A directory for files."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)

    def written(self, name: str, text: str) -> str:
        """A file."""
        (self.directory / name).write_text(text)
        return str(self.directory / name)

    def test_no_file_is_named(self) -> None:
        """Without --config no file is looked for anywhere."""
        self.assertEqual(load_config({}, {}).given, {})

    def test_the_flag_wins(self) -> None:
        """--config names the file, else TORFLUXD_CONFIG does."""
        one = self.written("one", '[gateway]\ntimeout = "1m"')
        two = self.written("two", '[gateway]\ntimeout = "2m"')
        for flags, seconds in (({"config": one}, 60), ({}, 120)):
            config = load_config(flags, {"TORFLUXD_CONFIG": two})
            self.assertEqual(read_gateway_settings({}, {}, config).timeout, seconds)

    def test_a_file_that_cannot_be_read(self) -> None:
        """A file that is not there, or is none, is an error that says how it was named."""
        missing = str(self.directory / "none")
        for flags, environment, words in (
            ({"config": missing}, {}, f"--config: {missing} cannot be read (No such file or directory)"),
            ({}, {"TORFLUXD_CONFIG": missing}, f"TORFLUXD_CONFIG: {missing} cannot be read"),
            ({"config": str(self.directory)}, {}, "Is a directory"),
            ({"config": ""}, {}, "--config: expected a path"),
        ):
            self.assertIn(words, str(self.assertRaises(SettingsError, load_config, flags, environment)))

    def test_a_file_that_is_too_large(self) -> None:
        """A file that cannot be a configuration is not read into memory."""
        name = self.written("large", "")
        os.truncate(name, CONFIG_LIMIT_BYTES + 1)
        self.assertIn("larger than 4MiB", str(self.assertRaises(SettingsError, load_config, {"config": name}, {})))
