"""A schema out of a sample of line protocol."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.influx.lines import RandomLines
from tests.settings.configs import ConfigCase, settings_of
from torfluxd.influx.line import encode
from torfluxd.settings import FieldType, MeasurementSchema
from torfluxd.settings.suggest import FEW_VALUES, PIECE_BYTES, suggest


class SuggestTests(ConfigCase):
    """What is proposed."""

    def measurement(self, *lines: bytes, name: str = "m") -> MeasurementSchema:
        """What is proposed for a measurement, when it is read as a configuration."""
        schema = settings_of(suggest(b"\n".join(lines)).text).rules.schema
        assert schema is not None
        return schema[name]

    def test_measurements_tags_and_fields(self) -> None:
        """Each measurement has its table, with the tags and the types of the fields that the sample shows."""
        self.assertEqual(
            self.measurement(b'm,os=a f=1,g=1i,h="x",i=t 1', b"m,os=b,kind=c f=2 2", b"other f=1"),
            MeasurementSchema(
                {"kind": ("c",), "os": ("a", "b")},
                {
                    "f": FieldType("float"),
                    "g": FieldType("integer"),
                    "h": FieldType("string", 64),
                    "i": FieldType("boolean"),
                },
            ),
        )

    def test_few_values_are_listed(self) -> None:
        """A tag with few values is proposed with a list of them, one with many is free."""
        lines = [b"m,t=v%d f=1" % number for number in range(FEW_VALUES)]
        self.assertEqual(len(self.measurement(*lines).tags["t"]), FEW_VALUES)
        self.assertEqual(self.measurement(*lines, b"m,t=w f=1").tags["t"], "free")

    def test_versions_are_free(self) -> None:
        """Versions are free although they are few: the next release must not be written as `other`."""
        tags = self.measurement(b"m,v=2.1,release=buster,build=1.2.3.4 f=1").tags
        self.assertEqual(tags, {"v": "free", "release": "free", "build": "free"})

    def test_names_of_machines_and_people_are_dropped(self) -> None:
        """A tag is dropped for its name, or for one value that looks like an address or an id; and it says why."""
        for name in (
            "host",
            "HostName",
            "client_id",
            "deviceId",
            "user",
            "userName",
            "src-ip",
            "ipv4",
            "UUID",
            "id",
            "e mail",
        ):
            self.assertEqual(self.measurement(encode("m", {"f": 1}, {name: "x"})).tags, {name: "drop"}, name)
        for value in (
            "123e4567-e89b-12d3-a456-426614174000",
            "192.168.1.7",
            "10.0.0.1:8086",
            "fe80::1%eth0",
            "00:1A:2b:3c:4d:5e",
            "someone@example.org",
            "d41d8cd98f00b204e9800998ecf8427e",
        ):
            lines = (encode("m", {"f": 1}, {"t": text}) for text in ("x", value, "y"))
            self.assertEqual(self.measurement(*lines).tags, {"t": "drop"}, value)
        for name in ("os", "ghost", "zip", "shipping", "identity", "valid", "grid", "machinery"):
            self.assertEqual(self.measurement(encode("m", {"f": 1}, {name: "x"})).tags, {name: ("x",)}, name)
        self.assertIn('host = "drop"  # looks as if it names a machine', suggest(b"m,host=a f=1").text)

    def test_types_that_differ(self) -> None:
        """Whole numbers among floats are floats; what InfluxDB would not mix is told."""
        self.assertEqual(self.measurement(b"m f=1i", b"m f=2i", b"m f=2").fields, {"f": FieldType("float")})
        self.assertEqual(self.measurement(b"m f=1", b'm f="a"', b'm f="b"').fields, {"f": FieldType("string", 64)})
        self.assertIn("# also seen as float", suggest(b'm f=1\nm f="a"\nm f="b"').text)

    def test_strings_are_bounded(self) -> None:
        """A string's bound leaves room for twice the longest that was seen; one that names a person is remarked."""
        self.assertEqual(self.measurement(b'm f="%b"' % (b"x" * 100)).fields, {"f": FieldType("string", 256)})
        self.assertIn("think it over", suggest(b'm user="x"').text)

    def test_what_cannot_be_read_is_told(self) -> None:
        """Lines that cannot be read are told by their numbers and left out, however long the sample is."""
        suggestion = suggest(b"garbage\n" + b"m f=1\n" * (PIECE_BYTES // 3) + b"# comment\nm f=\n")
        self.assertEqual(suggestion.bad[0].reason, "missing fields")
        self.assertEqual([bad.number for bad in suggestion.bad], [1, PIECE_BYTES // 3 + 3])
        self.assertEqual(suggestion.lines, PIECE_BYTES // 3)
        self.assertIn("2 lines could not be read", suggestion.text)

    def test_nothing_to_read(self) -> None:
        """Where there is no line protocol, nothing is proposed."""
        for sample in (b"", b"\n\n", b"# x\n", b"hello world\n", b"\xff\xfe\x00"):
            self.assertEqual(suggest(sample).text, "", sample)

    def test_names_that_no_schema_can_hold(self) -> None:
        """What no schema can hold is left out, and that is told."""
        suggestion = suggest(b"a\\b f=1\nm,a\\b=x f=1\n")
        self.assertEqual(set(settings_of(suggestion.text).rules.schema or {}), {"m"})
        self.assertIn("A measurement is left out", suggestion.text)
        self.assertIn("1 name of tags or fields left out", suggestion.text)

    @given(st.binary() | st.integers().map(lambda seed: b"\n".join(RandomLines(seed).line() for _ in range(50))))
    def test_it_can_be_used_as_it_is(self, sample: bytes) -> None:
        """Whatever the sample is, what is proposed is a configuration that can be used."""
        settings_of(suggest(sample).text)
