"""The keeper: a small process that is the parent of others, so that they never outlive the one who wanted them.

It is told what to start by lines of JSON on its standard input, and tells on its standard output what became of it.
When its input ends, because whoever held the other side has ended, in whatever way, it ends everything that it
started, removes the directory that it was given, and ends itself. Should the keeper be killed, the kernel kills its
children (`PR_SET_PDEATHSIG`, Linux).

Told: `{"start": ID, "argv": [...], "log": PATH, "env": {...} or null}`, `{"signal": ID, "number": N}`. Tells:
`{"started": ID, "pid": N}`, `{"failed": ID, "why": TEXT}`, `{"ended": ID, "code": N}`, the code negative for a signal.

A program, not a module to import: `children.py` runs it as `python -I keeper.py DIRECTORY PARENT`, so it uses nothing
but the standard library.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

__all__ = ["main"]

GRACE_SECONDS = 3.0
"""What children get to end by themselves after SIGTERM: tor and influxd need a fraction of a second."""

KILL_SECONDS = 5.0
"""How long SIGKILL may take: longer only while a device does not answer, and then nothing helps."""

_POLL_SECONDS = 0.02
_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_prctl = ctypes.CDLL(None).prctl if sys.platform.startswith("linux") else None


def _die_with(parent: int, number: int) -> None:
    """Have the kernel send us a signal when our parent ends; where it cannot, the end of the input must do."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it has ended already
        os.kill(os.getpid(), number)


class _Household:
    """The children, from their start to their end."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._before_exec = functools.partial(_die_with, os.getpid(), signal.SIGKILL)

    def hear(self, told: dict[str, Any]) -> None:
        """Do what one line says."""
        if "start" in told:
            self._start(told["start"], told["argv"], told["log"], told["env"])
        elif told["signal"] in self._children:
            self._children[told["signal"]].send_signal(told["number"])

    def _start(self, ident: int, argv: list[str], log: str, env: dict[str, str] | None) -> None:
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
            _tell({"failed": ident, "why": f"{error.filename}: {error.strerror}"})
        else:
            self._children[ident] = child
            _tell({"started": ident, "pid": child.pid})

    def see_ended(self) -> None:
        """Tell which children have ended, and end what they have started and left behind."""
        for ident, child in list(self._children.items()):
            if child.poll() is not None:
                del self._children[ident]
                _kill_group(child)
                _tell({"ended": ident, "code": child.returncode})

    def end(self) -> None:
        """End all children: SIGTERM, and SIGKILL for those that are still there after `GRACE_SECONDS`."""
        for child in self._children.values():
            child.terminate()
        self._wait(GRACE_SECONDS)
        for child in self._children.values():
            _kill_group(child)
        self._wait(KILL_SECONDS)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.see_ended()
        while self._children and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            self.see_ended()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and all that it started: it leads a group of its own, which lasts as long as it has members."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left; on macOS none but the dead
        os.killpg(child.pid, signal.SIGKILL)


def _tell(line: dict[str, Any]) -> None:
    """Tell something to the one who started us; whether anybody still listens makes no difference."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(line).encode() + b"\n")


def _keep(household: _Household) -> None:
    """Hear and tell, until the input ends or a signal asks us to end."""
    asked: list[int] = []
    for number in _ASKED_TO_END:
        signal.signal(number, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wake_read, selectors.EVENT_READ)
    rest = b""
    while not asked:
        for key, _ in selector.select():
            data = os.read(key.fd, _READ_BYTES)
            if key.fd == wake_read:
                household.see_ended()
                continue
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                household.hear(json.loads(line))


def main(directory: str, parent: str) -> None:
    """Keep house until the input ends, then leave nothing behind.

    :param directory: is removed in the end, if it is there.
    :param parent: the process id of the one who started us.
    """
    os.setsid()  # so that a terminal's Ctrl-C reaches those who want us, and not us
    _die_with(int(parent), signal.SIGTERM)
    household = _Household()
    try:
        _keep(household)
    finally:
        household.end()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)


if __name__ == "__main__":
    main(*sys.argv[1:])
