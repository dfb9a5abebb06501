"""One gateway at a glance: when it is ready, and what it is doing."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.overview import onion_problems, overview
from torfluxd.onion.status import TorStatus
from torfluxd.ops.figures import Figures
from torfluxd.ops.status import Status

PUBLISHED = TorStatus("published", 100, descriptor_uploaded_at=940.0, canary_succeeded_at=970.0, losses=2)
WELL = Figures(processes=1, influxdb_up=1.0, spool_open=1.0)
STATES = (
    *("stopped", "opening", "joining", "publishing", "published", "reachable", "doubtful", "closing", "waiting"),
    *("stopping", "restarting"),
)


def see(tor: TorStatus | None = PUBLISHED, figures: Figures = WELL, problems: tuple[str, ...] = ()) -> Status:
    """A glance at a gateway that was started at 100, at 1000."""
    return overview(figures, problems, tor, "abc.onion", 100.0, 1000.0)


class ReadyTests(SynchronousTestCase):
    """When strangers can reach us, and what they write is taken."""

    def test_all_is_well(self) -> None:
        """A gateway that is published, and takes writes, is ready."""
        status = see()
        self.assertEqual((True, "http://abc.onion", "published"), (status.is_ready, status.onion, status.state))
        self.assertEqual(1.0, status.figures.ready)

    def test_an_outage_that_is_spooled(self) -> None:
        """While InfluxDB is away and the spool keeps what comes, it is ready, and says what it does."""
        status = see(figures=WELL + Figures(influxdb_up=0.0, spool_points=7))
        self.assertTrue(status.is_ready)
        self.assertEqual("published, InfluxDB takes no writes, 7 points wait in the spool", status.state)

    def test_before_tor(self) -> None:
        """Before the onion service is published it is not ready, and says how far tor is."""
        status = see(TorStatus("joining", 45))
        self.assertFalse(status.is_ready)
        self.assertIn("45 %", status.problems[0])
        self.assertEqual((0.0, 0.0, 45), (
            status.figures.ready, status.figures.onion_published, status.figures.tor_bootstrap_percent,
        ))  # fmt: skip

    def test_nothing_is_taken(self) -> None:
        """While nothing that strangers write is taken it is not ready, published or not."""
        self.assertEqual(("why",), see(problems=("why",)).problems)
        self.assertEqual(2, len(see(TorStatus("waiting"), problems=("why",)).problems))

    def test_without_tor(self) -> None:
        """Without an onion service, none is missing."""
        status = see(None)
        self.assertEqual((True, "", "serving"), (status.is_ready, status.onion, status.state))
        self.assertIsNone(status.figures.onion_published)


class OnionTests(SynchronousTestCase):
    """What is told of tor."""

    def test_ages(self) -> None:
        """Of times, what counts is how long ago they were; of what has not happened nothing is told."""
        figures = see().figures
        self.assertEqual((60.0, 30.0), (figures.onion_descriptor_age_seconds, figures.onion_canary_age_seconds))
        self.assertEqual((2, 1.0), (figures.tor_losses, figures.onion_published))
        self.assertIsNone(see(TorStatus("joining")).figures.onion_descriptor_age_seconds)

    def test_a_clock_that_was_set_back(self) -> None:
        """An upload that seems to lie ahead is just now."""
        self.assertEqual(0.0, see(TorStatus("published", 100, 2000.0)).figures.onion_descriptor_age_seconds)

    def test_every_state(self) -> None:
        """Each state of tor is told in words, and we are ready in those in which strangers can find us."""
        for state in STATES:
            status = see(TorStatus(state))
            self.assertEqual(TorStatus(state).is_published, status.is_ready, state)
            self.assertNotIn(f" {state}," if state != "published" else "?", status.state)
            self.assertTrue(status.state)

    def test_it_comes_back_by_itself(self) -> None:
        """Of a tor that was lost, the operator hears that he need do nothing."""
        self.assertIn("by itself", onion_problems(TorStatus("waiting"))[0])
