"""Who may reach a private onion service: the directory that names them."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.errors import ClientKeyError, ControlLostError
from torfluxd.onion.authorized import LOOK_SECONDS, MAX_CLIENTS, AuthorizedClients, Change, keep_renewing
from torfluxd.onion.client_key import ClientKey, auth_line


class DirectoryCase(SynchronousTestCase):
    """A directory with Alice and Bob in it."""

    def setUp(self) -> None:
        """Put them there."""
        self.directory = Path(self.enterContext(TemporaryDirectory())) / "clients"
        self.directory.mkdir()
        self.heard: list[str] = []
        self.clients = AuthorizedClients(self.directory, self.heard.append)
        self.alice, self.bob = self.add("alice"), self.add("bob")

    def add(self, name: str) -> str:
        """Let a client in; its public key."""
        public = ClientKey.generate().public
        self.put(f"{name}.auth", auth_line(public) + "\n")
        return public

    def put(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.directory / name
        path.write_text(text)
        return path

    def refusal(self) -> str:
        """What is said of a directory that is refused."""
        return str(self.assertRaises(ClientKeyError, self.clients.load))


class LoadTests(DirectoryCase):
    """At the start, everything must be right."""

    def test_clients(self) -> None:
        """Each file NAME.auth lets in one client."""
        self.clients.load()
        self.assertEqual(set(self.clients.keys), {self.alice, self.bob})
        self.assertEqual(self.heard, [])

    def test_wrong_files(self) -> None:
        """A file that tor would pass over without a word is refused by name."""
        for text in ("", "nonsense", "x" * 300, f"{auth_line(self.alice)}\n{auth_line(self.bob)}", "\xff"):
            path = self.put("carol.auth", text)
            self.assertTrue(self.refusal().startswith(f"{path}: "), self.refusal())

    def test_odd_files(self) -> None:
        """A directory, a dangling link, a pipe, and a file that everybody may write are refused by name, at once."""
        path = self.directory / "carol.auth"
        path.mkdir()
        self.assertIn(f"{path}: ", self.refusal())
        path.rmdir()
        path.symlink_to("/nowhere")
        self.assertIn(f"{path}: cannot be read", self.refusal())
        path.unlink()
        os.mkfifo(path)
        self.assertIn(f"{path}: is not a regular file", self.refusal())
        path.unlink()
        self.add("carol")
        path.chmod(0o666)
        self.assertIn(f"chmod o-w {path}", self.refusal())

    def test_one_key_twice(self) -> None:
        """Two files with one key are refused, for to take one away would revoke nobody."""
        self.put("carol.auth", auth_line(self.alice))
        self.assertIn("carol.auth: has the same key as alice.auth", self.refusal())

    def test_nobody(self) -> None:
        """An empty directory, which tor would take for an onion service that is public, is refused."""
        for path in self.directory.iterdir():
            path.unlink()
        self.assertIn("has no file NAME.auth", self.refusal())

    def test_no_directory(self) -> None:
        """A directory that is not there, or is none, or that everybody may write, is refused by name."""
        for path in (self.directory / "none", self.directory / "alice.auth"):
            clients = AuthorizedClients(path, self.heard.append)
            self.assertTrue(str(self.assertRaises(ClientKeyError, clients.load)).startswith(f"{path}: cannot be read"))
        self.directory.chmod(0o777)
        self.assertIn("chmod o-w", self.refusal())

    def test_other_files(self) -> None:
        """A file with another name is passed over, with a warning; what is hidden, without one."""
        self.put("carol.auth.revoked", "")
        self.put(".carol.auth.swp", "")
        self.put(".hidden.auth", "")
        self.clients.load()
        self.assertEqual(len(self.clients.keys), 2)
        self.assertEqual(len(self.heard), 1)
        self.assertIn("carol.auth.revoked: is passed over", self.heard[0])

    def test_too_many(self) -> None:
        """More clients than tor can publish are refused, instead of an onion service that nobody can find."""
        for number in range(MAX_CLIENTS - 2):
            self.add(f"client-{number:03}")
        self.clients.load()
        self.add("zoe")
        self.assertIn("zoe.auth: is one too many", self.refusal())


class LookTests(DirectoryCase):
    """Later, what is wrong lets nobody in, and all others stay."""

    def setUp(self) -> None:
        """Begin with what is right."""
        super().setUp()
        self.clients.load()

    def look(self) -> set[str]:
        """Who is let in now."""
        self.clients.look()
        return set(self.clients.keys)

    def test_nothing_new(self) -> None:
        """What has not changed is not read again."""
        self.assertFalse(self.clients.look())
        (self.directory / "alice.auth").touch()
        self.assertFalse(self.clients.look())
        self.assertEqual(self.heard, [])

    def test_a_new_client(self) -> None:
        """A client that is added is let in."""
        with capturedLogs() as events:
            carol = self.add("carol")
            self.assertEqual(self.clients.look(), Change(count=3, added=1, revoked=0))
        self.assertEqual(set(self.clients.keys), {self.alice, self.bob, carol})
        self.assertEqual((self.heard, list(events)), ([], []))

    def test_a_revoked_client(self) -> None:
        """A client whose file is taken away, or moved, is not let in any more."""
        (self.directory / "bob.auth").rename(self.directory / "bob.revoked")
        self.assertEqual(self.look(), {self.alice})

    def test_another_key(self) -> None:
        """A file with another key lets in the new one and not the old one."""
        self.assertEqual(self.look() - {self.add("alice")}, {self.alice, self.bob})
        self.assertNotIn(self.alice, self.look())

    def test_a_file_that_is_half_written(self) -> None:
        """A file that is wrong lets nobody in and is told once; when it is mended, it lets in."""
        path = self.put("carol.auth", "descriptor:x25519:")
        self.assertEqual(self.look(), {self.alice, self.bob})
        self.look()
        self.assertEqual(len(self.heard), 1)
        self.assertIn(f"{path}: ", self.heard[0])
        self.assertIn(self.add("carol"), self.look())

    def test_a_broken_file_revokes(self) -> None:
        """A client whose file is broken is out: in doubt nobody is let in."""
        self.put("bob.auth", "oops")
        self.assertEqual(self.look(), {self.alice})

    def test_the_last_one(self) -> None:
        """When the last client is revoked nobody is let in, and never everybody."""
        for path in self.directory.iterdir():
            path.unlink()
        (nobody,) = self.look()
        self.assertNotIn(nobody, (self.alice, self.bob))
        self.assertIn("nobody is let in", self.heard[-1])
        self.assertEqual(self.look(), {nobody})
        self.assertEqual(self.look() - {nobody}, set())
        self.assertEqual({self.add("alice")}, self.look())

    def test_no_directory_any_more(self) -> None:
        """While the directory cannot be read all stays as it was, which is told once; then it counts again."""
        away = self.directory.with_name("away")
        self.directory.rename(away)
        self.assertEqual((self.look(), self.look()), ({self.alice, self.bob},) * 2)
        self.assertEqual(len(self.heard), 1)
        self.assertIn("cannot be read any more", self.heard[0])
        away.rename(self.directory)
        (self.directory / "bob.auth").unlink()
        self.assertEqual(self.look(), {self.alice})


class KeepTests(DirectoryCase):
    """The directory is kept an eye on."""

    def setUp(self) -> None:
        """Keep an eye on it."""
        super().setUp()
        self.clients.load()
        self.clock = Clock()
        self.renewed: list[Deferred[None]] = []
        self.kept = Deferred.fromCoroutine(keep_renewing(self.clients, self.clock, self.renew))

    def renew(self) -> Deferred[None]:
        """Note it; it ends when the test says so."""
        self.renewed.append(Deferred())
        return self.renewed[-1]

    def test_a_change_is_seen_in_seconds(self) -> None:
        """A change is seen at the next look, once, and the look after that comes when tor has been told;
        then the log says how many they are, and nobody's name.
        """
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(self.renewed, [])
        self.add("carol")
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(len(self.renewed), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        with capturedLogs() as events:
            self.renewed[0].callback(None)
        self.assertEqual([(event["count"], event["added"], event["revoked"]) for event in events], [(3, 1, 0)])
        self.assertNotIn("carol", str(events))
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(len(self.renewed), 1)

    def test_it_ends(self) -> None:
        """It ends when it is cancelled, and with the error of who could not be told; no timer is left."""
        self.add("carol")
        self.clock.advance(LOOK_SECONDS)
        self.renewed[0].errback(ControlLostError("gone"))
        self.failureResultOf(self.kept, ControlLostError)
        again = Deferred.fromCoroutine(keep_renewing(self.clients, self.clock, self.renew))
        again.cancel()
        self.failureResultOf(again, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
