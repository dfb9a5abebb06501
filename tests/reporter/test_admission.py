"""Who may speak to the agent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Answer
from torfluxd.reporter.admission import NO_HOST, NOT_FOR_PAGES, STRANGE_HOST, Admission, Asked, read_target

ONION = "j54s5euecfxlr2s6vxzqmomihehaydeajmthfexaq7zbfkrwokukvdqd.onion"


class AdmissionTests(SynchronousTestCase):
    """Who is let in."""

    def setUp(self) -> None:
        """A door that is known by another name, too."""
        self.admission = Admission(["Telemetry.lan", "[fd00::1]"], ONION)

    def refusal(
        self, host: str | None = "127.0.0.1:8086", uri: str = "/write", http11: bool = True, **headers: str
    ) -> Answer | None:
        """What whoever sends such headers hears."""
        sent = {name.replace("_", "-").encode(): [value.encode()] for name, value in headers.items()}
        if host is not None:
            sent[b"host"] = [host.encode()]
        asked = read_target(uri.encode())
        assert asked is not None
        return self.admission.refusal(asked, sent, http11=http11)

    def test_loopback(self) -> None:
        """A program on this machine is let in, by whatever name it knows this machine."""
        for host in (
            "127.0.0.1:8086",
            "127.0.0.1",
            "127.8.9.1:1",
            "localhost:8086",
            "LOCALHOST",
            "[::1]:8086",
            "[::1]",
        ):
            self.assertIsNone(self.refusal(host), host)
        self.assertIsNone(self.refusal("influxdb.localhost:8086"))

    def test_configured(self) -> None:
        """So is one that uses a name which the operator has allowed, with any port."""
        for host in ("telemetry.lan:8086", "TELEMETRY.LAN", "[fd00::1]:8086"):
            self.assertIsNone(self.refusal(host), host)

    def test_another_name(self) -> None:
        """A page whose name was made to lead here (DNS rebinding) is not, nor anything that looks like this machine."""
        for host in (
            "evil.example",
            "evil.example:8086",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1:8086:8086",
            "127.0.0.1@evil.example",
            "0.0.0.0:8086",
            "192.168.1.1",
            "[::]:8086",
            "",
            ONION,
            "\u0661\u0662\u0667.0.0.1",
        ):
            self.assertEqual(self.refusal(host), STRANGE_HOST, host)

    def test_pages(self) -> None:
        """A page in a browser is refused by what its browser says of it, whichever page it is."""
        for name, value in (
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8086"),
            ("referer", "http://evil.example/"),
            ("sec_fetch_site", "cross-site"),
            ("sec_fetch_site", "same-site"),
            ("sec_fetch_site", "same-origin"),
            ("access_control_request_method", "POST"),
        ):
            self.assertEqual(self.refusal(**{name: value}), NOT_FOR_PAGES, (name, value))

    def test_typed(self) -> None:
        """What a person types into the address line of a browser is answered."""
        self.assertIsNone(self.refusal(sec_fetch_site="none"))

    def test_no_host(self) -> None:
        """Without Host only HTTP/1.0 is understood; with two nothing is."""
        self.assertEqual(self.refusal(None), NO_HOST)
        self.assertIsNone(self.refusal(None, http11=False))
        two = {b"host": [b"127.0.0.1", b"127.0.0.1"]}
        self.assertEqual(self.admission.refusal(Asked(b"/write"), two, http11=True), NO_HOST)

    def test_proxied(self) -> None:
        """A client that takes the agent for its proxy may ask for the vendor's gateway, and for nobody else."""
        self.assertIsNone(self.refusal(ONION, f"http://{ONION}/write?db=a"))
        self.assertIsNone(self.refusal(f"{ONION}:80", f"HTTP://{ONION.upper()}:80/write?db=a"))
        self.assertIsNone(self.refusal("127.0.0.1:8086", "http://127.0.0.1:8086/write"))
        self.assertEqual(self.refusal("evil.example", "http://evil.example/write"), STRANGE_HOST)
        self.assertEqual(self.refusal("evil.example", f"http://{ONION}/write"), STRANGE_HOST)
        self.assertEqual(self.refusal("127.0.0.1", "http://evil.example/write"), STRANGE_HOST)

    def test_no_gateway_of_that_name(self) -> None:
        """Where no gateway is known, an empty name is not it."""
        self.assertEqual(Admission().refusal(Asked(b"/", b""), {b"host": [b""]}, http11=True), STRANGE_HOST)

    @given(st.binary(max_size=40))
    def test_any_host(self, host: bytes) -> None:
        """Whatever stands in Host, there is an answer."""
        self.assertIn(self.admission.refusal(Asked(b"/"), {b"host": [host]}, http11=True), (None, STRANGE_HOST))


class TargetTests(SynchronousTestCase):
    """What is asked for."""

    def test_targets(self) -> None:
        """A path is one as it is; a whole URL is taken apart, and its path stays as it was written."""
        for uri, expected in (
            (b"/write?db=a", Asked(b"/write?db=a")),
            (b"/http://x/write", Asked(b"/http://x/write")),
            (b"http://host:80/write?db=a/b", Asked(b"/write?db=a/b", b"host:80")),
            (b"HTTP://host", Asked(b"/", b"host")),
        ):
            self.assertEqual(read_target(uri), expected)

    def test_others(self) -> None:
        """Nothing else is a target: no tunnel, no other scheme, no asterisk."""
        for uri in (b"*", b"127.0.0.1:8086", b"https://host/write", b"http://", b"", b"write"):
            self.assertIsNone(read_target(uri))
