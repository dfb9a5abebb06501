"""When an onion service is published."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion.descriptors import DescriptorWatch


class DescriptorWatchTests(SynchronousTestCase):
    """Tor's descriptor events, read."""

    def setUp(self) -> None:
        """Watch one onion service."""
        self.watch = DescriptorWatch("ours")

    def test_published_when_the_first_directory_has_it(self) -> None:
        """It is published with the first upload, for those who wait and for those who ask later."""
        before = self.watch.when_published()
        self.watch.take("CREATED ours UNKNOWN UNKNOWN desc")
        self.watch.take("UPLOAD ours UNKNOWN $AA~one desc")
        self.assertNoResult(before)
        self.watch.take("UPLOADED ours UNKNOWN $AA~one")
        self.watch.take("UPLOADED ours UNKNOWN $BB~two")
        self.successResultOf(before)
        self.successResultOf(self.watch.when_published())
        self.assertEqual(2, self.watch.uploaded)

    def test_others_do_not_count(self) -> None:
        """Another onion service's upload, a failure and an empty event do not publish ours."""
        published = self.watch.when_published()
        for event in ("UPLOADED theirs UNKNOWN $AA~one", "FAILED ours UNKNOWN $AA~one REASON=UPLOAD_REJECTED", ""):
            self.watch.take(event)
        self.assertNoResult(published)
        self.assertEqual((0, 1), (self.watch.uploaded, self.watch.failed))

    def test_one_may_stop_waiting(self) -> None:
        """Whoever stops waiting is forgotten; the others are told."""
        gone, stays = self.watch.when_published(), self.watch.when_published()
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.watch.take("UPLOADED ours UNKNOWN $AA~one")
        self.successResultOf(stays)
