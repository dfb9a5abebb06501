"""What a gateway does for those who operate it: status pages, and word to systemd."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import ListenError
from torfluxd.gateway.acceptor import AcceptorReactor
from torfluxd.gateway.given_door import make_door
from torfluxd.ops.admin import AdminSite, View
from torfluxd.ops.notify import Notifier
from torfluxd.ops.status import Status
from torfluxd.ops.watchdog import Watchdog, start_watchdog
from torfluxd.places import Place, is_loopback

__all__ = ["STATUS_SECONDS", "Operations"]

STATUS_SECONDS: Final = 1.0
"""How often it is looked whether systemd's line about us has changed: `systemctl status` is read by people."""

_log = Logger()


class Operations:
    """What operators see of one gateway.

    :param reactor: the reactor.
    :param places: where the status pages are.
    :param allow_remote: whether others than this machine may reach them.
    :param environment: `os.environ`, in which systemd says what it wants to hear.
    :param view: fires with how the gateway is.
    :param prove: fires when the spool works, see :class:`~torfluxd.ops.watchdog.Watchdog`.
    """

    def __init__(
        self,
        reactor: AcceptorReactor,
        places: Sequence[Place],
        environment: MutableMapping[str, str],
        view: View,
        prove: Callable[[], Deferred[None]],
        *,
        allow_remote: bool = False,
    ) -> None:
        self._reactor = reactor
        self._allow_remote = allow_remote
        self._view = view
        site = AdminSite(view, reactor, any_host=allow_remote)
        self._doors = [
            # Elsewhere than in our own directory it is Twisted's lock file that tells what a kill left behind.
            make_door(reactor, place.text, site, "--admin", place.socket if place.is_ours else None)
            for place in places
        ]
        self.notifier = Notifier.from_environment(environment)
        self._environment = environment
        self._prove = prove
        self._watchdog: Watchdog | None = None
        self._telling = LoopingCall(self._tell_status)
        self._telling.clock = reactor

    async def open(self) -> None:
        """Open the status pages.

        :raises ListenError: they cannot be, or others than this machine could reach them.
        """
        for door in self._doors:
            await door.open()
            if not (self._allow_remote or all(map(is_loopback, door.hosts))):
                await door.stop()
                raise ListenError(
                    f"--admin: {door.name} is open to other machines; have systemd listen on 127.0.0.1, or add"
                    " --admin-allow-remote"
                )

    def serving(self) -> None:
        """Strangers are served, as soon as they find us: tell systemd, now and then."""
        self.notifier.ready()
        self._watchdog = start_watchdog(self._environment, self._reactor, self._prove, self.notifier.alive)
        if self.notifier.is_heard:
            self._telling.start(STATUS_SECONDS)

    async def close(self) -> None:
        """Tell that the end is near, and close the status pages. The watchdog is fed no more."""
        self.notifier.stopping()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._telling.running:
            self._telling.stop()
        for door in self._doors:
            await door.stop()
            door.close()

    def _tell_status(self) -> Deferred[None]:
        return self._view().addCallbacks(self._told, self._not_told)

    def _told(self, status: Status) -> None:
        where = f" at {status.onion}" if status.onion else ""
        self.notifier.status(f"{status.state}{where}")

    def _not_told(self, failure: Failure) -> None:
        """A fault of our own; it would be there every second."""
        self._telling.stop()
        _log.failure("systemd is told no more how we are, for a fault of our own; please report what follows", failure)
