"""One private Tor network for all tests of a session: `torfluxd testnet`, run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

__all__ = ["JoinableNetwork", "begin_network", "end_network", "own_network", "private_network"]

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
        _running.append(_begin())


def private_network() -> JoinableNetwork:
    """The network, when it is ready; that it does not come up is a failure in its own words."""
    begin_network()
    if not _ready:
        _ready.append(_when_ready(_running[0]))
    return _ready[0]


def own_network(cleanup: Callable[[Callable[[], object]], object], *options: str) -> JoinableNetwork:
    """A network for one test, which needs an option that the others do not; ready, and gone with the test.

    :param cleanup: `addCleanup` of the test.
    """
    process = _begin(*options)
    cleanup(lambda: _end(process))
    return _when_ready(process)


def _begin(*options: str) -> subprocess.Popen[str]:
    command = ["setpriv", "--pdeathsig", "TERM", str(Path(sys.executable).parent / "torfluxd"), "testnet", "--json"]
    return subprocess.Popen(
        [*command, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _when_ready(process: subprocess.Popen[str]) -> JoinableNetwork:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        _last_words.append(process.stderr.read())  # there is more than one test to be told
        raise AssertionError(f"the private Tor network did not come up: {''.join(_last_words)}")
    said = json.loads(line)
    return JoinableNetwork(Path(said["tor_binary"]), Path(said["defaults_torrc"]))


def _end(process: subprocess.Popen[str]) -> None:
    with process:
        process.terminate()
        process.communicate(timeout=END_SECONDS)


def end_network() -> None:
    """End it, and wait until nothing of it is left."""
    while _running:
        _end(_running.pop())
    _ready.clear()
    _last_words.clear()
