"""The gateway under atheris, guided by what of its code each mutation reaches.

Started by `campaign`, with options of libFuzzer; by hand with the file of one input, to see what that does.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["torfluxd.gateway", "torfluxd.influx", "torfluxd.boundaries"]):
    from tests.fuzzing.arena import Arena
    from tests.fuzzing.mutations import visit

FRESH_AFTER = 20_000
"""After how many visits the arena is made anew, so that what one finds can be found again."""


class Explorer:
    """Takes what libFuzzer makes up."""

    def __init__(self) -> None:
        self._arena = Arena()
        self._visits = 0

    def __call__(self, data: bytes) -> None:
        """Let one stranger come."""
        self._visits += 1
        if self._visits % FRESH_AFTER == 0:
            self._arena.close()
            self._arena = Arena()
        visit(self._arena, data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, Explorer())
    atheris.Fuzz()
