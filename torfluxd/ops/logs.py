"""How the log is written: plain lines for people, or one compact JSON object a line for programs.

`torfluxd serve` chooses with `--log-format`; `twistd --logger torfluxd.ops.logs.json_lines` (or `text_lines`) does the
same there. What Twisted itself says below a warning is left out: it concerns nobody who operates a gateway.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from constantly import NamedConstant
from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure

__all__ = ["FORMATS", "as_journal", "as_json", "as_text", "is_journal", "json_lines", "observer", "text_lines"]

OURS: Final = "torfluxd"
"""Begins the names of our own loggers."""

_PRIORITIES: Final = {LogLevel.debug: 7, LogLevel.info: 6, LogLevel.warn: 4, LogLevel.error: 3, LogLevel.critical: 2}
"""The syslog priorities of sd-daemon(3), for the journal."""

_RESERVED: Final = frozenset({"time", "level", "logger", "message", "traceback"})


def as_json(event: LogEvent) -> str | None:
    """An event as one line of JSON: when, how grave, whose, the sentence, and its fields; None for no line.

    Of the fields there are texts and numbers alone, and those of our own events: they hold nothing that the sentence
    does not show.
    """
    if not _is_wanted(event):
        return None
    entry: dict[str, Any] = {
        "time": _time(event).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": _level(event).name,
        "logger": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    if _is_ours(event):
        entry |= {key: value for key, value in event.items() if _is_field(key, value)}
    traceback = _traceback(event)
    if traceback:
        entry["traceback"] = traceback
    return json.dumps(entry, separators=(",", ":")) + "\n"


def as_text(event: LogEvent) -> str | None:
    """An event for a person's eyes: when, how grave where it is, and the sentence; None for no line."""
    if not _is_wanted(event):
        return None
    level = _level(event)
    grave = "" if level is LogLevel.info else f"{'warning' if level is LogLevel.warn else level.name}: "
    when = _time(event).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{when} {grave}{_whole(event)}\n"


def as_journal(event: LogEvent) -> str | None:
    """An event for systemd's journal, which knows the time, and reads how grave each line is; None for no line."""
    if not _is_wanted(event):
        return None
    priority = _PRIORITIES.get(_level(event), 6)
    return "".join(f"<{priority}>{line}\n" for line in _whole(event).splitlines())


FORMATS: Final[Mapping[str, Callable[[LogEvent], str | None]]] = {"text": as_text, "json": as_json}
"""What `--log-format` chooses from."""


def observer(stream: TextIO, name: str, environment: Mapping[str, str]) -> FileLogObserver:
    """What writes the log to a stream.

    :param name: one of `FORMATS`.
    :param environment: `os.environ`, in which systemd says whether the stream is the journal.
    """
    write = FORMATS[name]
    return FileLogObserver(stream, as_journal if write is as_text and is_journal(stream, environment) else write)


def json_lines() -> ILogObserver:
    """For `twistd --logger`: JSON, to standard output."""
    return _standard_output("json")


def text_lines() -> ILogObserver:
    """For `twistd --logger`: plain lines, to standard output."""
    return _standard_output("text")


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether systemd has connected this stream to the journal: systemd.exec(5), `$JOURNAL_STREAM`."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file at all, as in a test, or a closed one
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _standard_output(name: str) -> ILogObserver:
    return observer(sys.__stdout__ or sys.stdout, name, os.environ)


def _is_ours(event: LogEvent) -> bool:
    return str(event.get("log_namespace") or "").partition(".")[0] == OURS


def _is_wanted(event: LogEvent) -> bool:
    level = _level(event)
    return level >= LogLevel.warn or (_is_ours(event) and level >= LogLevel.debug)


def _is_field(key: str, value: object) -> bool:
    if key.startswith("log_") or key in _RESERVED:
        return False
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _level(event: LogEvent) -> NamedConstant:
    level: NamedConstant | None = event.get("log_level")
    if level is None:
        return LogLevel.critical if "log_failure" in event else LogLevel.info
    return level


def _time(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time") or 0.0, UTC)


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return failure.getTraceback().rstrip("\n") if isinstance(failure, Failure) else ""


def _whole(event: LogEvent) -> str:
    """The sentence, and where our own code failed if it did."""
    traceback = _traceback(event)
    return formatEvent(event).rstrip("\n") + (f"\n{traceback}" if traceback else "")
