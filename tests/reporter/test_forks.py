"""Tests for `torfluxd.reporter.forks`, and for reporters in processes, threads and loops of all kinds, for real."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.onion.socks_proxy import ONION
from tests.readme import the_block

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import os, sys
from pathlib import Path
state = Path(sys.argv[1])
URL = "http://{hostname}"
# Nothing listens there: what is recorded stays on disk.
options = {{"socks": "unix:" + str(state.with_name("nobody")), "state_dir": state, "granularity_seconds": 0}}
"""
LEFT = """
import json
from torfluxd.delivery.schema import open_file
found = {}
for path in sorted(state.glob("spool-*/spool.db")):
    rows = open_file(path).execute("SELECT lines FROM batch").fetchall()
    found[path.parent.name] = sorted(line.split()[1].decode() for (lines,) in rows for line in lines.split(b"\\n"))
print(json.dumps(found))
"""


class ProcessCase(SynchronousTestCase):
    """Programs that use a reporter, each in a Python of its own."""

    def setUp(self) -> None:
        """They share a state directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.state = Path(directory.name) / "state"

    def run_program(self, program: str, *arguments: str) -> str:
        """Run one; it succeeds.

        :returns: what it said.
        """
        command = [sys.executable, "-c", PREAMBLE.format(hostname=ONION.hostname) + textwrap.dedent(program)]
        ended = subprocess.run(
            [*command, str(self.state), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def left(self) -> dict[str, Sequence[str]]:
        """The fields of the points in each part of the state directory."""
        found: dict[str, Sequence[str]] = json.loads(self.run_program(LEFT))
        return found


class ForkTests(ProcessCase):
    """A process with a reporter is forked."""

    def test_before_the_start(self) -> None:
        """A server that makes a reporter, and then forks its workers: each has a part of its own, and what was recorded
        before belongs to the parent alone.
        """
        self.run_program("""
            from torfluxd import Reporter

            reporter = Reporter(URL, "telemetry", stop_seconds=0.1, **options)
            reporter.record("m", {"f": 0})

            def work(number):
                from twisted.internet.defer import Deferred
                from twisted.internet.task import react

                async def main(reactor):
                    async with reporter:
                        assert await reporter.record("m", {"f": number})
                        if number:
                            os.write(ready[1], b".")
                            os.read(go[0], 1)

                react(lambda reactor: Deferred.fromCoroutine(main(reactor)))

            ready, go = os.pipe(), os.pipe()
            children = []
            for number in (1, 2):
                children.append(os.fork())
                if not children[-1]:
                    work(number)
            for _ in children:
                os.read(ready[0], 1)  # both have a part
            os.write(go[1], b"..")
            assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
            """)
        self.assertEqual(sorted(map(tuple, self.left().values())), [("f=1i",), ("f=2i",)])

    def test_while_it_reports(self) -> None:
        """The child may report, too, and neither its reports nor its end touch what the parent keeps, which goes on."""
        self.run_program("""
            from twisted.internet.defer import Deferred
            from twisted.internet.selectreactor import SelectReactor
            from twisted.internet.task import react
            from torfluxd import Reporter

            def be_a_child():
                own = SelectReactor()

                async def report():
                    async with Reporter(URL, "telemetry", reactor=own, stop_seconds=0.1, **options) as reporter:
                        assert await reporter.record("m", {"f": 101})

                own.callWhenRunning(lambda: Deferred.fromCoroutine(report()).addBoth(end))
                outcome = []
                def end(result):
                    outcome.append(result)
                    own.stop()
                own.run(installSignalHandlers=False)
                print(outcome)
                os._exit(outcome != [None])

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.1, **options) as reporter:
                    assert await reporter.record("m", {"f": 1})
                    reporter.record("m", {"f": 2})  # not on disk when the process is forked
                    child = os.fork()
                    if not child:
                        assert (reporter.stats.recorded, reporter.running) == (0, 0)
                        be_a_child()
                    assert os.waitpid(child, 0)[1] == 0
                    assert await reporter.record("m", {"f": 3})

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        self.assertEqual(self.left(), {"spool-0": ["f=1i", "f=2i", "f=3i"], "spool-1": ["f=101i"]})

    def test_children_that_end(self) -> None:
        """Children that end in the ordinary way, with all that Python does then, leave the parent's spool whole: also
        when it is killed afterwards, everything that was confirmed is there.
        """
        self.run_program("""
            from twisted.internet import selectreactor
            selectreactor.install()
            from twisted.internet.defer import Deferred
            from twisted.internet.task import react
            from torfluxd import Reporter

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.1, **options) as reporter:
                    for number in range(4):
                        commit = reporter.record("m", {"f": number})
                        reporter._dispatch.commit()
                        assert await commit
                        child = os.fork()
                        if not child:
                            reporter.record("m", {"f": -1})
                            for call in reactor.getDelayedCalls():
                                call.cancel()
                            raise KeyboardInterrupt  # everything is taken apart
                        os.waitpid(child, 0)
                    os._exit(0)

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        self.assertEqual(self.left(), {"spool-0": sorted(f"f={number}i" for number in range(4))})


class AdoptionTests(ProcessCase):
    """Processes that are killed while others go on, or begin."""

    def test_killed(self) -> None:
        """What three processes kept that were killed, the next one has, all of it, and once."""
        self.run_program("""
            import signal
            from twisted.internet.defer import Deferred
            from twisted.internet.task import react
            from torfluxd import Reporter

            async def be_killed(reactor, number):
                async with Reporter(URL, "telemetry", **options) as reporter:
                    for value in range(10):
                        commit = reporter.record("m", {"f": 10 * number + value})
                    assert await commit
                    os.write(ready[1], b".")
                    os.read(go[0], 1)
                    os.kill(os.getpid(), signal.SIGKILL)

            ready, go = os.pipe(), os.pipe()
            children = []
            for number in range(3):
                children.append(os.fork())
                if not children[-1]:
                    react(lambda reactor: Deferred.fromCoroutine(be_killed(reactor, number)))
            for _ in children:
                os.read(ready[0], 1)
            os.write(go[1], b"...")
            for child in children:
                os.waitpid(child, 0)
            """)
        self.assertEqual([len(values) for values in self.left().values()], [10, 10, 10])
        self.run_program("""
            from twisted.internet.defer import Deferred
            from twisted.internet.task import deferLater, react
            from torfluxd import Reporter

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.1, **options) as reporter:
                    while reporter.stats.pending < 30:
                        await deferLater(reactor, 0.01)

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        [(part, values)] = self.left().items()
        self.assertEqual((part, list(values)), ("spool-0", sorted(f"f={number}i" for number in range(30))))


class KeepTests(ProcessCase):
    """Tests for `keep_for_ever`."""

    def test_never_let_go(self) -> None:
        """What is kept is not let go, not even when the interpreter ends."""
        program = """
            from torfluxd.reporter.forks import keep_for_ever

            class Loud:
                def __del__(self, write=os.write):
                    write(1, b"let go")

            loud = Loud()
            if sys.argv[2:]:
                keep_for_ever([loud])
            """
        self.assertEqual((self.run_program(program), self.run_program(program, "keep")), ("let go", ""))


class LoopTests(ProcessCase):
    """Reporters in programs of all kinds."""

    def test_asyncio(self) -> None:
        """The program for asyncio in the documentation works: the reporter is an asynchronous context manager, and what
        is recorded, and flushed, can be awaited.
        """
        program = the_block("python", "import asyncio", "docs/reporter.rst")
        said = self.run_program(
            'os.environ["TORFLUXD_SOCKS"] = options["socks"]\n'
            + program.replace('state_dir="telemetry"', "state_dir=state, stop_seconds=0.1")
        )
        self.assertEqual(said, "It is on disk.\n")
        self.assertEqual(self.left(), {"spool-0": ["seconds=12.8"]})

    def test_twisted(self) -> None:
        """So it is in a coroutine of Twisted."""
        self.run_program("""
            from twisted.internet.defer import Deferred
            from twisted.internet.task import react
            from torfluxd import Reporter

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.5, **options) as reporter:
                    assert await reporter.record("m", {"f": 1})

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        self.assertEqual(self.left(), {"spool-0": ["f=1i"]})

    def test_cancelled_flush(self) -> None:
        """Whoever gives up a flush, or an awaited point, changes nothing for what is being written to the disk."""
        self.run_program("""
            from twisted.internet.defer import Deferred
            from twisted.internet.task import react
            from torfluxd import Reporter

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.1, **options) as reporter:
                    for number in range(20):
                        commit = reporter.record("m", {"f": number})
                        for waiting in (reporter.flush(), commit.as_deferred()):
                            waiting.addErrback(lambda failure: None)
                            waiting.cancel()
                        assert await commit

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        self.assertEqual(self.left(), {"spool-0": sorted(f"f={number}i" for number in range(20))})

    def test_threads(self) -> None:
        """From eight threads at once nothing is lost, and nothing comes twice."""
        self.run_program("""
            from twisted.internet.defer import Deferred, gatherResults
            from twisted.internet.task import react
            from twisted.internet.threads import deferToThread
            from torfluxd import Reporter

            async def main(reactor):
                async with Reporter(URL, "telemetry", stop_seconds=0.5, **options) as reporter:
                    def record(thread):
                        for number in range(1000):
                            reporter.record("m", {"f": 1000 * thread + number})
                    await gatherResults([deferToThread(record, thread) for thread in range(8)])
                    assert await reporter.record("m", {"f": 8000})

            react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
            """)
        self.assertEqual(self.left(), {"spool-0": sorted(f"f={number}i" for number in range(8001))})


class MemoryTests(ProcessCase):
    """What a reporter costs when nothing can be sent."""

    def test_bounded(self) -> None:
        """Many points without Tor do not make the process grow by more than the limit twice, on disk or not; what
        there is no room for is counted.
        """
        for where in ("state", "None"):
            grown, dropped = self.run_program(f"""
                from twisted.internet.defer import Deferred
                from twisted.internet.task import deferLater, react
                from torfluxd import Reporter

                LIMIT = 8 * 1024 * 1024

                def resident():
                    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

                async def main(reactor):
                    options.update(state_dir={where}, memory_limit_bytes=LIMIT, keep_bytes=LIMIT, stop_seconds=0.1)
                    async with Reporter(URL, "telemetry", **options) as reporter:
                        before = resident()
                        most = 0
                        for number in range(80):
                            for _ in range(5000):
                                last = reporter.record("m", {{"value": number / 7, "n": number}}, {{"kind": "b"}})
                            await deferLater(reactor, 0)
                            most = max(most, resident() - before)
                        assert await last
                        assert reporter.stats.recorded == 400_000
                        print(most / LIMIT, reporter.stats.dropped)

                react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
                """).split()
            self.assertLess(float(grown), 2)
            self.assertGreater(int(dropped), 200_000)


class ClaimTests(ProcessCase):
    """Processes that begin and end at the same time."""

    def test_at_once(self) -> None:
        """Eight processes that begin together have a part each."""
        program = """
            from torfluxd.reporter.claims import claim_free
            claim = claim_free(state)
            print(claim.directory.name, flush=True)
            sys.stdin.read()
            """
        command = [sys.executable, "-c", PREAMBLE.format(hostname=ONION.hostname) + textwrap.dedent(program)]
        children = [
            subprocess.Popen(
                [*command, str(self.state)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(8)
        ]
        names = []
        for child in children:
            assert child.stdout is not None
            names.append(child.stdout.readline().strip())
        for child in children:
            child.communicate()
        self.assertEqual(sorted(names), [f"spool-{number}" for number in range(8)])
