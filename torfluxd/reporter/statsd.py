"""statsd over UDP: what programs send is gathered by the reporter's instruments, and written once each interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from torfluxd.errors import PointError
from torfluxd.reporter.statsd_lines import Kind, Sample, read_datagram

__all__ = ["MAX_METRICS", "MAX_SET_VALUES", "Meters", "Statsd", "StatsdCounts"]

MAX_METRICS: Final = 5000
"""How many metrics there may be, each with its tags. A program that makes up names, or values of tags, without end
would fill memory, and then the vendor's index; what is beyond is left out and counted."""

MAX_SET_VALUES: Final = 10_000
"""How many different values of one set are told apart in an interval: 1 MB of them. Beyond that it says so many."""

DATAGRAM_BYTES: Final = 65_536
"""The largest that UDP has."""

MILLISECONDS: Final = 1000.0
_KINDS: Final[Mapping[Kind, str]] = {"c": "count", "g": "gauge", "ms": "time", "h": "histogram", "d": "histogram"}
"""What is put behind the name of a metric that is one of another kind already."""

_Key = tuple[str, str, tuple[tuple[str, str], ...]]


class Adds(Protocol):
    """A counter."""

    def add(self, amount: int = 1) -> None:
        """Count so much."""


class Sets(Protocol):
    """A gauge."""

    def set(self, value: float) -> None:
        """So much there is now."""


class Observes(Protocol):
    """A timer or a histogram."""

    def observe(self, value: float, weight: int = 1) -> None:
        """One value, or one that stands for several."""


class Meters(Protocol):
    """Gathers values until they are written; a reporter does."""

    def counter(self, name: str, tags: Mapping[str, str] | None = None) -> Adds:
        """The counter of this name with these tags."""

    def gauge(self, name: str, tags: Mapping[str, str] | None = None) -> Sets:
        """The gauge."""

    def timer(self, name: str, tags: Mapping[str, str] | None = None) -> Observes:
        """The timer; it observes seconds."""

    def histogram(self, name: str, tags: Mapping[str, str] | None = None) -> Observes:
        """The histogram."""

    def record(self, measurement: str, fields: Mapping[str, float], tags: Mapping[str, str] | None = None) -> object:
        """Write a point."""


@frozen
class StatsdCounts:
    """What was heard.

    :ivar samples: values that were gathered.
    :ivar unread: lines that say nothing in statsd, or nothing that could be written.
    :ivar beyond: values of metrics beyond `MAX_METRICS`.
    """

    samples: int = 0
    unread: int = 0
    beyond: int = 0


class Statsd(DatagramProtocol):
    """Hears statsd. Whatever arrives, nothing of it is logged, and nothing raises.

    :param meters: gathers what is heard.
    :param clock: the reactor.
    :param interval_seconds: how often the sizes of sets are written, and what could not be read is told.
    """

    noisy = False
    _log = Logger()

    def __init__(self, meters: Meters, clock: IReactorTime, interval_seconds: float) -> None:
        self._meters = meters
        self._interval_seconds = interval_seconds
        self._known: dict[_Key, Callable[[Sample], None]] = {}
        self._gauges: dict[_Key, float] = {}
        self._rests: dict[_Key, float] = {}
        self._sets: dict[_Key, set[int]] = {}
        self._samples = self._unread = self._beyond = 0
        self._told = StatsdCounts()
        self._ticks = LoopingCall(self.tick)
        self._ticks.clock = clock

    @property
    def counts(self) -> StatsdCounts:
        """What was heard since the start."""
        return StatsdCounts(self._samples, self._unread, self._beyond)

    def listen(self, reactor: IReactorUDP, port: int, interface: str) -> IListeningPort:
        """Listen.

        :raises CannotListenError: that cannot be listened on.
        """
        return reactor.listenUDP(port, self, interface=interface, maxPacketSize=DATAGRAM_BYTES)

    def startProtocol(self) -> None:
        """Begin."""
        self._ticks.start(self._interval_seconds, now=False)

    def stopProtocol(self) -> None:
        """End: what was heard is written."""
        if self._ticks.running:
            self._ticks.stop()
        self.tick()

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Hear what somebody sends; who that is makes no difference."""
        for sample in read_datagram(datagram):
            if sample is None:
                self._unread += 1
            else:
                self._gather(sample)

    def tick(self) -> None:
        """Write how many values each set had, and tell what could not be read."""
        for (_, name, tags), values in self._sets.items():
            if values:
                self._meters.record(name, {"count": len(values)}, dict(tags))
                values.clear()
        self._tell()

    def _gather(self, sample: Sample) -> None:
        key = (sample.kind, sample.name, tuple(sorted(sample.tags.items())))
        gather = self._known.get(key)
        if gather is None:
            if len(self._known) >= MAX_METRICS:
                self._beyond += 1
                return
            gather = self._found(key, sample)
            if gather is None:
                self._unread += 1
                return
            self._known[key] = gather
        gather(sample)
        self._samples += 1

    def _found(self, key: _Key, first: Sample) -> Callable[[Sample], None] | None:
        """What takes the values of one metric; None where no point can have its name."""
        if first.kind == "s":
            values = self._sets[key] = set()
            return lambda sample: _insert(values, str(sample.value))
        for name in (first.name, f"{first.name}.{_KINDS[first.kind]}"):
            with suppress(PointError):
                return self._gatherer(first.kind, name, key)
        return None

    def _gatherer(self, kind: Kind, name: str, key: _Key) -> Callable[[Sample], None]:
        tags, meters = dict(key[2]), self._meters
        if kind == "c":
            counter = meters.counter(name, tags)
            return lambda sample: counter.add(self._whole(key, _number(sample) / sample.rate))
        if kind == "g":
            gauge = meters.gauge(name, tags)
            return lambda sample: gauge.set(self._gauged(key, sample))
        if kind == "ms":
            timer = meters.timer(name, tags)
            return lambda sample: timer.observe(_number(sample) / MILLISECONDS, round(1 / sample.rate))
        histogram = meters.histogram(name, tags)
        return lambda sample: histogram.observe(_number(sample), round(1 / sample.rate))

    def _whole(self, key: _Key, amount: float) -> int:
        """What a counter is to count now: what is below one, or below nothing, waits for the next."""
        due = self._rests.get(key, 0.0) + amount
        whole = max(0, int(due))
        self._rests[key] = due - whole
        return whole

    def _gauged(self, key: _Key, sample: Sample) -> float:
        """What a gauge stands at."""
        value = _number(sample) + (self._gauges.get(key, 0.0) if sample.is_change else 0.0)
        self._gauges[key] = value
        return value

    def _tell(self) -> None:
        now, before = self.counts, self._told
        self._told = now
        if now.unread > before.unread:
            self._log.warn("Lines of statsd that could not be read: {lines}", lines=now.unread - before.unread)
        if now.beyond > before.beyond:
            self._log.warn(
                "Values of statsd that were left out, because there are {most} metrics already: {values}",
                most=MAX_METRICS,
                values=now.beyond - before.beyond,
            )


def _number(sample: Sample) -> float:
    assert isinstance(sample.value, float)
    return sample.value


def _insert(values: set[int], value: str) -> None:
    if len(values) < MAX_SET_VALUES:
        values.add(hash(value))
