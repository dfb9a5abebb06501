"""The operator hears what is wrong with InfluxDB, and can still read his log."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.complaints import SILENT_SECONDS, Complaints


class ComplaintsTests(SynchronousTestCase):
    """Complaints come to the log, but not all of them."""

    def test_another_cause(self) -> None:
        """Another cause than the one that was told is news at once, however many there are."""
        complaints = Complaints(Clock())
        with capturedLogs() as events:
            for number in (500, 404, 500, 404):
                complaints.note(f"it answered {number}")
        self.assertEqual(len(events), 2)
        with capturedLogs() as events:
            for number in range(10_000):
                complaints.note(f"it is away, says number {number}")
        self.assertEqual(len(events), 10_000)

    def test_silence(self) -> None:
        """The first complaint is logged at once, the next one after a while, however many strangers cause one."""
        clock = Clock()
        complaints = Complaints(clock)
        with capturedLogs() as events:
            for _ in range(1000):
                complaints.note("it answered 503")
                clock.advance(SILENT_SECONDS / 500)
        self.assertEqual(len(events), 2)
        text = (
            "InfluxDB did not serve a stranger, who was told to come back: it answered 503; see its own log"
            " (journalctl -u influxdb)"
        )
        self.assertEqual([formatEvent(event) for event in events], [text] * 2)
