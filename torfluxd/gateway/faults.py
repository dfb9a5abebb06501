"""What is logged when our own code fails in the middle of a request."""

from __future__ import annotations

import traceback

from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["log_fault"]


def log_fault(log: Logger, failure: Failure) -> None:
    """Log where our code failed, and with what kind of exception.

    Not the exception's text, as :meth:`~twisted.logger.Logger.failure` would: `KeyError: b'...'` may quote a stranger.
    A traceback quotes our source only.
    """
    log.critical(
        "A request could not be answered, because of {kind} in\n{where}",
        kind=type(failure.value).__qualname__,
        where="".join(traceback.format_tb(failure.getTracebackObject())),
    )
