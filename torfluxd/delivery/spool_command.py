"""`torfluxd spool`: what waits for InfluxDB, and what it refused, for the operator to see, to send again or to drop."""

from __future__ import annotations

import getopt
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from attrs import evolve, frozen
from twisted.python import usage

from torfluxd.boundaries import Destination
from torfluxd.delivery.letters import Contents, drop_letters, look, retry_letters
from torfluxd.delivery.spools import OWN, LetterName, find_spools, read_letter_name
from torfluxd.delivery.store import Buried, Shelf
from torfluxd.errors import SpoolError
from torfluxd.state import StateDirectory, default_state_directory, home_directory

__all__ = ["SpoolCommand", "SpoolOptions"]

ACTIONS = ("show", "retry", "drop")

MIN_SCREEN_COLUMNS = 40
"""A narrower screen, or one that says nothing of its width, would leave nothing of a line to be seen."""


class SpoolOptions(usage.Options):
    """The options of `torfluxd spool`."""

    longdesc = """\
While InfluxDB is away, the gateway keeps what strangers write in the spool, and sends it when InfluxDB is back. Lines
that InfluxDB refuses for what is in them (a field of another type, older than the retention policy) block nobody: they
are set aside as dead letters, the oldest of which are given up when there are too many.

show tells what waits, and lists the dead letters with their numbers. retry has dead letters sent again, at the next
start of the gateway: do that when you have mended why they were refused. drop deletes them for good. Both take numbers,
or --all. With --workers, a number begins with the worker's: 2/17. The gateway must be stopped meanwhile; its clients
keep their points, and come back.
"""
    optFlags = [
        ["all", None, "All dead letters, for retry and drop."],
        ["json", None, "For show: one JSON object, with each first line whole."],
    ]
    optParameters = [
        [
            "state-dir",
            None,
            None,
            "The gateway's state directory, in which the spool is. [default: $TORFLUXD_STATE_DIR, else as the gateway]",
        ]
    ]

    def getSynopsis(self) -> str:
        """The first line of the help."""
        return "Usage: torfluxd spool show|retry|drop [NUMBER ...|--all] [options]"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; options may also stand behind the numbers."""
        try:
            given, words = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from None
        flags = [f"{name}={value}" if f"{name[2:]}=" in self.longOpt else name for name, value in given]
        usage.Options.parseOptions(self, [*flags, "--", *words])

    def parseArgs(self, action: str = "", *numbers: str) -> None:  # noqa: N802  # Twisted's name
        """What to do, and with which."""
        if action not in ACTIONS:
            raise usage.UsageError(f"there is no {action!r}; there are {', '.join(ACTIONS)}")
        names = [read_letter_name(number) for number in numbers]
        if None in names:
            wrong = numbers[names.index(None)]
            raise usage.UsageError(f"expected the number of a dead letter, as show lists them, got {wrong!r}")
        self["action"] = action
        self["numbers"] = names

    def postOptions(self) -> None:
        """See that it can be meant."""
        chosen = bool(self["numbers"]) + bool(self["all"])
        if self["action"] == "show" and chosen:
            raise usage.UsageError("show takes no numbers: it shows everything")
        if self["action"] != "show" and chosen != 1:
            raise usage.UsageError(f"{self['action']} takes the numbers of dead letters, as show lists them, or --all")
        if self["action"] != "show" and self["json"]:
            raise usage.UsageError("--json is for show")


@frozen
class SpoolCommand:
    """One run of the command.

    :ivar action: `show`, `retry` or `drop`.
    :ivar numbers: of which dead letters, or None for all.
    :ivar state_directory: the gateway's.
    :ivar as_json: whether what is shown is for programs.
    """

    action: str
    numbers: Sequence[LetterName] | None
    state_directory: Path
    as_json: bool = False
    out: TextIO = sys.stdout

    @classmethod
    def from_options(cls, options: SpoolOptions, environment: Mapping[str, str]) -> SpoolCommand:
        """As a person typed it."""
        named = options["state-dir"] or environment.get("TORFLUXD_STATE_DIR")
        where = (
            Path(named).expanduser() if named else default_state_directory(environment, os.geteuid(), home_directory())
        )
        numbers = None if options["all"] else list(options["numbers"])
        return cls(options["action"], numbers, where, bool(options["json"]))

    def run(self) -> None:
        """Do it. Nothing is made where there is nothing.

        :raises StateDirectoryError: the state directory is in use: the gateway runs; or it cannot be used.
        :raises SpoolError: the spool cannot be used, or a number is that of no dead letter; the others were dealt with.
        """
        if not find_spools(self.state_directory):
            self._do({})  # there is nothing that somebody else could use
            return
        state = StateDirectory.claim(self.state_directory)  # a gateway that holds it has workers, if anybody has
        try:
            self._do(find_spools(state.path))
        finally:
            state.release()

    def _do(self, spools: Mapping[int, Path]) -> None:
        if self.action == "show":
            self._show({worker: look(path) for worker, path in spools.items()})
        elif self.action == "retry":
            self._tell(self._each(spools, retry_letters), "will be sent again when the gateway is started")
        else:
            self._tell(self._each(spools, drop_letters), "dropped for good")

    def _each(
        self, spools: Mapping[int, Path], do: Callable[[Path, Collection[int] | None], Sequence[int]]
    ) -> Sequence[LetterName]:
        """Do something with the letters that are meant.

        :returns: those of them that were there.
        """
        done = []
        for worker, path in spools.items():
            names = self.numbers
            numbers = None if names is None else [name.number for name in names if name.worker == worker]
            done += [LetterName(worker, number) for number in do(path, numbers)]
        return done

    def _tell(self, done: Sequence[LetterName], what: str) -> None:
        self._say(f"{_counted(len(done), 'dead letter')} {what}.")
        missing = [number for number in self.numbers or () if number not in done]
        if missing:
            raise SpoolError(f"there is no dead letter {', '.join(map(str, missing))} (torfluxd spool show lists them)")

    def _show(self, contents: Mapping[int, Contents]) -> None:
        now = time.time()
        waiting = _merged([shelf for one in contents.values() for shelf in one.waiting])
        letters = {
            LetterName(worker, buried.number): buried for worker, one in contents.items() for buried in one.letters
        }
        if self.as_json:
            self._say(json.dumps(_for_programs(waiting, letters, now)))
            return
        columns = max(MIN_SCREEN_COLUMNS, shutil.get_terminal_size().columns)
        for line in (*_waiting(waiting, now), "", *_letters(letters, columns)):
            self._say(line)

    def _say(self, line: str) -> None:
        print(line, file=self.out)


def _merged(shelves: Sequence[Shelf]) -> Sequence[Shelf]:
    """What waits, in whichever spool, one shelf for each destination, the longest first."""
    merged: dict[Destination, Shelf] = {}
    for shelf in sorted(shelves, key=lambda shelf: shelf.oldest_put_at):
        first = merged.setdefault(shelf.destination, shelf)
        if first is not shelf:
            merged[shelf.destination] = evolve(first, sums=first.sums + shelf.sums)
    return list(merged.values())


def _waiting(shelves: Sequence[Shelf], now: float) -> list[str]:
    """What waits, a line for each destination."""
    if not shelves:
        return ["Nothing waits for InfluxDB."]
    rows = [("DESTINATION", "BATCHES", "POINTS", "BYTES", "OLDEST")]
    for shelf in shelves:
        sums, age = shelf.sums, _age(_age_seconds(shelf, now))
        rows.append((_named(shelf.destination), f"{sums.batches}", f"{sums.points}", f"{sums.size_bytes}", age))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    cells = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return ["Waiting for InfluxDB:", *("  " + "  ".join(row) for row in cells)]


def _letters(letters: Mapping[LetterName, Buried], columns: int) -> list[str]:
    """The dead letters, two lines for each."""
    if not letters:
        return ["There are no dead letters."]
    shown = ["Dead letters, refused by InfluxDB for what is in them:"]
    for name, buried in letters.items():
        batch = buried.letter.batch
        when = datetime.fromtimestamp(buried.refused_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        where, points = _named(batch.destination), _counted(batch.points, "point")
        shown.append(f"  {name}  {when}  {where}  {points}: {_printable(buried.letter.reason)}")
        shown.append(_cut(f"      {_printable(_first_line(buried))}", columns))
    return shown


def _for_programs(
    shelves: Sequence[Shelf], buried_letters: Mapping[LetterName, Buried], now: float
) -> dict[str, object]:
    waiting = [
        {
            **_names(shelf.destination),
            "batches": shelf.sums.batches,
            "points": shelf.sums.points,
            "bytes": shelf.sums.size_bytes,
            "oldest_age_seconds": round(_age_seconds(shelf, now), 3),
        }
        for shelf in shelves
    ]
    letters = [
        {
            "number": buried.number,
            **({} if name.worker == OWN else {"worker": name.worker}),
            "refused_at": datetime.fromtimestamp(buried.refused_at, UTC).isoformat(timespec="seconds"),
            **_names(buried.letter.batch.destination),
            "points": buried.letter.batch.points,
            "reason": buried.letter.reason,
            "first_line": _first_line(buried),
        }
        for name, buried in buried_letters.items()
    ]
    return {"waiting": waiting, "dead_letters": letters}


def _names(destination: Destination) -> dict[str, str | None]:
    return {"database": destination.database, "retention_policy": destination.retention_policy}


def _named(destination: Destination) -> str:
    """A destination as InfluxDB writes it: database, or database.policy."""
    policy = destination.retention_policy
    return _printable(destination.database if policy is None else f"{destination.database}.{policy}")


def _age_seconds(shelf: Shelf, now: float) -> float:
    return max(0.0, now - shelf.oldest_put_at)


def _age(seconds: float) -> str:
    """A duration as Go writes it, its two greatest parts: 3h12m."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _first_line(buried: Buried) -> str:
    return buried.letter.batch.lines.partition(b"\n")[0].decode("utf-8", "backslashreplace")


def _printable(text: str) -> str:
    """A stranger's text, so that it cannot play with the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else text[: columns - 1] + "…"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
