"""Onion services of a private Tor network: straight to InfluxDB, and to the gateway; and a tor for clients."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from benchmarks.house import House
from benchmarks.influxd import BenchInfluxd
from benchmarks.processes import tree
from torfluxd.children import Child
from torfluxd.onion.network import PrivateNetwork

__all__ = ["OnionPeer", "bare_onion", "client_tor", "gateway_onion", "start_network"]

_BIN = Path(sys.executable).parent
_JOINED = "Bootstrapped 100%"
_WITHOUT_POW = "HiddenServicePoWDefensesEnabled 0"
_WITH_POW = "HiddenServicePoWDefensesEnabled 1"


@frozen
class OnionPeer:
    """An onion service that takes writes.

    :ivar name: for tables.
    :ivar hostname: its address.
    :ivar processes: whose CPU time counts: `tor`, and `gateway` where there is one.
    """

    name: str
    hostname: str
    processes: dict[str, int]


async def start_network(house: House) -> Path:
    """Start a private Tor network.

    :returns: the tor that joins it.
    :raises TestNetworkError: it does not come up.
    """
    directory = house.directory / "network"
    directory.mkdir(mode=0o700)
    network = PrivateNetwork(house.reactor, directory, house.keeper)
    await network.start(lambda line: house.say(f"Tor network: {line}"))
    return network.tor_binary


async def client_tor(house: House, tor: Path) -> tuple[Path, int]:
    """Start the tor of the clients.

    :returns: its SOCKS port, a unix socket; and its process id.
    :raises BenchError: it does not come up.
    """
    directory = house.directory / "client"
    socks = directory / "socks"
    # Circuits that nobody uses any more last as long as a run, and do not weigh on the one after the next.
    lines = [f"SocksPort unix:{socks} IsolateSOCKSAuth ExtendedErrors", "ClientOnly 1", "MaxCircuitDirtiness 15"]
    child = await _tor(house, tor, "client", lines)
    return socks, child.pid


async def bare_onion(house: House, tor: Path, influxd: BenchInfluxd, name: str, pow_defends: bool) -> OnionPeer:
    """Start an onion service that leads straight to InfluxDB, as anybody would set it up.

    :raises BenchError: it does not come up.
    """
    directory = house.directory / name / "onion"
    lines = [
        "SocksPort 0",
        f"HiddenServiceDir {directory}",
        f"HiddenServicePort 80 127.0.0.1:{influxd.port}",
        _WITH_POW if pow_defends else _WITHOUT_POW,
    ]
    child = await _tor(house, tor, name, lines)
    return OnionPeer("bare onion", (directory / "hostname").read_text().strip(), {"tor": child.pid})


async def gateway_onion(house: House, tor: Path, influxd: BenchInfluxd, name: str, pow_defends: bool) -> OnionPeer:
    """Start a gateway with a tor of its own and its defaults, proof of work among them unless it shall be without.

    :raises BenchError: it does not come up.
    """
    state, log = house.directory / name, house.directory / f"{name}.log"
    argv: list[str | Path] = [_BIN / "torfluxd", "serve", "--tor-binary", tor, "--state-dir", state]
    argv += ["--influxdb", f"127.0.0.1:{influxd.port}"]
    if not pow_defends:
        argv += ["--tor-option", _WITHOUT_POW]
    child = await house.start("torfluxd", argv, log)
    await house.until(lambda: "published: " in log.read_text("utf-8", "replace"), child, log)
    gateway, its_tor = tree(child.pid)
    return OnionPeer("torfluxd", (state / "hostname").read_text().strip(), {"gateway": gateway, "tor": its_tor})


async def _tor(house: House, tor: Path, name: str, lines: Sequence[str]) -> Child:
    directory = house.directory / name
    directory.mkdir(mode=0o700)
    torrc, log = directory / "torrc", directory / "log"
    torrc.write_text("\n".join([f"DataDirectory {directory}", "Log notice stdout", *lines, ""]))
    child = await house.start(f"the tor of {name}", [tor, "-f", torrc], log)
    await house.until(lambda: _JOINED in log.read_text("utf-8", "replace"), child, log)
    return child
