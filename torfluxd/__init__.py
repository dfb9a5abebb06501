"""Collect InfluxDB metrics through a Tor onion service, without learning where they come from.

The public names. Each is loaded when it is first used, so that an application that reports loads nothing of the
gateway, and a gateway nothing of the reporter.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torfluxd.errors import (
        OnionAddressError,
        PointError,
        ReporterError,
        SettingsError,
        SocksError,
        TorError,
        TorfluxdError,
        UpstreamError,
    )
    from torfluxd.gateway.resource import GatewayResource
    from torfluxd.influx.line import Point
    from torfluxd.onion.onion_agent import OnionAgent
    from torfluxd.reporter.reporter import Reporter, ReporterStats

__version__ = "0.1.0"

__all__ = [
    "GatewayResource",
    "OnionAddressError",
    "OnionAgent",
    "Point",
    "PointError",
    "Reporter",
    "ReporterError",
    "ReporterStats",
    "SettingsError",
    "SocksError",
    "TorError",
    "TorfluxdError",
    "UpstreamError",
    "__version__",
]

_HOME = {
    "GatewayResource": "torfluxd.gateway.resource",
    "OnionAgent": "torfluxd.onion.onion_agent",
    "Point": "torfluxd.influx.line",
    "Reporter": "torfluxd.reporter.reporter",
    "ReporterStats": "torfluxd.reporter.reporter",
}
"""Where the public names live; those that are not here are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME.get(name, "torfluxd.errors")), name)
    globals()[name] = value
    return value
