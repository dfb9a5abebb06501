"""What `twistd --help` reads: the name, and the module to import when it is chosen."""

from twisted.application.service import ServiceMaker

torfluxd_agent = ServiceMaker(
    "torfluxd-agent",
    "torfluxd.agent_tap",
    "Let InfluxDB clients on this machine report through Tor (the agent).",
    "torfluxd-agent",
)
