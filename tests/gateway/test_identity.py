"""Which onion service the gateway is."""

from __future__ import annotations

import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import OnionKeyError, SettingsError
from torfluxd.gateway.identity import find_key, print_key
from torfluxd.onion.key import OnionKey, read_key

KEY, OTHER = OnionKey.generate(), OnionKey.generate()


class FindKeyTests(SynchronousTestCase):
    """Where the key comes from."""

    def setUp(self) -> None:
        """Begin with an empty state directory and an empty environment."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.state = self.directory / "state"
        self.state.mkdir(mode=0o700)
        self.environment: dict[str, str] = {}

    def written(self, name: str, key: OnionKey, mode: int = 0o600) -> Path:
        """A key file."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(key.hex())
        path.chmod(mode)
        return path

    def test_a_key_is_made_and_kept(self) -> None:
        """Where no key is named, one is made in the state directory, and is the same after a restart."""
        made = find_key(None, self.state, self.environment).key
        self.assertEqual(made, find_key(None, self.state, self.environment).key)
        self.assertEqual(0o600, (self.state / "onion.key").stat().st_mode & 0o777)

    def test_the_file_given_wins(self) -> None:
        """--onion-key wins over the credential, the variable and the state directory."""
        self.environment = {
            "CREDENTIALS_DIRECTORY": str(self.written("credentials/onion-key", OTHER).parent),
            "TORFLUXDB_ONIONKEY": OTHER.hex(),
        }
        self.assertEqual(KEY, find_key(self.written("key", KEY), self.state, self.environment).key)

    def test_systemds_credential_wins_over_the_variable(self) -> None:
        """The credential onion-key is used as systemd presents it, readable by its group."""
        path = self.written("credentials/onion-key", KEY, mode=0o440)
        self.environment = {"CREDENTIALS_DIRECTORY": str(path.parent), "TORFLUXDB_ONIONKEY": OTHER.hex()}
        found = find_key(None, self.state, self.environment)
        self.assertEqual((KEY, ()), (found.key, found.warnings))
        self.assertEqual(KEY, find_key(path, self.state, self.environment).key)

    def test_a_unit_without_that_credential_starts_as_well(self) -> None:
        """A credentials directory without a key in it is no error."""
        self.environment = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        find_key(None, self.state, self.environment)
        self.assertTrue((self.state / "onion.key").exists())

    def test_go_torfluxdbs_variable_is_taken(self) -> None:
        """go-torfluxdb's variable gives the key, with a warning, and is not handed on to child processes."""
        self.environment = {"TORFLUXDB_ONIONKEY": KEY.hex()}
        found = find_key(None, self.state, self.environment)
        self.assertEqual(KEY, found.key)
        self.assertIn("--onion-key", " ".join(found.warnings))
        self.assertEqual({}, self.environment)
        self.assertEqual([], list(self.state.iterdir()))

    def test_what_cannot_be_used_is_refused_by_name(self) -> None:
        """A key that cannot be used is an error that names where it came from, and never another key in its place."""
        self.environment = {"TORFLUXDB_ONIONKEY": "wombats"}
        error = self.assertRaises(OnionKeyError, find_key, None, self.state, self.environment)
        self.assertIn("TORFLUXDB_ONIONKEY: ", str(error))
        self.assertNotIn("wombats", str(error))
        (self.state / "onion.key").write_text("wombats")
        (self.state / "onion.key").chmod(0o600)
        error = self.assertRaises(OnionKeyError, find_key, None, self.state, self.environment)
        self.assertIn(str(self.state / "onion.key"), str(error))


class PrintKeyTests(SynchronousTestCase):
    """--printkey."""

    def test_the_key_is_printed_as_go_torfluxdb_reads_it(self) -> None:
        """One line is the key in 128 hexadecimal digits; a warning stands beside it."""
        stream = io.StringIO()
        print_key(KEY, stream, {})
        (line,) = [line for line in stream.getvalue().splitlines() if len(line) == 128]
        self.assertEqual(KEY, read_key(line))
        self.assertIn("impersonate", stream.getvalue())

    def test_the_journal_never_has_it(self) -> None:
        """Where standard output is the journal, the key is not printed."""
        with TemporaryFile("w+") as stream:
            status = os.fstat(stream.fileno())
            environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            self.assertRaises(SettingsError, print_key, KEY, stream, environment)
            stream.seek(0)
            self.assertEqual("", stream.read())
            print_key(KEY, stream, {"JOURNAL_STREAM": "1:1"})
