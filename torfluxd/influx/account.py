"""Who the vendor is to her InfluxDB, and what she should do when it does not take her writes."""

from __future__ import annotations

from http import HTTPStatus

from attrs import frozen

from torfluxd.boundaries import Fate, Reply
from torfluxd.influx.api import Api
from torfluxd.influx.credential import Credential

__all__ = ["Account", "cure"]


@frozen
class Account:
    """Who the vendor is to her InfluxDB.

    :ivar credential: what proves it; may be empty.
    :ivar api: in which InfluxDB is spoken to.
    :ivar organisation: 2.x's; empty elsewhere.
    """

    credential: Credential
    api: Api = Api.V1
    organisation: str = ""


def cure(reply: Reply, account: Account) -> str:
    """What mends a write that has to wait, in some words for the log that name the option; empty if nobody knows.

    :param reply: with a fate of `POSTPONE`.
    """
    if reply.fate is not Fate.POSTPONE or reply.status is None:
        return ""
    if reply.status == HTTPStatus.UNAUTHORIZED:
        place = account.credential.place
        if place:
            return f"the credential was refused: write a valid one into {place}, which is then read again by itself"
        return "it wants a credential: give one with --influxdb-token-file, or --influxdb-user and a password"
    if reply.status == HTTPStatus.FORBIDDEN:
        return "the credential may not write there: grant it that, or give another one (--influxdb-token-file)"
    if reply.status // 100 == 3:
        return "nothing is sent after a redirect: give --influxdb the URL to which it leads"
    if reply.status == HTTPStatus.NOT_FOUND:
        if account.api is Api.V2 and "organisation" in reply.reason:
            return "see --influxdb-org"
        return f"it does not know the path that --influxdb-api {account.api.value} writes to, or --influxdb has another"
    return ""
