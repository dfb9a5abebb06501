"""Replies that no tor gives, by the million: what a tor would say, broken at random, and what is not its protocol."""

from __future__ import annotations

import random
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from tests.onion.hostile_control import GREETING, ControlPort
from torfluxd.errors import ControlError
from torfluxd.onion.control import COMMAND_DEADLINE_SECONDS, CONNECT_DEADLINE_SECONDS, connect_control

__all__ = ["HostileTor"]

SECRET = "ED25519-V3:c2VjcmV0IHNlY3JldCBzZWNyZXQ="

COMMANDS = (
    f"ADD_ONION {SECRET} Flags=DiscardPK Port=80,unix:/run/onion.sock",
    "GETINFO status/bootstrap-phase",
    "GETINFO onions/current",
    "CLOSECIRCUIT 28",
    "TAKEOWNERSHIP",
)

PIECES = (
    *GREETING.values(),
    *(b"250 OK\r\n", b"250-", b"250+", b"250+x=\r\n", b".\r\n", b"..\r\n", b"\r\n", b"\n", b"650 ", b"650-", b"650+"),
    *(b"650 HS_DESC UPLOADED abc UNKNOWN $AA~d\r\n", b"650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done\r\n"),
    *(
        b"650+HS_DESC_CONTENT x\r\n",
        b"650 OK\r\n",
        b"512 no\r\n",
        b"550 Onion address collision\r\n",
        b"999 \r\n",
        b"25",
    ),
    *(
        b"250-x=\r\n",
        b"250 x=y\r\n",
        b"-1 x\r\n",
        b"abc def\r\n",
        b"\xff\xfe\r\n",
        b"250 \x00\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ),
    b"250-ServiceID=x\r\n250-PrivateKey=" + SECRET.encode() + b"\r\n250 OK\r\n",
    b"513 Bad key " + SECRET.encode() + b"\r\n",
    b"250-" + b"x" * 5000 + b"\r\n",
    b"x" * 20_000,
)

REPLIES_EACH = 24
"""How many hostile replies one connection gets at most; most do not live so long."""


class HostileTor:
    """A tor that says anything, connection after connection.

    :ivar replies: how many hostile replies it has given.
    :ivar connected: how many of its connections got through the greeting.
    :ivar settled: how many commands have ended.

    :param seed: the same seed, the same replies.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._broken: list[str] = []
        self._knows_key = False
        self.replies = self.connected = self.settled = 0

    def run(self, replies: int, progress: Callable[[int], None] = lambda replies: None) -> None:
        """Go on until so many replies were given.

        :raises AssertionError: a command did not end by its deadline, or ended in another way than it may, or left a
            traceback in the log, or the key in what it says.
        """
        globalLogPublisher.addObserver(self._observe)
        try:
            while self.replies < replies:
                self._visit()
                progress(self.replies)
        finally:
            globalLogPublisher.removeObserver(self._observe)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error or SECRET in str(event):
            self._broken.append(f"logged: {event}")

    def _visit(self) -> None:
        clock, port = Clock(), ControlPort()
        self._knows_key = False
        if self._chance.random() < 0.3:
            beginning = self._chance.choice([*GREETING])
            port.replies[beginning] = self._reply(port)
        connecting = Deferred.fromCoroutine(connect_control(port, clock, "unix:/run/tor/control"))
        port.pump()
        clock.advance(CONNECT_DEADLINE_SECONDS)
        control = self._ended(connecting)
        if control is not None:
            self.connected += 1
            listening = Deferred.fromCoroutine(control.listen("HS_DESC", lambda text: None))
            port.pump()
            texts = self._chance.sample(COMMANDS, self._chance.randint(0, 3))
            self._knows_key = COMMANDS[0] in texts
            secrets = {COMMANDS[0]: (SECRET,)}
            commands = [listening] + [
                Deferred.fromCoroutine(control.command(text, secrets=secrets.get(text, ()))) for text in texts
            ]
            for _ in range(self._chance.randint(1, REPLIES_EACH)):
                if port.transport.gone:
                    break
                port.say(self._reply(port))
            if self._chance.random() < 0.5 and not port.transport.gone:
                port.hang_up()
            clock.advance(COMMAND_DEADLINE_SECONDS)
            for command in commands:
                self._ended(command)
            control.close()
        if clock.getDelayedCalls():
            self._broken.append("a timer is left over")
        if self._broken:
            raise AssertionError(f"{self._broken[0]}, after {self.replies} replies")

    def _ended(self, deferred: Deferred[object]) -> object:
        """What a Deferred fired with; None if it failed as it may."""
        outcome: list[object] = []
        deferred.addBoth(outcome.append)
        self.settled += 1
        if not outcome:
            self._broken.append("a command did not end by its deadline")
        elif isinstance(outcome[0], Failure):
            error = outcome[0]
            if not error.check(ControlError):
                self._broken.append(f"a command ended with {error.type}")
            elif SECRET in error.getTraceback() or SECRET in repr(error.value):
                self._broken.append(f"an error holds the key: {error.value!r} {error.getTraceback()[-600:]}")
        else:
            return outcome[0]
        return None

    def _reply(self, port: ControlPort) -> bytes:
        """Something hostile."""
        self.replies += 1
        chance = self._chance
        reply = bytearray(b"".join(chance.choices(PIECES, k=chance.choice((1, 1, 1, 2, 3)))))
        for _ in range(chance.choice((0, 0, 1, 2, 5))):
            at = chance.randrange(len(reply) + 1)
            match chance.randrange(4):
                case 0:
                    del reply[at : at + chance.randint(1, 8)]
                case 1:
                    reply[at:at] = chance.randbytes(chance.randint(1, 6))
                case 2:
                    reply[at : at + 1] = bytes((chance.randrange(256),))
                case _:
                    reply[at:at] = chance.choice((b"\r\n", b" ", b"=", b"-", b"+", b"0", b'"', b"\\"))
        return bytes(reply) if self._knows_key else bytes(reply).replace(SECRET.encode(), b"a key of its own")
