"""A tor is told from whatever else may listen at its port, and nobody who is asked learns anything."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.trial.unittest import SynchronousTestCase

from tests.onion.listeners import (
    Listener,
    Machine,
    abrupt,
    obliging_proxy,
    onion_traffic_only,
    ordinary_proxy,
    proxy_without_passwords,
    silent,
    tor,
    web_server,
)
from torfluxd.onion.probe import PROBE_SECONDS, is_tor


class ProbeTests(SynchronousTestCase):
    """Asking whether there is a tor at a port."""

    def ask(self, listener: Listener | None) -> tuple[Machine, Deferred[bool]]:
        """Ask at a port where somebody listens, or nobody."""
        machine = Machine() if listener is None else Machine(listeners={"tcp:9050": listener})
        place = TCP4ClientEndpoint(machine, "127.0.0.1", 9050)
        return machine, Deferred.fromCoroutine(is_tor(place, machine))

    def test_tor(self) -> None:
        """A tor is known as one, however strict its port is."""
        for listener in (tor, onion_traffic_only):
            machine, answer = self.ask(listener)
            self.assertTrue(self.successResultOf(answer))
            self.assertEqual((machine.open_connections, machine.getDelayedCalls()), (0, []))

    def test_others(self) -> None:
        """Whoever else listens is no tor: other proxies, other servers, and nobody."""
        for listener in (ordinary_proxy, obliging_proxy, proxy_without_passwords, web_server, abrupt, None):
            machine, answer = self.ask(listener)
            self.assertFalse(self.successResultOf(answer), listener)
            self.assertEqual(machine.getDelayedCalls(), [])

    def test_silence(self) -> None:
        """Somebody who never speaks is given two seconds."""
        machine, answer = self.ask(silent)
        machine.advance(PROBE_SECONDS - 0.1)
        self.assertNoResult(answer)
        machine.advance(0.1)
        self.assertFalse(self.successResultOf(answer))
        self.assertEqual((machine.open_connections, machine.getDelayedCalls()), (0, []))

    def test_cancel(self) -> None:
        """Cancelling leaves no connection."""
        machine, answer = self.ask(silent)
        answer.cancel()
        self.failureResultOf(answer, CancelledError)
        self.assertEqual((machine.open_connections, machine.getDelayedCalls()), (0, []))

    def test_what_is_told(self) -> None:
        """What is asked is a name's address, for a name that is an address already, and nobody's: no proxy has to look
        up or to connect to anything.
        """
        machine, _ = self.ask(tor)
        greeting, credentials, question = machine.heard
        self.assertEqual((greeting, question), (b"\x05\x01\x02", b"\x05\xf0\x00\x01\xc0\x00\x02\x01\x00\x00"))
        again, _ = self.ask(tor)
        self.assertNotEqual(again.heard[1], credentials)
