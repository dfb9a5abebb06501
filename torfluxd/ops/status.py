"""How a gateway is, as a value: for the status page, for `torfluxd status`, and for systemd's one line. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, frozen

from torfluxd.ops.figures import Figures

__all__ = ["Status", "told"]


@frozen
class Status:
    """How a gateway is.

    :ivar version: torfluxd's.
    :ivar onion: the address of its onion service, a URL; empty where there is none.
    :ivar state: what it is doing, in a few words.
    :ivar problems: why it is not ready, in sentences; empty when it is: strangers can reach it, and what they write is
        taken.
    :ivar figures: all figures.
    """

    version: str
    onion: str = ""
    state: str = ""
    problems: Sequence[str] = ()
    figures: Figures = Figures()  # noqa: RUF009  # a value that cannot be changed

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing in the way."""
        return not self.problems

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps({**asdict(self), "ready": self.is_ready}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Status:
        """What :meth:`to_json` of this or another version wrote.

        :raises ValueError: it is something else.
        """
        found = json.loads(text)
        if not isinstance(found, dict) or not isinstance(found.get("figures"), dict):
            raise ValueError("this is no status")
        problems = found.get("problems")
        return cls(
            version=str(found.get("version", "")),
            onion=str(found.get("onion", "")),
            state=str(found.get("state", "")),
            problems=tuple(map(str, problems)) if isinstance(problems, list) else (),
            figures=Figures.from_values(found["figures"]),
        )


def told(status: Status, now: float) -> str:
    """The status for a person: a few lines of plain text, each ended.

    :param now: in seconds since 1970.
    """
    rows = [("torfluxd", f"{status.version}, {'ready' if status.is_ready else 'NOT READY'}")]
    rows += [("", problem) for problem in status.problems]
    if status.state:
        rows.append(("state", status.state))
    rows += _rows(status.onion, status.figures, now)
    return "".join(f"{title:<10}{text}\n" for title, text in rows)


def _rows(onion: str, figures: Figures, now: float) -> Iterator[tuple[str, str]]:
    if figures.start_time_seconds is not None:
        yield "up", f"for {duration(now - figures.start_time_seconds)}{_processes(figures)}"
    if onion:
        yield "onion", f"{onion}{_onion(figures)}"
    if figures.tor_bootstrap_percent is not None:
        yield "tor", f"{figures.tor_bootstrap_percent:.0f} % joined, lost {_times(figures.tor_losses)}"
    yield "strangers", f"{figures.connections} connections, {figures.circuits} circuits; {_slowed(figures)}"
    yield "writes", _parts(figures.requests)
    yield "lines", _parts(figures.lines)
    yield "refused", f"at the door: {sum(figures.door_refusals.values())}; evicted: {figures.evicted_connections}"
    yield "InfluxDB", _influxdb(figures)
    yield "spool", _spool(figures)
    if figures.dead_letter_points:
        yield "", f"{figures.dead_letter_points} points are dead letters: see torfluxd spool show"


def _processes(figures: Figures) -> str:
    return f", in {figures.processes} processes" if figures.processes > 1 else ""


def _onion(figures: Figures) -> str:
    published = {None: "", 0.0: ", not published", 1.0: ", published"}.get(figures.onion_published, "")
    age = figures.onion_descriptor_age_seconds
    reached = figures.onion_canary_age_seconds
    return (
        published
        + ("" if age is None else f" {duration(age)} ago")
        + ("" if reached is None else f", reached through Tor {duration(reached)} ago")
        + (f", {figures.onion_canary_failures:.0f} attempts failed since" if figures.onion_canary_failures else "")
    )


def _slowed(figures: Figures) -> str:
    return (
        f"slowed {_times(figures.limiter_slowed)}, refused {_times(figures.limiter_refused)},"
        f" {figures.limiter_closed_circuits} circuits closed"
    )


def _influxdb(figures: Figures) -> str:
    state = "takes no writes now" if figures.influxdb_up == 0 else "takes writes, as far as any were tried"
    took = figures.influxdb_write_seconds
    count = sum(took.counts)
    mean = f", {1000 * took.total / count:.1f} ms each" if count else ""
    return f"{state}; {count} writes{mean}; {figures.influxdb_outages} outages"


def _spool(figures: Figures) -> str:
    if not figures.spool_open:
        return "not open, or in trouble: see the log"
    if not figures.spool_points:
        return "empty"
    share = 100 * figures.spool_bytes // max(1, figures.spool_limit_bytes)
    oldest = duration(figures.spool_oldest_age_seconds or 0)
    return f"{figures.spool_points} points, {share} % full, the oldest {oldest} old"


def _parts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def duration(seconds: float) -> str:
    """A span of time in its two largest units: `3d 4h`, `12s`."""
    rest = max(0, round(seconds))
    units: list[tuple[str, Any]] = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or units:
            units.append((name, count))
    return " ".join(f"{count}{name}" for name, count in units[:2] if count) or "0s"
