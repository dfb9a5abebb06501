"""`python -m benchmarks.rules`: what the rules on lines cost, for 256 small writes that are checked together.

Nothing runs beside it, and only CPU time counts. What is compared is measured in turn, and the best of many rounds is
told, which is the one that the machine disturbed least.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from torfluxd.gateway.rules import LineRules
from torfluxd.gateway.screen import RUN_LINES, Screen
from torfluxd.influx.api import Api
from torfluxd.influx.check import are_plain
from torfluxd.influx.grammar import GRAMMARS
from torfluxd.settings import FieldType, MeasurementSchema

ROUNDS, REPEATS = 60, 20
BODIES = 256

_LANGUAGES = ("de", "en", "es", "fr", "ja")
_SYSTEMS = ("linux", "macos", "windows")
_VERSIONS = ("2.0.4", "2.1.0", "2.1.1", "2.2.0-rc1")


def lines(now_ns: int) -> list[bytes]:
    """The load of `write.lua`."""
    return [
        (
            f"backup_run,lang={_LANGUAGES[n % 5]},os={_SYSTEMS[n % 3]},version={_VERSIONS[n % 4]}"
            f" duration_seconds={12 + n * 0.137:.3f},files={100_000 + n * 37}i {now_ns + n}"
        ).encode()
        for n in range(BODIES)
    ]


def schema() -> dict[str, MeasurementSchema]:
    """Five measurements, the one of the load among them."""
    tags = {"lang": "free", "os": _SYSTEMS, "version": "free"}
    fields = {"duration_seconds": FieldType("float"), "files": FieldType("integer")}
    others = {f"f{number}": FieldType("float") for number in range(8)} | {"text": FieldType("string", 64)}
    return {
        "backup_run": MeasurementSchema(tags, fields),
        **{f"other_{number}": MeasurementSchema({"a": "free"}, others) for number in range(4)},
    }


def measure() -> dict[str, float]:
    """Nanoseconds of CPU for each write, by what is done with it."""
    grammar = GRAMMARS[Api.V1]
    own = lines(time.time_ns())
    together = b"\n".join(own)
    plain, strict = Screen(LineRules(), grammar), Screen(LineRules(schema=schema()), grammar)
    few = b"\n".join(own[:RUN_LINES])
    works: dict[str, Callable[[], object]] = {
        "grammar alone, together": lambda: are_plain(together, "ns", grammar),
        "default rules, together": lambda: plain.passes(together, "ns"),
        "schema of 5, together": lambda: strict.passes(together, "ns"),
        "default rules, one by one": lambda: plain.screen(few, "ns", 1),
        "schema of 5, one by one": lambda: strict.screen(few, "ns", 1),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            lines_each = BODIES if name.endswith("together") else RUN_LINES
            start = time.process_time_ns()
            for _ in range(REPEATS):
                work()
            best[name] = min(best[name], (time.process_time_ns() - start) / REPEATS / lines_each)
    return best


if __name__ == "__main__":
    for name, nanoseconds in measure().items():
        print(f"{name:28} {nanoseconds:8.0f} ns a line")
