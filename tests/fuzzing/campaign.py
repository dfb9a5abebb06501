"""Millions of mutations, guided by coverage: atheris in as many processes as there are processors, chunk by chunk.

`make torture` has one of ten million; `python -m tests.fuzzing.campaign 250000` is one of fewer.

What reached new code is kept outside the repository, in `$TORFLUXD_FUZZ` (default: `~/.cache/torfluxd-fuzz`), and so is
the count of a campaign that was stopped: the next one goes on from there. An input that broke a promise is kept in
`found` beside it; `python -m tests.fuzzing.explore FILE` shows it again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from attrs import frozen

from tests.fuzzing.mutations import dictionary_file, seeds

__all__ = ["GOAL", "Campaign", "home"]

GOAL = 10_000_000
"""How many mutations are a campaign."""

CHUNK = 200_000
"""How many mutations a process makes before it says how far it is: a minute or two."""

CHUNK_SECONDS = 240
"""How long one chunk may take."""

SHORT_BYTES = 300
LONG_BYTES = 4096
LONG_OF = 10
"""Most mutations are short, three times as fast as long ones; one chunk of so many has long ones."""

_BEGUN = re.compile(r"^#(\d+)\s+INITED", re.MULTILINE)
_DONE = re.compile(r"^Done (\d+) runs", re.MULTILINE)
_COVERED = re.compile(r"^#\d+\s+\w+\s+cov: (\d+)", re.MULTILINE)


def home() -> Path:
    """Where campaigns keep what they know."""
    return Path(os.environ.get("TORFLUXD_FUZZ", "~/.cache/torfluxd-fuzz")).expanduser()


@frozen
class _Chunk:
    """What one chunk came to.

    :ivar mutations: how many were tried; the known inputs it began with do not count.
    :ivar covered: edges of code that were reached, over all known inputs.
    """

    mutations: int
    covered: int


class Campaign:
    """A number of mutations, over any number of processes and days.

    :param directory: where it keeps what it knows.
    :param say: takes each line of progress.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._corpus = directory / "corpus"
        self._found = directory / "found"
        self._dictionary = directory / "dictionary"
        self._count = directory / "mutations"
        self._say = say
        self._running: set[subprocess.Popen[str]] = set()
        for folder in (self._corpus, self._found):
            folder.mkdir(parents=True, exist_ok=True)
        self._dictionary.write_text(dictionary_file())
        for name, data in seeds(LONG_BYTES):
            (self._corpus / name).write_bytes(data)

    @property
    def mutations(self) -> int:
        """How many of the campaign are done."""
        return int(self._count.read_text()) if self._count.exists() else 0

    def run(self, goal: int = GOAL) -> int:
        """Try so many; then the next campaign begins.

        :returns: how many were tried, those before a stop included.
        :raises AssertionError: one of them broke a promise; the text says which, and where it is kept.
        """
        begun, before = time.monotonic(), self.mutations
        processes = len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(processes) as pool:
            chunks: set[Future[_Chunk]] = set()
            number = 0
            try:
                while self.mutations + CHUNK * len(chunks) < goal or chunks:
                    while len(chunks) < processes and self.mutations + CHUNK * len(chunks) < goal:
                        number += 1
                        chunks.add(pool.submit(self._chunk, number, goal))
                    done, chunks = wait(chunks, return_when=FIRST_COMPLETED)
                    for chunk in done:
                        self._note(chunk.result(), goal, begun, before)
            finally:
                for process in list(self._running):
                    process.kill()
        total = self.mutations
        self._count.unlink()
        return total

    def _note(self, chunk: _Chunk, goal: int, begun: float, before: int) -> None:
        total = self.mutations + chunk.mutations
        self._count.write_text(f"{total}\n")
        rate = (total - before) / (time.monotonic() - begun)
        known = sum(1 for _ in self._corpus.iterdir())
        self._say(f"{total} of {goal} mutations, {rate:.0f}/s; {known} inputs known, {chunk.covered} edges reached")

    def _chunk(self, number: int, goal: int) -> _Chunk:
        longest = LONG_BYTES if number % LONG_OF == 0 else SHORT_BYTES
        command = [
            *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.fuzzing.explore", str(self._corpus)),
            *(f"-runs={min(CHUNK, goal)}", f"-max_total_time={CHUNK_SECONDS}", f"-max_len={longest}"),
            *(f"-dict={self._dictionary}", f"-artifact_prefix={self._found}/", "-timeout=10", "-print_final_stats=0"),
        ]
        said_to = subprocess.PIPE
        process = subprocess.Popen(command, stdout=said_to, stderr=subprocess.STDOUT, text=True, errors="replace")
        self._running.add(process)
        try:
            said, _ = process.communicate()
        finally:
            self._running.discard(process)
        done = _DONE.search(said)
        if process.returncode or done is None:
            raise AssertionError(f"a promise was broken, or atheris did not run:\n{said[-4000:]}")
        begun = _BEGUN.search(said)
        covered = _COVERED.findall(said)
        return _Chunk(int(done[1]) - (int(begun[1]) if begun else 0), int(covered[-1]) if covered else 0)


if __name__ == "__main__":
    Campaign(home(), lambda line: print(line, flush=True)).run(int(sys.argv[1]) if sys.argv[1:] else GOAL)
