"""`torfluxd testnet`: a private Tor network on loopback, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TextIO

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.python import usage

from torfluxd.children import Keeper
from torfluxd.errors import TestNetworkError
from torfluxd.onion.network import PrivateNetwork
from torfluxd.onion.network_nodes import FIRST_VOTING_SECONDS, VOTING_SECONDS
from torfluxd.onion.process import ProcessReactor

__all__ = ["Testnet", "TestnetOptions"]

SECONDS_A_DAY = 86_400


def _read_voting_seconds(text: str) -> int:
    seconds = int(text)
    if seconds < FIRST_VOTING_SECONDS or SECONDS_A_DAY % seconds:
        raise ValueError(f"expected at least {FIRST_VOTING_SECONDS} that go into a day without a rest")
    return seconds


class TestnetOptions(usage.Options):
    """The options of `torfluxd testnet`."""

    __test__ = False  # pytest: the name begins with "Test", it is no test.

    longdesc = """\
Run a private Tor network on 127.0.0.1: three directory authorities and three relays, ready in less than a minute. It
runs until Ctrl-C, and leaves no process and no temporary file behind; a directory that was named keeps what is in it,
the logs above all. Nothing of it reaches the real Tor network.
"""
    optFlags = [["json", None, "When it is ready, say so in one JSON object on standard output."]]
    optParameters = [
        ["directory", None, None, "Where its files are; must be empty or missing. [default: a temporary directory]"],
        ["tor-binary", None, None, "The tor to run. [default: the one in PATH]"],
        [
            "voting-seconds",
            None,
            VOTING_SECONDS,
            "How often there is a new consensus; Onionbalance's --is-testnet needs 20.",
            _read_voting_seconds,
        ],
    ]

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: torfluxd testnet [options]"


@frozen
class Testnet:
    """One run of the command.

    :ivar directory: where its files shall be, or None for a temporary directory.
    :ivar tor_binary: the tor to run, or None for the one in PATH.
    :ivar as_json: whether readiness is told for programs.
    :ivar voting_seconds: between consensuses.
    """

    __test__ = False

    reactor: ProcessReactor
    directory: Path | None
    tor_binary: str | None
    as_json: bool
    voting_seconds: int = VOTING_SECONDS
    out: TextIO = sys.stdout
    progress: TextIO = sys.stderr

    @classmethod
    def from_options(cls, reactor: ProcessReactor, options: TestnetOptions) -> Testnet:
        """As a person typed it."""
        directory = options["directory"]
        return cls(
            reactor,
            Path(directory) if directory else None,
            options["tor-binary"],
            bool(options["json"]),
            options["voting-seconds"],
        )

    async def run(self) -> int:
        """Start the network, say that it is ready, and wait to be cancelled.

        :returns: 0 when it was cancelled once it was ready.
        :raises TorfluxdError: it could not be started, or one of its tors ended.
        """
        keeper = Keeper()
        keeper.start(self.reactor)
        try:
            network = PrivateNetwork(
                self.reactor, self._directory(keeper), keeper, self.tor_binary, voting_seconds=self.voting_seconds
            )
            seconds = await network.start(self._say)
            self._tell_ready(network, seconds)
            with contextlib.suppress(CancelledError):
                await network.watch()
            return 0
        finally:
            await keeper.stop()

    def _directory(self, keeper: Keeper) -> Path:
        if self.directory is None:
            return keeper.directory("testnet-")
        directory = self.directory.absolute()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise TestNetworkError(f"--directory: {directory} is not empty")
        except OSError as error:
            raise TestNetworkError(f"--directory: {directory} cannot be used ({error.strerror})") from None
        return directory

    def _say(self, line: str) -> None:
        print(line, file=self.progress, flush=True)

    def _tell_ready(self, network: PrivateNetwork, seconds: float) -> None:
        if self.as_json:
            ready = {
                "ready_seconds": round(seconds, 1),
                "directory": str(network.directory),
                "defaults_torrc": str(network.defaults_torrc),
                "tor_binary": str(network.tor_binary),
            }
            print(json.dumps(ready), file=self.out, flush=True)
            return
        print(
            f"A private Tor network is ready, after {seconds:.0f} s. Ctrl-C ends it.\n\n"
            "Any tor joins it in place of the real one:\n"
            f"    {network.tor_binary} --SocksPort 9150 --DataDirectory /tmp/some-tor\n"
            f"    tor --defaults-torrc {network.defaults_torrc} ...\n"
            f"    torfluxd serve --tor-binary {network.tor_binary} ...",
            file=self.out,
            flush=True,
        )
