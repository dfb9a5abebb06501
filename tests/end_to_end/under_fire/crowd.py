"""Many strangers who write at the same time, each over one connection, and note what they were answered."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from types import TracebackType

from attrs import define, field, frozen

from tests.end_to_end.under_fire.points import DATABASE, Register, stamped, unstamped

__all__ = ["Crowd", "Heard", "Writer"]

ANSWER_SECONDS = 60.0
"""How long a stranger waits for an answer: longer than any answer of the gateway takes."""

RECONNECT_SECONDS = 0.02
"""How long a stranger waits who was not served: less than he is told, and no flood."""

UNSTAMPED_OF = 4
"""One write of so many goes without times."""

LOST = "no answer"


@frozen
class Heard:
    """One answer.

    :ivar status: of it.
    :ivar body: of it.
    :ivar headers: of it, names in lower case.
    :ivar at_seconds: when it came, by the monotonic clock.
    :ivar took_seconds: how long it took.
    """

    status: int
    body: bytes
    headers: dict[str, str]
    at_seconds: float
    took_seconds: float


class Writer:
    """One stranger with one connection, which is opened when it is needed.

    :param port: of the gateway on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    def write(self, lines: bytes, query: str = f"db={DATABASE}") -> Heard:
        """Write lines.

        :raises OSError: there was no answer.
        :raises HTTPException: the same.
        """
        begun = time.monotonic()
        try:
            self._connection.request("POST", f"/write?{query}", lines)
            response = self._connection.getresponse()
            body = response.read()
        except BaseException:
            self.close()
            raise
        now = time.monotonic()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Heard(response.status, body, headers, now, now - begun)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@define(eq=False)
class Crowd:
    """Strangers who write points of a register, from `start` to `stop`. Used in a `with`, it does both.

    :ivar port: of the gateway on 127.0.0.1.
    :ivar register: where the points are from.
    :ivar writers: how many.
    :ivar points: how many in each write.
    :ivar pause_seconds: how long each waits between two writes.
    :ivar query: of the writes.
    :ivar answers: how often each status was heard; and `LOST`, that there was no answer.
    :ivar slowest_seconds: how long the slowest answer took.
    """

    port: int
    register: Register
    writers: int = 20
    points: int = 5
    pause_seconds: float = 0.0
    query: str = f"db={DATABASE}"
    answers: Counter[str] = field(factory=Counter, init=False)
    slowest_seconds: float = field(default=0.0, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _ended: threading.Event = field(factory=threading.Event, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _faults: list[BaseException] = field(factory=list, init=False)

    def start(self) -> Crowd:
        """Begin to write."""
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"stranger {number}", daemon=True)
            for number in range(self.writers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Let each hear his last answer, and end; what went wrong with one of them is raised."""
        self._ended.set()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS + 5)
            assert not thread.is_alive(), "a stranger still waits"
        if self._faults:
            raise self._faults[0]

    def __enter__(self) -> Crowd:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    @property
    def acknowledged(self) -> int:
        """How many writes were answered 204 by now."""
        return self.answers["204"]

    def forget_slowest(self) -> float:
        """Begin to look for the slowest answer anew.

        :returns: how long the slowest one took by now.
        """
        with self._lock:
            slowest, self.slowest_seconds = self.slowest_seconds, 0.0
            return slowest

    def _run(self, number: int) -> None:
        try:
            with closing(Writer(self.port)) as writer:
                turn = number
                while not self._ended.is_set():
                    turn += 1
                    self._write(writer, number, turn % UNSTAMPED_OF == 0)
        except BaseException as error:
            self._faults.append(error)

    def _write(self, writer: Writer, number: int, without_time: bool) -> None:
        ids = self.register.new_ids(self.points)
        lines = unstamped(ids, number) if without_time else stamped(ids, number)
        try:
            heard = writer.write(lines, self.query)
        except (OSError, HTTPException):
            self._note(LOST, 0.0)
            self._ended.wait(RECONNECT_SECONDS)
            return
        if heard.status == 204:
            self.register.acknowledge(ids)
        self._note(str(heard.status), heard.took_seconds)
        pause = self.pause_seconds if heard.status == 204 else max(self.pause_seconds, RECONNECT_SECONDS)
        if pause:
            self._ended.wait(pause)

    def _note(self, what: str, seconds: float) -> None:
        with self._lock:
            self.answers[what] += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)
