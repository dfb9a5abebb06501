"""Where a running tor takes streams, read out of what it says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import clientFromString
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion.listeners import read_listeners


class ListenersTests(SynchronousTestCase):
    """From tor's answer to endpoints."""

    def test_as_tor_says_it(self) -> None:
        """Sockets and ports of this machine are endpoints, sockets first, whose files alone say who may use them."""
        said = 'net/listeners/socks="127.0.0.1:9050" "[::1]:9050" "0.0.0.0:9150" "unix:/run/tor/socks"'
        self.assertEqual(
            ["unix:/run/tor/socks", "tcp:127.0.0.1:9050", r"tcp:\:\:1:9050", "tcp:127.0.0.1:9150"], read_listeners(said)
        )

    def test_a_path_may_hold_anything(self) -> None:
        """A path with blanks, colons and quotation marks is what it was."""
        self.assertEqual(
            [r'unix:/run/a b\:c\=d\\e"f'], read_listeners(r'net/listeners/socks="unix:/run/a b:c=d\\e\"f"')
        )

    def test_nobody_elses(self) -> None:
        """Nothing that is not on this machine, and nothing that is no place at all."""
        for said in (
            '"203.0.113.1:9050"',
            '"tor.example:9050"',
            '"unix:socks"',
            '"127.0.0.1:0"',
            '"127.0.0.1"',
            '""',
            "",
        ):
            self.assertEqual([], read_listeners(f"net/listeners/socks={said}"))

    @given(st.text(alphabet='"\\:=[].0123456789unix/ a', max_size=60))
    def test_whatever_it_says(self, said: str) -> None:
        """Whatever it says, what is read out of it is an endpoint that Twisted takes."""
        for each in read_listeners(said):
            clientFromString(None, each)
