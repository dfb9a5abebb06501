"""How an exchange over HTTP ends: in time, or with a reason that a person can read."""

from __future__ import annotations

from typing import TypeVar

from OpenSSL.SSL import Error as TlsError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from torfluxd.errors import TorfluxdError, UpstreamError

__all__ = ["no_answer", "overdue", "settle"]

_log = Logger()

_T = TypeVar("_T")


def settle(exchange: Deferred[_T], clock: IReactorTime, deadline_seconds: float) -> Deferred[_T]:
    """Give an exchange a deadline, and its failures a reason.

    :param exchange: what is under way: the Deferred of a request to an :class:`~twisted.web.iweb.IAgent`, or one that
        waits for it.
    :returns: a Deferred that fires with what the exchange fires with. It fails with
        :class:`~torfluxd.errors.UpstreamError`, whose text says why and holds nothing of what was sent, when the
        exchange failed or was not over by the deadline, and was cancelled then; with
        :class:`~twisted.internet.defer.CancelledError` when it is cancelled itself, and the exchange with it.
    """

    def abandon(error: Exception) -> None:
        settled.errback(error)  # before the exchange hears of it: what it makes of its end concerns nobody
        exchange.cancel()

    def finish(outcome: _T | Failure) -> None:
        if settled.called:
            return
        deadline.cancel()
        if isinstance(outcome, Failure):
            settled.errback(no_answer(outcome))
        else:
            settled.callback(outcome)

    def leave(_: Deferred[_T]) -> None:
        deadline.cancel()
        abandon(CancelledError())

    settled: Deferred[_T] = Deferred(leave)
    deadline = clock.callLater(deadline_seconds, abandon, overdue(deadline_seconds))
    exchange.addBoth(finish)
    return settled


def overdue(seconds: float) -> UpstreamError:
    """The error of an exchange that was not over after so many seconds."""
    return UpstreamError(f"there was no answer within {seconds:g} seconds")


def no_answer(failure: Failure) -> UpstreamError:
    """The error of an exchange that failed."""
    return UpstreamError(_reason(failure))


def _reason(failure: Failure) -> str:
    """Why there was no answer."""
    cause = failure
    while reasons := getattr(cause.value, "reasons", None):  # what twisted.web.client wraps its failures in
        cause = reasons[0]
    if cause.check(TorfluxdError, ConnectError, ConnectionClosed, OSError):
        return f"there was no answer: {cause.getErrorMessage()}"
    if isinstance(cause.value, TlsError):
        return f"there was no answer: TLS failed: {_tls_reasons(cause.value)}"
    if cause is failure:
        _log.failure("An exchange over HTTP failed in a way that is not known", failure=failure)
    return f"there was no answer that can be read: {type(cause.value).__name__}"


def _tls_reasons(error: TlsError) -> str:
    """OpenSSL's own words, which pyOpenSSL gives as a list of (library, function, reason); else the error's name."""
    match error.args:
        case ([*errors],) if errors:
            return "; ".join(reason for *_, reason in errors)
        case _:
            return type(error).__name__
