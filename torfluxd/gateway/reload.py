"""What a gateway takes of a configuration that has changed while it runs, and what waits for a restart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import fields

from torfluxd.settings import GatewaySettings

__all__ = ["need_restart"]

AT_ONCE: Final = frozenset({"rules", "influxdb_token_file", "influxdb_user", "influxdb_password_file"})
"""The settings that hold as soon as they are read again. Of `--authorized-clients` the files are, by themselves."""

OF_THE_START: Final = frozenset({"timeout", "printkey"})
"""Those that mean something at the start alone: what they are now makes no difference to anybody."""


def need_restart(old: GatewaySettings, new: GatewaySettings) -> Sequence[str]:
    """The options that have changed, and hold only after a restart, as on the command line."""
    names = [each.name for each in fields(GatewaySettings) if each.name not in AT_ONCE | OF_THE_START]
    return [f"--{name.replace('_', '-')}" for name in names if getattr(old, name) != getattr(new, name)]
