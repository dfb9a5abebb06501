"""A vendor's and a stranger's secrets, in the log of a gateway to which everything happens."""

from __future__ import annotations

import re

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, write
from tests.end_to_end.programs import curl, wait_until

PLANTED = "planted-?[a-z]+"
"""Every secret of these tests."""


class SecretsTests(AttackCase):
    """An influxd that asks for a password, goes away, comes back, and refuses; strangers write all the while."""

    http_options = "auth-enabled = true"

    def prepare_influxd(self) -> None:
        """Make an administrator, and the vendor's user, who may write."""
        self.influxd.query("CREATE USER admin WITH PASSWORD 'planted-admin' WITH ALL PRIVILEGES")
        self.influxd.login = ("admin", "planted-admin")
        self.influxd.create_database(DATABASE)
        self.influxd.query(f"CREATE USER vendor WITH PASSWORD 'planted-vendor'; GRANT WRITE ON {DATABASE} TO vendor")

    def prepare_gateway(self) -> tuple[str, ...]:
        """Write down the vendor's password; everything is logged, with all fields."""
        self.password = self.directory / "password"
        self.password.touch(0o600)
        self.password.write_text("planted-vendor\n")
        login = ("--influxdb-user", "vendor", "--influxdb-password-file", str(self.password))
        return (*login, "--log-format", "json", "--log-level", "debug")

    def say(self, lines: bytes, query: str = f"db={DATABASE}&u=planted-user&p=planted-word") -> int:
        """Write as a stranger with secrets; the status."""
        headers = {
            "User_Agent": "planted-agent",
            "Cookie": "planted-cookie",
            "Authorization": "Token planted-token",
            "Referer": "http://planted-referer/",
            "X_Request_Id": "planted-id",
        }
        return self.one_through_gateway(write(lines, query, **headers)).status

    def page(self, name: str) -> str:
        """A status page, as long as there is one."""
        place = self.directory / "state" / "admin.sock"
        return curl("--unix-socket", str(place), f"http://localhost/{name}") if place.exists() else ""

    def assert_discreet(self, path: str) -> None:
        """Neither log has a secret of a stranger's, nor the gateway's or its status pages one of anybody's."""
        pages = "".join(self.page(name) for name in ("", "status.json", "metrics"))
        self.assertIsNone(re.search(f"{PLANTED}|plantedname", pages), f"{path}: {pages}")
        self.assertIsNone(re.search(PLANTED, self.gateway.log), f"{path}: {self.gateway.log}")
        strangers = "planted-(user|word|agent|cookie|token|referer|id)"
        accesses = "\n".join(self.influxd.accesses)
        self.assertIsNone(re.search(strangers, accesses), f"{path}: {accesses}")

    def test_whatever_happens(self) -> None:
        """Whatever happens between the gateway and its InfluxDB, no log has a secret."""
        self.assertEqual(204, self.say(b"plantedname,t=plantedtag v=1 1"))
        self.assertEqual(400, self.say(b'plantedname,t=plantedtag v="plantedtext" 2'))
        self.assertEqual(400, self.say(b"plantedname,plantedtag"))
        self.assertNotEqual(204, self.say(b"plantedname v=1 1", "db=planted-database"))
        self.assert_discreet("while InfluxDB is there")

        self.influxd.stop()
        self.assertEqual(204, self.say(b"plantedname,t=plantedtag v=2 2"))
        self.assertEqual(204, self.say(b'plantedname,t=plantedtag v="plantedtext" 3'))
        self.gateway.wait_for("InfluxDB takes no writes")
        self.influxd.start()
        self.gateway.wait_for("Points refused for their content")
        wait_until(lambda: self.influxd.count(DATABASE, "plantedname") == 2, lambda: self.gateway.log)
        self.assert_discreet("over an outage, with a refusal out of the spool")

        self.password.write_text("planted-wrong\n")
        self.influxd.query("SET PASSWORD FOR vendor = 'planted-other'")
        self.assertEqual(204, self.say(b"plantedname,t=plantedtag v=4 4"))
        self.gateway.wait_for("--influxdb-password-file")
        self.password.write_text("planted\x00wrong\nplanted-wrong\n")
        self.say(b"plantedname,t=plantedtag v=5 5")
        self.password.write_text("planted-other\n")
        wait_until(lambda: self.influxd.count(DATABASE, "plantedname") >= 4, lambda: self.gateway.log)
        self.assert_discreet("while the password changes")

        self.influxd.query(f"DROP DATABASE {DATABASE}")
        self.say(b"plantedname,t=plantedtag v=6 6")
        self.gateway.stop()
        self.assert_discreet("to the end, without a database")
