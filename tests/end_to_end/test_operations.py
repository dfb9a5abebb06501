"""What operators see of a gateway in a real Tor network, and what they do to it, while somebody writes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from typing import Any

from tests.end_to_end.programs import BIN, Gateway, client_tor, curl, temporary_directory, wait_until
from tests.end_to_end.test_gateway import GatewayCase, tor_process_of
from tests.ops.test_exposition import promtool

END_SECONDS = 5.0
"""How long the end may take, the end of tor included."""

WRITES = 3


class OperationsTests(GatewayCase):
    """A gateway with a tor of its own, and a status page."""

    def start_watched(self) -> Gateway:
        """Start it, with a configuration that may change, and a place for Prometheus."""
        self.config = self.directory / "config.toml"
        self.config.write_text('[gateway]\ndatabase = ["telemetry"]\n')
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.admin = free.getsockname()[1]
        return self.start("--config", str(self.config), "--admin", f"tcp:{self.admin}:interface=127.0.0.1")

    def page(self, path: str) -> str:
        """One of the status pages."""
        return curl(f"http://127.0.0.1:{self.admin}{path}").partition("\r\n\r\n")[2]

    def status(self) -> dict[str, Any]:
        """What `torfluxd status --json` says; whoever asks so needs no --admin."""
        command = [BIN / "torfluxd", "status", "--state-dir", self.state, "--json"]
        ended = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
        self.assertEqual("", ended.stderr)
        found: dict[str, Any] = json.loads(ended.stdout)
        self.assertEqual(0 if found["ready"] else 1, ended.returncode)
        return found

    def test_a_day_in_the_life(self) -> None:
        """It is ready once it is published; it counts what comes through Tor; a reload keeps the onion service and tor;
        and the end, tor's included, takes no more than five seconds.
        """
        gateway = self.start_watched()
        self.assertEqual("ready\n", self.page("/ready"))
        tor = client_tor(self.addCleanup, temporary_directory(self.addCleanup))
        for _ in range(WRITES):
            self.write(tor, gateway, f"m v=1 {time.time_ns()}")
        status = self.status()
        self.assertEqual((True, gateway.url), (status["ready"], status["onion"]))
        figures = status["figures"]
        self.assertEqual((WRITES, WRITES), (figures["requests"]["written"], figures["lines"]["stored"]))
        self.assertEqual((1.0, 100), (figures["onion_published"], figures["tor_bootstrap_percent"]))
        self.assertLess(figures["onion_descriptor_age_seconds"], 600)

        metrics = self.page("/metrics")
        self.assertEqual((0, ""), promtool("check", "metrics", data=metrics.encode()))
        self.assertIn(f'torfluxd_requests_total{{verdict="written"}} {WRITES}.0', metrics)
        self.assertNotIn(gateway.hostname, metrics)
        self.assertNotIn("telemetry", metrics)

        before = tor_process_of(self.state)
        self.config.write_text('[gateway]\ndatabase = ["telemetry", "other"]\n[rules]\nmax_lines = 1\n')
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for("the configuration was read again")
        self.write(tor, gateway, f"m v=1 {time.time_ns()}")
        answer = curl("--proxy", tor.proxy, f"{gateway.url}/write?db=telemetry", "--data-binary", "m v=1\nm v=2")
        self.assertTrue(answer.startswith("HTTP/1.1 413"), answer)
        self.assertEqual(before, tor_process_of(self.state))
        self.assertEqual(1, gateway.log.count("published: "))

        begun = time.monotonic()
        gateway.stop()
        self.assertLess(time.monotonic() - begun, END_SECONDS)
        wait_until(lambda: tor_process_of(self.state) is None, lambda: "its tor still runs")
        self.assertEqual(WRITES + 1, self.influxd.count("telemetry", "m"))

    def test_a_tor_that_is_lost(self) -> None:
        """While its tor is gone it is not ready, and says why; when tor is back it is; the loss is counted."""
        gateway = self.start_watched()
        pid = tor_process_of(self.state)
        assert pid is not None
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
        wait_until(lambda: not self.status()["ready"], lambda: gateway.log)
        wait_until(lambda: bool(self.status()["ready"]), lambda: gateway.log)
        self.assertEqual(1, self.status()["figures"]["tor_losses"])
        self.assertIsNone(re.search("Traceback", gateway.log))
