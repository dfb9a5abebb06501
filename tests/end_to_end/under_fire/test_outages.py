"""InfluxDB is away, hangs, or has forgotten us: strangers write on, and everything is there after the cure."""

from __future__ import annotations

import time

import pytest

from tests.end_to_end.programs import wait_until
from tests.end_to_end.under_fire.points import DATABASE, FIRST_NS, MEASUREMENT
from tests.end_to_end.under_fire.server import FireCase, say
from tests.influxd import quoted

HANGING_SECONDS = 12.0
"""How long a stranger may wait who comes first after InfluxDB began to hang: about ten seconds, by which influxd itself
gives a write up, and something for a slow machine."""

AT_ONCE_SECONDS = 2.0
"""How long the others may wait: no time at all, and something for a slow machine."""


class OutageTests(FireCase):
    """InfluxDB cannot be reached."""

    def test_a_hundred_writers(self) -> None:
        """A hundred strangers hear 204 before, in and after an outage; what they wrote is there, once."""
        self.outage(seconds=1.0, pause_seconds=0.05)

    @pytest.mark.torture
    def test_a_long_outage(self) -> None:
        """And so when the outage is a minute long, with a great many points."""
        self.outage(seconds=60.0, pause_seconds=0.2)

    def outage(self, seconds: float, pause_seconds: float) -> None:
        """Have one, see that live writes go on while the spool is drained, and count."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=100, points=20, pause_seconds=pause_seconds) as crowd:
            self.wait_acknowledged(crowd, 200)
            self.influxd.stop()
            time.sleep(seconds)
            self.influxd.start()
            crowd.forget_slowest()
            behind, took = self.catch_up()
            self.wait_acknowledged(crowd, 200)
        self.assert_only(crowd, "204")
        self.assertLess(crowd.slowest_seconds, AT_ONCE_SECONDS)
        say(
            f"an outage of {seconds:.0f} s: {self.settle()}; {behind} points were there {took:.1f} s after influxd was,"
            f" the slowest live write meanwhile took {crowd.slowest_seconds:.2f} s"
        )

    def catch_up(self) -> tuple[int, float]:
        """Wait until all that was acknowledged by now is there.

        :returns: how many points were not, and how many seconds that took.
        """
        begun = time.monotonic()
        (last,) = self.register.new_ids(1)
        behind = self.register.up_to(last) - self.count_up_to(last)
        wait_until(
            lambda: self.count_up_to(last) >= self.register.up_to(last),
            lambda: f"{self.count_up_to(last)} of {self.register.up_to(last)} are there",
        )
        return behind, time.monotonic() - begun

    def count_up_to(self, last: int) -> int:
        """How many points up to this id are in InfluxDB."""
        series = self.influxd.query(f"SELECT count(id) FROM {MEASUREMENT} WHERE id <= {last}", DATABASE)
        return int(series[0]["values"][0][1]) if series else 0

    def test_order(self) -> None:
        """Of points that one stranger writes over and over in an outage, the last one stands in the end."""
        self.server.start()
        self.introduce()
        self.influxd.stop()
        writer = self.writer()
        for value in range(300):
            lines = b"again v=%di %d" % (value, FIRST_NS)
            self.assertEqual(204, writer.write(lines).status)
        self.influxd.start()
        self.assertEqual(204, writer.write(b"after v=1").status)
        wait_until(lambda: self.value() == 299, lambda: f"the value is {self.value()}")
        self.server.stop()
        self.assertEqual((299, 0), (self.value(), self.server.points_in_spool()))

    def value(self) -> int | None:
        """What stands in InfluxDB of the point that was written over and over."""
        series = self.influxd.query("SELECT v FROM again", DATABASE)
        return series[0]["values"][0][1] if series else None


class HangingTests(FireCase):
    """InfluxDB takes connections, and answers nothing."""

    def test_hanging(self) -> None:
        """Those who write as it begins to hang hear 204 within ten seconds, later ones at once; all is there, once."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=20, pause_seconds=0.01) as crowd:
            self.wait_acknowledged(crowd, 100)
            self.influxd.freeze()
            self.wait_acknowledged(crowd, 100, HANGING_SECONDS * 2)
            first = crowd.forget_slowest()
            self.wait_acknowledged(crowd, 1000)
            newcomer = self.writer().write(b"newcomer v=1")
            later = crowd.slowest_seconds
            self.influxd.thaw()
            self.wait_acknowledged(crowd, 1000)
        say(f"influxd hangs: the first wait {first:.2f} s, the others {later:.2f} s at most")
        self.assert_only(crowd, "204")
        self.assertLess(first, HANGING_SECONDS)
        self.assertLess(later, AT_ONCE_SECONDS)
        self.assertEqual(204, newcomer.status)
        self.assertLess(newcomer.took_seconds, AT_ONCE_SECONDS)
        self.settle()


class DroppedDatabaseTests(FireCase):
    """InfluxDB does not know the vendor's database any more."""

    def test_dropped_database(self) -> None:
        """A database is dropped: an alarm, strangers hear 204, and after it is created again all is there."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=20) as crowd:
            self.wait_acknowledged(crowd, 100)
            self.influxd.query(f"DROP DATABASE {quoted(DATABASE)}")
            (last,) = self.register.new_ids(1)  # what was stored up to here went with the database
            self.wait_alarm("database does not exist")
            self.influxd.create_database(DATABASE)
            self.wait_acknowledged(crowd, 500)
        self.assert_only(crowd, "204")
        self.register.forget_up_to(last)
        self.settle()
        self.assert_alarm("database does not exist")

    def test_dropped_database_and_restart(self) -> None:
        """That a database is the vendor's is known after a restart, too."""
        self.server.start()
        self.introduce()
        self.server.stop()
        self.influxd.query(f"DROP DATABASE {quoted(DATABASE)}")
        self.server.start()
        with self.crowd(writers=5) as crowd:
            self.wait_acknowledged(crowd, 50)
        self.assert_only(crowd, "204")
        self.influxd.create_database(DATABASE)
        self.settle()


class RotatedCredentialTests(FireCase):
    """The vendor's password for InfluxDB changes."""

    http_options = "auth-enabled = true"

    def prepare_influxd(self) -> None:
        """Have an operator who may do everything, and a gateway that may write."""
        self.influxd.query("CREATE USER admin WITH PASSWORD 'root' WITH ALL PRIVILEGES")
        self.influxd.login = ("admin", "root")
        super().prepare_influxd()
        self.influxd.query("CREATE USER gateway WITH PASSWORD 'k7Qx-first'")
        self.influxd.query(f"GRANT WRITE ON {DATABASE} TO gateway")
        self.password_file = self.directory / "password"
        self.write_password("k7Qx-first")
        self.gateway_options = ("--influxdb-user", "gateway", "--influxdb-password-file", str(self.password_file))

    def write_password(self, password: str) -> None:
        """Rewrite the file as a person does."""
        new = self.directory / "password.new"
        new.touch(mode=0o600)
        new.write_text(f"{password}\n")
        new.rename(self.password_file)

    def test_rotated(self) -> None:
        """It is changed in InfluxDB: an alarm, strangers hear 204; after the file is rewritten all is there."""
        self.server.start()
        self.introduce()
        with self.crowd(writers=20) as crowd:
            self.wait_acknowledged(crowd, 100)
            self.influxd.query("SET PASSWORD FOR gateway = 'k7Qx-second'")
            self.wait_acknowledged(crowd, 500)
            self.write_password("k7Qx-second")
            self.wait_acknowledged(crowd, 500)
        self.assert_only(crowd, "204")
        self.settle()
        self.assert_alarm("credential")

    def test_a_database_that_is_not_ours(self) -> None:
        """A stranger asks for a database that the gateway may not write to: turned away, and nothing is kept of it."""
        self.influxd.create_database("private")
        self.server.start()
        self.introduce()
        told = self.writer().write(b"m v=1", "db=private")
        self.assertEqual(503, told.status)
        self.assertNotIn(b"gateway", told.body)  # influxd would name the user
        self.server.stop()
        self.assertEqual((0, 0), (self.server.points_in_spool(), self.server.points_in_spool("dead_letter")))
        self.assertNotIn("k7Qx", self.server.log)
