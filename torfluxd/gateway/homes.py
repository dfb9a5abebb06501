"""Which destinations are the vendor's: those that he configured, and those that InfluxDB has stored a write for.

Strangers choose where they write to. When InfluxDB says that there is no such database, whoever made it up is refused;
but a database that was there before was dropped, which is the vendor's fault and no stranger's. So what was stored once
is remembered, over restarts too. Strangers cannot add to it: a write is only stored where the vendor made a place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from twisted.logger import Logger

from torfluxd.boundaries import Destination

__all__ = ["HOMES_FILE", "MAX_HOMES", "Homes"]

HOMES_FILE = "destinations.json"
"""In the state directory: pairs of a database and a retention policy, or null for the default one."""

MAX_HOMES = 1000
"""How many are remembered; a vendor has a handful. Those beyond it are taken for made up while they do not exist."""

_log = Logger()


class Homes:
    """The destinations that were configured, or that a write was stored for.

    :param text: what `remember` was given last, in an earlier process; empty at first.
    :param remember: called with what is to be there again after a restart, each time that there is more of it.
    """

    def __init__(self, text: str = "", remember: Callable[[str], None] = lambda text: None) -> None:
        self._remember = remember
        self._known = _read(text)
        self._configured: frozenset[Destination] = frozenset()

    def configure(self, destinations: Iterable[Destination]) -> None:
        """Know these, as long as this process lives: the vendor says that they are his."""
        self._configured = frozenset(destinations)

    def knows(self, destination: Destination) -> bool:
        """Whether it is the vendor's."""
        return destination in self._known or destination in self._configured

    @property
    def text(self) -> str:
        """What is known, but for what was configured, as `remember` is given it."""
        pairs = sorted((each.database, each.retention_policy or "") for each in self._known)
        return json.dumps([[database, policy or None] for database, policy in pairs], ensure_ascii=False) + "\n"

    def stored(self, destination: Destination) -> None:
        """Note that a write was stored for it."""
        if destination not in self._known:
            self._learn({destination})

    def learn(self, text: str) -> bool:
        """Know what another process has noted.

        :param text: as `remember` was given it there.
        :returns: whether there was anything new.
        """
        return self._learn(_read(text))

    def _learn(self, destinations: set[Destination]) -> bool:
        new = sorted(destinations - self._known, key=str)[: MAX_HOMES - len(self._known)]
        if not new:
            return False
        self._known.update(new)
        try:
            self._remember(self.text)
        except OSError as error:
            _log.warn(
                "InfluxDB stored a write for a destination for the first time, which cannot be remembered: {reason}; if"
                " it is missing after a restart, its writes are refused",
                reason=error.strerror,
            )
        return True


def _read(text: str) -> set[Destination]:
    if not text:
        return set()
    try:
        return {Destination(str(database), policy) for database, policy in json.loads(text)}
    except (TypeError, ValueError):
        _log.warn("{name} in the state directory cannot be read, and is begun again", name=HOMES_FILE)
        return set()
