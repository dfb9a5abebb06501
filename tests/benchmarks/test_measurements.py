"""What the benchmark reads, and how it judges."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import loopback, onion, outage, recording, workers
from benchmarks.house import BenchError
from benchmarks.onion_load import POINTS, Job, parse_report, requests
from benchmarks.outcome import Plan
from benchmarks.peers import PEERS
from benchmarks.processes import cpu_seconds, read_cpu_ticks, resident_bytes, tree
from benchmarks.reporters import Cost, limits, tell
from benchmarks.wrk import Load
from benchmarks.wrk import parse_report as parse_wrk_report
from torfluxd.onion.key import OnionKey


class ReadingTests(SynchronousTestCase):
    """What other programs say."""

    def test_wrk_is_understood(self) -> None:
        """Rates and latencies come out in the units that their names say, whatever wrk prints around them."""
        told = {"requests": 3000, "microseconds": 1_500_000, "p50": 2900, "p99": 9100}
        told |= {"refused": 0, "broken": 0, "timeouts": 0, "cpu_seconds": 0.9}
        report = parse_wrk_report(f"Running 1s test\n  1 threads\ntorfluxd-bench {json.dumps(told)}\n", 7)
        self.assertEqual((report.writes_per_second, report.p50_ms, report.p99_ms), (2000, 2.9, 9.1))
        self.assertEqual(report.first_second, 7)

    def test_silence_is_no_measurement(self) -> None:
        """A load generator that could not connect is an error in its own words, never a rate of nothing."""
        for parse in (lambda said: parse_wrk_report(said, 0), parse_report):
            with self.assertRaisesRegex(BenchError, "unable to connect"):
                parse("unable to connect to 127.0.0.1:1\n")

    def test_cpu_time_is_read_past_any_name(self) -> None:
        """A program may call itself what it likes, blanks and parentheses included."""
        fields = "S 1 2 3 4 5 6 7 8 9 10 1200 34 0 0"
        self.assertEqual(read_cpu_ticks(f"42 (nginx: (worker) 9 9) {fields}"), 1234)

    def test_our_own_cpu_time_grows(self) -> None:
        """What is read of a process that runs is its CPU time, in seconds."""
        before = cpu_seconds(os.getpid())
        while cpu_seconds(os.getpid()) < before + 0.02:
            sum(range(1000))
        self.assertLess(abs(cpu_seconds(os.getpid()) - sum(os.times()[:2])), 0.1)
        self.assertEqual(next(tree(os.getpid())), os.getpid())
        self.assertTrue(1e6 < resident_bytes(os.getpid()) < 1e10)


class LoadTests(SynchronousTestCase):
    """What is sent through Tor."""

    def test_no_timestamp_comes_twice(self) -> None:
        """InfluxDB would keep only one of two equal points, and the count of points would prove nothing."""
        hostname = OnionKey.generate().address.hostname
        job = Job("socks", hostname, "bench", 1, fresh=True, seconds=1, first_second=1_500_249_600, processes={})
        stamps = []
        for request in itertools.islice(requests(job), 50):
            head, _, body = request.partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: %d\r\n" % len(body), head + b"\r\n")
            stamps += [line.rpartition(b" ")[2] for line in body.splitlines()]
        self.assertEqual(len(set(stamps)), 50 * POINTS)


class PlanTests(SynchronousTestCase):
    """What is measured."""

    def test_scenarios_are_chosen_by_their_beginning(self) -> None:
        """`--only onion` means all that goes through Tor, and no `--only` means everything."""
        chosen = Plan(1, 1, ("onion", "loopback-1-"))
        names = [*loopback.SCENARIOS, *outage.SCENARIOS, *onion.SCENARIOS]
        self.assertEqual(
            [name for name in names if chosen.wants(name)],
            ["loopback-1-64", "loopback-1-256", *onion.SCENARIOS],
        )
        self.assertTrue(all(map(Plan(1, 1).wants, names)))


def loopback_runs(rates: Sequence[float]) -> list[loopback.Run]:
    """Three rounds of one scenario, each on a machine half as fast as before; the rates are those of `PEERS`."""
    cpu = {"peer": 20.0, "influxd": 30.0, "wrk": 10.0}
    return [
        loopback.Run("loopback-1-256", number, peer, rate / 2**number, 1.0, 2.0, cpu)
        for number in range(3)
        for peer, rate in zip(PEERS, rates, strict=True)
    ]


def onion_run(peer: str, rate: float, p50_ms: float, scenario: str, gateway: float = 0.0) -> onion.Run:
    """One measurement through Tor."""
    cpu = {"gateway": gateway, "tor": 2.0, "client tor": 9.0, "influxd": 0.5}
    return onion.Run(scenario, 0, peer, rate, p50_ms, 2 * p50_ms, 0, cpu, tor_kb=12.5)


class JudgementTests(SynchronousTestCase):
    """What is fast enough."""

    def test_the_gateway_is_held_against_influxd_and_the_go_proxy(self) -> None:
        """One slow peer is named, with the ratio and what was wanted."""
        against_influxd, against_go = loopback.judge(loopback_runs([16_000, 16_000, 11_000, 6_000]))
        self.assertEqual((against_influxd.value, against_influxd.bound), (1.0, 1.0))
        self.assertTrue(against_influxd.is_met)
        self.assertFalse(against_go.is_met)
        self.assertIn("256 connections: torfluxd / Go proxy: 2.67, wanted at least 3.00", str(against_go))

    def test_every_load_has_its_bounds(self) -> None:
        """Nothing is measured on loopback that is not judged."""
        self.assertEqual(set(loopback.WANTED), set(loopback.SCENARIOS.values()))
        self.assertEqual(str(Load(1, 64)), "1 point a write, 64 connections")

    def test_warm_circuits_cost_neither_rate_nor_latency(self) -> None:
        """Both are held against the onion service that leads straight to InfluxDB."""
        runs = [onion_run("bare onion", 400, 70, "onion-warm-32"), onion_run("torfluxd", 400, 84, "onion-warm-32")]
        rate, latency = onion.judge(runs)
        self.assertTrue(rate.is_met)
        self.assertFalse(latency.is_met)

    def test_the_gateway_takes_half_of_what_its_tor_takes(self) -> None:
        """With fresh circuits CPU time is what counts, since it limits how many reporters there can be."""
        bare = onion_run("bare onion", 50, 600, "onion-fresh-pow")
        (met,) = onion.judge([bare, onion_run("torfluxd", 50, 600, "onion-fresh-pow", gateway=1.0)])
        (missed,) = onion.judge([bare, onion_run("torfluxd", 50, 600, "onion-fresh-pow", gateway=1.1)])
        self.assertEqual((met.is_met, missed.is_met), (True, False))

    def test_an_outage_is_judged_by_what_it_slows_down(self) -> None:
        """Writes acknowledged meanwhile, against those before; and points a second when InfluxDB is back."""
        drain = outage.Drain(50_000, 1.0, 19_000)
        rate, drained = outage.judge([outage.Run("outage-64", 0, 10_000, 5_000, 6.0, 900, drain)])
        self.assertEqual((rate.is_met, drained.is_met), (True, False))

    def test_workers_are_judged_by_what_they_cost(self) -> None:
        """With as much to do for each, and room, two may take a tenth more CPU for a write; all ratios are shown."""
        runs = [
            loopback.Run(scenario, number, peer, rate, 1.0, 2.0, {"peer": cpu * 2**number, "influxd": 9.0, "wrk": 1.0})
            for number in range(3)
            for scenario, peer, rate, cpu in (
                ("workers-1-64-20ms", workers.ONE, 10_000.0, 20.0),
                ("workers-1-64-20ms", workers.TWO, 15_000.0, 26.0),
                ("workers-1-128-20ms", workers.ONE, 11_000.0, 19.0),
                ("workers-1-128-20ms", workers.TWO, 16_500.0, 23.0),
                ("workers-1-64", workers.ONE, 10_000.0, 20.0),
                ("workers-1-64", workers.TWO, 15_000.0, 27.0),
                ("workers-1-128", workers.ONE, 11_000.0, 19.0),
                ("workers-1-128", workers.TWO, 16_500.0, 25.0),
            )
        ]
        (cpu,) = workers.judge(runs)
        self.assertEqual((cpu.value, cpu.is_met), (1.15, False))
        load = "1 point a write, 64 connections, 20 ms between writes"
        self.assertIn(f"{load} for each worker: CPU, 2 workers / 1 worker: 1.15", str(cpu))
        table = "\n".join(workers.tabulate(runs))
        for shown in (
            "15 000 (15 000..15 000)",
            "1.50 (1.50..1.50)",
            "1.30 (1.30..1.30)",
            "64 connections for each worker: 1.25 (1.25",
        ):
            self.assertIn(shown, table)

    def test_everything_measured_is_shown(self) -> None:
        """Each module lays out all its peers."""
        lines = loopback.tabulate(loopback_runs([16_000, 16_000, 11_000, 6_000]))
        self.assertTrue(all(any(line.startswith(peer) for line in lines) for peer in PEERS))
        drain = outage.Drain(50_000, 1.0, 19_000)
        shown = "\n".join(outage.tabulate([outage.Run("outage-64", 0, 10_000, 5_000, 6.0, 900, drain)]))
        self.assertIn("19 000", shown)
        runs = [onion_run(peer, 50, 600, "onion-fresh-pow", gateway=1.0) for peer in ("bare onion", "torfluxd")]
        self.assertIn("with proof of work", onion.tabulate(runs)[0])
        self.assertIn("reporters", "\n".join(onion.count_reporters(runs)))


def cpu_run(number: int, ours: float, client: float, encoder: float, shape: int = 0) -> recording.CpuRun:
    """One round of recording."""
    cpu = {recording.OURS: ours, recording.CLIENT: client, recording.ENCODER: encoder}
    return recording.CpuRun(recording.SHAPES[shape].what, number, cpu)


class RecordingTests(SynchronousTestCase):
    """What a reporter costs the application."""

    def test_it_is_held_against_the_faster_encoder(self) -> None:
        """The median of the ratios of each round counts, whichever of the two was faster in it."""
        rounds = [cpu_run(0, 2.0, 6.0, 5.0), cpu_run(1, 6.0, 15.0, 20.0), cpu_run(2, 9.0, 10.0, 10.0)]
        (judged,) = recording.judge(rounds)
        self.assertEqual((judged.value, judged.is_met), (0.4, True))
        self.assertEqual([threshold.is_met for threshold in recording.judge([cpu_run(0, 2.1, 6.0, 5.0)])], [False])

    def test_what_is_shown_and_not_judged(self) -> None:
        """Shapes that programs record seldom are shown all the same."""
        seldom = len(recording.SHAPES) - 1
        run = cpu_run(0, 9.0, 6.0, 6.0, seldom)
        self.assertEqual(recording.judge([run]), [])
        self.assertIn("1.50", "\n".join(recording.tabulate([run])))

    def test_one_in_a_thousand_may_be_late(self) -> None:
        """Delays of the reactor are judged where something is recorded, and shown also where nothing is."""
        late = [0.1] * 9990 + [7.0] * 10
        self.assertEqual([recording.percentile(late, share) for share in (0.5, 0.999, 1.0)], [0.1, 7.0, 7.0])
        self.assertEqual(recording.percentile(late[:-1], 0.999), 0.1)
        runs = [recording.DelayRun(load, 0, 1e5, 0.1, 0.2, 4.0, 9.0) for load in recording.LOADS]
        self.assertEqual([threshold.is_met for threshold in recording.judge(runs)], [True, True])
        self.assertTrue(all(load in "\n".join(recording.tabulate(runs)) for load in recording.LOADS))

    def test_memory_is_held_against_the_limit(self) -> None:
        """Twice the limit is the most that a process may grow by."""
        runs = [recording.MemoryRun(number, 1 << 20, grown << 20, 10, 5) for number, grown in enumerate((1, 3, 9))]
        (judged,) = recording.judge(runs)
        self.assertEqual((judged.value, judged.is_met), (3.0, False))
        self.assertIn("3.00 (1.00..9.00) MiB", "\n".join(recording.tabulate(runs)))


class ReporterTests(SynchronousTestCase):
    """How many reporters one gateway carries."""

    def test_the_lowest_limit_is_named_first(self) -> None:
        """With a cheap report it is proof of work; with a dear one, the CPU of whoever is dear."""
        self.assertIn("proof of work", limits(Cost(gateway=0.8, tor=1.7, influxd=0.6, tor_kb=12.5))[0].what)
        self.assertIn("tor has one core", limits(Cost(gateway=0.1, tor=8.0, influxd=0.1, tor_kb=12.5))[0].what)
        self.assertIn("2 cores are full", limits(Cost(gateway=4.0, tor=5.0, influxd=4.0, tor_kb=12.5))[0].what)

    def test_a_reporter_reports_once_a_minute(self) -> None:
        """250 reports a second are 15 000 reporters, each with the ten circuits of its last ten minutes."""
        said = "\n".join(tell(Cost(gateway=0.8, tor=1.7, influxd=0.6, tor_kb=12.5)))
        self.assertIn("* 15 000 reporters, 250 reports/s: reporters are asked", said)
        self.assertIn("125 kB for a reporter, 1 875 MB for 15 000", said)
