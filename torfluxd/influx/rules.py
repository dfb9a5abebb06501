"""In what the generations of InfluxDB differ when they read line protocol.

Pure. The rules of 1.x are those of influxd 1.6.7 (tried). 2.x (`models/points.go` of branch 2.7) and 3.x
(`influxdb_line_protocol` and `influxdb3_write` of Core 3.8) were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from torfluxd.influx.api import Api

__all__ = ["RULES", "Rules"]


@frozen(kw_only=True)
class Rules:
    """What one generation takes.

    :ivar unsigned: whether there are unsigned integers, such as `1u`.
    :ivar half_numbers: whether `1.` and `.5` are numbers; else there are digits on both sides of a point.
    :ivar tabs: whether tabs may follow the space before the fields or the time.
    :ivar time_beside: whether a field `time` may stand beside others, which are stored then, and it is not.
    :ivar reserved_tags: keys that no tag can have, besides `time`.
    """

    unsigned: bool
    half_numbers: bool = True
    tabs: bool = True
    time_beside: bool = True
    reserved_tags: frozenset[bytes] = frozenset()


RULES: Final[Mapping[Api, Rules]] = MappingProxyType(
    {
        Api.V1: Rules(unsigned=False),
        Api.V2: Rules(unsigned=True, reserved_tags=frozenset({b"_field", b"_measurement"})),
        Api.V3: Rules(unsigned=True, half_numbers=False, tabs=False, time_beside=False),
    }
)
"""The rules of each generation. What 2.x and 3.x refuse beyond them they tell of themselves: 2.x strings of more than
1 MiB; 3.x two fields of one name, a field and a tag of one name, and names and strings of more than 64 KiB."""
