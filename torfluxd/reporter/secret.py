"""The key by which times that are given to points become coarse: the same for all processes of an application."""

from __future__ import annotations

import os
from pathlib import Path

from torfluxd.reporter.privacy import KEY_BYTES, new_key

__all__ = ["KEY_FILE", "kept_key"]

KEY_FILE = "times.key"
"""Its name in the state directory."""


def kept_key(state_directory: Path) -> bytes:
    """Read the key, and make one where there is none.

    :returns: where the directory cannot be read or written, one that is not kept: then a point that is recorded again
        with the same time, after a restart, is another point.
    """
    path = state_directory / KEY_FILE
    try:
        return _read(path) or _make(path)
    except OSError:
        return new_key()


def _read(path: Path) -> bytes:
    """What is there, if it is a key."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return b""
    return key if len(key) == KEY_BYTES else b""


def _make(path: Path) -> bytes:
    """Make one, and have the one that another process may have made at the same moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(file, new_key())
    finally:
        os.close(file)
    new.replace(path)
    return _read(path)
