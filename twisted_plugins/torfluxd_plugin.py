"""What `twistd --help` reads: the name, and the module to import when it is chosen."""

from twisted.application.service import ServiceMaker

torfluxd = ServiceMaker(
    "torfluxd",
    "torfluxd.tap",
    "Collect InfluxDB metrics through a Tor onion service (the gateway).",
    "torfluxd",
)
