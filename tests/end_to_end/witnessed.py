"""To be run as a program: reporters, and a witness to all that they ask of the operating system.

The witness is an audit hook, which Python calls before it connects, looks up a name, sends, or starts a program. One
argument, in JSON: who this host pretends to be, and where the reporters' SOCKS ports are. What became of it comes on
standard output, in JSON.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import tempfile
from typing import Any

WATCHED = ("ftplib.", "http.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.", "smtplib.")
WATCHED_SOCKETS = (
    *("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.gethostname"),
    *("socket.getnameinfo", "socket.getservby", "socket.sendmsg", "socket.sendto"),
)
LOOKED_FOR = (*WATCHED, *WATCHED_SOCKETS, "subprocess.", "telnetlib.", "urllib.", "webbrowser.")

NO_ONIONS = (
    *("http://gateway.example.com", "http://127.0.0.1:8086", "http://localhost", "https://gateway.example.com"),
    # A checksum that is wrong, a v2 address, and a host that only looks like an onion service.
    "http://rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5optfae.onion",
    "http://expyuzz4wqqyqhjn.onion",
    "http://rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5optfad.onion.example.com",
)

POINTS: tuple[tuple[str, dict[str, Any], dict[str, str]], ...] = (
    ("app", {"starts": 1, "load": 0.5, "ok": True}, {"version": "1.0"}),
    ("dauer", {"sekunden": 1234567.25}, {"größe": "mittel"}),
)
TIME_NS = 1_700_000_000_000_000_000
FLUSH_SECONDS = 150.0
RETRY_SECONDS = 0.1
NEVER_SECONDS = 1e7
"""So that a report leaves when it is asked for, and not by itself."""

NOBODYS_SOCKS = "tcp:127.0.0.1:9050"

seen: list[tuple[str, str]] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what is asked of the operating system."""
    if event == "socket.connect":
        address = arguments[1]
        seen.append((event, os.fsdecode(address) if isinstance(address, bytes) else str(address)))
    elif event.startswith(LOOKED_FOR):
        seen.append((event, str(arguments)))


def most_resident_bytes() -> int:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def refused(url: str) -> list[str]:
    """Who refuses to speak to a URL: a reporter, and the agent."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import clientFromString

    from torfluxd import OnionAddressError, OnionAgent, Reporter, SettingsError

    who = []
    try:
        Reporter(url, "telemetry", socks=NOBODYS_SOCKS)
    except (OnionAddressError, SettingsError):
        who.append("reporter")
    try:
        await OnionAgent(reactor, clientFromString(reactor, NOBODYS_SOCKS)).request(b"POST", url.encode())
    except OnionAddressError:
        who.append("agent")
    return who


async def reported(url: str, socks: str | None, seconds: float) -> bool:
    """Whether a reporter gets its points through, which it keeps on disk."""
    from torfluxd import Reporter

    options: dict[str, Any] = {"backoff": lambda _: RETRY_SECONDS, "interval_seconds": NEVER_SECONDS}
    with tempfile.TemporaryDirectory(prefix="witnessed-") as directory:
        if socks is not None:  # with a state directory one that has to look for tor would launch it
            options["state_dir"] = directory
        reporter = Reporter(url, "telemetry", socks=socks, **options)
        reporter.startService()
        for measurement, fields, tags in POINTS:
            reporter.record(measurement, fields, tags, TIME_NS)
        flushed = await reporter.flush(seconds)
        await reporter.stopService()
        return flushed


async def all_of_it(url: str, ways: dict[str, str | None], seconds: float = FLUSH_SECONDS) -> dict[str, Any]:
    """Be refused where there is no onion service, and report by each way, all at once.

    :param ways: descriptions of SOCKS ports, by names; None to look for one.
    """
    from twisted.internet.defer import Deferred, gatherResults

    refusals = {no_onion: await refused(no_onion) for no_onion in NO_ONIONS}
    before_bytes = most_resident_bytes()
    reports = [Deferred.fromCoroutine(reported(url, socks, seconds)) for socks in ways.values()]
    flushed = dict(zip(ways, await gatherResults(reports), strict=True))
    return {"refused": refusals, "flushed": flushed, "grown_bytes": most_resident_bytes() - before_bytes}


def main(hostname: str | None = None, **told: Any) -> None:
    """Do all of it before a witness, and say what happened."""
    if hostname is not None:
        socket.sethostname(hostname)
    sys.addaudithook(watch)
    from twisted.internet.task import react

    async def say(_: object) -> None:
        print(json.dumps({**await all_of_it(**told), "seen": seen}))

    react(say)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
