"""Tor's control port: commands with deadlines, events, and no secrets in failures.

The only user of txtorcon, and only of its control protocol (authentication, commands, events). What surrounds it makes
up for faults found in txtorcon 26.6:

* after a lost connection the second and later commands never end: here every command has a deadline, and a lost
  connection refuses commands at once;
* the error of a command cut off by a lost connection holds the whole command, a private key included, and so does its
  log: here that error is replaced, never chained, and txtorcon is never told a secret, only a word that stands for it;
* a reply that is not the control protocol raises out of the reactor with a traceback: here it ends the connection.

The protocol is `control-spec <https://spec.torproject.org/control-spec/>`_.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint, ITCPTransport, ITransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txtorcon import TorControlProtocol, TorProtocolError
from txtorcon.torcontrolprotocol import TorDisconnectError

from torfluxd.errors import (
    ControlAbsentError,
    ControlError,
    ControlLostError,
    ControlRefusedError,
    ControlReplyError,
    ControlTimeoutError,
)

__all__ = ["COMMAND_DEADLINE_SECONDS", "CONNECT_DEADLINE_SECONDS", "ControlConnection", "connect_control"]

COMMAND_DEADLINE_SECONDS = 20.0
"""Tor answers commands from memory, in milliseconds; 20 s leave room for a machine that swaps."""

CONNECT_DEADLINE_SECONDS = 20.0
"""For the connection and the authentication together: two or three such commands on one machine."""

POLL_SECONDS = 0.1
"""How often we look for a control port that is not there yet."""

_LONGEST_REPLY_TEXT = 200
"""Characters of tor's own words that go into an error: its sentences are shorter, a flood is cut."""

_COOKIE_BYTES = 32
"""control-spec section 3.24."""

_NOT_TOR = "what answers at the control port does not speak tor's control protocol"


class _Revealing:
    """A transport that puts each secret in the place of the word that stands for it.

    :ivar secrets: the words, with their secrets.
    """

    def __init__(self, transport: ITransport) -> None:
        self._transport = transport
        self.secrets: dict[bytes, bytes] = {}

    def write(self, data: bytes) -> None:
        """Send a command."""
        for word, secret in self.secrets.items():
            data = data.replace(word, secret)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(TorControlProtocol):  # type: ignore[misc]  # txtorcon has no types
    """txtorcon's protocol, made safe against replies that are not replies."""

    def makeConnection(self, transport: ITransport) -> None:
        """Begin, with a transport that knows the secrets."""
        self.revealing = _Revealing(transport)
        super().makeConnection(self.revealing)

    def lineReceived(self, line: bytes) -> None:
        """Take one line; one that the protocol does not allow ends the connection."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # txtorcon's word for "no such transition"
                super().lineReceived(line)
        except Exception:  # whatever txtorcon's parser raises on bytes that it did not expect
            self.garbled = True
            self.abort()

    def _read_cookie(self, cookiefile: str) -> None:
        """Read the cookie, and close its file, which txtorcon leaves to the garbage collector."""
        cookie = Path(cookiefile).read_bytes()
        if len(cookie) != _COOKIE_BYTES:
            raise RuntimeError(f"COOKIEFILE {cookiefile} has {len(cookie)} bytes instead of {_COOKIE_BYTES}")
        self._cookie_data = cookie

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell those who wait; but for txtorcon's old way of telling, which Twisted deprecates with a warning."""
        self.on_disconnect = None
        super().connectionLost(reason)

    def abort(self) -> None:
        """End the connection at once."""
        cast(ITCPTransport, self.transport).abortConnection()

    def hide(self, text: str, secrets: Collection[str]) -> str:
        """Put a word in the place of each secret in a command, which becomes the secret again on its way out."""
        known = self.revealing.secrets
        for secret in sorted(secrets, key=len, reverse=True):  # one may be a part of another
            word = f"{{secret {len(known)}}}"
            known[word.encode("ascii")] = secret.encode("ascii")
            text = text.replace(secret, word)
        return text

    garbled = False


class ControlConnection:
    """One authenticated connection to a tor's control port. Once lost it stays lost: connect again.

    Built by :func:`connect_control`.

    :ivar tor_version: what tor says it is, `0.4.9.11` for instance.
    """

    _log = Logger()

    def __init__(self, protocol: _Protocol, clock: IReactorTime) -> None:
        self._protocol = protocol
        self._clock = clock
        self._lost = False
        self._secrets: set[str] = set()
        self._waiting: list[Deferred[None]] = []
        self.tor_version = str(protocol.version).split()[0]
        protocol.when_disconnected().addErrback(self._connection_lost)

    def _connection_lost(self, _reason: Failure) -> None:
        self._lost = True
        waiting, self._waiting = self._waiting, []
        for lost in waiting:
            lost.callback(None)

    def when_lost(self) -> Deferred[None]:
        """Fire when the connection has ended, however it ended; at once if it has already. Never fails."""
        lost: Deferred[None] = Deferred()
        if self._lost:
            lost.callback(None)
        else:
            self._waiting.append(lost)
        return lost

    def close(self) -> None:
        """End the connection. A tor that this connection owns ends with it."""
        self._protocol.abort()

    async def command(self, text: str, *, secrets: tuple[str, ...] = ()) -> str:
        """Send one command and wait for its reply.

        :param text: the command line, without its line ending.
        :param secrets: the parts of `text` that no error may repeat, of this command or of a later one.
        :returns: the reply's lines without their codes, joined by newlines, without the closing `OK`.
        :raises ControlReplyError: tor refused it; `code` is its status code.
        :raises ControlTimeoutError: there was no reply within `COMMAND_DEADLINE_SECONDS`; the connection is ended.
        :raises ControlLostError: the connection ended, before or while the command was under way.
        """
        name = text.split(" ", 1)[0]
        self._secrets.update(secrets)  # for every answer from now on, as it need not be this one that repeats them
        if self._lost:
            raise ControlLostError(f"the control connection to tor was lost before {name} could be sent")
        return await self._answered(name, self._protocol.queue_command(self._protocol.hide(text, secrets)))

    async def listen(self, event: str, take: Callable[[str], None]) -> None:
        """Subscribe to one kind of event (`HS_DESC`, `STATUS_CLIENT`, ...) for as long as the connection lives.

        :param take: called with the text of each event, after its name. Should it raise, that is logged.
        :raises ControlError: as :meth:`command`; also when this tor does not know the event.
        """
        if self._lost:
            raise ControlLostError(f"the control connection to tor was lost before {event} could be listened to")
        if event not in self._protocol.valid_events:
            raise ControlError(f"this tor ({self.tor_version}) has no {event} events")

        def guarded(data: str) -> None:
            with self._log.failuresHandled("while taking a {event} event of tor", event=event):
                take(data)

        await self._answered("SETEVENTS", self._protocol.add_event_listener(event, guarded))

    async def _answered(self, name: str, reply: Deferred[str]) -> str:
        try:
            return await reply.addTimeout(COMMAND_DEADLINE_SECONDS, self._clock)
        except TorProtocolError as error:
            text = _hide(str(error.text).strip(), self._secrets)
            raise ControlReplyError(f"tor refused {name}: {error.code} {text}", int(error.code)) from None
        except defer.TimeoutError:
            self.close()
            raise ControlTimeoutError(
                f"tor did not answer {name} within {COMMAND_DEADLINE_SECONDS:.0f} s; it hangs, or the machine does"
            ) from None
        except CancelledError:
            raise
        except Exception:  # txtorcon's TorDisconnectError among them; its text holds the command
            if self._protocol.garbled:
                raise ControlError(f"{_NOT_TOR} ({name})") from None
            raise ControlLostError(f"the control connection to tor was lost during {name}") from None


def _hide(text: str, secrets: Collection[str]) -> str:
    """Tor's words, fit for an error: on one line, of bounded length, without secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    return " ".join(text.split())[:_LONGEST_REPLY_TEXT]


async def connect_control(
    endpoint: IStreamClientEndpoint, clock: IReactorTime, where: str, patience_seconds: float = 0.0
) -> ControlConnection:
    """Connect to a control port and authenticate with its cookie (SAFECOOKIE), or without where tor asks for nothing.

    :param where: how errors name the control port: `unix:/run/tor/control`.
    :param patience_seconds: how long nothing may listen there yet.
    :raises ControlAbsentError: nothing listens there.
    :raises ControlRefusedError: it does not let us in.
    :raises ControlTimeoutError: it did not answer within `CONNECT_DEADLINE_SECONDS`.
    :raises ControlError: it is not a control port.
    """
    give_up = clock.seconds() + patience_seconds
    while True:
        started = clock.seconds()
        try:
            protocol = await _connected(endpoint, clock, where)
            break
        except ControlAbsentError:
            if started >= give_up:
                raise
        await deferLater(clock, POLL_SECONDS)
    remaining = max(0.1, CONNECT_DEADLINE_SECONDS - (clock.seconds() - started))
    try:
        await _authenticated(protocol).addTimeout(remaining, clock)
    except BaseException as error:
        protocol.abort()
        if isinstance(error, (CancelledError, GeneratorExit)):
            raise
        raise _connect_error(error, protocol, where) from None
    return ControlConnection(protocol, clock)


async def _connected(endpoint: IStreamClientEndpoint, clock: IReactorTime, where: str) -> _Protocol:
    try:
        factory = Factory.forProtocol(_Protocol)
        factory.noisy = False
        return cast(_Protocol, await endpoint.connect(factory).addTimeout(CONNECT_DEADLINE_SECONDS, clock))
    except defer.TimeoutError:
        raise ControlTimeoutError(f"tor's control port at {where} did not take a connection in time") from None
    except (ConnectError, ConnectionClosed, OSError) as error:
        why = str(error).rstrip(".")
        is_absent = getattr(error, "osError", None) in (errno.ENOENT, errno.ECONNREFUSED)
        raise (ControlAbsentError if is_absent else ControlRefusedError)(
            f"tor's control port at {where} cannot be reached ({why}): is tor running, with a ControlSocket or"
            " ControlPort there, and may this user connect to it?"
        ) from None


def _authenticated(protocol: _Protocol) -> Deferred[None]:
    """Fire when txtorcon has authenticated; fail when it could not, or when the connection ended before."""
    ended: Deferred[None] = Deferred(lambda _: None)

    def settle(result: object) -> None:
        if not ended.called:
            ended.errback(result) if isinstance(result, Failure) else ended.callback(None)

    protocol.post_bootstrap.addBoth(settle)
    protocol.when_disconnected().addErrback(settle)
    return ended


def _connect_error(error: BaseException, protocol: _Protocol, where: str) -> ControlError:
    if protocol.garbled or "Didn't find AUTH line" in str(error):  # txtorcon's words for a reply without one
        return ControlError(f"{_NOT_TOR} ({where})")
    if isinstance(error, defer.TimeoutError):
        return ControlTimeoutError(f"tor's control port at {where} did not answer in time; is it tor's?")
    if isinstance(error, TorDisconnectError):
        return ControlRefusedError(f"what listens at {where} closed the connection; is it tor's control port?")
    if isinstance(error, TorProtocolError):
        return ControlRefusedError(f"tor's control port at {where} does not let us in: {_hide(str(error.text), ())}")
    if isinstance(error, RuntimeError) and "COOKIEFILE" in str(error):
        return ControlRefusedError(
            f"the authentication cookie of tor's control port at {where} cannot be read: {_hide(str(error), ())};"
            " on Debian, add this user to the group debian-tor"
        )
    return ControlRefusedError(f"tor's control port at {where} offers no authentication by cookie")
