"""The program of a worker: `python -m torfluxd.worker PARENT`, which the gateway starts when it has `--workers`.

It is told everything else over its standard input, see `gateway/told.py`, and is of no use to anybody else. When its
gateway ends, however it ends, the kernel ends it, too (`PR_SET_PDEATHSIG`, Linux), if it does not see that itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import cast

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def _die_with(parent: int) -> None:
    """Have the kernel kill us when our parent ends; nothing that was acknowledged is in memory only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended already
        raise SystemExit(1)


def main(parent: int) -> None:
    """Serve until we are told to end.

    :param parent: the process id of the gateway.
    """
    _die_with(parent)
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's are for the gateway, which tells us
        signal.signal(number, signal.SIG_IGN)
    from twisted.internet import reactor
    from twisted.internet.stdio import StandardIO
    from twisted.logger import ILogObserver, globalLogBeginner

    from torfluxd.gateway.worker import Worker, WorkerReactor
    from torfluxd.gateway.worker_process import SAYS

    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        reactor.callLater(0, stop)

    def stop() -> None:
        if reactor.running:
            reactor.stop()

    worker = Worker(cast(WorkerReactor, reactor), os.environ, leave)
    globalLogBeginner.beginLoggingTo([cast(ILogObserver, worker.log)], redirectStandardIO=False)
    StandardIO(worker, 0, SAYS, reactor)  # type: ignore[call-arg]  # mypy sees the one for Windows
    reactor.addSystemEventTrigger("before", "shutdown", worker.stop)
    reactor.run()
    raise SystemExit(codes[0] if codes else 1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
