"""Where the spools of one gateway are: its own, and those of its workers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from torfluxd.delivery.schema import SPOOL_FILE

__all__ = ["OWN", "LetterName", "find_spools", "read_letter_name", "worker_directory", "worker_of"]

OWN = 0
"""In place of a worker's number: the gateway itself, which has no workers."""

_DIRECTORY = re.compile(r"worker-([1-9]\d{0,3})")
_NAME = re.compile(r"(?:([1-9]\d{0,3})/)?(\d{1,18})", re.ASCII)


def worker_directory(state: Path, number: int) -> Path:
    """The state directory of a worker, in that of its gateway."""
    return state / f"worker-{number}"


def worker_of(directory: Path) -> int:
    """The number of the worker whose state directory this is; `OWN` where it is nobody's."""
    found = _DIRECTORY.fullmatch(directory.name)
    return int(found[1]) if found is not None else OWN


def find_spools(state: Path) -> Mapping[int, Path]:
    """The files of the spools that are there, by the numbers of the workers, in their order.

    :param state: the gateway's state directory, which may be missing.
    """
    found = {OWN: state / SPOOL_FILE}
    found |= {number: path / SPOOL_FILE for path in state.glob("worker-*") if (number := worker_of(path)) != OWN}
    return {number: path for number, path in sorted(found.items()) if path.exists()}


@frozen(order=True)
class LetterName:
    """The name of a dead letter, among those of all spools of a gateway: `17`, and worker 2's `2/17`.

    :ivar worker: in whose spool it is.
    :ivar number: in that spool.
    """

    worker: int
    number: int

    def __str__(self) -> str:
        return f"{self.number}" if self.worker == OWN else f"{self.worker}/{self.number}"


def read_letter_name(text: str) -> LetterName | None:
    """The name of a dead letter as a person types it, or None if it can be none."""
    found = _NAME.fullmatch(text)
    return LetterName(int(found[1] or OWN), int(found[2])) if found is not None else None
