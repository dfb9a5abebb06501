"""Several workers behind one onion service, in a real Tor network."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.end_to_end.programs import ClientTor, Gateway, start_gateway, wait_until
from tests.end_to_end.test_gateway import GatewayCase

WRITES = 40
"""So many that each of two workers has some of them: that one has none happens once in 10^12 times."""


def workers_of(gateway: Gateway) -> list[int]:
    """The process ids of its workers."""
    pid = gateway.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"torfluxd.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


class OnionWorkersTests(GatewayCase):
    """`--workers 2` with a tor of our own, and with a running one."""

    def start_two(self) -> tuple[Gateway, ClientTor]:
        """A gateway with two workers and a tor of its own, and a client."""
        return start_gateway(self.addCleanup, self.state, self.influxd.url, "--workers", "2"), self.newcomer()

    def curl(self, tor: ClientTor, gateway: Gateway, line: str) -> str:
        """Write one line over a stream of its own, through the circuit that all streams share; the answer's status."""
        words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", "--proxy", tor.proxy]
        target = f"{gateway.url}/write?db=telemetry"
        ended = subprocess.run([*words, target, "--data-binary", line], capture_output=True, text=True, check=False)
        return ended.stdout

    def test_tor_spreads_strangers(self) -> None:
        """Tor brings strangers to both workers; both are needed, and both serve."""
        gateway, tor = self.start_two()
        self.assert_both_serve(tor, gateway)

    def test_a_running_tor_spreads_strangers(self) -> None:
        """So does a running tor, which is told of both sockets."""
        tor = self.newcomer()
        options = ("--tor", f"unix:{tor.control}", "--workers", "2")
        gateway = Gateway(self.addCleanup, self.state, self.influxd.url, *options).wait_published()
        self.assert_both_serve(self.newcomer(), gateway)

    def assert_both_serve(self, tor: ClientTor, gateway: Gateway) -> None:
        """While one of them stands still, about half of those who come wait, until it goes on: so both are asked."""
        self.write(tor, gateway, f"m v=0 {time.time_ns()}")
        first, second = workers_of(gateway)
        for frozen in (first, second):
            before = self.influxd.count("telemetry", "m")
            os.kill(frozen, signal.SIGSTOP)
            try:
                writers = [
                    threading.Thread(target=self.curl, args=(tor, gateway, f"m v={number} {time.time_ns()}"))
                    for number in range(WRITES)
                ]
                for writer in writers:
                    writer.start()
                wait_until(lambda before=before: self.influxd.count("telemetry", "m") > before, lambda: gateway.log)
                time.sleep(5)
                served = self.influxd.count("telemetry", "m") - before
                self.assertTrue(0 < served < WRITES, served)
            finally:
                os.kill(frozen, signal.SIGCONT)
            for writer in writers:
                writer.join()
            self.assertEqual(before + WRITES, self.influxd.count("telemetry", "m"))

    def test_one_is_killed(self) -> None:
        """While a killed worker is not back the other has all who come, and nobody who comes anew is refused."""
        gateway, tor = self.start_two()
        self.write(tor, gateway, f"m v=0 {time.time_ns()}")
        os.kill(workers_of(gateway)[0], signal.SIGKILL)
        answers = [self.curl(tor, gateway, f"m v={number} {time.time_ns()}") for number in range(10)]
        self.assertEqual(["204"] * 10, answers)
        gateway.wait_for("worker 1 serves again")
        answers = [self.curl(tor, gateway, f"m v={number} {time.time_ns()}") for number in range(20)]
        self.assertEqual(["204"] * 20, answers)
        self.assertEqual(31, self.influxd.count("telemetry", "m"))
        self.assertTrue((self.state / "onion.sock").is_socket())

    def test_strangers_can_only_come_through_tor(self) -> None:
        """All the sockets are for this user alone, and go with the gateway."""
        gateway, _ = self.start_two()
        sockets = [self.state / name for name in ("onion.sock", "onion-2.sock")]
        self.assertEqual([0o600] * 2, [path.stat().st_mode & 0o777 for path in sockets])
        gateway.stop()
        self.assertFalse(any(path.exists() for path in sockets))
