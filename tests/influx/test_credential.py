"""The vendor's credential is found, shown, read again when it was refused, and never printed."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import SettingsError
from torfluxd.influx.api import Api
from torfluxd.influx.credential import AGAIN_SECONDS, Credential, CredentialOptions


class CredentialCase(SynchronousTestCase):
    """A directory for files with secrets in them."""

    def setUp(self) -> None:
        """Begin with an empty one, and a clock."""
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        self.clock = Clock()
        self.environment: dict[str, str] = {}

    def put(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        """A file with a secret."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def credential(
        self,
        token_file: Path | None = None,
        user: str | None = None,
        password_file: Path | None = None,
        api: Api = Api.V1,
    ) -> Credential:
        """The credential that these options name."""
        return Credential(CredentialOptions(token_file, user, password_file), api, self.environment, self.clock)

    def shown(self, credential: Credential) -> bytes:
        """What InfluxDB sees of it."""
        self.assertEqual(credential.load(), ())
        ((name, value),) = credential.headers
        self.assertEqual(name, b"Authorization")
        return value

    def refusal(self, credential: Credential) -> str:
        """Why it cannot be used."""
        return str(self.assertRaises(SettingsError, credential.load))


class ShownTests(CredentialCase):
    """How a credential is shown."""

    def test_token(self) -> None:
        """A token is shown as each API wants it, without the line break that an editor leaves."""
        path = self.put("token", b"abc-_==\n")
        for api, scheme in ((Api.V1, b"Token"), (Api.V2, b"Token"), (Api.V3, b"Bearer")):
            self.assertEqual(self.shown(self.credential(path, api=api)), scheme + b" abc-_==")

    def test_password(self) -> None:
        """A user and a password are shown as HTTP's Basic, blanks of the password included."""
        for data in (b" p:w\xc3\xbc ", b" p:w\xc3\xbc \n", b" p:w\xc3\xbc \r\n"):
            shown = self.shown(self.credential(user="wü", password_file=self.put("password", data)))
            self.assertEqual(shown, b"Basic " + b64encode("wü: p:wü ".encode()))

    def test_nothing(self) -> None:
        """Where nothing is given, nothing is shown."""
        credential = self.credential()
        self.assertEqual((credential.load(), credential.headers, credential.place), ((), (), ""))

    def test_nothing_before_it_is_loaded(self) -> None:
        """No file is touched before it is time."""
        self.assertEqual(self.credential(self.directory / "missing").headers, ())

    def test_secret(self) -> None:
        """A credential is not printed with what holds it, nor in an error about it."""
        credential = self.credential(self.put("token", b"s3cr3t"))
        credential.load()
        self.assertNotIn("s3cr3t", repr(credential) + repr(vars(credential)["_source"]) + credential.place)
        for data in (b"s3 cr3t", b"s3cr3t\0", b"s3cr3t\xff", b"s3cr3t\r\nEvil: 1"):
            self.assertNotIn("s3", self.refusal(self.credential(self.put("bad", data))))


class SystemdTests(CredentialCase):
    """Systemd's credentials."""

    def setUp(self) -> None:
        """Begin with a directory that systemd made."""
        super().setUp()
        self.environment = {"CREDENTIALS_DIRECTORY": str(self.directory / "credentials")}

    def test_token(self) -> None:
        """The credential influxdb-token is used as systemd presents it, readable by its group."""
        self.put("credentials/influxdb-token", b"abc", mode=0o440)
        self.assertEqual(self.shown(self.credential()), b"Token abc")

    def test_password(self) -> None:
        """The credential influxdb-password is that of the user who is named."""
        self.put("credentials/influxdb-token", b"abc")
        self.put("credentials/influxdb-password", b"pw", mode=0o440)
        self.assertEqual(self.shown(self.credential(user="w")), b"Basic " + b64encode(b"w:pw"))

    def test_options_win(self) -> None:
        """A file that is named wins, and is trusted where it is one of systemd's."""
        self.put("credentials/influxdb-token", b"abc")
        other = self.put("credentials/other", b"def", mode=0o440)
        self.assertEqual(self.shown(self.credential(other)), b"Token def")

    def test_no_password(self) -> None:
        """A user without a password is an error that says where one may stand."""
        refusal = self.refusal(self.credential(user="w"))
        self.assertIn("--influxdb-user: there is no password", refusal)
        self.assertIn("--influxdb-password-file", refusal)

    def test_no_user(self) -> None:
        """A password without a user is an error that names the option."""
        self.put("credentials/influxdb-password", b"pw")
        self.assertIn("--influxdb-user", self.refusal(self.credential()))


class FileTests(CredentialCase):
    """Files that are used with a warning, or not at all."""

    def test_group(self) -> None:
        """A file that its group may read is used, with a warning and its cure."""
        (warning,) = self.credential(self.put("token", b"abc", mode=0o640)).load()
        self.assertIn("its group may read the token", warning)
        self.assertIn("chmod 600", warning)

    def test_world(self) -> None:
        """A file that others may read is refused, with the option and the cure."""
        refusal = self.refusal(self.credential(self.put("token", b"abc", mode=0o644)))
        self.assertTrue(refusal.startswith("--influxdb-token-file: "), refusal)
        self.assertIn("chmod 600", refusal)

    def test_missing(self) -> None:
        """A file that is not there is an error that names the option and the cure."""
        for path in (self.directory / "missing", self.directory):
            refusal = self.refusal(self.credential(user="w", password_file=path))
            self.assertEqual(
                refusal,
                f"--influxdb-password-file: {path}: there is no such file; write the password into it, mode 0600",
            )

    def test_content(self) -> None:
        """A file that holds no token, no password or far too much is an error."""
        for data in (b"", b"\n", b"a b", b"a\nb"):
            self.assertIn("holds no token", self.refusal(self.credential(self.put("token", data))))
        for data in (b"", b"\n", b"a\nb\n"):
            path = self.put("password", data)
            self.assertIn("holds no password", self.refusal(self.credential(user="w", password_file=path)))
        self.assertIn("larger than any token", self.refusal(self.credential(self.put("token", b"x" * 5000))))


class RotationTests(CredentialCase):
    """A credential that changes while the gateway runs."""

    def setUp(self) -> None:
        """Begin with a token."""
        super().setUp()
        self.path = self.put("token", b"old")
        self.subject = self.credential(self.path)
        self.assertEqual(self.shown(self.subject), b"Token old")

    def test_new(self) -> None:
        """After a refusal the file is read again, and the next write shows what it holds now."""
        self.put("token", b"new")
        self.assertEqual(self.subject.headers[0][1], b"Token old")
        self.subject.refused()
        self.assertEqual(self.subject.headers[0][1], b"Token new")

    def test_replaced(self) -> None:
        """So is a file that was put in the place of the first one."""
        os.replace(self.put("other", b"new"), self.path)
        self.subject.refused()
        self.assertEqual(self.subject.headers[0][1], b"Token new")

    def test_not_all_the_time(self) -> None:
        """However many writes are refused, the file is read once a second."""
        self.subject.refused()
        self.put("token", b"new")
        self.clock.advance(AGAIN_SECONDS - 0.1)
        self.subject.refused()
        self.assertEqual(self.subject.headers[0][1], b"Token old")
        self.clock.advance(0.1)
        self.subject.refused()
        self.assertEqual(self.subject.headers[0][1], b"Token new")

    def test_gone(self) -> None:
        """A file that cannot be read at that moment is said in the log, and what was known stays."""
        self.path.unlink()
        with capturedLogs() as events:
            self.subject.refused()
        [event] = events
        self.assertIn("there is no such file", event["problem"])
        self.assertEqual(self.subject.headers[0][1], b"Token old")
        self.assertNotIn("old", event["problem"])

    def test_none(self) -> None:
        """Where there is none, a refusal changes nothing."""
        credential = self.credential()
        credential.load()
        credential.refused()
        self.assertEqual(credential.headers, ())
