"""Attacks in the body of a write."""

from __future__ import annotations

import gzip
import threading
import time

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, request, write

MEBIBYTE = 1 << 20

BOMB_BYTES = 200 * MEBIBYTE
"""What the bomb for the gateway inflates to; influxd has to do with less, or it takes the machine's memory."""

INFLUXD_BOMB_BYTES = 100 * MEBIBYTE

HELD_BYTES = 100 * MEBIBYTE
"""What influxd holds at least for it; for points in place of comments it is twenty times as much."""

KEPT_BYTES = 4 * MEBIBYTE
"""How much more memory a bomb may make the gateway hold."""


def bomb(size: int) -> bytes:
    """Comments of this size together, as gzip."""
    line = b"#" * 1023 + b"\n"
    return gzip.compress(line * (size // len(line)), 9)


class BombTests(AttackCase):
    """A body that is small until it is inflated."""

    def test_gzip_bomb(self) -> None:
        """A gzip bomb makes influxd hold hundreds of megabytes; the gateway refuses it, and holds 4 MiB for it."""
        before = self.influxd.resident_bytes()
        data = write(bomb(INFLUXD_BOMB_BYTES), Content_Encoding="gzip")
        self.assertLess(len(data), MEBIBYTE)
        self.assertEqual(204, self.one_directly(data).status)
        self.assertGreater(self.influxd.resident_bytes() - before, HELD_BYTES)

        data = write(bomb(BOMB_BYTES), Content_Encoding="gzip")
        self.assertEqual(204, self.one_through_gateway(write(b"m v=1 1")).status)
        warm = self.gateway_peak_bytes()
        for _ in range(5):
            self.assert_refused(data, 413)
        self.assertLess(self.gateway_peak_bytes() - warm, KEPT_BYTES)

    def test_uninflated(self) -> None:
        """A large body that is none of gzip's is refused by its declared length, before any of it is read."""
        data = write(b"")[:-5] + b"%d\r\n\r\n" % (20 * MEBIBYTE)
        answer = self.assert_refused(data, 413)
        self.assertIn(b"Request Entity Too Large", answer.body)


class LineTests(AttackCase):
    """Lines that do harm."""

    def test_bad_line_in_a_batch(self) -> None:
        """Influxd says that nothing was dropped when a line was lost; the gateway names it, and never sends it on."""
        data = write(b"good v=1 1\nbad,tag v=1 1\ngood v=2 2")
        answer = self.one_directly(data)
        self.assertEqual((400, True), (answer.status, b"dropped=0" in answer.body))
        self.influxd.query("DROP MEASUREMENT good", DATABASE)

        reached = self.reached(lambda: self.assertEqual(400, self.one_through_gateway(data).status))
        self.assertEqual(1, len(reached))
        self.assertIn('" 204 0 ', reached[0])  # what reached influxd was good to the last line
        self.assertEqual(2, self.influxd.count(DATABASE, "good"))

    def test_a_bad_line_costs_a_neighbour_nothing(self) -> None:
        """A hostile writer's lines, sent on together with an honest one's, cost that one neither point nor word."""
        self.one_through_gateway(write(b"taken v=1 1"))
        self.influxd.freeze()
        answers: dict[str, int] = {}

        def stranger(name: str, lines: bytes) -> threading.Thread:
            def run() -> None:
                answers[name] = self.one_through_gateway(write(lines)).status

            thread = threading.Thread(target=run)
            thread.start()
            return thread

        strangers = [stranger("first", b"first v=1 1")]  # whose write is in flight, so that the others' are joined
        time.sleep(0.3)
        strangers += [stranger("hostile", b'taken v="another type" 2'), stranger("honest", b"honest v=1 1")]
        time.sleep(0.3)
        self.influxd.thaw()
        for thread in strangers:
            thread.join()
        self.assertEqual({"first": 204, "hostile": 400, "honest": 204}, answers)
        self.assertEqual(1, self.influxd.count(DATABASE, "honest"))

    def test_made_up_precision(self) -> None:
        """Influxd takes `precision=zz` for nanoseconds, and stores the point in 1970; the gateway refuses it."""
        data = write(b"m v=1 1577836800", f"db={DATABASE}&precision=zz")
        self.assertEqual(204, self.one_directly(data).status)
        self.assertEqual(1, self.influxd.count(DATABASE, "m"))
        self.assert_refused(data, 400)

    def test_names_that_break_things(self) -> None:
        """Influxd stores names with NUL and broken UTF-8; the gateway refuses them."""
        for number, name in enumerate((b"nul\x00%d", b"broken\xff%d", b"bell\x07%d", b"tag,a=\x1b[31m%d")):
            data = write(name % number + b" v=1 1")
            before = self.series()
            self.assertEqual(204, self.one_directly(data).status)
            self.assertEqual(before + 1, self.series(), name)
            self.assert_refused(data, 400)

    def test_forged_point(self) -> None:
        """A string with a line break is one point for influxd and two for other readers; the gateway refuses it."""
        data = write(b'm v="a\nforged,by=stranger v=1 1" 1')
        self.assertEqual(204, self.one_directly(data).status)
        self.assert_refused(data, 400)

    def test_other_paths_of_data(self) -> None:
        """Influxd takes points by Prometheus' remote write, too; at the gateway there is no such place."""
        data = request("POST", f"/api/v1/prom/write?db={DATABASE}", b"\x00")
        self.assertNotEqual(404, self.one_directly(data).status)
        self.assert_refused(data, 404)


class SeriesLimitTests(AttackCase):
    """influxd's own limit of series, which one stranger has reached."""

    data_options = "max-series-per-database = 5"

    def test_a_neighbours_point(self) -> None:
        """A new series in a batch costs a known one its point at influxd; through the gateway it does not."""
        self.one_through_gateway(write(b"\n".join(b"known,n=%d v=1 1" % number for number in range(5))))
        answer = self.one_directly(write(b"known,n=0 v=2 2\nknown,n=new v=2 2"))
        self.assertEqual(400, answer.status)
        self.assertEqual(5, self.influxd.count(DATABASE, "known"))  # the known one's is lost, too

        answer = self.one_through_gateway(write(b"known,n=0 v=3 3"))
        self.assertEqual(204, answer.status)
        self.assertEqual(400, self.one_through_gateway(write(b"known,n=new v=3 3")).status)
        self.assertEqual(6, self.influxd.count(DATABASE, "known"))
