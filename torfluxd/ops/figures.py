"""What a gateway has done and how it stands, in numbers: a value that can be added, and sent from process to process.

Each figure is declared once, with what it means and how those of several workers become one. The metrics, the status
for people and the sum over workers are made of that. None of it singles out anybody: nothing here is by circuit, by
destination, by measurement or by the time of a stranger's request.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import Attribute, asdict, field, fields, frozen

__all__ = [
    "BATCH_POINTS_BOUNDS",
    "INFLUXDB_SECONDS_BOUNDS",
    "About",
    "Figures",
    "Histogram",
    "Kind",
    "about",
    "counted",
]

BATCH_POINTS_BOUNDS: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
"""Up to how many points a write to InfluxDB has, for each bucket: from a lonely one to a joined write that is full."""

INFLUXDB_SECONDS_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Up to how long InfluxDB takes for a write, for each bucket: from one on an idle machine to where we give up."""

T = TypeVar("T", int, float)


class Kind(enum.Enum):
    """What may be done with a figure."""

    COUNTER = "counter"
    """It only grows, from the start of the process on."""

    GAUGE = "gauge"
    """It is what it is at the moment."""

    HISTOGRAM = "histogram"
    """How often something was how large, from the start of the process on."""


@frozen
class Histogram:
    """How often something was how large.

    :ivar bounds: the buckets' upper ends, included; there is one more for everything beyond.
    :ivar counts: how often, for each bucket.
    :ivar total: what all of it sums up to.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float = 0

    @classmethod
    def empty(cls, bounds: Sequence[float]) -> Histogram:
        """Nothing yet."""
        return cls(tuple(bounds), (0,) * (len(bounds) + 1))

    def __add__(self, other: Histogram) -> Histogram:
        """Both together; of one bucket each.

        :raises ValueError: the other has other buckets.
        """
        counts = tuple(map(sum, zip(self.counts, other.counts, strict=True)))
        return Histogram(self.bounds, counts, self.total + other.total)


@frozen
class About:
    """What a figure means.

    :ivar help: in a sentence, for whoever reads the metrics.
    :ivar label: what distinguishes the parts of a figure that has some; empty for one that has none.
    :ivar join: makes one of two processes' figures.
    """

    kind: Kind
    help: str
    label: str = ""
    join: Callable[[Any, Any], Any] = lambda one, other: one + other


def _known(join: Callable[[T, T], T]) -> Callable[[T | None, T | None], T | None]:
    """As `join`, where either side may have none."""

    def joined(one: T | None, other: T | None) -> T | None:
        if one is None or other is None:
            return other if one is None else one
        return join(one, other)

    return joined


def _by_label(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {label: one.get(label, 0) + other.get(label, 0) for label in sorted({*one, *other})}


_ABOUT = "about"


def _counter(text: str) -> Any:
    return field(default=0, metadata={_ABOUT: About(Kind.COUNTER, text)})


def _counters(label: str, text: str) -> Any:
    return field(factory=dict, metadata={_ABOUT: About(Kind.COUNTER, text, label, _by_label)})


def _gauge(text: str) -> Any:
    return field(default=0, metadata={_ABOUT: About(Kind.GAUGE, text)})


def _gauge_or_none(text: str, join: Callable[[float, float], float]) -> Any:
    return field(default=None, metadata={_ABOUT: About(Kind.GAUGE, text, join=_known(join))})


def _histogram(bounds: Sequence[float], text: str) -> Any:
    return field(factory=lambda: Histogram.empty(bounds), metadata={_ABOUT: About(Kind.HISTOGRAM, text)})


@frozen(kw_only=True)
class Figures:
    """The figures. `Figures()` is nothing yet; `one + other` is what two processes did together.

    A figure that is None is not known, or there is none. Its description stands beside it, see :func:`about`.
    """

    ready: float | None = _gauge_or_none("Whether strangers can reach us and what they write is taken: 1 or 0.", min)
    start_time_seconds: float | None = _gauge_or_none("When the gateway was started, in seconds since 1970.", min)
    processes: int = _gauge("How many processes serve strangers.")

    requests: Mapping[str, int] = _counters(
        "verdict",
        "Requests that were decided on: written, refused for what is in them, postponed (told to come back), answered"
        " with a constant, forwarded to InfluxDB as they are.",
    )
    door_refusals: Mapping[str, int] = _counters(
        "status", "Requests that were refused at the door, by HTTP status: malformed, too slow, too large, too many."
    )
    lines: Mapping[str, int] = _counters(
        "verdict",
        "Lines of strangers' writes: stored by InfluxDB at once, kept in the spool, invalid or against the rules,"
        " refused by InfluxDB, postponed.",
    )
    connections: int = _gauge("Connections of strangers that are open.")
    evicted_connections: int = _counter("Connections that were ended because there were too many, or too much held.")
    held_bytes: int = _gauge("What is held in memory for strangers, in bytes.")

    circuits: int = _gauge("Circuits of strangers that have a connection.")
    limiter_slowed: int = _counter("How often a stranger had to wait, because he had used his share.")
    limiter_refused: int = _counter("Requests that were refused because a stranger went on beyond his share.")
    limiter_closed_circuits: int = _counter("Circuits that tor was asked to close because a stranger flooded us.")

    influxdb_writes: Mapping[str, int] = _counters(
        "outcome", "Writes to InfluxDB, many strangers' in one: delivered, rejected, postponed."
    )
    influxdb_write_seconds: Histogram = _histogram(  # noqa: RUF009  # a field of attrs
        INFLUXDB_SECONDS_BOUNDS, "How long InfluxDB took for a write, in seconds."
    )
    influxdb_write_points: Histogram = _histogram(  # noqa: RUF009  # the same
        BATCH_POINTS_BOUNDS, "How many points a write to InfluxDB had."
    )
    influxdb_outages: int = _counter("Outages of InfluxDB that have begun.")
    influxdb_up: float | None = _gauge_or_none(
        "Whether InfluxDB takes writes, as far as any were tried: 1 or 0; 0 during an outage.", min
    )

    spool_open: float | None = _gauge_or_none("Whether what InfluxDB does not take can be kept: 1 or 0.", min)
    spool_batches: int = _gauge("Batches in the spool.")
    spool_points: int = _gauge("Points in the spool.")
    spool_bytes: int = _gauge("What the spool holds, in bytes, as it counts against its limit.")
    spool_limit_bytes: int = _gauge("What the spool may hold, in bytes.")
    spool_oldest_age_seconds: float | None = _gauge_or_none("How long the oldest batch has been in the spool.", max)
    spool_delivered_points: int = _counter("Points that were delivered out of the spool.")
    dead_letter_points: int = _gauge("Points that were acknowledged, and that InfluxDB refuses for what is in them.")
    dead_letter_bytes: int = _gauge("What the dead letters hold, in bytes.")
    dead_letter_forgotten_points: int = _counter("Points whose dead letters were given up for want of room.")

    onion_published: float | None = _gauge_or_none("Whether the onion service can be found: 1 or 0.", max)
    onion_descriptor_age_seconds: float | None = _gauge_or_none(
        "How long ago a directory last took the onion service's descriptor.", min
    )
    onion_canary_age_seconds: float | None = _gauge_or_none(
        "How long ago we last reached our own onion service through Tor.", min
    )
    onion_canary_failures: float | None = _gauge_or_none(
        "How often in a row we have failed to reach our own onion service.", max
    )
    tor_bootstrap_percent: float | None = _gauge_or_none("How far tor is in joining its network; 100 is joined.", min)
    tor_losses: int = _counter("How often a tor that was up was lost.")

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            **{
                each.name: about(each).join(getattr(self, each.name), getattr(other, each.name))
                for each in fields(Figures)
            }
        )

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Figures:
        """What :meth:`to_json` of this or another version wrote: figures that we do not know are passed over.

        :raises ValueError: it is something else.
        """
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("these are no figures")
        return cls.from_values(found)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Figures:
        """The same of what :mod:`json` has read.

        :raises ValueError: it is something else.
        """
        try:
            return cls(**{each.name: _read(each, values[each.name]) for each in fields(cls) if each.name in values})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("these are no figures") from error


def counted(figures: Figures) -> Figures:
    """What remains of figures when their process is gone: what was counted, and not how it stood."""
    kept = [each.name for each in fields(Figures) if about(each).kind is not Kind.GAUGE]
    return Figures(**{name: getattr(figures, name) for name in kept})


def about(each: Attribute[Any]) -> About:
    """What one of the figures means.

    :param each: out of `attrs.fields(Figures)`.
    """
    found: About = each.metadata[_ABOUT]
    return found


def _read(each: Attribute[Any], value: Any) -> Any:
    """A figure out of JSON.

    :raises TypeError, KeyError, AttributeError: it is none.
    """
    what = about(each)
    if what.kind is Kind.HISTOGRAM:
        counts = tuple(_number(count) for count in value["counts"])
        return Histogram(tuple(_number(bound) for bound in value["bounds"]), counts, _number(value["total"]))
    if what.label:
        return {str(label): _number(count) for label, count in value.items()}
    return None if value is None and each.default is None else _number(value)


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("no number")
    return value
