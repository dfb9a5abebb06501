"""A vendor's and a stranger's secrets, in the log of a gateway to which everything happens."""

from __future__ import annotations

import re

from tests.end_to_end.attacks.battle import DATABASE, AttackCase, write
from tests.end_to_end.programs import wait_until

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
        """Write down the vendor's password."""
        self.password = self.directory / "password"
        self.password.touch(0o600)
        self.password.write_text("planted-vendor\n")
        return ("--influxdb-user", "vendor", "--influxdb-password-file", str(self.password))

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

    def assert_discreet(self, path: str) -> None:
        """Neither log has a secret of a stranger's, nor the gateway's one of anybody's."""
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
