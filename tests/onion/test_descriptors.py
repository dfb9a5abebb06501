"""When an onion service is published."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion.descriptors import DescriptorWatch


class DescriptorWatchTests(SynchronousTestCase):
    """Tor's descriptor events, read."""

    def setUp(self) -> None:
        """Watch one onion service."""
        self.watch = DescriptorWatch("ours", Clock())

    def test_published_when_all_uploads_are_answered(self) -> None:
        """It is published when each upload that was begun is answered, for who waits and for who asks later."""
        first, every = self.watch.when_first_uploaded(), self.watch.when_all_answered()
        self.watch.take("CREATED ours UNKNOWN UNKNOWN desc")
        for directory in ("one", "two", "three"):
            self.watch.take(f"UPLOAD ours UNKNOWN $AA~{directory} desc")
        self.assertNoResult(first)
        self.watch.take("UPLOADED ours UNKNOWN $AA~one")
        self.successResultOf(first)
        self.watch.take("FAILED ours UNKNOWN $AA~two REASON=UPLOAD_REJECTED")
        self.assertNoResult(every)
        self.watch.take("UPLOADED ours UNKNOWN $AA~three")
        self.successResultOf(every)
        self.successResultOf(self.watch.when_first_uploaded())
        self.successResultOf(self.watch.when_all_answered())
        self.assertEqual((3, 2, 1), (self.watch.begun, self.watch.uploaded, self.watch.failed))

    def test_others_do_not_count(self) -> None:
        """Another onion service's upload, a failure and an empty event do not publish ours."""
        waiting = [self.watch.when_first_uploaded(), self.watch.when_all_answered()]
        for event in ("UPLOADED theirs UNKNOWN $AA~one", "FAILED ours UNKNOWN $AA~one REASON=UPLOAD_REJECTED", ""):
            self.watch.take(event)
        for each in waiting:
            self.assertNoResult(each)
        self.assertEqual((0, 1), (self.watch.uploaded, self.watch.failed))

    def test_what_a_client_asks_for_does_not_count(self) -> None:
        """That this tor, as a client, asks for the same onion service's descriptor in vain says nothing of uploads."""
        self.watch.take("REQUESTED ours NO_AUTH $AA~one desc")
        self.watch.take("FAILED ours NO_AUTH $AA~one desc REASON=NOT_FOUND")
        self.assertEqual((0, 0, 0), (self.watch.begun, self.watch.uploaded, self.watch.failed))

    def test_one_may_stop_waiting(self) -> None:
        """Whoever stops waiting is forgotten; the others are told."""
        gone, stays = self.watch.when_all_answered(), self.watch.when_all_answered()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.watch.take("UPLOADED ours UNKNOWN $AA~one")
        self.successResultOf(stays)
