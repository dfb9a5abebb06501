"""How far tor has come, and why it does not get further."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion.bootstrap import Bootstrap, likely_cause, read_bootstrap, read_clock_skew

WARNING = (
    'WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting to a relay" WARNING="Connection refused"'
    ' REASON=CONNECTREFUSED COUNT=3 RECOMMENDATION=warn HOSTID="AA" HOSTADDR="127.0.0.1:5000"'
)


class ReadBootstrapTests(SynchronousTestCase):
    """Tor's words, read."""

    def test_a_step_is_read(self) -> None:
        """A step's percent and summary are read, from an event and from GETINFO's reply."""
        step = Bootstrap(45, "Asking for relay descriptors")
        text = 'NOTICE BOOTSTRAP PROGRESS=45 TAG=requesting_descriptors SUMMARY="Asking for relay descriptors"'
        self.assertEqual(step, read_bootstrap(text))
        self.assertEqual(step, read_bootstrap("status/bootstrap-phase=" + text))

    def test_a_warning_is_read(self) -> None:
        """What is in the way is read with its code."""
        self.assertEqual(
            Bootstrap(5, "Connecting to a relay", "Connection refused", "CONNECTREFUSED"), read_bootstrap(WARNING)
        )

    def test_only_a_hundred_percent_is_joined(self) -> None:
        """Tor has joined its network at 100 %, and not before."""
        self.assertTrue(Bootstrap(100, "Done").joined)
        self.assertFalse(Bootstrap(99, "Nearly").joined)

    def test_a_step_reads_well(self) -> None:
        """A step is told as a person would write it."""
        self.assertEqual(" 45 % Asking", str(Bootstrap(45, "Asking")))

    @given(st.text())
    def test_anything_else_is_passed_over(self, text: str) -> None:
        """Whatever tor says beside it is no step, and no error."""
        self.assertIsNone(read_bootstrap("NOTICE CIRCUIT_ESTABLISHED " + text.replace("BOOTSTRAP", "")))

    def test_a_step_without_a_number_is_passed_over(self) -> None:
        """A step whose percent is no number is no step."""
        self.assertIsNone(read_bootstrap("NOTICE BOOTSTRAP PROGRESS=many"))

    def test_the_clocks_skew_is_read(self) -> None:
        """By how much tor finds the clock wrong is read, and nothing else is taken for it."""
        self.assertEqual(-3600, read_clock_skew("WARN CLOCK_SKEW SKEW=-3600 SOURCE=DIRSERV:127.0.0.1:1"))
        self.assertIsNone(read_clock_skew("NOTICE CLOCK_JUMPED TIME=5"))


class LikelyCauseTests(SynchronousTestCase):
    """One sentence for a tired operator."""

    def test_each_place_where_it_stops_has_its_cause(self) -> None:
        """The sentence says where tor stopped, and what is probably in the way."""
        for latest, words in (
            (None, "not even begun"),
            (Bootstrap(0, "Starting"), "is this machine online"),
            (read_bootstrap(WARNING), "Connection refused"),
            (Bootstrap(50, "Loading relay descriptors"), "not the network's directory"),
            (Bootstrap(90, "Handshake finished"), "builds no circuit"),
        ):
            self.assertIn(words, likely_cause(latest))
            if latest is not None:
                self.assertIn(f"{latest.progress} %", likely_cause(latest))

    def test_a_wrong_clock_comes_first(self) -> None:
        """A wrong clock is named before all else, whether tor tells it as an event or as a warning."""
        self.assertIn("clock of this machine seems wrong by about 3600 s", likely_cause(Bootstrap(10, "x"), -3600))
        self.assertIn("clock", likely_cause(Bootstrap(10, "x", "Clock skew in consensus", "")))
