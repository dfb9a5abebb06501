"""The CPU time and the memory that processes take, as Linux counts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_seconds", "read_cpu_ticks", "resident_bytes", "tree"]

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_AFTER_NAME_UTIME, _AFTER_NAME_STIME = 11, 12
"""Fields 14 and 15 of proc(5), counted from the third: the name before may hold blanks and parentheses."""


def read_cpu_ticks(stat: str) -> int:
    """Read user and system time, in clock ticks, out of the text of `/proc/PID/stat`."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[_AFTER_NAME_UTIME]) + int(fields[_AFTER_NAME_STIME])


def tree(pid: int) -> Iterator[int]:
    """A process and all that it has started, however deep."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from tree(int(child))


def cpu_seconds(*pids: int) -> float:
    """The CPU time that processes have taken so far, all threads together, in seconds, to 0.01 s.

    :raises OSError: one of them has ended.
    """
    ticks = sum(read_cpu_ticks(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)
    return ticks / _TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """The memory that a process holds.

    :raises OSError: it has ended.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
