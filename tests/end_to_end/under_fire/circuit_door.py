"""A door as it stands behind a tor of our own, without tor: `python -m tests.end_to_end.under_fire.circuit_door ...`.

Its arguments are the unix socket to listen on, and the URL of InfluxDB. Whoever writes a PROXY line first comes through
whichever circuit he says. That tor is asked to close a circuit is said, for the test, on standard output.
"""

from __future__ import annotations

import resource
import sys

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint

from torfluxd.gateway.bounds import Bounds
from torfluxd.gateway.circuits import CircuitFactory
from torfluxd.gateway.front import Front
from torfluxd.gateway.held import Held
from torfluxd.gateway.limiter import Limiter
from torfluxd.gateway.site import InfluxdbSite
from torfluxd.influx.url import parse_influxdb_url


def main() -> None:
    """Serve until it is ended."""
    socket, url = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    held = Held()
    front = Front(InfluxdbSite(reactor, parse_influxdb_url(url), held=held), Bounds(), reactor, held)
    limiter = Limiter(reactor, close_circuit=lambda circuit: print("closed a circuit", flush=True))
    factory = CircuitFactory(lambda circuit: front.build_limited(limiter.of_circuit(circuit)))
    UNIXServerEndpoint(reactor, socket).listen(factory).addCallback(lambda _: print("open", flush=True))
    reactor.run()


if __name__ == "__main__":
    main()
