"""What a gateway and one of its workers tell each other: a JSON object a line, over two pipes that end with either.

The gateway tells: `{"begin": {...}}` once, see :class:`Begin`; `{"stand_in": [NUMBER, ...]}`: accept what connects to
these workers as well, and to no others; `{"homes": TEXT}`: these destinations are the vendor's; `{"forget": true}`: the
tor that knew the circuits is gone; `{"change": SETTINGS}`: hold to these; `{"ask": ID}` and `{"prove": ID}`; and
`{"stop": true}`, as the end of its pipe does.

The worker tells: `{"serves": true}`; `{"failed": TEXT}`, why it cannot begin; `{"homes": TEXT}`, what it has learned;
`{"leaves": true}`, that it accepts nobody any more; `{"close": CIRCUIT}`, a circuit that tor is to close;
`{"log": TEXT}`, an event as Twisted writes it; `{"told": ID, "figures": {...}, "problems": [TEXT, ...], "met": N}`
when it is asked, N the number of circuits that there have been; and `{"told": ID, "fault": TEXT}` when it has tried
whether its spool works, the text empty when it does.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import asdict, frozen

from torfluxd.settings import GatewaySettings

__all__ = ["Begin", "BeginDoor", "LineReader", "Message", "encode", "pack", "read_begin", "tell_begin", "unpack"]

Message = dict[str, Any]


@frozen
class BeginDoor:
    """A door that a worker is handed.

    :ivar kind: the value of its :class:`~torfluxd.gateway.shared_doors.Kind`.
    :ivar descriptors: of its sockets in the worker: one for each worker, or one for all.
    """

    kind: str
    descriptors: Sequence[int]


@frozen(kw_only=True)
class Begin:
    """How a worker is to begin.

    :ivar version: of the gateway, which must be the worker's.
    :ivar settings: the gateway's.
    :ivar number: of the worker, from 1.
    :ivar workers: how many there are.
    :ivar stamp_place: see :class:`~torfluxd.influx.stamp.Stamper`.
    :ivar state: the worker's own state directory.
    :ivar homes: the text of the vendor's destinations.
    :ivar canary_target: what the gateway's own canary asks for.
    :ivar orphans: spools of workers that are no more, which it is to empty.
    """

    version: str
    settings: GatewaySettings
    number: int
    workers: int
    stamp_place: int
    state: str
    homes: str
    canary_target: str
    orphans: Sequence[str]
    doors: Sequence[BeginDoor]


def pack(settings: GatewaySettings) -> str:
    """Settings as they are told."""
    return base64.b64encode(pickle.dumps(settings)).decode("ascii")


def unpack(told: str) -> GatewaySettings:
    """What :func:`pack` made; to be called with what came over the pipe from our own parent alone.

    :raises ValueError: the settings are those of another version.
    """
    try:
        settings: GatewaySettings = pickle.loads(base64.b64decode(told))  # noqa: S301  # our parent wrote it
    except Exception as error:  # whatever a class that has changed raises
        raise ValueError(f"the settings cannot be read ({type(error).__name__})") from None
    return settings


def tell_begin(begin: Begin) -> Message:
    """How a worker is to begin, as it is told."""
    plain = asdict(begin, recurse=False)
    plain["settings"] = pack(begin.settings)
    plain["doors"] = [asdict(door) for door in begin.doors]
    return {"begin": plain}


def read_begin(told: Message) -> Begin:
    """What :func:`tell_begin` told, without the word itself; to be called with what our own parent told alone.

    :raises ValueError: the settings are those of another version, as its other members may be.
    """
    plain = dict(told)
    settings = unpack(plain.pop("settings"))
    doors = [BeginDoor(**door) for door in plain.pop("doors")]
    return Begin(**plain, settings=settings, doors=doors)


def encode(message: Message) -> bytes:
    """A message as it goes over the pipe."""
    return json.dumps(message).encode("ascii") + b"\n"


class LineReader:
    """Reads messages out of what comes over a pipe."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from map(json.loads, lines)
