"""The keeper: a small process that is the parent of others, so that they never outlive the one who wanted them.

It is told what to start, and what directories to own, by lines of JSON on its standard input, and tells on its standard
output what became of them. When its input ends, because whoever held the other side has ended, in whatever way, it ends
everything that it started, removes the directories, and ends itself. Should the keeper be killed, the kernel ends
its children (`PR_SET_PDEATHSIG`, Linux). Standard library only; run as `python -m torfluxd.keeper` by `children.py`.

Told: `{"start": NAME, "argv": [...], "log": PATH, "env": {...} or null}`, `{"signal": NAME, "number": N}`,
`{"own": PATH}`. Tells: `{"started": NAME, "pid": N}`, `{"failed": NAME, "why": TEXT}`, `{"ended": NAME, "code": N}`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["GRACE_SECONDS", "main"]

GRACE_SECONDS = 3.0
"""What children get to end by themselves after SIGTERM: tor and influxd need a fraction of a second."""

_POLL_SECONDS = 0.02
_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it runs: ask the kernel to end it when the keeper ends, however that comes."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    return ask


class _Household:
    """The children and the directories."""

    def __init__(self) -> None:
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._directories: list[str] = []
        self._before_exec = _die_with_parent()

    def hear(self, told: dict[str, Any]) -> None:
        """Do what one line says."""
        if "start" in told:
            self._start(told["start"], told["argv"], told["log"], told["env"])
        elif "signal" in told:
            _signal(self._children.get(told["signal"]), told["number"])
        elif "own" in told:
            self._directories.append(told["own"])

    def _start(self, name: str, argv: list[str], log: str, env: dict[str, str] | None) -> None:
        try:
            with open(log, "ab") as file:
                child = subprocess.Popen(  # noqa: S603  # to run what it is told is its purpose
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env=env,
                    start_new_session=True,
                    preexec_fn=self._before_exec,  # the keeper has one thread, so this is safe
                )
        except OSError as error:
            _tell({"failed": name, "why": error.strerror or str(error)})
            return
        self._children[name] = child
        _tell({"started": name, "pid": child.pid})

    def tell_ended(self) -> None:
        """Tell which children have ended."""
        for name, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[name]
                _tell({"ended": name, "code": child.returncode})

    def end(self) -> None:
        """End all children, and remove all directories."""
        for child in self._children.values():
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline and any(child.poll() is None for child in self._children.values()):
            time.sleep(_POLL_SECONDS)
        for child in self._children.values():
            _signal(child, signal.SIGKILL)
            child.wait()
        self.tell_ended()
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)


def _signal(child: subprocess.Popen[bytes] | None, number: int) -> None:
    """Send a signal to a child and all that it started; it leads a session of its own."""
    if child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)


def _tell(line: dict[str, Any]) -> None:
    """Tell something to the one who started us; whether anybody still listens makes no difference."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


def _lines(household: _Household) -> None:
    """Hear and tell, until the input ends or a signal asks us to end."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    ending: list[int] = []
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: ending.append(number))
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    rest = b""
    while not ending:
        for key, _ in selector.select():
            data = os.read(key.fd, _READ_BYTES)
            if key.fd == wake_read:
                household.tell_ended()
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                household.hear(json.loads(line))


def main() -> None:
    """Keep house until the input ends."""
    with contextlib.suppress(PermissionError):  # we lead a session already
        os.setsid()  # so that a terminal's Ctrl-C reaches those who want us, and not us
    household = _Household()
    try:
        _lines(household)
    finally:
        household.end()


if __name__ == "__main__":
    main()
