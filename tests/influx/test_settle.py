"""Every exchange ends, and a person can read how."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import RequestTransmissionFailed, ResponseFailed, ResponseNeverReceived

from torfluxd.errors import SocksTimeoutError, UpstreamError
from torfluxd.influx.settle import settle


def wrapped(cause: Exception) -> Exception:
    """A failure as twisted.web.client wraps it, twice."""
    return RequestTransmissionFailed([Failure(ResponseNeverReceived([Failure(cause)]))])


class SettleTests(SynchronousTestCase):
    """The three ends of an exchange: a result, a reason, a cancellation."""

    def setUp(self) -> None:
        """Begin an exchange with a deadline of 5 seconds."""
        self.clock = Clock()
        self.exchange: Deferred[str] = Deferred()
        self.settled = settle(self.exchange, self.clock, 5)

    def reason(self, failure: Exception) -> str:
        """What a person reads when the exchange fails like this."""
        self.setUp()
        self.exchange.errback(failure)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return str(self.failureResultOf(self.settled, UpstreamError).value).removeprefix("there was no answer")

    def test_result(self) -> None:
        """A result is passed on, and no deadline remains."""
        self.exchange.callback("yes")
        self.assertEqual(self.successResultOf(self.settled), "yes")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_result_at_once(self) -> None:
        """So is one that was there already."""
        exchange: Deferred[str] = Deferred()
        exchange.callback("yes")
        self.assertEqual(self.successResultOf(settle(exchange, self.clock, 5)), "yes")

    def test_deadline(self) -> None:
        """At the deadline the exchange is cancelled, and its own last words do not count."""
        self.clock.advance(4.9)
        self.assertNoResult(self.settled)
        self.clock.advance(0.1)
        text = str(self.failureResultOf(self.settled, UpstreamError).value)
        self.assertEqual(text, "there was no answer within 5 seconds")
        self.assertTrue(self.exchange.called)

    def test_cancelled(self) -> None:
        """Cancelled by its owner, it fails with CancelledError, whatever the exchange makes of it."""
        for end in (
            lambda exchange: exchange.callback("too late"),
            lambda exchange: exchange.errback(ResponseFailed([Failure(CancelledError())])),
            lambda exchange: None,
        ):
            settled = settle(Deferred(end), self.clock, 1)
            settled.cancel()
            self.failureResultOf(settled, CancelledError)
        self.clock.advance(1)

    def test_connection(self) -> None:
        """What happened to the connection is said in Twisted's words, however deep it is wrapped."""
        for cause, text in (
            (error.ConnectionRefusedError(), ": Connection was refused by other side."),
            (error.TimeoutError(), ": User timeout caused connection failure."),
            (error.ConnectionLost(), ": Connection to the other side was lost in a non-clean fashion."),
            (
                error.DNSLookupError("no results for hostname lookup: x"),
                ": DNS lookup failed: no results for hostname lookup: x.",
            ),
            (OSError(2, "No such file or directory"), ": [Errno 2] No such file or directory"),
        ):
            self.assertEqual(self.reason(cause), text)
            self.assertEqual(self.reason(wrapped(cause)), text)

    def test_our_own_errors(self) -> None:
        """Our own errors are sentences already."""
        self.assertEqual(self.reason(SocksTimeoutError("the circuit took too long")), ": the circuit took too long")

    def test_tls(self) -> None:
        """What OpenSSL found is said in its words; where it says nothing, there is at least a name."""
        found = SSL.Error([("SSL routines", "", "certificate verify failed"), ("x", "y", "and more")])
        self.assertEqual(self.reason(wrapped(found)), ": TLS failed: certificate verify failed; and more")
        for silent in (SSL.Error([]), SSL.Error()):
            self.assertEqual(self.reason(wrapped(silent)), ": TLS failed: Error")
        self.assertEqual(self.reason(wrapped(SSL.SysCallError(-1, "Unexpected EOF"))), ": TLS failed: SysCallError")

    def test_other_sides_words(self) -> None:
        """What the other side said may repeat what it was sent, and stays out of the reason."""
        self.assertEqual(self.reason(wrapped(KeyError("cpu load=1"))), " that can be read: KeyError")

    def test_unknown(self) -> None:
        """What nobody thought of is logged in full, for whoever has to find out."""
        self.assertEqual(self.reason(ZeroDivisionError()), " that can be read: ZeroDivisionError")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
