"""statsd, read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torfluxd.reporter.statsd_lines import MAX_NAME_CHARACTERS, MAX_TAGS, MAX_VALUES, Sample, read_datagram


class ReadingTests(SynchronousTestCase):
    """What a datagram says."""

    def assert_read(self, datagram: bytes, *expected: Sample | None) -> None:
        """It says this."""
        self.assertEqual(list(read_datagram(datagram)), list(expected))

    def test_kinds(self) -> None:
        """Every kind of metric is understood."""
        self.assert_read(b"a.b:1|c", Sample("c", "a.b", 1))
        self.assert_read(b"a:-2.5|c", Sample("c", "a", -2.5))
        self.assert_read(b"a:320|ms", Sample("ms", "a", 320))
        self.assert_read(b"a:3e2|h", Sample("h", "a", 300))
        self.assert_read(b"a:3|d", Sample("d", "a", 3))
        self.assert_read(b"a:someone|s", Sample("s", "a", "someone"))

    def test_gauges(self) -> None:
        """A gauge is set to a number without a sign, and changed by one with it."""
        self.assert_read(b"a:3|g", Sample("g", "a", 3))
        self.assert_read(b"a:+3|g", Sample("g", "a", 3, is_change=True))
        self.assert_read(b"a:-3|g", Sample("g", "a", -3, is_change=True))

    def test_rates(self) -> None:
        """A sample may stand for many."""
        self.assert_read(b"a:1|c|@0.1", Sample("c", "a", 1, rate=0.1))
        self.assert_read(b"a:1|ms|#x:y|@1", Sample("ms", "a", 1, tags={"x": "y"}))
        for rate in (b"0", b"-1", b"2", b"nan", b"x", b"1e-9", b""):
            self.assert_read(b"a:1|c|@" + rate, None)

    def test_tags(self) -> None:
        """DogStatsD's tags are understood, also those without a value; what else follows is passed over."""
        self.assert_read(b"a:1|c|#x:y,z|c:container|T1", Sample("c", "a", 1, tags={"x": "y", "z": "true"}))
        self.assert_read(b"a:1|c|#x:http://y:80", Sample("c", "a", 1, tags={"x": "http://y:80"}))
        self.assert_read(b"a:1|c|#x:,:y,time:1,b\\:1,ok:1", Sample("c", "a", 1, tags={"ok": "1"}))
        many = b",".join(b"t%d:1" % number for number in range(MAX_TAGS + 9))
        (sample,) = read_datagram(b"a:1|c|#" + many)
        assert sample is not None
        self.assertEqual(len(sample.tags), MAX_TAGS)

    def test_many(self) -> None:
        """A datagram holds many lines, and a line many values."""
        self.assert_read(b"a:1|c\nb:2|c\n\n", Sample("c", "a", 1), Sample("c", "b", 2))
        self.assert_read(b"a:1:2|ms", Sample("ms", "a", 1), Sample("ms", "a", 2))
        self.assertEqual(len(list(read_datagram(b"a:" + b"1:" * (2 * MAX_VALUES) + b"1|c"))), MAX_VALUES)

    def test_bad_lines(self) -> None:
        """A line that says nothing is one bad line, and costs its neighbours nothing."""
        for line in (
            b"garbage",
            b"a:1",
            b"a|c",
            b":1|c",
            b"a:|c",
            b"a:x|c",
            b"a:nan|g",
            b"a:inf|g",
            b"a:1e301|c",
            b"a:1_0|c",
            b"a:\xd9\xa1|c",
            b"a:1|q",
            b"a:|s",
            b"a\\b:1|c",
            b"a\x00b:1|c",
            b"\xff:1|c",
            b"x" * (MAX_NAME_CHARACTERS + 1) + b":1|c",
        ):
            self.assert_read(b"b:1|c\n" + line + b"\nb:2|c", Sample("c", "b", 1), None, Sample("c", "b", 2))

    def test_passed_over(self) -> None:
        """Events and service checks of DogStatsD are no metrics, and no fault."""
        self.assert_read(b"_e{5,4}:title|text\n_sc|name|0")

    def test_silence(self) -> None:
        """What programs send does not stand in the representation of a sample."""
        (sample,) = read_datagram(b"secret:secret|s|#secret:secret")
        self.assertNotIn("secret", repr(sample))

    @given(st.binary(max_size=80) | st.text("ab:|@#,.+-1\ncgmshd", max_size=40).map(str.encode))
    def test_anything(self, datagram: bytes) -> None:
        """Whatever arrives, reading it ends, and what is read has a finite number and a name."""
        for sample in read_datagram(datagram):
            if sample is not None:
                self.assertTrue(sample.name)
                self.assertTrue(isinstance(sample.value, str) == (sample.kind == "s"))
