"""What we tell systemd, as sd_notify(3) describes it: a datagram to the socket that `$NOTIFY_SOCKET` names."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

from twisted.logger import Logger

__all__ = ["MAX_STATUS_CHARACTERS", "Notifier", "watchdog_seconds"]

MAX_STATUS_CHARACTERS: Final = 200
"""Of the line in `systemctl status`: as much as a wide terminal shows."""

_log = Logger()


class Notifier:
    """Tells systemd how we are; nobody, where nobody asked.

    :param address: the path of a unix socket, or `@` and the name of an abstract one; empty for nobody.
    """

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""
        self._fails = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """For whoever started us. The variable is taken out, so that no child of ours speaks for us (tor would)."""
        return cls(environment.pop("NOTIFY_SOCKET", ""))

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to be told."""
        return bool(self._address)

    def ready(self) -> None:
        """We serve; also when a reload has ended."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """We read the configuration again: :meth:`ready` tells the end."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """We are about to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """We are alive, as far as we can tell."""
        self._tell("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What we are doing, in one line; told when it has changed."""
        line = " ".join(text.split())[:MAX_STATUS_CHARACTERS]
        if line != self._status:
            self._status = line
            self._tell(f"STATUS={line}")

    def _tell(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._fails:  # once is enough: it is told again and again
                _log.warn(
                    "systemd cannot be told how we are ({reason}), and may end us for it; see $NOTIFY_SOCKET and"
                    " NotifyAccess= in systemd.service(5)",
                    reason=error.strerror,
                )
            self._fails = True
        else:
            self._fails = False


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How often systemd wants to hear that we are alive, or None: sd_watchdog_enabled(3)."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID", str(os.getpid()))
    if not (microseconds.isascii() and microseconds.isdecimal() and int(microseconds)) or process != str(os.getpid()):
        return None
    return int(microseconds) / 1e6
