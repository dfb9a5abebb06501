"""The nodes of a private Tor network: what each reads, and what its files tell.

Why this network comes up fast and stays up, where one with Tor's own timing takes a minute, and sometimes for ever:

* The authorities start with their first vote half an hour away (:func:`vote_later`). They are told to vote at once
  (:func:`vote_soon`) when each knows all nodes; so the first consensus is complete, and nobody waits for a second one.
* A tor chooses nodes by the bandwidth they have seen, which in a new network is chance: one node with 1 KB/s among
  others with none is chosen for every hop, and such circuits fail. So each begins with a day of the same plentiful
  traffic in its state file, and all advertise the same share of it.

All values are tried on tor 0.4.9.11; their names are those of `man 1 tor`.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

__all__ = [
    "FIRST_VOTING_SECONDS",
    "VOTING_SECONDS",
    "Node",
    "Schedule",
    "defaults_torrc",
    "vote_later",
    "vote_soon",
    "wrapper",
]

VOTING_SECONDS = 60
"""Between consensuses: short enough for a test to see a node go, long enough to cost next to nothing. Onion services
move their descriptors every 24 of them, as they do every 24 hours in the real network."""

FIRST_VOTING_SECONDS = 20
"""Between attempts at the first one, should the authorities miss it on a machine that is very busy."""

VOTE_SECONDS = 2
"""For votes, and again for signatures, to travel between the authorities: the least that tor takes."""

_HALF_AN_HOUR = 1800
"""The longest interval between first votes that tor takes."""

_LAST_LINES = 3


@frozen
class Schedule:
    """When authorities vote.

    :ivar first_seconds: the interval until there is a consensus.
    :ivar then_seconds: the interval afterwards.
    :ivar offset_seconds: the intervals begin so long after midnight UTC.
    """

    first_seconds: int
    then_seconds: int
    offset_seconds: int

    def lines(self) -> list[str]:
        """As it stands in a torrc."""
        return [
            f"TestingV3AuthInitialVotingInterval {self.first_seconds}",
            f"V3AuthVotingInterval {self.then_seconds}",
            f"TestingV3AuthVotingStartOffset {self.offset_seconds}",
            f"TestingV3AuthInitialVoteDelay {VOTE_SECONDS}",
            f"TestingV3AuthInitialDistDelay {VOTE_SECONDS}",
            f"V3AuthVoteDelay {VOTE_SECONDS}",
            f"V3AuthDistDelay {VOTE_SECONDS}",
        ]


def vote_later(now: float) -> Schedule:
    """No vote for half an hour from now (seconds since the epoch)."""
    return Schedule(_HALF_AN_HOUR, _HALF_AN_HOUR, int(now) % _HALF_AN_HOUR)


def vote_soon(now: float, voting_seconds: int = VOTING_SECONDS) -> Schedule:
    """The first vote one to two seconds from now (seconds since the epoch), and then at a calm pace, or a given one."""
    consensus = int(now) + 2 + 2 * VOTE_SECONDS
    return Schedule(FIRST_VOTING_SECONDS, voting_seconds, consensus % FIRST_VOTING_SECONDS)


@frozen
class Node:
    """One authority or relay.

    :ivar directory: its data, torrc and log; named like the node.
    :ivar or_port: where other tors connect to, on 127.0.0.1.
    :ivar dir_port: where an authority gives out the directory, on 127.0.0.1; None for a relay.
    """

    directory: Path
    or_port: int
    dir_port: int | None = None

    @property
    def name(self) -> str:
        """Its nickname."""
        return self.directory.name

    def write_state(self, now: float) -> None:
        """Give it a past: a day of traffic that ended a minute ago, as tor keeps it in its state file.

        :param now: seconds since the epoch.
        """
        end = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now - 60))
        (self.directory / "state").write_text(
            "".join(
                f"BWHistory{way}Ends {end}\nBWHistory{way}Interval 86400\n"
                f"BWHistory{way}Values 86400000000\nBWHistory{way}Maxima 1000000\n"
                for way in ("Read", "Write")
            )
        )

    def write_torrc(self, schedule: Schedule | None = None) -> None:
        """Write its configuration.

        :param schedule: when it votes, for an authority.
        """
        lines = [
            f"Nickname {self.name}",
            f"DataDirectory {self.directory}",
            f"Log notice file {self.directory}/notice.log",
            "Address 127.0.0.1",
            f"OrPort 127.0.0.1:{self.or_port}",
            "SocksPort 0",
            "ExitRelay 0",
            "ExitPolicy reject *:*",
            "AssumeReachable 1",
            "MaxAdvertisedBandwidth 100 KBytes",  # of the 1 MB/s in its past, so equal for all, whatever comes
            "ShutdownWaitLength 0",
        ]
        if schedule is not None:
            lines += [
                f"DirPort 127.0.0.1:{self.dir_port}",
                "AuthoritativeDirectory 1",
                "V3AuthoritativeDirectory 1",
                "ContactInfo nobody@localhost",
                "V3AuthNIntervalsValid 2",
                "TestingDirAuthVoteHSDir *",
                "TestingDirAuthVoteGuard *",
                "TestingMinExitFlagThreshold 0",
                *schedule.lines(),
            ]
        (self.directory / "torrc").write_text("\n".join(lines) + "\n")

    def authority_line(self) -> str:
        """How every other tor knows this authority."""
        certificate = re.search(r"^fingerprint (\w+)", self.read("keys/authority_certificate"), re.MULTILINE)
        assert certificate is not None, "tor-gencert has written it"
        _, identity = self.read("fingerprint").split()
        return (
            f"DirAuthority {self.name} orport={self.or_port} no-v2 v3ident={certificate[1]}"
            f" 127.0.0.1:{self.dir_port} {identity}"
        )

    def read(self, name: str) -> str:
        """One of its files; nothing when it is not there yet."""
        try:
            return (self.directory / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def says(self, words: str) -> bool:
        """Whether its log has these words."""
        return words in self.read("notice.log")

    def knows(self, nodes: Iterable[Node]) -> bool:
        """Whether this authority has the descriptors of all these nodes."""
        descriptors = self.read("cached-descriptors") + self.read("cached-descriptors.new")
        return _names(nodes) <= set(re.findall(r"^router (\w+) ", descriptors, re.MULTILINE))

    def agrees_on(self, nodes: Iterable[Node]) -> bool:
        """Whether this authority has a consensus with all these nodes in it."""
        consensus = self.read("cached-microdesc-consensus")
        return _names(nodes) <= set(re.findall(r"^r (\w+) ", consensus, re.MULTILINE))

    def last_words(self) -> str:
        """The last lines that it wrote."""
        lines = (self.read("notice.log") or self.read("output")).splitlines()
        return "\n".join(lines[-_LAST_LINES:])


def _names(nodes: Iterable[Node]) -> set[str]:
    return {node.name for node in nodes}


def defaults_torrc(authorities: Iterable[Node]) -> str:
    """What any tor reads to join: `tor --defaults-torrc FILE ...`."""
    lines = ["TestingTorNetwork 1", "PathsNeededToBuildCircuits 0.25"]
    return "\n".join([*lines, *(node.authority_line() for node in authorities)]) + "\n"


def wrapper(tor: Path, defaults: Path) -> str:
    """A script that is this tor, joined to the network."""
    return f'#!/bin/sh\nexec {shlex.quote(str(tor))} --defaults-torrc {shlex.quote(str(defaults))} "$@"\n'
