"""What a gateway and its workers tell each other."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from torfluxd.gateway.told import Begin, BeginDoor, LineReader, encode, pack, read_begin, tell_begin, unpack
from torfluxd.settings import GatewaySettings, read_gateway_settings
from torfluxd.settings.config import read_config

CONFIG = b"""
[gateway]
influxdb = "https://influxdb.example/prefix"
influxdb_api = "v2"
influxdb_org = "vendor"
workers = 2
[rules]
max_tags = 9
[schema.backup]
fields.seconds = "float"
tags.system = ["linux", "other"]
"""


def settings() -> GatewaySettings:
    """Settings of many kinds."""
    return read_gateway_settings({"listen": ["tcp:1"]}, {}, read_config(CONFIG, "f"))


class ToldTests(SynchronousTestCase):
    """Messages."""

    def test_settings(self) -> None:
        """A worker has the gateway's settings, a schema and all."""
        self.assertEqual(unpack(pack(settings())), settings())
        for wrong in ("", "AAAA", pack(settings())[:-40]):
            self.assertRaises(ValueError, unpack, wrong)

    def test_begin(self) -> None:
        """It is told all that it begins with."""
        begin = Begin(
            version="1",
            settings=settings(),
            number=2,
            workers=3,
            stamp_place=7,
            state="/state/worker-2",
            homes='[["ü", null]]\n',
            canary_target="/canary",
            orphans=["/state/spool.db"],
            doors=[BeginDoor("circuit", [4, 5, 6])],
        )
        [message] = LineReader().feed(encode(tell_begin(begin)))
        self.assertEqual(read_begin(message["begin"]), begin)

    def test_pieces(self) -> None:
        """However the pipe cuts it, each message is heard once, and whole."""
        messages = [{"homes": "ü\n"}, {"stop": True}, {"ask": 3}]
        data = b"".join(map(encode, messages))
        for size in (1, 2, 7, len(data)):
            reader = LineReader()
            heard = [each for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
            self.assertEqual(heard, messages)
        self.assertEqual(json.loads(encode(messages[0])), messages[0])
