"""What is the vendor's is known by what InfluxDB has stored, also after a restart."""

from __future__ import annotations

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.boundaries import Destination
from torfluxd.gateway.homes import MAX_HOMES, Homes


class HomesTests(SynchronousTestCase):
    """The destinations that a write was stored for."""

    def setUp(self) -> None:
        """Nothing was written down."""
        self.written: list[str] = []
        self.homes = Homes("", self.written.append)

    def test_stored(self) -> None:
        """A destination is known once a write was stored for it, and that with its retention policy or without."""
        plain, week = Destination("telemetry"), Destination("telemetry", "week")
        self.assertFalse(self.homes.knows(plain))
        self.homes.stored(plain)
        self.assertEqual((self.homes.knows(plain), self.homes.knows(week)), (True, False))

    def test_configured(self) -> None:
        """One that the vendor configured is known from the start, and as long as it is configured."""
        self.homes.configure([Destination("telemetry", "week")])
        self.assertTrue(self.homes.knows(Destination("telemetry", "week")))
        self.homes.stored(Destination("other"))
        self.assertEqual(self.written, ['[["other", null]]\n'])

    def test_restart(self) -> None:
        """It is known after a restart as well, whatever it is called."""
        names = [Destination('a"\n', "ü"), Destination("b"), Destination("b", "x")]
        for name in names:
            self.homes.stored(name)
        again = Homes(self.written[-1])
        self.assertEqual([again.knows(name) for name in names], [True] * 3)
        self.assertFalse(again.knows(Destination("a")))

    def test_written_once(self) -> None:
        """What is known is not written down again with every write."""
        for _ in range(3):
            self.homes.stored(Destination("telemetry"))
        self.assertEqual(self.written, ['[["telemetry", null]]\n'])

    def test_told(self) -> None:
        """What another process has noted is known here, too, and written down, if it is new."""
        self.homes.stored(Destination("a"))
        other = Homes(self.homes.text)
        other.stored(Destination("b", "week"))
        self.assertEqual([self.homes.learn(other.text), self.homes.learn(other.text)], [True, False])
        self.assertTrue(self.homes.knows(Destination("b", "week")))
        self.assertEqual(self.written[1:], ['[["a", null], ["b", "week"]]\n'])

    def test_bounded(self) -> None:
        """There are only so many."""
        for number in range(MAX_HOMES + 1):
            self.homes.stored(Destination(f"db{number}"))
        known = [self.homes.knows(Destination(f"db{number}")) for number in (0, MAX_HOMES - 1, MAX_HOMES)]
        self.assertEqual(known, [True, True, False])

    def test_unreadable(self) -> None:
        """A file that cannot be understood is said to be so, and begun again."""
        for text in ("{", "[1]", '[["a"]]', "null"):
            with capturedLogs() as events:
                homes = Homes(text, self.written.append)
            self.assertEqual(len(events), 1)
            homes.stored(Destination("telemetry"))
            self.assertEqual(self.written.pop(), '[["telemetry", null]]\n')

    def test_cannot_be_written(self) -> None:
        """That it cannot be written down is said, and disturbs no write."""

        def fail(text: str) -> None:
            raise OSError(28, "No space left on device")

        homes = Homes("", fail)
        with capturedLogs() as events:
            homes.stored(Destination("secret"))
        self.assertTrue(homes.knows(Destination("secret")))
        [event] = events
        self.assertEqual(event["reason"], "No space left on device")
        self.assertNotIn("secret", repr(event))
