"""The commands by which a running tor hosts our onion service."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.onion.ephemeral import add_onion_commands
from torfluxd.onion.key import OnionKey


class AddOnionTests(SynchronousTestCase):
    """`ADD_ONION`."""

    def test_workers(self) -> None:
        """Each worker has a socket to which strangers lead, all at the same port, whatever else tor is asked for."""
        targets = [Path("/run/onion.sock"), Path("/run/onion-2.sock")]
        commands = add_onion_commands(OnionKey.generate(), targets[0], (0, 4, 9, 11), (), targets[1:])
        self.assertEqual(len(commands), 2)
        for command in commands:
            ports = [word for word in command.text.split() if word.startswith("Port=")]
            self.assertEqual(ports, ["Port=80,unix:/run/onion.sock", "Port=80,unix:/run/onion-2.sock"])
