"""What is done when a process forks while it reports: the child begins anew, and never touches what is the parent's.

SQLite says: "Do not open an SQLite database connection, then fork(2), then try to use that database connection in the
child process" (https://sqlite.org/howtocorrupt.html, 2.6). To close it there is to use it, and so it is never let go.
And no work of a spool is under way while a process forks, or the child would find SQLite's locks held by nobody.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Protocol, TypeVar
from weakref import WeakSet

from twisted.python.failure import Failure

from torfluxd.delivery.executor import OneThread

__all__ = ["ForkedHere", "UnforkedThread", "keep_for_ever", "watch"]

T = TypeVar("T")


class ForkedHere(Protocol):
    """What wants to hear that this process is a child now."""

    def forked_here(self) -> None:
        """Begin anew, in the child, before anything else is done there."""


try:  # not in the child, where little should be done
    import ctypes
except ImportError:
    ctypes = None  # type: ignore[assignment]

_watched: WeakSet[ForkedHere] = WeakSet()
_at_work = Lock()
_kept: list[object] = []


def watch(one: ForkedHere) -> None:
    """Let it hear of each fork, as long as it lives."""
    _watched.add(one)


def keep_for_ever(thing: object) -> None:
    """Never let it go, not even when the interpreter ends, nor what it refers to."""
    _kept.append(thing)  # the module is taken apart in the end, and so:
    if hasattr(ctypes, "pythonapi"):  # as in CPython; elsewhere nothing is let go in the end
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class UnforkedThread(OneThread):
    """A thread for a spool, in none of whose works a process is forked."""

    def run(self, work: Callable[[], T], done: Callable[[T | Failure], None]) -> None:
        """Do it in the thread, when no fork is under way."""

        def unforked() -> T:
            with _at_work:
                return work()

        super().run(unforked, done)


def _in_the_child() -> None:
    _at_work.release()
    for one in list(_watched):
        one.forked_here()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_at_work.acquire, after_in_parent=_at_work.release, after_in_child=_in_the_child)
