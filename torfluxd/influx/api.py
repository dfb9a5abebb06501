"""Which API the vendor's InfluxDB is spoken to in: the targets of writes, and how a credential is shown.

Pure. 1.x was tried with influxd 1.6.7; 2.x (branch 2.7) and 3.x (Core, branch 3.8) were read.
"""

from __future__ import annotations

import enum
from urllib.parse import quote

from torfluxd.boundaries import Destination

__all__ = ["Api", "write_target"]


class Api(enum.Enum):
    """A generation of InfluxDB's write API; the values are what a person writes after `--influxdb-api`."""

    V1 = "v1"
    """`/write` of 1.x, which VictoriaMetrics serves too."""

    V2 = "v2"
    """`/api/v2/write` of 2.x, which knows organisations."""

    V3 = "v3"
    """`/api/v3/write_lp` of 3.x."""

    @property
    def token_scheme(self) -> str:
        """What stands before a token in `Authorization`. 1.8 knows `Bearer` as well, but for another kind of token."""
        return "Bearer" if self is Api.V3 else "Token"


def write_target(api: Api, destination: Destination, organisation: str = "") -> bytes:
    """The request target of a write, built anew out of what was understood and nothing else.

    Times are always nanoseconds, in the word that each API has for them.

    :param organisation: 2.x's, the vendor's.
    """
    database = _quoted(destination.database)
    policy = destination.retention_policy
    if api is Api.V1:
        named = "" if policy is None else f"&rp={_quoted(policy)}"
        return f"/write?db={database}{named}&precision=ns".encode("ascii")
    bucket = database if policy is None else f"{database}{_quoted('/')}{_quoted(policy)}"
    if api is Api.V2:
        return f"/api/v2/write?org={_quoted(organisation)}&bucket={bucket}&precision=ns".encode("ascii")
    # Good points are kept beside bad ones, as in 1.x; who is to hear of which is found out afterwards.
    return f"/api/v3/write_lp?db={bucket}&precision=nanosecond&accept_partial=true".encode("ascii")


def _quoted(name: str) -> str:
    return quote(name, safe="")
