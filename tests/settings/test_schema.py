"""The schema in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile

from twisted.trial.unittest import SynchronousTestCase

from tests.settings.configs import ConfigCase, settings_of
from torfluxd.errors import SettingsError
from torfluxd.settings import FieldType, MeasurementSchema, load_schema

WHOLE = """\
[schema.backup]
unknown = "drop"
[schema.backup.tags]
version = "free"
os = ["linux", "macos", "linux"]
"host name" = "drop"
channel = { values = ["stable", "beta"], epsilon = 1.5 }
[schema.backup.fields]
seconds = "float"
files = "integer"
bytes = "unsigned"
ok = "boolean"
error = { type = "string", max_bytes = 200 }
note = "string"
load = { type = "float", round = 0.1 }
visits = { type = "integer", round = 10 }
"""


class SchemaTests(ConfigCase):
    """`[schema.MEASUREMENT]`."""

    def test_a_whole_schema(self) -> None:
        """Tags are free, enumerated or dropped; fields have a type; a measurement says what becomes of the rest."""
        self.assertEqual(
            settings_of(WHOLE).rules.schema,
            {
                "backup": MeasurementSchema(
                    {"version": "free", "os": ("linux", "macos"), "host name": "drop", "channel": ("stable", "beta")},
                    {
                        "seconds": FieldType("float"),
                        "files": FieldType("integer"),
                        "bytes": FieldType("unsigned"),
                        "ok": FieldType("boolean"),
                        "error": FieldType("string", 200),
                        "note": FieldType("string"),
                        "load": FieldType("float", round=0.1),
                        "visits": FieldType("integer", round=10),
                    },
                    "drop",
                    {"channel": 1.5},
                )
            },
        )

    def test_no_schema(self) -> None:
        """Without one table of it there is no schema, which is not the same as one that allows nothing."""
        self.assertIsNone(settings_of("[rules]\nmax_lines = 1").rules.schema)

    def test_what_becomes_of_the_unknown(self) -> None:
        """rules.unknown holds for measurements, and for the tags and fields of those that say nothing else."""
        text = '[schema.a.fields]\nf = "float"\n[schema.b]\nunknown = "refuse"\nfields.f = "float"\n'
        rules = settings_of(f'[rules]\nunknown = "drop"\n{text}').rules
        assert rules.schema is not None
        self.assertEqual(
            (rules.unknown, rules.schema["a"].unknown, rules.schema["b"].unknown), ("drop", "drop", "refuse")
        )
        self.assertEqual(settings_of(text).rules.unknown, "refuse")

    def test_what_is_wrong_is_told_by_its_key(self) -> None:
        """A rule that is none, a type that is none, a name that cannot be one: each is told by its whole key."""
        types = "float, integer, unsigned, string or boolean"
        field = 'fields.f = "float"\n'
        for text, problem in (
            ("[schema]", "schema: expected a table for each measurement, such as [schema.backup]"),
            ("schema = 1", "schema: expected a table for each measurement, such as [schema.backup]"),
            ("schema.a = 1", "schema.a: expected a table, [schema.a], got 1"),
            ("[schema.a]", "schema.a.fields: expected at least one field; InfluxDB stores no point without"),
            ("[schema.a]\nfields = 1", "schema.a.fields: expected a table, [schema.a.fields], got 1"),
            ('[schema.a]\nfields.f = "flot"', f"schema.a.fields.f: expected {types}, got 'flot'"),
            ("[schema.a]\nfields.f = { }", f"schema.a.fields.f: expected a type beside it: {types}"),
            ("[schema.a]\nfields.f = { type = 1 }", f"schema.a.fields.f.type: expected {types}, got 1"),
            (
                '[schema.a]\nfields.f = { type = "string", max_byte = 1 }',
                "schema.a.fields.f.max_byte: there is no such key; did you mean max_bytes?",
            ),
            (
                '[schema.a]\nfields.f = { type = "string", max_bytes = "x" }',
                "schema.a.fields.f.max_bytes: expected a number of bytes, got 'x'",
            ),
            (
                '[schema.a]\nfields.f = { type = "float", max_bytes = 1 }',
                "schema.a.fields.f.max_bytes: expected no such bound but for a string, got 1",
            ),
            (f"[schema.a]\n{field}tag.x = 'free'", "schema.a.tag: there is no such key; did you mean tags?"),
            (f"[schema.a]\n{field}tags = []", "schema.a.tags: expected a table, [schema.a.tags], got a list"),
            (
                f"[schema.a]\n{field}tags.x = []",
                'schema.a.tags.x: expected "free", "drop" or a list of the values it may have, got a list',
            ),
            (f"[schema.a]\n{field}tags.x = ['']", "schema.a.tags.x: the value '' is empty"),
            (
                f"[schema.a]\n{field}tags.x = ['fre']\ntags.y = 'fre'",
                'schema.a.tags.y: expected "free", "drop" or a list of the values it may have, got \'fre\'',
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ epsilon = 1.0 }}",
                "schema.a.tags.x: expected values beside it: a list of those it may have",
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ values = 'a' }}",
                "schema.a.tags.x.values: expected a list of the values it may have, got 'a'",
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ values = ['a'], epsilon = 0 }}",
                "schema.a.tags.x.epsilon: expected a number from 0.01 to 20, got 0",
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ values = ['a'], epsilon = true }}",
                "schema.a.tags.x.epsilon: expected a number from 0.01 to 20, got true",
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ values = ['a'], epsilom = 1 }}",
                "schema.a.tags.x.epsilom: there is no such key; did you mean epsilon?",
            ),
            (
                f"[schema.a]\n{field}tags.x = {{ values = [] }}",
                'schema.a.tags.x: expected "free", "drop" or a list of the values it may have, got a list',
            ),
            (
                '[schema.a]\nfields.f = { type = "float", round = 0 }',
                "schema.a.fields.f.round: expected a number above 0, got 0",
            ),
            (
                '[schema.a]\nfields.f = { type = "integer", round = 0.5 }',
                "schema.a.fields.f.round: expected a whole number above 0, got 0.5",
            ),
            (
                '[schema.a]\nfields.f = { type = "string", round = 1 }',
                "schema.a.fields.f.round: expected none but for a number, got 1",
            ),
            (f"[schema.a]\n{field}unknown = 1", "schema.a.unknown: expected refuse or drop, got 1"),
            (f"[schema.a]\n{field}unknown = []", "schema.a.unknown: expected refuse or drop, got a list"),
            (f'[schema."#a"]\n{field}', 'schema."#a": this name begins with #, which makes the line a comment'),
            (f'[schema.""]\n{field}', 'schema."": this name is empty'),
            (f'[schema."a\\n"]\n{field}', 'schema."a\\n": this name has a control character in it'),
            (
                f"[schema.a]\n{field}tags.time = 'free'",
                "schema.a.tags.time: this name is the one that InfluxDB has for the time of a point",
            ),
            (
                f"[schema.a]\n{field}tags.'a\\b' = 'free'",
                'schema.a.tags."a\\\\b": this name has a backslash in it, which does not mean the same to all readers'
                " of line protocol",
            ),
        ):
            self.assert_problem(text, problem)


class RulesTests(ConfigCase):
    """Rules that have a flag, too."""

    def test_databases(self) -> None:
        """Databases are an allow-list; with a retention policy there is one, and everything goes there."""
        rules = settings_of("", {"database": ["a", "b", "a"]}).rules
        self.assertEqual((rules.databases, rules.database, rules.retention_policy), (("a", "b"), None, None))
        rules = settings_of('[gateway]\ndatabase = ["a"]\nretention_policy = "weeks"').rules
        self.assertEqual((rules.databases, rules.database, rules.retention_policy), (("a",), "a", "weeks"))
        self.assertEqual(settings_of("").rules.databases, ())

    def test_a_retention_policy_is_of_one_database(self) -> None:
        """A retention policy without a database, or with two, is refused."""
        for names in ("[]", '["a", "b"]'):
            self.assert_problem(
                f'[gateway]\nretention_policy = "weeks"\ndatabase = {names}',
                "gateway.retention_policy: belongs to one database; name that with --database NAME, and no other",
            )

    def test_the_window_holds_what_a_reporter_keeps(self) -> None:
        """The oldest point that a reporter keeps, 90 days and a day's granularity, is not refused for its age, and
        neither is one whose granularity and clock put it ahead; and all days between fit into one write.
        """
        rules = settings_of("").rules
        day = 86_400
        self.assertGreater(rules.max_age_seconds, 90 * day + day)
        self.assertGreater(rules.max_ahead_seconds, day)
        self.assertGreater(rules.max_shard_days_per_body, (rules.max_age_seconds + rules.max_ahead_seconds) / day + 1)
        self.assertGreaterEqual(rules.max_shard_days_per_writer, rules.max_shard_days_per_body)

    def test_durations_in_days(self) -> None:
        """Ages are written in days."""
        self.assertEqual(settings_of("", {"max-age": "90d"}).rules.max_age_seconds, 90 * 86_400)


class LoadSchemaTests(SynchronousTestCase):
    """The same file, for a reporter."""

    def load(self, text: str) -> Mapping[str, MeasurementSchema]:
        """The schema in a file."""
        with NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            return load_schema(Path(file.name))

    def problem(self, text: str) -> str:
        """What is wrong with a file."""
        return str(self.assertRaises(SettingsError, self.load, text))

    def test_the_gateways_file(self) -> None:
        """A reporter takes the schema out of the vendor's own configuration, with all that stands there besides."""
        text = f'[gateway]\ndatabase = ["a"]\n[rules]\nmax_lines = 1\n{WHOLE}'
        self.assertEqual(self.load(text), settings_of(text).rules.schema)

    def test_no_schema(self) -> None:
        """A file without a schema would let everything out: it is refused, and so is one with a mistake, or none."""
        self.assertIn("has no schema", self.problem("[rules]\nmax_lines = 1"))
        self.assertIn("schema.a.fields.f: expected", self.problem('[schema.a]\nfields.f = "flot"'))
        self.assertIn("cannot be read", str(self.assertRaises(SettingsError, load_schema, Path("/nowhere.toml"))))
