"""How the process ends: with one line that a person can act on, and with a code that a script can.

Under `twistd` and `twist` a stopped reactor means exit code 0, whatever stopped it (Twisted 26.10), and a usage error
prints pages. Both are mended here, for the entry points alone.
"""

from __future__ import annotations

import atexit
import os
import sys
from typing import NoReturn

from twisted.internet.interfaces import IReactorCore

from torfluxd.errors import SettingsError

__all__ = ["EXIT_FAILED", "EXIT_USAGE", "refuse", "stop_with"]

EXIT_USAGE = 64
"""The command line or what it names cannot be used: EX_USAGE of sysexits(3), as `twist` itself."""

EXIT_FAILED = 1
"""It began, and could not go on."""


def refuse(problem: object, code: int = EXIT_USAGE) -> NoReturn:
    """End before anything has begun, with one line on standard error for each thing that is wrong, mostly one."""
    stream = sys.__stderr__ or sys.stderr  # twistd may have put its log in the place of sys.stderr
    problems = problem.problems if isinstance(problem, SettingsError) else (problem,)
    for one in problems:
        stream.write(f"torfluxd: {' '.join(str(one).split())}\n")
    stream.flush()
    raise SystemExit(code)


def stop_with(code: int, reactor: IReactorCore) -> None:
    """Stop the reactor in good order, and have the process end with this code."""
    atexit.register(_leave, code)
    reactor.callWhenRunning(reactor.stop)


def _leave(code: int) -> None:
    """End now: what was registered before us, Twisted's exit code included, no longer runs."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(code)
