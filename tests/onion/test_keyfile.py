"""Tests of torfluxd.onion.keyfile."""

from __future__ import annotations

import os
import resource
import socket
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import OnionKeyError
from torfluxd.onion.key import OnionKey, read_key
from torfluxd.onion.keyfile import load_key_file, new_key_file, write_key_file

NOBODY = 65534


class KeyFileTestCase(SynchronousTestCase):
    """A directory of its own, and a key."""

    def setUp(self) -> None:
        """Make them."""
        self.directory = Path(self.enterContext(TemporaryDirectory()))
        self.path = self.directory / "onion.key"
        self.key = OnionKey.generate()

    def put(self, data: bytes, mode: int = 0o600) -> None:
        """Put a file there, with this mode."""
        self.path.write_bytes(data)
        self.path.chmod(mode)

    def load_refusal(self, path: Path | None = None, *, trusted: bool = False) -> str:
        """What is said of a file that is refused; it names the file."""
        error = self.assertRaises(OnionKeyError, load_key_file, path or self.path, trusted=trusted)
        self.assertTrue(str(error).startswith(f"{path or self.path}: "))
        self.assertNotIn(self.key.hex()[:8], str(error))
        return str(error)

    def write_refusal(self, path: Path) -> str:
        """What is said of a name under which no file can be made; it names it, and nothing else is left behind."""
        before = sorted(self.directory.iterdir())
        error = self.assertRaises(OnionKeyError, write_key_file, path, self.key)
        self.assertTrue(str(error).startswith(f"{path}: "))
        self.assertNotIn(self.key.hex()[:8], str(error))
        self.assertEqual(sorted(self.directory.iterdir()), before)
        return str(error)

    def become_nobody(self) -> None:
        """Give up root's right to read everything, where we have it, until the test ends."""
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
            self.addCleanup(os.seteuid, 0)


class WritingTests(KeyFileTestCase):
    """A key is written once, whole, for its owner alone."""

    def test_new(self) -> None:
        """A new key file holds the key whose address is announced, and is read back without a warning."""
        key = new_key_file(self.path)
        loaded = load_key_file(self.path)
        self.assertEqual(loaded.key, key)
        self.assertEqual(loaded.warnings, ())

    def test_new_each_time(self) -> None:
        """Two new key files hold different keys."""
        self.assertNotEqual(new_key_file(self.path), new_key_file(self.directory / "other.key"))

    def test_content(self) -> None:
        """A key file holds go-torfluxdb's hexadecimal digits and a newline, so that a shell can pass it on."""
        write_key_file(self.path, self.key)
        self.assertEqual(self.path.read_text(), f"{self.key.hex()}\n")

    def test_mode(self) -> None:
        """A key file is for its owner alone, whatever the umask."""
        for index, umask in enumerate((0o000, 0o022, 0o077)):
            self.addCleanup(os.umask, os.umask(umask))
            path = self.directory / f"{index}.key"
            write_key_file(path, self.key)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_nothing_else(self) -> None:
        """Nothing but the key file is left in its directory, and the file has no second name."""
        write_key_file(self.path, self.key)
        self.assertEqual(list(self.directory.iterdir()), [self.path])
        self.assertEqual(self.path.stat().st_nlink, 1)

    def test_never_overwrites(self) -> None:
        """A file of that name, even an empty one, is left as it is."""
        for content in (b"", b"precious"):
            self.put(content)
            self.assertIn("never overwritten", self.write_refusal(self.path))
            self.assertEqual(self.path.read_bytes(), content)

    def test_never_overwrites_a_link(self) -> None:
        """A symbolic link of that name is not followed, not even into the void."""
        target = self.directory / "target"
        self.path.symlink_to(target)
        self.assertIn("never overwritten", self.write_refusal(self.path))
        self.assertFalse(target.exists())

    def test_no_directory(self) -> None:
        """A directory that does not exist is not made, but named."""
        self.assertIn("a directory that exists", self.write_refusal(self.directory / "missing" / "onion.key"))

    def test_not_allowed(self) -> None:
        """A directory that may not be written is named."""
        self.directory.chmod(0o555)
        self.become_nobody()
        self.assertIn("Permission denied", str(self.assertRaises(OnionKeyError, write_key_file, self.path, self.key)))

    def test_disk_full(self) -> None:
        """When the disk takes half of a key only, no part of it is left."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        try:
            self.assertIn("File too large", self.write_refusal(self.path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_name_too_long(self) -> None:
        """A name that the file system does not take is refused, and the name under which it began is gone."""
        self.assertIn("File name too long", self.write_refusal(self.directory / ("k" * 256)))


class ReadingTests(KeyFileTestCase):
    """A key is read from whatever file a vendor has."""

    def test_every_form(self) -> None:
        """Every form of a key is read from a file, the binary ones byte for byte."""
        key = read_key(
            "2059003018865e181cb85d3617e68445c46e699644abdc5c1e944b202e83666c"
            "45c29632812fb3382c6036f055fe8614bff73803421c91c4e97eae1f566d4c20"
        )
        for data in (
            f"{key.hex()}\n".encode(),
            f"{key.control_blob()}\n".encode(),
            bytes.fromhex(key.hex()),
            key.tor_secret_file(),
        ):
            self.put(data)
            self.assertEqual(load_key_file(self.path).key, key)

    def test_symbolic_link(self) -> None:
        """Symbolic links are followed, and it is the target's mode that counts."""
        write_key_file(self.path, self.key)
        link = self.directory / "link"
        link.symlink_to(self.path)
        self.assertEqual(load_key_file(link).key, self.key)
        self.path.chmod(0o644)
        self.assertIn("mode 0644", self.load_refusal(link))

    def test_not_a_key(self) -> None:
        """A file that holds something else is named, with what it looks like."""
        self.put(self.key.tor_public_file())
        self.assertIn("tor's public key", self.load_refusal())


class PermissionTests(KeyFileTestCase):
    """A key that others know is nobody's key."""

    def setUp(self) -> None:
        """Write the key file."""
        super().setUp()
        write_key_file(self.path, self.key)

    def test_owner_only(self) -> None:
        """A file that its owner alone may read is read without a word."""
        for mode in (0o600, 0o400, 0o700):
            self.path.chmod(mode)
            self.assertEqual(load_key_file(self.path).warnings, ())

    def test_group_readable(self) -> None:
        """A file that its group may read is read, with a warning and its cure."""
        for mode in (0o640, 0o440):
            self.path.chmod(mode)
            loaded = load_key_file(self.path)
            self.assertEqual(loaded.key, self.key)
            (warning,) = loaded.warnings
            self.assertTrue(warning.startswith(f"{self.path}: has mode {mode:04o}"))
            self.assertIn(f"chmod 600 {self.path}", warning)

    def test_refused(self) -> None:
        """A file that others may read, or that its group or others may write, is refused with the cure."""
        for mode in (0o644, 0o604, 0o602, 0o620, 0o660, 0o666, 0o777):
            self.path.chmod(mode)
            refusal = self.load_refusal()
            self.assertIn(f"has mode {mode:04o}", refusal)
            self.assertTrue(refusal.endswith(f"run: chmod 600 {self.path}"))

    def test_cure_can_be_pasted(self) -> None:
        """The cure is a command that works, also when the name has a space."""
        path = self.directory / "my onion.key"
        write_key_file(path, self.key)
        path.chmod(0o644)
        self.assertTrue(self.load_refusal(path).endswith(f"run: chmod 600 '{path}'"))

    def test_trusted(self) -> None:
        """Of a file that systemd presents the permissions do not matter."""
        for mode in (0o440, 0o444, 0o666):
            self.path.chmod(mode)
            self.assertEqual(load_key_file(self.path, trusted=True).key, self.key)
            self.assertEqual(load_key_file(self.path, trusted=True).warnings, ())


class NoFileTests(KeyFileTestCase):
    """What is no file with a key in it is refused with a cure, and never waited for."""

    def test_missing(self) -> None:
        """A missing file is refused with the command that makes one."""
        self.assertTrue(self.load_refusal().endswith(f"run: torfluxd key new {self.path}"))

    def test_directory(self) -> None:
        """A directory, as tor's HiddenServiceDir is one, is refused with the name of the file in it."""
        self.assertIn("hs_ed25519_secret_key", self.load_refusal(self.directory))

    def test_unreadable(self) -> None:
        """A file that we may not read is refused with the reason."""
        self.put(b"", mode=0o000)
        self.become_nobody()
        self.assertIn("Permission denied", self.load_refusal())

    def test_loop(self) -> None:
        """A symbolic link to itself is refused with the reason."""
        self.path.symlink_to(self.path)
        self.assertIn("symbolic links", self.load_refusal())

    def test_pipe(self) -> None:
        """A pipe without a writer is refused at once, even where permissions do not matter."""
        os.mkfifo(self.path, 0o600)
        self.assertIn("not a regular file", self.load_refusal(trusted=True))

    def test_socket(self) -> None:
        """A unix socket is refused."""
        listening = self.enterContext(socket.socket(socket.AF_UNIX))
        listening.bind(str(self.path))
        self.assertIn("cannot be read", self.load_refusal())

    def test_device(self) -> None:
        """A device that never ends is refused."""
        self.assertIn("not a regular file", self.load_refusal(Path("/dev/zero")))

    def test_huge(self) -> None:
        """A huge file is refused without being read whole."""
        self.put(b"")
        os.truncate(self.path, 1 << 40)
        self.assertIn("larger than any private key", self.load_refusal())

    def test_empty(self) -> None:
        """An empty file is refused as such."""
        self.put(b"")
        self.assertIn("this is empty", self.load_refusal())
