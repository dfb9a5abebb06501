"""Strangers whose lines are bad, or who ask for what there is not, cost their neighbours nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from itertools import count
from statistics import median

import pytest
from attrs import define, field

from tests.end_to_end.under_fire.crowd import Heard, Writer
from tests.end_to_end.under_fire.points import DATABASE, FIRST_NS
from tests.end_to_end.under_fire.server import FireCase, say

WRITERS = 100
LINES = 100
BAD_LINES = 30
"""How many a hostile stranger leaves in the spool."""

GATHER_SECONDS = 1.0
"""How long influxd is held, so that the writes of all strangers are under way together."""


class OneBadLineTests(FireCase):
    """One bad line among ten thousand from a hundred strangers."""

    def test_unparsable(self) -> None:
        """A line that is none: 9999 are stored, one stranger hears why his is not, and the others hear 204."""
        self.one_bad_line(b"good,writer=50", b"unable to parse 'good,writer=50': missing fields")

    def test_type_conflict(self) -> None:
        """A field of another type, which influxd alone can see: the same."""
        self.one_bad_line(b'good,writer=50 v="text" %d' % FIRST_NS, b"field type conflict: input field")

    def one_bad_line(self, line: bytes, reason: bytes) -> None:
        """Let all write at once, one of them with this line, and look what each heard."""
        self.server.start()
        self.assertEqual(204, self.writer().write(b"good v=1 %d" % FIRST_NS).status)
        bodies = [_lines(number) for number in range(WRITERS)]
        bodies[50] = b"\n".join([*bodies[50].split(b"\n")[1:], line])
        self.influxd.freeze()
        threads, heard = self.write_together(bodies)
        time.sleep(GATHER_SECONDS)
        self.influxd.thaw()
        for thread in threads:
            thread.join()
        refused = heard.pop(50)
        self.assertEqual(({204}, WRITERS - 1), ({answer.status for answer in heard.values()}, len(heard)))
        self.assertEqual(400, refused.status)
        self.assertIn(reason, refused.body)
        self.assertEqual(WRITERS * LINES - 1, self.influxd.count(DATABASE, "good") - 1)
        self.server.stop()
        self.assertEqual(0, self.server.points_in_spool())
        self.assert_discreet()

    def write_together(self, bodies: list[bytes]) -> tuple[list[threading.Thread], dict[int, Heard]]:
        """Send each over a connection of its own."""
        heard: dict[int, Heard] = {}

        def write(number: int) -> None:
            heard[number] = self.writer().write(bodies[number])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(len(bodies))]
        for thread in threads:
            thread.start()
        return threads, heard


class UnknownPlaceTests(FireCase):
    """A stranger asks for a database, or for a retention policy, that the vendor does not have."""

    def test_refused(self) -> None:
        """He hears influxd's own words and status; others are not disturbed, and nothing is kept of it."""
        self.server.start()
        self.introduce()
        line = b"m v=1 %d" % FIRST_NS
        with self.crowd(writers=10) as crowd:
            for database, query in (
                ("nowhere", "db=nowhere"),
                (DATABASE, f"db={DATABASE}&rp=never"),
                ("nowhere", "db=nowhere&rp=never"),
            ):
                with self.subTest(query=query):
                    direct = self.influxd.request("POST", f"/write?{query}", line)
                    told = self.writer().write(line, query)
                    self.assertEqual((direct.status, direct.body), (told.status, told.body))
                    self.assertEqual(direct.headers["x-influxdb-error"], told.headers["x-influxdb-error"])
                    self.assertIn(database if "rp" not in query else "", told.body.decode())
            self.wait_acknowledged(crowd, 100)
        self.assert_only(crowd, "204")
        self.server.stop()
        self.assertEqual((0, 0), (self.server.points_in_spool(), self.server.points_in_spool("dead_letter")))
        self.assert_discreet()


class HostileInAnOutageTests(FireCase):
    """A hostile stranger writes while InfluxDB is away, so that nobody can see which lines are refused."""

    def test_sifted(self) -> None:
        """What honest strangers wrote beside him is all there after the outage; his lines alone are dead letters."""
        self.server.start()
        self.introduce()
        self.assertEqual(204, self.writer().write(b"theirs v=1 %d" % FIRST_NS).status)
        self.influxd.stop()
        hostile = self.writer()
        with self.crowd(writers=20, points=10, pause_seconds=0.05) as crowd:
            for number in range(BAD_LINES):
                self.assertEqual(204, hostile.write(_known_conflict(number)).status)
                self.wait_acknowledged(crowd, 5)
        self.influxd.start()
        begun = time.monotonic()
        census = self.wait_all_delivered()
        took = time.monotonic() - begun
        say(f"{BAD_LINES} bad lines among {census.acknowledged} in the spool: {took:.1f} s to sift them")
        self.server.stop()
        self.assertEqual((0, BAD_LINES), (self.server.points_in_spool(), self.server.points_in_spool("dead_letter")))
        self.assert_discreet()


@define(eq=False)
class Hostile:
    """A stranger who sends one bad write after the other, while `working` is set.

    :ivar port: of the gateway on 127.0.0.1.
    :ivar body: makes one of his bodies from its number.
    :ivar renews: whether he comes over a new connection each time.
    """

    port: int
    body: Callable[[int], bytes]
    renews: bool
    working: threading.Event = field(factory=threading.Event)
    ended: threading.Event = field(factory=threading.Event)
    statuses: list[int] = field(factory=list)

    def run(self) -> None:
        """Write until it is ended."""
        writer = Writer(self.port)
        for number in count():
            while not self.working.wait(0.1):
                if self.ended.is_set():
                    writer.close()
                    return
            try:
                self.statuses.append(writer.write(self.body(number)).status)
            except (OSError, HTTPException):
                self.statuses.append(0)
            if self.renews:
                writer.close()


class HostileTests(FireCase):
    """One hostile stranger among fifty honest ones, who sends a type conflict with each write."""

    def test_known(self) -> None:
        """He keeps his connection and his measurement: the honest ones keep their pace."""
        self.ratio(_known_conflict, renews=False, rounds=2, seconds=0.5, at_least=0.5)

    @pytest.mark.torture
    def test_known_for_long(self) -> None:
        """They keep 70 % of it at least, measured for longer."""
        self.ratio(_known_conflict, renews=False, rounds=9, seconds=2.0, at_least=0.7)

    @pytest.mark.torture
    def test_new_connections_for_long(self) -> None:
        """And when he comes over a new connection each time."""
        self.ratio(_known_conflict, renews=True, rounds=9, seconds=2.0, at_least=0.7)

    @pytest.mark.torture
    def test_new_names_for_long(self) -> None:
        """And when he has a new connection and a new measurement each time, of which nobody can have heard."""
        self.ratio(_new_conflict, renews=True, rounds=9, seconds=2.0, at_least=0.7)

    def ratio(
        self, body: Callable[[int], bytes], *, renews: bool, rounds: int, seconds: float, at_least: float
    ) -> None:
        """Measure without him and with him in turns, and compare the medians."""
        self.server.start()
        self.introduce()
        self.assertEqual(204, self.writer().write(b"theirs v=1 %d" % FIRST_NS).status)
        hostile = Hostile(self.server.port, body, renews)
        thread = threading.Thread(target=hostile.run)
        thread.start()
        rates: dict[bool, list[float]] = {False: [], True: []}
        try:
            with self.crowd(writers=50) as crowd:
                self.wait_acknowledged(crowd, 500)
                for _ in range(rounds):
                    for present in (False, True):
                        (hostile.working.set if present else hostile.working.clear)()
                        time.sleep(0.1)
                        before, begun = crowd.acknowledged, time.monotonic()
                        time.sleep(seconds)
                        rates[present].append((crowd.acknowledged - before) / (time.monotonic() - begun))
        finally:
            hostile.ended.set()
            hostile.working.clear()
            thread.join()
        without, beside = median(rates[False]), median(rates[True])
        say(
            f"50 honest strangers: {without:.0f} writes/s alone, {beside:.0f} beside a hostile one with"
            f" {len(hostile.statuses)} writes: ratio {beside / without:.2f}"
        )
        self.assert_only(crowd, "204")
        self.assertEqual({400}, set(hostile.statuses))
        self.assertGreaterEqual(beside / without, at_least)
        self.settle()


def _lines(number: int) -> bytes:
    """A hundred good lines of one stranger."""
    return b"\n".join(b"good,writer=%d v=1 %d" % (number, FIRST_NS + line) for line in range(LINES))


def _known_conflict(number: int) -> bytes:
    """A text where a number is stored already."""
    return b'theirs v="text" %d' % (FIRST_NS + number)


def _new_conflict(number: int) -> bytes:
    """A number and a text, in a measurement that was never there before."""
    return b'new%d v=1 %d\nnew%d v="text" %d' % (number, FIRST_NS, number, FIRST_NS + 1)
