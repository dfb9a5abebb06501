"""Tests for consent: what happens before the user has agreed, and when he no longer does; and for what he is shown."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.test import iosim

from tests.reporter.doubles import keep_waiting
from tests.reporter.test_spooled import SpooledCase
from torfluxd.delivery.schema import SPOOL_FILE
from torfluxd.errors import ReporterError
from torfluxd.reporter.privacy import PADDED_SIZES
from torfluxd.reporter.reporter import Reporter
from torfluxd.reporter.secret import KEY_FILE


class ConsentCase(SpooledCase):
    """Tor is up, and reports leave also when there is nothing to say."""

    def setUp(self) -> None:
        """The user has not been asked."""
        super().setUp()
        self.tor.is_up = True
        self.reporter = self.asking()
        self.reporter.startService()

    def asking(self, **options: Any) -> Reporter:
        """A reporter without consent."""
        return self.reporter_for(**{"consent": False, "empty_reports": True, **options})

    def deny(self, reporter: Reporter | None = None) -> Deferred[int]:
        """The user denies; time passes, bytes flow."""
        denied = (reporter or self.reporter).deny()
        self.advance(0)
        return denied

    def files(self) -> list[str]:
        """What is in the state directory."""
        return sorted(
            path.name for path in self.state.rglob("*") if path.is_file() and not path.name.startswith("lock")
        )


class AllowTests(ConsentCase):
    """`allow`."""

    def test_nothing_before(self) -> None:
        """Before it nothing is recorded, written or connected to."""
        commit = self.reporter.record("m", {"f": 1}).as_deferred()
        self.minutes(5)
        self.assertFalse(self.successResultOf(commit))
        self.assertEqual((self.reporter.stats.recorded, self.tor.circuits), (0, []))
        self.assertFalse(any((self.state / part).exists() for part in ("spool-0", "spool-1")))

    def test_allowed(self) -> None:
        """After it everything that is recorded from then on is reported."""
        self.record(1)
        self.reporter.allow()
        self.record(2)
        self.minutes(3)
        self.assertEqual(self.values(), ["f=2i"])

    def test_before_the_start(self) -> None:
        """The user may be asked before the start."""
        reporter = self.asking()
        reporter.allow()
        reporter.record("m", {"f": 1})
        reporter.startService()
        self.minutes(3)
        self.assertEqual(reporter.stats.delivered, 1)

    def test_flush_and_stop(self) -> None:
        """Without consent a flush has nothing to do, and a stop neither."""
        self.record(1)
        self.assertTrue(self.successResultOf(self.flush()))
        self.successResultOf(self.stop())
        self.assertEqual(self.tor.circuits, [])


class DenyTests(ConsentCase):
    """`deny`."""

    def setUp(self) -> None:
        """There was consent; some points are on disk, and one is in memory."""
        super().setUp()
        self.tor.is_up = False
        self.reporter.allow()
        self.record(1, 2)
        self.advance(1)
        self.record(3)

    def test_deleted(self) -> None:
        """Everything is deleted at once, its files, too, and counted; nothing is sent any more."""
        self.assertTrue(any(self.state.glob(f"*/{SPOOL_FILE}*")))
        self.assertEqual(self.successResultOf(self.deny()), 3)
        self.assertEqual(self.files(), [])
        self.tor.is_up = True
        self.minutes(5)
        self.assertEqual(self.tor.circuits, [])
        stats = self.reporter.stats
        self.assertEqual((stats.recorded, stats.pending, stats.dropped), (3, 0, 3))

    def test_left_behind(self) -> None:
        """Deleted is also what other processes left behind, and what was there before this one was started."""
        other = self.reporter_for()
        other.startService()
        other.record("m", {"f": 4})
        self.successResultOf(self.stop(other))
        self.successResultOf(self.stop())
        self.assertEqual(self.successResultOf(self.deny(self.asking())), 4)
        self.assertEqual(self.files(), [])

    def test_under_way(self) -> None:
        """A report that is under way is given up."""
        self.tor.is_up = True
        self.gateway.answers = [keep_waiting]
        self.reporter.flush()
        self.tor.pump()
        self.assertEqual(len(self.gateway.requests), 1)
        self.successResultOf(self.deny())
        self.minutes(5)
        self.assertEqual(len(self.gateway.requests), 1)

    def test_while_waiting(self) -> None:
        """Also when the reporter waits after an outage nothing is sent at that moment."""
        self.minutes(3)
        self.tor.is_up = True
        self.tor.circuits.clear()
        self.successResultOf(self.deny())
        self.minutes(5)
        self.assertEqual(self.tor.circuits, [])

    def test_allowed_again(self) -> None:
        """Consent can be given again; what was deleted stays so."""
        self.successResultOf(self.deny())
        self.tor.is_up = True
        self.reporter.allow()
        self.record(4)
        self.minutes(3)
        self.assertEqual(self.values(), ["f=4i"])

    def test_allowed_at_once(self) -> None:
        """Also when it is given again while everything is still being deleted, nothing that was recorded before it is
        sent, and what is recorded then is kept on disk.
        """
        denied = self.reporter.deny()
        self.tor.is_up = True
        self.reporter.allow()
        commit = self.reporter.record("m", {"f": 4}).as_deferred()
        self.advance(0)
        self.assertEqual(self.successResultOf(denied), 3)
        self.advance(1)
        self.assertTrue(self.successResultOf(commit))
        self.minutes(3)
        self.assertEqual(self.values(), ["f=4i"])

    def test_in_memory(self) -> None:
        """So it is for a reporter that keeps everything in memory."""
        reporter = self.reporter_for(state_dir=None)
        reporter.startService()
        reporter.record("m", {"f": 1})
        self.advance(1)
        reporter.record("m", {"f": 1})
        self.assertEqual(self.successResultOf(self.deny(reporter)), 2)
        self.assertEqual(reporter.stats.dropped, 2)


class PreviewTests(ConsentCase):
    """`preview`."""

    def setUp(self) -> None:
        """There is consent."""
        super().setUp()
        self.reporter = self.reporter_for(padding=True, empty_reports=True)
        self.sent: list[bytes] = []
        make, sent = iosim.makeFakeClient, self.sent

        def watched(protocol: Any) -> Any:
            transport = make(protocol)
            write = transport.write
            transport.write = lambda data: (sent.append(data), write(data))[1]
            return transport

        self.patch(iosim, "makeFakeClient", watched)

    def request(self) -> bytes:
        """What was sent of the last request."""
        text = b"".join(self.sent)
        return text[text.rindex(b"POST ") :]

    def preview(self) -> bytes:
        """The preview."""
        return self.successResultOf(self.reporter.preview())

    def test_exact(self) -> None:
        """It shows the next report to the byte, and costs nothing of it."""
        self.reporter.startService()
        self.reporter.record("load", {"one": 0.5}, {"kind": "db"})
        shown = self.preview()
        self.assertEqual(self.preview(), shown)
        self.minutes(2)
        self.assertEqual(self.request(), shown)
        self.assertIn(b"load,kind=db one=0.5 ", shown)

    def test_empty(self) -> None:
        """Of an interval in which nothing was recorded, also without consent, it shows an empty report."""
        self.reporter.startService()
        shown = self.preview()
        self.minutes(2)
        self.assertEqual(self.request(), shown)
        self.assertEqual(len(shown.partition(b"\r\n\r\n")[2]), PADDED_SIZES[0])
        self.assertEqual(self.successResultOf(self.asking(padding=True).preview()), shown)
        self.assertEqual(self.successResultOf(self.asking(empty_reports=False).preview()), b"")

    def test_oldest(self) -> None:
        """With a backlog it shows the oldest report."""
        self.tor.is_up = False
        self.reporter.startService()
        for value in (1, 2):
            self.record(value)
            self.end_interval()
        self.assertIn(b"f=1i", self.preview())
        self.assertNotIn(b"f=2i", self.preview())

    def test_not_running(self) -> None:
        """A reporter that does not run has no next report, and says so."""
        self.failureResultOf(self.reporter.preview(), ReporterError)


class KeyTests(ConsentCase):
    """The key by which given times become coarse."""

    def test_same_point(self) -> None:
        """A point that is recorded again with the same time, by a later process, is the same point."""
        self.tor.is_up = True
        for _ in range(2):
            reporter = self.reporter_for(granularity_seconds=60)
            reporter.startService()
            reporter.record("m", {"f": 1}, time_ns=1_700_000_000_123_456_789)
            self.assertTrue(self.successResultOf(self.flushed(reporter)))
            self.successResultOf(self.stop(reporter))
        [[one], [other]] = self.gateway.arrived
        self.assertEqual(one, other)
        self.assertNotIn("123456789", one)

    def test_without_consent(self) -> None:
        """None is made before there is consent."""
        state = self.new_directory() / "state"
        self.reporter_for(consent=False, state_dir=state)
        self.assertFalse(state.exists())
        self.reporter_for(state_dir=state)
        self.assertTrue((state / KEY_FILE).exists())

    def flushed(self, reporter: Reporter) -> Deferred[bool]:
        """Flush; bytes flow."""
        flushed = reporter.flush()
        self.tor.pump()
        return flushed
