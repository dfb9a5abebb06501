"""`torfluxd status`: how a gateway that runs is, for people, scripts and health checks."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, TextIO

from attrs import frozen
from twisted.python import usage

from torfluxd.errors import SettingsError, StatusError
from torfluxd.ops.status import Status, told
from torfluxd.places import ADMIN_SOCKET, Place, read_place, unix_place
from torfluxd.state import default_state_directory, home_directory

__all__ = ["StatusCommand", "StatusOptions"]

ANSWER_SECONDS: Final = 5.0
"""How long a gateway may take to say how it is: one that takes longer hangs."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""More than any status has."""

EXIT_NOT_WELL: Final = 1


class StatusOptions(usage.Options):
    """The options of `torfluxd status`."""

    longdesc = """\
Asks the gateway that runs on this machine how it is: through the socket in its state directory, or wherever its --admin
is. Ends with 0 when it is ready, which means that strangers can reach it and what they write is taken, and with 1 when
it is not, or does not answer.
"""
    optParameters = [
        [
            "state-dir",
            None,
            None,
            "The gateway's state directory. [default: $TORFLUXD_STATE_DIR, else as the gateway]",
        ],
        ["admin", None, None, "Its --admin, in place of the state directory. [default: $TORFLUXD_ADMIN]"],
    ]
    optFlags = [
        ["json", None, "One JSON object: everything that is known."],
        ["health", None, "Say nothing but whether it answers at all."],
        ["ready", None, "Say nothing but whether it is ready, and why not."],
    ]

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: torfluxd status [options]"

    def postOptions(self) -> None:
        """See that it can be meant."""
        if sum(bool(self[name]) for name in ("json", "health", "ready")) > 1:
            raise usage.UsageError("--json, --health and --ready: choose one of them")
        if self["admin"] and self["state-dir"]:
            raise usage.UsageError("--admin and --state-dir: choose one of them")


@frozen
class StatusCommand:
    """One run of the command.

    :ivar place: where the gateway is asked.
    :ivar what: `all`, `json`, `health` or `ready`.
    """

    place: Place
    what: str = "all"
    out: TextIO = sys.stdout

    @classmethod
    def from_options(cls, options: StatusOptions, environment: Mapping[str, str]) -> StatusCommand:
        """As a person typed it.

        :raises SettingsError: the place is none.
        """
        what = next((name for name in ("json", "health", "ready") if options[name]), "all")
        named = options["admin"] or ("" if options["state-dir"] else environment.get("TORFLUXD_ADMIN", ""))
        if named:
            try:
                return cls(read_place(named), what)
            except SettingsError as error:
                raise SettingsError(f"--admin: {error}") from None
        given = options["state-dir"] or environment.get("TORFLUXD_STATE_DIR")
        where = (
            Path(given).expanduser() if given else default_state_directory(environment, os.geteuid(), home_directory())
        )
        return cls(unix_place(where.absolute() / ADMIN_SOCKET, 0o600), what)

    def run(self) -> int:
        """Ask, and show the answer.

        :returns: the exit code.
        :raises StatusError: nobody answers there, or somebody else.
        """
        if self.what in ("health", "ready"):
            status, body = self._ask(f"/{self.what}")
            print(body.decode("utf-8", "replace"), end="", file=self.out)
            return 0 if status == http.HTTPStatus.OK else EXIT_NOT_WELL
        _, body = self._ask("/status.json")
        try:
            found = Status.from_json(body)
        except ValueError:
            raise StatusError(f"what answers at {self.place} is no gateway of torfluxd, or a very old one") from None
        print(found.to_json() + "\n" if self.what == "json" else told(found, time.time()), end="", file=self.out)
        return 0 if found.is_ready else EXIT_NOT_WELL

    def _ask(self, path: str) -> tuple[int, bytes]:
        with closing(_Connection(self.place)) as connection:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read(MAX_ANSWER_BYTES)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise StatusError(
                    f"no gateway answers at {self.place} ({reason}): does it run (systemctl status torfluxd), may you"
                    " open its socket, and was it given this --state-dir or --admin?"
                ) from None


class _Connection(http.client.HTTPConnection):
    """A connection to a place."""

    def __init__(self, place: Place) -> None:
        host = place.host if place.host not in ("", "0.0.0.0", "::") else "localhost"  # noqa: S104  # where we listen
        super().__init__(host, place.port or None, timeout=ANSWER_SECONDS)
        self._socket = place.socket

    def connect(self) -> None:
        """Connect, to a unix socket where it is one."""
        if self._socket is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(str(self._socket))
