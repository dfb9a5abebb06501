"""One private Tor network for all tests of a session: `torfluxd testnet`, run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from attrs import frozen

__all__ = ["JoinableNetwork", "begin_network", "end_network", "private_network"]

END_SECONDS = 30


@frozen
class JoinableNetwork:
    """A private Tor network that is ready.

    :ivar tor_binary: a tor that joins it, whatever it is told.
    :ivar defaults_torrc: what another tor must read to join it.
    """

    tor_binary: Path
    defaults_torrc: Path


_running: list[subprocess.Popen[str]] = []
_ready: list[JoinableNetwork] = []
_last_words: list[str] = []


def begin_network() -> None:
    """Start it; it comes up while other tests run."""
    if not _running:
        command = ["setpriv", "--pdeathsig", "TERM", str(Path(sys.executable).parent / "torfluxd"), "testnet", "--json"]
        _running.append(
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )


def private_network() -> JoinableNetwork:
    """The network, when it is ready; that it does not come up is a failure in its own words."""
    begin_network()
    if not _ready:
        (process,) = _running
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            _last_words.append(process.stderr.read())  # there is more than one test to be told
            raise AssertionError(f"the private Tor network did not come up: {''.join(_last_words)}")
        said = json.loads(line)
        _ready.append(JoinableNetwork(Path(said["tor_binary"]), Path(said["defaults_torrc"])))
    return _ready[0]


def end_network() -> None:
    """End it, and wait until nothing of it is left."""
    while _running:
        with _running.pop() as process:
            process.terminate()
            process.communicate(timeout=END_SECONDS)
    _ready.clear()
    _last_words.clear()
