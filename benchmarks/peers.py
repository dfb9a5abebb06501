"""Who is measured: influxd itself, and three that stand in front of it."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from benchmarks.house import BenchError, House
from benchmarks.influxd import BenchInfluxd
from torfluxd.children import Child
from torfluxd.onion.network import free_ports

__all__ = ["DIRECT", "GATEWAY", "GO", "NGINX", "PEERS", "Peer", "launch_gateway", "launch_peers"]

DIRECT, GATEWAY, NGINX, GO = "influxd", "torfluxd", "nginx", "Go proxy"
PEERS = (DIRECT, GATEWAY, NGINX, GO)
"""In the order in which each round measures them."""

_HERE = Path(__file__).parent
_BUILD = _HERE.parent / "build" / "benchmarks"
_NGINX_CONFIG = _HERE / "peers" / "nginx.conf"
_GO_SOURCE = _HERE / "peers" / "proxy.go"
_BIN = Path(sys.executable).parent
_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@frozen
class Peer:
    """One that takes writes.

    :ivar name: for tables.
    :ivar port: where, on 127.0.0.1.
    :ivar pid: whose CPU time counts, with all that it has started; None for influxd, which is counted anyway.
    """

    name: str
    port: int
    pid: int | None = None


async def launch_peers(house: House, influxd: BenchInfluxd) -> list[Peer]:
    """Start all peers in front of one influxd, in the order of `PEERS`.

    :raises ChildError: a program is missing.
    :raises BenchError: one does not come up.
    """
    return [
        Peer(DIRECT, influxd.port),
        await launch_gateway(house, influxd),
        await _launch_nginx(house, influxd),
        await _launch_go(house, influxd),
    ]


async def launch_gateway(house: House, influxd: BenchInfluxd, *options: str) -> Peer:
    """Start a gateway as an operator would, without Tor.

    :param options: further ones; without, it has its defaults.
    :raises BenchError: it does not come up.
    """
    (port,) = free_ports(1)
    argv: list[str | Path] = [_BIN / "torfluxd", "serve", "--tor", "none"]
    argv += ["--listen", f"tcp:{port}:interface=127.0.0.1", "--influxdb", f"127.0.0.1:{influxd.port}"]
    argv += ["--state-dir", house.directory / f"gateway-{port}", *options]
    return Peer(GATEWAY, port, (await _launch(house, GATEWAY, argv, port)).pid)


async def _launch_nginx(house: House, influxd: BenchInfluxd) -> Peer:
    (port,) = free_ports(1)
    home = house.directory / "nginx"
    home.mkdir()
    config = home / "nginx.conf"
    text = _NGINX_CONFIG.read_text()
    for word, value in (
        ("@USER@", getpass.getuser()),
        ("@HOME@", str(home)),
        ("@PORT@", str(port)),
        ("@INFLUXD@", f"127.0.0.1:{influxd.port}"),
    ):
        text = text.replace(word, value)
    config.write_text(text)
    argv: list[str | Path] = [_found("nginx", "nginx-light"), "-p", home, "-c", config, "-e", home / "error.log"]
    return Peer(NGINX, port, (await _launch(house, NGINX, argv, port)).pid)


async def _launch_go(house: House, influxd: BenchInfluxd) -> Peer:
    (port,) = free_ports(1)
    binary = _BUILD / "proxy"
    _BUILD.mkdir(parents=True, exist_ok=True)
    environment = ["env", "CGO_ENABLED=0", "GO111MODULE=off", f"GOCACHE={_BUILD / 'go-cache'}"]
    build: list[str | Path] = [*environment, _found("go", "golang-go"), "build", "-o", binary, _GO_SOURCE]
    await house.finish("go build", build, house.directory / "go-build.log")
    argv: Sequence[str | Path] = [binary, f"127.0.0.1:{port}", f"127.0.0.1:{influxd.port}"]
    return Peer(GO, port, (await _launch(house, GO, argv, port)).pid)


async def _launch(house: House, name: str, argv: Sequence[str | Path], port: int) -> Child:
    log = house.directory / f"{name.replace(' ', '-')}-{port}.log"
    child = await house.start(name, argv, log)
    await house.until_listening(port, child, log)
    return child


def _found(program: str, package: str) -> str:
    path = shutil.which(program, path=_SYSTEM_PATH)
    if path is None:
        raise BenchError(f"there is no {program} in PATH: install it (Debian: apt-get install {package})")
    return path
