"""What a person configured: flags, environment and a file in, frozen settings out, or errors that name the key.

Flags win over the environment (`TORFLUXD_<OPTION>`), which wins over the file (`--config`), which wins over the
default. Each option is declared once, in a table (`options`, `rules`), from which the command line, its help and the
sample of a configuration are made as well.
"""

from torfluxd.settings.agent import AgentSettings, read_agent_settings
from torfluxd.settings.agent_options import AGENT_CONFIG_OPTIONS, AGENT_OPTIONS
from torfluxd.settings.config import load_schema
from torfluxd.settings.gateway import GatewaySettings, read_gateway_settings
from torfluxd.settings.option import Option
from torfluxd.settings.options import CONFIG_OPTIONS, GATEWAY_OPTIONS, SERVE_OPTIONS, Expose
from torfluxd.settings.rules import RULE_OPTIONS, RulesSettings
from torfluxd.settings.schema import OTHER, FieldType, MeasurementSchema, TagRule, Unknown

__all__ = [
    "AGENT_CONFIG_OPTIONS",
    "AGENT_OPTIONS",
    "CONFIG_OPTIONS",
    "GATEWAY_OPTIONS",
    "OTHER",
    "RULE_OPTIONS",
    "SERVE_OPTIONS",
    "AgentSettings",
    "Expose",
    "FieldType",
    "GatewaySettings",
    "MeasurementSchema",
    "Option",
    "RulesSettings",
    "TagRule",
    "Unknown",
    "load_schema",
    "read_agent_settings",
    "read_gateway_settings",
]
