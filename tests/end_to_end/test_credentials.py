"""A gateway before an influxd that asks for a user and a password."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import influxdb
import influxdb.exceptions
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end.programs import BIN, LocalGateway, Program, temporary_directory, wait_until
from tests.influxd import Influxd


class CredentialTests(SynchronousTestCase):
    """The vendor's credential goes in place of anything that a stranger sent."""

    influxd: ClassVar[Influxd]
    directory: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        """Start an influxd, with an administrator, and a user who may write."""
        super().setUpClass()
        cls.directory = temporary_directory(cls.addClassCleanup)
        cls.influxd = Influxd("auth-enabled = true")
        cls.addClassCleanup(cls.influxd.close)
        cls.influxd.start()
        cls.influxd.query("CREATE USER admin WITH PASSWORD 'adm1n' WITH ALL PRIVILEGES")
        cls.influxd.login = ("admin", "adm1n")
        cls.influxd.create_database("telemetry")
        cls.influxd.query("CREATE USER vendor WITH PASSWORD 's3cr3t'; GRANT WRITE ON telemetry TO vendor")

    def setUp(self) -> None:
        """Write the password into a file."""
        self.influxd.query("SET PASSWORD FOR vendor = 's3cr3t'")
        self.password = self.directory / "password"
        self.password.touch(0o600)
        self.password.chmod(0o600)
        self.password.write_text("s3cr3t\n")

    def gateway(self, *options: str) -> LocalGateway:
        """A gateway that writes as the vendor's user."""
        account = ("--influxdb-user", "vendor", "--influxdb-password-file", str(self.password))
        state = self.directory / self.id().rpartition(".")[2]
        return LocalGateway(self.addCleanup, state, self.influxd.url, *account, *options)

    def stranger(self, gateway: LocalGateway, user: str = "nobody", password: str = "x") -> influxdb.InfluxDBClient:
        """A client with credentials of its own, which are none of the vendor's."""
        client = influxdb.InfluxDBClient("127.0.0.1", gateway.port, user, password, "telemetry", retries=1)
        self.addCleanup(client.close)
        return client

    def test_write(self) -> None:
        """A stranger's write is stored, whatever credential he sends, and the log knows no password."""
        gateway = self.gateway()
        self.stranger(gateway).write_points(["sent v=1"], protocol="line")
        self.assertEqual(self.influxd.count("telemetry", "sent"), 1)
        self.assertNotIn("s3cr3t", gateway.log)
        for place in ("cmdline", "environ"):
            self.assertNotIn(b"s3cr3t", Path(f"/proc/{gateway.process.pid}/{place}").read_bytes())

    def test_rotated(self) -> None:
        """A password that is changed while the gateway runs, in influxd and in the file, is used without a restart."""
        client = self.stranger(self.gateway())
        client.write_points(["before v=1"], protocol="line")
        self.influxd.query("SET PASSWORD FOR vendor = 'n3w'")
        self.password.write_text("n3w\n")
        now = time.time_ns()

        def is_stored() -> bool:
            try:
                client.write_points([f"after v=1 {now}"], protocol="line")
            except influxdb.exceptions.InfluxDBServerError:
                return False
            return self.influxd.count("telemetry", "after") == 1

        wait_until(is_stored, lambda: "a write with the new password")

    def test_the_operator_reads_the_cure(self) -> None:
        """A password that influxd refuses is told with the option that mends it."""
        self.password.write_text("wrong\n")
        gateway = self.gateway()
        try:
            self.stranger(gateway).write_points(["m v=1"], protocol="line")
        except influxdb.exceptions.InfluxDBServerError as error:  # told to come back, in words that name no cause
            self.assertNotIn("credential", str(error))
        gateway.wait_for(f"write a valid one into --influxdb-password-file {self.password}")
        self.assertNotIn("wrong", gateway.log)

    def test_pass_through(self) -> None:
        """With `--expose all` strangers pass with what they have, and never with the vendor's credential."""
        gateway = self.gateway("--expose", "all")
        error = self.assertRaises(
            influxdb.exceptions.InfluxDBClientError, self.stranger(gateway).query, "SHOW DATABASES"
        )
        self.assertEqual(error.code, 401)
        [database] = self.stranger(gateway, "admin", "adm1n").query("SHOW DATABASES").get_points()
        self.assertEqual(database, {"name": "telemetry"})

    def test_file_that_others_can_read(self) -> None:
        """A gateway does not come up with a password that everybody can read, and says why in one line."""
        self.password.chmod(0o644)
        program = Program(
            self.addCleanup,
            [
                *(BIN / "torfluxd", "serve", "--tor", "none", "--listen", "tcp:0:interface=127.0.0.1"),
                *("--influxdb-user", "vendor", "--influxdb-password-file", self.password),
                *("--state-dir", self.directory / "refused"),
            ],
            self.directory / "refused.log",
        )
        self.assertEqual(program.process.wait(30), 1)
        self.assertIn(f"--influxdb-password-file: {self.password}: has mode 0644", program.log)
        self.assertIn(f"chmod 600 {self.password}", program.log)
        self.assertNotIn("Traceback", program.log)
