"""To be run as a program: a reporter where there are no unix sockets, no `fcntl` and no `pwd`, as on Windows.

What Python's own library needs of this platform is imported first: elsewhere it needs something else. What is ours, and
Twisted, finds nothing of it.

Arguments: the description of a SOCKS port, and a directory for the reporter's state. It says on standard output what
became of its points.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import concurrent.futures  # noqa: F401
import inspect
import logging  # noqa: F401
import os
import platform  # noqa: F401
import select
import shutil  # noqa: F401
import signal
import socket
import sqlite3  # noqa: F401
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
from pathlib import Path
from typing import Any

UNIX_MODULES = ("_posixsubprocess", "fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty")
UNIX_NAMES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (socket, ("AF_UNIX", "CMSG_LEN", "SCM_RIGHTS", "recv_fds", "send_fds")),
    (select, ("epoll", "poll")),
    (signal, ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "setitimer")),
    (
        os,
        (
            *("WNOHANG", "chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getpgid"),
            *("getuid", "killpg", "lchown", "mkfifo", "openpty", "posix_spawn", "register_at_fork", "setgid"),
            *("setsid", "setuid", "statvfs", "uname", "wait3", "wait4"),
        ),
    ),
)


def leave_unix() -> None:
    """Take away what only a Unix has."""
    for name in UNIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in UNIX_NAMES:
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    # Twisted decides by this one name what it takes from the platform; to it this is one that it has not heard of.
    from twisted.python import runtime

    runtime.platform.type = runtime.platformType = "elsewhere"


def main(socks: str, directory: str) -> None:
    """Record, report, and say what became of it."""
    leave_unix()
    from torfluxd import Reporter

    options = {"state_dir": Path(directory)} if "state_dir" in inspect.signature(Reporter).parameters else {}
    onion = "rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5optfad"
    reporter = Reporter(f"http://{onion}.onion", "telemetry", socks=socks, **options)
    reporter.record("m", {"f": 1})

    from twisted.internet import selectreactor

    selectreactor.install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorUNIX

    assert not IReactorUNIX.providedBy(reactor)

    async def report() -> None:
        try:
            reporter.startService()
            reporter.record("m", {"f": 2})
            print("flushed" if await reporter.flush(60) else "not flushed", flush=True)
            await reporter.stopService()
        finally:
            reactor.stop()  # type: ignore[attr-defined]

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(report()).addErrback(print))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
