"""Where InfluxDB is: every form that a person may write, and a cure for those that do not work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.influx.url import InfluxdbUrl, parse_influxdb_url

SECRET = "hunter2"


class FormsTests(SynchronousTestCase):
    """All forms of the option `--influxdb` lead to the right place."""

    def check(self, text: str, origin: bytes, expected: InfluxdbUrl) -> None:
        """The text means this, and InfluxDB is told this name."""
        url = parse_influxdb_url(text)
        self.assertEqual(url, expected)
        self.assertEqual(url.origin, origin)

    def test_url(self) -> None:
        """A URL with host and port, as go-torfluxdb's default would be written."""
        self.check("http://127.0.0.1:8086", b"http://127.0.0.1:8086", InfluxdbUrl("127.0.0.1", 8086))

    def test_host_and_port(self) -> None:
        """`host:port`, as go-torfluxdb takes it."""
        self.check("Influx.Example:9999", b"http://influx.example:9999", InfluxdbUrl("influx.example", 9999))

    def test_host_alone(self) -> None:
        """A host alone means InfluxDB's port."""
        self.check("influx.example", b"http://influx.example:8086", InfluxdbUrl("influx.example", 8086))

    def test_url_without_port(self) -> None:
        """A URL without a port means the port that it means to everybody else."""
        self.check("http://influx.example/", b"http://influx.example", InfluxdbUrl("influx.example", 80))
        self.check("HTTPS://influx.example", b"https://influx.example", InfluxdbUrl("influx.example", 443, tls=True))

    def test_tls(self) -> None:
        """`https` speaks TLS, on any port."""
        self.check("https://db.example:80", b"https://db.example:80", InfluxdbUrl("db.example", 80, tls=True))

    def test_ipv6(self) -> None:
        """IPv6 addresses stand in brackets, with or without scheme and port."""
        self.check("[::1]:8086", b"http://[::1]:8086", InfluxdbUrl("::1", 8086))
        self.check("http://[::1]:9999/x", b"http://[::1]:9999", InfluxdbUrl("::1", 9999, prefix="/x"))
        self.check("[2001:DB8:0::1]", b"http://[2001:db8::1]:8086", InfluxdbUrl("2001:db8::1", 8086))

    def test_ipv6_zone(self) -> None:
        """A zone chooses the interface on this machine, and is not told to InfluxDB."""
        expected = InfluxdbUrl("fe80::1%eth0", 8086)
        self.check("[fe80::1%eth0]", b"http://[fe80::1]:8086", expected)
        self.check("http://[fe80::1%25eth0]:8086", b"http://[fe80::1]:8086", expected)

    def test_unix_socket(self) -> None:
        """A unix socket is named by its absolute path."""
        expected = InfluxdbUrl("localhost", 80, socket_path="/run/influxdb/influxdb.sock")
        self.check("unix:/run/influxdb/influxdb.sock", b"http://localhost", expected)
        self.check("unix:///run/influxdb/influxdb.sock", b"http://localhost", expected)

    def test_prefix(self) -> None:
        """A prefix stands before every path, and its trailing slash does not count."""
        for text in ("http://h:1/insert/0/influx", "h:1/insert/0/influx", "http://h:1/insert/0/influx/"):
            url = parse_influxdb_url(text)
            self.assertEqual(url.request_uri(b"/write?db=a%2Fb"), b"/insert/0/influx/write?db=a%2Fb")

    def test_no_prefix(self) -> None:
        """Without a prefix, a path stays what it is, byte for byte."""
        self.assertEqual(parse_influxdb_url("h/").request_uri(b"//x?;"), b"//x?;")


class RefusalTests(SynchronousTestCase):
    """What cannot work is refused in one sentence that says how it can."""

    def refusal(self, text: str) -> str:
        """The sentence by which a text is refused."""
        return str(self.assertRaises(SettingsError, parse_influxdb_url, text))

    def test_credentials(self) -> None:
        """Credentials are refused wherever they stand, and never repeated."""
        for text in (
            f"http://user:{SECRET}@h:8086",
            f"https://{SECRET}@h/p",
            f"user:{SECRET}@h:8086",
            f"{SECRET}@h",
            f"http://user:{SECRET}@[::1]:8086/?q=1",
        ):
            sentence = self.refusal(text)
            self.assertIn("holds credentials", sentence)
            self.assertNotIn(SECRET, sentence)

    def test_secrets_in_wrong_places(self) -> None:
        """A password in a place where no password belongs is not repeated either."""
        for text in (
            f"user:{SECRET}",
            f"htp://user:{SECRET}@h",
            f"http://user:{SECRET}/x@h",
            f"http://h/?u=w&p={SECRET}",
            f"[{SECRET}]",
            f"h:{SECRET}",
            f"{SECRET} @h",
            f"unix:{SECRET}",
        ):
            self.assertNotIn(SECRET, self.refusal(text))

    def test_query_and_fragment(self) -> None:
        """A query or a fragment has no meaning here."""
        for text in ("http://h/?db=x", "h:8086?db=x", "http://h#x", "http://h/p#x"):
            self.assertIn("query or a fragment", self.refusal(text))

    def test_scheme(self) -> None:
        """An unknown scheme is answered with those that exist."""
        self.assertIn("http://host:port", self.refusal("ftp://h"))

    def test_port(self) -> None:
        """A port is a number from 1 to 65535."""
        for port in ("", "0", "65536", "99999999999999999999", "http", "-1", "+1", "8_6"):
            self.assertIn("number from 1 to 65535", self.refusal(f"h:{port}"))

    def test_no_host(self) -> None:
        """There must be a host."""
        for text in ("", "http://", "http:///x", ":8086", "https://:443"):
            self.assertIn("has no host", self.refusal(text))

    def test_ipv6_without_brackets(self) -> None:
        """An IPv6 address without brackets could mean two things, and is answered with what to write."""
        for text in ("::1", "::1:8086", "http://fe80::1"):
            self.assertIn("write [::1]:8086", self.refusal(text))

    def test_not_ipv6(self) -> None:
        """Nothing but an IPv6 address stands in brackets."""
        for text in ("[127.0.0.1]", "[::1", "[]", "[::1]x:80", "[::1%]"):
            self.assertIn("not an IPv6 address", self.refusal(text))

    def test_host(self) -> None:
        """A host is a name or an address."""
        for text in ("a..b", "-x", "x-", "a,b", "a*", ".", "my_influx:8086", "x" * 64):
            self.assertIn("neither a name nor an address", self.refusal(text))

    def test_not_ascii(self) -> None:
        """A name that is not ASCII, a space and a line break are found before anybody looks them up."""
        for text in ("müller.example", "h :8086", "h\n", "h\x00", "unix:/a b"):
            self.assertIn("a space or a character outside ASCII", self.refusal(text))

    def test_path(self) -> None:
        """A prefix that could not stand in a request is refused."""
        for text in ("h/a%b", 'h/"', "h/<x>", "h/a\\b"):
            self.assertIn("in its path", self.refusal(text))

    def test_relative_socket(self) -> None:
        """The path of a unix socket is absolute, and names a file."""
        for text in ("unix:", "unix:influx.sock", "unix:/", "unix:/run/", "unix://run"):
            self.assertIn("absolute path", self.refusal(text))

    def test_long_socket(self) -> None:
        """A path that the kernel would refuse is refused at once; one byte less is fine."""
        self.assertEqual(parse_influxdb_url("unix:/" + "x" * 106).socket_path, "/" + "x" * 106)
        self.assertIn("108 bytes", self.refusal("unix:/" + "x" * 107))

    @given(st.text(st.characters(max_codepoint=0x17F)) | st.text("ht:/@[]%.1aunix?#", max_size=20))
    def test_anything(self, text: str) -> None:
        """Whatever a person writes is understood or refused, and what is understood can stand in a request."""
        try:
            url = parse_influxdb_url(text)
        except SettingsError:
            return
        self.assertRegex(url.origin + url.request_uri(b"/"), rb"\Ahttps?://[a-z0-9._:\[\]-]+(/[!-~]*)+\Z")
        self.assertNotIn(b"@", url.authority)


class WrittenTests(SynchronousTestCase):
    """A URL for people."""

    def test_it_is_written_as_it_is_read(self) -> None:
        """What the log says of InfluxDB's place can be given as `--influxdb` again."""
        for text in ("http://127.0.0.1:8086", "https://db.example/influx", "http://[::1]:8086", "unix:/run/influxdb"):
            self.assertEqual(text, str(parse_influxdb_url(text)))
