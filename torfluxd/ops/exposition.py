"""The figures for Prometheus. They are collected when somebody asks, so counting costs strangers nothing.

In a registry of our own, without `prometheus_client`'s collectors for the process, the platform and Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from attrs import fields, frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from torfluxd.ops.figures import Figures, Histogram, Kind, about

__all__ = ["CONTENT_TYPE", "PREFIX", "exposition"]

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""What :func:`exposition` returns: the text format that every Prometheus reads. Our names need nothing newer."""

PREFIX: Final = "torfluxd_"
"""Begins the name of each metric."""


def exposition(figures: Figures, version: str) -> bytes:
    """The figures in Prometheus' text format.

    :param version: torfluxd's.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(figures, version))
    return generate_latest(registry)


@frozen(eq=False)
class _Collector(Collector):
    figures: Figures
    version: str

    def collect(self) -> Iterator[Metric]:
        """Make a metric of each figure that is known."""
        build = GaugeMetricFamily(f"{PREFIX}build_info", "Which torfluxd this is.", labels=["version"])
        build.add_metric([self.version], 1)
        yield build
        for each in fields(Figures):
            value = getattr(self.figures, each.name)
            if value is not None:
                what = about(each)
                yield _MAKE[what.kind](f"{PREFIX}{each.name}", what.help, what.label, value)


def _counter(name: str, text: str, label: str, value: Any) -> Metric:
    if not label:
        return CounterMetricFamily(name, text, value=value)
    family = CounterMetricFamily(name, text, labels=[label])
    for name_of_part, count in sorted(value.items()):
        family.add_metric([name_of_part], count)
    return family


def _gauge(name: str, text: str, label: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, label: str, value: Histogram) -> Metric:
    ends = [*map(str, map(float, value.bounds)), "+Inf"]
    buckets = list(zip(ends, accumulate(value.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=value.total)


_MAKE = {Kind.COUNTER: _counter, Kind.GAUGE: _gauge, Kind.HISTOGRAM: _histogram}
