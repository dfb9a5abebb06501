"""The log: plain lines for people, one JSON object a line for programs, and quiet."""

from __future__ import annotations

import io
import json
import os
import re

from twisted.logger import ILogObserver, Logger, LogLevel, LogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.ops.logs import as_journal, as_json, as_text, is_journal, json_lines, observer, text_lines


class LogsCase(SynchronousTestCase):
    """A logger of ours, one of somebody else's, and a stream."""

    def setUp(self) -> None:
        """Nothing is written yet."""
        self.stream = io.StringIO()

    def begin(self, name: str, environment: dict[str, str] | None = None) -> tuple[Logger, Logger]:
        """Write the log so."""
        publisher = LogPublisher(observer(self.stream, name, environment or {}))
        return (
            Logger("torfluxd.gateway.service", observer=publisher),
            Logger("twisted.internet.base", observer=publisher),
        )

    @property
    def lines(self) -> list[str]:
        """What was written."""
        text = self.stream.getvalue()
        self.assertTrue(not text or text.endswith("\n"))
        return text.splitlines()


class JsonTests(LogsCase):
    """`--log-format json`."""

    def test_an_event(self) -> None:
        """An event is one compact line with its fields, in their types."""
        ours, _ = self.begin("json")
        ours.warn("the spool is {percent} % full: {what}", percent=80, what="a\nb \u2028 é")
        (line,) = self.lines
        entry = json.loads(line)
        self.assertRegex(entry.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(
            {
                "level": "warn",
                "logger": "torfluxd.gateway.service",
                "message": "the spool is 80 % full: a\nb \u2028 é",
                "percent": 80,
                "what": "a\nb \u2028 é",
            },
            entry,
        )
        self.assertNotIn('": ', line)
        self.assertTrue(line.isascii())  # so that no terminal and no locale is in its way

    def test_a_fault(self) -> None:
        """A fault of our own is one line, too, with its traceback in it."""
        ours, _ = self.begin("json")
        ours.failure("what failed", Failure(KeyError("x")), LogLevel.critical)
        (entry,) = map(json.loads, self.lines)
        self.assertIn("KeyError", entry["traceback"])
        self.assertEqual("what failed", entry["message"])

    def test_fields_cannot_take_the_place_of_others(self) -> None:
        """A field is never taken for the sentence, and what is no text and no number is left out."""
        ours, _ = self.begin("json")
        ours.info("{message}", message="m", logger="l", thing=object(), nan=float("nan"), yes=True)
        (entry,) = map(json.loads, self.lines)
        self.assertEqual({"time", "level", "logger", "message", "yes"}, set(entry))
        self.assertEqual(("m", "torfluxd.gateway.service"), (entry["message"], entry["logger"]))

    def test_others(self) -> None:
        """A warning of somebody else's is written, without fields that we know nothing of."""
        _, theirs = self.begin("json")
        theirs.warn("look out: {thing}", thing="x")
        (entry,) = map(json.loads, self.lines)
        self.assertEqual("look out: x", entry["message"])
        self.assertNotIn("thing", entry)


class TextTests(LogsCase):
    """`--log-format text`."""

    def test_a_line(self) -> None:
        """A line begins with the time, and says how grave it is where it is."""
        ours, _ = self.begin("text")
        ours.info("published")
        ours.warn("lost")
        first, second = self.lines
        self.assertRegex(first, r"\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d published\Z")
        self.assertTrue(second.endswith(" warning: lost"), second)

    def test_the_journal(self) -> None:
        """Into the journal goes how grave each line is, and no time, which it knows by itself."""
        with open(os.devnull, "w") as stream:
            status = os.fstat(stream.fileno())
            environment = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
            self.assertTrue(is_journal(stream, environment))
            self.assertFalse(is_journal(stream, {}))
        self.assertFalse(is_journal(stream, environment))  # closed
        self.assertFalse(is_journal(self.stream, environment))

    def test_lines_of_the_journal(self) -> None:
        """Each line of a traceback has its priority."""
        event = {"log_namespace": "torfluxd.x", "log_level": LogLevel.error, "log_format": "a", "log_time": 1.0}
        self.assertEqual("<3>a\n", as_journal(event))
        text = as_journal({**event, "log_failure": Failure(KeyError("x"))})
        assert text is not None
        self.assertTrue(all(re.match("<3>", line) for line in text.splitlines()), text)
        self.assertGreater(len(text.splitlines()), 1)


class QuietTests(LogsCase):
    """What is left out."""

    def test_twisted(self) -> None:
        """What Twisted says of its own doings is left out, and its warnings and faults are not."""
        for write in (as_json, as_text):
            for level, wanted in ((LogLevel.info, False), (LogLevel.warn, True), (LogLevel.critical, True)):
                event = {"log_namespace": "twisted.x", "log_level": level, "log_format": "a", "log_time": 1.0}
                self.assertEqual(wanted, write(event) is not None, (write, level))

    def test_the_old_way(self) -> None:
        """What is logged in Twisted's old way is left out, but a fault of which nobody else tells is not."""
        publisher = legacy.LogPublisher(publishPublisher=LogPublisher(observer(self.stream, "text", {})))
        publisher.msg("Starting factory")
        self.assertEqual([], self.lines)
        publisher.msg(failure=Failure(KeyError("x")), why="y", isError=1)
        self.assertIn("KeyError", self.stream.getvalue())

    def test_twistd_takes_them(self) -> None:
        """`twistd --logger` is given an observer."""
        for make in (json_lines, text_lines):
            self.assertTrue(ILogObserver.providedBy(make()))
