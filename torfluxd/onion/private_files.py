"""Files of a tor of our own: for us alone, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["private_directory", "write_private"]


def private_directory(path: Path) -> None:
    """Make a directory that only we may enter, or make it so."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only we may read, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
