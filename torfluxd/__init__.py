"""Collect InfluxDB metrics through a Tor onion service, without learning where they come from."""

from __future__ import annotations

__version__ = "0.1.0"
